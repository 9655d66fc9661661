"""Every lab, cell by cell under nbval, in order, on real servers in a home of their own; then some in somebody else's cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.lab import Lab
from labkit.settings import find_root, open_home
from labkit.steps import LABS

from ..snapshots import settled, snapshot

LAB_SECONDS = 800


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("labs") / "home"
    open_home(folder, environ={}, free_ports=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(folder))
        yield folder
        Lab.open().down()


@pytest.fixture(scope="module")
def passed() -> list[str]:
    """The labs that have passed so far."""
    return []


@pytest.mark.parametrize("name", [info.name for info in LABS])
def test_a_lab_passes_after_those_before_it(name: str, home: Path, passed: list[str]) -> None:
    before = [info.name for info in LABS][: len(passed)]
    assert passed == before, f"not tried: {before[-1]} has not passed"
    run_lab(name, home)
    passed.append(name)


def test_after_the_last_lab_nothing_runs(home: Path) -> None:
    assert home.is_dir()
    lab = Lab.open()
    assert lab.processes.names() == []
    assert [row[1] for row in lab.status().rows] == ["stopped"] * 4


@pytest.fixture(scope="module")
def elsewhere(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that name a cluster of somebody else's, here another home's, whose API server trusts the realm; the labs have ended."""
    lab = Lab.open()
    lab.keycloak.start()
    folder = tmp_path_factory.mktemp("theirs") / "home"
    state = open_home(folder, environ={}, free_ports=True)
    ports: dict[str, int] = state["ports"]  # type: ignore[assignment]
    theirs = Lab(replace(lab.settings, home=folder, home_id=str(state["id"]), ports=ports))
    try:
        theirs.cluster.provider.start(lab.cluster.trust)
        theirs.cluster.kubeconfig.write_admin(theirs.cluster.endpoint)
        theirs.cluster.admin_kubectl("create", "namespace", "theirs")
        before = settled(theirs)
        yield {
            "LABKIT_CLUSTER": "external",
            "LABKIT_CONTEXT": theirs.cluster.endpoint.name,
            "KUBECONFIG": str(theirs.cluster.kubeconfig.path),
        }
        assert snapshot(theirs) == before, "the labs left something, or changed what is not theirs"
    finally:
        theirs.down()


@pytest.mark.parametrize("name", [info.name for info in LABS if info.name[:2] in ("02", "03", "04", "05", "06", "09")])
def test_a_lab_passes_unchanged_in_a_cluster_that_somebody_else_runs(name: str, home: Path, elsewhere: dict[str, str]) -> None:
    run_lab(name, home, **elsewhere)


def run_lab(name: str, home: Path, **environ: str) -> None:
    notebook = find_root() / "notebooks" / f"{name}.ipynb"
    # One run per notebook, since after a failed cell nbval goes on to the next ones.
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-x", "-q", "-p", "no:cacheprovider", str(notebook)]
    env = {**os.environ, "LABKIT_HOME": str(home), **environ}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=LAB_SECONDS, check=False, cwd=home)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
