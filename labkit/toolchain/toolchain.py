"""The programs that labkit runs: found, else taken from the cache, else downloaded, else made."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ..common.display import Table, progress
from ..common.errors import ToolchainError
from . import bundle
from .pins import PINS
from .programs import Found, Pin, Program
from .recipes import Recipe
from .store import Store
from .tools import Tools

PROGRAMS: tuple[str, ...] = tuple(PINS)
"""The names that `Toolchain` knows."""


class Toolchain:
    """Where programs come from: what the person points at or has, else the cache, else the project's own site, else a package registry.

    Args:
        cache: The folder that keeps programs, shared between checkouts.
        environ: The environment to look in and to run tools with; this process's when left out.
        pins: The table of programs.
    """

    def __init__(self, cache: Path, environ: Mapping[str, str] | None = None, pins: Mapping[str, Pin] = PINS) -> None:
        self._environ = os.environ if environ is None else environ
        self._store = Store(cache)
        self._pins = pins

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
                missing.setdefault(self._pins[name].recipe.name, []).append(name)
        for group in missing.values():
            self._make(self._pins[group[0]].recipe, group)
        return {name: self._have(name) for name in names}

    def find(self, name: str) -> Program | None:
        """The program as found or cached; nothing is fetched or made for it.

        Raises:
            ToolchainError: There is no such name.
        """
        found, pin = self._look(name).program, self._pins[name]
        if found is not None and pin.recipe.used_as_is:
            return found
        return self._store.get(pin.slot(found))

    def pack(self, file: Path, *names: str, image: Callable[[Path], bundle.Image | None] | None = None) -> None:
        """Write a bundle of these programs, which must be there: cached ones as they are, others copied from where they were found.

        Args:
            file: The bundle.
            names: The programs.
            image: Writes a container image that goes along to a file in a folder, which is gone afterwards.

        Raises:
            ToolchainError: A program is missing, or the bundle can't be written.
        """
        programs = {}
        for name in names:
            program, pin = self._have(name), self._pins[name]
            # What has a home is nothing without it.
            alone = program.path.parent.parent if pin.home else program.path
            programs[pin.slot()] = program, self._store.folder(program) or alone
        with self._store.making("bundle") as work:
            saved = image(work) if image is not None else None
            with progress(f"packing {', '.join(names)} into {file}") as shown:
                bundle.pack(file, programs, saved, shown)

    def unpack(self, file: Path, image: Callable[[bundle.Image], None] | None = None) -> None:
        """Take a bundle's programs into the cache, all of them or, if anything is wrong with the file, none.

        Args:
            file: The bundle.
            image: Takes the container image that goes along, if one does; its file is gone afterwards.

        Raises:
            ToolchainError: It is damaged, or meant for another kind of machine or version of labkit; or a program does not work here.
        """
        slots = {name: pin.slot() for name, pin in self._pins.items()}
        with self._store.making("bundle") as work:
            with progress(f"unpacking {file}") as shown:
                unpacked, saved = bundle.unpack(file, work, slots, shown)
            for program, folder in unpacked:
                with self._store.making(self._pins[program.name].recipe.name):
                    if self._store.get(program.slot) is None:
                        self._keep(program.name, folder / program.path, folder, program.slot, f"{file.name}: {program.source}")
            if saved is not None and image is not None:
                image(saved)

    def status(self) -> Table:
        """A row per program: name, version, where it is from, path.

        A missing one's row says how it will be had, and a note below what was there but is not taken, and why.
        """
        rows: list[tuple[str, ...]] = []
        passed_over: list[str] = []
        for name, pin in self._pins.items():
            program, found = self.find(name), self._look(name)
            passed_over += found.passed_over
            if program is not None:
                rows.append((name, program.version, program.source, str(program.path)))
            elif found.program is not None:
                rows.append((name, found.program.version, f"missing: {_copied(found.program)}", pin.recipe.effort))
            else:
                rows.append((name, pin.version, f"missing: {pin.recipe.sources(name)}", pin.recipe.effort))
        note = "\n".join(("Passed over:", *(f"  {line}" for line in passed_over))) if passed_over else ""
        return Table(("program", "version", "from", "path, or what it takes"), tuple(rows), note=note)

    def _look(self, name: str) -> Found:
        if name not in self._pins:
            msg = f"labkit knows no program {name!r}"
            raise ToolchainError(msg, fix=f"name one of {', '.join(self._pins)}")
        return self._pins[name].look(self._environ)

    def _have(self, name: str) -> Program:
        program = self.find(name)
        if program is None:
            msg = f"{name} was there a moment ago and is gone"
            raise ToolchainError(msg, fix="run it again; nobody should clear the cache meanwhile")
        return program

    def _make(self, recipe: Recipe, names: list[str]) -> None:
        with self._store.making(recipe.name) as work:
            missing = [name for name in names if self.find(name) is None]
            given, refused = self._given(recipe, missing, work)
            missing = [name for name in missing if self.find(name) is None]
            try:
                if missing:
                    self._build(recipe, missing, given, work)
            except ToolchainError as error:
                what = f"{', '.join(missing)} can't be had: {error.what}"
                passed_over = (line for name in missing for line in self._look(name).passed_over)
                why = "\n".join(filter(None, (*refused, *passed_over, error.why)))
                ways = dict.fromkeys(line.removesuffix(", or") for line in (*error.fix.splitlines(), *recipe.instead.splitlines()))
                raise ToolchainError(what, why=why, fix=", or\n".join(ways)) from error

    def _given(self, recipe: Recipe, names: list[str], work: Path) -> tuple[dict[str, Program], list[str]]:
        """Have what there is without building: what was found, and what the project publishes, as far as it can be had.

        Returns:
            What a program is to be made of, by its name (what is used as it is is in the cache by now); and why something
            could not be had, a line each.
        """
        given = {name: dataclasses.replace(found, source=_copied(found)) for name in names if (found := self._look(name).program)}
        official = recipe.official
        wanted = [name for name in names if official is not None and official.has(name) and name not in given]
        if official is None or not wanted:
            return given, []
        refused: dict[str, None] = {}
        try:
            with progress(f"downloading {', '.join(wanted)} from {official.host}") as shown:
                for name in wanted:
                    folder, pin = work / "downloaded" / name, self._pins[name]
                    try:
                        file = official.fetch(name, folder, shown)
                        if recipe.used_as_is:
                            self._keep(name, file, folder, pin.slot(), official.source)
                        else:
                            given[name] = Program(name, pin.version, file, official.source)
                    except ToolchainError as error:
                        refused[error.what] = None
                if refused:
                    msg = "; ".join(refused)
                    raise ToolchainError(msg)
        except ToolchainError as error:
            print(f"  {error}; instead: {recipe.source}", flush=True)
        return given, list(refused)

    def _build(self, recipe: Recipe, names: list[str], given: Mapping[str, Program], work: Path) -> None:
        if not given:
            recipe.require(self._environ)
        needs = self.ensure(*recipe.needs)
        self._store.require_room(recipe)
        with progress(f"{recipe.doing} {', '.join(names)}, {recipe.takes}") as shown:
            tools = Tools(self._environ, work, self._store.log(recipe.name), shown, _paths(needs), _paths(given))
            for name, path in recipe.build(names, tools).items():
                source = given[name].source if name in given else recipe.source
                self._keep(name, path, tools.made(name), self._pins[name].slot(self._look(name).program), source)

    def _keep(self, name: str, path: Path, folder: Path, slot: str, source: str) -> None:
        pin = self._pins[name]
        program = pin.identify(path, self._environ, source=source)
        if program is None or not pin.accepts(program.version):
            said = program.version if program is not None else "nothing"
            msg = f"{name} ({source}) does not work here"
            raise ToolchainError(msg, why=f"asked for its version it says {said}; wants {pin.wants}", fix=pin.recipe.instead)
        # A Java tells the real path of its home; the cache may have been named by another way to it.
        self._store.put(slot, folder, dataclasses.replace(program, path=path))


def _copied(found: Program) -> str:
    return f"copied from {found.source} and built"


def _paths(programs: Mapping[str, Program]) -> dict[str, Path]:
    return {name: program.path for name, program in programs.items()}
