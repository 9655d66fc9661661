"""The API server's refusals as labkit's errors, and why it refuses.

It tells the caller no more than 401, and RBAC's 403 names no group. The cause is in the token, in the API server's configuration, and,
for what only it can know, in its log.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..common.display import shown
from ..common.errors import ClusterError, Forbidden, Unauthorized
from ..common.problems import Problem, problem, recognised
from ..identity.session import algorithm, read_claims, texts
from .trust import Trust

UNREACHED = re.compile(r"oidc authenticator: initializing plugin: (.*)")
"""What the API server's log says each time, every ten seconds, that it could not read the realm's discovery document."""

_LOG_LINES = 400
_BY_RBAC = re.compile(r'[Uu]ser "([^"]*)" (?:cannot \S+ (?:resource|path) "|\(groups=.*\) is attempting to grant RBAC permissions)')
_REFUSED = re.compile(r'"Unable to authenticate the request" err=("(?:[^"\\]|\\.)*")')


def forbidden(what: str, answer: str = "") -> Forbidden:
    """A 403, with the user whom RBAC's ``answer`` names; ``what`` is that answer if it is left out.

    Behind RBAC others answer 403 as well: Pod Security, quotas, webhooks and policies. Of bindings these know nothing.
    """
    by_rbac = _BY_RBAC.search(answer or what)
    return Forbidden("api-403", answer=what, user=by_rbac[1]) if by_rbac else Forbidden("api-403-otherwise", answer=what)


class Causes:
    """What explains one API server's refusals: its trust, the groups that a role is bound to, and the last lines of its log.

    ``stranger`` gives who answers in its place.
    """

    def __init__(
        self, trust: Trust, bound: Collection[str], log: Callable[[int], str], stranger: Callable[[], Problem | None] = lambda: None
    ) -> None:
        self._trust, self._bound, self._log, self.stranger = trust, bound, log, stranger

    def explain(self, error: ClusterError, token: str) -> None:
        """Write into a 401 or a 403 what is wrong with the token that was shown; RBAC's own answer is left as it is."""
        claims, cause = read_claims(token), None
        if isinstance(error, Unauthorized):
            in_the_token = next(self._in_the_token(claims, algorithm(token)), None)
            cause = in_the_token or self._in_the_log()
            error.lasting = cause is in_the_token or cause.id == "api-rule-broken"
        elif error.problem.id == "api-403":
            cause = self._for_want_of_groups(claims or {})
        if cause:
            error.problem = replace(cause, what=error.what)

    def _for_want_of_groups(self, claims: Mapping[str, Any]) -> Problem | None:
        claim = self._trust.declared.oidc.groups_claim
        groups = texts(claims.get(claim))
        if not groups:
            return problem("api-no-groups", claim=claim)
        if not set(groups) & set(self._bound):
            return problem("api-groups-unbound", groups=shown(groups), bound=shown(tuple(self._bound)))
        return None

    def _in_the_token(self, claims: Mapping[str, Any] | None, signed: str) -> Iterator[Problem]:
        if claims is None:
            yield problem("api-no-jwt")
            return
        oidc = self._trust.declared.oidc
        issuer, audience, name = claims.get("iss"), texts(claims.get("aud")), oidc.username_claim
        if issuer != self._trust.issuer:
            yield problem("api-other-issuer", issuer=issuer, trusted=self._trust.issuer)
        if not audience:
            yield problem("api-no-audience", client=oidc.client_id)
        elif oidc.client_id not in audience:
            yield problem("api-other-audience", audience=shown(audience), client=oidc.client_id)
        if signed not in self._trust.algorithms:
            yield problem("api-algorithm", algorithm=signed, taken=shown(self._trust.algorithms))
        expires = claims.get("exp", 0)
        if isinstance(expires, int | float) and expires < time.time():
            yield problem("api-token-expired")
        if name not in claims:
            yield problem("api-no-user-name", claim=name)
        if name == "email" and claims.get("email_verified") is False:
            yield problem("api-email-unverified")

    def _in_the_log(self) -> Problem:
        log = self._log(_LOG_LINES)
        refused = _REFUSED.findall(log)
        said = str(json.loads(refused[-1])) if refused else ""
        if "authenticator not initialized" in said:
            reason = (UNREACHED.findall(log) or [""])[-1]
            return problem(recognised("discovery", reason), reason=reason)
        return problem(recognised("token", said), said=said)
