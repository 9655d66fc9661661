"""Pieces of work that end together."""

from __future__ import annotations

import signal
import sys
import threading

import pytest

from labkit.toolchain.at_once import AtOnce


def test_an_interrupt_that_comes_when_nobody_listens_ends_all() -> None:
    """The system may give the signal to any thread, and then wakes nobody who waits."""
    ended: list[bool] = []
    main, finishes = threading.get_ident(), threading.Event()

    def work() -> None:
        finishes.wait()
        while sys._current_frames()[main].f_code is not threading.Condition.wait.__code__:
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        ended.append(at_once.ended.wait(30))

    with AtOnce() as at_once:
        begun = at_once.begin("work", work)
        finishes.set()
        with pytest.raises(KeyboardInterrupt):
            at_once.finish([begun])
    assert ended == [True]
