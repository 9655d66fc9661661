"""What every recipe has: what is accepted as a program, where it is looked for, and what is published of it."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from ..common.display import Progress
from ..common.environment import EVERYBODY, listed
from . import downloads
from .tools import Tools, answer

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""How Go, and so most projects, call a kind of machine."""

_answers: dict[tuple[Path, int], str] = {}


@dataclass(frozen=True)
class Program:
    """A program that can be used.

    Attributes:
        name: Its name in the table.
        version: The version that it tells.
        path: The executable, or the folder of what was built or installed, which nobody writes to. Of one with a home directory, as Java
            does, it is ``path.parent.parent``.
        source: Where it comes from, for people.
    """

    name: str
    version: str
    path: Path
    source: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is accepted as a program, and how it is had; ``programs.yaml`` says what each field means.

    Attributes:
        needs: Programs that `build` needs.
        used_as_is: Whether a program that is found or downloaded is used as it is; else it is what `build` makes the program of.
        made_of: Those of `needs` whose change has it made anew.
        packed: Whether it goes into bundles.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    used_as_is: ClassVar[bool] = True
    made_of: ClassVar[tuple[str, ...]] = ()
    packed: ClassVar[bool] = True

    name: str
    batch: str
    version: str
    at_least: str
    below: str = ""
    places: Mapping[str, str] = field(default_factory=dict)
    ask: tuple[str, ...] = ()
    ask_environ: Mapping[str, str] = field(default_factory=dict)
    told: str = ""
    answer: str
    home_pattern: str = ""
    doing: str
    source: str
    takes: str
    kept_mb: int
    disk_gb: float = 1
    memory_gb: float = 1
    instead: tuple[str, ...]
    download: str = ""
    member: str = ""
    systems: tuple[str, ...] = ()

    @property
    def wants(self) -> str:
        """The versions that are taken, for people."""
        return f">= {self.at_least}" + (f", < {self.below}" if self.below else "")

    @property
    def effort(self) -> str:
        """What making it costs, for people."""
        return f"{self.takes}, {self.kept_mb} MB kept, {self.disk_gb:g} GB of disk meanwhile"

    @property
    def sources(self) -> str:
        """Where it comes from when it is missing, in the order of trying, for people."""
        pinned = self.is_published and self.url() in downloads.PINNED
        return f"downloaded from {self.host}, else {self.source}" if pinned else self.source

    @property
    def host(self) -> str:
        """Who publishes it."""
        return urlsplit(self.download).netloc

    @property
    def is_published(self) -> bool:
        return platform.system().lower() in self.systems

    def url(self, *kind: str) -> str:
        """The address of the download for this machine, or for another system and kind of machine."""
        return self._published(self.download, *kind)

    def fetch(self, folder: Path, shown: Progress) -> Path:
        """Download it, or the archive that is wanted whole; see `downloads.fetch`."""
        return downloads.fetch(self.url(), self._published(self.member), folder / self.name, shown)

    def accepts(self, version: str) -> bool:
        """Whether a found program of this version (numbers and dots) is taken."""
        number = _numbers(version)
        return _numbers(self.at_least) <= number and (not self.below or number < _numbers(self.below))

    def look(self, environ: Mapping[str, str]) -> tuple[Program | None, list[str]]:
        """Look in the places, in their order; a program is asked its version once per process.

        Returns:
            The first that is accepted; and what was there too but is not taken, and why, a line each.
        """
        passed_over: list[str] = []
        for variable, below in self.places.items():
            path = _at(variable, below, environ)
            if path is None:
                continue
            program = self.identify(path, environ, source=variable) if path.exists() else None
            if program and self.accepts(program.version):
                return program, passed_over
            if program:
                passed_over.append(f"{self.name} {program.version} of {variable} ({path}): wants {self.wants}")
            elif path.exists():
                passed_over.append(f"{self.name} of {variable} ({path}) does not tell its version: wants {self.wants}")
            else:
                passed_over.append(f"{variable} is set, but there is no {path}")
        return None, passed_over

    def identify(self, path: Path, environ: Mapping[str, str], *, source: str) -> Program | None:
        """The program at this path with the version that it tells, whether accepted or not; nothing if it tells none."""
        if self.ask:
            asked = (path, path.stat().st_mtime_ns)
            if asked not in _answers:
                _answers[asked] = answer(path, *self.ask, env={**listed(EVERYBODY, environ), **self.ask_environ})
            text = _answers[asked]
        else:
            file = path / self.told
            text = file.read_text(errors="replace") if file.is_file() else ""
        version = re.search(self.answer, text)
        if version is None:
            return None
        home = re.search(self.home_pattern, text) if self.home_pattern else None
        real = Path(home[1].strip()) / "bin" / self.name if home else path
        return Program(self.name, version[1].rstrip("."), real, source)

    def key(self) -> str:
        """Ten hexadecimal digits that change with whatever shapes the result, this machine's kind included."""
        text = "\n".join((platform.system(), platform.machine(), *self.ingredients()))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def slot(self, _found: Program | None = None) -> str:
        """The name of the program's folder in the cache, whatever it is made of."""
        return f"{self.name}-{self.version}-{self.key()}"

    def ingredients(self) -> Sequence[str]:
        """What shapes the result."""
        raise NotImplementedError

    def build(self, batch: Sequence[Self], tools: Tools) -> dict[str, Path]:
        """Make programs of one batch, each whole in its folder `Tools.made`.

        Returns:
            Each name with the program's path there.

        Raises:
            ToolchainError: It can't be made.
        """
        raise NotImplementedError

    def _published(self, template: str, *kind: str) -> str:
        system, machine = kind or (platform.system().lower(), MACHINES.get(platform.machine(), platform.machine()))
        return template.format(name=self.name, system=system, machine=machine, packed="zip" if system == "darwin" else "tar.gz")


def _at(variable: str, below: str, environ: Mapping[str, str]) -> Path | None:
    value = environ.get(variable)
    if not value:
        return None
    if variable == "PATH":
        there = shutil.which(below, path=value)
        return Path(there).absolute() if there else None
    return Path(value).expanduser().absolute() / below


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)
