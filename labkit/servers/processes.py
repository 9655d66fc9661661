"""Detached servers: start, wait until ready, adopt, read the log, stop.

A server outlives the notebook that started it. What is known of it lies in the state folder's ``run/``, one JSON file a server,
so that any other notebook, shell or test takes it over. One lock per state folder serialises starting and stopping.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..common.display import Displayed, progress
from ..common.environment import SERVER, listed
from ..common.errors import PortInUse, ServerError, SettingsError
from ..common.ownership import privately
from ..common.waiting import locked, wait_until
from ..config.files import write_private, writing
from ..config.ports import ServerPorts
from ..config.settings import Settings
from . import _launch
from .machine import shortage
from .status import ServerStatus, State

_POLL_SECONDS = 0.1
_LOCK_SECONDS = 300
_TAIL_LINES = 15
_KILL_SECONDS = 10
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


@dataclass(frozen=True)
class Server:
    """What to run and how to know that it is up.

    Attributes:
        argv: The program (an absolute path) and its arguments; never a secret, since any user may read them.
        ports: The names of the loopback ports that it listens on.
        ready: Asked again and again until it says True; what it raises counts as not yet.
        env: Added to what every server gets of the environment; secrets go here.
        inputs: Files that the server reads once at its start; when one has changed, it is started anew.
        cwd: The state folder when left out.
    """

    name: str
    argv: tuple[str, ...]
    ports: tuple[str, ...]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_seconds: float = 60
    inputs: tuple[Path, ...] = ()
    cwd: Path | None = None

    def fingerprint(self) -> str:
        """Changes when the command line or one of the files read at start changes."""
        digest = hashlib.sha256("\0".join(self.argv).encode())
        for file in self.inputs:
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Running(Displayed):
    """A server that runs now; ``pid`` is also its session's, ``fingerprint`` is `Server.fingerprint` of what was started."""

    name: str
    pid: int
    fingerprint: str
    log: Path

    def __str__(self) -> str:
        return f"{self.name} runs (pid {self.pid}), log: {self.log}"


