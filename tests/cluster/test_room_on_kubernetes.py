"""A class on Kubernetes, from its installation to its end, in this order."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, expect

from labkit.common.display import OK
from labkit.config.settings import find_root
from labkit.config.state_folder import StateFolder
from labkit.course.steps import LABS

from ..jupyterlab import await_all, await_kernel, draw_all_cells, start_all, trouble
from ..rooms import come_with, start_seat
from ..support import wait_for
from .conftest import HOST, RELEASE, SPACE, Cluster

PEOPLE = ("anna", "ben", "carla")
RUN = LABS[1:4]
STATE = StateFolder(Path("/home/learner/lab"))

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def people(room: Cluster, browser: Browser) -> dict[str, BrowserContext]:
    """Three people and the instructor, who have signed in at once, with passwords of their own."""
    room.kubectl("exec", "deployment/hub", "--", "labkit", "room", "add", *PEOPLE)
    cards = json.loads(room.kubectl("exec", "deployment/hub", "--", "cat", "/srv/jupyterhub/labkit/room/people.json"))
    everybody = (*PEOPLE, "instructor")
    return dict(zip(everybody, come_with(cards, browser, room, *everybody), strict=True))


def test_people_work_at_once_and_the_instructor_sees_them(room: Cluster, people: dict[str, BrowserContext], tmp_path: Path) -> None:
    began = time.monotonic()
    pages = {name: start_seat(people[name], room, name) for name in PEOPLE}
    print(f"JupyterLab of all after {time.monotonic() - began:.0f} s")
    draw_all_cells(tmp_path)
    for file in tmp_path.rglob("*.jupyterlab-settings"):
        for name in PEOPLE:
            to = STATE.jupyter / file.relative_to(tmp_path)
            room.in_seat(name, "/bin/sh", "-c", f"mkdir -p {to.parent} && cat >{to}", given=file.read_text())
    for lab in RUN:
        began = time.monotonic()
        for name, page in pages.items():
            page.goto(f"{room.url}/user/{name}/lab/workspaces/{lab.name}/tree/{lab.name}.ipynb")
            await_kernel(page)
            start_all(page)
        for name, page in pages.items():
            await_all(page, find_root() / "notebooks" / f"{lab.name}.ipynb")
            assert trouble(page) == [], name
        print(f"{lab.name}: {time.monotonic() - began:.0f} s")
    board = people["instructor"].new_page()
    board.goto(f"{room.url}/services/view/")
    for name, page in pages.items():
        expect(board.get_by_role("row").filter(has_text=name).first).to_contain_text(OK)
        # An open page is work to the Hub.
        page.close()
    board.close()


def test_seats_are_kept_apart(room: Cluster, people: dict[str, BrowserContext]) -> None:
    """By files, ports, cluster, token and address: what anna's pod tries on ben's, and anna's browser too."""
    room.in_seat("ben", "labkit", "up")
    ben = room.listed("pods")["jupyter-ben"]["status"]["podIP"]
    ports = json.loads(room.in_seat("ben", "labkit", "status", "--json"))["servers"]
    tried = {
        "host": ben,
        "ports": [int(port) for port in re.findall(r"localhost:(\d+)", json.dumps(ports))],
        "realm": f"{room.url}/services/keycloak/realms/ben/protocol/openid-connect/token",
        "server": f"{room.url}/user/ben/api/contents",
    }
    assert tried["ports"]
    found = json.loads(room.in_seat("anna", "python", "-c", _NEIGHBOUR, json.dumps(tried)))
    assert set(found.pop("ports")) == {"refused"}
    kept = found["jupyter"] == "refused"
    print(f"this cluster {'keeps' if kept else 'ignores'} network policies")
    assert (found.pop("jupyter"), found.pop("keycloak")) == (("refused", "refused") if kept else (403, 200))
    assert found == {"realm": 401, "own realm": 200, "server": 403, "own server": 200, "account": False}
    page = people["anna"].new_page()
    answer = page.goto(f"{room.url}/user/ben/lab")
    assert answer
    assert answer.status == 403
    page.close()


def test_a_pod_that_is_killed_starts_again_with_what_was_done(room: Cluster, people: dict[str, BrowserContext]) -> None:
    before = room.seats()
    room.kubectl("delete", "pod", "jupyter-ben", "--grace-period=0", "--force")
    again(room, people["ben"], "ben")
    assert room.seats()["jupyter-anna"] == before["jupyter-anna"]
    work_on(room, "ben")


def test_a_hub_that_is_killed_leaves_people_at_work(room: Cluster, people: dict[str, BrowserContext]) -> None:
    before = room.seats()
    with at_work(room, people["anna"], "anna"):
        room.kubectl("delete", "pod", "--selector=component=hub", "--grace-period=0", "--force")
    room.kubectl("rollout", "status", "deployment/hub", "--timeout=600s")
    again(room, people["carla"], "carla")
    assert room.seats() == before


def test_a_node_that_is_restarted_brings_the_room_back(room: Cluster, people: dict[str, BrowserContext]) -> None:
    room.docker.run("restart", room.node, seconds=180)
    for name in PEOPLE:
        again(room, people[name], name)
        work_on(room, name)


