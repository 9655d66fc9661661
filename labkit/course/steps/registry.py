"""The labs and their steps: what is declared of each, and by which words."""

from __future__ import annotations

import copy
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partialmethod
from typing import Any

from ...common.display import Finding
from ...common.errors import WorkshopError
from ...lab import Lab

Check = Callable[[Lab], Iterator[Finding]]
"""Reads the real servers and yields what it saw, each with what to do if that is wrong; changes nothing."""

Act = Callable[[Lab], object]
"""Does something to the lab; done twice it comes to the same."""

STARTER = re.compile(r"# Your turn: ([\w-]+)\n")
"""What an exercise's starter cell begins with; the cell that runs ``attempt(lab, …)`` follows it."""


@dataclass(eq=False)
class Step:
    """A step of a lab: what holds once it is done, and how that is seen, brought about and undone.

    Made by `LabInfo.step` and `LabInfo.exercise`, which decorate its check; `solution` and `reset` take the other two.

    Attributes:
        lab: The lab's name.
        name: What notebooks and ``labkit check`` call it; no two steps share one.
        title: What holds once it is done.
        minutes: How long a reader takes for it.
        check: Its check; an exercise's has the hint as its docstring.
        exercise: Whether it is left to the learner.
        holds_before: Why its check holds before the step is done as well; empty where it does not.
        solve: Does what the step asks for; None where only a person can.
        undo: Takes away what the step leaves behind; None where it leaves nothing.
    """

    lab: str
    name: str
    title: str
    minutes: int
    check: Check
    exercise: bool = False
    holds_before: str = ""
    solve: Act | None = None
    undo: Act | None = None

    @property
    def path(self) -> str:
        """The step within its lab, as ``labkit solve`` takes it: ``01-keycloak.realm``."""
        return f"{self.lab}.{self.name}"

    @property
    def hint(self) -> str:
        """What to think of, without saying all."""
        return " ".join((self.check.__doc__ or "").split())

    def solution(self, act: Act) -> Act:
        """Register the solution; may decorate it.

        An exercise's solution is a function whose body stands in the notebook's place for it when nobody is there to write one:
        of the notebook's names it may use ``lab`` alone, and it imports what it needs.
        """
        self.solve = act
        return act

    def reset(self, act: Act) -> Act:
        """Register what undoes the step; may decorate it."""
        self.undo = act
        return act

    def solution_code(self) -> str:
        """An exercise's solution as a notebook's cell would have it: the lines of the function, without its head."""
        return textwrap.dedent(inspect.getsource(self.solve).partition(":\n")[2]).strip() if self.solve else ""


@dataclass(eq=False)
class LabInfo:
    """A lab of the workshop; made by `add_lab`.

    Attributes:
        name: Its notebook's name without ``.ipynb``.
        title: What it is called.
        needs: The step of an earlier lab without which it can't begin; empty when it needs none.
        lacks: Says why it can't be run on this machine; empty when it can.
        practice: Whether all that it does is done in the practice lab, so that a headless run has it beside the others.
    """

    name: str
    title: str
    needs: str = ""
    lacks: Callable[[Lab], str] = lambda _: ""
    practice: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its steps, in their order."""
        return tuple(step for step in STEPS.values() if step.lab == self.name)

    @property
    def minutes(self) -> int:
        """About how long a reader takes."""
        return sum(step.minutes for step in self.steps)

    def step(self, name: str, title: str, *, minutes: int, exercise: bool = False, holds_before: str = "") -> Callable[[Check], Step]:
        """Add a step; decorates its check."""

        def register(check: Check) -> Step:
            if name in STEPS:
                msg = f"step {name!r} of lab {self.name!r}: {STEPS[name].lab} has one of that name"
                raise ValueError(msg)
            STEPS[name] = Step(self.name, name, title, minutes, check, exercise, holds_before)
            return STEPS[name]

        return register

    exercise = partialmethod(step, exercise=True)
    """Add a step that is left to the learner; decorates its check, whose docstring is the hint."""


LABS: list[LabInfo] = []
"""The labs in their order."""

STEPS: dict[str, Step] = {}
"""Every step by its name, in the order of the labs."""


def add_lab(name: str, title: str, *, needs: str = "", lacks: Callable[[Lab], str] = lambda _: "", practice: bool = False) -> LabInfo:
    """Add a lab after those that are there; see `LabInfo`."""
    if any(info.name == name for info in LABS):
        msg = f"there is a lab {name!r} already"
        raise ValueError(msg)
    LABS.append(LabInfo(name, title, needs, lacks, practice))
    return LABS[-1]


def the_lab(name: str) -> LabInfo:
    """Find a lab by its name or its number, 3 as well as 03; raises `WorkshopError` if there is none."""
    for info in LABS:
        if name and name.zfill(2) in (info.name, info.name[:2]):
            return info
    raise WorkshopError("no-such-lab-or-step", kind="lab", name=name, there=", ".join(info.name for info in LABS))


def the_step(name: str) -> Step:
    """Find a step by its name; raises `WorkshopError` if there is none."""
    if name in STEPS:
        return STEPS[name]
    there = ", ".join(near(name)) or f"{', '.join(info.name for info in LABS)}; labkit agenda lists the steps of each"
    raise WorkshopError("no-such-lab-or-step", kind="step", name=name, there=there)


def near(name: str) -> list[str]:
    """Give the steps that may be meant by an unknown name: the nearest, then the others of the same lab; none where no name is near."""
    word = name.rpartition(".")[2]
    found = get_close_matches(word, STEPS) or [each for each, step in STEPS.items() if word in step.lab]
    return list(dict.fromkeys((*found, *(each.name for each in the_lab(STEPS[found[0]].lab).steps)))) if found else []


def solved(notebook: Any) -> Any:
    """Copy a notebook of nbformat's with each exercise's solution in its starter's place, and a check that insists for the attempt."""
    done = copy.deepcopy(notebook)
    for cell in done.cells:
        if cell.cell_type != "code":
            continue
        if starter := STARTER.match(cell.source):
            cell.source = f"# The solution of {starter[1]}\n{STEPS[starter[1]].solution_code()}"
        else:
            cell.source = re.sub(r"\battempt\(lab, ", "check(lab, ", cell.source)
    return done
