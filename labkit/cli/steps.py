"""The verbs about labs and their steps: check, solve, reset, catch-up, agenda, run."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.display import BAD, OK
from ..config.settings import find_root, own_root
from ..lab import Lab
from .output import print_json

if TYPE_CHECKING:
    from ..course.steps import LabInfo


def check(args: argparse.Namespace) -> int:
    from ..course.steps import LABS, STEPS, attempt, examine

    wanted = [s for s in STEPS.values() if args.lab in (s.lab, s.lab[:2], s.name)]
    if args.lab and not wanted:
        return _unknown(args.lab, ", ".join(STEPS))
    lab = Lab.open()
    if not args.lab:
        here = [info for info in LABS[:-1] if not info.lacks(lab)]
        wanted = [step for info in here for step in info.steps if not step.exercise]
    # Some steps hold before one has begun ("nothing runs"): to look at them here is not to have done them.
    reports = [attempt(lab, step.name) if step.exercise else examine(lab, step.name) for step in wanted]
    if args.json:
        print_json([{"lab": s.lab, "ok": report.ok, **asdict(report)} for s, report in zip(wanted, reports, strict=True)])
    else:
        print("\n".join(str(report) if not report.ok else report.headline() for report in reports))
    return 0 if all(report.ok for s, report in zip(wanted, reports, strict=True) if not s.exercise or args.lab == s.name) else 1


def solve(args: argparse.Namespace) -> int:
    from ..course.steps import STEPS, insist_on_what_is_needed, solve

    lab_name, _, step_name = (STEPS[args.what].path if args.what in STEPS else args.what).partition(".")
    info = _named(lab_name)
    if info is None:
        return 2
    steps = [step for step in info.steps if step_name in ("", step.name)]
    if not steps:
        return _unknown(args.what, ", ".join(step.path for step in info.steps))
    lab = Lab.open()
    insist_on_what_is_needed(lab, info)
    for step in steps:
        report = solve(lab, step)
        print(report.headline() if report.ok else report, flush=True)
        if not report.ok:
            return 1
    return 0


def reset(args: argparse.Namespace) -> int:
    from ..course.steps import reset_lab

    info = _named(args.lab)
    if info is None:
        return 2
    undone = reset_lab(Lab.open(), info)
    print(f"{OK} {info.name}: taken back: {', '.join(undone) or 'nothing, it leaves nothing behind'}")
    if any(step.exercise for step in info.steps):
        print("  of exercises that is what their solutions make; what you gave names of your own stays")
    return 0


def catch_up(args: argparse.Namespace) -> int:
    from ..course.steps import catch_up

    info = _named(args.lab)
    if info is None:
        return 2
    reports = catch_up(Lab.open(), info)
    print("\n".join(report.headline() if report.ok else str(report) for report in reports))
    ok = all(report.ok for report in reports)
    print(f"{OK} begin with {info.name}.ipynb" if ok else f"{BAD} not everything before {info.name} is as it should be")
    return 0 if ok else 1


def agenda(_: argparse.Namespace) -> int:
    from ..course.steps import agenda

    print(agenda(find_root() / "build" / "labs" / "summary.json"))
    return 0


def run(args: argparse.Namespace) -> int:
    from ..course.runner import run
    from ..course.steps import LABS

    unknown = set(args.labs) - {info.name for info in LABS}
    if unknown:
        print(f"✘ no such lab: {', '.join(sorted(unknown))}; there are: {', '.join(info.name for info in LABS)}", file=sys.stderr)
        return 2
    # CI ends a job with SIGTERM; that is to stop the servers as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    output = own_root() / "build" / "labs"
    result = run(args.labs, output)
    if args.json:
        print_json(asdict(result))
    else:
        page = output / "index.html"
        shown = page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page
        print(f"{result.headline()}; look through them: {shown}")
    return 0


def _named(name: str) -> LabInfo | None:
    """The lab of that name or number; None, once that has been said, when there is none."""
    from ..course.steps import LABS, the_lab

    try:
        return the_lab(name)
    except KeyError:
        _unknown(name, ", ".join(info.name for info in LABS))
        return None


def _unknown(what: str, there: str) -> int:
    print(f"{BAD} there is no lab or step {what!r}; there are: {there}", file=sys.stderr)
    return 2
