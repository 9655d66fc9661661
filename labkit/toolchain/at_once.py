"""Doing several pieces of work at once, each in a thread of its own; they end together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

_MOST = 32
"""A thread each, as one may wait for another."""

_WAKE_SECONDS = 1
"""A signal that comes right before a wait begins, or to another thread, is seen after it."""


class AtOnce:
    """Runs pieces of work in threads; when one fails, or the person interrupts, the others are ended before that is raised.

    Attributes:
        stdin: What a process of theirs gets as its standard input: a pipe that is closed when all is to end; see `watchdog`.
        ended: Whether all is to end, for work that waits in Python.
    """

    def __init__(self) -> None:
        self.stdin, self._kept_open = os.pipe()
        self.ended = threading.Event()
        self._threads, self._begun, self._beginning = ThreadPoolExecutor(_MOST), dict[Hashable, Future[None]](), threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None) -> None:
        self.ended.set()
        os.close(self._kept_open)
        self._threads.shutdown()
        os.close(self.stdin)

    def begin(self, what: Hashable, work: Callable[[], None]) -> Future[None]:
        """Begin a piece of work, unless it is begun already."""
        with self._beginning:
            if what not in self._begun:
                self._begun[what] = self._threads.submit(work)
            return self._begun[what]

    @staticmethod
    def finish(begun: Iterable[Future[None]]) -> None:
        """Wait for pieces of work.

        Raises:
            Exception: The first that one of them raises.
        """
        left = set(begun)
        while left:
            done, left = wait(left, _WAKE_SECONDS, FIRST_EXCEPTION)
            for future in done:
                future.result()
