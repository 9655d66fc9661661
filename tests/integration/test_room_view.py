"""The instructor's view in a real JupyterHub, with two seats that send by their own tokens."""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import certifi
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from requests import Response

from labkit.common.http_session import HttpSession, request
from labkit.course.steps import LABS, STEPS
from labkit.room.hub import Hub
from labkit.room.kept import Seats
from labkit.servers.certificates import Certificates
from tests.browsing import SCREENSHOTS, chromium, driver
from tests.hostile import friendly
from tests.support import LABKIT, belonging_to, wait_for

CONFIG = Path(__file__).parents[1] / "room" / "jupyterhub_config.py"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PATIENCE_SECONDS = 90


def until(what: Callable[[], Any]) -> Any:
    """What is true in the end, asked again for a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


@dataclass
class Room:
    """A Hub with its view."""

    folder: Path
    url: str
    ca: Path
    process: subprocess.Popen[bytes]

    @property
    def view(self) -> str:
        return f"{self.url}/services/view/"

    def signed_in(self, name: str) -> HttpSession:
        """A session of somebody who has signed in at the Hub."""
        session = HttpSession(self.ca)
        form = session.get(f"{self.url}/hub/login").text
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', form)
        assert xsrf, form
        given = {"username": name, "password": "x", "_xsrf": xsrf[1]}
        # The way on would start a server.
        assert session.post(f"{self.url}/hub/login", data=given, allow_redirects=False).status_code == 302
        return session

    def command(self, *arguments: str, file: str = "labkit-token") -> list[str]:
        """`labkit room`, with the token in that file."""
        return [*LABKIT, "room", *arguments, "--hub", self.url, "--token-file", str(self.folder / file)]

    def elsewhere(self, ca: Path | None = None) -> dict[str, str]:
        """The variables of somebody on another machine."""
        return {**friendly(), "LABKIT_HOME": str(self.folder / "elsewhere"), "REQUESTS_CA_BUNDLE": str(ca or self.ca)}

    def labkit(self, *arguments: str, ca: Path | None = None, file: str = "labkit-token") -> subprocess.CompletedProcess[str]:
        """`labkit room` as somebody on another machine runs it."""
        return subprocess.run(self.command(*arguments, file=file), env=self.elsewhere(ca), capture_output=True, text=True, check=False)

    def token(self, name: str) -> dict[str, str]:
        return {"Authorization": f"token {(self.folder / name / 'token').read_text()}"}

    def post(self, said: object, token: dict[str, str]) -> int:
        return self.ask("POST", "seat", json=said, headers=token).status_code

    def ask(self, method: str, path: str, **more: Any) -> Response:
        return request(method, self.view + path, ca=self.ca, allow_redirects=False, **more)

    def seats(self, session: HttpSession) -> dict[str, dict[str, Any]]:
        answer = session.get(f"{self.view}board.json")
        answer.raise_for_status()
        return {seat["name"]: seat for seat in answer.json()["seats"]}

    def view_process(self) -> psutil.Process | None:
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if "labkit.room.view" in child.cmdline():
                    return child
        return None


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A room with the seats of anna and ben, which sent what they had to."""
    folder = tmp_path_factory.mktemp("room")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    env = {**friendly(), "ROOM_FOLDER": str(folder), "ROOM_PORTS": " ".join(map(str, ports)), "NO_PROXY": "127.0.0.1,localhost"}
    for name in ("labkit", "rehearsal"):
        (folder / f"{name}-token").write_text(secrets.token_hex(16))
    # What Hub, view and proxy verify each other with.
    ca = Certificates(folder / "tls").authority("servers")
    env |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), str(ca))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-P", "-m", "jupyterhub", "-f", CONFIG], cwd=folder, env=env, stdout=log, stderr=log)
    room = Room(folder, f"https://localhost:{ports[0]}", ca, process)
    try:
        until(lambda: process.poll() is not None or "JupyterHub is now running" in (folder / "log").read_text())
        for name in ("anna", "ben"):
            room.signed_in(name).get(f"{room.url}/hub/spawn").raise_for_status()
        until(lambda: {seat.name for seat in Seats(folder / "view").board().seats if "keycloak" in seat.said["steps"]} == {"anna", "ben"})
        until(lambda: "doctor" in Seats(folder / "view").board().seats[0].said)
        yield room
    except BaseException:
        print((folder / "log").read_text()[-6000:])
        raise
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.terminate()
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def teacher(room: Room) -> HttpSession:
    return room.signed_in("teacher")


