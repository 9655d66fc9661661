"""What is done with steps: begun, checked, attempted, solved, undone."""

from __future__ import annotations

import html
from dataclasses import dataclass

from ...common.display import BAD, OK, Finding, Findings
from ...common.errors import CheckFailed, EarlierLabMissing, LabkitError
from ...lab import Lab
from ..questions import Question
from . import progress
from .registry import LABS, STEPS, LabInfo, Step, the_lab


@dataclass(frozen=True)
class CheckReport(Findings):
    """What a step's check found; ``ok`` when all is as it should be."""

    step: str

    def headline(self) -> str:
        """The result in one line, which names the step."""
        mark, rest = super().headline().split(" ", 1)
        return f"{mark} {self.step}: {rest}"


@dataclass(frozen=True)
class AttemptReport(CheckReport):
    """What the check of an exercise found; what is not done yet is no failure, and comes with the hint and, folded up, the solution."""

    hint: str
    solution: str

    def headline(self) -> str:
        """The result in one line."""
        if self.ok:
            return super().headline()
        done = f"{len(self.findings) - len(self.bad)} of {len(self.findings)}"
        return f"… {self.step}: not done yet ({done}): {self.title}"

    def __str__(self) -> str:
        if self.ok:
            return super().__str__()
        return f"{super().__str__()}\n  hint: {self.hint}\n  the solution, if you give up: labkit solve {STEPS[self.step].path}"

    def html(self) -> str:
        if self.ok:
            return super().html()
        folded = (("Hint", f"<p>{html.escape(self.hint)}</p>"), ("Solution", f"<pre>{html.escape(self.solution)}</pre>"))
        return super().html() + "".join(f"<details><summary>{title}</summary>{inside}</details>" for title, inside in folded)


def begin(name: str) -> Lab:
    """Open the lab and see whether what this notebook builds on is there; the first cell of each notebook.

    Args:
        name: The notebook's name, such as ``"03-rbac"``.

    Raises:
        EarlierLabMissing: It is not; the error names the lab to run first.
    """
    info = the_lab(name)
    lab = Lab.open()
    print(f"Lab {info.name[:2]} · {info.title} · about {info.minutes} minutes\n{progress.line(lab)}")
    if lacks := info.lacks(lab):
        print(f"{BAD} it can't run here: {lacks}\n  read it without running its cells; the next lab needs nothing of it")
        return lab
    insist_on_what_is_needed(lab, info)
    if info.needs:
        print(f"{OK} what it builds on is there: {STEPS[info.needs].title}")
    return lab


def insist_on_what_is_needed(lab: Lab, info: LabInfo) -> None:
    """Raises `EarlierLabMissing` if the step of an earlier lab that a lab builds on is not done; it names the first lab that lacks."""
    need, missing = info.needs, None
    while need and not (report := examine(lab, need)).ok:
        missing, need = report, the_lab(STEPS[need].lab).needs
    if missing:
        nearest, first = STEPS[info.needs].lab, STEPS[missing.step].lab
        msg = f"this lab builds on {nearest}, and what that leaves behind is not there"
        way = f"run {first}.ipynb" + (f", those after it up to {nearest}.ipynb" if first != nearest else "")
        fix = f"{way}, then this cell again; or, in a terminal, labkit catch-up {info.name} does all that comes before it"
        raise EarlierLabMissing(msg, why=missing.why(), fix=fix)


def examine(lab: Lab, name: str) -> CheckReport:
    """Run a step's check; a check that can't go on is a finding, too."""
    found: list[Finding] = []
    step = STEPS[name]
    try:
        found.extend(step.check(lab))
    except LabkitError as error:
        found.append(Finding(ok=False, text=error.what + (f": {error.why}" if error.why else ""), fix=error.fix))
    if step.exercise:
        return AttemptReport(step.title, tuple(found), name, step.hint, step.solution_code())
    return CheckReport(step.title, tuple(found), name)


def check(lab: Lab, name: str) -> CheckReport:
    """Run a step's check and insist on it.

    Args:
        lab: The lab.
        name: The step's name.

    Raises:
        CheckFailed: Something is missing or wrong; each such thing is named with what to do.
    """
    report = attempt(lab, name)
    if not report.ok:
        raise CheckFailed(report.headline(), why=report.why(), fix=report.fix())
    return report


def attempt(lab: Lab, name: str) -> CheckReport:
    """Run a step's check, note the result in the lab's progress and give it, whatever it is; for exercises.

    Args:
        lab: The lab.
        name: The step's name.
    """
    report = examine(lab, name)
    progress.note(lab, name, done=report.ok)
    return report


def question(name: str) -> Question:
    """What a lab asks of its reader.

    Args:
        name: The lab's name.

    Raises:
        LabkitError: It asks nothing.
    """
    asked = the_lab(name).question
    if asked is None:
        msg = f"{name} has no question"
        raise LabkitError(msg, fix="give it one in its module of labkit/course/steps: LAB.question = Question(…)")
    return asked


def solve(lab: Lab, step: Step) -> CheckReport:
    """Do what a step asks for, and check it.

    Raises:
        LabkitError: There is nothing that can be done by itself, or it failed.
    """
    if step.solve is None:
        report = examine(lab, step.name)
        if report.ok:
            return report
        msg = f"{step.path} can't be done for you"
        raise LabkitError(msg, why=report.why(), fix=report.fix())
    step.solve(lab)
    return attempt(lab, step.name)


def reset_lab(lab: Lab, info: LabInfo) -> list[str]:
    """Take away what a lab's steps leave behind, the last first; what earlier labs left stays.

    Returns:
        The names of the steps that had something to take away.
    """
    undone = []
    for step in reversed(info.steps):
        if step.undo is not None:
            step.undo(lab)
            undone.append(step.name)
        progress.note(lab, step.name, done=False)
    return undone


def catch_up(lab: Lab, info: LabInfo) -> list[CheckReport]:
    """Do all that comes before a lab and is not there yet, exercises and what this machine can't run excepted; for who comes late.

    Returns:
        What was found of each step in the end, in order.
    """
    reports = []
    for earlier in (each for each in LABS[: LABS.index(info)] if not each.lacks(lab)):
        for step in (each for each in earlier.steps if not each.exercise):
            report = attempt(lab, step.name)
            if not report.ok:
                print(f"… {step.path}: {step.title}", flush=True)
                report = solve(lab, step)
            reports.append(report)
    return reports
