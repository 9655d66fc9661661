"""The ways in which the portal's packages and pages are made: by npm, from lock files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from ..environment import NPM
from ..errors import ToolchainError
from .looking import Program
from .recipes import NpmPages, NpmWorkspace
from .tools import Tools, last_line


def install(recipe: NpmWorkspace, name: str, node: Program, tools: Tools) -> Path:
    """Install what the lock file names by ``npm ci``, with the person's own settings for registries and certificates.

    npm compares every package with the digest in the lock. Its cache is private to this installation, and no package's script is run.

    Raises:
        ToolchainError: npm is missing or failed, or what is compiled does not work here.
    """
    folder = tools.work / "made" / name / name
    _copy(recipe.manifests, recipe.folder, folder)
    _install(recipe, node, tools, folder, "--omit=dev")
    tools.run(node.path, "-e", recipe.probe, cwd=folder)
    return folder


def build(recipe: NpmPages, name: str, node: Program, tools: Tools) -> Path:
    """Install what builds the pages as `install` does, build them, and keep ``package.json`` and ``dist/``.

    Raises:
        ToolchainError: npm is missing or failed, or the build did.
    """
    workshop, folder = tools.work / "building" / name, tools.work / "made" / name / name
    _copy(recipe.files, recipe.folder, workshop)
    _install(recipe, node, tools, workshop)
    tools.progress.update("building the pages")
    tools.run(*_npm(recipe, node, tools.environ), "run", "build", cwd=workshop, environ=_path(node, tools))
    folder.mkdir(parents=True)
    for kept in ("package.json", "dist"):
        (workshop / kept).replace(folder / kept)
    return folder


def _copy(files: tuple[Path, ...], source: Path, target: Path) -> None:
    for file in files:
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


def _install(recipe: NpmWorkspace | NpmPages, node: Program, tools: Tools, folder: Path, *options: str) -> None:
    tools.run(
        *(*_npm(recipe, node, tools.environ), "ci", "--ignore-scripts", *options, "--no-audit", "--no-fund", "--no-update-notifier"),
        *(f"--cache={tools.work / 'npm'}", "--loglevel=http"),
        cwd=folder,
        names=NPM,
        environ=_path(node, tools),
        say=_npm_counter(),
    )


def _path(node: Program, tools: Tools) -> dict[str, str]:
    """A PATH with this Node first: npm's own script, and those of packages, run by whichever is."""
    return {"PATH": f"{node.path.parent}{os.pathsep}{tools.environ.get('PATH', '')}"}


def _npm(recipe: NpmWorkspace | NpmPages, node: Program, environ: Mapping[str, str]) -> tuple[str | Path, ...]:
    """The npm that came with this Node, else the one on PATH."""
    beside = node.path.resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if beside.is_file():
        return node.path, beside
    npm = shutil.which("npm", path=environ.get("PATH", ""))
    if npm is None:
        msg = "there is no npm to install it with"
        raise ToolchainError(msg, why=f"Node is {node.path}, without npm beside it, and PATH has none", fix=recipe.instead)
    return (npm,)


def _npm_counter() -> Callable[[str], str]:
    fetched = 0

    def say(line: str) -> str:
        nonlocal fetched
        fetched += line.startswith("npm http ") and ".tgz" in line
        return f"{fetched} packages fetched" if line.startswith("npm http ") else last_line(line)

    return say
