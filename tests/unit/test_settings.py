"""Where a lab runs: the variables, the state folder and its ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import labkit.config.settings
import labkit.config.state_folder
from labkit.cli.verbs import main
from labkit.common.errors import SettingsError
from labkit.config.files import write_private
from labkit.config.ports import listener, port_is_free
from labkit.config.settings import Settings, find_root
from labkit.config.state_folder import PORTS, open_state_folder
from labkit.lab import Lab

pytestmark = pytest.mark.usefixtures("free_defaults")


def defaults() -> dict[str, int]:
    return labkit.config.state_folder.PORTS


def ports_of(home: Path, **environ: str) -> dict[str, int]:
    return dict(open_state_folder(home, environ=environ).ports)


def test_a_new_state_folder_is_its_owners_only(tmp_path: Path) -> None:
    open_state_folder(tmp_path / "home", environ={})
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "home", *(tmp_path / "home").iterdir())}
    assert modes == {"home": 0o700, "home.json": 0o600, "home.lock": 0o600}


def test_a_state_folder_takes_the_well_known_ports_when_they_are_free(tmp_path: Path) -> None:
    assert ports_of(tmp_path / "home") == defaults()


@pytest.mark.fault("Settings", "a well-known port is taken when the state folder is made", "another one is taken, and kept")
def test_a_taken_port_is_passed_over_and_the_choice_kept(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", defaults()["keycloak"])):
        chosen = ports_of(tmp_path / "home")
    assert chosen["keycloak"] != defaults()["keycloak"]
    assert {**chosen, "keycloak": 0} == {**defaults(), "keycloak": 0}
    assert ports_of(tmp_path / "home") == chosen


@pytest.mark.fault(
    "Settings",
    "between the state folder's making and its first start somebody else, maybe another user, takes one of its ports",
    "another is chosen when the folder is opened, as nobody knows its ports yet; later it stays, and whoever has it is named",
)
@pytest.mark.parametrize("begun", ["", "run", "kind"])
def test_a_port_that_is_taken_before_the_first_start_is_chosen_anew(tmp_path: Path, begun: str) -> None:
    made = ports_of(tmp_path / "home")
    if begun:
        (tmp_path / "home" / begun).mkdir()
    with socket.create_server(("127.0.0.1", made["kubernetes"])):
        opened = ports_of(tmp_path / "home")
    assert (opened["kubernetes"] == made["kubernetes"]) is bool(begun)
    assert {**opened, "kubernetes": 0} == {**made, "kubernetes": 0}
    assert ports_of(tmp_path / "home") == opened


def test_a_port_from_the_environment_is_taken_and_kept_without_it(tmp_path: Path) -> None:
    assert ports_of(tmp_path / "home", LABKIT_ETCD_PORT="23791")["etcd"] == 23791
    assert ports_of(tmp_path / "home")["etcd"] == 23791


def test_a_default_that_a_variable_gave_away_is_not_taken_twice(tmp_path: Path) -> None:
    chosen = ports_of(tmp_path / "home", LABKIT_KEYCLOAK_PORT=str(defaults()["kubernetes"]))
    assert chosen["keycloak"] == defaults()["kubernetes"]
    assert len(set(chosen.values())) == len(PORTS)


@pytest.mark.fault("Settings", "two servers are given one port", "it is refused, with the variables to set")
def test_one_port_for_two_servers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="port 23791 is meant for etcd and for kubernetes"):
        ports_of(tmp_path / "home", LABKIT_ETCD_PORT="23791", LABKIT_KUBERNETES_PORT="23791")


@pytest.mark.fault("Settings", "a LABKIT_*_PORT that is no port", "it is refused, with the variable")
@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "https", "8443 "])
def test_a_port_that_is_none_is_refused_with_its_variable(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="LABKIT_KEYCLOAK_PORT") as caught:
        ports_of(tmp_path / "home", LABKIT_KEYCLOAK_PORT=text)
    assert str(defaults()["keycloak"]) in caught.value.fix


def test_free_ports_are_out_of_everybodys_way_and_all_different(tmp_path: Path) -> None:
    ports = open_state_folder(tmp_path / "home", environ={}, free_ports=True).ports
    assert not set(ports.values()) & set(PORTS.values())
    assert len(set(ports.values())) == len(PORTS)
    assert all(20000 <= port < 30000 for port in ports.values())


def test_a_lab_of_which_one_server_runs_keeps_its_other_ports_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another lab that tries the same row of ports finds one of them in use, and takes another row."""
    first = open_state_folder(tmp_path / "first", environ={}, free_ports=True).ports
    others = labkit.config.state_folder._free_block(first.values())
    rows = iter((min(first.values()), min(others)))
    monkeypatch.setattr("labkit.config.state_folder.random.randrange", lambda *_: next(rows))
    with socket.create_server(("127.0.0.1", first["portal"])):
        second = open_state_folder(tmp_path / "second", environ={}, free_ports=True).ports
    assert sorted(second.values()) == list(others)


