"""Whose passwords and client secrets a lab's realm has, and who counts as another person; without a server."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.cli.servers import tell_of_neighbours
from labkit.common.errors import SettingsError
from labkit.common.platform_folder import OWN
from labkit.config.settings import Settings
from labkit.identity.own_secrets import Given
from labkit.lab import Lab
from labkit.servers import machine
from labkit.workshop.workshop import Workshop

HOSTED = {"LABKIT_KEYCLOAK_URL": "https://sso.example.com"}
REALM = "myrealm"
Make = Callable[..., Lab]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Opens one lab, in which nothing runs."""

    def opened(**environ: str) -> Lab:
        return Lab(Settings.open({"LABKIT_HOME": str(tmp_path / "home"), **environ}))

    return opened


def passwords(workshop: Workshop) -> dict[str, str]:
    return {user.username: user.password.get_secret_value() for user in workshop.realm.users}


def redirect_uris(workshop: Workshop) -> list[str]:
    """Those of the portal's client."""
    return list(workshop.realm.representation["clients"][1]["redirectUris"])


def every_secret(workshop: Workshop) -> set[str]:
    return {*passwords(workshop).values(), *(client.secret.get_secret_value() for client in workshop.realm.clients)}


@pytest.fixture
def published() -> Workshop:
    return Workshop.load()


def test_a_local_cluster_has_the_published_secrets_unless_told_otherwise(make: Make) -> None:
    lab = make()
    assert lab.secrets == "demo"
    assert lab.workshop == Workshop.load(portal_url=lab.settings.url("portal", "http"))
    assert not lab.settings.state.own_secrets.exists()
    assert make(LABKIT_SECRETS="demo").workshop == lab.workshop


OTHERS = pytest.mark.parametrize(
    "environ", [{"LABKIT_CLUSTER": "kind"}, {"LABKIT_CLUSTER": "external"}, HOSTED], ids=["kind", "external", "hosted"]
)


@OTHERS
def test_where_others_can_reach_it_secrets_are_the_labs_own(make: Make, published: Workshop, environ: dict[str, str]) -> None:
    lab = make(**environ)
    assert lab.secrets == "own"
    assert len(every_secret(lab.workshop)) == len(every_secret(published))
    assert every_secret(lab.workshop) & every_secret(published) == set()
    assert lab.settings.state.own_secrets.stat().st_mode & 0o777 == 0o600


@pytest.mark.fault(
    "Neighbours", "LABKIT_SECRETS asks for the published passwords in KinD, an external cluster or a hosted Keycloak", "refused"
)
@OTHERS
def test_there_the_published_ones_are_refused(make: Make, environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="LABKIT_SECRETS is demo, and the") as caught:
        make(**environ, LABKIT_SECRETS="demo")
    assert "unset LABKIT_SECRETS" in caught.value.fix


def test_a_lab_with_a_kind_cluster_has_its_own_whatever_a_shell_says(make: Make, tmp_path: Path) -> None:
    (tmp_path / "home" / "kind").mkdir(parents=True)
    assert make().secrets == "own"
    with pytest.raises(SettingsError, match="the cluster is a KinD"):
        make(LABKIT_SECRETS="demo")


def test_a_realm_that_has_the_labs_own_keeps_them_until_the_published_ones_are_asked_for(make: Make) -> None:
    own = make(LABKIT_SECRETS="own")
    assert make().secrets == "demo"
    with Given(own.settings.state.secrets_note(REALM), "own").changing():
        assert make().secrets == "own"
    again = make()
    assert (again.secrets, again.workshop) == ("own", own.workshop)
    assert make(LABKIT_SECRETS="demo").secrets == "demo"


def test_while_passwords_are_being_changed_neither_kind_counts_as_given(make: Make) -> None:
    lab = make()
    note = lab.settings.state.secrets_note(REALM)
    assert [Given(note, "demo").outdated, Given(note, "own").outdated] == [False, True]
    with Given(note, "own").changing():
        pass
    assert [Given(note, "demo").outdated, Given(note, "own").outdated] == [True, False]
    with pytest.raises(KeyboardInterrupt), Given(note, "demo").changing():
        raise KeyboardInterrupt
    assert [Given(note, "demo").outdated, Given(note, "own").outdated] == [True, True]
    assert make().secrets == "own"


def test_emails_and_redirect_uris_are_nobody_elses(make: Make) -> None:
    lab = make(LABKIT_SECRETS="own")
    assert [user.email for user in lab.workshop.realm.users] == [f"{user.username}@example.com" for user in lab.workshop.realm.users]
    assert redirect_uris(lab.workshop) == [f"{lab.portal.url}/api/auth/keycloak/handler/frame"]


