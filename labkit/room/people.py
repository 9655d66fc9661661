"""Who may sign in to a room: people in its Keycloak, with passwords that are good for the first sign-in alone."""

from __future__ import annotations

import html
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keycloak.exceptions import KeycloakError

from ..common.errors import RoomError
from ..config.files import read_state, write_private
from ..identity.keycloak import Keycloak, failure
from .seat import NAME, RESERVED

if TYPE_CHECKING:
    from keycloak import KeycloakAdmin

_INSTRUCTOR = "instructor"
_STYLE = """body { font: 16px sans-serif; display: flex; flex-wrap: wrap; gap: 8mm }
section { border: 1px dashed #666; padding: 6mm; width: 80mm; break-inside: avoid } code { font-size: 18px }"""


class People:
    """The people of a room.

    Attributes:
        passwords: Names with one-time passwords, as JSON (mode 0600).
        cards: The same to print and cut out, a card each (mode 0600).
    """

    def __init__(self, folder: Path, url: str, keycloak: Keycloak) -> None:
        self.passwords, self.cards = folder / "people.json", folder / "cards.html"
        self._url, self._keycloak = url, keycloak

    def names(self) -> list[str]:
        """Everybody who was added."""
        return list(self._given())

    def require_usable(self, names: Sequence[str]) -> None:
        """Insist that names can be people's: raises RoomError."""
        for name in names:
            if not NAME.fullmatch(name) or name in RESERVED:
                raise RoomError("person-name", name=repr(name))

    def add(self, names: Sequence[str], *, instructor: bool = False) -> list[str]:
        """Add people who are not there yet, and write down their passwords; returns their names."""
        groups = {**({_INSTRUCTOR: "/instructors"} if instructor else {}), **dict.fromkeys(names, "/learners")}
        given, admin = self._given(), self._admin()
        new = {name: group for name, group in groups.items() if name not in given}
        for name, group in new.items():
            given[name] = secrets.token_urlsafe(9)
            # Written before it counts: a password that nobody knows would be lost.
            self._write(given)
            self._make(admin, name, group, given[name])
        return list(new)

    def remove(self, name: str) -> None:
        """Take somebody's sign-in away; raises RoomError if there is no such person."""
        given, admin, who = self._given(), self._admin(), f"user {name}"
        if name not in given:
            raise RoomError("no-such-person", name=name)
        try:
            if user_id := admin.get_user_id(name):
                admin.delete_user(user_id)
        except KeycloakError as error:
            raise failure(who, error) from None
        del given[name]
        self._write(given)

    def _make(self, admin: KeycloakAdmin, name: str, group: str, password: str) -> None:
        who = f"user {name}"
        # Keycloak asks whoever lacks one of these for it at the first sign-in.
        profile = {"firstName": name, "lastName": name, "email": f"{name}@example.com", "emailVerified": True}
        credentials = [{"type": "password", "value": password, "temporary": True}]
        try:
            if user_id := admin.get_user_id(name):
                admin.delete_user(user_id)
            admin.create_user({"username": name, "enabled": True, **profile, "groups": [group], "credentials": credentials})
        except KeycloakError as error:
            raise failure(who, error) from None

    def _admin(self) -> KeycloakAdmin:
        admin = self._keycloak.admin()
        admin.change_current_realm("room")
        return admin

    def _given(self) -> dict[str, str]:
        if not self.passwords.exists():
            return {}
        return read_state(self.passwords, "who may sign in, and with which first password", lambda found: all(map(NAME.fullmatch, found)))

    def _write(self, given: dict[str, str]) -> None:
        write_private(self.passwords, json.dumps(given, indent=1) + "\n")
        cards = (
            f"<section><h1>{html.escape(name)}</h1><p>{html.escape(self._url)}</p>"
            f"<p>first password <code>{html.escape(password)}</code></p></section>"
            for name, password in given.items()
        )
        write_private(self.cards, f"<!doctype html><meta charset=utf-8><title>Cards</title><style>{_STYLE}</style>{''.join(cards)}\n")
