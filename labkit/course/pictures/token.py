"""A token taken apart: each claim beside what the API server does with it, and the rule that makes it do so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from ...cluster.trust import Trust
from ...common.display import BAD, OK, Table, Tabular, shown
from ...common.widgets import Countdown
from ...identity.session import Claims, Session, claim_text
from ...lab import Lab
from ...workshop.workshop import Binding


@dataclass(frozen=True)
class Part:
    """A claim: what the token says, what the API server does with it, by which rule of the style in force, and whether it passes."""

    claim: str
    value: str
    use: str
    rule: str
    ok: bool


@dataclass(frozen=True)
class TokenParts(Tabular):
    """A token beside the rules that it meets: whose and which it is, the claims that the API server reads, and the names of the others."""

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

    def table(self) -> Table:
        """A row per claim that is read, the verdict below them."""
        rows = tuple((OK if part.ok else BAD, part.claim, part.value, part.use, part.rule) for part in self.parts)
        columns = ("", "claim", "value", "what the API server does with it", "because of")
        return Table(columns, rows, self.title, f"{self.verdict()}\nnot read by the API server: {shown(self.unread)}")


def taken_apart(lab: Lab, claims: Claims) -> TokenParts:
    """Hold a token's verified claims against what the API server was told to trust; the token itself, and its signature, are not shown."""
    return token_parts(lab.cluster.trust, lab.workshop.cluster.bindings, claims)


def token_parts(trust: Trust, bindings: tuple[Binding, ...], claims: Claims) -> TokenParts:
    """Do as `taken_apart`, by an API server's trust and the bindings in it."""
    parts = tuple(_parts(trust, bindings, claims))
    read = {part.claim for part in parts}
    return TokenParts(claims.title, parts, tuple(sorted(name for name in claims.values if name not in read)))


def lifetime(session: Session) -> Countdown:
    """Show how long a session's ID token still holds, second by second, with a button that renews it."""
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
