"""Another account of this machine, and a lab's Keycloak: with the published secrets it is let in, with the lab's own it is not."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import nbformat
import pytest
from nbclient import NotebookClient

from labkit.common.errors import SignInRefused
from labkit.common.platform_folder import OWN
from labkit.config.settings import SecretsChoice, Settings
from labkit.config.state_folder import open_state_folder
from labkit.identity.plan import Action
from labkit.lab import Lab
from labkit.workshop.workshop import Client, User, Workshop
from tests.support import LABKIT, labkit

NOBODY = 65534
DEMO = Workshop.load()

ASK = f"""
import http.client, json, os, ssl, sys
asked = json.load(sys.stdin)
context = ssl.create_default_context(cadata=asked["ca"])
# A name is looked up, and an error worded, by modules that this user may not be able to read any more.
connection = http.client.HTTPSConnection("localhost", asked["port"], context=context, timeout=60)
connection.connect()
connection.close()
if os.getuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
connection.request("POST", asked["path"], asked["form"], {{"Content-Type": "application/x-www-form-urlencoded"}})
print(os.getuid(), connection.getresponse().read().decode())
"""


def another_account_asks(lab: Lab, user: User, client: Client, **grant: str) -> dict[str, str]:
    """Keycloak's answer to another account that tries to sign in as somebody; without root's rights it is this one that asks.

    Keycloak has no way to tell accounts of this machine apart, so that only the secrets count either way.
    """
    grant = grant or {"grant_type": "password", "username": user.username, "password": user.password.get_secret_value()}
    asked = {
        "ca": lab.keycloak.ca.read_text(),
        "port": lab.settings.ports["keycloak"],
        "path": f"/realms/{lab.workshop.realm.name}/protocol/openid-connect/token",
        "form": urlencode({**grant, "client_id": client.client_id, "client_secret": client.secret.get_secret_value(), "scope": "openid"}),
    }
    done = subprocess.run(
        [sys.executable, "-I", "-c", ASK], input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=True
    )
    uid, _, answer = done.stdout.partition(" ")
    assert int(uid) == (NOBODY if os.getuid() == 0 else os.getuid())
    return dict(json.loads(answer))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a state folder whose Keycloak runs, and whose realm was made with the published secrets."""
    folder = tmp_path_factory.mktemp("neighbours") / "home"
    open_state_folder(folder, environ={}, free_ports=True)
    settings = Settings.load({"LABKIT_HOME": str(folder), "LABKIT_CLUSTER": "local"})
    lab = Lab(settings)
    try:
        lab.keycloak.start()
        yield settings
    finally:
        lab.down()


def opened(home: Settings, secrets: SecretsChoice = "auto") -> Lab:
    return Lab(replace(home, secrets=secrets))


@pytest.fixture
def demo(home: Settings) -> Lab:
    """The lab with the published secrets, applied."""
    lab = opened(home, "demo")
    lab.realm.apply()
    return lab


@pytest.fixture
def own(home: Settings) -> Lab:
    """The lab with secrets of its own, applied; after `demo` to a realm that had the published ones."""
    lab = opened(home, "own")
    lab.realm.apply()
    return lab


KUBE, PORTAL = DEMO.client("kube"), DEMO.client("backstage-client")
ADMIN = DEMO.user("user-admin")


def test_with_the_published_secrets_another_account_is_anybody(demo: Lab) -> None:
    """Said in docs/operator.md and in lab 01; here so that it stays true."""
    for client in (KUBE, PORTAL):
        assert "id_token" in another_account_asks(demo, ADMIN, client)


@pytest.mark.fault(
    "Neighbours",
    "another account of this machine asks for a token with the published password and client secret",
    "with LABKIT_SECRETS=own it gets none",
)
@pytest.mark.usefixtures("demo")
def test_with_the_labs_own_it_is_nobody(own: Lab) -> None:
    for user in DEMO.realm.users:
        assert [another_account_asks(own, user, client)["error"] for client in (KUBE, PORTAL)] == ["unauthorized_client"] * 2


@pytest.mark.fault(
    "Neighbours",
    "a realm that was made with the published secrets, when the lab's own are asked for",
    "people get new passwords, and the plan says so; what was begun with the old ones ends",
)
def test_a_realm_that_had_the_published_ones_has_none_of_them_left(home: Settings, demo: Lab) -> None:
    begun = another_account_asks(demo, ADMIN, KUBE)["refresh_token"]
    lab = opened(home, "own")
    plan = lab.realm.plan()
    assert {change.name for change in plan.pending if change.kind == "password"} == {user.username for user in DEMO.realm.users}
    lab.realm.apply(plan)
    kube = lab.workshop.client("kube")
    for user in DEMO.realm.users:
        assert another_account_asks(lab, user, kube)["error_description"] == "Invalid user credentials"
        assert lab.session(user.username).claims["email"] == f"{user.username}@example.com"
    renewed = another_account_asks(lab, ADMIN, kube, grant_type="refresh_token", refresh_token=begun)
    assert renewed["error"] == "invalid_grant"
    assert not lab.realm.plan().pending
    portal = lab.realm.admin().get_client(str(lab.realm.admin().get_client_id(PORTAL.client_id)))
    assert (portal["redirectUris"], portal["webOrigins"]) == ([f"{lab.portal.url}/api/auth/keycloak/handler/frame"], [])


