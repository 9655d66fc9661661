"""A program: what is accepted as it, where it is looked for, and what one says that is there already."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..common.environment import EVERYBODY, listed
from .recipes import Recipe
from .tools import answer

_answers: dict[tuple[Path, int], str] = {}


@dataclass(frozen=True)
class Program:
    """A program that can be used.

    Attributes:
        name: Its name in the table.
        version: The version that it tells.
        path: The executable, or the folder of what was built or installed, which nobody writes to. Of one that has a home, as Java
            does, it is ``path.parent.parent``.
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


@dataclass(frozen=True, kw_only=True)
class Pin:
    """What is accepted as a program, and how it is had.

    Attributes:
        name: Its name here and on ``PATH``.
        version: What is made when none is found.
        at_least: The lowest version that is taken when found.
        below: The version from which on a found one is not taken; empty when there is no such limit.
        places: Where it is looked for, in this order: a variable, and the path below the folder that this variable
            names. ``PATH`` is searched as a shell does.
        ask: The arguments that make it tell its version.
        ask_environ: Variables to set while it is asked.
        told: Without any, the file below its folder that tells it.
        answer: A regular expression for the version in that answer.
        home: A regular expression for the folder that holds ``bin/<name>``, where the program found may be only a way to it.
        recipe: How it is made.
    """

    name: str
    version: str
    at_least: str
    below: str = ""
    places: tuple[tuple[str, str], ...]
    ask: tuple[str, ...] = ()
    ask_environ: Mapping[str, str] = field(default_factory=dict)
    told: str = ""
    answer: str
    home: str = ""
    recipe: Recipe

    @property
    def wants(self) -> str:
        """The versions that are taken, for people."""
        return f">= {self.at_least}" + (f", < {self.below}" if self.below else "")

    def accepts(self, version: str) -> bool:
        """Whether a found program of this version (numbers and dots) is taken."""
        number = _numbers(version)
        return _numbers(self.at_least) <= number and (not self.below or number < _numbers(self.below))

    def slot(self, found: Program | None = None) -> str:
        """The name of the program's folder in the cache; for one that is made of what was found, it changes with that."""
        if found is None or self.recipe.used_as_is:
            return f"{self.name}-{self.version}-{self.recipe.key()}"
        return f"{self.name}-{found.version}-{self.recipe.key()}-{self.recipe.state(found.path)}"

    def look(self, environ: Mapping[str, str]) -> Found:
        """Look in the places, in their order. A program is asked its version once per process, and given a few seconds for it."""
        passed_over = []
        for variable, below in self.places:
            path = _at(variable, below, environ)
            if path is None:
                continue
            if not path.exists():
                passed_over.append(f"{variable} is set, but there is no {path}")
                continue
            program = self.identify(path, environ, source=variable)
            if program is None:
                passed_over.append(f"{self.name} of {variable} ({path}) does not tell its version: wants {self.wants}")
            elif not self.accepts(program.version):
                passed_over.append(f"{self.name} {program.version} of {variable} ({path}): wants {self.wants}")
            else:
                return Found(program, tuple(passed_over))
        return Found(None, tuple(passed_over))

    def identify(self, path: Path, environ: Mapping[str, str], *, source: str) -> Program | None:
        """The program at this path with the version that it tells, whether accepted or not; nothing if it tells none."""
        text = self._ask(path, environ) if self.ask else _text(path / self.told)
        version = re.search(self.answer, text)
        if version is None:
            return None
        home = re.search(self.home, text) if self.home else None
        real = Path(home[1].strip()) / "bin" / self.name if home else path
        return Program(self.name, version[1].rstrip("."), real, source)

    def _ask(self, path: Path, environ: Mapping[str, str]) -> str:
        asked = (path, path.stat().st_mtime_ns)
        if asked not in _answers:
            _answers[asked] = answer(path, *self.ask, env={**listed(EVERYBODY, environ), **self.ask_environ})
        return _answers[asked]


def _at(variable: str, below: str, environ: Mapping[str, str]) -> Path | None:
    value = environ.get(variable)
    if not value:
        return None
    if variable == "PATH":
        there = shutil.which(below, path=value)
        return Path(there).absolute() if there else None
    return Path(value).expanduser().absolute() / below


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.is_file() else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)
