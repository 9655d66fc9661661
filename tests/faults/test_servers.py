"""Servers that are killed: the next `labkit up` brings them back with what they knew."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from labkit.cluster.local import SERVERS
from labkit.common.errors import PortInUse, ServerError
from labkit.config.state_folder import open_state_folder
from labkit.identity.local import LocalKeycloak
from labkit.lab import Lab
from labkit.servers.processes import Processes, Server
from labkit.toolchain.keycloak import Prepared
from tests.faults.lab import PROCESSES, assert_nothing_is_lost, assert_whole, assert_works, kill
from tests.support import belonging_to, on_record, own_state_folder, session_of, strays_of, wait_for

BACK = "the next `labkit up` starts it again; its data is there"


def killed(*victims: str, what: str, outcome: str = BACK) -> ParameterSet:
    return pytest.param(victims, id=" and ".join(victims), marks=pytest.mark.fault("Servers", f"kill -9 of {what}", outcome))


@pytest.mark.parametrize(
    "victims",
    [
        killed("etcd", what="etcd"),
        killed("kube-apiserver", what="kube-apiserver"),
        killed("kube-controller-manager", what="kube-controller-manager"),
        killed("java", what="Keycloak's Java"),
        killed(*PROCESSES, what="all servers at once", outcome="the next `labkit up` starts them again; their data is there"),
    ],
)
def test_what_was_killed_comes_back_with_its_data(lab: Lab, victims: tuple[str, ...]) -> None:
    kill(lab, victims)
    assert_works("up")
    assert_works("check")
    assert_nothing_is_lost(lab)
    assert strays_of(lab.settings.folder) == []


@pytest.mark.fault("Servers", "the portal can't start, as one of its databases is broken", "told as soon as it gives up, with its log")
def test_a_portal_that_can_not_start_ends_and_says_why(lab: Lab) -> None:
    lab.portal.stop()
    database = lab.settings.folder / "portal" / "database" / "catalog.sqlite"
    whole = database.read_bytes()
    database.write_bytes(b"no database" * 1000)
    try:
        with pytest.raises(ServerError, match="portal ended before it was ready") as failure:
            lab.portal.start()
        assert "file is not a database" in failure.value.why
    finally:
        database.write_bytes(whole)
    lab.portal.start()
    assert_whole(lab)


NO_SERVERS = {
    "is no program": (__file__,),
    "gets no memory": ("/bin/sh", "-c", "echo Cannot allocate memory; exit 1"),
    "is killed": ("/bin/sh", "-c", "kill -9 $$"),
}
"""What to run in a server's place, so that it fails."""

STICKING = {"keycloak": "keycloak", "kube-apiserver": "kubernetes", "portal": "portal"}
"""By server: its port, where it is one that sticks; in place of another one that is taken, a free one is chosen."""


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(
            server,
            marks=pytest.mark.fault(
                "Servers",
                f"`labkit up` where {server} can't start: it is no program, gets no memory, is killed"
                f"{', or another program has its port' if server in STICKING else ''}",
                "the error names it first; what runs is on record; the next `labkit up` starts the rest",
            ),
        )
        for server in ("keycloak", *SERVERS, "portal")
    ],
)
def test_an_up_names_the_server_that_fails(lab: Lab, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.down()
    launch = Processes._launch
    for what, argv in NO_SERVERS.items():

        def launch_another(processes: Processes, wanted: Server, argv: tuple[str, ...] = argv) -> object:
            return launch(processes, replace(wanted, argv=argv) if wanted.name == server else wanted)

        with monkeypatch.context() as patch:
            patch.setattr(Processes, "_launch", launch_another)
            with pytest.raises(ServerError, match=rf"^{server} ended (at once|before it was ready)"):
                lab.up()
        assert strays_of(lab.settings.folder) == [], what
        assert lab.processes.running(server) is None
    if server in STICKING:
        port = lab.settings.ports[STICKING[server]]
        with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUse, match=f"port {port}, which {server} needs"):
            lab.up()
        assert strays_of(lab.settings.folder) == []
    lab.up()
    assert_whole(lab)


START_KEYCLOAK = "from labkit.lab import Lab; Lab.open().keycloak.start()"


