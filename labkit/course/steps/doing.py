"""What is done with steps: begun, checked, attempted, solved, undone."""

from __future__ import annotations

import html
from contextlib import suppress
from dataclasses import dataclass

from ...common.display import BAD, OK, Finding, Findings, folded
from ...common.errors import CheckFailed, EarlierLabMissing, LabkitError
from ...common.waiting import settled
from ...lab import Lab
from ..foreign_errors import show_shortly
from . import helping, progress
from .registry import LABS, STEPS, LabInfo, Step, the_lab, the_step

_MOMENT_SECONDS, _READ_SECONDS = 2, 30
"""How long to look again: after the cell before, and after a solution."""


@dataclass(frozen=True)
class CheckReport(Findings):
    """What a step's check found.

    That an exercise is not done yet is no failure: it comes with the hint and, folded up, the solution; both are empty for other steps.
    """

    step: str
    hint: str = ""
    solution: str = ""

    @property
    def _helps(self) -> bool:
        return bool(self.hint) and not self.ok

    def headline(self) -> str:
        """The result in one line, which names the step."""
        if self._helps:
            return f"… {self.step}: not done yet ({self.count}): {self.title}"
        return f"{OK if self.ok else BAD} {self.step}: {self.title} ({self.count})"

    def __str__(self) -> str:
        given_up = f"\n  hint: {self.hint}\n  the solution, if you give up: labkit solve {STEPS[self.step].path}"
        return super().__str__() + (given_up if self._helps else "")

    @property
    def _folded(self) -> dict[str, str]:
        inside = {"hint": f"<p>{html.escape(self.hint)}</p>", "solution": f"<pre>{html.escape(self.solution)}</pre>"}
        return inside if self._helps else {}

    def html(self) -> str:
        return super().html() + "".join(folded(which.capitalize(), inside) for which, inside in self._folded.items())

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        return {**helping.folded(self.step, super().html(), self._folded), **super()._repr_mimebundle_(**options)}


def begin(name: str) -> Lab:
    """Open the lab and see whether what this notebook builds on is there; the first cell of each notebook.

    Args:
        name: The notebook's name, such as ``"03-rbac"``.

    Raises:
        EarlierLabMissing: It is not; the error names the lab to run first.
    """
    info = the_lab(name)
    lab = Lab.open()
    show_shortly()
    print(f"Lab {info.name[:2]} · {info.title} · about {info.minutes} minutes\n{progress.overview(lab).line()}")
    progress.note_begun(lab, info)
    helping.begun(lab)
    if lacks := info.lacks(lab):
        print(f"{BAD} it can't run here: {lacks}\n  read it without running its cells; the next lab needs nothing of it")
        return lab
    insist_on_what_is_needed(lab, info)
    if info.needs:
        print(f"{OK} what it builds on is there: {STEPS[info.needs].title}")
    return lab


def insist_on_what_is_needed(lab: Lab, info: LabInfo) -> None:
    """Raise `EarlierLabMissing`, which names the first lab that lacks, if the step that a lab builds on is not done."""
    need, missing = info.needs, None
    while need and not (report := examine(lab, need)).ok:
        missing, need = report, the_lab(STEPS[need].lab).needs
    if missing:
        nearest, first = STEPS[info.needs].lab, STEPS[missing.step].lab
        way = f"run {first}.ipynb" + (f", those after it up to {nearest}.ipynb" if first != nearest else "")
        raise EarlierLabMissing("earlier-lab-missing", nearest=nearest, missing=missing.why(), way=way, notebook=info.name)


def examine(lab: Lab, name: str) -> CheckReport:
    """Run a step's check; a check that can't go on is a finding, too."""
    step, found = the_step(name), list[Finding]()
    try:
        found.extend(step.check(lab))
    except LabkitError as error:
        found.append(Finding.of(error.problem))
    return CheckReport(step.title, tuple(found), name, *((step.hint, step.solution_code()) if step.exercise else ()))


def check(lab: Lab, name: str) -> CheckReport:
    """Run a step's check and raise `CheckFailed`, with what is wrong and what to do about each such thing, unless all is well."""
    report = attempt(lab, name)
    if not report.ok:
        raise CheckFailed("check-failed", headline=report.headline(), wrong=report.why(), fixes=report.fix())
    return report


def attempt(lab: Lab, name: str) -> CheckReport:
    """Run a step's check, note the result in the lab's progress and give it, whatever it is; for exercises."""
    return _look(lab, name, _MOMENT_SECONDS)


def solve(lab: Lab, step: Step) -> CheckReport:
    """Do what a step asks for, and check it; raise `LabkitError` where only a person can do it."""
    if step.solve is None:
        report = examine(lab, step.name)
        if report.ok:
            return report
        raise LabkitError("step-by-hand", step=step.path, wrong=report.why(), fixes=report.fix())
    if step.exercise and step.undo is not None and not examine(lab, step.name).ok:
        # What somebody left half-done bears the names that the solution gives. In a hosted realm it may be another's, and stays.
        with suppress(LabkitError):
            step.undo(lab)
    if step.exercise:
        progress.note_opened(lab, step.name, "solution")
    step.solve(lab)
    report = attempt(lab, step.name)
    if not report.ok:
        print(f"… {step.path}: waiting up to {_READ_SECONDS} s until the servers have read it", flush=True)
        report = _look(lab, step.name, _READ_SECONDS)
    return report


def reset_lab(lab: Lab, info: LabInfo) -> list[str]:
    """Take away what a lab's steps leave behind, the last first, and name the steps; what earlier labs left stays."""
    undone = []
    for step in reversed(info.steps):
        if step.undo is not None:
            step.undo(lab)
            undone.append(step.name)
        progress.note(lab, step.name, None)
    return undone


def catch_up(lab: Lab, info: LabInfo) -> list[CheckReport]:
    """Do all that comes before a lab and is not there yet, exercises and what this machine can't run excepted; report on each step."""
    reports = []
    for earlier in (each for each in LABS[: LABS.index(info)] if not each.lacks(lab)):
        for step in (each for each in earlier.steps if not each.exercise):
            report = _look(lab, step.name, 0)
            if not report.ok:
                print(f"… {step.path}: {step.title}", flush=True)
                report = solve(lab, step)
            reports.append(report)
    return reports


def _look(lab: Lab, name: str, seconds: float) -> CheckReport:
    """Run a step's check, again for some seconds unless all is well, and note the result."""
    report = settled(lambda: examine(lab, name), lambda found: found.ok, seconds)
    progress.note(lab, name, report)
    return report
