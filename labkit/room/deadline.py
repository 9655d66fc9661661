"""The end of a room: a time in a file of its view's, which then ends the room."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from ..common.display import BAD
from ..common.errors import RoomError
from ..config.files import write_private

_POLL_SECONDS = 2


def next_time(text: str, now: datetime) -> datetime:
    """When the clock says a time such as ``16:30`` next, today or tomorrow; raises RoomError if it is no time."""
    try:
        clock = datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise RoomError("deadline-no-time", text=repr(text)) from None
    ends = datetime.combine(now, clock)
    return ends + timedelta(days=ends <= now)


def set_deadline(folder: Path, seconds: float) -> None:
    """Have the view whose folder that is end the room at a time in seconds since 1970."""
    write_private(folder / "deadline", f"{seconds:.0f}\n")


async def keep_deadline(folder: Path, end: Callable[[], object]) -> None:
    """Wait for the time that is in the folder then, and call what ends the room, until that succeeds; for the next one too, and so on."""
    file = folder / "deadline"
    while True:
        with suppress(FileNotFoundError, ValueError):
            text = file.read_text()
            if time.time() >= float(text):
                try:
                    await asyncio.to_thread(end)
                    # Unless there is a later one by now.
                    if file.read_text() == text:
                        file.unlink()
                except RoomError as error:
                    print(f"{BAD} {error}", file=sys.stderr)
        await asyncio.sleep(_POLL_SECONDS)
