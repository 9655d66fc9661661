"""Breaking a practice lab and mending it, in a notebook and in a terminal; test_lab_07.py runs the lab itself, with ten faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.common.errors import ServerError, SignInRefused
from labkit.common.expectation import expect
from labkit.config.state_folder import open_state_folder
from labkit.course.practice import Practice
from labkit.course.steps import STEPS, attempt, examine, solve
from labkit.course.steps.lab_07_break_and_fix import take_by
from labkit.lab import Lab
from tests.faults.lab import enter_everybody
from tests.support import labkit


@pytest.fixture
def practice(lab: Lab, tmp_path: Path) -> Iterator[Practice]:
    """The tests' own lab, whole, as the practice lab of an empty one: to start another takes half a minute."""
    enter_everybody(lab)
    home = tmp_path / "home"
    open_state_folder(home, environ={}, free_ports=True)
    (home / "practice").symlink_to(lab.settings.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(home))
        practice = Practice(Lab.open())
        yield practice
        practice.mend()


def test_what_a_terminal_breaks_the_notebook_sees_and_mends_as_the_doctor_says(practice: Practice) -> None:
    broken = labkit("break", "user-without-profile")
    assert broken.returncode == 0, broken.stderr
    assert "signing in is refused: Account is not fully set up" in broken.stdout
    assert practice.fault is not None
    with expect(SignInRefused):
        practice.lab.sign_in("user-dev")
    said = practice.doctor()
    assert said.names == ["user-unfinished"]
    assert "sandbox.realm.apply()" in said.found[0].problem.fix
    practice.lab.realm.apply()
    practice.mended()
    listed = labkit("break")
    assert (listed.returncode, "  on  " in listed.stdout) == (0, False)


def test_the_terminal_names_what_the_notebook_broke_and_has_the_solution(practice: Practice) -> None:
    practice.switch_on("missing-binding")
    said = labkit("doctor", "--practice", "--json")
    assert said.returncode == 1
    assert [found["problem"]["id"] for found in json.loads(said.stdout)["found"]] == ["binding-missing"]
    another = labkit("break", "wrong-ca")
    assert another.returncode == 1
    assert "one fault at a time" in another.stderr
    mended = labkit("mend")
    assert mended.returncode == 0, mended.stderr
    assert "mended: missing-binding" in mended.stdout
    assert practice.fault is None


@pytest.fixture
def lab_to_solve(practice: Practice) -> Iterator[Lab]:
    yield Lab.open()
    practice.start()


def test_the_exercise_wants_a_rule_that_lets_the_one_in_and_keeps_the_other_out(lab_to_solve: Lab) -> None:
    step = STEPS["verified-email"]
    assert [finding.ok for finding in examine(lab_to_solve, step.name).findings] == [True, False, False]
    take_by(lab_to_solve, "true")
    assert [finding.ok for finding in attempt(lab_to_solve, step.name).findings] == [True, True, False]
    assert solve(lab_to_solve, step).ok
    assert step.undo
    step.undo(lab_to_solve)
    assert not examine(lab_to_solve, step.name).ok


def test_a_rule_that_is_no_cel_is_refused_in_the_api_servers_words_and_the_next_one_counts(lab_to_solve: Lab) -> None:
    with pytest.raises(ServerError) as refused:
        take_by(lab_to_solve, "claims.email_verified ==")
    assert "mismatched input" in str(refused.value)
    take_by(lab_to_solve, "false")
    assert [finding.ok for finding in attempt(lab_to_solve, "verified-email").findings] == [True, False, True]
