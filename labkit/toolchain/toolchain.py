"""The programs that labkit runs: found, else taken from the cache, else downloaded, else made."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ..display import Table, progress
from ..errors import ToolchainError
from . import bundle, downloads, making, npm
from .looking import Found, Program, identify, look
from .pins import PINS
from .recipes import GoModule, KeycloakDistribution, NpmPages, NpmWorkspace, Pin, Recipe, Wheel
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
        found = self._look(name).program
        if found is not None and not isinstance(self._pins[name].recipe, KeycloakDistribution):
            return found
        return self._store.get(self._slot(name, found))

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
            program = self._have(name)
            # A Java is nothing without its home.
            alone = program.path.parent.parent if self._pins[name].home else program.path
            programs[self._slot(name, None)] = program, self._store.folder(program) or alone
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
        slots = {name: self._slot(name, None) for name in self._pins}
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
                rows.append((name, found.program.version, f"missing: copied from {found.program.source} and built", pin.recipe.effort))
            else:
                rows.append((name, pin.version, f"missing: {pin.recipe.sources(name)}", pin.recipe.effort))
        note = "\n".join(("Passed over:", *(f"  {line}" for line in passed_over))) if passed_over else ""
        return Table(("program", "version", "from", "path, or what it takes"), tuple(rows), note=note)

    def _look(self, name: str) -> Found:
        if name not in self._pins:
            msg = f"labkit knows no program {name!r}"
            raise ToolchainError(msg, fix=f"name one of {', '.join(self._pins)}")
        return look(self._pins[name], self._environ)

    def _slot(self, name: str, found: Program | None) -> str:
        """The name of the program's folder in the cache."""
        pin = self._pins[name]
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
        with self._store.making(recipe.name) as work:
            missing = [name for name in names if self.find(name) is None]
            archive, refused = self._download(recipe, missing, work)
            missing = [name for name in missing if self.find(name) is None]
            try:
                if missing:
                    self._make_here(recipe, missing, archive, work)
            except ToolchainError as error:
                what = f"{', '.join(missing)} can't be had: {error.what}"
                why = "\n".join(filter(None, (*refused, error.why)))
                ways = dict.fromkeys(line.removesuffix(", or") for line in (*error.fix.splitlines(), *recipe.instead.splitlines()))
                raise ToolchainError(what, why=why, fix=", or\n".join(ways)) from error

    def _download(self, recipe: Recipe, names: list[str], work: Path) -> tuple[Path | None, list[str]]:
        """Have what the project publishes, as far as it can be had, and say in a line what can't.

        Returns:
            Keycloak's archive (programs are in the cache by now), and why something could not be had.
        """
        official = recipe.official
        wanted = [name for name in names if official is not None and official.has(name) and self._look(name).program is None]
        if official is None or not wanted:
            return None, []
        archive: Path | None = None
        refused: dict[str, None] = {}
        try:
            with progress(f"downloading {', '.join(wanted)} from {official.host}") as shown:
                for name in wanted:
                    folder = work / "downloaded" / name
                    try:
                        file = downloads.fetch(official, name, folder, shown)
                        if isinstance(recipe, KeycloakDistribution):
                            archive = file
                        else:
                            self._keep(name, file, folder, self._slot(name, None), f"downloaded from {official.host}")
                    except ToolchainError as error:
                        refused[error.what] = None
                if refused:
                    msg = "; ".join(refused)
                    raise ToolchainError(msg)
        except ToolchainError as error:
            print(f"  {error}; instead: {recipe.source}", flush=True)
        return archive, list(refused)

    def _make_here(self, recipe: Recipe, names: list[str], archive: Path | None, work: Path) -> None:
        source, looked = recipe.source, self._look("keycloak")
        if isinstance(recipe, KeycloakDistribution):
            if looked.program is not None:
                source = f"copied from {looked.program.source} and built"
            elif archive is not None and recipe.official is not None:
                source = f"downloaded from {recipe.official.host}"
            else:
                # Said before Java is fetched for nothing.
                making.require_maven(recipe, self._environ, looked.passed_over)
        needs = self.ensure(*recipe.needs)
        self._store.require_room(recipe)
        with progress(f"{recipe.doing} {', '.join(names)}, {recipe.takes}") as shown:
            tools = Tools(self._environ, work, self._store.log(recipe.name), shown, recipe.instead)
            match recipe:
                case GoModule():
                    made = making.build_go(recipe, names, needs["go"].path, tools)
                case KeycloakDistribution() if looked.program is not None:
                    made = {"keycloak": making.copy_keycloak(recipe, looked.program.path, needs["java"], tools)}
                case KeycloakDistribution():
                    archive = archive or making.fetch_keycloak(recipe, needs["java"], tools)
                    made = {"keycloak": making.unpack_keycloak(recipe, archive, needs["java"], tools)}
                case Wheel():
                    made = {name: making.install_wheel(recipe, name, tools) for name in names}
                case NpmWorkspace():
                    made = {name: npm.install(recipe, name, needs["node"], tools) for name in names}
                case NpmPages():
                    made = {name: npm.build(recipe, name, needs["node"], tools) for name in names}
                case _:
                    raise NotImplementedError(recipe.name)
            for name, path in made.items():
                slot = self._slot(name, looked.program if name == "keycloak" else None)
                self._keep(name, path, work / "made" / name, slot, source)

    def _keep(self, name: str, path: Path, folder: Path, slot: str, source: str) -> None:
        pin = self._pins[name]
        program = identify(pin, path, self._environ, source=source)
        if program is None or not pin.accepts(program.version):
            said = program.version if program is not None else "nothing"
            msg = f"{name} ({source}) does not work here"
            raise ToolchainError(msg, why=f"asked for its version it says {said}; wants {pin.wants}", fix=pin.recipe.instead)
        # A Java tells the real path of its home; the cache may have been named by another way to it.
        self._store.put(slot, folder, dataclasses.replace(program, path=path))
