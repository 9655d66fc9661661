"""The practice lab's bookkeeping, without a server: what is on, what is refused, what belongs to the learner's lab."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import labkit.course.practice
from labkit.common.errors import CheckFailed, PracticeError
from labkit.common.platform_folder import OWN
from labkit.common.problems import problem
from labkit.config.files import write_private
from labkit.config.settings import Settings
from labkit.course.faults import FAULTS
from labkit.course.practice import Practice
from labkit.course.steps import examine
from labkit.doctor import Diagnosis
from labkit.doctor.diagnosis import Found
from labkit.lab import Lab
from labkit.servers.processes import Server


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A learner's lab in which nothing was ever started."""
    return Lab(Settings.open({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_CLUSTER": "local"}))


def start_something(lab: Lab) -> None:
    """Have a process on record in a lab, in place of a server that takes seconds to start."""
    lab.processes.start(Server("etcd", (sys.executable, "-I", "-c", "import signal; signal.pause()"), (), lambda: True))


class Patient:
    """In place of real faults and the real doctor, which tests/faults and lab 07 prove: a lab that is ill with what was switched on."""

    def __init__(self, practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ills: list[str] = []
        self.practice = practice
        for name, fault in FAULTS.items():
            monkeypatch.setitem(FAULTS, name, dataclasses.replace(fault, switch_on=self._fall_ill(name), mend=lambda _: self.recover()))
        monkeypatch.setattr(labkit.course.practice, "diagnose", self._diagnose)

    def recover(self) -> None:
        self.ills.clear()

    def _fall_ill(self, name: str) -> Callable[[Lab], object]:
        return lambda _: self.ills.append(name)

    def _diagnose(self, _: Lab, called: str) -> Diagnosis:
        return Diagnosis(tuple(Found(problem(FAULTS[name].cause, lab=called), "as seen") for name in self.ills), ("all",), ())


@pytest.fixture
def sandbox(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    """A practice lab that counts as up, with `Patient` for what can be wrong with it."""
    practice = Practice(lab)
    start_something(practice.lab)
    yield Patient(practice, monkeypatch)
    practice.stop()


def test_the_practice_lab_is_local_and_its_own_whatever_the_learners_is(tmp_path: Path) -> None:
    elsewhere = {"LABKIT_CLUSTER": "external", "LABKIT_CONTEXT": "theirs", "LABKIT_KEYCLOAK_URL": "https://sso.example.com"}
    own = {"LABKIT_OIDC": "structured", "LABKIT_WORKSHOP": str(tmp_path / "another"), "LABKIT_HOME": str(tmp_path / "home")}
    learners = Settings.open({**elsewhere, **own})
    inner = learners.within(learners.state.practice)
    assert (inner.cluster, inner.context, inner.hosted, inner.oidc) == ("local", "", None, "flags")
    assert inner.workshop_folder == OWN
    assert inner.folder == learners.folder / "practice"
    assert inner.folder_id != learners.folder_id
    assert set(inner.ports.values()).isdisjoint(learners.ports.values())
    assert learners.within(learners.state.practice) == inner


def test_before_it_is_started_nothing_can_be_done_with_it_and_nothing_is_made(lab: Lab) -> None:
    practice = Practice(lab)
    for ask in (practice.doctor, practice.mended, lambda: practice.switch_on("wrong-ca")):
        with pytest.raises(PracticeError, match="does not run") as refusal:
            ask()
        assert "labkit break NAME" in refusal.value.fix
    assert examine(lab, "practice").ok
    assert practice.fault is None
    assert [*lab.settings.folder.glob("practice")] == []


def test_an_unknown_fault_is_refused_with_those_there_are(sandbox: Patient) -> None:
    with pytest.raises(PracticeError, match="no fault 'wrong'") as refusal:
        sandbox.practice.switch_on("wrong")
    assert "wrong-issuer" in refusal.value.fix


def test_a_fault_is_switched_on_by_its_number_which_gives_nothing_away(sandbox: Patient) -> None:
    for number in (0, len(FAULTS) + 1):
        with pytest.raises(PracticeError, match=f"no fault {number}"):
            sandbox.practice.switch_on(number)
    sandbox.practice.switch_on(list(FAULTS).index("wrong-ca") + 1)
    assert sandbox.ills == ["wrong-ca"]


def test_switching_on_tells_the_symptom_and_a_notebook_beside_sees_which_it_is(
    lab: Lab, sandbox: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.practice.switch_on("wrong-issuer")
    assert problem("wrong-issuer").what in capsys.readouterr().out
    beside = Practice(lab)
    assert beside.fault == FAULTS["wrong-issuer"]
    assert [row[0] for row in beside.faults().rows if row[1] == "on"] == ["wrong-issuer"]
    assert "wrong-issuer is on" in str(beside)


def test_it_is_one_fault_at_a_time_and_the_refusal_does_not_give_away_which_is_on(sandbox: Patient) -> None:
    sandbox.practice.switch_on("missing-binding")
    sandbox.practice.switch_on("missing-binding")
    with pytest.raises(PracticeError, match="one fault at a time") as refusal:
        sandbox.practice.switch_on("wrong-ca")
    assert "practice.doctor()" in refusal.value.fix
    assert "binding" not in str(refusal.value)
    assert sandbox.ills == ["missing-binding"]


def test_what_was_mended_by_hand_stands_in_nothings_way(sandbox: Patient) -> None:
    sandbox.practice.switch_on("missing-binding")
    sandbox.recover()
    sandbox.practice.switch_on("wrong-ca")
    assert sandbox.ills == ["wrong-ca"]


def test_mended_insists_that_the_doctor_finds_nothing_and_takes_note(sandbox: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.course.practice._READ_SECONDS", 0)
    sandbox.practice.switch_on("wrong-ca")
    with pytest.raises(CheckFailed, match="not whole: the API server has a CA") as failure:
        sandbox.practice.mended()
    assert failure.value.fix == problem("wrong-ca", lab="sandbox").fix
    sandbox.recover()
    sandbox.practice.mended()
    assert sandbox.practice.fault is None


def test_what_a_server_reads_late_counts_as_mended(sandbox: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor = sandbox.practice.doctor

    def well_after_the_first_look() -> Diagnosis:
        seen = doctor()
        sandbox.recover()
        return seen

    sandbox.practice.switch_on("missing-binding")
    monkeypatch.setattr(sandbox.practice, "doctor", well_after_the_first_look)
    sandbox.practice.mended()


def test_the_solution_mends_what_is_on_and_does_nothing_when_nothing_is(sandbox: Patient) -> None:
    assert sandbox.practice.mend() is None
    sandbox.practice.switch_on("wrong-ca")
    assert sandbox.practice.mend() == FAULTS["wrong-ca"]
    assert (sandbox.ills, sandbox.practice.fault) == ([], None)


def test_a_fault_that_came_half_on_is_known_as_well(sandbox: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Lab) -> None:
        sandbox.ills.append("wrong-ca")
        raise KeyboardInterrupt

    monkeypatch.setitem(FAULTS, "wrong-ca", dataclasses.replace(FAULTS["wrong-ca"], switch_on=fail))
    with pytest.raises(KeyboardInterrupt):
        sandbox.practice.switch_on("wrong-ca")
    assert sandbox.practice.mend() == FAULTS["wrong-ca"]


def test_the_check_of_the_lab_fails_while_a_fault_is_on(lab: Lab, sandbox: Patient) -> None:
    assert examine(lab, "practice").ok
    sandbox.practice.switch_on("full-group-path")
    report = examine(lab, "practice")
    assert "the doctor finds: full-group-path" in report.why()
    assert "labkit mend" in report.fix()


def test_the_learners_lab_names_the_practice_labs_servers_and_stops_them_with_its_own(lab: Lab) -> None:
    practice = Practice(lab)
    start_something(practice.lab)
    start_something(lab)
    assert [server.name for server in lab.status().servers if server.runs] == ["etcd", "practice: etcd"]
    assert "practice: etcd: runs" in examine(lab, "stopped").why()
    assert lab.down() == ["practice: etcd", "etcd"]
    assert practice.lab.processes.names() == []
    assert not practice.is_up()
    assert examine(lab, "stopped").ok


def test_forgetting_people_forgets_them_in_the_practice_lab_as_well(lab: Lab) -> None:
    kept = Practice(lab).lab.settings.folder / "credentials" / "user-dev.json"
    write_private(kept, "{}")
    assert lab.people_on_disk() == ["practice: user-dev.json"]
    assert lab.forget_people() == ["practice: user-dev.json"]
    assert not kept.exists()
