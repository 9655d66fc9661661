"""Whose token the portal acts with: the signed-in person's, while it holds, and found nowhere on disk."""

from __future__ import annotations

import http.server
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from keycloak import KeycloakAdmin

from labkit.common.errors import Forbidden, KeycloakUnreachable, NotSignedIn, PortalError, PortInUse, TaskFailed
from labkit.common.http_session import request
from labkit.lab import Lab
from labkit.portal import client
from labkit.portal.client import PortalSession

TASKS = 200
NAMESPACE = "portal-token-tests"
WAITING = """
apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: waiting}
spec:
  type: service
  parameters: {properties: {name: {type: string}, seconds: {type: number, default: 0}}}
  steps:
    - {id: wait, if: "${{ parameters.seconds > 0 }}", action: debug:wait, input: {seconds: "${{ parameters.seconds }}"}}
    - id: make
      action: ske:configure-resource
      input:
        manifest: |
          {apiVersion: v1, kind: ConfigMap, metadata: {name: "${{ parameters.name }}", namespace: portal-token-tests}}
"""

# Whoever runs this one hands their session to everybody who may read ConfigMaps.
THIEF = WAITING.replace("waiting", "thief").replace(
    "namespace: portal-token-tests}", 'namespace: portal-token-tests}, data: {loot: "Bearer ${{ secrets.backstageToken }}"}'
)


