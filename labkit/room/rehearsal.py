"""A rehearsal: the seats of a room do the labs by their solutions, and what that takes of this machine is measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import psutil

from ..common.display import BAD, OK, Displayed, Table, progress
from ..common.environment import ask_loopback_directly
from ..common.errors import LabkitError
from ..config.settings import Settings
from ..config.state_folder import open_state_folder
from ..course.runner import alone
from .room import Room
from .seat import LABKIT

_APART_SECONDS, _SAMPLE_SECONDS = 5, 2
"""People begin one after the other, and memory is looked at now and then."""

_A_DAY_SECONDS = 24 * 3600
"""JupyterLab of a seat is not used while the labs run there, and is not to be stopped for that."""

_KEPT_SHARE = 0.1
"""What this machine keeps for itself of its memory."""

_MB = 10**6


@dataclass(frozen=True)
class Rehearsed:
    """What a seat did: how long its JupyterLab took to start, the labs as in the ``summary.json`` of `labkit run`, and what failed."""

    name: str
    seconds: float
    labs: Sequence[Mapping[str, Any]] = ()
    failure: str = ""

    def steps(self) -> Iterator[tuple[str, float]]:
        """Each step with the seconds that it took, from the step before to its own check."""
        for lab in self.labs:
            seconds = 0.0
            for cell in lab["cells"]:
                seconds += cell["seconds"]
                if cell["step"]:
                    yield f"{lab['lab'][:2]}.{cell['step']}", seconds
                    seconds = 0.0


@dataclass(frozen=True)
class Memory:
    """Memory in bytes (PSS), so that what processes share counts once.

    Attributes:
        total: What this machine has.
        free: What programs could still have before.
        empty: What the room took before anybody came: Hub, proxy, Keycloak, view.
        shared: The most that these took.
        seats: The most that each seat took.
        peak: The most that all took at one time.
    """

    total: int
    free: int
    empty: int
    shared: int
    seats: Mapping[str, int]
    peak: int

    @property
    def per_seat(self) -> float:
        """What one person more takes: a seat at its largest, and by how much it makes the room's own servers grow."""
        return mean(self.seats.values()) + (self.shared - self.empty) / len(self.seats)

    @property
    def people(self) -> int:
        """How many people this machine carries, all where labs take most."""
        return int(max(0, self.free - _KEPT_SHARE * self.total - self.empty) / self.per_seat)

    def taken(self) -> str:
        """What was measured."""
        largest = max(self.seats, key=lambda name: self.seats[name])
        return f"""\
memory, in MB (PSS), at most: {_mb(self.peak)} all together; {_mb(self.shared)} the room's servers, {_mb(self.empty)} before anybody came; \
{_mb(mean(self.seats.values()))} a seat, {_mb(self.seats[largest])} {largest}"""

    def carries(self) -> str:
        """How many people this machine carries, with the arithmetic."""
        seat, kept = mean(self.seats.values()), _KEPT_SHARE * self.total
        return f"""\
this machine carries about {self.people} people, by its memory:
  ({_mb(self.free)} MB were free - {_mb(kept)} kept for the machine - {_mb(self.empty)} for the room) \
/ ({_mb(seat)} for a seat + {_mb(self.per_seat - seat)} by which it makes the room grow)"""


@dataclass(frozen=True)
class Rehearsal(Displayed):
    """How a rehearsal went; ``busy`` is the share of the processors' time that was used, by anything on this machine."""

    seconds: float
    busy: float
    memory: Memory
    seats: Sequence[Rehearsed]

    @property
    def ok(self) -> bool:
        """Whether every seat did all its labs."""
        return not any(seat.failure for seat in self.seats)

    def steps(self) -> list[tuple[str, float, float, str]]:
        """Each step with its mean and its longest seconds, and whose those were; the slowest step first."""
        taken: dict[str, list[tuple[float, str]]] = {}
        for seat in self.seats:
            for step, seconds in seat.steps():
                taken.setdefault(step, []).append((seconds, seat.name))
        rows = ((step, mean(seconds for seconds, _ in each), *max(each)) for step, each in taken.items())
        return sorted(rows, key=lambda row: -row[2])

    def value(self) -> dict[str, Any]:
        """The whole for a script; memory in bytes."""
        steps = [dict(zip(("step", "mean", "longest", "seat"), row, strict=True)) for row in self.steps()]
        seats = [{**vars(seat), "ok": not seat.failure} for seat in self.seats]
        people = {"per_seat": int(self.memory.per_seat), "people": self.memory.people} if self.ok else {}
        return {
            "ok": self.ok,
            "seconds": self.seconds,
            "busy": self.busy,
            "memory": {**vars(self.memory), **people},
            "steps": steps,
            "seats": seats,
        }

    def __str__(self) -> str:
        done, starts = sum(not seat.failure for seat in self.seats), max(seat.seconds for seat in self.seats)
        rows = tuple((step, f"{usual:.1f}", f"{longest:.1f}", seat) for step, usual, longest, seat in self.steps())
        failures = [f"{BAD} {seat.name}: {seat.failure}" for seat in self.seats if seat.failure]
        ends = "\n".join(failures or [self.memory.carries()])
        return f"""\
{Table(("step, the slowest first", "mean s", "longest s", "seat"), rows)}

{self.memory.taken()}
processors were {self.busy:.0%} busy; the slowest JupyterLab started in {starts:.0f} s
{OK if self.ok else BAD} {done} of {len(self.seats)} seats did their labs, in {self.seconds:.0f} s
{ends}"""


