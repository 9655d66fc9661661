"""Every lab but 07, cell by cell under nbval, in order, on real servers; that one is in tests/faults/test_lab_07.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.config.state_folder import open_state_folder
from labkit.course.steps import the_lab
from labkit.lab import Lab
from tests.support import QUICK_LABS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("labs") / "home"
    open_state_folder(folder, environ={}, free_ports=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(folder))
        patch.setenv("LABKIT_KEYCLOAK", "local")
        yield folder
        Lab.open().down()


@pytest.fixture(scope="module")
def passed() -> list[str]:
    """The labs that have passed so far, and those that can't be run here."""
    return []


@pytest.mark.parametrize("name", QUICK_LABS)
def test_a_lab_passes_after_those_before_it(name: str, home: Path, passed: list[str], run_lab: Callable[..., None]) -> None:
    before = QUICK_LABS[: len(passed)]
    assert passed == before, f"not tried: {before[-1]} has not passed"
    if lacks := the_lab(name).lacks(Lab.open()):
        passed.append(name)
        pytest.skip(f"{name} not run, because {lacks}")
    run_lab(name, home)
    passed.append(name)


def test_after_the_last_lab_nothing_runs(home: Path) -> None:
    assert home.is_dir()
    lab = Lab.open()
    assert lab.processes.names() == []
    assert [server.state for server in lab.status().servers] == ["stopped"] * 5
