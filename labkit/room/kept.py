"""What the seats of a room said last, a file each, and what the Hub knows of them; the Hub and the view both need not run for it."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ..common.display import BAD
from ..common.errors import RoomError
from ..config.files import write_private
from ..course.steps.progress import allowed
from .board import Board, Seat, seat_of
from .hub import Hub

_HUB_SECONDS = 5


class Seats:
    """What seats said last, a file each below a folder, and what a Hub knows of them."""

    def __init__(self, folder: Path, hub: Hub | None = None) -> None:
        self.folder, self._hub = folder, hub
        self._asked, self._users = -float(_HUB_SECONDS), dict[str, dict[str, Any]]()

    def keep(self, name: str, said: object) -> None:
        """Keep what a seat says, unless a newer word of it is there."""
        new, kept = allowed(said), self._stored(self._file(name)).get("said") or {}
        newest = max(new, allowed(kept), key=lambda each: each.get("at", 0))
        write_private(self._file(name), json.dumps({"heard": int(time.time()), "said": newest}))

    def board(self) -> Board:
        """The seats of the Hub's users, without its administrators; while it has not answered, those that said something."""
        stored = {unquote(file.stem): self._stored(file) for file in self.folder.glob("*.json")}
        users = self._of_the_hub()
        names = {name for name, user in users.items() if not user.get("admin")} if users else stored
        return Board.of(self._seat(name, stored.get(name), users.get(name)) for name in names)

    def _seat(self, name: str, stored: object, user: dict[str, Any] | None) -> Seat:
        if user is None:
            return seat_of(name, stored)
        active = datetime.fromisoformat(user["last_activity"]) if user.get("last_activity") else None
        return seat_of(name, stored, active=int(active.timestamp()) if active else 0, running=bool(user.get("servers")))

    def _of_the_hub(self) -> dict[str, dict[str, Any]]:
        if self._hub and time.monotonic() - self._asked >= _HUB_SECONDS:
            self._asked = time.monotonic()
            try:
                self._users = {user["name"]: user for user in self._hub.users()}
            except RoomError as error:
                # The view shows what it has.
                print(f"{BAD} {error}", file=sys.stderr)
        return self._users

    def _file(self, name: str) -> Path:
        return self.folder / f"{quote(name, safe='')}.json"

    @staticmethod
    def _stored(file: Path) -> dict[str, Any]:
        try:
            found = json.loads(file.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
