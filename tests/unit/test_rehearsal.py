"""What a rehearsal makes of what it measured, and what it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import nbformat
import psutil
import pytest

from labkit.cli import main
from labkit.common.errors import RoomError
from labkit.config.settings import find_root
from labkit.course.runner import checked_in
from labkit.course.steps import LABS, LabInfo
from labkit.room.hub import Hub
from labkit.room.measuring import Measure, end_all, processes
from labkit.room.report import Machine, Rehearsal, Rehearsed

GB = 10**9
MACHINE = Machine(busy=0.5, total=24 * GB, free=20 * GB, empty=GB, shared=2 * GB, peak=4 * GB)


def lab(name: str, *cells: tuple[str, float]) -> dict[str, object]:
    """A lab as in summary.json, of cells with the step that each checks."""
    return {"lab": name, "cells": [{"step": step, "seconds": seconds} for step, seconds in cells]}


LAB_01 = lab("01-keycloak", ("", 1), ("keycloak", 2), ("", 4), ("auditor", 8), ("", 16))
ANNA = Rehearsed("anna", 5, [LAB_01], memory=GB, processor=30)
BEN = Rehearsed("ben", 7, [lab("01-keycloak", ("keycloak", 9))], memory=2 * GB, processor=50)
DONE = Rehearsal(100, [ANNA, BEN], MACHINE)


def test_a_machine_carries_as_many_people_as_find_room_beside_what_it_and_the_room_take() -> None:
    """A seat takes 1.5 GB, and makes the room grow by 0.5 GB; of 20 GB the machine keeps 2.4, and the room takes 1."""
    assert MACHINE.per_seat(DONE.seats) == 2 * GB
    assert MACHINE.people(DONE.seats) == int((20 - 2.4 - 1) / 2) == 8
    assert "about 8 people" in str(DONE)
    assert "(20000 MB were free - 2400 kept for the machine - 1000 for the room) / (1500 for a seat + 500" in str(DONE)


def test_a_machine_that_is_full_carries_nobody() -> None:
    assert replace(MACHINE, free=2 * GB).people(DONE.seats) == 0


def test_a_step_takes_from_the_one_before_to_its_own_check_and_the_slowest_is_first() -> None:
    assert list(ANNA.steps()) == [("01.keycloak", 3), ("01.auditor", 12)]
    assert DONE.steps() == [("01.auditor", 12, 12, "anna"), ("01.keycloak", 6, 9, "ben")]
    assert DONE.value()["steps"][1] == {"step": "01.keycloak", "mean": 6, "longest": 9, "seat": "ben"}


def test_a_report_from_elsewhere_says_how_a_class_came_up_what_a_seat_takes_and_what_failed_first() -> None:
    late = Rehearsed("dora", 0, failure="no node has memory", ended=130)
    said = str(Rehearsal(200, [late, ANNA, BEN, Rehearsed("chris", 8, failure="the kernel ended", ended=90)]))
    assert "JupyterLab was there after 5 s for the first, 7 s for half, 8 s for all 3\n" in said
    assert "a seat had at most 1500 MB (PSS; ben 2000), and a processor for 40 s\n" in said
    assert said.endswith("✘ chris, after 90 s: the kernel ended\n✘ dora, after 130 s: no node has memory")
    assert "machine" not in said


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
    failed = replace(DONE, seats=[replace(ANNA, memory=0), Rehearsed("ben", 0, failure="it ended", ended=7)])

    def rehearse(count: int, labs: list[str]) -> Rehearsal:
        asked.append((count, labs))
        return failed

    monkeypatch.setattr("labkit.room.rehearsal.rehearse", rehearse)
    assert main(["room", "rehearse", "2", "01"]) == 1
    said = capsys.readouterr().out
    assert asked[0] == (2, ["01-keycloak"])
    assert "✘ 1 of 2 seats" in said
    assert "✘ ben, after 7 s: it ended" in said
    assert "carries" not in said
    assert main(["room", "rehearse", "2", "--json"]) == 1
    assert '"people"' not in capsys.readouterr().out


@pytest.mark.parametrize("names", [[], ["0"], ["anna"], ["1.5"]])
def test_a_rehearsal_needs_a_number_of_seats(names: list[str]) -> None:
    assert main(["room", "rehearse", *names]) == 2


def test_a_seat_has_what_its_processes_take_also_those_that_ended_and_not_what_stands_for_a_person(tmp_path: Path) -> None:
    """One process that works and ends, one that works and is ended, and one that drives them."""
    folder, work = tmp_path / "seat", "import time\nwhile time.process_time() < 1: pass\n"
    measure, env = Measure(folder), {"LABKIT_HOME": str(folder / "lab")}

    def begun(code: str) -> subprocess.Popen[str]:
        started = subprocess.Popen([sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert started.stdout is not None
        assert started.stdout.readline()
        return started

    said = f"{work}print(1, flush=True); input()"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}]); print(1, flush=True); input()"
    seat = [begun(said), begun(starts), begun(said)]
    try:
        measure.drivers.add(seat[2].pid)
        measure.look()
        for each in seat:
            each.communicate("\n")
        measure.look()
        assert 2 <= measure.processor_seconds() < 3
        assert 0 < measure.most[""] == measure.peak
    finally:
        for each in seat:
            each.kill()


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
        found = {process.pid: owner for process, owner in processes(folder)}
        assert found == {of_a_seat.pid: "anna", of_the_room.pid: "", child: ""}
        end_all(folder)
        assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
        assert [each.poll() is None for each in (of_a_seat, of_the_room, beside)] == [False, False, True]
    finally:
        for each in (of_a_seat, of_the_room, beside):
            each.kill()
            each.wait()


class _Failed(BaseHTTPRequestHandler):
    """What JupyterHub answers of a server that failed as soon as it was to start."""

    def do_POST(self) -> None:
        self._answer(202, {})

    def do_GET(self) -> None:
        self._answer(400, {"status": 400, "message": "anna is not starting..."})

    def _answer(self, code: int, said: dict[str, object]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())


def test_a_seat_that_failed_before_one_could_ask_has_not_started() -> None:
    """A stand-in: what JupyterHub itself answers then depends on the moment."""
    with HTTPServer(("127.0.0.1", 0), _Failed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(RoomError) as caught:
            Hub(f"http://127.0.0.1:{server.server_port}", "token").start("anna")
        server.shutdown()
    assert (caught.value.problem.id, caught.value.why) == ("seat-not-started", "JupyterHub says: anna is not starting...")
