"""What the tests of faults do to a lab, and what they ask of it afterwards."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from labkit.cluster.local import SERVERS
from labkit.common.ownership import make_private
from labkit.config.settings import find_root
from labkit.course.steps import LABS, STEPS, examine
from labkit.lab import Lab
from tests.support import labkit, session_of

KEPT = "kept"
"""A group and a namespace that somebody made by hand, which no fault may cost them."""

KEYCLOAK = ("kc.sh", "java")
"""Keycloak's processes, the parent first."""

PROCESSES = (*SERVERS, *KEYCLOAK)
"""Every process of a lab; those of the cluster are named as their servers."""


def own_checkout(folder: Path) -> Path:
    """Make a checkout that has the real labs and nothing else, below a folder."""
    root = folder / "checkout"
    make_private(root)
    shutil.copytree(find_root() / "notebooks", root / "notebooks")
    return root


def folder_of_runs(root: Path) -> Path:
    """The state folder of the headless runs of a checkout."""
    return root / "build" / "run-home"


def kill(lab: Lab, victims: Iterable[str]) -> None:
    """SIGKILL processes of `PROCESSES` that run."""
    for victim in victims:
        of_keycloak = victim in KEYCLOAK
        for process in session_of(lab.settings.folder, "keycloak" if of_keycloak else victim):
            if not of_keycloak or (process.name() == "java") == (victim == "java"):
                process.send_signal(signal.SIGKILL)


def enter_everybody(lab: Lab) -> None:
    """Sign everybody in and give them both kinds of context, as labs 03 and 04 do."""
    for username in lab.workshop.access.expected:
        lab.sign_in(username).whoami()
        lab.cluster.enter_exec(username)


def make_group(lab: Lab, name: str) -> None:
    """Make a group in the lab's realm that the workshop does not declare."""
    lab.realm.admin().create_group({"name": name}, skip_exists=True)


def assert_nothing_is_lost(lab: Lab) -> None:
    """What was made by hand is there, in the realm and in the cluster."""
    assert KEPT in [group["name"] for group in lab.realm.admin().get_groups()]
    assert KEPT in lab.cluster.admin_kubectl("get", "namespaces", "-o", "name").output


def assert_works(*verb: str) -> None:
    """A command, in a process of its own, ends well."""
    done = labkit(*verb)
    assert done.returncode == 0, f"labkit {verb}:\n{done.stdout}{done.stderr}"


def assert_whole(lab: Lab) -> None:
    """Every check of every lab holds, but for the last and Kratix's, which is not started here."""
    labs = [step for step in STEPS.values() if step.lab not in ("08-kratix", LABS[-1].name)]
    reports = [examine(lab, step.name) for step in labs if not step.exercise]
    wrong = [str(report) for report in reports if not report.ok]
    assert wrong == [], "\n".join(wrong)
