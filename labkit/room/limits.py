"""What a seat may take of this machine: all that it runs is in a control group of its own, which no process of it can leave."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from ..common.control_groups import killed, root
from ..common.problems import Problem, problem

PROCESSES = 1024
"""Threads count too."""

_BYTES = 3 * 10**9
"""Half more than a seat takes at most, in lab 07."""

MOST = {
    "memory.max": _BYTES,
    "memory.swap.max": 0,
    # The same in version 1, where the second is memory and swap together.
    "memory.limit_in_bytes": _BYTES,
    "memory.memsw.limit_in_bytes": _BYTES,
    "pids.max": PROCESSES,
}
"""The limits by the kernel's files. Processors need none: busy groups get the same share each."""

_CONTROLLERS = ("memory", "pids", "cpu")
_END_SECONDS = 10


class Limits:
    """The control group of an account; it is a folder in version 2, and one per controller in version 1."""

    def __init__(self, account: str) -> None:
        self._account = account

    def make(self) -> list[Path]:
        """Make it, or mend it; returns the files that take a process in. Raises OSError where there can be none."""
        folders = self._folders()
        for folder in folders:
            if (below := folder.parent / "cgroup.subtree_control").exists():
                below.write_text(" ".join(f"+{controller}" for controller in _CONTROLLERS))
            folder.mkdir(exist_ok=True)
            limits = [(folder / name, str(most)) for name, most in MOST.items() if (folder / name).exists()]
            # One that was there may have others, which only one of the two orders can change: memory with swap is never less than memory.
            for file, most in reversed(limits):
                with suppress(OSError):
                    file.write_text(most)
            for file, most in limits:
                file.write_text(most)
        return [folder / "cgroup.procs" for folder in folders]

    def killed(self) -> int:
        """How many of its processes the kernel has killed since it was made, as there was no memory left for them."""
        return killed(self._folders())

    def end(self) -> None:
        """Kill all that is left in it, and remove it."""
        folders, until = [folder for folder in self._folders() if folder.exists()], time.monotonic() + _END_SECONDS
        for file in (folder / "pids.max" for folder in folders):
            if file.exists():
                # What is killed can't start anything meanwhile.
                file.write_text("0")
        for folder in folders:
            while (left := (folder / "cgroup.procs").read_text().split()) and time.monotonic() < until:
                for pid in map(int, left):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
            with suppress(OSError):
                folder.rmdir()

    def _folders(self) -> list[Path]:
        return list(dict.fromkeys(root(controller) / self._account for controller in _CONTROLLERS))


def lacking() -> Problem | None:
    """Why seats can't be limited here; None where they can."""
    tried = Limits(f"labkit-room-{os.getpid()}")
    try:
        tried.make()
        tried.end()
    except OSError as error:
        return problem("seats-not-limited", reason=error, processes=PROCESSES)
    return None
