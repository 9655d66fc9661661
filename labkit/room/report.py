"""What a rehearsal found: how long seats took to come up and to do their steps, what that takes, and what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from ..common.display import BAD, OK, Displayed, Table

_KEPT_SHARE = 0.1
"""What a machine keeps for itself of its memory."""

_MB = 10**6


@dataclass(frozen=True)
class Rehearsed:
    """What a seat did.

    Attributes:
        name: Whose it is.
        seconds: How long its JupyterLab took to start.
        labs: As in the ``summary.json`` of `labkit run`.
        failure: What failed.
        ended: When that was, in seconds since all began.
        memory: The most that it had, in bytes (PSS).
        processor: For how many seconds it had a processor.
    """

    name: str
    seconds: float
    labs: Sequence[Mapping[str, Any]] = ()
    failure: str = ""
    ended: float = 0
    memory: int = 0
    processor: float = 0

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
class Machine:
    """What a room on one machine took of it; memory in bytes (PSS, so that what processes share counts once).

    Attributes:
        busy: The share of the processors' time that was used, by anything on this machine.
        total: What this machine has.
        free: What programs could still have before.
        empty: What the room took before anybody came: Hub, proxy, Keycloak, view.
        shared: The most that these took.
        peak: The most that all took at one time.
    """

    busy: float
    total: int
    free: int
    empty: int
    shared: int
    peak: int

    def per_seat(self, seats: Sequence[Rehearsed]) -> float:
        """What one person more takes: a seat at its largest, and by how much it makes the room's own servers grow."""
        return mean(seat.memory for seat in seats) + (self.shared - self.empty) / len(seats)

    def people(self, seats: Sequence[Rehearsed]) -> int:
        """How many people this machine carries, all where labs take most."""
        return int(max(0, self.free - _KEPT_SHARE * self.total - self.empty) / self.per_seat(seats))

    def taken(self) -> str:
        """What was measured."""
        return f"""\
all together had at most {_mb(self.peak)} MB, the room's servers {_mb(self.shared)}, and {_mb(self.empty)} before anybody came; \
processors were {self.busy:.0%} busy"""

    def carries(self, seats: Sequence[Rehearsed]) -> str:
        """How many people this machine carries, with the arithmetic."""
        seat, kept = mean(seat.memory for seat in seats), _KEPT_SHARE * self.total
        return f"""\
this machine carries about {self.people(seats)} people, by its memory:
  ({_mb(self.free)} MB were free - {_mb(kept)} kept for the machine - {_mb(self.empty)} for the room) \
/ ({_mb(seat)} for a seat + {_mb(self.per_seat(seats) - seat)} by which it makes the room grow)"""


@dataclass(frozen=True)
class Rehearsal(Displayed):
    """How a rehearsal went; ``machine`` is known of a room on this machine."""

    seconds: float
    seats: Sequence[Rehearsed]
    machine: Machine | None = None

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
        machine = {**vars(self.machine)} if self.machine else {}
        if self.machine and self.ok:
            machine |= {"per_seat": int(self.machine.per_seat(self.seats)), "people": self.machine.people(self.seats)}
        return {"ok": self.ok, "seconds": self.seconds, "machine": machine, "steps": steps, "seats": seats}

    def __str__(self) -> str:
        rows = tuple((step, f"{usual:.1f}", f"{longest:.1f}", seat) for step, usual, longest, seat in self.steps())
        return "\n".join([str(Table(("step, the slowest first", "mean s", "longest s", "seat"), rows)), "", *self._lines()])

    def _lines(self) -> Iterator[str]:
        failed = sorted((seat for seat in self.seats if seat.failure), key=lambda seat: seat.ended)
        if began := [seat.seconds for seat in self.seats if seat.seconds]:
            first, half, last = min(began), median(began), max(began)
            yield f"JupyterLab was there after {first:.0f} s for the first, {half:.0f} s for half, {last:.0f} s for all {len(began)}"
        if measured := [seat for seat in self.seats if seat.memory]:
            most, seconds = max(measured, key=lambda seat: seat.memory), mean(seat.processor for seat in measured)
            usual = mean(seat.memory for seat in measured)
            yield f"a seat had at most {_mb(usual)} MB (PSS; {most.name} {_mb(most.memory)}), and a processor for {seconds:.0f} s"
        if self.machine:
            yield self.machine.taken()
        done = len(self.seats) - len(failed)
        yield f"{BAD if failed else OK} {done} of {len(self.seats)} seats did their labs, in {self.seconds:.0f} s"
        for seat in failed:
            yield f"{BAD} {seat.name}, after {seat.ended:.0f} s: {seat.failure}"
        if self.machine and self.ok:
            yield self.machine.carries(self.seats)


def _mb(size: float) -> str:
    return f"{size / _MB:.0f}"
