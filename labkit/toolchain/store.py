"""The cache of programs: a folder for each, which appears there under its name only when it is whole."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

from ..common.control_groups import memory_available
from ..common.display import progress
from ..common.errors import ToolchainError
from ..common.ownership import make_private, privately, require_own
from ..config.files import write_private
from .recipe import Program, Recipe

_FACTS = "program.json"
_GB = 1e9


class Store:
    """Programs below ``cache / "programs"``, a folder each that also holds ``program.json``; tools' output below ``cache / "logs"``."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        if cache.is_dir():
            self._require_own(to_read=True)
        self._programs, self._logs = cache / "programs", cache / "logs"
        self._held, self._freed = list[Recipe](), threading.Condition()

    def get(self, slot: str) -> Program | None:
        """The program in the folder of this name; nothing is run for it."""
        folder = self._programs / slot
        try:
            program = Program(**json.loads((folder / _FACTS).read_text()))
            path = folder / program.path
        except (OSError, ValueError, TypeError):
            return None
        return replace(program, path=path) if path.exists() else None

    def folder(self, program: Program) -> Path | None:
        """The folder here that holds this program whole; nothing if it lies elsewhere."""
        if not program.path.is_relative_to(self._programs):
            return None
        return self._programs / program.path.relative_to(self._programs).parts[0]

    def put(self, slot: str, folder: Path, program: Program) -> None:
        """Move a whole folder into the cache; ``program.path`` lies in it."""
        facts = {**asdict(program), "path": str(program.path.relative_to(folder))}
        write_private(folder / _FACTS, json.dumps(facts, indent=1) + "\n", mode=0o644)
        target = self._programs / slot
        shutil.rmtree(target, ignore_errors=True)
        folder.replace(target)

    def log(self, name: str) -> Path:
        """An empty log file of that name."""
        make_private(self._logs)
        log = self._logs / f"{name}.log"
        write_private(log, "")
        return log

    def last_time(self, batch: str) -> Path:
        """The file that tells how long this took the last time, for people."""
        return self._logs / f"{batch}.took"

    @contextlib.contextmanager
    def making(self, what: str, ended: threading.Event | None = None) -> Iterator[Path]:
        """Be the only one that makes this, in a temporary folder that is gone afterwards.

        Args:
            what: A recipe's batch, or ``bundle``.
            ended: Set when it is not to be waited for any longer.

        Raises:
            ToolchainError: The cache can't be written.
            SettingsError: It is not the person's own.
        """
        try:
            make_private(self._programs)
            self._require_own()
            lock = _locked(self._programs / f"{what}.lock", what, ended)
        except OSError as error:
            raise ToolchainError("cache-not-writable", folder=self._programs, reason=error) from error
        with lock, privately():
            # No name of another batch begins like this.
            for left_behind in self._programs.glob(f".making-{what}.*"):
                shutil.rmtree(left_behind, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f".making-{what}.", dir=self._programs, ignore_cleanup_errors=True) as work:
                yield Path(work)

    @contextlib.contextmanager
    def room(self, recipe: Recipe) -> Iterator[None]:
        """Hold the disk and the memory that making takes; what doesn't fit in beside what is made just then waits until it does.

        Raises:
            ToolchainError: This machine has too little of one of them.
        """
        with self._freed:
            self._freed.wait_for(lambda: self._fits(recipe))
            self._held.append(recipe)
        try:
            yield
        finally:
            with self._freed:
                self._held.remove(recipe)
                self._freed.notify_all()

    def _fits(self, recipe: Recipe) -> bool:
        disk = shutil.disk_usage(self._programs).free / _GB - sum(held.disk_gb for held in self._held)
        memory = memory_available() / _GB - sum(held.memory_gb for held in self._held)
        if self._held:
            return disk >= recipe.disk_gb and memory >= recipe.memory_gb
        if disk < recipe.disk_gb:
            needed = f"{recipe.disk_gb:g}"
            raise ToolchainError("build-disk-short", name=recipe.batch, free=f"{disk:.1f}", folder=self._programs, needed=needed)
        if memory < recipe.memory_gb:
            raise ToolchainError("build-memory-short", name=recipe.batch, free=f"{memory:.1f}", needed=f"{recipe.memory_gb:g}")
        return True

    def _require_own(self, *, to_read: bool = False) -> None:
        require_own(self._cache, "the programs that labkit runs", "export LABKIT_CACHE=~/labkit-cache", to_read=to_read)


def _locked(file: Path, name: str, ended: threading.Event | None) -> contextlib.AbstractContextManager[object]:
    lock = FileLock(file, mode=0o600)
    try:
        return lock.acquire(timeout=1)
    except Timeout:
        with progress(f"waiting for another set-up that makes {name}"):
            return lock.acquire(cancel_check=ended.is_set if ended else None)
