"""A room on Kubernetes, by Zero to JupyterHub: what deploy/z2jh.yaml and deploy/keycloak.yaml have pods run of labkit.

Run as a module with ``keycloak`` or ``proxy``, and then the chart's options. The pods get their Secrets as files.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..common.errors import SettingsError
from ..common.ownership import make_private
from ..common.platform_folder import OWN
from ..config.files import write_private
from ..config.hosting import PUBLIC_CA
from ..config.settings import Settings
from ..identity.hosted import HostedKeycloak
from ..identity.realm import Realm
from ..servers.certificates import Certificates, Pair
from ..servers.processes import Processes, Server
from ..toolchain import Toolchain
from ..toolchain.keycloak import Prepared
from ..workshop.workshop import Workshop
from .keycloak import RoomKeycloak, sign_in_workshop
from .people import People
from .seats import seat_environment

_SECRETS, _TLS = Path("/etc/labkit"), Path("/etc/labkit-tls")
_POLL_SECONDS = 2


class PodRoom:
    """The room, as the Hub's pod knows it: its people and its seats are in a Keycloak that is hosted, to labkit here."""

    def __init__(self) -> None:
        self._settings, self._url = Settings.load(), os.environ["LABKIT_ROOM_URL"]
        self._folder = self._settings.state.room
        self._workshop = sign_in_workshop(self._url, os.environ["OAUTH_CLIENT_SECRET"])
        self.people = People(self._folder, self._url, self.keycloak)

    @cached_property
    def keycloak(self) -> HostedKeycloak:
        """The Keycloak of the sign-in and of all seats."""
        if not self._settings.hosted:
            raise SettingsError("hosted-url-missing")
        return HostedKeycloak(self._settings.hosted, self._workshop)

    def add(self, names: Sequence[str]) -> list[str]:
        """Have the realm of the sign-in, and add people and the instructor; returns those who were not there."""
        self.people.require_usable(names)
        make_private(self._settings.folder)
        make_private(self._folder)
        Realm(self.keycloak.admin, self._workshop).apply()
        return self.people.add(names, instructor=True)

    def remove(self, name: str) -> str:
        """Take somebody's sign-in away; returns what is left of their seat, which is the Hub's to delete."""
        self.people.remove(name)
        return f"volume and realm, until they are deleted at {self._url}/hub/admin"

    def environment(self, name: str, secret: str) -> dict[str, str]:
        """The variables of a seat's pod, whose administrator's secret is given; HOME is a volume of the seat's own."""
        # Where people sign in is where seats ask.
        addresses = {"keycloak": os.environ["OAUTH2_AUTHORIZE_URL"].partition("/realms/")[0], "portal": f"{self._url}/user/{name}/portal"}
        # The one image has the public authorities at the same place.
        ca = next(file for file in (_TLS / "ca.crt", PUBLIC_CA) if file.exists())
        seat = seat_environment(name, Path("/home/learner"), **addresses, ca=ca, secret=secret, cache=self._settings.cache)
        return {**seat, "LABKIT_ROOM_VIEW": f"{self._url}/services/view/"}


class _Given(Certificates):
    """The certificate of a pod, which is its Secret's."""

    def __init__(self) -> None:
        super().__init__(_TLS)

    def authority(self, name: str) -> Path:
        return _TLS / "ca.crt"

    def server(self, name: str, authority: str = "servers") -> Pair:
        return Pair(_TLS / "tls.crt", _TLS / "tls.key")


class _PodKeycloak(RoomKeycloak):
    """Keycloak in a pod, known within the cluster by its Service; a network policy says who reaches it."""

    listens = "0.0.0.0"  # noqa: S104

    def __init__(self, url: str, *parts: Any) -> None:
        super().__init__(url, *parts)
        self.url = "https://keycloak:8443"

    def _server(self, java: Path, prepared: Prepared) -> Server:
        # Nobody else is there who could have its port, by IPv6 either, where it listens too.
        return replace(super()._server(java, prepared), ports=())


def _keycloak() -> None:
    """Run Keycloak, until the pod is to end."""
    settings = Settings.open()
    settings.state.secrets.mkdir(mode=0o700, exist_ok=True)
    write_private(settings.state.keycloak_admin, (_SECRETS / "keycloak-admin").read_text().strip())
    parts = settings, Workshop.load(OWN), Processes(settings), _Given(), Toolchain(settings.cache)
    keycloak = _PodKeycloak(os.environ["LABKIT_ROOM_URL"], *parts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        print(keycloak.start(), flush=True)
        while keycloak.is_running():
            time.sleep(_POLL_SECONDS)
    finally:
        keycloak.stop()


def _proxy() -> None:
    """Become the room's proxy, by the chart's options."""
    programs = Toolchain(Path(os.environ["LABKIT_CACHE"])).ensure("node", "room-proxy")
    node = programs["node"].path
    os.execv(node, [str(node), str(programs["room-proxy"].path / "chart.js"), *sys.argv[2:]])


if __name__ == "__main__":
    {"keycloak": _keycloak, "proxy": _proxy}[sys.argv[1]]()
