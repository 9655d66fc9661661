"""The Keycloak of a room, and the realm by which people sign in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..common.platform_folder import OWN
from ..identity.local import LocalKeycloak
from ..workshop.files import read
from ..workshop.workshop import RealmSpec, Workshop


class RoomKeycloak(LocalKeycloak):
    """The Keycloak of a room: people know it by the Hub's address, and labkit asks it at its own."""

    def __init__(self, url: str, *parts: Any) -> None:
        super().__init__(*parts)
        self._known_as = url

    def _names(self) -> tuple[str, ...]:
        return (
            f"--hostname={self._known_as}/services/keycloak",
            "--hostname-backchannel-dynamic=true",
            # Else whoever signs in twice at a time, by a cell and by a browser, is refused as by a wrong password.
            "--spi-brute-force-protector--default-brute-force-detector--allow-concurrent-requests=true",
        )


def sign_in_workshop(url: str, client_secret: str) -> Workshop:
    """The workshop whose realm is that of the sign-in, for a room of this address, whose Hub has this secret at Keycloak."""
    realm = RealmSpec(read("room/realm.yaml", {"ROOM_URL": url})).with_values({("clients", 0, "secret"): client_secret})
    return replace(Workshop.load(OWN), realm=realm)
