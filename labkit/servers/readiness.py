"""Waiting for a server that starts: until it is ready, ends, is not who listens, or shows no sign of going on."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ..common.control_groups import memory_available
from ..common.display import Progress
from ..common.errors import PortInUse, ServerError
from ..common.waiting import Work, until
from ..config.ports import ServerPorts
from . import _launch
from .machine import shortage

if TYPE_CHECKING:
    from .processes import Server

TAIL_LINES, _SEARCHED_LINES = 15, 500
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_AT_WORK = 0.05
"""The share of a core from which a server counts as at work: one that idles takes less."""


def log_tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, lines)).rstrip()
    except FileNotFoundError:
        return ""


@dataclass
class Readiness:
    """A server on its way to being ready.

    Attributes:
        server: What was started.
        pid: Its first process.
        log: Where it writes what it says.
        ports: Its ports.
        members: Its processes.
        child: The first of them, where this process started it.
        work: Shows that it takes longer, and the last that it said; None where nobody looks on.
    """

    server: Server
    pid: int
    log: Path
    ports: ServerPorts
    members: Callable[[], Sequence[psutil.Process]]
    child: subprocess.Popen[bytes] | None = None
    work: Progress | None = None
    _reason: str = field(default="", init=False)
    _seen: tuple[float, int, float] = field(default=(0, 0, 0), init=False)

    def wait(self) -> Work[bool]:
        """Wait until it is ready. Its seconds are for those without progress: on a busy machine a start takes as long as it takes.

        Raises:
            PortInUse: Somebody else listens on one of its ports.
            ServerError: It ended, or was not ready in time.
        """
        self._seen = self._signs()
        return until(self._is_ready, self.server.ready_seconds, self._late, goes_on=self._goes_on)

    def _is_ready(self) -> bool:
        try:
            if self.server.ready() and self._listens():
                return True
        except PortInUse:
            raise
        except Exception as error:  # noqa: BLE001 - a probe may fail in any way while a server starts
            self._reason = f"{type(error).__name__}: {error}"
        if self.child.poll() is not None if self.child else _launch.has_ended(self.pid):
            self._listens()
            killed = self.child is not None and self.child.returncode in _KILLED
            how, name = "ended before it was ready" if self._reason else "ended at once", "server-killed" if killed else "server-failed"
            raise self._failed(how, name)
        return False

    def _listens(self) -> bool:
        """Whether it is the server that listens on its ports, by now; raises what `ServerPorts.are_listened_on_by` does."""
        return self.ports.are_listened_on_by(self.members)

    def _goes_on(self) -> bool:
        """Whether it has said something since this was last asked, or been at work."""
        (then, said, used), self._seen = self._seen, self._signs()
        now, says, uses = self._seen
        if self.work:
            self.work.update(f"later than usual, still at work: {log_tail(self.log, 1)}")
        return says > said or uses - used > _AT_WORK * (now - then)

    def _signs(self) -> tuple[float, int, float]:
        """The time, how long the log is, and the seconds of a core that its processes have used."""
        used = 0.0
        for process in self.members():
            with suppress(psutil.Error):
                times = process.cpu_times()
                used += times.user + times.system
        return time.monotonic(), self.log.stat().st_size if self.log.exists() else 0, used

    def _late(self, _: Exception) -> ServerError:
        return self._failed(f"was not ready within {self.server.ready_seconds:.0f} s", "server-failed", self._reason)

    def _failed(self, how: str, name: str, reason: str = "") -> ServerError:
        tail = log_tail(self.log)
        # A panic's stack may be longer than what is shown.
        name, evidence = shortage(self.log.parent.parent, log_tail(self.log, _SEARCHED_LINES)) or (
            name,
            {"reason": f"{reason}\n" if reason else "", "gb": f"{memory_available() / 1e9:.1f}"},
        )
        return ServerError(name, server=self.server.name, how=how, log=self.log, tail=tail, **evidence)
