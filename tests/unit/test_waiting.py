"""Waiting for a condition, for several pieces of work, and for a lock."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from filelock import FileLock

from labkit.common.errors import ServerError
from labkit.common.problems import Problem
from labkit.common.waiting import Work, finish, locked, together, until, wait_until


def test_what_a_condition_gives_once_it_is_true_comes_back() -> None:
    asked = count()
    assert wait_until(lambda: next(asked) == 2 and "ready", 5, pause=0.01) == "ready"
    assert next(asked) == 3


def test_a_condition_is_asked_also_when_there_is_no_time() -> None:
    assert wait_until(lambda: "ready", 0) == "ready"


def test_an_exception_that_passes_is_not_yet() -> None:
    asked = count()
    assert wait_until(lambda: 1 // next(asked), 5, pause=0.01, passing=lambda error: isinstance(error, ZeroDivisionError)) == 1


def test_another_exception_ends_the_waiting() -> None:
    asked = count()
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 // next(asked), 5, passing=lambda error: isinstance(error, OSError))
    assert next(asked) == 1


def test_the_error_at_the_end_is_made_of_the_last_exception() -> None:
    with pytest.raises(ServerError, match="by zero"):
        wait_until(lambda: 1 // 0, 0, lambda last: ServerError(Problem("late", str(last))), passing=lambda _: True)
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 // 0, 0, passing=lambda _: True)
    with pytest.raises(TimeoutError, match="not within 0 s"):
        wait_until(lambda: False, 0)


def test_steps_go_on_at_once_and_begin_when_what_they_need_is_done() -> None:
    """Two that wait for each other both end, and a third begins after both."""
    seen: list[str] = []

    def meeting(name: str, other: str) -> Work[None]:
        seen.append(name)
        yield from until(lambda: other in seen, 5)
        seen.append(f"{name} ended")

    together(
        {
            "last": (("etcd", "portal"), lambda: seen.append("last")),
            "etcd": ((), lambda: meeting("etcd", "portal")),
            "portal": ((), lambda: meeting("portal", "etcd")),
        }
    )
    assert seen[:2] == ["etcd", "portal"]
    assert seen[-1] == "last"
    assert len(seen) == 5


@pytest.mark.parametrize("cause", [ServerError(Problem("ended", "it ended")), KeyboardInterrupt()])
def test_the_first_failure_is_raised_and_other_work_is_taken_back(cause: BaseException) -> None:
    """What has ended stays, what is under way is closed, the last begun first, and what needs the failed step is not begun."""
    seen: list[str] = []

    def waiting(name: str) -> Work[None]:
        try:
            while True:
                yield
        finally:
            seen.append(f"{name} closed")

    def failing() -> Work[None]:
        yield
        raise cause

    def whole() -> Work[None]:
        yield from ()
        seen.append("whole")

    steps = {
        "whole": ((), whole),
        "etcd": ((), lambda: waiting("etcd")),
        "portal": ((), lambda: waiting("portal")),
        "keycloak": ((), failing),
        "realm": (("keycloak",), lambda: seen.append("realm")),
    }
    with pytest.raises(type(cause)) as caught:
        together(steps)
    assert caught.value is cause
    assert seen == ["whole", "portal closed", "etcd closed"]


def test_work_that_is_interrupted_while_it_waits_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def work() -> Work[None]:
        try:
            yield
        finally:
            seen.append("closed")

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finish(work())
    with pytest.raises(KeyboardInterrupt):
        together({"work": ((), work)})
    assert seen == ["closed", "closed"]


def test_a_lock_that_another_holds_is_waited_for_and_then_an_error(tmp_path: Path) -> None:
    file = tmp_path / "lock"

    def late() -> ServerError:
        return ServerError(Problem("locked", "it is locked"))

    with locked(FileLock(file), late), pytest.raises(ServerError, match="it is locked"), locked(FileLock(file, timeout=0.1), late):
        pytest.fail("it was held twice")
    with locked(FileLock(file, timeout=0.1), late):
        pass


def test_who_waits_for_a_lock_says_what_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("labkit.common.waiting.LATE_SECONDS", 0)
    with locked(FileLock(tmp_path / "lock"), lambda: ServerError(Problem("locked", "it is locked")), "waiting for another labkit"):
        assert "waiting for another labkit (" in capsys.readouterr().out
