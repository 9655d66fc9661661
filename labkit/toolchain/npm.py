"""How the portal's packages and pages are made: by npm, from lock files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.environment import EVERYBODY, NPM
from ..common.errors import ToolchainError
from .recipes import Recipe
from .tools import Tools


@dataclass(frozen=True, kw_only=True)
class NpmPackage(Recipe):
    """Made by npm from the packages that a lock file names.

    npm has the person's own settings for registries and certificates. It compares every package with the digest in the lock.
    Its cache is private to this installation, and no package's script is run.

    Attributes:
        folder: The folder with ``package.json`` and ``package-lock.json``.
    """

    needs = ("node",)

    folder: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The files below the folder that shape the result."""
        raise NotImplementedError

    def _ingredients(self) -> tuple[str, ...]:
        return tuple(f"{file.relative_to(self.folder).as_posix()}\n{file.read_text()}" for file in self.files)

    def _install(self, target: Path, tools: Tools, *options: str) -> None:
        """Copy the files to a folder, and install there what the lock file names."""
        for file in self.files:
            copy = target / file.relative_to(self.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        options = ("--ignore-scripts", *options, "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=http")
        _npm(tools, target, "ci", *options, f"--cache={tools.work / 'npm'}", names=NPM)


@dataclass(frozen=True, kw_only=True)
class NpmWorkspace(NpmPackage):
    """The packages that an npm workspace's lock file names, installed; the workspace's own packages lie below ``packages/``.

    Attributes:
        probe: JavaScript that fails unless what is compiled among them works here.
    """

    doing = "installing"

    source: str = "npm packages, as locked"
    probe: str

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that say what is installed: no source of the workspace's own packages is among them."""
        return (self.folder / "package.json", self.folder / "package-lock.json", *sorted(self.folder.glob("packages/*/package.json")))

    def build(self, names: Sequence[str], tools: Tools) -> dict[str, Path]:
        """Install what the lock file names."""
        (name,) = names
        folder = tools.made(name) / name
        self._install(folder, tools, "--omit=dev")
        tools.run(tools.needs["node"], "-e", self.probe, cwd=folder)
        return {name: folder}


@dataclass(frozen=True, kw_only=True)
class NpmPages(NpmPackage):
    """Web pages: the package's script ``build`` fills ``dist/``; what builds them is not kept."""

    doing = "building"

    source: str = "built from their sources here by npm packages, as locked"

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that shapes the pages: manifest, lock, sources."""
        own = (file for file in self.folder.rglob("*") if file.is_file())
        return tuple(sorted(file for file in own if file.relative_to(self.folder).parts[0] not in {"node_modules", "dist"}))

    def build(self, names: Sequence[str], tools: Tools) -> dict[str, Path]:
        """Install what builds the pages, build them, and keep ``package.json`` and ``dist/``."""
        (name,) = names
        workshop, folder = tools.work / "building", tools.made(name) / name
        self._install(workshop, tools)
        tools.progress.update("building the pages")
        _npm(tools, workshop, "run", "build")
        folder.mkdir()
        for kept in ("package.json", "dist"):
            (workshop / kept).replace(folder / kept)
        return {name: folder}


def _npm(tools: Tools, cwd: Path, *arguments: str, names: tuple[str, ...] = EVERYBODY) -> None:
    """Run the npm that came with the Node, else the one on PATH.

    This Node is first on its PATH: npm's own script, and those of packages, run by whichever is.
    """
    node, path = tools.needs["node"], tools.environ.get("PATH", "")
    beside = node.resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm: tuple[str | Path, ...]
    if beside.is_file():
        npm = (node, beside)
    elif on_path := shutil.which("npm", path=path):
        npm = (on_path,)
    else:
        msg = "there is no npm to install it with"
        raise ToolchainError(msg, why=f"Node is {node}, without npm beside it, and PATH has none")
    tools.run(*npm, *arguments, cwd=cwd, names=names, environ={"PATH": f"{node.parent}{os.pathsep}{path}"}, say=_npm_counter())


def _npm_counter() -> Callable[[str], str]:
    fetched = 0

    def say(line: str) -> str:
        nonlocal fetched
        fetched += line.startswith("npm http ") and ".tgz" in line
        return f"{fetched} packages fetched" if line.startswith("npm http ") else line

    return say
