"""The programs that labkit runs: found, else taken from the cache, else downloaded, else made."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.display import Table, progress
from ..common.environment import PIP
from ..common.errors import ToolchainError
from ..config.files import write_private
from .at_once import AtOnce
from .pins import PINS
from .recipe import Program, Recipe
from .store import Store
from .tools import Tools

if TYPE_CHECKING:
    from . import bundle

PROGRAMS: tuple[str, ...] = tuple(PINS)
"""The names that `Toolchain` knows."""


class Toolchain:
    """Where programs come from: what the person points at or has, else the cache, else the project's own site, else a package registry.

    Args:
        cache: The folder that keeps programs, shared between checkouts.
        environ: The environment to look in and to run tools with; this process's when left out.
    """

    def __init__(self, cache: Path, environ: Mapping[str, str] | None = None, pins: Mapping[str, Recipe] = PINS) -> None:
        self._environ = os.environ if environ is None else environ
        self._store = Store(cache)
        self._pins = pins

    def ensure(self, *names: str) -> dict[str, Program]:
        """Have these programs, and make those that are missing, all at once; that takes minutes and shows progress.

        Raises:
            ToolchainError: One can't be made, or there is no such name.
        """
        with AtOnce() as at_once:
            return self._ensure(names, at_once)

    def find(self, name: str) -> Program | None:
        """The program as found or cached; nothing is fetched or made for it.

        Raises:
            ToolchainError: There is no such name.
        """
        if name not in self._pins:
            raise ToolchainError("program-unknown", name=repr(name), there=", ".join(self._pins))
        recipe = self._pins[name]
        found, _ = recipe.look(self._environ)
        return found if found and recipe.used_as_is else self._store.get(self._slot(recipe))

    def pack(self, file: Path, *names: str, lock: Path | None = None, image: Callable[[Path], bundle.Image | None] | None = None) -> None:
        """Write a bundle of these programs, which must be there: cached ones as they are, others copied from where they were found.

        ``lock`` pins Python's packages, which go along as far as pip can have them all, else that is said.
        ``image`` writes a container image that goes along to a file in a folder, which is gone afterwards.

        Raises:
            ToolchainError: A program is missing, or the bundle can't be written.
        """
        # Imported on use, here and below: with pydantic it takes as long as all the rest of `labkit status`.
        from . import bundle

        programs = {}
        for name in (each for each in names if self._pins[each].packed):
            program, recipe = self._have(name), self._pins[name]
            # A program that has a home directory does not work without it.
            alone = program.path.parent.parent if recipe.home_pattern else program.path
            programs[recipe.slot()] = program, self._store.folder(program) or alone
        with self._store.making("bundle") as work:
            saved = image(work) if image is not None else None
            packages = self._packages(lock, work) if lock and lock.exists() else work / "none"
            with progress(f"packing {', '.join(names)} into {file}") as shown:
                bundle.pack(file, programs, packages, saved, shown)

    def unpack(self, file: Path, image: Callable[[bundle.Image], None] | None = None) -> None:
        """Take a bundle's programs into the cache, all of them or, if anything is wrong with the file, none.

        ``image`` takes the container image that goes along, if one does; its file is gone afterwards.

        Raises:
            ToolchainError: It is damaged, or meant for another kind of machine or version of labkit; or a program does not work here.
        """
        from . import bundle

        slots = {name: recipe.slot() for name, recipe in self._pins.items()}
        with self._store.making("bundle") as work:
            with progress(f"unpacking {file}") as shown:
                unpacked, saved = bundle.unpack(file, work, slots, shown)
            for packed in unpacked:
                recipe, folder = self._pins[packed.name], work / packed.slot
                program = Program(packed.name, packed.version, folder / packed.path, f"{file.name}: {packed.source}")
                with self._store.making(recipe.batch):
                    if self._store.get(packed.slot) is None:
                        self._keep(recipe, packed.slot, folder, program)
            if saved is not None and image is not None:
                image(saved)

    def status(self) -> Table:
        """A row per program: name, version, where it is from, path.

        A missing one's row says how it will be had, and a note below what was there but is not taken, and why.
        """
        rows: list[tuple[str, ...]] = []
        passed_over = []
        for name, recipe in self._pins.items():
            program, (found, others) = self.find(name), recipe.look(self._environ)
            passed_over += [f"  {line}" for line in others]
            if program is not None:
                rows.append((name, program.version, program.source, str(program.path)))
            else:
                version, source = (found.version, _copied(found)) if found else (recipe.version, recipe.sources)
                rows.append((name, version, f"missing: {source}", recipe.effort))
        note = "\n".join(("Passed over:", *passed_over)) if passed_over else ""
        return Table(("program", "version", "from", "path, or what it takes"), tuple(rows), note=note)

    def _packages(self, lock: Path, work: Path) -> Path:
        """Download wheels for this Python and machine."""
        try:
            with AtOnce() as at_once, progress("downloading Python's packages") as shown:
                tools = Tools(self._environ, work, self._store.log("packages"), shown, at_once.stdin, {}, {})
                tools.run(
                    *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"),
                    *("--progress-bar=off", "--disable-pip-version-check", "--dest", work / "packages", "-r", lock),
                    names=PIP,
                )
        except ToolchainError as error:
            print(f"  Python's packages are left out of the bundle: {error}", flush=True)
            return work / "none"
        return work / "packages"

    def _slot(self, recipe: Recipe) -> str:
        """The name of a program's folder in the cache, on this machine as it is now."""
        made_of = [str(self.find(name)) for name in recipe.made_of]
        of = f"-{hashlib.sha256(''.join(made_of).encode()).hexdigest()[:10]}" if made_of else ""
        return f"{recipe.slot(recipe.look(self._environ)[0])}{of}"

    def _have(self, name: str) -> Program:
        program = self.find(name)
        if program is None:
            raise ToolchainError("program-gone", name=name)
        return program

    def _ensure(self, names: Sequence[str], at_once: AtOnce) -> dict[str, Program]:
        missing: dict[str, list[Recipe]] = {}
        for name in names:
            if self.find(name) is None:
                missing.setdefault(self._pins[name].batch, []).append(self._pins[name])
        begun = [at_once.begin(tuple(recipe.name for recipe in batch), partial(self._make, batch, at_once)) for batch in missing.values()]
        at_once.finish(begun)
        return {name: self._have(name) for name in names}

    def _make(self, batch: Sequence[Recipe], at_once: AtOnce) -> None:
        """Download what of a batch can be had, and build the rest."""
        with self._store.making(batch[0].batch, at_once.ended) as work:
            looked = {recipe.name: recipe.look(self._environ) for recipe in batch}
            given = {name: dataclasses.replace(found, source=_copied(found)) for name, (found, _) in looked.items() if found}
            refused = self._download([recipe for recipe in self._missing(batch) if recipe.name not in given], given, work, at_once)
            missing = self._missing(batch)
            try:
                if missing:
                    self._build(missing, given, work, at_once)
            except ToolchainError as error:
                why = "\n".join(filter(None, (*refused, *(line for recipe in missing for line in looked[recipe.name][1]), error.why)))
                ways = tuple(dict.fromkeys((*(error.ways or filter(None, (error.fix,))), *batch[0].instead)))
                names, instead = ", ".join(recipe.name for recipe in missing), ", or\n".join(ways)
                raise ToolchainError("program-unavailable", names=names, cause=error.what, why=why, instead=instead, ways=ways) from error

    def _missing(self, batch: Sequence[Recipe]) -> list[Recipe]:
        return [recipe for recipe in batch if self.find(recipe.name) is None]

    def _download(self, batch: Sequence[Recipe], given: dict[str, Program], work: Path, at_once: AtOnce) -> list[str]:
        """Have what a project publishes, as far as it can be had: in the cache, or in ``given`` if a program is to be made of it.

        Returns:
            Why something could not be had, a line each; that has been said.
        """
        wanted = [recipe for recipe in batch if recipe.is_published]
        if not wanted:
            return []
        refused: dict[str, None] = {}
        source = f"downloaded from {wanted[0].host}"
        try:
            with progress(f"downloading {', '.join(recipe.name for recipe in wanted)} from {wanted[0].host}", ended=at_once.ended) as shown:
                for recipe in wanted:
                    folder = work / "downloaded" / recipe.name
                    try:
                        program = Program(recipe.name, recipe.version, recipe.fetch(folder, shown), source)
                        if recipe.used_as_is:
                            self._keep(recipe, recipe.slot(), folder, program)
                        else:
                            given[recipe.name] = program
                    except ToolchainError as error:
                        refused[error.what] = None
                if refused:
                    raise ToolchainError("downloads-failed", reasons="; ".join(refused))
        except ToolchainError as error:
            print(f"  {error}; instead: {wanted[0].source}", flush=True)
        return list(refused)

    def _build(self, batch: Sequence[Recipe], given: Mapping[str, Program], work: Path, at_once: AtOnce) -> None:
        first = batch[0]
        needs = self._ensure(first.needs, at_once)
        last = self._store.last_time(first.batch)
        takes = f"{last.read_text(errors='replace')} the last time" if last.is_file() else first.takes
        doing = f"{first.doing} {', '.join(recipe.name for recipe in batch)}, {takes}"
        with self._store.room(first), progress(doing, ended=at_once.ended) as shown:
            tools = Tools(self._environ, work, self._store.log(first.batch), shown, at_once.stdin, needs, given)
            made = first.build(batch, tools)
            for recipe in batch:
                source = given[recipe.name].source if recipe.name in given else recipe.source
                program = Program(recipe.name, recipe.version, made[recipe.name], source)
                self._keep(recipe, self._slot(recipe), tools.made(recipe.name), program)
            write_private(last, f"{shown.seconds():.0f} s")

    def _keep(self, recipe: Recipe, slot: str, folder: Path, program: Program) -> None:
        """Move a program with its folder into the cache, once it has told its version."""
        told = recipe.identify(program.path, self._environ, source=program.source)
        if told is None or not recipe.accepts(told.version):
            seen = {"name": program.name, "source": program.source, "version": told.version if told else "nothing", "wants": recipe.wants}
            raise ToolchainError("program-broken", **seen, instead=", or\n".join(recipe.instead), ways=recipe.instead)
        # A Java tells the real path of its home directory; the cache may have been named by another way to it.
        self._store.put(slot, folder, dataclasses.replace(told, path=program.path))


def _copied(found: Program) -> str:
    return f"copied from {found.source} and built"
