"""A lab's notebook as it is run when nobody is there to do the exercises."""

from __future__ import annotations

import copy
import re
from typing import Any

from .registry import STEPS

STARTER = re.compile(r"# Your turn: ([\w-]+)\n")
"""What an exercise's starter cell begins with; the cell that runs ``attempt(lab, …)`` follows it."""


def solved(notebook: Any) -> Any:
    """A copy with each exercise's solution in its starter's place, and a check that insists in place of the attempt.

    Args:
        notebook: As `nbformat.read` gives it.

    Returns:
        The copy.
    """
    done = copy.deepcopy(notebook)
    for cell in done.cells:
        if cell.cell_type != "code":
            continue
        if starter := STARTER.match(cell.source):
            cell.source = f"# The solution of {starter[1]}\n{STEPS[starter[1]].solution_code()}"
        else:
            cell.source = re.sub(r"\battempt\(lab, ", "check(lab, ", cell.source)
    return done
