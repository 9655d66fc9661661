"""The way in which the portal's packages are made: installed by npm, from a lock file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import ToolchainError
from .looking import Program
from .recipes import NpmWorkspace
from .tools import Tools, last_line


def install(recipe: NpmWorkspace, name: str, node: Program, tools: Tools) -> Path:
    """Install what the lock file names by ``npm ci``, with the person's own settings for registries and certificates.

    npm compares every package with the digest in the lock. Its cache is private to this installation, and no package's script is run.

    Raises:
        ToolchainError: npm is missing or failed, or what is compiled does not work here.
    """
    folder = tools.work / "made" / name / name
    for file in recipe.manifests:
        copy = folder / file.relative_to(recipe.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    # npm's own script would run by whichever Node is first on PATH.
    path = f"{node.path.parent}{os.pathsep}{tools.environ.get('PATH', '')}"
    tools.run(
        *(*_npm(recipe, node, tools.environ), "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier"),
        *(f"--cache={tools.work / 'npm'}", "--loglevel=http"),
        cwd=folder,
        environ={"PATH": path},
        say=_npm_counter(),
    )
    tools.run(node.path, "-e", recipe.probe, cwd=folder)
    return folder


def _npm(recipe: NpmWorkspace, node: Program, environ: Mapping[str, str]) -> tuple[str | Path, ...]:
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
