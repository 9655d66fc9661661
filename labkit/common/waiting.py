"""Waiting with an end: for a condition that comes true, for several pieces of work at once, and for a lock of another process's."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from graphlib import TopologicalSorter
from typing import TypeAlias, TypeVar

from filelock import BaseFileLock, Timeout

from .display import LATE_SECONDS, progress

T = TypeVar("T")

Work: TypeAlias = Generator[None, None, T]
"""Work that yields whenever it has to wait, and returns its result at the end; closed before that, it takes back what it has begun."""

Steps: TypeAlias = Mapping[str, tuple[Sequence[str], Callable[[], object]]]
"""By name: the steps that one needs to be done, and the function that does it, be it by `Work`."""

_PAUSE_SECONDS = 0.1
_AGAIN = 4


def together(steps: Steps) -> None:
    """Do several steps in this thread, each as soon as those that it needs are done; all that can be under way at once is.

    Raises:
        Exception: The first that a step raises; all other work is closed then, the last begun first.
    """
    order = TopologicalSorter({name: needs for name, (needs, _) in steps.items()})
    order.prepare()
    going: dict[str, Work[object]] = {}
    with ExitStack() as begun:
        while order.is_active():
            for name in order.get_ready():
                found = steps[name][1]()
                work = found if isinstance(found, Generator) else (None for _ in ())
                going[name] = begun.enter_context(closing(work))
            ended = [name for name, work in going.items() if next(work, "ended")]
            for name in ended:
                del going[name]
            order.done(*ended)
            if not ended:
                time.sleep(_PAUSE_SECONDS)


def finish(work: Work[T], pause: float = _PAUSE_SECONDS) -> T:
    """Do a piece of work to its end; ``pause`` is how long to wait whenever it has to, in seconds."""
    with closing(work):
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            time.sleep(pause)


def wait_until(
    condition: Callable[[], T],
    seconds: float,
    late: Callable[[Exception], Exception] = lambda last: last,
    *,
    pause: float = 0.2,
    passing: Callable[[Exception], bool] = lambda _: False,
) -> T:
    """Wait until a condition holds, asking again after each ``pause`` in seconds; see `until`."""
    return finish(until(condition, seconds, late, passing=passing), pause)


def until(
    condition: Callable[[], T],
    seconds: float,
    late: Callable[[Exception], Exception] = lambda last: last,
    *,
    passing: Callable[[Exception], bool] = lambda _: False,
    goes_on: Callable[[], bool] = lambda: False,
) -> Work[T]:
    """Wait until a condition holds, and return what it gave.

    Args:
        condition: Asked at once, then again after each pause, until what it returns is true.
        seconds: How long to go on asking.
        late: Makes the error that is raised at the end, of the last exception; that exception itself when left out.
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
        yield


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
