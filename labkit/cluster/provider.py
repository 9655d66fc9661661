"""What every kind of cluster can do for the labs, however it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.display import Displayed
from ..common.errors import ClusterError
from ..common.exchanges import Exchange
from ..common.problems import Problem
from ..common.waiting import Steps
from ..servers.status import ServerStatus
from .trust import Trust

Prove = Callable[[Callable[[], ClusterError | None]], None]
"""Insists that the API server knows a user of the realm; asks, after each refusal, for a fault that makes waiting useless."""


@dataclass(frozen=True)
class Endpoint(Displayed):
    """Where an API server is and how its administrator gets in.

    Attributes:
        name: The name of the cluster, its administrator and their context in a kubeconfig.
        ca: The certificate authority to verify it with.
        admin: The administrator's entry in a kubeconfig's ``users``.
        more: What else the cluster's entry in a kubeconfig says, such as ``proxy-url`` and ``tls-server-name``.
    """

    name: str
    url: str
    ca: Path
    admin: dict[str, Any] = field(repr=False)
    more: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"cluster {self.name} at {self.url}"


class Provider:
    """Runs a cluster: as local processes, in KinD, or not at all because somebody else does.

    Attributes:
        name: `Endpoint.name`, known before there is an endpoint.
        programs: What it needs of the toolchain, besides kubectl.
        servers: Its servers that are processes of this lab's, in the order of their start.
        shared: Whether others use the cluster as well.
    """

    name: str
    programs: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    shared = False

    @property
    def endpoint(self) -> Endpoint:
        """Where it is; a ClusterError where that is known only once it is started."""
        raise NotImplementedError

    def prepare(self, issuer: Callable[[], str]) -> None:
        """Look whether the cluster can be started to trust an issuer, and fetch what that takes besides programs; start nothing.

        The issuer is asked for only where it matters: a Keycloak elsewhere tells it, and may not answer yet.
        """

    def start(self, trust: Trust) -> None:
        """Bring the cluster up with that trust, or take over the one that is up; return when it answers."""
        raise NotImplementedError

    def steps(self, trust: Callable[[], Trust]) -> Steps:
        """Give what `start` does as steps for `together`, if there are several; ``trust`` is asked once the step ``issuer`` is done."""
        return {}

    def stop(self) -> bool:
        """Stop what `start` started; say whether anything ran. Local processes keep their data, a KinD cluster is deleted."""
        return False

    def is_running(self) -> bool:
        """Whether it is up."""
        raise NotImplementedError

    def stranger(self) -> Problem | None:
        """Who answers where its API server should, while that does not run; None where nobody can tell."""
        return None

    def server_log(self, lines: int) -> str:
        """The last lines of the API server's log; empty when there is none to read here."""
        return ""

    def flags(self) -> tuple[str, ...]:
        """The API server's command line, as it runs; empty when it doesn't, or when that can't be read here."""
        return ()

    def exchanges(self) -> list[Exchange]:
        """What people have asked of the API server, by its audit log; nothing where it keeps none that can be read here."""
        return []

    def statuses(self) -> list[ServerStatus]:
        """Tell how its servers are."""
        raise NotImplementedError
