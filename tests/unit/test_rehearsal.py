"""What a rehearsal makes of what it measured, and what it ends."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest

from labkit.cli import main
from labkit.config.settings import find_root
from labkit.course.runner import checked_in
from labkit.course.steps import LABS, LabInfo
from labkit.room.rehearsal import Memory, Rehearsal, Rehearsed, _clear, _processes

GB = 10**9
MEMORY = Memory(total=24 * GB, free=20 * GB, empty=GB, shared=2 * GB, seats={"anna": GB, "ben": 2 * GB}, peak=4 * GB)


def lab(name: str, *cells: tuple[str, float]) -> dict[str, object]:
    """A lab as in summary.json, of cells with the step that each checks."""
    return {"lab": name, "cells": [{"step": step, "seconds": seconds} for step, seconds in cells]}


LAB_01 = lab("01-keycloak", ("", 1), ("keycloak", 2), ("", 4), ("auditor", 8), ("", 16))
ANNA = Rehearsed("anna", 5, [LAB_01])
BEN = Rehearsed("ben", 7, [lab("01-keycloak", ("keycloak", 9))])
DONE = Rehearsal(100, 0.5, MEMORY, [ANNA, BEN])


def test_a_machine_carries_as_many_people_as_find_room_beside_what_it_and_the_room_take() -> None:
    """A seat takes 1.5 GB, and makes the room grow by 0.5 GB; of 20 GB the machine keeps 2.4, and the room takes 1."""
    assert MEMORY.per_seat == 2 * GB
    assert MEMORY.people == int((20 - 2.4 - 1) / 2) == 8
    assert "about 8 people" in str(DONE)
    assert "(20000 MB were free - 2400 kept for the machine - 1000 for the room) / (1500 for a seat + 500" in str(DONE)


def test_a_machine_that_is_full_carries_nobody() -> None:
    assert replace(MEMORY, free=2 * GB).people == 0


def test_a_step_takes_from_the_one_before_to_its_own_check_and_the_slowest_is_first() -> None:
    assert list(ANNA.steps()) == [("01.keycloak", 3), ("01.auditor", 12)]
    assert DONE.steps() == [("01.auditor", 12, 12, "anna"), ("01.keycloak", 6, 9, "ben")]
    assert DONE.value()["steps"][1] == {"step": "01.keycloak", "mean": 6, "longest": 9, "seat": "ben"}


@pytest.mark.parametrize("info", LABS, ids=lambda info: info.name)
def test_each_step_of_the_labs_is_checked_in_a_cell_of_its_own_by_which_it_is_timed(info: LabInfo) -> None:
    notebook = nbformat.read(find_root() / "notebooks" / f"{info.name}.ipynb", as_version=4)
    found = [checked_in(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    assert sorted(step for steps in found for step in steps) == sorted(step.name for step in info.steps)
    assert max(map(len, found)) == 1


@pytest.mark.fault(
    "Room", "a seat fails in a rehearsal", "the report says whose and why, and not how many people the machine carries; the exit code is 1"
)
def test_a_seat_that_failed_is_named_and_nothing_is_reckoned_from_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    # One that never started took nothing.
    failed = replace(DONE, seats=[ANNA, Rehearsed("ben", 7, failure="it ended")], memory=replace(MEMORY, seats={"anna": 0, "ben": 0}))

    def rehearse(count: int, labs: list[str]) -> Rehearsal:
        asked.append((count, labs))
        return failed

    monkeypatch.setattr("labkit.room.rehearsal.rehearse", rehearse)
    assert main(["room", "rehearse", "2", "01"]) == 1
    said = capsys.readouterr().out
    assert asked[0] == (2, ["01-keycloak"])
    assert "✘ 1 of 2 seats" in said
    assert "✘ ben: it ended" in said
    assert "carries" not in said
    assert main(["room", "rehearse", "2", "--json"]) == 1
    assert '"people"' not in capsys.readouterr().out


@pytest.mark.parametrize("names", [[], ["0"], ["anna"], ["1.5"]])
def test_a_rehearsal_needs_a_number_of_seats(names: list[str]) -> None:
    assert main(["room", "rehearse", *names]) == 2


@pytest.mark.fault("Room", "a rehearsal is interrupted or killed", "all that runs in its folder is ended, and nothing beside it")
def test_all_that_runs_in_a_folder_is_found_by_its_seat_and_ended(tmp_path: Path) -> None:
    """Whatever session it is in, and what it starts without naming the folder; not a folder of a similar name, nor an editor."""
    folder, ending = tmp_path / "rehearsal", "import time; time.sleep(600)"
    starts = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {ending!r}], env={{}}).pid, flush=True); {ending}"

    def begun(code: str, home: Path, *names: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *names], env={"LABKIT_HOME": str(home)}, start_new_session=True, stdout=subprocess.PIPE, text=True
        )

    of_a_seat, of_the_room, beside = (
        begun(ending, folder / "seats/anna/lab"),
        begun(starts, folder / "tmp"),
        begun(ending, tmp_path / "rehearsal-2", str(folder / "seats/anna/build/labs/index.html")),
    )
    try:
        assert of_the_room.stdout is not None
        child = int(of_the_room.stdout.readline())
        found = {process.pid: owner for process, owner in _processes(folder)}
        assert found == {of_a_seat.pid: "anna", of_the_room.pid: "", child: ""}
        _clear(folder)
        assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
        assert [each.poll() is None for each in (of_a_seat, of_the_room, beside)] == [False, False, True]
    finally:
        for each in (of_a_seat, of_the_room, beside):
            each.kill()
            each.wait()
