"""Waiting with an end: for a condition that comes true, and for a lock that another process holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TypeVar

from filelock import BaseFileLock, Timeout

from .display import LATE_SECONDS, progress

T = TypeVar("T")

_AGAIN = 4


def wait_until(
    condition: Callable[[], T],
    seconds: float,
    late: Callable[[Exception], Exception] = lambda last: last,
    *,
    pause: float = 0.2,
    passing: Callable[[Exception], bool] = lambda _: False,
    goes_on: Callable[[], bool] = lambda: False,
) -> T:
    """Wait until a condition holds, and return what it gave.

    Args:
        condition: Asked at once, then again after each pause, until what it returns is true.
        seconds: How long to go on asking.
        late: Makes the error that is raised at the end, of the last exception; that exception itself when left out.
        pause: How long to wait between two questions, in seconds.
        passing: Whether an exception of the condition means "not yet"; any other one ends the waiting.
        goes_on: Asked when that time is over: whether what is waited for has come nearer meanwhile, and is given as much time again; a few
            times at most.

    Raises:
        Exception: What ``late`` makes. A condition that was false to the end gives it a TimeoutError.
    """
    deadline, again = time.monotonic() + seconds, _AGAIN
    while True:
        last: Exception = TimeoutError(f"not within {seconds:.0f} s")
        try:
            if found := condition():
                return found
        except Exception as error:
            if not passing(error):
                raise
            last = error
        if time.monotonic() > deadline:
            if not again or not goes_on():
                raise late(last)
            deadline, again = time.monotonic() + seconds, again - 1
        time.sleep(pause)


def settled(look: Callable[[], T], is_well: Callable[[T], bool], seconds: float) -> T:
    """Look at what was just changed, again for some seconds unless all is well, and return what was seen last.

    Servers read a change in their own time: RBAC within a moment, an API server its AuthenticationConfiguration within 20 s.
    """
    seen = [look()]

    def look_again() -> bool:
        seen.append(look())
        return is_well(seen[-1])

    if seconds and not is_well(seen[0]):
        with suppress(TimeoutError):
            wait_until(look_again, seconds)
    return seen[-1]


@contextmanager
def locked(lock: BaseFileLock, late: Callable[[], Exception], waiting: str = "") -> Iterator[None]:
    """Hold a lock; when the time is over that its own ``timeout`` gives, raise what ``late`` makes. ``waiting`` says what it waits for."""
    try:
        with progress(waiting, after=LATE_SECONDS) if waiting else nullcontext():
            lock.acquire()
    except Timeout as error:
        raise late() from error
    try:
        yield
    finally:
        lock.release()
