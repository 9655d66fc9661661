"""What the Hub of a room on Kubernetes gives a seat's pod, with a stand-in for kubespawner, which only the image has."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from labkit.cli.verbs import main
from labkit.config.hosting import SECRET_VARIABLE
from labkit.config.settings import Settings
from labkit.identity.keycloak import Keycloak
from labkit.room import pods
from labkit.room.people import People


class Spawner:
    """What kubespawner has of a user's pod."""

    def __init__(self, name: str) -> None:
        self.user = SimpleNamespace(name=name)
        self.environment: dict[str, str] = {"EDITOR": "nano"}
        self.extra_pod_config: dict[str, Any] = {"enableServiceLinks": False}
        self.volumes_removed = False

    async def delete_forever(self) -> None:
        self.volumes_removed = True


@pytest.fixture
def spawner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the spawner, in a pod whose Secrets are in a folder; realms are names in its list ``realms``."""
    tls = tmp_path / "tls"
    tls.mkdir()
    (tls / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    variables = {
        "LABKIT_ROOM_URL": "https://labs.example.org",
        "LABKIT_KEYCLOAK": "hosted",
        "LABKIT_KEYCLOAK_URL": "https://keycloak:8443",
        "LABKIT_KEYCLOAK_CA": str(tls / "ca.crt"),
        "LABKIT_KEYCLOAK_ADMIN_REALM": "master",
        "LABKIT_HOME": str(tmp_path / "home"),
        "LABKIT_CACHE": str(tmp_path),
        "OAUTH2_AUTHORIZE_URL": "https://labs.example.org/services/keycloak/realms/room/protocol/openid-connect/auth",
        "OAUTH_CLIENT_SECRET": "of-the-hub",
        "PROXY_PUBLIC_SERVICE_HOST": "10.0.0.7",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pods, "_TLS", tls)
    monkeypatch.setitem(sys.modules, "kubespawner", ModuleType("kubespawner"))
    monkeypatch.setattr(sys.modules["kubespawner"], "KubeSpawner", Spawner, raising=False)
    monkeypatch.delitem(sys.modules, "labkit.room.pod_spawner", raising=False)
    module = importlib.import_module("labkit.room.pod_spawner")
    realms: list[str] = []

    def prepare(keycloak: Keycloak, name: str) -> str:
        assert keycloak.administrator.realm == "master"
        realms.append(name)
        return f"of-{name}"

    monkeypatch.setattr(module, "prepare_seat", prepare)
    monkeypatch.setattr(module, "remove_seat", lambda _keycloak, name: realms.remove(name))
    monkeypatch.setattr(module, "realms", realms, raising=False)
    return module


def test_a_seats_pod_is_led_to_a_realm_of_its_own_and_to_the_room_within_the_cluster(spawner: ModuleType) -> None:
    pod = spawner.SeatPod("anna")
    asyncio.run(pod.run_pre_spawn_hook())
    assert spawner.realms == ["anna"]
    assert pod.environment["EDITOR"] == "nano"
    settings = Settings.load(pod.environment)
    assert settings.hosted
    assert (settings.hosted.url, settings.hosted.realm) == ("https://labs.example.org/services/keycloak", "anna")
    assert settings.hosted.secret == "of-anna"
    assert settings.portal_page == "https://labs.example.org/user/anna/portal"
    assert (settings.seat, settings.folder) == (Path("/home/learner"), Path("/home/learner/lab"))
    assert pod.extra_pod_config["hostAliases"] == [{"ip": "10.0.0.7", "hostnames": ["labs.example.org"]}]
    assert pod.extra_pod_config["enableServiceLinks"] is False


def test_no_seat_has_the_secret_of_another_or_of_who_makes_realms(spawner: ModuleType) -> None:
    anna, ben = spawner.SeatPod("anna"), spawner.SeatPod("ben")
    for pod in (anna, ben):
        asyncio.run(pod.run_pre_spawn_hook())
    assert (anna.environment[SECRET_VARIABLE], ben.environment[SECRET_VARIABLE]) == ("of-anna", "of-ben")
    assert "of-the-hub" not in str([anna.environment, ben.environment])
    assert "master" not in anna.environment.values()


def test_the_realm_goes_with_the_volume_of_a_person_who_is_deleted(spawner: ModuleType) -> None:
    pod = spawner.SeatPod("anna")
    asyncio.run(pod.run_pre_spawn_hook())
    asyncio.run(pod.delete_forever())
    assert spawner.realms == []
    assert pod.volumes_removed


def test_whose_sign_in_is_taken_away_is_to_be_deleted_at_the_hub_too(
    spawner: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del spawner
    gone: list[str] = []
    monkeypatch.setattr(People, "names", lambda _: ["anna", "ben"])
    monkeypatch.setattr(People, "remove", lambda _, name: gone.append(name))
    assert main(["room", "remove", "anna"]) == 0
    assert gone == ["anna"]
    assert "https://labs.example.org/hub/admin" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["room", "remove", "chris"])


@pytest.mark.parametrize("action", ["up", "down", "status", "view"])
def test_a_hubs_pod_knows_nothing_but_its_people(spawner: ModuleType, action: str, capsys: pytest.CaptureFixture[str]) -> None:
    del spawner
    with pytest.raises(SystemExit):
        main(["room", action])
    assert "there are: add, remove" in capsys.readouterr().err
