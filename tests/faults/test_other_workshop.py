"""A workshop that differs from labkit's own in everything that may differ, by flags: a headless run of all labs, and the doctor."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.config.settings import Settings
from labkit.course.faults import FAULTS, Fault
from labkit.course.steps import LABS, STEPS
from labkit.doctor import diagnose
from labkit.lab import Lab
from tests.faults.lab import folder_of_runs, own_checkout
from tests.support import LABKIT, OTHER_WORKSHOP

VARIABLES = {"LABKIT_WORKSHOP": str(OTHER_WORKSHOP), "LABKIT_OIDC": "flags", "LABKIT_CLUSTER": "local", "LABKIT_KEYCLOAK": "local"}
RUN_SECONDS = 1700
"""How long all labs may take on a busy machine."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_checkout(tmp_path_factory.mktemp("other-workshop"))


def opened(root: Path) -> Lab:
    """The lab of the run."""
    return Lab(Settings.load({"LABKIT_HOME": str(folder_of_runs(root)), **VARIABLES}))


@pytest.fixture(scope="module")
def run(root: Path) -> Iterator[subprocess.CompletedProcess[str]]:
    """What `labkit run` has said; its servers are stopped at the end."""
    env = {**os.environ, **VARIABLES}
    try:
        yield subprocess.run([*LABKIT, "run"], capture_output=True, text=True, env=env, cwd=root, check=False)
    finally:
        opened(root).down()


@pytest.mark.timeout(RUN_SECONDS)
def test_a_headless_run_passes_in_that_workshop_and_by_flags(root: Path, run: subprocess.CompletedProcess[str]) -> None:
    assert run.returncode == 0, run.stdout + run.stderr
    summary = json.loads((root / "build" / "labs" / "summary.json").read_text())
    assert [lab["lab"] for lab in summary["labs"] if lab["ok"] or lab["not_run"]] == [info.name for info in LABS]
    assert {lab["lab"] for lab in summary["labs"] if lab["not_run"]} <= {"08-kratix"}
    assert "--oidc-client-id=harbour-cluster" in (root / "build" / "labs" / "02-cluster.ipynb").read_text()


@pytest.fixture(scope="module")
def lab(root: Path, run: subprocess.CompletedProcess[str]) -> Lab:
    """It, up again, with everybody's context and without the newcomer of lab 05."""
    assert run.returncode == 0
    lab = opened(root)
    lab.up()
    STEPS["newcomer"].undo(lab)  # type: ignore[misc] # it has one
    for username in lab.workshop.access.expected:
        lab.sign_in(username).whoami()
    return lab


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_there_each_fault_of_lab_07_is_named_and_mended(lab: Lab, fault: Fault) -> None:
    try:
        fault.switch_on(lab)
        assert set(diagnose(lab).names) == {fault.cause}
    finally:
        fault.mend(lab)
        for username in lab.workshop.access.expected:
            lab.sign_in(username)


def test_there_nothing_is_wrong_after_them(lab: Lab) -> None:
    assert diagnose(lab).names == []
