"""Detached servers: start, wait until ready, adopt, read the log, stop.

A server outlives the notebook that started it. What is known of it lies in the state folder's ``run/``, one JSON file a server,
so that any other notebook, shell or test takes it over. One lock per state folder serialises starting and stopping.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from ..common.display import Displayed, Progress, progress
from ..common.environment import SERVER, listed
from ..common.errors import ServerError, SettingsError
from ..common.ownership import privately
from ..common.problems import Problem
from ..common.waiting import Work, finish, locked
from ..config.files import read_state, write_private, writing
from ..config.ports import ServerPorts
from ..config.settings import Settings
from . import _launch
from .readiness import TAIL_LINES, Readiness, log_tail
from .status import ServerStatus, State

_LOCK_SECONDS = 1800
"""Whoever holds it is alive, and on a busy machine brings up a lab in some ten minutes."""

_KILL_SECONDS = 10


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
            ServerError: Another process held it for half an hour.
            SettingsError: The settings were loaded before the state folder was made.
        """
        if not self._settings.folder_id:
            raise SettingsError("home-not-made", folder=self._state.root)
        self._state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self._state.servers_lock, timeout=_LOCK_SECONDS, mode=0o600, is_singleton=True)
        waiting = f"waiting for another labkit that starts or stops servers of {self._state.root}"
        # What is laid out for a server is the person's alone, whatever umask the notebook has.
        with locked(lock, lambda: ServerError("servers-locked", folder=self._state.root, seconds=_LOCK_SECONDS), waiting), privately():
            yield

    def start(self, server: Server) -> Running:
        """Start a server, or take over the one that already runs; either way it is ready on return.

        One that runs with another command line or other input files is stopped and started anew.

        Raises:
            PortInUse: Somebody else listens on one of its ports.
            ServerError: It died, or was not ready in time; one that was started here is stopped then.
        """
        with self.lock():
            return finish(self.starting(server))

    def starting(self, server: Server) -> Work[Running]:
        """Do what `start` does while other work goes on; whoever has it done holds the lock until it ends."""
        running = self.running(server.name)
        if running and running.fingerprint == server.fingerprint():
            try:
                yield from self._readiness(server, running).wait()
            except ServerError:
                # One that was just about to end is no reason to give up.
                if self.running(server.name):
                    raise
            else:
                return running
        had_one = self._record(server.name) is not None
        self.stop(server.name)
        self._ports(server.name, *server.ports).refuse_taken(patient=had_one)
        with progress(f"starting {server.name}") as work:
            try:
                child, running = self._launch(server)
                yield from self._readiness(server, running, child, work).wait()
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

    def stranger(self, name: str, port: str) -> Problem | None:
        """Who answers in the place of a server that does not run, on its port of that name; None when it runs or nobody answers."""
        return None if self.running(name) else self._ports(name, port).in_use()

    def status(self, name: str, address: str) -> ServerStatus:
        """Tell how a server is that answers at that address while it runs."""
        running, file = self.running(name), self.log_file(name)
        log = file if file.exists() else None
        return ServerStatus(name, State.RUNS, address, running.pid, log) if running else ServerStatus(name, State.STOPPED, log=log)

    def names(self) -> list[str]:
        """The servers that are recorded, first started first."""
        records = {}
        for file in self._state.run.glob("*.json"):
            with suppress(SettingsError):
                records[file.stem] = self._record(file.stem) or {}
        # Not by the files' dates, which go back when the clock does.
        return sorted(filter(records.get, records), key=lambda name: float(records[name]["start"]))

    def stop_all(self) -> list[str]:
        """Stop all servers that are recorded, the last started first, and name those that ran; raises what `stop` does."""
        with self.lock():
            return [name for name in reversed(self.names()) if self.stop(name)]

    def require_records(self) -> None:
        """Insist that every record can be read, so that no server is passed over.

        Raises:
            SettingsError: One is damaged.
        """
        for file in self._state.run.glob("*.json"):
            self._record(file.stem)

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

    def log_tail(self, name: str, lines: int = TAIL_LINES) -> str:
        """The last lines of a server's log; empty when there is none."""
        return log_tail(self.log_file(name), lines)

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            return read_state(self._record_file(name), f"which process {name} is, by which labkit stops it", _launch.is_record)
        except FileNotFoundError:
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
            held = [ours.enter_context(each) for each in self._ports(server.name, *server.ports).hold()]
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

    def _readiness(
        self, server: Server, running: Running, child: subprocess.Popen[bytes] | None = None, work: Progress | None = None
    ) -> Readiness:
        ports = self._ports(server.name, *server.ports)
        return Readiness(server, running.pid, running.log, ports, lambda: self._members(server.name), child, work)

    def _ports(self, server: str, *names: str) -> ServerPorts:
        return ServerPorts(server, {name: self._settings.ports[name] for name in names}, self._state.facts)

    def _members(self, name: str) -> list[psutil.Process]:
        record = self._record(name)
        return _launch.session_members(record) if record else []
