"""A room's proxy alone: which certificate it shows where, and which socket it asks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from tempfile import TemporaryDirectory

import pytest
import requests

from labkit.common.environment import ask_loopback_directly
from labkit.common.http_session import request
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.servers.certificates import Certificates
from labkit.toolchain import Toolchain
from tests.hostile import friendly
from tests.support import wait_for

ELSEWHERE = "127.0.0.2"
SEAT, OTHER, HUB = "anna/jupyter.sock", "hidden.sock", "hub.sock"


class Answer(BaseHTTPRequestHandler):
    """What says the socket that it listens on, takes whatever it is sent, and agrees to a WebSocket."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        said = str(self.server.server_address).encode()
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        upgraded = {"Upgrade": "websocket", "Connection": "Upgrade"} if "Upgrade" in self.headers else {}
        self.send_response(101 if upgraded else 200)
        for name, value in (upgraded or {"Content-Length": str(len(said))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def do_PUT(self) -> None:
        self.do_GET()

    def address_string(self) -> str:
        return ""


class Unix(HTTPConnection):
    """HTTP by a socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs, with what vouches for it on this machine and elsewhere."""

    folder: Path
    port: int
    here: Path
    elsewhere: Path

    def ask(self, host: str = "localhost", trusted: Path | None = None, who: str = "anna", **headers: str) -> requests.Response:
        url = f"https://{host}:{self.port}/user/{who}/"
        return request("GET", url, timeout=10, verify=str(trusted or self.here), headers=headers, stream=True)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """With Anna's seat, another server and the Hub, all on sockets."""
    ask_loopback_directly()
    programs = Toolchain(Settings.load().cache).ensure("node", "room-proxy")
    # The path of a socket may be no longer than this one.
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.chdir(folder)
        port = open_state_folder(folder / "home", environ={}, free_ports=True).ports["room"]
        here, elsewhere = Certificates(folder / "here"), Certificates(folder / "elsewhere", ELSEWHERE)
        made = Proxy(folder, port, here.authority("servers"), elsewhere.authority("servers"))
        pairs = {"127.0.0.1": here.server("room"), ELSEWHERE: elsewhere.server("room")}
        told = {
            "hosts": [f"localhost:{port}", f"{ELSEWHERE}:{port}"],
            "addresses": {address: [str(pair.key), str(pair.certificate)] for address, pair in pairs.items()},
            "port": port,
            "socket": "proxy.sock",
            "token": "the-proxys",
            "authority": str(made.here),
        }
        (folder / "proxy.json").write_text(json.dumps(told))
        (folder / "anna").mkdir()
        servers = [ThreadingUnixStreamServer(each, Answer) for each in (SEAT, OTHER, HUB)]
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        argv = (programs["node"].path, programs["room-proxy"].path / "index.js", folder / "proxy.json")
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=folder, env=friendly()) as running:
            try:
                wait_for(lambda: _answers(made))
                for path, place in (("user/anna", SEAT), ("user/ben", OTHER)):
                    api = Unix("proxy.sock")
                    route = json.dumps({"target": f"http+unix://{place.replace('/', '%2f')}"})
                    api.request("POST", f"/api/routes/{path}", route, {"Authorization": "token the-proxys"})
                    assert api.getresponse().status == 201
                yield made
            finally:
                running.terminate()
        for server in servers:
            server.shutdown()
            server.server_close()


def test_each_address_has_the_certificate_that_is_for_it(proxy: Proxy) -> None:
    """So a browser elsewhere need not trust who vouches for the room on its own machine."""
    for host, trusted, other in (("localhost", proxy.here, proxy.elsewhere), (ELSEWHERE, proxy.elsewhere, proxy.here)):
        assert SEAT in proxy.ask(host, trusted).text
        with pytest.raises(requests.exceptions.SSLError):
            proxy.ask(host, other)


def test_a_seats_socket_is_asked_also_by_websocket(proxy: Proxy) -> None:
    assert proxy.ask().text == SEAT
    assert proxy.ask(Connection="Upgrade", Upgrade="websocket").status_code == 101


def test_the_hub_is_asked_though_it_has_told_of_no_route(proxy: Proxy) -> None:
    """As after the proxy alone was killed: the Hub itself would see that within five minutes."""
    assert proxy.ask(who="nobody").text == HUB


def test_connections_are_kept_longer_than_clients_do(proxy: Proxy) -> None:
    """Node's clients, such as the portal, drop one after 5 seconds; one that the proxy drops just then fails a sign-in."""
    assert proxy.ask(Host="nobody.example").headers["Keep-Alive"] == "timeout=75"


def test_a_seat_that_answers_at_once_loses_no_request(proxy: Proxy) -> None:
    """Of those with a body the proxy writes the end by itself, when the seat may have answered and closed the connection."""
    url, session = f"https://localhost:{proxy.port}/user/anna/", requests.Session()
    session.trust_env, session.verify = False, str(proxy.here)
    assert {session.put(url, data="y", timeout=10).status_code for _ in range(300)} == {200}


def test_each_of_many_requests_comes_to_its_own_seat(proxy: Proxy) -> None:
    """Though the numbers by which the proxy holds sockets are the same again and again."""
    for _ in range(50):
        assert [proxy.ask(who=who).text for who in ("anna", "ben")] == [SEAT, OTHER]


@pytest.mark.fault(
    "Exposure",
    "a seat puts a link where its socket lay, to a socket that root alone may open",
    "the proxy asks a socket itself, never what a link leads to, and only one of the account whose folder it lies in: it answers 503",
)
@pytest.mark.parametrize("trick", ["link", "hard link", "file", "nothing", "another's folder"])
def test_what_lies_in_a_sockets_place_is_not_asked(proxy: Proxy, trick: str) -> None:
    seat, kept = proxy.folder / SEAT, proxy.folder / "kept.sock"
    if trick in ("hard link", "another's folder") and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    seat.rename(kept)
    try:
        if trick == "link":
            seat.symlink_to(proxy.folder / OTHER)
        elif trick == "hard link":
            os.link(proxy.folder / OTHER, seat)
        elif trick == "file":
            seat.touch()
        if trick in ("hard link", "another's folder"):
            os.chown(seat.parent, 54321, -1)
        if trick == "another's folder":
            kept.rename(seat)
        assert proxy.ask().status_code == 503
    finally:
        os.chown(seat.parent, os.geteuid(), -1)
        with suppress(FileNotFoundError):
            kept.replace(seat)
    assert proxy.ask().text == SEAT


def _answers(proxy: Proxy) -> bool:
    with suppress(requests.ConnectionError):
        return bool(proxy.ask().status_code)
    return False
