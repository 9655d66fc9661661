"""Lab 07: From the symptom to the cause, in a lab that is there to be broken."""

from __future__ import annotations

from collections.abc import Iterator

from ..display import Finding
from ..lab import Lab
from ..practice import Practice
from .registry import add_lab

LAB = add_lab("07-break-and-fix", "Break and fix: from the symptom to the cause", needs="programs")


@LAB.step("practice", "no fault is left on in the practice lab", minutes=25)
def practice(lab: Lab) -> Iterator[Finding]:
    patient = Practice(lab)
    if not patient.is_up():
        yield Finding(ok=True, text="the practice lab does not run; when it starts, it starts whole")
        return
    names = ", ".join(found.known.name for found in patient.doctor().found)
    yield Finding(not names, f"in the practice lab the doctor finds: {names or 'nothing'}", "labkit doctor --practice, then labkit mend")


@practice.solution
def _(lab: Lab) -> None:
    Practice(lab).mend()


@practice.reset
def _(lab: Lab) -> None:
    Practice(lab).stop()
