"""Finding programs that are already there, and asking them their version."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..environment import EVERYBODY, listed
from .recipes import Pin
from .tools import answer

_ANSWER_SECONDS = 8.0
_answers: dict[tuple[Path, int], str] = {}


@dataclass(frozen=True)
class Program:
    """A program that can be used.

    Attributes:
        name: Its name in the table.
        version: The version that it tells.
        path: The executable; for ``keycloak``, ``backstage`` and ``pages`` the folder of what was built or installed, which nobody
            writes to. Java's home is ``path.parent.parent``.
        source: Where it comes from, for people.
    """

    name: str
    version: str
    path: Path
    source: str


@dataclass(frozen=True)
class Found:
    """What looking for a program gave.

    Attributes:
        program: The first that is accepted.
        passed_over: What was there too but is not taken, and why; one line each.
    """

    program: Program | None
    passed_over: tuple[str, ...]


def look(pin: Pin, environ: Mapping[str, str]) -> Found:
    """Look in the pin's places, in their order. A program is asked its version once per process, and given a few seconds for it."""
    passed_over = []
    for variable, below in pin.places:
        path = _at(variable, below, environ)
        if path is None:
            continue
        if not path.exists():
            passed_over.append(f"{variable} is set, but there is no {path}")
            continue
        program = identify(pin, path, environ, source=variable)
        if program is None:
            passed_over.append(f"{pin.name} of {variable} ({path}) does not tell its version: wants {pin.wants}")
        elif not pin.accepts(program.version):
            passed_over.append(f"{pin.name} {program.version} of {variable} ({path}): wants {pin.wants}")
        else:
            return Found(program, tuple(passed_over))
    return Found(None, tuple(passed_over))


def identify(pin: Pin, path: Path, environ: Mapping[str, str], *, source: str) -> Program | None:
    """The program at this path with the version that it tells, whether accepted or not; nothing if it tells none."""
    text = _ask(pin, path, environ) if pin.ask else _text(path / pin.told)
    version = re.search(pin.answer, text)
    if version is None:
        return None
    home = re.search(pin.home, text) if pin.home else None
    real = Path(home[1].strip()) / "bin" / pin.name if home else path
    return Program(pin.name, version[1].rstrip("."), real, source)


def _at(variable: str, below: str, environ: Mapping[str, str]) -> Path | None:
    value = environ.get(variable)
    if not value:
        return None
    if variable == "PATH":
        there = shutil.which(below, path=value)
        return Path(there).absolute() if there else None
    return Path(value).expanduser().absolute() / below


def _ask(pin: Pin, path: Path, environ: Mapping[str, str]) -> str:
    asked = (path, path.stat().st_mtime_ns)
    if asked not in _answers:
        # Go is to answer for itself, not for a toolchain that a setting of its own has it fetch.
        env = {**listed(EVERYBODY, environ), "GOTOOLCHAIN": "local"}
        _answers[asked] = answer((str(path), *pin.ask), env, timeout=_ANSWER_SECONDS)
    return _answers[asked]


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.is_file() else ""