def test_the_instructor_sees_each_seat_as_it_last_was(room: Room, teacher: HttpSession) -> None:
    seats = room.seats(teacher)
    assert list(seats) == ["anna", "ben"], "who asks for help is first, and the instructor has no seat"
    anna = seats["anna"]
    assert (anna["lab"], anna["doctor"], anna["running"]) == (LABS[1].name, ["keycloak-down"], True)
    assert {step: said["state"] for step, said in anna["steps"].items() if "state" in said} == {"keycloak": "done", "realm": "red"}
    assert (anna["steps"]["realm"]["finding"], anna["steps"]["auditor"]["hint"]) == ("realm-missing", True)
    page = teacher.get(f"{room.view}board").text
    assert "anna asks for help" in page
    assert "1 of 2, realm-missing: the issuer" in page


def test_the_table_leaves_as_csv(room: Room, teacher: HttpSession) -> None:
    rows = list(csv.DictReader(teacher.get(f"{room.view}board.csv").text.splitlines()))
    (realm,) = [row for row in rows if (row["seat"], row["step"]) == ("anna", "realm")]
    assert (realm["state"], realm["finding"], realm["lab"]) == ("red", "realm-missing", LABS[1].name)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", realm["since"])


@pytest.mark.parametrize("path", ["", "board", "board.json", "board.csv", "view.js"])
@pytest.mark.fault(
    "Room", "a learner opens the instructor's view, or asks for it with the seat's token", "403, and nothing of anybody's seat"
)
def test_nobody_but_an_instructor_sees_the_view(room: Room, path: str) -> None:
    by_session = room.signed_in("ben").get(room.view + path)
    by_token = room.ask("GET", path, headers=room.token("ben"))
    stranger = room.ask("GET", path)
    assert (by_session.status_code, by_token.status_code, stranger.status_code) == (403, 403, 302)
    assert all("anna" not in answer.text for answer in (by_session, by_token, stranger))


@pytest.mark.fault("Room", "a seat sends in another's name, or somebody without a token", "only the token's own seat changes; else 403")
def test_a_seat_speaks_for_itself_alone(room: Room, teacher: HttpSession) -> None:
    before = room.seats(teacher)["anna"]
    said = {"steps": {"agenda": {"state": "done"}}, "name": "anna", "user": "anna", "at": 2**40}
    assert room.post(said, room.token("ben")) == 204
    assert room.ask("POST", "seat?name=anna", json=said, headers=room.token("ben")).status_code == 204
    assert room.ask("POST", "seat/anna", json=said, headers=room.token("ben")).status_code == 404
    assert room.seats(teacher)["anna"]["steps"] == before["steps"]
    assert room.post(said, {}) == 403
    assert room.post(said, {"Authorization": "token nonsense"}) == 403
    # A page elsewhere can have a browser send the cookie along.
    assert teacher.post(f"{room.view}seat", json=said).status_code == 403


def test_what_a_seat_may_not_say_reaches_nobody(room: Room, teacher: HttpSession) -> None:
    """A seat is not trusted to send only what labkit sends."""
    evil = "<script>alert(1)</script>"
    lies: list[Any] = [{"steps": {"realm": {"state": evil, "finding": evil}, evil: {"state": "done"}}, "doctor": [evil], "at": 2**41}]
    for said in (*lies, [evil], evil, 1):
        assert room.post(said, room.token("ben")) == 204
        assert evil not in (room.folder / "view" / "ben.json").read_text()
    assert evil not in teacher.get(f"{room.view}board").text
    raw = room.ask("POST", "seat", data="[" * 50_000, headers=room.token("ben"))
    assert raw.status_code == 400
    # The view ends the connection, and the proxy says something of its own.
    assert not room.ask("POST", "seat", data=" " * 70_000, headers=room.token("ben")).ok


def test_an_older_word_does_not_take_the_place_of_a_newer_one(tmp_path: Path) -> None:
    """Two processes of a seat may send at once, and what was sent first may come last."""
    seats = Seats(tmp_path)
    seats.keep("anna", {"steps": {"realm": {"state": "done"}}, "at": 20})
    seats.keep("anna", {"steps": {}, "at": 10})
    (anna,) = Seats(tmp_path).board().seats
    assert anna.said["steps"] == {"realm": {"state": "done"}}