@pytest.mark.fault(
    "Neighbours", "a shell without LABKIT_SECRETS, in a lab whose realm has its own secrets", "they stay; the published ones are asked for"
)
def test_they_stay_until_the_published_ones_are_asked_for(home: Settings, own: Lab) -> None:
    unsaid = opened(home)
    assert unsaid.workshop == own.workshop
    assert not unsaid.realm.apply().pending
    opened(home, "demo").realm.apply()
    assert opened(home).session("user-dev").claims["email"] == "user-dev@kratix.io"
    with pytest.raises(SignInRefused):
        own.session("user-dev")


@pytest.mark.fault(
    "Neighbours", "passwords were being changed when labkit was killed", "the next apply changes them all, whichever kind is asked for"
)
@pytest.mark.parametrize("secrets", ["demo", "own"])
def test_a_change_that_was_cut_short_is_done_by_the_next_apply(
    home: Settings, own: Lab, secrets: SecretsChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = opened(home, "demo")
    admin = begun.keycloak.admin()
    change, calls = admin.set_user_password, count(1)

    def killed_at_the_second(user_id: str, password: str, temporary: bool) -> None:
        # People are seen to at once.
        if next(calls) == 2:
            raise KeyboardInterrupt
        change(user_id, password, temporary)

    monkeypatch.setattr(admin, "set_user_password", killed_at_the_second)
    monkeypatch.setattr(begun.realm, "_admin", lambda: admin)
    with pytest.raises(KeyboardInterrupt):
        begun.realm.apply()
    lab = opened(home, secrets)
    lab.realm.apply()
    for user in lab.workshop.realm.users:
        assert lab.session(user.username).username == user.username


@pytest.mark.fault(
    "Neighbours",
    "a KinD or external cluster is to trust a realm that still has the published secrets",
    "it is not started, nor given rights",
)
@pytest.mark.parametrize("cluster", ["kind", "external"])
def test_a_cluster_that_others_reach_does_not_come_to_trust_the_published_ones(
    home: Settings, demo: Lab, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(replace(home, cluster=cluster, context="theirs"))  # type: ignore[arg-type]
    monkeypatch.setattr(type(lab.cluster.provider), "start", lambda *_: pytest.fail("it was started"))
    with pytest.raises(SignInRefused, match="Invalid client"):
        lab.cluster.start()


def in_a_terminal(*args: str) -> tuple[int, str]:
    """Run ``labkit ARGS`` as a person does, with a terminal of its own; gives exit code and what is seen there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*LABKIT, *args], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as done:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
    os.close(ours)
    return done.returncode, seen.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 10_000)
    except OSError:
        # So Linux says that nobody has it open any more.
        return b""


@pytest.fixture
def named(own: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab with secrets of its own, named to children."""
    monkeypatch.setenv("LABKIT_HOME", str(own.settings.folder))
    return own


def test_a_terminal_is_shown_one_password(named: Lab) -> None:
    password = named.workshop.user("user-admin").password.get_secret_value()
    assert in_a_terminal("password", "user-admin") == (0, f"{password}\n")


@pytest.mark.fault("Neighbours", "labkit password in a pipe, a file or a cell of a notebook", "NoTerminal: it would be kept there")
def test_whatever_keeps_what_is_printed_is_shown_none(named: Lab, tmp_path: Path) -> None:
    password = named.workshop.user("user-admin").password.get_secret_value()
    piped = labkit("password", "user-admin")
    assert (piped.returncode, piped.stdout) == (1, "")
    assert "a password is shown in a terminal only" in piped.stderr
    cell = f"!{shlex.join(LABKIT)} password user-admin; test -t 1 && echo a terminal"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    told = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert "a password is shown in a terminal only" in told
    assert told.splitlines()[-1] == "a terminal"
    assert password not in piped.stderr + told


def test_a_user_whom_there_is_not_is_named_to_a_terminal(named: Lab) -> None:
    code, seen = in_a_terminal("password", "nobody-here")
    assert (code, 'the workshop has no user "nobody-here"' in seen) == (1, True)


def test_the_file_with_them_is_its_owners_only_and_they_are_in_no_other(own: Lab) -> None:
    file = own.settings.state.own_secrets
    assert file.stat().st_mode & 0o777 == 0o600
    own_ones = [s for kind in json.loads(file.read_text())["local/realms/myrealm"].values() for s in kind.values()]
    logs = "".join(log.read_text(errors="replace") for log in (own.settings.folder / "logs").iterdir())
    assert [secret for secret in own_ones if secret in logs + str(own.realm.plan())] == []


def test_the_plan_for_a_new_realm_changes_no_password(home: Settings, tmp_path: Path) -> None:
    (tmp_path / "realm.yaml").write_text((OWN / "realm.yaml").read_text().replace("realm: myrealm ", "realm: another "))
    plan = Lab(replace(home, workshop_folder=tmp_path, secrets="own")).realm.plan()
    assert {change.action for change in plan.changes} == {Action.CREATE}
