"""What a seat of a room is given."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from labkit.cli import main
from labkit.common.errors import SettingsError
from labkit.config.files import write_private
from labkit.config.settings import Settings
from labkit.course import runner
from labkit.identity.keycloak import Keycloak
from labkit.lab import Lab
from labkit.room.seat import Seat
from labkit.room.seats import ADMINISTRATOR, prepare_seat, seat_environment
from labkit.servers.processes import Processes, Server
from labkit.toolchain import Program, Toolchain

PORTAL = "https://room.example:8000/user/anna/portal"


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Those of the seat of Anna, whose folder is there."""
    ca, secret = tmp_path / "ca.pem", tmp_path / "secret"
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    secret.write_text("of-annas-realm-alone")
    where = "https://room.example:8000/services/keycloak"
    return seat_environment("anna", tmp_path / "anna", keycloak=where, portal=PORTAL, ca=ca, secret=secret, cache=tmp_path / "programs")


def test_a_seats_variables_lead_labkit_to_its_own_lab_and_realm(variables: dict[str, str], tmp_path: Path) -> None:
    settings = Settings.load(variables)
    assert settings.folder.is_relative_to(tmp_path / "anna")
    assert (settings.cache, settings.cluster, settings.secrets) == (tmp_path / "programs", "local", "own")
    assert settings.portal_page == PORTAL
    assert settings.hosted
    assert (settings.hosted.url, settings.hosted.realm) == ("https://room.example:8000/services/keycloak", "anna")
    assert (settings.hosted.admin_realm or settings.hosted.realm, settings.hosted.client) == ("anna", ADMINISTRATOR)


def test_a_seats_jupyterlab_comes_to_the_portal_by_a_socket_in_the_seats_folder(variables: dict[str, str], tmp_path: Path) -> None:
    in_the_room = {**variables, "LABKIT_ROOM_VIEW": "https://room.example:8000/services/view/"}
    assert Settings.load(in_the_room).portal_socket == tmp_path / "anna" / "portal.sock"
    # A run of the labs in the seat has a portal of its own, to which no proxy leads.
    assert Settings.load({**in_the_room, "LABKIT_PORTAL_URL": ""}).portal_socket is None
    assert Settings.load(variables).portal_socket is None


def test_a_seat_opens_also_while_its_keycloak_does_not_answer(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restart of the machine, where seats may come first."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Toolchain, "ensure", lambda *_: {})
    monkeypatch.setattr(Keycloak, "get", lambda *_: pytest.fail("it is asked"))
    Lab.open().setup()


def test_no_secret_is_among_a_seats_variables(variables: dict[str, str]) -> None:
    assert "of-annas-realm-alone" not in str(variables)


def test_a_run_of_the_labs_in_a_seat_leaves_its_results_there_and_not_in_the_checkout_that_all_share(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = []

    def run(names: list[str], output: Path) -> NoReturn:
        outputs.append((names, output))
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run", run)
    for name, value in {**variables, "LABKIT_ROOM_VIEW": "https://room.example:8000/services/view/"}.items():
        monkeypatch.setenv(name, value)
    assert main(["run", "01"]) == 130
    assert outputs == [(["01-keycloak"], tmp_path / "anna" / "build" / "labs")]


@pytest.mark.parametrize(
    ("address", "listens"),
    [
        ("http+unix://%6a", {"sock": "../jupyter.sock", "ip": "localhost"}),
        ("http://0.0.0.0:8888/user/anna/", {}),
        ("http://:8888/user/anna/", {}),
        ("https://0.0.0.0:8888/user/anna/", {"ip": "localhost"}),
    ],
)
def test_jupyterlab_of_a_seat_listens_on_a_socket_or_in_a_pod_where_the_hub_says(
    address: str, listens: dict[str, str], variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def execve(_: object, argv: list[str], __: object) -> NoReturn:
        commands.append(argv)
        raise KeyboardInterrupt

    monkeypatch.setattr("os.execve", execve)
    monkeypatch.setattr(Lab, "setup", lambda *_, **__: None)
    monkeypatch.setattr(Toolchain, "ensure", lambda *_: {"kubectl": Program("kubectl", "", tmp_path / "kubectl", "")})
    monkeypatch.chdir(tmp_path)
    hub = {"LABKIT_ROOM_VIEW": "https://room.example:8000/services/view/", "JUPYTERHUB_SERVICE_URL": address}
    for name, value in {**variables, **hub}.items():
        monkeypatch.setenv(name, value)
    main(["lab"])
    told = dict(option.removeprefix("--ServerApp.").split("=", 1) for option in commands[0] if option.startswith("--ServerApp."))
    assert {name: told[name] for name in ("sock", "ip", "port") if name in told} == listens


@pytest.mark.fault("Room", "a run of the labs in a seat fails, and leaves its servers to be looked at", "they end with the seat")
@pytest.mark.parametrize("home", ["lab", "build/run-home"])
def test_a_seat_that_is_stopped_leaves_no_server(tmp_path: Path, home: str) -> None:
    room = {"accounts": False, "url": "https://room.example:8000", "here": "https://localhost:8000", "cache": str(tmp_path / "programs")}
    seat = Seat("anna", tmp_path / "anna", "", room)
    for name in ("room-ca.crt", "realm-secret"):
        write_private(seat.folder / name, "-----BEGIN CERTIFICATE-----\n")
    settings = Settings.open({**seat.environment(), "LABKIT_HOME": str(seat.folder / home)})
    servers = Processes(settings)
    servers.start(Server("etcd", ("/bin/sleep", "600"), (), lambda: True))
    seat.down()
    # Were it left, it would end here.
    assert servers.stop_all() == []


@pytest.mark.parametrize("name", ["master", "", "../anna", "anna/ben", "an na"])
def test_a_seat_whose_name_no_realm_can_have_is_refused_before_keycloak_is_asked(name: str) -> None:
    with pytest.raises(SettingsError):
        prepare_seat(Unasked(), name)


class Unasked(Keycloak):
    """A Keycloak that nobody is to ask."""

    def __init__(self) -> None: ...

    ca = start = findings = unreachable = _secret = _refused = admin = None  # type: ignore[assignment]
