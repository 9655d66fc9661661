"""What all verbs have in common."""

from __future__ import annotations

import json
import sys

import psutil

from ..cluster.kind.checks import docker_answers
from ..common.errors import NoTerminal
from ..lab import Lab
from ..servers.machine import other_people

_NEIGHBOURS = """
! other people's processes run on this machine: {people} (by their accounts' numbers and login shells).
  This lab's passwords are the published ones: whoever has an account here can be user-admin in its realm, its cluster and its portal.
  For passwords that only you know: LABKIT_SECRETS=own labkit up"""


_KIND = """
Docker answers here, so KinD is one word away: labkit down, then LABKIT_CLUSTER=kind labkit up; lab 02 says what is different there"""


def print_json(value: object) -> None:
    """A result for a script."""
    print(json.dumps(value, indent=1, default=str))


def tell_of_neighbours(lab: Lab) -> None:
    """Say who else is on this machine, if the lab has the secrets that everybody knows."""
    people = other_people() if lab.secrets == "demo" else []
    if people:
        print(_NEIGHBOURS.format(people=", ".join(people)))


def tell_of_kind() -> None:
    """Say that the cluster could be a KinD, where a Docker answers."""
    if docker_answers():
        print(_KIND)


def require_terminal() -> None:
    """Insist that what is printed is shown to somebody, and not kept.

    Raises:
        NoTerminal: Standard output is none; or it is one that a notebook's kernel made, as ``!`` in a cell does.
    """
    if sys.stdout.isatty() and not _below_a_kernel():
        return
    msg = "a password is shown in a terminal only"
    why = "here it would be kept, in a notebook, a file or another program"
    raise NoTerminal(msg, why=why, fix="call it in a terminal; JupyterLab has one: File, New, Terminal")


def _below_a_kernel() -> bool:
    for process in psutil.Process().parents():
        try:
            line = process.cmdline()
        except psutil.Error:
            # Another user's, as sudo is: no kernel of ours.
            continue
        if any("ipykernel" in argument for argument in line):
            return True
    return False