@pytest.mark.parametrize("name", ["../out", "a/b", ".", "..", "a b", "ä", "x" * 60, "-n", "a.json"])
def test_a_seat_of_any_name_stays_in_its_file(tmp_path: Path, name: str) -> None:
    seats = Seats(tmp_path / "view")
    seats.keep(name, {"steps": {"realm": {"state": "done"}}})
    assert [seat.name for seat in seats.board().seats] == [name]
    assert [file.parent for file in tmp_path.rglob("*.json")] == [tmp_path / "view"]


@pytest.fixture(scope="module")
def page(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with driver() as playwright, chromium(playwright, tmp_path_factory.mktemp("browser")) as browser:
        yield _signed_in_page(browser, room)


def _signed_in_page(browser: Browser, room: Room) -> Page:
    page = browser.new_page(viewport={"width": 1366, "height": 900}, ignore_https_errors=True)
    page.goto(room.view)
    page.fill("#username_input", "teacher")
    page.fill("#password_input", "x")
    page.keyboard.press("Enter")
    page.wait_for_selector("#board table")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.screenshot(path=SCREENSHOTS / f"room-view-{scheme}.png", full_page=True)
    found = Axe().run(page, options={"runOnly": WCAG}).response["violations"]
    assert {rule["id"]: [node["html"][:200] for node in rule["nodes"]][:3] for rule in found} == {}


def test_a_keyboard_reaches_all_of_the_page_and_starts_the_timer(page: Page) -> None:
    page.evaluate("document.activeElement.blur()")
    met = []
    for _ in range(5):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "[document.activeElement.id || document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert outline != "none", name
        met.append(name)
        if name == "minutes":
            page.keyboard.type("7")
        if name == "Start":
            page.keyboard.press("Enter")
    assert met == ["CSV", "JSON", "minutes", "Start", "board"]
    page.reload()
    expect(page.locator("#left")).to_have_text(re.compile(r"[67]:\d\d"))


def test_the_page_follows_the_seats_and_keeps_the_focus(room: Room, page: Page) -> None:
    page.wait_for_selector("#board table")
    page.focus("#minutes")
    marks = "".join("✔" if step.name == "keycloak" else "·" for step in STEPS.values() if step.lab == LABS[1].name)
    assert room.post({"lab": LABS[1].name, "help": 1, "steps": {"keycloak": {"state": "done"}}, "at": 2**42}, room.token("ben")) == 204
    expect(page.locator("#news")).to_have_text("ben, anna ask for help")
    assert page.locator("#board tr", has_text="ben").first.inner_text().count(marks) == 1
    assert page.evaluate("document.activeElement.id") == "minutes"


@pytest.mark.fault(
    "Room", "the instructor's view is killed (kill -9) while people work", "the Hub starts it again, nothing is lost, the page goes on"
)
def test_a_view_that_is_killed_comes_back_with_all_that_was_said(room: Room, teacher: HttpSession, page: Page) -> None:
    before = room.seats(teacher)
    killed = room.view_process()
    assert killed
    os.kill(killed.pid, signal.SIGKILL)
    expect(page.locator("#when")).to_contain_text("no answer", timeout=PATIENCE_SECONDS * 1000)
    until(lambda: (new := room.view_process()) and new.pid != killed.pid)
    expect(page.locator("#when")).to_contain_text("as of", timeout=PATIENCE_SECONDS * 1000)
    after = room.seats(teacher)
    assert {name: seat["steps"] for name, seat in after.items()} == {name: seat["steps"] for name, seat in before.items()}
    assert after["anna"]["help"] == before["anna"]["help"]


def test_from_another_machine_the_view_is_the_same(room: Room, teacher: HttpSession) -> None:
    shown = json.loads(room.labkit("view", "--json").stdout)
    assert {seat["name"]: seat for seat in shown["seats"]}.keys() == room.seats(teacher).keys()
    for mine, theirs in zip(shown["seats"], teacher.get(f"{room.view}board.json").json()["seats"], strict=True):
        assert {**mine, "heard": 0, "active": 0, "seen": "", "late": ""} == {**theirs, "heard": 0, "active": 0, "seen": "", "late": ""}
    assert "asks for help" in room.labkit("view").stdout
    assert not (room.folder / "elsewhere").exists(), "to look makes nothing"


@pytest.mark.fault(
    "Room", "a Hub elsewhere can't be verified, does not know the token, or is none", "the command says so, without the token; exit code 1"
)
def test_a_hub_that_is_not_trusted_or_does_not_trust_is_named(room: Room) -> None:
    (room.folder / "wrong").write_text("not-a-token-of-this-hub\n")
    (room.folder / "two-lines").write_text("one-line\nanother")
    for failed, says in (
        (room.labkit("view", ca=Path(certifi.where())), "certificate verify failed"),
        (room.labkit("view", file="wrong"), "it does not know this token"),
        (room.labkit("deadline", "16:30", file="wrong"), "answers 403 to services/view/deadline"),
        (room.labkit("view", file="ben/token"), "answers 403"),
        (room.labkit("view", file="two-lines"), "one word is expected"),
        (room.labkit("view", file="nowhere"), "No such file"),
    ):
        assert (failed.returncode, failed.stdout) == (1, "")
        assert says in failed.stderr
        assert not any(secret in failed.stderr for secret in ("not-a-token", "one-line", (room.folder / "ben" / "token").read_text()))
    assert room.labkit("up", "anna").returncode == 2


@pytest.mark.fault("Room", "a learner sets a room's deadline, or a page elsewhere in the instructor's name", "403; it stays as it was")
def test_nobody_but_an_instructor_sets_the_deadline(room: Room, teacher: HttpSession) -> None:
    for answer in (
        room.ask("POST", "deadline", data="1", headers=room.token("ben")),
        room.signed_in("ben").post(f"{room.view}deadline", data="1"),
        teacher.post(f"{room.view}deadline", data="1"),
        room.ask("POST", "deadline", data="1"),
    ):
        assert answer.status_code == 403
    assert not (room.folder / "view" / "deadline").exists()


@pytest.mark.fault(
    "Room",
    "seats don't start in a rehearsal at a Hub elsewhere, or too many start at once for it",
    "the report says whose and why; others wait, and do their labs; nobody is left",
)
def test_seats_of_a_hub_elsewhere_are_rehearsed_and_nobody_of_them_is_left(room: Room) -> None:
    refused = room.labkit("rehearse", "2", "00")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "answers 403 to hub/api/users/rehearsal-1" in refused.stderr
    found = room.labkit("rehearse", "3", "00", "--json", file="rehearsal-token")
    assert found.returncode == 1, found.stderr
    assert "pending spawns, throttling" in (room.folder / "log").read_text()
    did, *others = json.loads(found.stdout)["seats"]
    assert did["ok"], did
    assert [lab["lab"] for lab in did["labs"]] == ["00-start-here"]
    # JupyterLab alone takes more.
    assert did["memory"] > 50e6
    assert did["processor"] > 1
    for did_not in others:
        assert did_not["failure"].startswith(f"the seat of {did_not['name']} did not start")
        assert "Spawn failed" in did_not["failure"]
    _insist_that_nobody_is_left(room)


@pytest.mark.fault("Room", "a rehearsal at a Hub elsewhere is interrupted", "its people and their servers are gone before it ends")
def test_a_rehearsal_elsewhere_that_is_interrupted_leaves_nobody(room: Room) -> None:
    command = room.command("rehearse", "1", "00", file="rehearsal-token")
    with subprocess.Popen(command, env=room.elsewhere(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        wait_for(lambda: bool(belonging_to(room.folder / "rehearsal-1", "labkit run")), 300)
        running.send_signal(signal.SIGTERM)
        said = running.communicate()[0]
    assert running.returncode == 130, said
    _insist_that_nobody_is_left(room)


def _insist_that_nobody_is_left(room: Room) -> None:
    hub = Hub(room.url, (room.folder / "rehearsal-token").read_text(), room.ca)
    assert [user["name"] for user in hub.users() if user["name"].startswith("rehearsal")] == []
    until(lambda: belonging_to(room.folder / "rehearsal-1") == [])


def test_at_the_deadline_of_a_hub_elsewhere_every_server_is_stopped(room: Room, teacher: HttpSession) -> None:
    """The last: nobody works afterwards."""
    said = room.labkit("deadline", "16:30")
    assert said.returncode == 0, said.stderr
    ends = float((room.folder / "view" / "deadline").read_text())
    assert 0 < ends - time.time() <= 24 * 3600
    hub = Hub(room.url, (room.folder / "labkit-token").read_text(), room.ca)
    # The view asks the Hub every few seconds, and may still show whom the last rehearsal had.
    until(lambda: {seat["running"] for seat in room.seats(teacher).values()} == {True})
    hub.end_at(datetime.now())
    until(lambda: {seat["running"] for seat in room.seats(teacher).values()} == {False})
    until(lambda: not (room.folder / "view" / "deadline").exists())
    assert room.seats(teacher)["anna"]["steps"], "nothing is lost"
