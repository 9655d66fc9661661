"""A rehearsal of two seats that do labs 00 to 03, on real servers."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labkit.course.steps import LABS
from tests.support import LABKIT, belonging_to, own_state_folder, wait_for

SEATS = ("rehearsal-1", "rehearsal-2")
NUMBERS = ("00", "01", "02", "03")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state folder for what is rehearsed beside it; nothing of it runs afterwards."""
    with own_state_folder(tmp_path / "home") as home:
        yield home
        assert belonging_to(home) == []


@pytest.fixture
def rehearsing(home: Path) -> Iterator[subprocess.Popen[str]]:
    """`labkit room rehearse` of two seats, just begun."""
    command = [*LABKIT, "room", "rehearse", str(len(SEATS)), *NUMBERS, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        yield running
        running.terminate()


def test_two_seats_do_their_labs_and_the_report_says_what_that_took(home: Path, rehearsing: subprocess.Popen[str]) -> None:
    said, errors = rehearsing.communicate()
    assert rehearsing.returncode == 0, said + errors
    found = json.loads(said)
    assert [(seat["name"], seat["ok"], [lab["lab"][:2] for lab in seat["labs"]]) for seat in found["seats"]] == [
        (name, True, list(NUMBERS)) for name in SEATS
    ]
    labs = [info for info in LABS if info.name[:2] in NUMBERS]
    assert {f"{info.name[:2]}.{step.name}" for info in labs for step in info.steps} == {step["step"] for step in found["steps"]}
    machine = found["machine"]
    assert 0 < machine["empty"] <= machine["shared"] < machine["peak"] < machine["total"]
    # An API server alone takes more.
    assert all(seat["memory"] > 200e6 and seat["processor"] > 10 for seat in found["seats"])
    assert machine["peak"] <= machine["shared"] + sum(seat["memory"] for seat in found["seats"])
    assert machine["people"] > 0
    assert not (home / "rehearsal").exists()


@pytest.mark.fault(
    "Room", "a rehearsal is interrupted, or killed and begun again", "nothing of it runs on; the second time, what the first left is ended"
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_rehearsal_that_is_ended_early_leaves_nothing(home: Path, rehearsing: subprocess.Popen[str], number: signal.Signals) -> None:
    """In the middle of lab 02, when each seat has servers of its own."""
    wait_for(lambda: len(belonging_to(home, "kube-apiserver")) >= len(SEATS), 400)
    running = [process for process in belonging_to(home) if process.pid != rehearsing.pid]
    rehearsing.send_signal(number)
    rehearsing.communicate()
    if number == signal.SIGKILL:
        again = subprocess.run([*LABKIT, "room", "rehearse", "1", "00"], capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stdout + again.stderr
    else:
        assert rehearsing.returncode == 130
    assert [process for process in running if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
