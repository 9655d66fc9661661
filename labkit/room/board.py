"""What the instructor sees of a room: seats by steps, who asks for help, who takes longer than the agenda says."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..common.display import BAD, OK, Table, Tabular
from ..common.problems import ids
from ..course.steps import LABS, STEPS, Step
from ..course.steps.progress import Snapshot, allowed

_IDLE_SECONDS, _SILENT_SECONDS = 300, 200
"""From when on somebody counts as idle, and a seat whose heartbeat is missing as silent."""


@dataclass(frozen=True)
class Seat:
    """A seat; times are seconds since 1970, and 0 for never.

    Attributes:
        name: Its user in the Hub.
        said: What it last said of itself.
        heard: When it last said something.
        active: When the Hub last saw somebody work there.
        running: Whether its server runs; None when the Hub does not say.
    """

    name: str
    said: Snapshot
    heard: int = 0
    active: int = 0
    running: bool | None = None

    def state(self, step: Step) -> str:
        """The mark of a step: done, red, an exercise that was tried, or not begun."""
        state = self.said["steps"].get(step.name, {}).get("state")
        return OK if state == "done" else "·" if state is None else "…" if step.exercise else BAD

    def step(self, step: Step) -> str:
        """What is said of a step, in words."""
        said = self.said["steps"].get(step.name, {})
        red = said.get("state") == "red"
        count = f"{said['holds']} of {said['of']}" if red and {"holds", "of"} <= said.keys() else ""
        finding = _title(said["finding"]) if red and "finding" in said else ""
        opened = [which for which in ("hint", "solution") if which in said]
        return f"{self.state(step)} {', '.join(filter(None, [count, finding, *opened]))}".strip()

    def at(self) -> Step | None:
        """The step that somebody is at: the first of the lab begun last that is not done."""
        return next((step for step in STEPS.values() if step.lab == self.said.get("lab") and self.state(step) != OK), None)

    def late(self, now: int) -> str:
        """By how much the step takes longer than the agenda says; empty as long as it does not."""
        step = self.at()
        if step is None:
            return ""
        done = (
            said.get("since", 0) for name, said in self.said["steps"].items() if STEPS[name].lab == step.lab and said.get("state") == "done"
        )
        more = _minutes(now - max(self.said.get("begun", now), *done, 0)) - step.minutes
        return f"{more} min more than {step.minutes}" if more > 0 else ""

    def seen(self, now: int) -> str:
        """Whether somebody works there, in words; empty when all is as hoped."""
        if self.running is False:
            return "no server"
        if not self.heard:
            return "not begun"
        if now - self.heard > _SILENT_SECONDS:
            return f"silent for {_minutes(now - self.heard)} min"
        return f"idle for {_minutes(now - self.active)} min" if self.active and now - self.active > _IDLE_SECONDS else ""


@dataclass(frozen=True)
class Board(Tabular):
    """All seats, those first who ask for help, the longest first; ``now`` is in seconds since 1970."""

    seats: tuple[Seat, ...]
    now: int

    @classmethod
    def of(cls, seats: Iterable[Seat]) -> Board:
        """The seats as they are now."""
        return cls(tuple(sorted(seats, key=lambda seat: (seat.said.get("help", float("inf")), seat.name))), int(time.time()))

    @classmethod
    def read(cls, value: dict[str, Any]) -> Board:
        """A board of which `value` was sent here."""
        seats = (seat_of(each["name"], {**each, "said": each}, active=each["active"], running=each["running"]) for each in value["seats"])
        return cls(cls.of(seats).seats, value["now"])

    def news(self) -> str:
        """Who asks for help, in their order."""
        asking = [seat.name for seat in self.seats if "help" in seat.said]
        return f"{', '.join(asking)} {'ask' if len(asking) > 1 else 'asks'} for help" if asking else "nobody asks for help"

    def table(self) -> Table:
        """A row per seat, with a mark per step below each lab."""
        return Table(("seat", "asks for help", "is at", "seen", "doctor", *(info.name[:2] for info in LABS)), tuple(self._rows()))

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for seat in self.seats:
            step = seat.at()
            at = "; ".join(filter(None, [f"{step.lab[:2]} {step.name} {seat.step(step)}", seat.late(self.now)])) if step else ""
            asks = f"for {_minutes(self.now - seat.said['help'])} min" if "help" in seat.said else ""
            marks = ("".join(map(seat.state, info.steps)) for info in LABS)
            yield (seat.name, asks, at or seat.said.get("lab", ""), seat.seen(self.now), ", ".join(seat.said.get("doctor", ())), *marks)

    def steps(self) -> Table:
        """A row per step, a column per seat."""
        seats = sorted(self.seats, key=lambda seat: seat.name)
        rows = ((step.lab[:2], step.title, *(seat.step(step) for seat in seats)) for step in STEPS.values())
        return Table(("lab", "step", *(seat.name for seat in seats)), tuple(rows))

    def value(self) -> dict[str, Any]:
        """The whole for a script."""
        seats = [
            {
                "name": s.name,
                "heard": s.heard,
                "active": s.active,
                "running": s.running,
                "seen": s.seen(self.now),
                "late": s.late(self.now),
                **s.said,
            }
            for s in self.seats
        ]
        return {"now": self.now, "seats": seats}

    def csv(self) -> str:
        """A line per seat and step that was begun, for a spreadsheet."""
        file = io.StringIO()
        columns = ("seat", "lab", "step", "state", "since", "finding", "hint", "solution")
        table = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        table.writeheader()
        for seat in self.seats:
            # What begins so is a formula to a spreadsheet.
            name = f"'{seat.name}" if seat.name.startswith(("=", "+", "-", "@")) else seat.name
            for step, said in seat.said["steps"].items():
                table.writerow({"seat": name, "lab": STEPS[step].lab, "step": step, **said, "since": _utc(said.get("since"))})
        return file.getvalue()


def seat_of(name: str, found: object, **of_the_hub: Any) -> Seat:
    """Make a seat of what was stored of it, which need be nothing."""
    stored = found if isinstance(found, dict) else {}
    heard = stored.get("heard")
    return Seat(name, allowed(stored.get("said")), heard if isinstance(heard, int) else 0, **of_the_hub)


def _title(problem: str) -> str:
    return f"{problem}: " + re.sub(r"\$\{\w+\}", "…", ids()[problem]["what"]).strip()


def _minutes(seconds: float) -> int:
    return int(max(0, seconds) // 60)


def _utc(seconds: int | None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else ""
