"""The verbs about the practice lab: break, mend."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ..display import BAD, OK
from ..lab import Lab

_BROKEN = """\
  see for yourself   kubectl --kubeconfig {kubeconfig} --context user-dev get namespaces
                     or in a notebook: patient = Practice(lab).lab, then as in lab 07
  ask for the cause  labkit doctor --practice
  the solution       labkit mend"""


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add them.

    Args:
        verb: Adds one, given its name, its function, a line about it, and more about it.
    """
    added = verb(
        "break",
        _break,
        "break the practice lab, as lab 07 does",
        "It lies within this home, runs beside your own lab, which is left alone, and is started if need be. One fault at a time.",
    )
    added.add_argument("fault", nargs="?", default="", metavar="NAME", help="a fault; if left out they are listed, with the one that is on")
    verb("mend", _mend, "mend the fault that is on in the practice lab", "The solution: try it yourself first, by what the doctor says.")


def _break(args: argparse.Namespace) -> int:
    from ..faults import FAULTS
    from ..practice import Practice

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


def _mend(_: argparse.Namespace) -> int:
    from ..practice import Practice

    fault = Practice(Lab.open()).mend()
    print(f"{OK} mended: {fault}" if fault else f"{OK} no fault is on")
    return 0
