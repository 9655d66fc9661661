"""The end of a room: a service of the Hub's, which waits for the time in the room's ``deadline`` and then has the room stopped."""

from __future__ import annotations

import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

from ..common.environment import SERVER, listed
from ..common.errors import RoomError
from ..config.files import write_private
from .seat import LABKIT

_POLL_SECONDS = 2
_FILE = Path("deadline")


def set_deadline(folder: Path, text: str, now: datetime) -> datetime:
    """Have the room end at a time such as ``16:30``, today or, when that is over, tomorrow; raises RoomError if it is no time."""
    try:
        clock = datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise RoomError("deadline-no-time", text=repr(text)) from None
    ends = datetime.combine(now, clock)
    ends += timedelta(days=ends <= now)
    write_private(folder / _FILE, f"{ends.timestamp():.0f}\n")
    return ends


def _wait() -> None:
    """Wait in the room's folder."""
    while True:
        if _FILE.exists() and time.time() >= float(_FILE.read_text()):
            _FILE.unlink()
            # In a session of its own, as the Hub and this process are among what it stops.
            subprocess.Popen([*LABKIT, "room", "down"], env=listed((*SERVER, "LABKIT_*")), start_new_session=True, stdin=subprocess.DEVNULL)
            return
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    _wait()
