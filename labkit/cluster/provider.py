"""What every kind of cluster can do for the labs, however it is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..common.display import Displayed
from ..common.exchanges import Exchange
from .trust import Trust

NOT_OURS = "not ours"
"""The state, in `Lab.status`, of a cluster that answers and that somebody else runs."""


@dataclass(frozen=True)
class Endpoint(Displayed):
    """Where an API server is and how its administrator gets in.

    Attributes:
        name: The name of the cluster, its administrator and their context in a kubeconfig.
        url: Its address.
        ca: The certificate authority to verify it with.
        admin: The administrator's entry in a kubeconfig's ``users``, as a mapping.
    """

    name: str
    url: str
    ca: Path
    admin: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"cluster {self.name} at {self.url}"


class Provider(Protocol):
    """Runs a cluster: as local processes, in KinD, or not at all because somebody else does."""

    @property
    def name(self) -> str:
        """`Endpoint.name`, known before there is an endpoint."""

    @property
    def programs(self) -> tuple[str, ...]:
        """What it needs of the toolchain, besides kubectl."""

    @property
    def servers(self) -> tuple[str, ...]:
        """Its servers that are processes of this home's, in the order of their start; none where it runs in another way."""

    @property
    def shared(self) -> bool:
        """Whether others use the cluster as well, so that not everything in it is the lab's."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it is.

        Raises:
            ClusterError: That is known only once it is started.
        """

    def prepare(self, issuer: str) -> None:
        """Look whether the cluster can be started to trust that issuer, and fetch what that takes besides programs; start nothing."""

    def start(self, trust: Trust) -> None:
        """Bring the cluster up with that trust, or take over the one that is up; return when it answers."""

    def stop(self) -> bool:
        """Stop what `start` started; say whether anything ran. Local processes keep their data, a KinD cluster is deleted."""

    def is_running(self) -> bool:
        """Whether it is up."""

    def server_log(self, lines: int) -> str:
        """The last lines of the API server's log; empty when there is none to read."""

    def flags(self) -> tuple[str, ...]:
        """The API server's command line, as it runs; empty when it doesn't, or when that can't be read here."""

    def exchanges(self) -> list[Exchange]:
        """What people have asked of the API server, as its audit log tells; nothing where it keeps none that can be read here."""

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Its servers, for `Lab.status`: name, state, pid, address, log."""
