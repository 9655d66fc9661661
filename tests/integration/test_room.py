"""A room of two: people sign in through its Keycloak, each with a seat of their own; and what happens when its servers are killed."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil
import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect

from labkit.common.http_session import request
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.identity.own_secrets import load_workshop
from labkit.lab import Lab
from labkit.room.room import Room
from labkit.servers.certificates import Certificates
from tests.jupyterlab import await_kernel
from tests.rooms import PATIENCE, come, room_of, start_seat, trusting
from tests.support import LABKIT, belonging_to, labkit, on_record, session_of, wait_for


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A room for Anna and Ben, whose seats are this process's user's."""
    with room_of(tmp_path_factory.mktemp("room"), "anna", "ben") as made:
        yield made


@pytest.fixture(scope="module")
def browser(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with trusting(room, tmp_path_factory.mktemp("browser")) as launched:
        yield launched


@pytest.fixture(scope="module")
def anna(browser: Browser, room: Room) -> BrowserContext:
    return come(browser, room, "anna")[0]


@pytest.fixture(scope="module")
def ben(browser: Browser, room: Room) -> BrowserContext:
    return come(browser, room, "ben")[0]


def open_labs(who: BrowserContext, room: Room, name: str) -> Page:
    """JupyterLab of somebody's seat, started if need be."""
    page = start_seat(who, room, name)
    await_kernel(page)
    return page


def test_a_person_changes_their_password_and_finds_the_labs_in_jupyterlab(room: Room, anna: BrowserContext) -> None:
    page = open_labs(anna, room, "anna")
    assert (room.settings.folder / "seats" / "anna" / "work" / "00-start-here.ipynb").is_file()
    assert [status.name for status in room.status().servers if status.runs] == ["keycloak", "proxy", "hub", "seat-anna"]
    page.close()


def test_a_learner_signs_in_to_the_portal_of_their_seat_through_the_hub(room: Room, anna: BrowserContext, ben: BrowserContext) -> None:
    environment = psutil.Process(_leader(room, "seat-anna")).environ()
    up = subprocess.run([*LABKIT, "up"], env=environment, capture_output=True, text=True, check=False)
    assert up.returncode == 0, up.stderr
    password = load_workshop(Settings.open(environment))[1].user("user-dev").password
    page = anna.new_page()
    page.goto(f"{room.url}/user/anna/portal")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Sign in").click()
    opened.value.locator("#username").fill("user-dev")
    opened.value.locator("#password").fill(password.get_secret_value())
    opened.value.locator("#kc-login").click()
    expect(page.get_by_text("kube-dev")).to_be_visible(timeout=PATIENCE)
    page.close()
    assert ben.request.get(f"{room.url}/user/anna/portal/").status == 403


@pytest.mark.fault(
    "Exposure",
    "a process takes the port of a seat's portal that has ended, to get a learner's cookies",
    "JupyterLab asks the portal by a socket in the seat's folder, and nobody by the port",
)
def test_nobody_takes_the_place_of_a_seats_portal(room: Room, anna: BrowserContext) -> None:
    seat = room.settings.folder / "seats" / "anna"
    assert "Portal" in anna.request.get(f"{room.url}/user/anna/portal/").text()
    portal = session_of(seat / "lab", "portal")
    for process in portal:
        process.kill()
    psutil.wait_procs(portal)
    with socket.create_server(("127.0.0.1", open_state_folder(seat / "lab").ports["portal"])) as rogue:
        rogue.settimeout(2)
        assert anna.request.get(f"{room.url}/user/anna/portal/").status >= 500
        with pytest.raises(TimeoutError):
            rogue.accept()


@pytest.mark.fault("Exposure", "a learner asks for the server of somebody else in the room", "JupyterHub answers 403, and to no one 404")
def test_nobody_reaches_anothers_server(room: Room, anna: BrowserContext, ben: BrowserContext) -> None:
    for path in ("/user/anna/lab", "/user/anna/api/contents", "/hub/admin", "/hub/api/users"):
        assert ben.request.get(f"{room.url}{path}").status == 403, path
    assert anna.request.get(f"{room.url}/user/anna/api/contents").status == 200


@pytest.mark.fault(
    "Exposure",
    "a process takes the place of a room's server or of a seat's JupyterLab that has ended, to get tokens and cookies",
    "ports are asked by verified TLS alone; Hub and seats have sockets in folders that only their account may enter",
)
def test_no_port_of_a_room_speaks_http_without_tls(room: Room, anna: BrowserContext) -> None:
    folder = room.settings.folder
    listening = [port for process in belonging_to(folder) for port in process.net_connections() if port.status == "LISTEN"]
    spoken = {port.laddr.port for port in listening if _speaks_http(port.laddr.port)}
    # The portal of a seat has ended by now; its port is for the programs of that seat alone.
    assert spoken == set()
    assert {port.laddr.ip.removeprefix("::ffff:") for port in listening} == {"127.0.0.1"}
    for server in (folder / "hub.sock", folder / "seats" / "anna" / "jupyter.sock"):
        assert server.is_socket()
        assert (server.stat().st_mode & 0o777, server.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.fault("Exposure", "somebody without a session asks a room's servers", "each refuses")
def test_no_server_of_a_room_answers_without_credentials(room: Room) -> None:
    for path in ("hub/api/users", "hub/api/proxy", "hub/metrics", "user/anna/api/contents", "services/keycloak/admin/realms"):
        answer = request("GET", f"{room.url}/{path}", timeout=10, verify=str(room.ca), allow_redirects=False)
        assert answer.status_code in (302, 401, 403), path


def test_no_secret_of_a_room_is_on_a_command_line_or_in_a_seat(room: Room) -> None:
    told = json.loads((room.settings.folder / "hub.json").read_text())
    secrets = [told[name] for name in ("client_secret", "proxy_token", "api_token")]
    everybody = belonging_to(room.settings.folder) + on_record(room.settings.folder)
    assert [process for process in everybody if any(secret in " ".join(process.cmdline()) for secret in secrets)] == []
    (seat,) = (process for process in session_of(room.settings.folder, "seat-anna") if process.pid == _leader(room, "seat-anna"))
    environment = seat.environ()
    assert [name for name, value in environment.items() if any(secret in value for secret in secrets)] == []
    assert "DEBUG" not in environment


@pytest.mark.parametrize("server", ["hub", "proxy", "keycloak"])
@pytest.mark.fault(
    "Servers", "a room's JupyterHub, proxy or Keycloak is killed", "`labkit room up` mends it; seats run on, and nobody signs in anew"
)
def test_a_killed_server_is_mended_and_seats_run_on(room: Room, anna: BrowserContext, server: str) -> None:
    seat = _leader(room, "seat-anna")
    for process in session_of(room.settings.folder, server):
        process.kill()
    assert labkit("room", "status").returncode == 3
    if server == "hub":
        answer = anna.request.get(f"{room.url}/hub/home")
        assert answer.status == 503
        assert "<code>labkit room up</code>" in answer.text()
    mended = labkit("room", "up", "--seats-are-not-separated")
    assert mended.returncode == 0, mended.stderr
    assert _leader(room, "seat-anna") == seat
    # What the Hub starts ends with it.
    services = [each for each in psutil.process_iter() if "labkit.room.service" in _command_of(each, str(room.settings.folder))]
    assert {each.ppid() for each in services} == {_leader(room, "hub")}
    assert anna.request.get(f"{room.url}/user/anna/api/contents").status == 200
    assert anna.request.get(f"{room.url}/services/keycloak/realms/room").status == 200


@pytest.mark.fault(
    "Exposure", "somebody comes to a room by a name that is not its own, or asks for Keycloak's own realm", "the proxy answers 404"
)
def test_a_room_answers_by_its_own_names_and_keeps_keycloaks_own_realm_to_itself(room: Room) -> None:
    for path in ("/hub/api/", "/services/keycloak/realms/room"):
        assert request("GET", f"{room.url}{path}", timeout=10, verify=str(room.ca)).status_code == 200
        elsewhere = request("GET", f"{room.url}{path}", timeout=10, verify=str(room.ca), headers={"Host": "rebound.example"})
        assert elsewhere.status_code == 404
    for path in ("realms/master", "admin/realms/master", "realms/%6daster/account", "realms/master;a=b/account", "admin/master/console/"):
        assert request("GET", f"{room.url}/services/keycloak/{path}", timeout=10, verify=str(room.ca)).status_code == 404, path


def test_somebody_signs_in_several_times_at_once(room: Room) -> None:
    """By cells and by a browser; where it guards passwords, Keycloak by itself lets one in and refuses the others."""
    admin = room.keycloak.admin()
    admin.change_current_realm("anna")
    password = secrets.token_urlsafe()
    profile = {"firstName": "twice", "lastName": "twice", "email": "twice@example.com"}
    credentials = [{"type": "password", "value": password}]
    user = admin.create_user({"username": "twice", "enabled": True, **profile, "credentials": credentials})
    client = admin.create_client({"clientId": "twice", "publicClient": True, "directAccessGrantsEnabled": True})
    url = f"{room.keycloak.url}/realms/anna/protocol/openid-connect/token"
    fields = {"grant_type": "password", "client_id": "twice", "username": "twice", "password": password}
    try:
        with ThreadPoolExecutor(8) as pool:
            asked = pool.map(lambda _: room.keycloak.post(url, fields), range(16))
            assert {answer.status_code for answer in asked} == {200}
    finally:
        admin.delete_user(user)
        admin.delete_client(client)


def test_a_seat_that_asks_for_help_reaches_the_instructor_and_nobody_else(room: Room, browser: Browser, ben: BrowserContext) -> None:
    """With what a seat's own processes have; after the Hub was killed, so that the view is another one too."""
    environment = psutil.Process(_leader(room, "seat-anna")).environ()
    asked = subprocess.run([*LABKIT, "help-me"], env=environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    seen = come(browser, room, "instructor")[0].request.get(f"{room.url}/services/view/board.json")
    assert seen.status == 200, seen.text()
    (anna,) = (seat for seat in seen.json()["seats"] if "help" in seat)
    assert (anna["name"], anna["running"]) == ("anna", True)
    assert ben.request.get(f"{room.url}/services/view/board.json").status == 403
    told = labkit("room", "view", "--json")
    assert [seat["name"] for seat in json.loads(told.stdout)["seats"] if "help" in seat] == ["anna"], told.stderr


@pytest.mark.fault("Servers", "kill -9 of a seat's JupyterLab", "its person starts it again; files and the lab's servers are as they were")
def test_a_killed_seat_starts_again_with_what_was_done(room: Room, anna: BrowserContext) -> None:
    seats, before = room.settings.folder / "seats", _leader(room, "seat-anna")
    note = seats / "anna" / "work" / "kept.txt"
    note.write_text("mine")
    servers = on_record(seats / "anna" / "lab")
    psutil.Process(before).kill()
    # Nobody answers in its place; soon the Hub does, with a page from which it starts.
    assert anna.request.get(f"{room.url}/user/anna/api/contents").status in (424, 503)
    wait_for(lambda: anna.request.get(f"{room.url}/user/anna/api/contents").status == 424)
    page = start_seat(anna, room, "anna")
    expect(page.get_by_role("listitem", name="Name: kept.txt")).to_be_visible(timeout=PATIENCE)
    page.close()
    assert _leader(room, "seat-anna") != before
    assert note.read_text() == "mine"
    assert set(servers) <= set(on_record(seats / "anna" / "lab"))


@pytest.mark.fault("Servers", "kill -9 of a seat's etcd", "`labkit status` names it; `labkit up` starts it again; its data is there")
def test_a_killed_etcd_of_a_seat_comes_back_with_its_data(room: Room) -> None:
    environment = psutil.Process(_leader(room, "seat-anna")).environ()
    lab = Lab(Settings.open(environment))

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*LABKIT, *args], env=environment, capture_output=True, text=True, check=False)

    assert run("up").returncode == 0
    lab.cluster.admin_kubectl("create", "namespace", "kept")
    for process in session_of(lab.settings.folder, "etcd"):
        process.kill()
    assert run("status").returncode == 3
    up = run("up")
    assert up.returncode == 0, up.stderr
    assert "namespace/kept" in lab.cluster.admin_kubectl("get", "namespaces", "-o", "name").output


@pytest.mark.fault(
    "Room", "nobody uses a seat for as long as a room allows", "it is stopped with its lab's servers; the next sign-in finds all as it was"
)
def test_a_seat_that_nobody_uses_is_stopped_and_comes_back_as_it_was(room: Room, anna: BrowserContext) -> None:
    start_seat(anna, room, "anna").close()
    seat, environment = room.settings.folder / "seats" / "anna", psutil.Process(_leader(room, "seat-anna")).environ()
    lab = Lab(Settings.open(environment))

    def up() -> None:
        done = subprocess.run([*LABKIT, "up"], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    up()
    lab.cluster.admin_kubectl("create", "namespace", "before-the-break")
    (seat / "work" / "before.txt").write_text("mine")
    impatient = "from labkit.room.room import Room; Room.idle_seconds = 2; Room.open().up(separated=False)"
    subprocess.run([sys.executable, "-E", "-X", "utf8", "-P", "-c", impatient], check=True)
    wait_for(lambda: not belonging_to(seat))
    assert labkit("room", "up", "--seats-are-not-separated").returncode == 0
    assert [status.name for status in room.status().servers if not status.runs] == []
    page = start_seat(anna, room, "anna")
    expect(page.get_by_role("listitem", name="Name: before.txt")).to_be_visible(timeout=PATIENCE)
    page.close()
    up()
    assert "namespace/before-the-break" in lab.cluster.admin_kubectl("get", "namespaces", "-o", "name").output


def test_people_are_added_and_removed_while_it_runs(room: Room) -> None:
    assert labkit("room", "add", "chris").returncode == 0
    assert set(room.people.names()) == {"instructor", "anna", "ben", "chris"}
    assert room.people.passwords.stat().st_mode & 0o777 == room.people.cards.stat().st_mode & 0o777 == 0o600
    removed = labkit("room", "remove", "chris")
    assert removed.returncode == 0, removed.stderr
    assert (room.settings.folder / "seats" / "chris").is_dir()
    assert "chris" not in room.people.cards.read_text()


@pytest.mark.fault("Servers", "kill -9 of a room's JupyterHub, then `labkit room down`", "no process of them is left; seats' files are")
def test_down_leaves_no_process_also_when_the_hub_was_killed(room: Room, anna: BrowserContext) -> None:
    assert belonging_to(room.settings.folder)
    for process in session_of(room.settings.folder, "hub"):
        process.kill()
    down = labkit("room", "down")
    assert down.returncode == 0, down.stderr
    assert belonging_to(room.settings.folder) == []
    assert (room.settings.folder / "seats" / "anna" / "work" / "00-start-here.ipynb").is_file()
    up = labkit("room", "up", "--seats-are-not-separated")
    assert up.returncode == 0, up.stderr
    open_labs(anna, room, "anna").close()


def test_a_room_can_be_moved_to_an_address_that_others_reach(room: Room) -> None:
    """Another address of loopback stands for another machine's way; the authority vouches for it, and only where it was asked to."""
    port = room.settings.ports["room"]
    with pytest.raises(requests.ConnectionError):
        request("GET", f"https://127.0.0.2:{port}/hub/api/", timeout=10, verify=str(room.ca))
    moved = labkit("room", "up", "--address", "127.0.0.2", "--seats-are-not-separated")
    assert moved.returncode == 0, moved.stderr
    there = Room.open()
    assert there.url == f"https://127.0.0.2:{port}"
    realm = f"{there.url}/services/keycloak/realms/room"
    for url in (there.url, room.url):
        answer = request("GET", f"{url}/services/keycloak/realms/room/.well-known/openid-configuration", timeout=10, verify=str(there.ca))
        assert answer.json()["issuer"] == realm
    assert (there.settings.folder / "seats" / "anna" / "room-ca.crt").read_bytes() == there.ca.read_bytes() != room.ca.read_bytes()


def test_an_address_can_have_a_certificate_of_somebody_else(room: Room, tmp_path: Path) -> None:
    """Who comes there trusts that one's authority alone; on this machine the room's own goes on to count."""
    made = Certificates(tmp_path, "127.0.0.2")
    pair, authority = made.server("given"), made.authority("servers")
    given = tmp_path / "chain.pem"
    given.write_text(pair.certificate.read_text() + authority.read_text())
    moved = labkit(
        *("room", "up", "--address", "127.0.0.2", "--seats-are-not-separated", "--certificate", str(given), "--key", str(pair.key))
    )
    assert moved.returncode == 0, moved.stderr
    assert str(given) in moved.stdout
    there = Room.open()
    assert request("GET", f"{there.url}/hub/api/", timeout=10, verify=str(authority)).ok
    assert request("GET", f"{room.url}/hub/api/", timeout=10, verify=str(there.ca)).ok
    with pytest.raises(requests.exceptions.SSLError):
        request("GET", f"{there.url}/hub/api/", timeout=10, verify=str(there.ca))
    # A seat comes to Keycloak by the address that people know.
    seat = subprocess.run([*LABKIT, "realm", "plan"], env=there.seat("anna").environment(), capture_output=True, text=True, check=False)
    assert seat.returncode == 0, seat.stderr
    given.write_text(authority.read_text())
    refused = labkit("room", "up", "--seats-are-not-separated")
    assert (refused.returncode, "can't serve 127.0.0.2" in refused.stderr) == (1, True), refused.stderr


def test_when_its_time_is_over_a_room_stops_every_seat_and_keeps_what_is_theirs(room: Room) -> None:
    """The last: it ends the room, as `labkit room down` does, which is what is run then."""
    note = room.settings.folder / "seats" / "anna" / "work" / "note.txt"
    note.write_text("mine")
    running = on_record(room.settings.folder)
    assert running
    room.end_at(datetime.now())
    wait_for(lambda: not belonging_to(room.settings.folder) and not any(map(psutil.Process.is_running, running)))
    with pytest.raises(requests.ConnectionError):
        request("GET", Room.open().url, timeout=10, verify=str(room.ca))
    assert note.read_text() == "mine"


def _command_of(process: psutil.Process, folder: str) -> list[str]:
    """How a process was started, if it works in a folder."""
    with suppress(psutil.Error):
        return process.cmdline() if process.cwd() == folder else []
    return []


def _leader(room: Room, server: str) -> int:
    return int(json.loads((room.settings.folder / "run" / f"{server}.json").read_text())["pid"])


def _speaks_http(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as asked:
        asked.settimeout(10)
        asked.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with suppress(OSError):
            head = asked.recv(4096)
            # What TLS servers say to those who speak none.
            return head.startswith(b"HTTP/") and b" 400 " not in head
    return False