class Processes:
    """The servers of one lab."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._state = settings.state

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the servers' lock; whoever starts or stops servers holds it. May be taken again by its holder.

        Raises:
            ServerError: Another process held it for five minutes.
            SettingsError: The settings were loaded before the state folder was made.
        """
        if not self._settings.home_id:
            raise SettingsError("home-not-made", folder=self._state.root)
        self._state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self._state.servers_lock, timeout=_LOCK_SECONDS, mode=0o600, is_singleton=True)
        # What is laid out for a server is the person's alone, whatever umask the notebook has.
        with locked(lock, lambda: ServerError("servers-locked", folder=self._state.root, seconds=_LOCK_SECONDS)), privately():
            yield

    def start(self, server: Server) -> Running:
        """Start a server, or take over the one that already runs; either way it is ready on return.

        One that runs with another command line or other input files is stopped and started anew.

        Raises:
            PortInUse: Somebody else listens on one of its ports.
            ServerError: It died, or was not ready in time; one that was started here is stopped then.
        """
        with self.lock():
            running = self.running(server.name)
            if running and running.fingerprint == server.fingerprint():
                try:
                    self._wait(server, running)
                except ServerError:
                    # One that was just about to end is no reason to give up.
                    if self.running(server.name):
                        raise
                else:
                    return running
            had_one = self._record(server.name) is not None
            self.stop(server.name)
            self._ports(server).refuse_taken(patient=had_one)
            with progress(f"starting {server.name}"):
                try:
                    child, running = self._launch(server)
                    self._wait(server, running, child)
                except BaseException:
                    self.stop(server.name)
                    raise
            return running

    def running(self, name: str) -> Running | None:
        """The server of that name if it runs: same boot, same pid, same start time."""
        record = self._record(name)
        if record is None or not _launch.is_same_process(record):
            return None
        return Running(name, record["pid"], record["fingerprint"], self.log_file(name))

    def status(self, name: str, address: str) -> ServerStatus:
        """Tell how a server is that answers at that address while it runs."""
        running, file = self.running(name), self.log_file(name)
        log = file if file.exists() else None
        return ServerStatus(name, State.RUNS, address, running.pid, log) if running else ServerStatus(name, State.STOPPED, log=log)

    def names(self) -> list[str]:
        """The servers that are recorded, first started first."""
        records = {file.stem: record for file in self._state.run.glob("*.json") if (record := self._record(file.stem))}
        # Not by the files' dates, which go back when the clock does.
        return sorted(records, key=lambda name: float(records[name]["start"]))

    def stop(self, name: str, stop_seconds: float = 20) -> bool:
        """Stop a server with its whole session, by SIGTERM and after ``stop_seconds`` by SIGKILL; returns whether anything ran.

        Raises:
            ServerError: Part of it is still there after SIGKILL; it stays on record.
        """
        with self.lock():
            record = self._record(name)
            if record is None:
                return False
            ran = bool(_launch.session_members(record))
            if not (_launch.end_session(record, "terminate", stop_seconds) or _launch.end_session(record, "kill", _KILL_SECONDS)):
                left = ", ".join(str(process.pid) for process in _launch.session_members(record))
                raise ServerError("server-not-stopped", server=name, pids=left)
            self._record_file(name).unlink(missing_ok=True)
            return ran

    def log_file(self, name: str) -> Path:
        """Where the server writes what it says."""
        return self._state.logs / f"{name}.log"

    def log_tail(self, name: str, lines: int = _TAIL_LINES) -> str:
        """The last lines of a server's log; empty when there is none."""
        try:
            with self.log_file(name).open(errors="replace") as file:
                return "".join(deque(file, lines)).rstrip()
        except FileNotFoundError:
            return ""

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self._record_file(name).read_text()))
        except (FileNotFoundError, ValueError):
            return None

    def _record_file(self, name: str) -> Path:
        return self._state.run / f"{name}.json"

    def _launch(self, server: Server) -> tuple[subprocess.Popen[bytes], Running]:
        log, fingerprint, temporary = self.log_file(server.name), server.fingerprint(), self._state.temporary
        with writing(log):
            for folder in (self._state.run, self._state.logs, temporary):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            output = os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        with ExitStack() as ours:
            ours.enter_context(output)
            # Held for as long as the server runs: it inherits them, and so does what it starts.
            held = [ours.enter_context(each) for each in self._ports(server).hold()]
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", _launch.__file__, *server.argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                bufsize=0,
                cwd=server.cwd or self._state.root,
                env={**listed(SERVER), "TMPDIR": str(temporary), **server.env},
                pass_fds=[each.fileno() for each in held],
                start_new_session=True,
            )
        assert child.stdin is not None  # noqa: S101 - asked for above
        with child.stdin as word:
            facts = {"name": server.name, "fingerprint": fingerprint, **_launch.marks(child.pid)}
            write_private(self._record_file(server.name), json.dumps(facts, indent=1) + "\n")
            with suppress(BrokenPipeError):
                word.write(b"go\n")
        return child, Running(server.name, child.pid, fingerprint, log)

    def _wait(self, server: Server, running: Running, child: subprocess.Popen[bytes] | None = None) -> None:
        reason = ""

        def is_ready() -> bool:
            nonlocal reason
            try:
                if server.ready() and self._listens(server):
                    return True
            except PortInUse:
                raise
            except Exception as error:  # noqa: BLE001 - a probe may fail in any way while a server starts
                reason = f"{type(error).__name__}: {error}"
            if child.poll() is not None if child else _launch.has_ended(running.pid):
                self._listens(server)
                killed = child is not None and child.returncode in _KILLED
                how, name = "ended before it was ready" if reason else "ended at once", "server-killed" if killed else "server-failed"
                raise self._failed(server, how, name)
            return False

        def late(_: Exception) -> ServerError:
            return self._failed(server, f"was not ready within {server.ready_seconds:.0f} s", "server-failed", reason)

        wait_until(is_ready, server.ready_seconds, late, pause=_POLL_SECONDS)

    def _failed(self, server: Server, how: str, name: str, reason: str = "") -> ServerError:
        log, tail = self.log_file(server.name), self.log_tail(server.name)
        name, evidence = shortage(self._state.root, tail) or (name, {"reason": f"{reason}\n" if reason else ""})
        return ServerError(name, server=server.name, how=how, log=log, tail=tail, **evidence)

    def _listens(self, server: Server) -> bool:
        """Whether it is the server that listens on its ports, by now; raises what `ServerPorts.are_listened_on_by` does."""
        record = self._record(server.name)
        return self._ports(server).are_listened_on_by(lambda: _launch.session_members(record) if record else [])

    def _ports(self, server: Server) -> ServerPorts:
        return ServerPorts(server.name, {name: self._settings.ports[name] for name in server.ports})
