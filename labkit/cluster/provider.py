"""What every kind of cluster can do for the labs, however it is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..display import Displayed
from .trust import Trust


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

    endpoint: Endpoint

    def start(self, trust: Trust) -> None:
        """Bring the cluster up with that trust, or take over the one that is up; return when it answers."""

    def stop(self) -> bool:
        """Stop what `start` started, keeping its data; say whether anything ran."""

    def is_running(self) -> bool:
        """Whether it is up."""

    def server_log(self, lines: int) -> str:
        """The last lines of the API server's log; empty when there is none to read."""
