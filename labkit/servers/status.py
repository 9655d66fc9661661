"""How a lab's servers are, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..common.display import Table, Tabular


class State(StrEnum):
    """What a server does; ``UNKNOWN`` where nobody can say, ``NOT_OURS`` and ``HOSTED`` of one that somebody else runs."""

    RUNS = "runs"
    STOPPED = "stopped"
    HOSTED = "hosted"
    NOT_OURS = "not ours"
    SILENT = "silent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ServerStatus:
    """One server.

    Attributes:
        address: Where it answers; empty when it does not run.
        pid: Of a process of this lab's.
        reason: What is said in place of the state, such as why it is unknown.
    """

    name: str
    state: State
    address: str = ""
    pid: int | None = None
    log: Path | None = None
    reason: str = ""

    @property
    def runs(self) -> bool:
        """Whether this lab runs it."""
        return self.state is State.RUNS

    @property
    def is_up(self) -> bool:
        """Whether it runs, whoever runs it."""
        return self.state in (State.RUNS, State.HOSTED, State.NOT_OURS)

    @property
    def text(self) -> str:
        """The state in words, or the reason."""
        return self.reason or self.state


@dataclass(frozen=True)
class LabStatus(Tabular):
    """The servers of the lab in the state folder ``folder``, in the order of their start."""

    folder: Path
    servers: tuple[ServerStatus, ...]

    @property
    def is_up(self) -> bool:
        """Whether all of them are up."""
        return all(server.is_up for server in self.servers)

    def table(self) -> Table:
        """A row per server."""
        rows = [(each.name, each.text, str(each.pid or ""), each.address, str(each.log or "")) for each in self.servers]
        return Table(("server", "state", "pid", "address", "log"), tuple(rows), title=f"state folder {self.folder}")
