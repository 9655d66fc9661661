"""How far somebody has come: which steps' checks held when they were last looked at. Kept in the lab's state folder, in one small file."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from ...common.display import Table, Tabular
from ...config.files import write_private
from ...lab import Lab
from .registry import LABS, STEPS, LabInfo


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
    done = _read(lab.settings.state.progress)
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


def note(lab: Lab, name: str, *, done: bool) -> None:
    """Keep what a step's check has just told, if the lab's state folder is made."""
    if not lab.settings.folder_id:
        return
    file = lab.settings.state.progress
    with FileLock(file.with_suffix(".lock"), mode=0o600):
        names = _read(file)
        if (name in names) != done:
            kept = [other for other in STEPS if other in (names | {name} if done else names - {name})]
            write_private(file, json.dumps(kept) + "\n")


def _read(file: Path) -> set[str]:
    """What is noted; nothing if the file is no such list, as only a picture is lost with it."""
    try:
        names = json.loads(file.read_text())
    except (OSError, ValueError):
        return set()
    return {name for name in names if name in STEPS} if isinstance(names, list) else set()


def _bar(done: int, total: int, width: int) -> str:
    full = width * done // total if total else 0
    return "▰" * full + "▱" * (width - full)
