"""`labkit up` that kills itself with SIGKILL at a named point.

Run as a script: ``killed.py MOMENT FUNCTION CALL``, where FUNCTION is ``module.name`` or ``module:Class.name`` and CALL is the number
of the call to die in, from 1. With ``FUNCTION?PATTERN``, those calls count whose arguments, as words, match the pattern.
The moments are ``before`` the call; ``asked``, when what it asks of Keycloak or kubectl has been sent and no answer read;
``unnamed``, when a file that it writes has not got its name yet.
"""

from __future__ import annotations

import functools
import http.client
import itertools
import os
import pathlib
import pkgutil
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn


def die(*_: object, **__: object) -> NoReturn:
    """End as by ``kill -9``."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_here(whole: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that this process dies when this thread calls it: others wait for other answers."""
    here = threading.get_ident()
    return lambda *args, **kwargs: die() if threading.get_ident() == here else whole(*args, **kwargs)


def die_at(moment: str, function: str, call: int) -> None:
    """Wrap a function so that this process dies in it."""
    function, _, pattern = function.partition("?")
    owner_name, _, name = function.rpartition(".")
    owner = pkgutil.resolve_name(owner_name)
    whole, calls = getattr(owner, name), itertools.count(1)

    @functools.wraps(whole)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        if not re.search(pattern, " ".join(map(str, args))) or next(calls) != call:
            return whole(*args, **kwargs)
        if moment == "before":
            die()
        if moment == "asked":
            for asker, answer in ((http.client.HTTPConnection, "getresponse"), (subprocess.Popen, "communicate")):
                setattr(asker, answer, die_here(getattr(asker, answer)))
        if moment == "unnamed":
            pathlib.Path.replace = die  # type: ignore[method-assign]
        return whole(*args, **kwargs)

    setattr(owner, name, deadly)


if __name__ == "__main__":
    from labkit.lab import Lab

    die_at(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    Lab.open().up()
