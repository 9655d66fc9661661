"""The proof that a cluster trusts the realm: somebody signs in, and the API server is asked who they are (SelfSubjectReview)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..common.errors import ClusterError
from ..common.waiting import wait_until
from .api import Api, Identity, may_pass

_PATIENCE_SECONDS = 45
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Somebody:
    """A person of the workshop who has signed in.

    Attributes:
        api: The API server as they see it.
        expected: Who they are by their token's claims; they may be in more groups.
    """

    api: Api
    expected: Identity


def insist(somebody: Somebody, fault: Callable[[], ClusterError | None] = lambda: None) -> None:
    """Wait until the API server takes somebody for who they are.

    Args:
        somebody: Them.
        fault: Asked after each refusal; what it finds to be wrong ends the waiting.

    Raises:
        Unauthorized: The API server doesn't know them, after 45 seconds or with a token that it can never take.
        ClusterError: It takes them for somebody else, or gives another refusal for 45 seconds; or what ``fault`` gave.
    """

    def passing(error: Exception) -> bool:
        known = fault() if isinstance(error, ClusterError) else None
        if known is not None:
            raise known from None
        # A fresh control plane answers before it knows keys (401), has read its RBAC rules (403), or has caches (500, 503).
        return may_pass(error, ClusterError)

    found = wait_until(somebody.api.whoami, _PATIENCE_SECONDS, pause=_PAUSE_SECONDS, passing=passing)
    if found.username != somebody.expected.username or not set(somebody.expected.groups) <= set(found.groups):
        msg = f"the API server takes {somebody.expected} for {found}"
        raise ClusterError(
            msg, why="it reads the token's claims in another way than the workshop declares", fix="compare lab.cluster.trust"
        )
