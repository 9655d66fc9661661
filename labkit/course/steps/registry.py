"""The labs and their steps: what is declared of each, and by which words."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator

from ...common.display import Finding
from ...lab import Lab
from ..questions import Question

Check = Callable[[Lab], Iterator[Finding]]
"""Reads the real servers and yields what it saw, each with what to do if that is wrong; changes nothing."""

Act = Callable[[Lab], object]
"""Does something to the lab; done twice it comes to the same."""


class Step:
    """A step of a lab: what holds once it is done, and how that is seen, brought about and undone.

    Made by `LabInfo.step` and `LabInfo.exercise`, which decorate its check; `solution` and `reset` decorate the other two.

    Attributes:
        lab: The lab's name.
        name: What notebooks and ``labkit check`` call it; no two steps share one.
        title: What holds once it is done.
        minutes: How long a reader takes for it.
        check: Its check.
        hint: For an exercise: what to think of, without saying all; the docstring of its check.
        exercise: Whether it is left to the learner.
        solve: Does what the step asks for; None where only a person can.
        undo: Takes away what the step leaves behind; None where it leaves nothing.
    """

    def __init__(self, lab: str, name: str, title: str, minutes: int, check: Check, *, exercise: bool = False) -> None:
        self.lab, self.name, self.title, self.minutes = lab, name, title, minutes
        self.check, self.hint, self.exercise = check, " ".join((inspect.getdoc(check) or "").split()), exercise
        self.solve: Act | None = None
        self.undo: Act | None = None

    @property
    def path(self) -> str:
        """The step within its lab, as ``labkit solve`` takes it: ``01-keycloak.realm``."""
        return f"{self.lab}.{self.name}"

    def solution(self, act: Act) -> Act:
        """Register the solution; decorates it.

        An exercise's solution is also what stands in the notebook's place for it when nobody is there to write one: of the
        notebook's names it may use ``lab`` alone, and it imports what it needs.
        """
        self.solve = act
        return act

    def reset(self, act: Act) -> Act:
        """Register what undoes the step; decorates it."""
        self.undo = act
        return act

    def solution_code(self) -> str:
        """The solution as a notebook's cell would have it: the lines of the function, without its head."""
        if self.solve is None:
            return ""
        source = textwrap.dedent(inspect.getsource(self.solve))
        function = ast.parse(source).body[0]
        assert isinstance(function, ast.FunctionDef)  # noqa: S101 # a lambda can't be decorated
        return textwrap.dedent("\n".join(source.splitlines()[function.body[0].lineno - 1 :])).strip()


class LabInfo:
    """A lab of the workshop; made by `add_lab`.

    Attributes:
        name: Its notebook's name without ``.ipynb``.
        title: What it is called.
        needs: The step of an earlier lab without which it can't begin; empty when it needs none.
        question: What a reader is asked at its end, if anything.
        lacks: Says why it can't be run on this machine; empty when it can.
    """

    def __init__(self, name: str, title: str, needs: str = "", lacks: Callable[[Lab], str] | None = None) -> None:
        self.name, self.title, self.needs, self.lacks = name, title, needs, lacks or (lambda _: "")
        self.question: Question | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its steps, in their order."""
        return tuple(step for step in STEPS.values() if step.lab == self.name)

    @property
    def minutes(self) -> int:
        """About how long a reader takes."""
        return sum(step.minutes for step in self.steps)

    def step(self, name: str, title: str, *, minutes: int) -> Callable[[Check], Step]:
        """Add a step; decorates its check."""
        return self._add(name, title, minutes, exercise=False)

    def exercise(self, name: str, title: str, *, minutes: int) -> Callable[[Check], Step]:
        """Add a step that is left to the learner; decorates its check, whose docstring is the hint."""
        return self._add(name, title, minutes, exercise=True)

    def _add(self, name: str, title: str, minutes: int, *, exercise: bool) -> Callable[[Check], Step]:
        def register(check: Check) -> Step:
            if name in STEPS:
                msg = f"step {name!r} of lab {self.name!r}: {STEPS[name].lab} has one of that name"
                raise ValueError(msg)
            STEPS[name] = Step(self.name, name, title, minutes, check, exercise=exercise)
            return STEPS[name]

        return register


LABS: list[LabInfo] = []
"""The labs in their order."""

STEPS: dict[str, Step] = {}
"""Every step by its name, in the order of the labs."""


def add_lab(name: str, title: str, *, needs: str = "", lacks: Callable[[Lab], str] | None = None) -> LabInfo:
    """Add a lab after those that are there; see `LabInfo`."""
    if any(info.name == name for info in LABS):
        msg = f"there is a lab {name!r} already"
        raise ValueError(msg)
    LABS.append(LabInfo(name, title, needs, lacks))
    return LABS[-1]


def the_lab(name: str) -> LabInfo:
    """The lab of that name, or of that number.

    Raises:
        KeyError: There is none.
    """
    for info in LABS:
        if name in (info.name, info.name[:2]):
            return info
    raise KeyError(name)
