"""Why an API server does not know a caller, or knows them and lets them do nothing.

It tells the caller no more than 401, and RBAC's 403 names no group. The cause is in the token, in what the API server was told to trust,
and, for what only it can know, in its log.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..common.display import shown
from ..identity.session import read_claims
from .trust import Trust

_SIGN_IN = 'sign in again: lab.sign_in("…")'
_MEND_REALM = "let lab.realm.apply() mend the client's scopes and mappers, then sign in again"
_LOG_LINES = 400
_REFUSED = re.compile(r'"Unable to authenticate the request" err=("(?:[^"\\]|\\.)*")')
_NO_DISCOVERY = re.compile(r"oidc authenticator: initializing plugin: (.*)")
_DISCOVERY_FIXES = {
    "x509": "hand it the CA that signed Keycloak's certificate: lab.cluster.start()",
    "connection refused": "start Keycloak: lab.keycloak.start(); the API server tries again every ten seconds",
    "404": "make the realm: lab.realm.apply(); the API server tries again every ten seconds",
}


@dataclass(frozen=True)
class Cause:
    """Why a caller was refused.

    Attributes:
        why: What is wrong.
        fix: What to do about it.
        lasting: Whether asking again with the same token can't help.
    """

    why: str
    fix: str
    lasting: bool = False


class Causes:
    """What is known of one API server's refusals.

    Args:
        trust: What it was told to trust.
        bound: The groups that a role is bound to.
        log: Gives that many last lines of its log.
    """

    def __init__(self, trust: Trust, bound: Collection[str], log: Callable[[int], str]) -> None:
        self._trust, self._bound, self._log = trust, bound, log

    def of_401(self, token: str) -> Cause:
        """Why the API server does not take this token."""
        return self._in_the_token(token) or self._in_the_log()

    def of_403(self, token: str) -> Cause | None:
        """Why nothing is allowed to the bearer of this token, who is known; None when their groups have roles, and RBAC's answer is all."""
        claim = self._trust.declared.oidc.groups_claim
        groups = (read_claims(token) or {}).get(claim)
        if not groups:
            return Cause(f'the token names no groups (claim "{claim}"), so that no group\'s binding applies', _MEND_REALM)
        if not set(groups) & set(self._bound):
            why = f"its groups are {shown(groups)}; roles are bound to {shown(tuple(self._bound))}"
            return Cause(why, "compare the groups in the token with the bindings, to the letter: lab.realm.plan() and lab 03-rbac")
        return None

    def _in_the_token(self, token: str) -> Cause | None:
        claims = read_claims(token)
        if claims is None:
            return Cause("what was shown is no JSON Web Token", _SIGN_IN, lasting=True)
        faults = (Cause(why, fix, lasting=True) for why, fix in self._faults(claims))
        return next(faults, None)

    def _faults(self, claims: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        oidc = self._trust.declared.oidc
        issuer, audience, name = claims.get("iss"), claims.get("aud") or (), oidc.username_claim
        if issuer != self._trust.issuer:
            why = f"the token's issuer (iss) is {issuer}, and the API server trusts {self._trust.issuer}, to the letter"
            yield why, "sign in at the issuer that it trusts; if that one moved, tell the API server: lab.cluster.start()"
        if oidc.client_id not in ([audience] if isinstance(audience, str) else audience):
            made_for = f"is made for {shown(audience)}" if audience else "names nobody whom it is made for"
            why = f'the token {made_for} (aud), and the API server asks for "{oidc.client_id}"'
            yield why, f"show it the ID token that the client {oidc.client_id} gets: its access token names no audience"
        if claims.get("exp", 0) < time.time():
            yield "the token has expired (exp)", _SIGN_IN
        if name not in claims:
            yield f'the token has no claim "{name}", which is to be the user name', _MEND_REALM
        if name == "email" and claims.get("email_verified") is False:
            yield (
                "the token says that the email is not verified (email_verified)",
                "let lab.realm.apply() mend the user, then sign in again",
            )

    def _in_the_log(self) -> Cause:
        log = self._log(_LOG_LINES)
        refused = _REFUSED.findall(log)
        said = str(json.loads(refused[-1])) if refused else ""
        if "authenticator not initialized" in said:
            reasons = _NO_DISCOVERY.findall(log)
            why = "the API server has not read the realm's discovery document yet" + (f": {reasons[-1]}" if reasons else "")
            fixes = (fix for sign, fix in _DISCOVERY_FIXES.items() if reasons and sign in reasons[-1])
            return Cause(why, next(fixes, "wait: the API server tries every ten seconds"))
        if "token is expired" in said:
            return Cause(
                "for the API server the token has expired, by the clock here it has not", "set the clocks right: they are minutes apart"
            )
        if "failed to verify signature" in said:
            return Cause("the token's signature is of none of the realm's keys", f"{_SIGN_IN}; the realm's keys may be new ones")
        if "claim validation expression" in said:
            return Cause(f"a rule of the API server refuses it: {said}", f"{_SIGN_IN} once the token is as the rule asks", lasting=True)
        return Cause(
            f"the API server's log says: {said}" if said else "", f"{_SIGN_IN}, and compare the token's claims with lab.cluster.trust"
        )
