"""What the processes below a folder take of a machine; and a seat's labs, measured from within the seat."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil

from ..common.environment import KERNEL, listed
from .seat import LABKIT

_SAMPLE_SECONDS = 2


class Measure:
    """Looks at the processes of a room, or of one seat, now and then while it is entered; what is no seat's has no name.

    Attributes:
        most: The most memory in bytes that each seat had (PSS: what processes share counts once).
        peak: The most that all had at one time.
        drivers: Processes that stand for a person, whom no seat has in its memory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._ended, self._thread = folder, threading.Event(), threading.Thread(target=self._go_on)
        self._known, self._spent = dict[int, tuple[str, int, float]](), defaultdict[str, float](float)
        self.most, self.peak, self.drivers = Counter[str](), 0, set[int]()

    def __enter__(self) -> Measure:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Look once."""
        memory, known = Counter[str](), dict[int, tuple[str, int, float]]()
        for process, owner in processes(self._folder):
            with suppress(psutil.Error, OSError):
                info, times = process.memory_full_info(), process.cpu_times()
                memory[owner] += getattr(info, "pss", info.uss) if process.pid not in self.drivers else 0
                # With those of its children that have ended, unless it takes in whoever lost a parent: these count by themselves.
                seconds = sum(times[:2]) * (process.pid not in self.drivers) + sum(times[2:4]) * (process.pid != 1)
                known[process.pid] = (owner, process.ppid(), seconds)
        for pid in self._known.keys() - known:
            owner, parent, seconds = self._known[pid]
            if parent == 1 or parent not in self._known:
                self._spent[owner] += seconds
        self._known = known
        self.most |= memory
        self.peak = max(self.peak, memory.total())

    def processor_seconds(self, owner: str = "") -> float:
        """For how many seconds a seat's processes had a processor."""
        return round(self._spent[owner] + sum(seconds for each, _, seconds in self._known.values() if each == owner), 1)

    def _go_on(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.look()


def do_labs(labs: Sequence[str], *, measured: bool) -> None:
    """Do labs in this seat by `labkit run`, called by a kernel of its JupyterLab, and print a JSON object a line.

    First ``drivers``, the processes that stand for a person; in the end ``labs`` as in ``summary.json``, ``failure``, and, if that is
    wanted, ``memory`` and ``processor`` as `Measure` has them.
    """
    folder, command = Path(os.environ["LABKIT_HOME"]).parent, [*LABKIT, "run", *labs]
    measure = Measure(folder)
    with measure if measured else nullcontext():
        child = subprocess.Popen(
            command, env=listed(KERNEL), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        measure.drivers |= {os.getpid(), child.pid}
        _say(drivers=list(measure.drivers))
        said = child.communicate()[1].strip()
    summary = folder / "build" / "labs" / "summary.json"
    done = json.loads(summary.read_text())["labs"] if summary.exists() else ()
    failure = (said or f"labkit run ended with {child.returncode}") if child.returncode else ""
    _say(labs=done, failure=failure, memory=measure.most[""], processor=measure.processor_seconds())


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def processes(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """What runs in a room's folder, each with the seat that it is of; without a name it is the room's.

    All of it is known by variables that labkit starts it with: what the Hub itself starts, by the Hub.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            # A person who looks at the folder has a terminal.
            owner = next(filter(None, (_owner(each, folder) for each in (process, process.parent()) if each)), None)
            if owner and process.terminal() is None and process.pid != os.getpid():
                yield process, owner.group(1) or ""


def _owner(process: psutil.Process, folder: Path) -> re.Match[str] | None:
    # Not its command line: somebody's editor names files there.
    given = "\0".join(process.environ().get(name, "") for name in ("LABKIT_HOME", "TMPDIR"))
    return re.search(rf"{re.escape(str(folder))}/(?:seats/([^/\0]+))?", given)


def end_all(folder: Path) -> None:
    """End all that runs in a folder, also what is just being started."""
    while found := list(processes(folder)):
        for process, _ in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs([process for process, _ in found], timeout=1)
