"""The API server's refusals as labkit's errors, and why it refuses.

It tells the caller no more than 401, and RBAC's 403 names no group. The cause is in the token, in what the API server was told to trust,
and, for what only it can know, in its log.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ..common.display import shown
from ..common.errors import ApiUnreachable, ClusterError, Forbidden, Unauthorized
from ..identity.session import read_claims
from .trust import Trust

UNREACHED = re.compile(r"oidc authenticator: initializing plugin: (.*)")
"""What the API server's log says each time, every ten seconds, that it could not read the realm's discovery document."""

_SIGN_IN = 'sign in again: lab.sign_in("…")'
_MEND_REALM = "let lab.realm.apply() mend the client's scopes and mappers, then sign in again"
_LOG_LINES = 400
_REFUSED = re.compile(r'"Unable to authenticate the request" err=("(?:[^"\\]|\\.)*")')
_DISCOVERY_FIXES = {
    "x509": "hand it the CA that signed Keycloak's certificate: lab.cluster.start()",
    "connection refused": "start Keycloak: lab.keycloak.start(); the API server tries again every ten seconds",
    "404": "make the realm: lab.realm.apply(); the API server tries again every ten seconds",
    "": "wait: the API server tries every ten seconds",
}


def forbidden(what: str, answer: str = "") -> Forbidden:
    """A 403, with the user whom the API server's ``answer`` names; ``what`` is that answer if it is left out."""
    named = re.search(r'User "([^"]*)"', answer or what)
    fix = "this is RBAC's answer; the bindings of the user's groups decide it (lab 03-rbac)"
    return Forbidden(what, user=named.group(1) if named else "", fix=fix)


def unreachable(what: str, why: str = "") -> ApiUnreachable:
    """Nothing answered."""
    return ApiUnreachable(what, why=why, fix="start the cluster: labkit up, or lab.cluster.start() in a notebook")


class _Cause(NamedTuple):
    why: str
    fix: str
    lasting: bool = True


class Causes:
    """What explains one API server's refusals: its trust, the groups that a role is bound to, and the last lines of its log."""

    def __init__(self, trust: Trust, bound: Collection[str], log: Callable[[int], str]) -> None:
        self._trust, self._bound, self._log = trust, bound, log

    def explain(self, error: ClusterError, token: str) -> None:
        """Write into a 401 or a 403 what is wrong with the token that was shown; RBAC's own answer is left as it is."""
        claims = read_claims(token)
        if isinstance(error, Unauthorized):
            error.why, error.fix, error.lasting = next(self._in_the_token(claims), None) or self._in_the_log()
        elif isinstance(error, Forbidden) and (cause := self._for_want_of_groups(claims or {})):
            error.why, error.fix, _ = cause

    def _for_want_of_groups(self, claims: Mapping[str, Any]) -> _Cause | None:
        claim = self._trust.declared.oidc.groups_claim
        groups = claims.get(claim)
        if not groups:
            return _Cause(f'the token names no groups (claim "{claim}"), so that no group\'s binding applies', _MEND_REALM)
        if not set(groups) & set(self._bound):
            why = f"its groups are {shown(groups)}; roles are bound to {shown(tuple(self._bound))}"
            return _Cause(why, "compare the groups in the token with the bindings, to the letter: lab.realm.plan() and lab 03-rbac")
        return None

    def _in_the_token(self, claims: Mapping[str, Any] | None) -> Iterator[_Cause]:
        if claims is None:
            yield _Cause("what was shown is no JSON Web Token", _SIGN_IN)
            return
        oidc = self._trust.declared.oidc
        issuer, audience, name = claims.get("iss"), claims.get("aud") or (), oidc.username_claim
        if issuer != self._trust.issuer:
            why = f"the token's issuer (iss) is {issuer}, and the API server trusts {self._trust.issuer}, to the letter"
            yield _Cause(why, "sign in at the issuer that it trusts; if that one moved, tell the API server: lab.cluster.start()")
        if oidc.client_id not in ([audience] if isinstance(audience, str) else audience):
            made_for = f"is made for {shown(audience)}" if audience else "names nobody whom it is made for"
            why = f'the token {made_for} (aud), and the API server asks for "{oidc.client_id}"'
            yield _Cause(why, f"show it the ID token that the client {oidc.client_id} gets: its access token names no audience")
        if claims.get("exp", 0) < time.time():
            yield _Cause("the token has expired (exp)", _SIGN_IN)
        if name not in claims:
            yield _Cause(f'the token has no claim "{name}", which is to be the user name', _MEND_REALM)
        if name == "email" and claims.get("email_verified") is False:
            why = "the token says that the email is not verified (email_verified)"
            yield _Cause(why, "let lab.realm.apply() mend the user, then sign in again")

    def _in_the_log(self) -> _Cause:
        log = self._log(_LOG_LINES)
        refused = _REFUSED.findall(log)
        said = str(json.loads(refused[-1])) if refused else ""
        if "authenticator not initialized" in said:
            reason = (UNREACHED.findall(log) or [""])[-1]
            why = "the API server has not read the realm's discovery document yet" + (f": {reason}" if reason else "")
            return _Cause(why, next(fix for sign, fix in _DISCOVERY_FIXES.items() if sign in reason), lasting=False)
        if "token is expired" in said:
            why = "for the API server the token has expired, by the clock here it has not"
            return _Cause(why, "set the clocks right: they are minutes apart", lasting=False)
        if "failed to verify signature" in said:
            why = "the token's signature is of none of the realm's keys"
            return _Cause(why, f"{_SIGN_IN}; the realm's keys may be new ones", lasting=False)
        if "claim validation expression" in said:
            return _Cause(f"a rule of the API server refuses it: {said}", f"{_SIGN_IN} once the token is as the rule asks")
        why = f"the API server's log says: {said}" if said else ""
        return _Cause(why, f"{_SIGN_IN}, and compare the token's claims with lab.cluster.trust", lasting=False)
