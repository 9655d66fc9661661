"""The API server's refusals as labkit's errors, whichever client brought them back."""

from __future__ import annotations

import re

from ..common.errors import ApiUnreachable, Forbidden, Unauthorized
from .causes import Cause


def forbidden(what: str, answer: str, cause: Cause | None) -> Forbidden:
    """A 403, with the user whom the API server's ``answer`` names."""
    named = re.search(r'User "([^"]*)"', answer)
    fix = cause.fix if cause else "this is RBAC's answer; the bindings of the user's groups decide it (lab 03-rbac)"
    return Forbidden(what, user=named.group(1) if named else "", why=cause.why if cause else "", fix=fix)


def unauthorized(what: str, cause: Cause) -> Unauthorized:
    """A 401."""
    return Unauthorized(what, lasting=cause.lasting, why=cause.why, fix=cause.fix)


def unreachable(what: str, why: str = "") -> ApiUnreachable:
    """Nothing answered."""
    return ApiUnreachable(what, why=why, fix="start the cluster: labkit up, or lab.cluster.start() in a notebook")