def test_an_upgrade_leaves_people_at_work_and_a_class_is_rehearsed_beside_them(
    room: Cluster, people: dict[str, BrowserContext], tmp_path: Path
) -> None:
    """The upgrade lets the service's token rehearse."""
    before, token = room.seats(), tmp_path / "token"
    with at_work(room, people["anna"], "anna"):
        room.install(hub__loadRoles__rehearse={"services": ["labkit"], "scopes": ["admin:users", "servers", "access:servers"]})
    assert room.seats() == before
    encoded = room.listed("secrets")["hub"]["data"]["hub.services.labkit.apiToken"]
    token.write_bytes(base64.b64decode(encoded))
    command = (sys.executable, "-P", "-c", _RESOLVED, room.ip, "room", "rehearse", "2", RUN[0].name)
    to = ("--hub", room.url, "--token-file", str(token))
    env = {**os.environ, "LABKIT_HOME": str(tmp_path / "home"), "REQUESTS_CA_BUNDLE": str(room.ca)}
    done = subprocess.run((*command, *to), capture_output=True, text=True, env=env, timeout=1200, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert room.seats() == before


def test_a_seat_that_nobody_uses_ends_and_comes_back(room: Cluster, people: dict[str, BrowserContext]) -> None:
    room.install(cull__timeout=30, cull__every=5)
    wait_for(lambda: room.seats() == {}, seconds=600)
    room.install()
    again(room, people["anna"], "anna")
    work_on(room, "anna")


def test_what_is_uninstalled_leaves_volumes_only(room: Cluster) -> None:
    room.kubectl("delete", "pod", "--selector=component=singleuser-server")
    room.run("helm", "uninstall", RELEASE, "--namespace", SPACE, "--wait")
    # They end a moment after what they belong to.
    wait_for(lambda: all(name.startswith("keycloak-") for name in room.listed("pods")), seconds=300)
    for kind in ("services", "deployments", "networkpolicies", "serviceaccounts", "configmaps"):
        left = set(room.listed(kind)) - {"keycloak", "default", "kube-root-ca.crt"}
        assert not {name for name in left if not name.startswith("keycloak-")}, kind
    assert set(room.listed("persistentvolumeclaims")) == {"hub-db-dir", "keycloak", *(f"claim-{name}" for name in (*PEOPLE, "instructor"))}


@contextmanager
def at_work(room: Cluster, who: BrowserContext, name: str) -> Iterator[None]:
    """Somebody runs a lab meanwhile, and nothing of it fails."""
    page = who.new_page()
    page.goto(f"{room.url}/user/{name}/lab/workspaces/at-work/tree/{RUN[0].name}.ipynb")
    await_kernel(page)
    start_all(page)
    yield
    await_all(page, find_root() / "notebooks" / f"{RUN[0].name}.ipynb")
    assert trouble(page) == []
    page.close()


def again(room: Cluster, who: BrowserContext, name: str) -> None:
    """Somebody comes back by their browser until JupyterLab answers, as it does once the Hub has seen what ended."""
    page = who.new_page()

    def answers() -> bool:
        try:
            page.goto(f"{room.url}/hub/spawn", wait_until="commit")
            page.wait_for_url(f"{room.url}/user/{name}/**")
            answer = page.goto(f"{room.url}/user/{name}/lab/workspaces/again/tree/{RUN[0].name}.ipynb")
        except Error:
            return False
        return answer is not None and answer.ok and answer.url.startswith(f"{room.url}/user/")

    wait_for(answers, seconds=600)
    await_kernel(page)
    page.close()


def work_on(room: Cluster, name: str) -> None:
    """All that was done in the labs is there once the servers run again."""
    room.in_seat(name, "labkit", "up")
    for lab in RUN:
        room.in_seat(name, "labkit", "check", lab.name)


_RESOLVED = f"""
import socket, sys
address, ask = sys.argv.pop(1), socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **named: ask(address if host == {HOST!r} else host, *more, **named)
from labkit.cli.verbs import main
sys.exit(main(sys.argv[1:]))
"""
"""labkit on a machine whose name server knows the room's address, which comes before labkit's own arguments."""

_NEIGHBOUR = """
import json, os, socket, sys
from pathlib import Path
import requests
tried = json.loads(sys.argv[1])
ca = os.environ["LABKIT_KEYCLOAK_CA"]

def answer(method, url, **how):
    try:
        return requests.request(method, url, timeout=10, verify=ca, **how).status_code
    except requests.ConnectionError:
        return "refused"

def port(number):
    try:
        socket.create_connection((tried["host"], number), 5)
    except OSError:
        return "refused"
    return "open"

secret = os.environ["LABKIT_KEYCLOAK_ADMIN_SECRET"]
asked = {"grant_type": "client_credentials", "client_id": os.environ["LABKIT_KEYCLOAK_ADMIN_CLIENT"], "client_secret": secret}
token = {"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]}
print(json.dumps({
    "ports": [port(number) for number in tried["ports"]],
    "jupyter": answer("GET", f"http://{tried['host']}:8888/user/ben/api/contents"),
    "keycloak": answer("GET", "https://keycloak:8443/realms/room"),
    "realm": answer("POST", tried["realm"], data=asked),
    "own realm": answer("POST", tried["realm"].replace("/ben/", "/anna/"), data=asked),
    "server": answer("GET", tried["server"], headers=token),
    "own server": answer("GET", tried["server"].replace("/ben/", "/anna/"), headers=token),
    "account": Path("/var/run/secrets/kubernetes.io").exists(),
}))
"""
"""What a seat's pod can ask of another's, as the codes that it gets."""
