"""What errors say."""

from __future__ import annotations

import pickle
import socket

import pytest

from labkit.common.errors import Forbidden, LabkitError, RoomError, SignInRefused
from labkit.common.problems import Problem
from labkit.room.hub import Hub


@pytest.mark.parametrize(("listens", "words"), [(False, "Connection refused"), (True, "timed out")])
def test_why_nothing_answers_is_said_in_the_systems_words(listens: bool, words: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen()
        with pytest.raises(RoomError) as caught:
            Hub(f"http://127.0.0.1:{server.getsockname()[1]}", "token", patience=0.5).ask("GET", "hub/api/")
    assert caught.value.why == words


def test_an_error_says_what_why_and_the_fix_with_later_lines_indented() -> None:
    error = LabkitError(Problem("server-failed", "keycloak ended at once", "the last lines:\nno memory", "labkit up"))
    assert str(error).splitlines() == ["keycloak ended at once", "  why: the last lines:", "       no memory", "  fix: labkit up"]


def test_what_is_not_known_is_left_out() -> None:
    assert str(LabkitError(Problem("failed", "it failed"))) == "it failed"


def test_a_notebook_shows_the_message_without_the_stack() -> None:
    assert Forbidden(Problem("no", "no", fix="ask"), user="user-dev")._render_traceback_() == ["✘ Forbidden: no\n  fix: ask"]


def test_errors_keep_their_facts_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SignInRefused(Problem("no", "no", "so", "do"), error="invalid_grant")))  # noqa: S301 - our own
    assert (str(error), error.error) == ("no\n  why: so\n  fix: do", "invalid_grant")
