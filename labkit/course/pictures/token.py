"""A token taken apart: each claim beside what the API server does with it, and the rule that makes it do so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from ...cluster.trust import Trust
from ...common.display import BAD, OK, shown, text_table
from ...common.drawing import LINE, Drawn, arrow, box, mark, shortened, svg, words
from ...common.widgets import Countdown
from ...identity.session import Claims, Session, claim_text
from ...lab import Lab
from ...workshop.workshop import Binding

_CLAIM, _USE, _BETWEEN, _PAD = 350, 470, 60, 8
_CLAIM_CHARS, _USE_CHARS = 46, 64


@dataclass(frozen=True)
class Part:
    """A claim and its rule.

    Attributes:
        claim: Its name.
        value: What the token says.
        use: What the API server does with it.
        rule: What tells it to, in the style that is in force.
        ok: Whether the token passes.
    """

    claim: str
    value: str
    use: str
    rule: str
    ok: bool


@dataclass(frozen=True)
class TokenParts(Drawn):
    """A token beside the rules that it meets.

    Attributes:
        title: Whose and which token it is.
        parts: The claims that the API server reads.
        unread: The names of those that it doesn't.
    """

    title: str
    parts: tuple[Part, ...]
    unread: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether the API server takes the token."""
        return all(part.ok for part in self.parts)

    def verdict(self) -> str:
        """What becomes of it, in a line."""
        failing = [part.claim for part in self.parts if not part.ok]
        return f"{BAD} 401, because of {shown(failing)}" if failing else f"{OK} the API server takes it"

    def __str__(self) -> str:
        rows = [(OK if part.ok else BAD, part.claim, part.value, part.use, part.rule) for part in self.parts]
        table = text_table(("", "claim", "value", "what the API server does with it", "because of"), rows)
        return "\n".join([self.title, *table, self.verdict(), self._rest()])

    def picture(self) -> str:
        right, height, step = _CLAIM + _BETWEEN, 2 * LINE + 2 * _PAD, 2 * LINE + 3 * _PAD
        parts, y = [words(1, 14, self.title, weight="bold")], 26.0
        for part in self.parts:
            parts += [box(1, y, _CLAIM, height), box(right, y, _USE, height), arrow(_CLAIM + 4, y + height / 2, right - 4, y + height / 2)]
            first, second = y + _PAD + 13, y + _PAD + 13 + LINE
            parts += [words(12, first, part.claim, weight="bold"), words(12, second, shortened(part.value, _CLAIM_CHARS))]
            parts += [mark(right + 18, y + height / 2, part.ok), words(right + 36, first, shortened(part.use, _USE_CHARS))]
            parts.append(words(right + 36, second, shortened(part.rule, _USE_CHARS)))
            y += step
        parts += [words(1, y + 14, self.verdict(), weight="bold"), words(1, y + 14 + LINE, self._rest())]
        says = f"on the left each claim, on the right what the API server does with it. {self.verdict()}"
        return svg(self.title, says, right + _USE + 2, y + 2 * LINE + 4, *parts)

    def _rest(self) -> str:
        return f"not read by the API server: {shown(self.unread)}"


def taken_apart(lab: Lab, claims: Claims) -> TokenParts:
    """Hold a token's claims against what the API server was told to trust. The token itself, and its signature, are not shown.

    Args:
        lab: The lab.
        claims: A token's claims, verified: `Person.claims`, or `Session.access_claims`.
    """
    return token_parts(lab.cluster.trust, lab.workshop.cluster.bindings, claims)


def token_parts(trust: Trust, bindings: tuple[Binding, ...], claims: Claims) -> TokenParts:
    """`taken_apart`, by an API server's trust and the bindings in it."""
    parts = tuple(_parts(trust, bindings, claims))
    read = {part.claim for part in parts}
    return TokenParts(claims.title, parts, tuple(sorted(name for name in claims.values if name not in read)))


def lifetime(session: Session) -> Countdown:
    """How long a session's ID token still holds, second by second, with a button that renews it."""
    return Countdown(f"The ID token of {session.username}", lambda: session.expires, session.renew)


def _parts(trust: Trust, bindings: tuple[Binding, ...], claims: Claims) -> Iterator[Part]:
    oidc, flags = trust.declared.oidc, trust.style == "flags"
    issuer, audience = claims.get("iss"), claims.get("aud") or ()
    left = int(claims["exp"] - time.time())
    name, email_verified = claims.get(oidc.username_claim), claims.get("email_verified")
    groups = claims.get(oidc.groups_claim) or ()

    def part(claim: str, use: str, flag: str, field: str, *, ok: bool, value: str = "") -> Part:
        return Part(claim, value or claim_text(claim, claims.get(claim)), use, flag if flags else field, ok)

    yield part(
        "iss",
        "has to be the issuer that it trusts, letter by letter",
        f"--oidc-issuer-url={trust.issuer}",
        f"issuer.url: {trust.issuer}",
        ok=issuer == trust.issuer,
    )
    yield part(
        "signature",
        "is checked with the issuer's public keys, got by verified TLS",
        f"--oidc-ca-file={trust.ca.name}",
        "issuer.certificateAuthority",
        ok=True,
        value="not shown: it is what makes this a token",
    )
    yield part(
        "aud",
        f'has to hold "{oidc.client_id}"',
        f"--oidc-client-id={oidc.client_id}",
        f"issuer.audiences: [{oidc.client_id}]",
        ok=oidc.client_id in ([audience] if isinstance(audience, str) else audience),
    )
    yield part(
        "exp",
        f"has to lie ahead: {left // 60} min {left % 60} s from now" if left > 0 else "has to lie ahead, and is over",
        "no flag: it always looks",
        "no rule: it always looks",
        ok=left > 0,
    )
    yield part(
        oidc.username_claim,
        f"becomes the user name: {shown(name)}",
        f"--oidc-username-claim={oidc.username_claim}",
        f"claimMappings.username.claim: {oidc.username_claim}",
        ok=bool(name),
    )
    if oidc.username_claim == "email":
        yield part(
            "email_verified",
            "must not be false" if flags else "has to be true",
            "no flag: so it is for every email that is a name",
            "claimValidationRules: claims.?email_verified.orValue(false) == true",
            ok=email_verified is not False if flags else email_verified is True,
        )
    colon = not flags and any(":" in group for group in groups)
    taken = groups if flags else [group for group in groups if group in trust.groups]
    roles = [f"{each.group} is bound to {each.role}" for each in bindings if each.group in taken]
    yield part(
        oidc.groups_claim,
        f"become the groups; in RBAC {shown(roles) if roles else 'none of them is bound, so all is refused (403)'}",
        f"--oidc-groups-claim={oidc.groups_claim}",
        f"claimMappings.groups.expression: {trust.groups_expression}",
        ok=not colon,
    )
