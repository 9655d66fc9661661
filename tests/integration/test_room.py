"""A room of two: people sign in through its Keycloak, each with a seat of their own; and what happens when its servers are killed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect

from labkit.cli.browsers import CHROMIUM_STORE, NssStore
from labkit.common.http_session import request
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.identity.own_secrets import load_workshop
from labkit.room.room import Room
from tests.browsing import chromium, driver
from tests.support import LABKIT, belonging_to, labkit, on_record, own_state_folder, session_of, wait_for

PATIENCE = 120_000


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A room for Anna and Ben, whose seats are this process's user's."""
    with own_state_folder(tmp_path_factory.mktemp("room") / "home") as home:
        open_state_folder(home / "room", environ={}, free_ports=True)
        try:
            done = labkit("room", "up", "anna", "ben", "--seats-are-not-separated")
            assert done.returncode == 0, done.stderr
            yield Room.open()
        finally:
            labkit("room", "down")


@pytest.fixture(scope="module")
def browser(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, which trusts the room's authority."""
    if shutil.which("certutil") is None:
        pytest.skip("there is no certutil to tell Chromium of the room's authority: make browser")
    home = tmp_path_factory.mktemp("browser")
    NssStore("Chromium", home / CHROMIUM_STORE).add("room", room.ca)
    # What Playwright asks by itself, in a page's name, it asks by Node.
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("NODE_EXTRA_CA_CERTS", str(room.ca))
        launched = chromium(stack.enter_context(driver()), home)
        yield launched
        launched.close()


def come(browser: Browser, room: Room, name: str) -> BrowserContext:
    """Somebody comes with their card, and chooses a password of their own at Keycloak."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{room.url}/hub/login")
    page.locator("#username").fill(name)
    page.locator("#password").fill(json.loads(room.people.passwords.read_text())[name])
    page.locator("#kc-login").click()
    for field in ("#password-new", "#password-confirm"):
        page.locator(field).fill(f"{name}-chose-this-1")
    page.locator("[type=submit]").click()
    page.wait_for_url(re.compile(rf"^{room.url}/(hub|user)/.*"), timeout=PATIENCE)
    context.set_default_timeout(PATIENCE)
    page.close()
    return context


@pytest.fixture(scope="module")
def anna(browser: Browser, room: Room) -> BrowserContext:
    return come(browser, room, "anna")


@pytest.fixture(scope="module")
def ben(browser: Browser, room: Room) -> BrowserContext:
    return come(browser, room, "ben")


def open_labs(who: BrowserContext, room: Room, name: str) -> Page:
    """JupyterLab of somebody's seat, started if need be."""
    page = who.new_page()
    page.goto(f"{room.url}/hub/spawn", wait_until="commit")
    page.wait_for_url(f"{room.url}/user/{name}/lab/**", timeout=PATIENCE)
    expect(page.get_by_text(re.compile(r"Python 3 \(ipykernel\) \| Idle"))).to_be_visible(timeout=PATIENCE)
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


@pytest.mark.fault("Exposure", "a learner asks for the server of somebody else in the room", "JupyterHub answers 403, and to no one 404")
def test_nobody_reaches_anothers_server(room: Room, anna: BrowserContext, ben: BrowserContext) -> None:
    for path in ("/user/anna/lab", "/user/anna/api/contents", "/hub/admin", "/hub/api/users"):
        assert ben.request.get(f"{room.url}{path}").status == 403, path
    assert anna.request.get(f"{room.url}/user/anna/api/contents").status == 200


@pytest.mark.fault("Exposure", "somebody without a session asks the room's servers, at their own ports too", "each refuses")
def test_no_port_of_a_room_answers_without_credentials(room: Room) -> None:
    ports = {
        port.laddr.port for process in on_record(room.settings.folder) for port in process.net_connections() if port.status == "LISTEN"
    }
    assert room.settings.ports["hub"] in ports
    hub = f"http://127.0.0.1:{room.settings.ports['hub']}"
    for path in ("/hub/api/users", "/hub/api/proxy", "/hub/metrics"):
        assert request("GET", f"{hub}{path}", timeout=10).status_code == 403, path
    seat = _port_of(room, "anna")
    answer = request("GET", f"http://127.0.0.1:{seat}/user/anna/api/contents", timeout=10, allow_redirects=False)
    assert answer.status_code in (302, 403)
    admin = request("GET", f"{room.url}/services/keycloak/admin/realms", timeout=10, verify=str(room.ca))
    assert admin.status_code == 401


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


def test_a_seat_that_asks_for_help_reaches_the_instructor_and_nobody_else(room: Room, browser: Browser, ben: BrowserContext) -> None:
    """With what a seat's own processes have; after the Hub was killed, so that the view is another one too."""
    environment = psutil.Process(_leader(room, "seat-anna")).environ()
    asked = subprocess.run([*LABKIT, "help-me"], env=environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    seen = come(browser, room, "instructor").request.get(f"{room.url}/services/view/board.json")
    assert seen.status == 200, seen.text()
    (anna,) = (seat for seat in seen.json()["seats"] if "help" in seat)
    assert (anna["name"], anna["running"]) == ("anna", True)
    assert ben.request.get(f"{room.url}/services/view/board.json").status == 403
    told = labkit("room", "view", "--json")
    assert [seat["name"] for seat in json.loads(told.stdout)["seats"] if "help" in seat] == ["anna"], told.stderr


def test_people_are_added_and_removed_while_it_runs(room: Room) -> None:
    assert labkit("room", "add", "chris").returncode == 0
    assert set(room.people.names()) == {"instructor", "anna", "ben", "chris"}
    assert room.people.passwords.stat().st_mode & 0o777 == room.people.cards.stat().st_mode & 0o777 == 0o600
    removed = labkit("room", "remove", "chris")
    assert removed.returncode == 0, removed.stderr
    assert (room.settings.folder / "seats" / "chris").is_dir()
    assert "chris" not in room.people.cards.read_text()


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


def test_when_its_time_is_over_a_room_stops_every_seat_and_keeps_what_is_theirs(room: Room) -> None:
    """The last: it ends the room, as `labkit room down` does, which is what is run then."""
    note = room.settings.folder / "seats" / "anna" / "work" / "note.txt"
    note.write_text("mine")
    running = on_record(room.settings.folder)
    assert running
    (room.settings.folder / "deadline").write_text("0")
    wait_for(lambda: not on_record(room.settings.folder) and not any(map(psutil.Process.is_running, running)))
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


def _port_of(room: Room, name: str) -> int:
    found = [c for process in session_of(room.settings.folder, f"seat-{name}") for c in process.net_connections() if c.status == "LISTEN"]
    leader = _leader(room, f"seat-{name}")
    return next(int(c.laddr.port) for c in psutil.Process(leader).net_connections() if c.status == "LISTEN" and c in found)