def test_two_state_folders_have_ids_of_their_own_that_stay(tmp_path: Path) -> None:
    first, second = (open_state_folder(tmp_path / name, environ={}).id for name in ("first", "second"))
    assert first != second
    assert open_state_folder(tmp_path / "first", environ={}).id == first


@pytest.mark.fault(
    "Settings",
    "the state folder is of another labkit's format",
    "it is refused and left as it is; the error says what to do with it",
)
def test_a_state_folder_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    text = '{"format": 99}'
    (tmp_path / "home.json").write_text(text)
    with pytest.raises(SettingsError, match="another version") as caught:
        open_state_folder(tmp_path, environ={})
    assert str(tmp_path) in caught.value.fix
    assert (tmp_path / "home.json").read_text() == text


@pytest.mark.fault("Settings", "home.json is damaged or somebody else's", "it is named, with what is lost by removing it")
@pytest.mark.parametrize(
    "text",
    [
        *("[]", "{}", "null", '"text"', "not JSON", "", "\x00", '{"format": 1}', '{"format": "1"}', '{"format": 1, "id": "", "ports": {}}'),
        *('{"format": 1, "id": "x", "ports": null}', '{"format": 1, "id": "x", "ports": {"etcd": "2379"}}', '{"format": 1, "ports": {}}'),
        *(
            '{"format": 1, "id": "x", "ports": {"etcd": true}}',
            '{"format": 1, "id": 7, "ports": {}}',
            '{"format": 1, "id": "x", "ports": []}',
        ),
        '{"format": 1, "id": "x", "ports": {"etcd": 65536}}',
    ],
)
def test_a_damaged_state_folder_is_named_with_what_removing_the_file_would_lose(tmp_path: Path, text: str) -> None:
    (tmp_path / "home.json").write_text(text)
    with pytest.raises(SettingsError, match=f"^{tmp_path / 'home.json'} is damaged") as caught:
        open_state_folder(tmp_path, environ={})
    assert "which ports this lab has, and its id" in caught.value.why
    assert f"rm {tmp_path / 'home.json'}" in caught.value.fix
    assert (tmp_path / "home.json").read_text() == text


def test_facts_that_are_no_text_or_no_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is damaged"):
        open_state_folder(tmp_path, environ={})
    (tmp_path / "home.json").unlink()
    (tmp_path / "home.json").mkdir()
    with pytest.raises(SettingsError, match="is damaged"):
        open_state_folder(tmp_path, environ={})


@pytest.mark.fault("Settings", "a state folder that can't be written", "the error names LABKIT_HOME")
def test_a_state_folder_that_cannot_be_made_is_refused_with_the_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="home can't be written") as caught:
        open_state_folder(tmp_path / "file" / "home", environ={})
    assert "LABKIT_HOME" in caught.value.fix


def test_loading_makes_no_state_folder_and_opening_does(tmp_path: Path) -> None:
    environ = {"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_ETCD_PORT": "23791"}
    loaded = Settings.load(environ)
    assert (loaded.folder_id, loaded.ports) == ("", {**defaults(), "etcd": 23791})
    assert list(tmp_path.iterdir()) == []
    opened = Settings.open(environ)
    assert len(opened.folder_id) == 32
    assert Settings.load({"LABKIT_HOME": str(tmp_path / "home")}) == opened


@pytest.mark.parametrize("secrets", ["auto", "own"])
@pytest.mark.parametrize(
    ("verb", "code"), [("status", 3), ("down", 0), ("realm plan", 1), ("doctor", 1), ("kubeconfig", 1), ("kratix status", 3), ("--help", 0)]
)
def test_a_verb_that_only_looks_makes_no_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, code: int, secrets: str
) -> None:
    for name, value in {"HOME": str(tmp_path / "home"), "SECRETS": secrets, "KEYCLOAK": "local", "CLUSTER": "local"}.items():
        monkeypatch.setenv(f"LABKIT_{name}", value)
    monkeypatch.chdir(tmp_path)
    try:
        ended: object = main(verb.split())
    except SystemExit as end:
        ended = end.code
    assert ended == code
    assert list(tmp_path.iterdir()) == []


