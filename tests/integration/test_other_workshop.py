"""I: the labs, the checks, the doctor and the portal in a workshop that differs from labkit's own in everything that may differ.

test_labs_elsewhere.py runs its notebooks, and tests/faults/test_other_workshop.py runs all its labs by flags, with lab 07.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.course.steps import LABS, STEPS, check, solve
from labkit.doctor import diagnose
from labkit.lab import Lab

from ..support import OTHER_WORKSHOP

NAMES = [info.name for info in LABS if "01" <= info.name[:2] <= "06"]
STEPS_OF_THEM = [name for name, step in STEPS.items() if step.lab in NAMES]

NEWCOMER = ["undeclared-members"]
"""What the doctor finds once lab 05 is solved, in any workshop: its exercise puts somebody new into the reader's group."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab in that workshop, with everything up."""
    home = tmp_path_factory.mktemp("other-workshop") / "home"
    open_state_folder(home, environ={}, free_ports=True)
    variables = {"LABKIT_HOME": str(home), "LABKIT_WORKSHOP": str(OTHER_WORKSHOP), "LABKIT_CLUSTER": "local", "LABKIT_KEYCLOAK": "local"}
    lab = Lab(Settings.open(variables))
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


def test_there_the_doctor_finds_nothing(lab: Lab) -> None:
    assert diagnose(lab).names == []
    assert not lab.realm.plan().pending


def test_there_the_portal_shows_people_with_the_groups_of_the_other_claim(lab: Lab) -> None:
    """B45: the groups stand in a claim of another name."""
    session = lab.portal.sign_in("otto")
    known, groups = session.known(), ("group:default/everybody", "group:default/onduty")
    assert set(known.owns_as) == {"user:default/otto", *groups}
    session.sign_out()


def test_there_a_role_in_a_namespace_is_given_in_that_one_alone(lab: Lab) -> None:
    builder = lab.cluster.api(lab.session("anke"))
    assert builder.can("create", "configmaps", namespace="kube-public")
    assert not builder.can("create", "configmaps", namespace="default")
    lab.cluster.admin_kubectl("delete", "rolebinding", "builders", "--namespace=kube-public")
    assert diagnose(lab).names == ["binding-missing"]
    lab.cluster.rbac.apply()


def test_there_every_step_can_be_solved_and_passes(lab: Lab, tmp_path: Path) -> None:
    """B09: by flags, and with accounts' ids for the API server's users, so that nothing is as in the notebooks before."""
    folder = tmp_path / "workshop"
    shutil.copytree(OTHER_WORKSHOP, folder)
    for name in ("oidc-flags.yaml", "authentication.yaml"):
        file = folder / name
        file.write_text(file.read_text().replace("claim: preferred_username", "claim: sub"))
    other = Lab(replace(lab.settings, workshop_folder=folder, oidc="flags"))
    other.cluster.start()
    for name in STEPS_OF_THEM:
        if STEPS[name].solve:
            solve(other, STEPS[name])
    for name in STEPS_OF_THEM:
        check(other, name)
    assert diagnose(other).names == NEWCOMER
