"""A room's servers: Keycloak, the proxy in front of all, and JupyterHub. Each goes on without the others, and is adopted when it runs."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from ..cluster.local import SERVERS
from ..common.environment import ask_loopback_directly, listed
from ..common.errors import RoomError
from ..common.http_session import request
from ..common.ownership import make_private
from ..common.platform_folder import find
from ..common.waiting import together
from ..config.files import read_state, write_private
from ..config.settings import Settings
from ..config.state_folder import Facts, open_state_folder, read_facts
from ..identity.realm import Realm
from ..lab import NEEDED_PROGRAMS
from ..servers.certificates import Certificates, Pair
from ..servers.processes import Processes, Server
from ..servers.status import LabStatus, ServerStatus
from ..toolchain import Toolchain
from ..workshop.workshop import Workshop
from .board import Board
from .deadline import set_deadline
from .given import require_fit
from .hub import Hub
from .kept import Seats
from .keycloak import RoomKeycloak, sign_in_workshop
from .limits import lacking
from .people import People
from .seat import Seat, make_account, require_running
from .seats import open_programs, prepare_seat

_ANSWER_SECONDS = 10


class Room:
    """The room whose state folder is ``room`` in the lab's; ``idle_seconds`` is for how long nobody uses a seat that is then stopped."""

    idle_seconds = 3600

    def __init__(self, settings: Settings, address: str = "", given: Pair | None = None) -> None:
        self.settings, self._asked, self._asked_given = settings, address, given
        self.processes, self._tools = Processes(settings), Toolchain(settings.cache)
        self._here = settings.url("room")

    @classmethod
    def open(cls, address: str = "", given: Pair | None = None, *, to_look: bool = False) -> Room:
        """Open the room; to look at it, without making its folder.

        Args:
            address: This machine's name or number by which people come; empty for the one that the room has.
            given: A certificate for that address, with its key; without, the room's own authority vouches for it.
            to_look: Whether to make nothing.

        Raises:
            RoomError: The address is none.
        """
        if not re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9.-]*)?", address):
            raise RoomError("room-address", address=repr(address))
        ask_loopback_directly()
        outer = Settings.load()
        folder = outer.state.room
        environ = listed(("LABKIT_ROOM_PORT",))
        facts = read_facts(folder, environ) if to_look else open_state_folder(folder, environ=environ)
        return cls.of(outer, folder, facts, address, given, opened=not to_look)

    @classmethod
    def of(cls, outer: Settings, folder: Path, facts: Facts, address: str = "", given: Pair | None = None, *, opened: bool = True) -> Room:
        """The room in a state folder beside the lab's, of which the facts are given."""
        return cls(replace(outer, folder=folder, folder_id=facts.id, ports=facts.ports, hosted=None, opened=opened), address, given)

    @cached_property
    def url(self) -> str:
        """The one address that people know; by HTTPS, also on this machine."""
        return self._here.replace("localhost", self._address)

    @cached_property
    def keycloak(self) -> RoomKeycloak:
        """The Keycloak of the sign-in and of all seats."""
        return RoomKeycloak(self.url, self.settings, self._workshop, self.processes, self._certificates, self._tools)

    @cached_property
    def hub(self) -> Hub:
        """JupyterHub's API, as labkit asks it."""
        return Hub(self._here, self._secrets()["api_token"], self.ca)

    @cached_property
    def people(self) -> People:
        """Who may sign in."""
        return People(self.settings.folder, self.url, self.keycloak)

    @property
    def ca(self) -> Path:
        """Who vouches for the room; where a certificate was given, on this machine alone."""
        return self._certificates.authority("servers")

    @cached_property
    def given(self) -> Pair | None:
        """The certificate that was given for the room's address."""
        if self._asked or not self._facts_file.exists():
            return self._asked_given
        told = self._facts().get("given") or ()
        return self._asked_given or (Pair(*map(Path, told)) if told else None)

    def up(self, names: Sequence[str] = (), *, separated: bool = True) -> None:
        """Start the room, or what has ended of it, and add people; seats that run go on.

        Args:
            names: Of people to add, besides the instructor.
            separated: Whether each seat is to have a Unix account of its own.

        Raises:
            RoomError: Only root can separate seats; a name won't do; a certificate was given that doesn't serve the address.
        """
        if separated and os.geteuid() != 0:
            raise RoomError("seats-not-separated")
        self.people.require_usable(names)
        trusted = self.ca.read_text() + (require_fit(self.given, self._address) if self.given else "")
        # Also those who were here before: what leads a seat to the room may have changed.
        everybody = list(dict.fromkeys([*(name for name in self.people.names() if name != "instructor"), *names]))
        # All that seats run: their accounts make nothing in this cache.
        programs = self._tools.ensure(*NEEDED_PROGRAMS, *SERVERS, "room-proxy")
        make_private(self._seats)
        with self.processes.lock():
            had_proxy = self.processes.running("proxy")
            write_private(self._trusted, trusted)
            self._write_facts(separated)
            node, packages = programs["node"].path, programs["room-proxy"].path
            together(
                {
                    "keycloak": ((), self.keycloak.starting),
                    "realm": (("keycloak",), self._realm.apply),
                    "people": (("realm",), lambda: self.add(everybody, instructor=True)),
                    "proxy": ((), lambda: self.processes.starting(self._proxy(node, packages))),
                    "hub": (("people", "proxy"), lambda: self.processes.starting(self._hub())),
                }
            )
            if self.processes.running("proxy") != had_proxy:
                # One that was just started has no routes but those of a Hub that was started too.
                self.hub.ask("POST", "hub/api/proxy")

    def add(self, names: Sequence[str], *, instructor: bool = False) -> list[str]:
        """Add people; returns those who were not there. Raises RoomError for a name that won't do."""
        self.people.require_usable(names)
        facts, seated = self._facts(), [*names, *(("instructor",) if instructor else ())]
        if facts["accounts"]:
            open_programs(self.settings.cache)
        for name in seated:
            if facts["accounts"]:
                make_account(name, self.settings.folder_id)
            seat = self.seat(name)
            seat.make(prepare_seat(self.keycloak, name))
            # What is hidden from one of these accounts is so from all.
            if seat.account and name == seated[0]:
                require_running(seat)
        return self.people.add(names, instructor=instructor)

    def remove(self, name: str) -> Path:
        """End somebody's seat and take away their sign-in; returns the folder with all that is theirs, which stays."""
        self.people.remove(name)
        self.hub.remove(name)
        return self.seat(name).folder

    def seat(self, name: str) -> Seat:
        """The seat of that name, whether or not it was made."""
        return Seat.of(self._facts(), name)

    def down(self) -> list[str]:
        """Stop all seats with their labs' servers, and the room's own; names those that ran. What they know stays."""
        if not self.settings.folder_id:
            return []
        with self.processes.lock():
            # First the Hub, which starts seats.
            stopped = ["hub"] if self.processes.stop("hub") else []
            seats: list[Seat] = []
            try:
                if self._facts_file.exists():
                    seats = [self.seat(name) for name in self.people.names()]
                    with ThreadPoolExecutor(4) as pool:
                        list(pool.map(Seat.down, seats))
            finally:
                # Also where a file of the room's is damaged.
                stopped += self.processes.stop_all()
                for seat in seats:
                    seat.end()
            return stopped

    def status(self) -> LabStatus:
        """Tell how the room's servers and seats are."""
        addresses = {"keycloak": f"{self.url}/services/keycloak", "proxy": self.url, "hub": f"{self.url}/hub/"}
        seats = [name for name in self.processes.names() if name.startswith("seat-")]
        every = {**addresses, **{name: f"{self.url}/user/{name.removeprefix('seat-')}/" for name in seats}}
        return LabStatus(self.settings.folder, tuple(self._status(name, address) for name, address in every.items()))

    def _status(self, name: str, address: str) -> ServerStatus:
        found, seat = self.processes.status(name, address), name.removeprefix("seat-")
        limits = self.seat(seat).limits if seat != name else None
        killed = limits.killed() if limits else 0
        return replace(found, reason=f"{found.text}; programs that its memory limit ended: {killed}") if killed else found

    def board(self) -> Board:
        """Tell how far each seat is, as the instructor's page does."""
        return Seats(self._view).board()

    def end_at(self, ends: datetime) -> None:
        """Have the view end the room at a time, or as soon as it runs after that."""
        set_deadline(self._view, ends.timestamp())

    @cached_property
    def _address(self) -> str:
        return self._asked or (self._facts()["address"] if self._facts_file.exists() else "localhost")

    @cached_property
    def _certificates(self) -> Certificates:
        return Certificates(self.settings.state.tls / self._address, self._host)

    @property
    def _host(self) -> str:
        """The address by which other machines come; empty where none can."""
        return "" if self._address == "localhost" else self._address

    @property
    def _trusted(self) -> Path:
        """Whom seats trust: they come to Keycloak by the address that people know."""
        return self.settings.folder / "trusted.crt"

    @property
    def _view(self) -> Path:
        return self.settings.folder / "view"

    @property
    def _seats(self) -> Path:
        return self.settings.folder / "seats"

    @cached_property
    def _workshop(self) -> Workshop:
        return sign_in_workshop(self.url, self._secrets()["client_secret"])

    @property
    def _realm(self) -> Realm:
        return Realm(self.keycloak.admin, self._workshop)

    def _secrets(self) -> dict[str, str]:
        """What the room's servers know each other by, made at first use."""
        file, names = self.settings.state.secrets / "room.json", ("client_secret", "proxy_token", "api_token")
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(file, json.dumps({name: secrets.token_hex(32) for name in names}))
        return read_state(file, "by what the room's servers know each other", lambda found: found.keys() == set(names))

    @property
    def _facts_file(self) -> Path:
        return self.settings.folder / "hub.json"

    def _facts(self) -> dict[str, Any]:
        """What the Hub reads, as `_write_facts` wrote it."""
        try:
            return read_state(self._facts_file, "what the Hub reads", lambda found: {"accounts", "address"} <= found.keys())
        except FileNotFoundError:
            raise RoomError("room-not-made") from None

    def _write_facts(self, separated: bool) -> None:
        told = {
            **self._secrets(),
            "url": self.url,
            "here": self._here,
            "address": self._address,
            "proxy_socket": "proxy.sock",
            "keycloak_url": self.keycloak.url,
            "ca": str(self.ca),
            "trusted": str(self._trusted),
            "given": [str(self.given.certificate), str(self.given.key)] if self.given else [],
            "idle_seconds": self.idle_seconds,
            "accounts": separated,
            "limited": separated and lacking() is None,
            "seats": str(self._seats),
            "cache": str(self.settings.cache),
        }
        write_private(self._facts_file, json.dumps(told, indent=1))

    def _proxy(self, node: Path, packages: Path) -> Server:
        pair, file = self._certificates.server("room"), self.settings.folder / "proxy.json"
        # By address; with an empty one, where no other machine can come.
        pairs = {"127.0.0.1": pair, self._host: self.given or pair}
        told = {
            "hosts": [urlsplit(url).netloc for url in (self.url, self._here)],
            "addresses": {address: [str(each.key), str(each.certificate)] for address, each in pairs.items() if address},
            "port": self.settings.ports["room"],
            "socket": "proxy.sock",
            "token": self._secrets()["proxy_token"],
            "authority": str(self.ca),
        }
        write_private(file, json.dumps(told, indent=1))
        argv = (str(node), str(packages / "index.js"), str(file))
        return Server(
            "proxy",
            argv,
            ("room",),
            lambda: bool(self._get("/").status_code),
            inputs=(file, *(each.certificate for each in pairs.values())),
        )

    def _hub(self) -> Server:
        config = find("room/jupyterhub_config.py")
        argv = (sys.executable, "-P", "-m", "jupyterhub", "--config", str(config))
        answers, env = "/hub/api/", {"SSL_CERT_FILE": str(self.ca)}
        return Server("hub", argv, (), lambda: self._get(answers).ok, env, ready_seconds=120, inputs=(config, self._facts_file))

    def _get(self, path: str) -> requests.Response:
        return request("GET", f"{self._here}{path}", timeout=_ANSWER_SECONDS, verify=str(self.ca), allow_redirects=False)
