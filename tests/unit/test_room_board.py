"""What an instructor reads of the seats of a room."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from labkit.common.errors import RoomError
from labkit.course.steps import LABS, STEPS
from labkit.room.board import Board, Seat, seat_of
from labkit.room.hub import Hub
from labkit.room.kept import Seats

NOW = 1_900_000_000
LAB = LABS[1]
STEP = STEPS["realm"]


def board(*seats: Seat) -> Board:
    made = Board.of(seats)
    return Board(made.seats, NOW)


def seat(name: str = "anna", **said: Any) -> Seat:
    hub = {name: said.pop(name) for name in ("active", "running") if name in said}
    return seat_of(name, {"heard": said.pop("heard", NOW), "said": said}, **hub)


def row(each: Seat) -> dict[str, str]:
    return board(each).table().records()[0]


def test_who_asks_for_help_first_is_first() -> None:
    seats = board(seat("zoe", help=NOW - 600), seat("anna"), seat("ben", help=NOW - 60))
    assert [record["seat"] for record in seats.table().records()] == ["zoe", "ben", "anna"]
    assert [record["asks for help"] for record in seats.table().records()] == ["for 10 min", "for 1 min", ""]
    assert seats.news() == "zoe, ben ask for help"


@pytest.mark.parametrize(
    ("of_the_seat", "seen"),
    [
        ({"active": NOW}, ""),
        ({"active": NOW - 720}, "idle for 12 min"),
        ({"heard": NOW - 720, "running": True}, "silent for 12 min"),
        ({"heard": 0}, "not begun"),
        ({"running": False}, "no server"),
    ],
)
def test_who_is_gone_is_seen(of_the_seat: dict[str, Any], seen: str) -> None:
    assert row(seat(**of_the_seat))["seen"] == seen


def test_who_takes_longer_than_the_agenda_says_is_seen_at_their_step() -> None:
    """The clock of a step starts when the one before it was done."""
    done = {"state": "done", "since": NOW - 60 * (STEP.minutes + 7)}
    slow = seat(lab=LAB.name, begun=NOW - 9999, steps={"keycloak": done, "realm": {"state": "red", "holds": 1, "of": 3}})
    assert row(slow)["is at"] == f"01 realm ✘ 1 of 3; 7 min more than {STEP.minutes}"
    quick = seat(lab=LAB.name, begun=NOW - 9999, steps={"keycloak": {"state": "done", "since": NOW - 60}})
    assert row(quick)["is at"] == "01 realm ·"
    assert row(quick)["01"] == "✔" + "·" * (len(LAB.steps) - 1)


def test_an_exercise_that_was_tried_is_no_failure() -> None:
    exercise = next(step for step in LAB.steps if step.exercise)
    tried = seat(steps={exercise.name: {"state": "red", "holds": 0, "of": 2, "hint": True}})
    assert tried.step(exercise) == "… 0 of 2, hint"


def test_a_finding_has_its_title_without_what_only_the_seat_saw() -> None:
    red = seat(steps={"realm": {"state": "red", "finding": "earlier-lab-missing"}})
    assert red.step(STEP) == "✘ earlier-lab-missing: this lab builds on …, and what that leaves behind is not there"


def test_every_step_has_a_row_and_every_seat_a_column() -> None:
    steps = board(seat("ben"), seat("anna", help=1)).steps()
    assert steps.columns[2:] == ("anna", "ben")
    assert len(steps.rows) == len(STEPS)


def test_a_name_is_no_formula_in_a_spreadsheet() -> None:
    (line,) = csv.DictReader(board(seat("=1+1", steps={"realm": {"state": "done"}})).csv().splitlines())
    assert (line["seat"], line["since"]) == ("'=1+1", "")


@pytest.mark.parametrize("stored", [None, [], {"heard": "x", "said": "y"}, {"said": {"steps": []}}])
def test_a_file_that_is_no_word_of_a_seat_is_a_seat_that_said_nothing(stored: Any) -> None:
    empty = seat_of("anna", stored)
    assert (empty.said, empty.heard) == ({"steps": {}}, 0)
    assert row(empty)["seen"] == "not begun"


class _Hub:
    """What the view asks of a Hub, which knows these users, or does not answer."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def users(self) -> Iterator[dict[str, Any]]:
        if not self.names:
            raise RoomError("hub-silent", url="https://hub", reason="Timeout")
        yield from ({"name": name, "admin": name == "instructor", "servers": {}} for name in self.names)


@pytest.mark.parametrize(
    ("users", "seen"),
    [(("instructor", "anna", "carla"), ["anna", "carla"]), ((), ["anna", "ben"])],
    ids=["ben was deleted", "the Hub is silent"],
)
def test_a_person_who_was_deleted_is_not_shown(tmp_path: Path, users: tuple[str, ...], seen: list[str]) -> None:
    seats = Seats(tmp_path, cast(Hub, _Hub(*users)))
    for name in ("anna", "ben"):
        seats.keep(name, {})
    assert [seat.name for seat in seats.board().seats] == seen
