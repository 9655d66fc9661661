"""A server's process: how it begins, and how it is known again later.

Run as a script by `labkit.servers.processes`, in a session of its own: wait for the word, then turn into the server's program. The word
comes once the server is recorded, and `exec` keeps pid and start time. If the starter dies before that, the word never comes
and no server runs; if it dies after, the server is on record. Either way none runs unrecorded.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

with suppress(ImportError):
    # As a script it needs nothing but Python, wherever labkit's packages are found.
    import psutil

_POLL_SECONDS = 0.1


def start_mark(pid: int) -> str:
    """When a process started, in the kernel's own count, so that a later process with the same pid differs.

    Clock ticks since boot on Linux (proc_pid_stat(5), field 22): unlike a date they don't move when the clock is set.

    Raises:
        OSError: There is no such process (Linux).
        psutil.NoSuchProcess: There is no such process (elsewhere).
    """
    if Path("/proc/self/stat").exists():
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{psutil.Process(pid).create_time():.2f}"


def boot_mark() -> str:
    """What tells this boot of the machine from another."""
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    return boot_id.read_text().strip() if boot_id.exists() else f"{psutil.boot_time():.0f}"


def marks(pid: int) -> dict[str, Any]:
    """What a process is known by: its pid, start and boot."""
    return {"pid": pid, "start": start_mark(pid), "boot": boot_mark()}


def is_record(found: Mapping[str, Any]) -> bool:
    """Whether these are a server's name, its fingerprint and `marks` of a process."""
    texts = (found.get(name) for name in ("name", "fingerprint", "start", "boot"))
    pid, start = found.get("pid"), str(found.get("start"))
    return type(pid) is int and pid > 0 and all(isinstance(text, str) for text in texts) and start.replace(".", "", 1).isdecimal()


def is_same_process(record: Mapping[str, Any]) -> bool:
    """Whether the process that `marks` were taken of still runs."""
    try:
        return record["boot"] == boot_mark() and not has_ended(record["pid"]) and start_mark(record["pid"]) == record["start"]
    except (OSError, psutil.Error):
        return False


def has_ended(pid: int) -> bool:
    """Whether there is no such process any more, or only its exit code waiting to be read."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        process = psutil.Process(pid)
        # On Linux the first of its threads may be gone, which alone makes it a zombie, and the others still at work: sockets and files are
        # closed by the last one, and that takes seconds on a busy machine.
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True


def session_members(record: Mapping[str, Any]) -> list[psutil.Process]:
    """The processes of a recorded server's session.

    A child such as Keycloak's Java may outlive the session's leader. A pid is not given out again while it names a session,
    so once the leader is gone, members of a session with its number are its own.
    """
    session = record["pid"]
    if record["boot"] != boot_mark() or not (has_ended(session) or is_same_process(record)):
        return []
    members = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == session and not has_ended(process.pid):
                members.append(process)
    return members


def end_session(record: Mapping[str, Any], method: str, seconds: float) -> bool:
    """``terminate`` or ``kill`` every process of the session, also those that are born meanwhile; returns whether none is left in time.

    An ended process whose starter has not read its exit code counts as gone: psutil would wait for that, maybe for hours.
    """
    deadline, signalled = time.monotonic() + seconds, set()
    while members := session_members(record):
        if time.monotonic() > deadline:
            return False
        for process in members:
            if process not in signalled:
                with suppress(psutil.NoSuchProcess):
                    getattr(process, method)()
                signalled.add(process)
        time.sleep(_POLL_SECONDS)
    return True


def main(*argv: str) -> None:
    """Exec ``argv`` once a line arrives on standard input; end without it when that is closed first."""
    if not sys.stdin.buffer.readline():
        sys.exit("the starter ended before this server was recorded")
    # What a server makes is the person's alone, whatever umask the notebook has.
    os.umask(0o077)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.exit(f"{argv[0]} can't be run: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
