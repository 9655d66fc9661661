"""Every lab, cell by cell under nbval, in order, on real servers in a home of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.lab import Lab
from labkit.settings import find_root, open_home
from labkit.steps import LABS

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
    notebook = find_root() / "notebooks" / f"{name}.ipynb"
    # One run per notebook, since after a failed cell nbval goes on to the next ones.
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-x", "-q", "-p", "no:cacheprovider", str(notebook)]
    env = {**os.environ, "LABKIT_HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=LAB_SECONDS, check=False, cwd=home)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed.append(name)


def test_after_the_last_lab_nothing_runs(home: Path) -> None:
    assert home.is_dir()
    lab = Lab.open()
    assert lab.processes.names() == []
    assert [row[1] for row in lab.status().rows] == ["stopped"] * 5
