"""The workshop's agenda, for whoever holds it."""

from __future__ import annotations

import json
from pathlib import Path

from ...common.display import Table
from .registry import LABS


def agenda(summary: Path) -> Table:
    """Labs and steps with a reader's minutes, and the machine's own time.

    Args:
        summary: ``summary.json`` of the last headless run; it may be missing.

    Returns:
        A row per lab, and one per step below it; an exercise is marked as such.
    """
    try:
        ran = {each["lab"]: f"{each['seconds']:.0f} s" for each in json.loads(summary.read_text())["labs"] if each["ok"]}
    except (OSError, ValueError, KeyError):
        ran = {}
    rows = []
    for info in LABS:
        rows.append((info.name, info.title, str(info.minutes), ran.get(info.name, "—")))
        rows += [(f"  {'your turn: ' * step.exercise}{step.name}", step.title, str(step.minutes), "") for step in info.steps]
    total = sum(info.minutes for info in LABS)
    note = f"{total} minutes in all, {sum(step.minutes for info in LABS for step in info.steps if step.exercise)} of them exercises"
    return Table(("lab, step", "what holds once it is done", "minutes", "machine"), tuple(rows), note=note)