@pytest.mark.fault(
    "Servers", "kill -9 of Keycloak while it makes its database", "the next start makes it anew; there was nothing in it yet"
)
def test_a_first_start_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    with own_state_folder(tmp_path / "home") as home, subprocess.Popen([sys.executable, "-c", START_KEYCLOAK]) as starter:
        lab, database = Lab.open(), home / "keycloak" / "data" / "h2" / "keycloakdb.mv.db"
        try:
            tables = Prepared(lab.toolchain.ensure("keycloak-start")["keycloak-start"].path).tables()
            assert tables is not None
            begun = tables.stat().st_size
            # It has the prepared tables, and Keycloak's first rows.
            wait_for(lambda: database.exists() and database.stat().st_size > begun)
            starter.kill()
            kill(lab, ["kc.sh", "java"])
            lab.keycloak.start()
            lab.keycloak.admin()
        finally:
            lab.down()
        assert belonging_to(home) == []


@pytest.mark.parametrize(
    ("classes", "tables", "parent"),
    [
        pytest.param(
            None,
            b"no database",
            "kc.sh",
            id="neither",
            marks=pytest.mark.fault(
                "Servers",
                "the prepared tables are damaged, and Java archived no classes",
                "Keycloak makes its tables, and `kc.sh` starts it",
            ),
        ),
        pytest.param(
            b"no archive",
            None,
            "java",
            id="damaged classes",
            marks=pytest.mark.fault("Servers", "Java's archive of classes is damaged", "Java passes over it, and its log says so"),
        ),
    ],
)
def test_keycloak_starts_without_what_was_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], classes: bytes | None, tables: bytes | None, parent: str
) -> None:
    with own_state_folder(tmp_path / "home") as home:
        lab = Lab.open()
        programs = lab.toolchain.ensure(*LocalKeycloak.programs)
        whole, broken = Prepared(programs["keycloak-start"].path), Prepared(tmp_path / "prepared")
        shutil.copytree(whole.folder, broken.folder, ignore=shutil.ignore_patterns(whole.classes.name))
        if classes:
            broken.classes.write_bytes(classes)
        if tables:
            next(broken.folder.glob("*.mv.db")).write_bytes(tables)
        programs["keycloak-start"] = replace(programs["keycloak-start"], path=broken.folder)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(lab.toolchain, "ensure", lambda *_: programs)
                lab.keycloak.start()
            lab.keycloak.admin()
            assert session_of(home, "keycloak")[0].name() == parent
            assert ("Keycloak makes its tables anew" in capsys.readouterr().out) == bool(tables)
            assert ("AOT cache" in lab.processes.log_file("keycloak").read_text()) == bool(classes)
            kill(lab, ["kc.sh"])
            # With what was prepared, and with the database that is there now; a Java without its kc.sh is ended first.
            lab.keycloak.start()
            lab.keycloak.admin()
        finally:
            lab.down()
        assert belonging_to(home) == []


def test_what_is_prepared_holds_no_realm_and_no_key(lab: Lab) -> None:
    """Keys and people are each state folder's own, so the files that all of them begin with have none."""
    tables = Prepared(lab.toolchain.ensure("keycloak-start")["keycloak-start"].path).tables()
    used = lab.settings.folder / "keycloak" / "data" / "h2" / "keycloakdb.mv.db"
    assert tables is not None
    assert used.stat().st_mode & 0o077 == 0
    for told in (b"admin-cli", b"privateKey", b"rsa-generated"):
        assert told in used.read_bytes()
        assert told not in tables.read_bytes()


@pytest.fixture
def second(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """Another lab with a cluster of its own, which trusts the first one's realm."""
    home = tmp_path / "home"
    facts = open_state_folder(home, environ={}, free_ports=True)
    made = Lab(replace(lab.settings, folder=home, folder_id=facts.id, ports=facts.ports))
    made.cluster.provider.start(lab.cluster.trust)
    yield made
    made.down()


@pytest.mark.fault("Servers", "kill -9 of all servers of another lab", "this lab's servers run on, and the other's start again")
def test_killing_all_of_one_lab_leaves_the_other_alone(lab: Lab, second: Lab) -> None:
    ours = {process.pid for process in on_record(lab.settings.folder)}
    kill(second, SERVERS)
    second.cluster.provider.start(lab.cluster.trust)
    assert second.cluster.is_running()
    kill(second, SERVERS)
    assert second.down() == [] or not second.cluster.is_running()
    assert {process.pid for process in on_record(lab.settings.folder)} == ours
    assert_whole(lab)