def test_addresses_of_a_workshop_of_ones_own_stay_but_for_those_on_this_machine(make: Make, tmp_path: Path) -> None:
    mine = (
        (OWN / "realm.yaml")
        .read_text()
        .replace("user-dev@kratix.io", "ada@corp.example")
        .replace("http://localhost:3003", "https://corp.example")
    )
    mine = mine.replace("webOrigins: []", "webOrigins: [http://localhost:3000, https://corp.example, +]")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "realm.yaml").write_text(mine.replace("http://localhost:3000", "http://127.0.0.1:3000"))
    workshop = make(LABKIT_SECRETS="own", LABKIT_WORKSHOP=str(tmp_path / "mine")).workshop
    assert workshop.user("user-dev").email == "ada@corp.example"
    hosts = [uri.partition("/api/")[0] for uri in redirect_uris(workshop)]
    assert hosts[1:] == ["https://corp.example"]
    assert workshop.realm.representation["clients"][1]["webOrigins"] == ["https://corp.example", "+"]


def test_the_practice_lab_has_the_same_kind_of_secrets(make: Make, published: Workshop) -> None:
    assert Lab(make(LABKIT_CLUSTER="external").practice_settings).secrets == "own"
    inner = Lab(make().practice_settings)
    assert (inner.secrets, passwords(inner.workshop)) == ("demo", passwords(published))


def test_each_keycloak_has_secrets_of_its_own(make: Make) -> None:
    seen = [every_secret(make(**environ).workshop) for environ in (HOSTED, {"LABKIT_SECRETS": "own"})]
    assert seen[0] & seen[1] == set()
    assert len(json.loads(make().settings.state.own_secrets.read_text())) == 2


def accounts(monkeypatch: pytest.MonkeyPatch, shells: dict[int, str]) -> None:
    def account(uid: int) -> pwd.struct_passwd:
        if uid not in shells:
            raise KeyError(uid)
        return pwd.struct_passwd((f"account-{uid}", "x", uid, uid, "", "/", shells[uid]))

    monkeypatch.setattr(pwd, "getpwuid", account)
    monkeypatch.setattr(machine, "_FIRST_PERSON", 1000)


def test_a_person_is_known_by_number_and_login_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    shells = {0: "/bin/bash", 105: "/bin/sh", 1001: "/bin/bash", 1002: "/usr/sbin/nologin", 65534: "/bin/sh", 900_000: "/bin/zsh"}
    accounts(monkeypatch, shells)
    seen = {uid: machine._person(uid) for uid in (*shells, 1003, 100_999)}
    assert {uid: name for uid, name in seen.items() if name} == {1001: "account-1001", 900_000: "account-900000", 1003: "uid 1003"}


@pytest.mark.skipif(os.geteuid() != 0, reason="another person's process is root's to start")
def test_another_persons_process_is_seen_and_a_services_is_not() -> None:
    before = set(machine.other_people())
    free = next(uid for uid in range(59000, 60000) if f"uid {uid}" not in before and not _has_account(uid))
    with subprocess.Popen(["sleep", "60"], user=free) as person, subprocess.Popen(["sleep", "60"], user=65534) as service:
        seen = set(machine.other_people())
        person.kill()
        service.kill()
    assert seen - before == {f"uid {free}"}


def test_they_are_shown_only_beside_secrets_that_everybody_knows(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "other_people", lambda: ["ada", "grace"])
    tell_of_neighbours(make(LABKIT_SECRETS="own"))
    assert capsys.readouterr().out == ""
    tell_of_neighbours(make())
    assert "on this machine: ada, grace (" in capsys.readouterr().out
    monkeypatch.setattr(machine, "other_people", list)
    tell_of_neighbours(make())
    assert capsys.readouterr().out == ""


def _has_account(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


@pytest.mark.fault("Settings", "the file of the lab's own secrets is damaged", "it is named, with what is lost with it, and left as it is")
@pytest.mark.parametrize("text", ["[]", "null", "half of it", '{"local/realms/seed": []}', '{"x": {"users": {"user-dev": 1}}}'])
def test_damaged_secrets_are_named_and_not_replaced(make: Make, text: str) -> None:
    file = make(LABKIT_SECRETS="own").settings.state.own_secrets
    file.write_text(text)
    with pytest.raises(SettingsError, match=f"^{file} is damaged") as caught:
        make(LABKIT_SECRETS="own")
    assert "the passwords of people" in caught.value.why
    assert file.read_text() == text
