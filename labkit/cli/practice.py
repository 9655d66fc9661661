"""The verbs about the practice lab: break, mend."""

from __future__ import annotations

import argparse
import sys

from ..common.display import BAD, OK
from ..lab import Lab

_BROKEN = """\
  see for yourself   kubectl --kubeconfig {kubeconfig} --context user-dev get namespaces
                     or in a notebook: patient = Practice(lab).lab, then as in lab 07
  ask for the cause  labkit doctor --practice
  the solution       labkit mend"""


def break_(args: argparse.Namespace) -> int:
    from ..course.faults import FAULTS
    from ..course.practice import Practice

    practice = Practice(Lab.open())
    if not args.fault:
        print(practice.faults())
        return 0
    if args.fault not in FAULTS:
        print(f"{BAD} there is no fault {args.fault!r}; there are: {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    if not practice.is_up():
        practice.start()
    practice.switch_on(args.fault)
    print(_BROKEN.format(kubeconfig=practice.lab.cluster.kubeconfig.path))
    return 0


def mend(_: argparse.Namespace) -> int:
    from ..course.practice import Practice

    fault = Practice(Lab.open()).mend()
    print(f"{OK} mended: {fault}" if fault else f"{OK} no fault is on")
    return 0