def test_a_lab_that_was_only_loaded_starts_nothing(tmp_path: Path) -> None:
    lab = Lab(Settings.load({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_CLUSTER": "local"}))
    with pytest.raises(SettingsError, match="is not made yet") as caught, lab.processes.lock():
        pass
    assert "labkit up" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_the_variables_name_state_folder_cache_and_workshop(tmp_path: Path) -> None:
    names = {"LABKIT_HOME": "home", "LABKIT_CACHE": "cache", "LABKIT_WORKSHOP": "mine"}
    settings = Settings.load({variable: str(tmp_path / name) for variable, name in names.items()})
    assert (settings.folder, settings.cache, settings.workshop_folder) == tuple(tmp_path / name for name in names.values())


@pytest.mark.parametrize(
    ("environ", "style"), [({}, "structured"), ({"LABKIT_OIDC": "flags"}, "flags"), ({"LABKIT_OIDC": "structured"}, "structured")]
)
def test_a_variable_chooses_the_style_of_the_api_servers_configuration(tmp_path: Path, environ: dict[str, str], style: str) -> None:
    assert Settings.load({"LABKIT_HOME": str(tmp_path / "home"), **environ}).oidc == style


@pytest.mark.fault("Settings", "LABKIT_OIDC is neither of its two words", "it is refused, with both")
@pytest.mark.parametrize("text", ["", "Flags", "file"])
def test_another_word_for_it_is_refused_with_both_and_before_a_state_folder_is_made(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="LABKIT_OIDC") as caught:
        Settings.load({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_OIDC": text})
    assert "structured or flags" in caught.value.fix
    assert not (tmp_path / "home").exists()


def test_the_portal_keeps_tokens_in_memory_unless_a_variable_says_otherwise(tmp_path: Path) -> None:
    home = {"LABKIT_HOME": str(tmp_path / "home")}
    assert Settings.load(home).portal_keeps == "memory"
    assert Settings.load(home | {"LABKIT_PORTAL_TOKEN": "claim"}).portal_keeps == "claim"
    with pytest.raises(SettingsError, match="LABKIT_PORTAL_TOKEN is 'tok'") as caught:
        Settings.load(home | {"LABKIT_PORTAL_TOKEN": "tok"})
    assert caught.value.fix == "set it to memory or claim, or unset it for memory"


def test_browsers_reach_the_portal_where_a_proxy_has_it(tmp_path: Path) -> None:
    home = {"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_PORTAL_PORT": "24007"}
    assert Settings.load(home).portal_page == "http://localhost:24007"
    for page in ("https://hub.example.org/user/ada/portal", "http://localhost:8000/user/ada/portal"):
        assert Settings.load(home | {"LABKIT_PORTAL_URL": f"{page}/"}).portal_page == page


@pytest.mark.fault("Settings", "LABKIT_SECRETS is none of its words", "it is refused, with all of them")
def test_whose_secrets_there_are_is_one_of_three_words(tmp_path: Path) -> None:
    home = {"LABKIT_HOME": str(tmp_path / "home")}
    assert (Settings.load(home).secrets, Settings.load({**home, "LABKIT_SECRETS": "own"}).secrets) == ("auto", "own")
    with pytest.raises(SettingsError, match="LABKIT_SECRETS is 'mine'") as caught:
        Settings.load({**home, "LABKIT_SECRETS": "mine"})
    assert "auto, demo or own" in caught.value.fix


@pytest.mark.fault("Settings", "LABKIT_CLUSTER is none of its words", "it is refused, with all of them")
@pytest.mark.parametrize("text", ["minikube", "auto", ""])
def test_where_the_cluster_comes_from_is_one_of_three_words_and_local_without_any(tmp_path: Path, text: str) -> None:
    home = {"LABKIT_HOME": str(tmp_path / "home")}
    assert Settings.load(home).cluster == "local"
    chosen = Settings.load({**home, "LABKIT_CLUSTER": "external", "LABKIT_CONTEXT": "mine"})
    assert (chosen.cluster, chosen.context) == ("external", "mine")
    with pytest.raises(SettingsError, match="LABKIT_CLUSTER") as caught:
        Settings.load({**home, "LABKIT_CLUSTER": text})
    assert caught.value.fix == "set it to local, kind or external, or unset it for local"


def test_a_state_folder_goes_on_with_the_kind_cluster_that_it_has_unless_a_variable_says_otherwise(tmp_path: Path) -> None:
    home, made = {"LABKIT_HOME": str(tmp_path / "home")}, tmp_path / "home" / "kind" / "kubeconfig"
    write_private(made.with_name("config.yaml"), "written before there is a cluster")
    write_private(tmp_path / "home" / "etcd" / "member", "")
    assert Settings.load(home).cluster == "local"
    write_private(made, "written by kind")
    assert Settings.load(home).cluster == "kind"
    assert Settings.load({**home, "LABKIT_CLUSTER": "local"}).cluster == "local"
    made.unlink()
    assert Settings.load(home).cluster == "local"


def test_without_variables_the_state_folder_is_in_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir(mode=0o700)
    (tmp_path / "notebooks" / labkit.config.settings.FIRST_LAB).touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    settings = Settings.load({})
    assert settings.folder == tmp_path / ".labkit"
    assert settings.workshop_folder.is_dir()


def test_the_checkout_is_found_from_the_notebooks_folder_and_the_learners_copy(tmp_path: Path) -> None:
    for folder in ("notebooks", "work/deeper"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "notebooks" / labkit.config.settings.FIRST_LAB).touch()
    assert [find_root(tmp_path / folder) for folder in (".", "notebooks", "work/deeper")] == [tmp_path] * 3


@pytest.mark.fault("Settings", "a proxy is set in the environment", "the lab's servers are asked directly")
@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"NO_PROXY": "intranet"}, "intranet,localhost,127.0.0.1"),
        ({"NO_PROXY": "intranet, 10.0.0.0/8", "no_proxy": "corp.example"}, "intranet,10.0.0.0/8,corp.example,localhost,127.0.0.1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_opening_the_lab_keeps_local_servers_out_of_a_proxys_hands_and_what_is_said_in_either_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], kept: str
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, hosts in said.items():
        monkeypatch.setenv(name, hosts)
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    before = dict(os.environ)
    Settings.load()
    assert dict(os.environ) == before
    for _ in range(2):
        Lab.open()
    assert (os.environ["NO_PROXY"], os.environ["no_proxy"]) == (kept, kept)


def test_a_url_names_localhost_and_the_labs_port(tmp_path: Path) -> None:
    settings = Settings.load({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_KEYCLOAK_PORT": "28443"})
    assert settings.url("keycloak") == "https://localhost:28443"


def test_a_private_file_is_its_owners_only_and_replaces_the_old_one_whole(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "token"
    write_private(file, "a longer first content")
    with file.open() as opened_before:
        write_private(file, b"second")
        assert opened_before.read() == "a longer first content"
    assert file.read_text() == "second"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.fault(
    "Settings", "kill -9 while a file of the state folder is written", "the old one stays whole; the next writer removes what is left"
)
def test_what_a_killed_writer_left_is_removed_by_the_next_one_and_what_others_write_now_is_not(tmp_path: Path) -> None:
    die = "import os, pathlib, signal, sys\nfrom labkit.config.files import write_private\n"
    die += "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\nwrite_private(pathlib.Path(sys.argv[1]), 'secret')\n"
    file, of_a_living_writer = tmp_path / "file", tmp_path / f".file.{os.getppid()}.x"
    of_a_living_writer.touch()
    file.write_text("old")
    killed = subprocess.run([sys.executable, "-c", die, str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert file.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3
    write_private(file, "whole")
    assert sorted(tmp_path.iterdir()) == [of_a_living_writer, file]


@pytest.mark.fault("Settings", "writing a file fails", "the old one stays whole, and nothing else is left")
def test_a_private_file_whose_writing_fails_leaves_the_old_one_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").touch()
    with pytest.raises(SettingsError, match="folder can't be written"):
        write_private(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104 - on purpose
def test_a_port_is_taken_while_somebody_listens_and_free_after(address: str) -> None:
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
        port = server.getsockname()[1]
        assert not port_is_free(port)
        assert (listener(port) or "").endswith(f"(pid {os.getpid()})")
    assert (port_is_free(port), listener(port)) == (True, None)


def test_a_port_that_somebody_has_on_an_address_that_nobody_asks_is_free() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert port_is_free(server.getsockname()[1])


def test_the_state_file_holds_no_more_than_format_id_and_ports(tmp_path: Path) -> None:
    open_state_folder(tmp_path / "home", environ={})
    assert json.loads((tmp_path / "home" / "home.json").read_text()).keys() == {"format", "id", "ports"}


@pytest.mark.parametrize(("writable", "room", "beside"), [(True, "", False), (True, "https://x/", True), (False, "", True)])
def test_labs_are_copied_to_where_the_person_may_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, writable: bool, room: str, beside: bool
) -> None:
    """As in an image, where the checkout is everybody's."""
    monkeypatch.setattr(os, "access", lambda *_: writable)
    settings = Settings.load({"LABKIT_HOME": str(tmp_path / "lab"), **({"LABKIT_ROOM_VIEW": room} if room else {})})
    assert settings.place == (tmp_path if beside else settings.root)