def quiet(_: str) -> None:
    """Takes a task's log where nobody reads it."""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def waiting(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A template that makes a ConfigMap, after a while if it is asked to."""
    lab.cluster.admin_kubectl("create", "namespace", NAMESPACE)
    file = tmp_path_factory.mktemp("templates") / "waiting.yaml"
    file.write_text(WAITING)
    yield lab.portal.sign_in("user-admin").register_template(file)
    lab.cluster.admin_kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def made(lab: Lab) -> set[str]:
    return set(lab.cluster.admin_kubectl("get", "configmaps", "-n", NAMESPACE, "-o", "jsonpath={.items[*].metadata.name}").output.split())


def test_two_people_at_once_are_never_taken_for_each_other(lab: Lab, waiting: str) -> None:
    people = {name: lab.portal.sign_in(name) for name in ("user-admin", "user-dev")}

    def run(number: int) -> str:
        person = people["user-admin" if number % 2 else "user-dev"]
        try:
            person.run_template(waiting, {"name": f"task-{number}"}, say=quiet)
        except Forbidden as refused:
            return refused.user
        return "allowed"

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(run, range(TASKS)))
    assert set(answers[1::2]) == {"allowed"}
    assert set(answers[0::2]) == {"user-dev@kratix.io"}
    assert {f"task-{number}" for number in range(1, TASKS, 2)} == {name for name in made(lab) if name.startswith("task-")}


def test_no_keycloak_token_is_in_log_or_database_while_a_task_runs_nor_after(lab: Lab, waiting: str) -> None:
    session = lab.portal.sign_in("user-admin")
    said: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(session.run_template, waiting, {"name": "watched", "seconds": 2}, say=said.append)
        wait_until(lambda: bool(said), "the task runs")
        assert lab.portal.traces_of(session) == []
        assert not task.done()
        task.result()
    assert lab.portal.traces_of(session) == []
    assert "watched" in made(lab)


def test_a_token_that_is_sent_as_a_secret_lies_in_the_database_meanwhile(lab: Lab, waiting: str) -> None:
    """So the search finds what there is to find; and this way is for clients that know why they take it."""
    session = lab.portal.sign_in("user-admin")
    said: list[str] = []
    secrets = {"keycloakToken": session.keycloak_tokens[1]}
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(session.run_template, waiting, {"name": "sent", "seconds": 2}, secrets, said.append)
        wait_until(lambda: bool(said), "the task runs")
        assert lab.portal.traces_of(session) == ["scaffolder.sqlite"]
        task.result()
    assert "sent" in made(lab)


def test_a_token_that_is_sent_must_be_the_senders_own(lab: Lab, waiting: str) -> None:
    admin, dev = lab.portal.sign_in("user-admin"), lab.portal.sign_in("user-dev")
    with pytest.raises(TaskFailed) as caught:
        dev.run_template(waiting, {"name": "borrowed"}, {"keycloakToken": admin.keycloak_tokens[1]}, quiet)
    assert "belongs to user-admin, and this is user:default/user-dev" in caught.value.why
    assert "borrowed" not in made(lab)


@pytest.mark.fault(
    "Neighbours",
    "a template that puts a secret of its runner's task into the cluster, say their session with the portal",
    "the manifest is refused, and nothing shows the secret",
)
def test_a_template_can_not_publish_its_runners_session(lab: Lab, waiting: str, tmp_path: Path) -> None:
    assert waiting
    (tmp_path / "thief.yaml").write_text(THIEF)
    session = lab.portal.sign_in("user-admin")
    said: list[str] = []
    with pytest.raises(TaskFailed) as caught:
        session.run_template(session.register_template(tmp_path / "thief.yaml"), {"name": "loot"}, say=said.append)
    assert "contains a secret of this task" in caught.value.why
    assert "eyJ" not in "\n".join((*said, caught.value.why))
    assert "loot" not in made(lab)


@pytest.mark.fault(
    "Neighbours", "a task's files, for others to read while it runs", "none: tasks work in the state folder, in a folder of mode 0700"
)
def test_tasks_work_in_the_state_folder_where_nobody_else_can_look(lab: Lab, waiting: str) -> None:
    session, work = lab.portal.sign_in("user-admin"), lab.settings.folder / "portal" / "tasks"
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(session.run_template, waiting, {"name": "at-work", "seconds": 3}, say=quiet)
        wait_until(lambda: any(work.iterdir()), "the task has its folder")
        folder = next(work.iterdir())
        task.result()
    assert work.stat().st_mode & 0o777 == 0o700
    assert not Path(tempfile.gettempdir(), folder.name).exists()


@pytest.fixture
def short_lived(lab: Lab) -> Iterator[None]:
    """The portal's tokens hold for five seconds only."""
    admin: KeycloakAdmin = lab.keycloak.admin()
    admin.change_current_realm(lab.workshop.realm.name)
    client_id = admin.get_client_id("backstage-client")
    assert client_id
    # Without web origins Keycloak would make them of the redirect URIs.
    admin.update_client(client_id, {"webOrigins": [], "attributes": {"access.token.lifespan": "5"}})
    try:
        yield
    finally:
        admin.update_client(client_id, {"webOrigins": [], "attributes": {"access.token.lifespan": ""}})


def has_expired(session: PortalSession) -> bool:
    try:
        session.ask("GET", "ske/session")
    except NotSignedIn as refused:
        return "expired" in refused.why
    return False


@pytest.mark.usefixtures("short_lived")
def test_an_expired_token_is_refused_and_renewed_silently_by_whoever_can(lab: Lab, waiting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session, other = lab.portal.sign_in("user-admin"), lab.portal.sign_in("user-dev")
    with monkeypatch.context() as patch:
        patch.setattr(client, "RENEW_SECONDS", -3600)
        wait_until(lambda: has_expired(session), "the token expires")
        other.renew()
        with pytest.raises(TaskFailed) as caught:
            session.run_template(waiting, {"name": "expired"}, say=quiet)
        assert "The Keycloak token of user:default/user-admin has expired" in caught.value.why
    assert "expired" not in made(lab)
    session.run_template(waiting, {"name": "renewed"}, say=quiet)
    assert "renewed" in made(lab)


def test_after_signing_out_the_portal_acts_for_no_user_and_keycloak_knows(lab: Lab, waiting: str) -> None:
    session = lab.portal.sign_in("user-admin")
    before = session._signed_in.backstage_token
    session.sign_out()
    with pytest.raises(NotSignedIn, match="user-admin has signed out"):
        session.run_template(waiting, {"name": "late"})
    with pytest.raises(NotSignedIn, match="can't be renewed"):
        session.renew()
    answer = request("GET", f"{lab.portal.url}/api/ske/session", headers={"Authorization": f"Bearer {before}"}, timeout=10)
    assert answer.status_code == 401
    assert "Sign in again" in answer.json()["error"]["message"]


def test_a_session_that_was_ended_in_keycloak_is_over_for_the_portal_when_it_would_be_renewed(lab: Lab) -> None:
    session = lab.portal.sign_in("user-dev")
    admin = lab.keycloak.admin()
    admin.change_current_realm(lab.workshop.realm.name)
    user = admin.get_user_id("user-dev")
    assert user
    admin.user_logout(user)
    with pytest.raises(NotSignedIn, match="can't be renewed") as caught:
        session.renew()
    assert "lab.portal.sign_in" in caught.value.fix


def test_a_restart_forgets_everybody_says_so_and_one_signs_in_again(lab: Lab, waiting: str) -> None:
    session = lab.portal.sign_in("user-admin")
    assert lab.portal.stop()
    assert not lab.portal.is_running()
    with pytest.raises(PortalError, match="nothing answers"):
        session.catalog()
    lab.portal.start()
    with pytest.raises(TaskFailed) as caught:
        session.run_template(waiting, {"name": "forgotten"}, say=quiet)
    assert "Sign in again" in caught.value.why
    with pytest.raises(NotSignedIn, match="can't be renewed") as ended:
        session.renew()
    assert "the portal was started anew" in ended.value.why
    session.sign_out()
    lab.portal.sign_in("user-admin").run_template(waiting, {"name": "remembered"}, say=quiet)
    assert {"forgotten", "remembered"} & made(lab) == {"remembered"}


@pytest.mark.fault(
    "Neighbours", "a copy of a token that the Backstage token carries, after the sign-out", "401: the session was signed out"
)
def test_the_other_way_puts_the_token_into_the_backstage_token_and_the_database(lab: Lab, waiting: str) -> None:
    other = Lab(replace(lab.settings, portal_keeps="claim"))
    try:
        other.portal.start()
        session = other.portal.sign_in("user-admin")
        assert "tok" in session.known().claims
        session.run_template(waiting, {"name": "by-claim"}, say=quiet)
        assert other.portal.traces_of(session) == ["auth.sqlite"]
        with pytest.raises(Forbidden):
            other.portal.sign_in("user-dev").run_template(waiting, {"name": "by-claim-too"}, say=quiet)
        copied, token, again = session._signed_in.backstage_token, session.keycloak_tokens[1], other.portal.sign_in("user-admin")
        session.sign_out()
        answer = request("GET", f"{lab.portal.url}/api/ske/session", headers={"Authorization": f"Bearer {copied}"}, timeout=10)
        assert (answer.status_code, "was signed out" in answer.text) == (401, True)
        with pytest.raises(TaskFailed, match="waiting failed") as caught:
            again.run_template(waiting, {"name": "after-all"}, {"keycloakToken": token}, quiet)
        assert "was signed out" in caught.value.why
        again.run_template(waiting, {"name": "another-session"}, say=quiet)
    finally:
        lab.portal.start()
    assert "ske_session" in lab.portal.sign_in("user-admin").known().claims


def test_a_portal_that_started_while_keycloak_was_down_lets_people_in_once_it_is_up(lab: Lab) -> None:
    server = lab.portal._server()
    lab.portal.stop()
    lab.keycloak.stop()
    try:
        with pytest.raises(KeycloakUnreachable, match="nothing answers"):
            lab.portal.start()
        running = lab.processes.start(server)
        with pytest.raises(KeycloakUnreachable, match="nothing answers"):
            lab.portal.sign_in("user-dev")
    finally:
        lab.keycloak.start()
    assert lab.portal.sign_in("user-dev").known().groups == ("kube-dev",)
    assert lab.portal.start() == running, "without a restart"


class Rogue(http.server.BaseHTTPRequestHandler):
    """Says yes to everybody, and notes what it is sent."""

    got: list[str] = []  # noqa: RUF012 - one server, one test

    def do_GET(self) -> None:
        self.got.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - its name

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.fault(
    "Neighbours",
    "another program takes the portal's port in the seconds before it listens, and says yes to everybody",
    "an error names the program; nothing but whether it is ready was asked of it",
)
def test_whoever_is_quicker_than_the_portal_is_not_taken_for_it(lab: Lab) -> None:
    lab.portal.stop()
    Rogue.got.clear()
    rogues: list[http.server.ThreadingHTTPServer] = []

    def take() -> None:
        wait_until(lab.portal.is_running, "the portal begins to start")
        rogues.append(http.server.ThreadingHTTPServer(("127.0.0.1", lab.settings.ports["portal"]), Rogue))
        rogues[0].serve_forever()

    taking = threading.Thread(target=take, daemon=True)
    taking.start()
    try:
        with pytest.raises(PortInUse, match=rf"which portal needs, is in use by .+ \(pid {os.getpid()}\)"):
            lab.portal.start()
        assert not lab.portal.is_running()
        assert set(Rogue.got) == {"GET /.backstage/health/v1/readiness"}
    finally:
        for rogue in rogues:
            rogue.shutdown()
            rogue.server_close()
        lab.portal.start()
