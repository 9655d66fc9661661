"""The state folder's private files: written whole or not at all, readable by their owner alone, and named when they are damaged."""

from __future__ import annotations

import errno
import json
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..common.errors import SettingsError


def write_private(path: Path, text: str | bytes, mode: int = 0o600) -> None:
    """Write a file whole or not at all: to a temporary name with that mode, then renamed over ``path``.

    Raises:
        SettingsError: The disk is full, or the folder is not the person's to write to.
    """
    with writing(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_unfinished(path)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode() if isinstance(text, str) else text)
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def read_state(file: Path, holds: str, is_whole: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Read a JSON object that labkit keeps.

    Args:
        file: The file.
        holds: What it holds, and so what is lost with it.
        is_whole: Whether what is read is complete and of the right types.

    Raises:
        FileNotFoundError: There is none.
        SettingsError: It is damaged, or of somebody else's making.
    """
    try:
        found = json.loads(file.read_bytes())
        if isinstance(found, dict) and is_whole(found):
            return found
        reason = "it is JSON, but not as labkit writes it"
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        reason = str(error)
    raise damaged(file, reason, holds)


def damaged(file: Path, reason: str, holds: str) -> SettingsError:
    """Name a file that labkit can't use, why, and what it holds, which is lost with it."""
    return SettingsError("state-file-damaged", file=file, reason=reason, holds=holds, quoted=shlex.quote(str(file)))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write below a path into an error that says what to do."""
    try:
        yield
    except OSError as error:
        name = "file-disk-full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "file-not-writable"
        raise SettingsError(name, file=path, reason=error.strerror or error) from error


def _remove_unfinished(path: Path) -> None:
    """Remove what writers of ``path`` left when they were killed: it may hold secrets."""
    for file in path.parent.glob(f".{path.name}.*.*"):
        import psutil

        writer = file.name.removeprefix(f".{path.name}.").partition(".")[0]
        if writer.isdecimal() and not psutil.pid_exists(int(writer)):
            file.unlink(missing_ok=True)