def rehearse(count: int, labs: Sequence[str]) -> Rehearsal:
    """Have that many seats do labs, all of them if none is named, in a room of their own, which is gone afterwards.

    After a failure its folder stays to be looked at, until the next rehearsal. Nothing of it runs, whatever happens.

    Raises:
        LabRunFailed: Another rehearsal is at work.
        LabkitError: The room does not start.
    """
    ask_loopback_directly()
    outer = Settings.load()
    folder = outer.state.rehearsal
    with alone(folder):
        _clear(folder)
        shutil.rmtree(folder, ignore_errors=True)
        # Beside a room of people, whose own ports and variables are not meant.
        facts = open_state_folder(folder, environ={}, free_ports=True)
        room = Room.of(outer, folder, facts)
        room.idle_seconds = _A_DAY_SECONDS
        try:
            found = _Seats(room, labs).run(count)
        finally:
            _clear(folder)
        if found.ok:
            shutil.rmtree(folder)
        return found


class _Seats:
    """The seats of a rehearsal, a thread each, and one that measures."""

    def __init__(self, room: Room, labs: Sequence[str]) -> None:
        self._room, self._labs, self._ended = room, labs, threading.Event()
        self._runs, self._most, self._peak = set[int](), Counter[str](), 0

    def run(self, count: int) -> Rehearsal:
        """Start the room, have the seats do their labs, and tell how it went."""
        names = [f"learner-{number + 1}" for number in range(count)]
        machine = psutil.virtual_memory()
        with progress(f"starting a room of {count}"):
            # Only this process uses its seats, so nobody is kept from anything of another's.
            self._room.up(names, separated=False)
        self._sample()
        empty, began = self._most[""], time.monotonic()
        psutil.cpu_percent()
        with ThreadPoolExecutor(count + 1) as pool, progress(f"{count} seats do their labs"):
            try:
                pool.submit(self._measure)
                seats = list(pool.map(self._rehearse, range(count), names))
            except BaseException:
                self._ended.set()
                _clear(self._room.settings.folder)
                raise
            self._ended.set()
        shared = self._most.pop("")
        memory = Memory(machine.total, machine.available, empty, shared, {name: self._most[name] for name in names}, self._peak)
        return Rehearsal(round(time.monotonic() - began, 1), psutil.cpu_percent() / 100, memory, seats)

    def _rehearse(self, number: int, name: str) -> Rehearsed:
        self._ended.wait(number * _APART_SECONDS)
        seat, began = self._room.seat(name), time.monotonic()
        try:
            self._room.hub.start(name)
        except LabkitError as error:
            return Rehearsed(name, time.monotonic() - began, failure=str(error))
        started = round(time.monotonic() - began, 1)
        child = subprocess.Popen(
            [*LABKIT, "run", *self._labs],
            env=seat.environment(),
            # It calls nothing but the system.
            preexec_fn=seat.enter(),  # noqa: PLW1509
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._runs.add(child.pid)
        if self._ended.is_set():
            child.kill()
        said = child.communicate()[1].strip()
        summary = seat.folder / "build" / "labs" / "summary.json"
        labs = json.loads(summary.read_text())["labs"] if summary.exists() else ()
        return Rehearsed(name, started, labs, (said or f"labkit run ended with {child.returncode}") if child.returncode else "")

    def _measure(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        now = Counter[str]()
        for process, owner in _processes(self._room.settings.folder):
            with suppress(psutil.Error, OSError):
                memory = process.memory_full_info()
                # What runs a seat's labs stands for a person, whom no seat has in its memory.
                now[owner] += getattr(memory, "pss", memory.uss) if process.pid not in self._runs else 0
        self._most |= now
        self._peak = max(self._peak, now.total())


def _processes(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
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


def _clear(folder: Path) -> None:
    """End all that runs in a folder, also what is just being started."""
    while found := list(_processes(folder)):
        for process, _ in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs([process for process, _ in found], timeout=1)


def _mb(size: float) -> str:
    return f"{size / _MB:.0f}"
