"""`labkit run` that is killed, as `make run-labs` starts it: its kernels end by themselves, and the next run passes and leaves nothing."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from _pytest.mark.structures import ParameterSet

from labkit.lab import Lab
from tests.faults.lab import folder_of_runs, own_checkout
from tests.support import LABKIT, belonging_to, labkit, strays_of, wait_for

GONE_SECONDS = 10
LABS = ("00-start-here", "01-keycloak")
OUTCOME = "its kernel ends by itself, and no server is off the record; the next run passes and leaves nothing"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout of the tests' own; what is left of a run in it is stopped at the end."""
    yield (root := own_checkout(tmp_path_factory.mktemp("runs")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(folder_of_runs(root)))
        Lab.open().down()


def kernels_of(home: Path) -> list[psutil.Process]:
    return belonging_to(home, "ipykernel_launcher")


def between_the_labs(running: subprocess.Popen[str], _: Path, __: random.Random) -> None:
    assert running.stdout is not None
    assert any(line.startswith(f"✔ [1/2] {LABS[0]}") for line in running.stdout)


def while_keycloak_starts(running: subprocess.Popen[str], home: Path, _: random.Random) -> None:
    record = home / "run" / "keycloak.json"
    wait_for(lambda: record.exists() or running.poll() is not None)
    assert kernels_of(home)


def at_a_random_moment(running: subprocess.Popen[str], _: Path, chance: random.Random) -> None:
    with suppress(subprocess.TimeoutExpired):
        running.wait(chance.uniform(1, 25))


def moment(wait: Callable[..., None], what: str, next_labs: tuple[str, ...], nth: int = 0) -> ParameterSet:
    mark = pytest.mark.fault("Commands", f"kill -9 of `make run-labs` {what}", OUTCOME)
    return pytest.param(wait, next_labs, nth, id=f"{what}{nth or ''}".replace(" ", "-"), marks=mark)


@pytest.mark.parametrize(
    ("wait", "next_labs", "nth"),
    [
        moment(between_the_labs, "between two labs", LABS[:1]),
        moment(while_keycloak_starts, "while a lab starts a server", LABS),
        moment(at_a_random_moment, "at a random moment", LABS[:1], 1),
        moment(at_a_random_moment, "at a random moment", LABS[:1], 2),
    ],
)
def test_after_a_killed_run_the_next_one_passes_and_leaves_nothing(
    checkout: Path, chance: random.Random, wait: Callable[..., None], next_labs: tuple[str, ...], nth: int
) -> None:
    home = folder_of_runs(checkout)
    # Each case has a moment of its own.
    chance.seed(chance.random() + nth)
    with subprocess.Popen([*LABKIT, "run", *LABS], cwd=checkout, stdout=subprocess.PIPE, text=True) as running:
        try:
            wait(running, home, chance)
        finally:
            running.kill()
        wait_for(lambda: kernels_of(home) == [], GONE_SECONDS)
        wait_for(lambda: strays_of(home) == [], GONE_SECONDS)
    done = labkit("run", *next_labs, cwd=checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert belonging_to(home) == []
