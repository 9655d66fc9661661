"""The portal's refusals as labkit's errors; the API server's, which it hands on, among them."""

from __future__ import annotations

import re
from typing import Any

import requests

from ..cluster.refusals import forbidden
from ..common.errors import ClusterError, Forbidden, LabkitError, NotPermitted, NotSignedIn, PortalError

_CLUSTERS = re.compile(r'[^\s:]+(?: "[^"]*")? is forbidden: User ".*')


def translated(answer: requests.Response) -> LabkitError:
    """The error for a no of the portal's, or of the API server's that it hands on."""
    body = _json(answer)
    if body.get("kind") == "Status":
        message = str(body.get("message", ""))
        if answer.status_code == Forbidden.status:
            return forbidden(message, message, None)
        return ClusterError(f"the API server answered {answer.status_code}", why=message)
    message = _words(answer)
    if refusal := the_clusters(message):
        return refusal
    if answer.status_code == requests.codes.unauthorized:
        msg = "the portal has no token of yours to act with"
        return NotSignedIn(msg, why=message, fix="sign in again: lab.portal.sign_in(…)")
    if answer.status_code == requests.codes.forbidden:
        fix = "sign in as somebody who may: docs/portal-permissions.md says who may what"
        return NotPermitted("the portal's rules don't permit this", why=message, fix=fix)
    return refused(answer, "the portal can't do this")


def refused(answer: requests.Response, what: str) -> PortalError:
    """The portal's no, in its own words."""
    fix = "its log holds the rest: labkit status names it" if answer.status_code >= requests.codes.internal_server_error else ""
    return PortalError(what, why=f"it answered {answer.status_code}: {_words(answer)}", fix=fix)


def problems(answer: requests.Response) -> tuple[str, ...]:
    """What a template's form has against the values: JSON Schema's complaints, each with its field."""
    return tuple(str(problem.get("stack") or problem.get("message", "")) for problem in _json(answer).get("errors", ()))


def the_clusters(message: str) -> Forbidden | None:
    """The API server's 403 if a message of the portal's hands one on, with what else the message says as the cause."""
    found = _CLUSTERS.search(message)
    if found is None:
        return None
    refusal = forbidden(found.group(), found.group(), None)
    refusal.why = message if message != found.group() else ""
    return refusal


def _words(answer: requests.Response) -> str:
    error = _json(answer).get("error") or {}
    return str(error.get("message") or error.get("name") or answer.text[:300])


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
