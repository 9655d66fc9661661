"""What the seats of a room said last, a file each, and what the Hub knows of them; the Hub and the view both need not run for it."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import requests

from ..common.display import BAD
from ..common.http_session import request
from ..config.files import write_private
from ..course.steps.progress import allowed
from .board import Board, Seat, seat_of

_HUB_SECONDS = 5


class Seats:
    """What seats said last, a file each, and what the Hub knows of them."""

    def __init__(self, folder: Path, hub_url: str = "", token: str = "") -> None:
        self._folder, self._hub_url, self._token = folder, hub_url, token
        self._asked, self._users = -float(_HUB_SECONDS), dict[str, dict[str, Any]]()

    def keep(self, name: str, said: object) -> None:
        """Keep what a seat says, unless a newer word of it is there."""
        new, kept = allowed(said), self._stored(self._file(name)).get("said") or {}
        newest = max(new, allowed(kept), key=lambda each: each.get("at", 0))
        write_private(self._file(name), json.dumps({"heard": int(time.time()), "said": newest}))

    def board(self) -> Board:
        """All seats: those that said something and the Hub's other users, without its administrators."""
        stored = {unquote(file.stem): self._stored(file) for file in self._folder.glob("*.json")}
        users = self._of_the_hub()
        names = {*stored, *users} - {name for name, user in users.items() if user.get("admin")}
        return Board.of(self._seat(name, stored.get(name), users.get(name)) for name in names)

    def _seat(self, name: str, stored: object, user: dict[str, Any] | None) -> Seat:
        if user is None:
            return seat_of(name, stored)
        active = datetime.fromisoformat(user["last_activity"]) if user.get("last_activity") else None
        return seat_of(name, stored, active=int(active.timestamp()) if active else 0, running=bool(user.get("servers")))

    def _of_the_hub(self) -> dict[str, dict[str, Any]]:
        if self._hub_url and time.monotonic() - self._asked >= _HUB_SECONDS:
            self._asked = time.monotonic()
            headers = {"Authorization": f"token {self._token}"}
            try:
                answer = request("GET", f"{self._hub_url}/users?limit=200", headers=headers, timeout=_HUB_SECONDS)
                answer.raise_for_status()
                self._users = {user["name"]: user for user in answer.json()}
            except requests.RequestException as error:
                # The view shows what it has.
                print(f"{BAD} the Hub did not say who is there: {type(error).__name__}", file=sys.stderr)
        return self._users

    def _file(self, name: str) -> Path:
        return self._folder / f"{quote(name, safe='')}.json"

    @staticmethod
    def _stored(file: Path) -> dict[str, Any]:
        try:
            found = json.loads(file.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
