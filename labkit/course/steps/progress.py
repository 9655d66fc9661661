"""How far somebody has come: what the steps' checks last told, and whether they ask for help. Kept in one small file of the state folder.

In a room, what is kept is what the instructor's view gets: `allowed` lets through a fixed list of ids, times and counts, and nothing else.
"""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from ...common.display import Findings, Table, Tabular
from ...common.errors import SettingsError
from ...common.problems import ids
from ...config.files import write_private
from ...lab import Lab
from . import sending
from .registry import LABS, STEPS, LabInfo

Snapshot = dict[str, Any]
"""What a seat says of itself: the fields of `_FIELDS`, and by the names of steps those of `_OF_A_STEP`."""


def _one_of(names: Callable[[], Iterable[str]]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in names()


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


_problem = _one_of(ids)


def _flag(value: object) -> bool:
    return value is True


_OF_A_STEP: Mapping[str, Callable[[object], bool]] = {
    "state": _one_of(lambda: ("done", "red")),
    "since": _number,
    "finding": _problem,
    "holds": _number,
    "of": _number,
    "hint": _flag,
    "solution": _flag,
}
"""What is kept of a step, and which values it may have. Red is a step whose check found something; times are seconds since 1970."""

_FIELDS: Mapping[str, Callable[[object], bool]] = {
    "at": _number,
    "lab": _one_of(lambda: (info.name for info in LABS)),
    "begun": _number,
    "help": _number,
    "doctor": lambda value: isinstance(value, list) and all(map(_problem, value)),
}
"""What is kept besides: when it last changed, the lab that was begun last and when, since when help is asked for, what the doctor found."""


def allowed(found: object) -> Snapshot:
    """Copy what a seat may say of itself out of anything."""
    said = found if isinstance(found, dict) else {}
    steps = said["steps"] if isinstance(said.get("steps"), dict) else {}
    kept = {name: _kept(_OF_A_STEP, steps[name]) for name in STEPS if isinstance(steps.get(name), dict)}
    return {**_kept(_FIELDS, said), "steps": {name: step for name, step in kept.items() if step}}


def _kept(fields: Mapping[str, Callable[[object], bool]], found: Mapping[str, object]) -> Snapshot:
    return {name: deepcopy(found[name]) for name, holds in fields.items() if name in found and holds(found[name])}


@dataclass(frozen=True)
class Overview(Tabular):
    """The workshop from beginning to end: each lab with the names of those of its steps that are done."""

    rows: tuple[tuple[LabInfo, tuple[str, ...]], ...]

    @property
    def minutes_left(self) -> int:
        """What a reader takes for the steps that are not done."""
        return sum(step.minutes for info, done in self.rows for step in info.steps if step.name not in done)

    def line(self) -> str:
        """The whole in one line."""
        done, total = sum(len(done) for _, done in self.rows), sum(len(info.steps) for info, _ in self.rows)
        return f"{_bar(done, total, 20)} {done} of {total} steps done, about {self.minutes_left} minutes to go"

    def table(self) -> Table:
        """A row per lab."""
        rows = (
            (info.name, info.title, str(info.minutes), f"{_bar(len(done), len(info.steps), 8)} {len(done)} of {len(info.steps)}")
            for info, done in self.rows
        )
        return Table(("lab", "what it is about", "minutes", "done"), tuple(rows), note=self.line())

    def html(self) -> str:
        page = super().html()
        for info, _ in self.rows:
            page = page.replace(f">{info.name}<", f"><a href='{html.escape(info.name)}.ipynb'>{info.name}</a><")
        return page


def overview(lab: Lab) -> Overview:
    """All labs with their minutes, and how far one has come."""
    done = {name for name, step in snapshot(lab)["steps"].items() if step.get("state") == "done"}
    return Overview(tuple((info, tuple(step.name for step in info.steps if step.name in done)) for info in LABS))


def agenda(summary: Path) -> Table:
    """Tabulate labs and steps with a reader's minutes, and each lab's seconds in the last headless run; for whoever holds the workshop.

    Args:
        summary: ``summary.json`` of that run; it may be missing.
    """
    try:
        ran = {each["lab"]: f"{each['seconds']:.0f} s" for each in json.loads(summary.read_text())["labs"] if each["ok"]}
    except (OSError, ValueError, KeyError):
        ran = {}
    rows = []
    for info in LABS:
        rows.append((info.name, info.title, str(info.minutes), ran.get(info.name, "—")))
        rows += [(f"  {'your turn: ' * step.exercise}{step.name}", step.title, str(step.minutes), "") for step in info.steps]
    exercises = sum(step.minutes for step in STEPS.values() if step.exercise)
    note = f"{sum(step.minutes for step in STEPS.values())} minutes in all, {exercises} of them exercises"
    note += "\nlast run: what the machine took for each lab when all were run (labkit run)"
    return Table(("lab, step", "what holds once it is done", "minutes", "last run"), tuple(rows), note=note)


def note(lab: Lab, name: str, report: Findings | None) -> None:
    """Keep what a step's check has just told; None when the step was taken back."""

    def change(kept: Snapshot) -> None:
        before = kept["steps"].pop(name, {})
        if report:
            step = {**before, "state": "done" if report.ok else "red", "holds": len(report.findings) - len(report.bad)}
            step |= {"of": len(report.findings), "finding": next((finding.problem for finding in report.bad), "")}
            kept["steps"][name] = step if step["state"] == before.get("state") else {**step, "since": _now()}

    _change(lab, change)


def note_opened(lab: Lab, name: str, which: str) -> None:
    """Keep that the ``hint`` or the ``solution`` of a step was looked at."""
    _mention(lab, lambda kept: kept["steps"].setdefault(name, {}).update({which: True}))


def note_begun(lab: Lab, info: LabInfo) -> None:
    """Keep which lab was begun last."""
    _mention(lab, lambda kept: kept.get("lab") != info.name and kept.update(lab=info.name, begun=_now()))


def note_help(lab: Lab, *, wanted: bool) -> None:
    """Keep that help is asked for, or no longer."""
    _change(lab, lambda kept: kept.setdefault("help", _now()) if wanted else kept.pop("help", None))


def note_doctor(lab: Lab, names: Iterable[str]) -> None:
    """Keep the ids of what the doctor found."""
    _mention(lab, lambda kept: kept.update(doctor=list(names)))


def snapshot(lab: Lab) -> Snapshot:
    """Give what is kept, which in a room is what the view gets; nothing if the file can't be read, as only a picture is lost with it."""
    try:
        found = json.loads(lab.settings.state.progress.read_text())
    except (OSError, ValueError):
        found = {}
    if isinstance(found, list):
        # As versions before this one kept it.
        found = {"steps": {name: {"state": "done"} for name in found if isinstance(name, str)}}
    return allowed(found)


def _mention(lab: Lab, change: Callable[[Snapshot], object]) -> None:
    """Change, in a room, what only the instructor looks at; what can't be written, as on a full disk, nobody else misses."""
    if sending.in_a_room():
        with suppress(SettingsError, OSError):
            _change(lab, change)


def _change(lab: Lab, change: Callable[[Snapshot], object]) -> None:
    """Change what is kept, if the lab's state folder is made, and send it where there is somebody to see it."""
    if not lab.settings.folder_id:
        return
    file = lab.settings.state.progress
    with FileLock(file.with_suffix(".lock"), mode=0o600):
        before = snapshot(lab)
        change(after := deepcopy(before))
        if (after := allowed(after)) != before:
            write_private(file, json.dumps({**after, "at": _now()}) + "\n")
    sending.send(lambda: snapshot(lab))


def _now() -> int:
    return int(time.time())


def _bar(done: int, total: int, width: int) -> str:
    full = width * done // total if total else 0
    return "▰" * full + "▱" * (width - full)
