"""A token taken apart: each claim beside what the API server does with it, and the rule that makes it do so."""

from __future__ import annotations

import time
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
    """Hold a token's verified claims against the API server's configuration; the token itself, and its signature, are not shown."""
    return token_parts(lab.cluster.trust, lab.workshop.cluster.bindings, claims)


def token_parts(trust: Trust, bindings: tuple[Binding, ...], claims: Claims) -> TokenParts:
    """Do as `taken_apart`, by an API server's trust and the bindings in it."""
    oidc, flags = trust.declared.oidc, trust.style == "flags"
    audience, name, email_verified = claims.get("aud") or (), claims.get(oidc.username_claim), claims.get("email_verified")
    groups = claims.get(oidc.groups_claim) or ()
    left = int(claims["exp"] - time.time())
    taken = groups if flags else [group for group in groups if group in trust.groups]
    roles = [f"{each.group} is bound to {each.role}" for each in bindings if each.group in taken]
    judged = {
        "iss": (claims.get("iss") == trust.issuer, "has to be the issuer that it trusts, letter by letter"),
        "signature": (True, "is checked with the issuer's public keys, got by verified TLS"),
        "aud": (oidc.client_id in ([audience] if isinstance(audience, str) else audience), f'has to hold "{oidc.client_id}"'),
        "exp": (left > 0, f"has to lie ahead{f': {left // 60} min {left % 60} s from now' if left > 0 else ', and is over'}"),
        oidc.username_claim: (bool(name), f"becomes the user name: {shown(name)}"),
        "email_verified": (
            email_verified is not False if flags else email_verified is True,
            "must not be false" if flags else "has to be true",
        ),
        oidc.groups_claim: (
            flags or not any(":" in group for group in groups),
            f"become the groups; in RBAC {shown(roles) if roles else 'none of them is bound, so all is refused (403)'}",
        ),
    }
    if oidc.username_claim != "email":
        del judged["email_verified"]
    rules = {
        "iss": (f"--oidc-issuer-url={trust.issuer}", f"issuer.url: {trust.issuer}"),
        "signature": (f"--oidc-ca-file={trust.ca.name}", "issuer.certificateAuthority"),
        "aud": (f"--oidc-client-id={oidc.client_id}", f"issuer.audiences: [{oidc.client_id}]"),
        "exp": ("no flag: it always looks", "no rule: it always looks"),
        "email_verified": (
            "no flag: so it is for every email that is a name",
            "claimValidationRules: claims.?email_verified.orValue(false) == true",
        ),
        oidc.username_claim: (f"--oidc-username-claim={oidc.username_claim}", f"claimMappings.username.claim: {oidc.username_claim}"),
        oidc.groups_claim: (f"--oidc-groups-claim={oidc.groups_claim}", f"claimMappings.groups.expression: {trust.groups_expression}"),
    }
    said = {claim: claim_text(claim, claims.get(claim)) for claim in judged} | {"signature": "not shown: it is what makes this a token"}
    parts = tuple(Part(claim, said[claim], use, rules[claim][not flags], ok) for claim, (ok, use) in judged.items())
    return TokenParts(claims.title, parts, tuple(sorted(set(claims.values) - set(judged))))


def lifetime(session: Session) -> Countdown:
    """Show how long a session's ID token still holds, second by second, with a button that renews it."""
    return Countdown(f"The ID token of {session.username}", lambda: session.expires, session.renew)
