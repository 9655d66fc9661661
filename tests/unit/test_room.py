"""What a room refuses and writes down, before any of its servers run."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from cryptography.hazmat.primitives import serialization

from labkit.cli import main
from labkit.common.errors import RoomError, SettingsError
from labkit.common.platform_folder import OWN
from labkit.room.deadline import keep_deadline, next_time, set_deadline
from labkit.room.given import require_fit
from labkit.room.limits import Limits, lacking
from labkit.room.room import Room
from labkit.servers import certificates
from labkit.servers.certificates import Certificates, Pair
from labkit.servers.processes import Server
from labkit.workshop.fields import faults
from labkit.workshop.files import read
from tests.support import wait_for

_WITH_OWN_ACCOUNTS = """
set -e
mkdir -p $0/etc $0/home && cp -a /etc/. $0/etc
mount --bind $0/etc /etc && mount --bind $0/home /home
exec "$@"
"""
"""Runs a program that sees files of accounts and home directories of its own, in a mount namespace that goes with it."""

_TWO_SEATS = """
import sys
from labkit.common.errors import RoomError
from labkit.room.seat import Seat, make_account, require_running
here = {"url": "https://localhost:8000", "here": "https://localhost:8000"}
room = {"accounts": True, "seats": "", "trusted": sys.argv[1], "cache": sys.argv[2], **here}
for name in ("anna", "ben"):
    make_account(name, "this-room")
    make_account(name, "this-room")
anna, ben = (Seat.of(room, name) for name in ("anna", "ben"))
anna.make("of-anna")
(ben.folder / "room-ca.crt").symlink_to("/etc/shadow")
ben.make("of-ben")
print(anna.run("cat", f"{anna.folder}/realm-secret").stdout)
print(anna.run("cat", f"{ben.folder}/realm-secret").returncode, anna.run("ls", str(ben.folder)).returncode)
# To listen in another's place takes a file there.
print(anna.run("touch", f"{ben.folder}/jupyter.sock").returncode)
print(anna.run("id", "-un").stdout.strip(), anna.run("cat", "/etc/shadow").returncode, anna.run("pwd").stdout.strip() == str(anna.folder))
print(open("/etc/shadow").read().count("CERTIFICATE"))
for refused in (lambda: make_account("anna", "another-room"), lambda: require_running(anna)):
    try:
        refused()
    except RoomError as error:
        print(error.problem.id)
"""

_LIMITED = """
import subprocess, sys, time
from labkit.room import limits
from labkit.room.seat import Seat, make_account
limits.MOST |= {name: 64 * 2**20 for name, most in limits.MOST.items() if "memory" in name and most} | {"pids.max": 40}
here = {"url": "https://localhost:8000", "here": "https://localhost:8000"}
room = {"accounts": True, "limited": True, "seats": "", "cache": "/nowhere", **here}
def goes_on():
    return int(subprocess.run(["pgrep", "--full", "--count", hog.account], capture_output=True, text=True).stdout)
for name in sys.argv[1:]:
    make_account(name, "this-room")
hog, other = (Seat.of(room, name) for name in sys.argv[1:])
# A group that was there may have others.
most = limits.MOST
limits.MOST = {name: most // 2 for name, most in most.items()}
hog.limits.make()
limits.MOST = most
print(hog.limits.killed(), hog.run("/bin/sh", "-c", "head -c 200M /dev/zero | tail").returncode, hog.limits.killed())
# Each of a hundred goes on, also when what started it has ended.
print("fork" in hog.run("/bin/sh", "-c", "for i in $(seq 100); do (while :; do :; done) >/dev/null 2>&1 & done", hog.account).stderr)
print(0 < goes_on() <= 40)
began = time.monotonic()
print(other.run("/bin/true").returncode, time.monotonic() - began < 30, other.limits.killed())
for seat in (hog, other):
    seat.end()
print(goes_on(), [folder for folder in hog.limits._folders() if folder.exists()])
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """A room whose folder is made, and nothing else."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Room.open()


@pytest.mark.fault(
    "Exposure", "an ordinary user starts a room", "refused: its seats would all be that user; a flag allows it, whose name says so"
)
def test_seats_that_nobody_separates_are_refused(room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(Room, "open", lambda *_, to_look: room)
    assert main(["room", "up", "anna"]) == 1
    assert "--seats-are-not-separated" in capsys.readouterr().err
    assert room.status().is_up is False


@pytest.mark.parametrize("name", ["", "x", "Anna", "../ben", "a b", "master", "room", "instructor", "1anna", "a" * 21, "root;id", "-rf"])
def test_a_name_that_is_no_realm_path_and_account_is_refused(room: Room, name: str) -> None:
    with pytest.raises(RoomError) as refused:
        room.people.require_usable([name])
    assert refused.value.problem.id == "person-name"


@pytest.mark.parametrize("address", ["https://labs.example.org", "../../etc", "labs.example.org:8000", "::1", "a b", "-x"])
def test_an_address_that_is_no_name_and_no_number_is_refused(room: Room, address: str) -> None:
    with pytest.raises(RoomError) as refused:
        Room.open(address)
    assert refused.value.problem.id == "room-address"
    assert room.url.startswith("https://localhost:")


@pytest.mark.parametrize("host", ["labs.example.org", "192.0.2.7"])
def test_a_certificate_that_serves_the_address_is_taken_and_its_authority_is_known(tmp_path: Path, host: str) -> None:
    given, authority = _given(tmp_path, host)
    assert require_fit(given, host) == authority.read_text()


def test_a_certificate_of_an_authority_that_this_machine_trusts_need_not_bring_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, authority = _given(tmp_path, "labs.example.org", with_authority=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert require_fit(given, "labs.example.org") == authority.read_text()


@pytest.mark.fault(
    "Settings",
    "a room is given a certificate that is for another name or key, has expired, is cut short, or that nobody vouches for",
    "`labkit room up` starts nothing, and says what OpenSSL objects to",
)
@pytest.mark.parametrize(
    ("spoil", "objection"),
    [
        (lambda given, _: None, "certificate is not valid for 'other.example.org'"),
        (lambda given, other: given.key.write_bytes(other.key.read_bytes()), "key values mismatch"),
        (lambda given, other: given.certificate.write_bytes(other.certificate.read_bytes() + given.certificate.read_bytes()), "mismatch"),
        (lambda given, _: given.certificate.write_bytes(given.certificate.read_bytes()[:300]), "PEM"),
        (lambda given, _: given.key.unlink(), "No such file"),
        (lambda given, _: given.key.write_bytes(_locked(given.key)), "PEM"),
    ],
)
def test_a_certificate_that_does_not_serve_is_refused(tmp_path: Path, spoil: Callable[[Pair, Pair], object], objection: str) -> None:
    given, _ = _given(tmp_path / "one", "labs.example.org")
    spoil(given, _given(tmp_path / "two", "labs.example.org")[0])
    with pytest.raises(RoomError) as refused:
        require_fit(given, "other.example.org")
    assert refused.value.problem.id == "room-certificate"
    assert objection in refused.value.why


def test_a_certificate_is_refused_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, authority = _given(tmp_path, "labs.example.org")
    monkeypatch.setattr(certificates, "_DAYS", 0)
    late = Certificates(tmp_path / "tls", "labs.example.org").server("late")
    given.certificate.write_text(late.certificate.read_text() + authority.read_text())
    with pytest.raises(RoomError, match="expired"):
        require_fit(Pair(given.certificate, late.key), "labs.example.org")


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RoomError, match="unable to get local issuer"):
        require_fit(_given(tmp_path, "labs.example.org", with_authority=False)[0], "labs.example.org")


@pytest.mark.parametrize("missing", ["--key", "--certificate"])
def test_a_certificate_without_its_key_is_refused(capsys: pytest.CaptureFixture[str], missing: str) -> None:
    given = {"--key": "a.key", "--certificate": "a.crt"}
    del given[missing]
    assert main(["room", "up", *next(iter(given.items()))]) == 1
    assert "go together" in capsys.readouterr().err


@pytest.mark.parametrize(("now", "ends"), [("2026-11-27 11:00", "2026-11-27 16:30"), ("2026-11-27 16:30", "2026-11-28 16:30")])
def test_a_deadline_is_the_next_time_that_the_clock_says_so(now: str, ends: str) -> None:
    found = next_time("16:30", datetime.fromisoformat(now))
    assert found == datetime.fromisoformat(ends)
    with pytest.raises(RoomError):
        next_time("tea time", found)


@pytest.mark.fault(
    "Room", "the Hub does not answer when a room is to end", "it is asked again until it does; a later deadline set meanwhile stays"
)
@pytest.mark.parametrize(("later", "stays"), [("", False), ("99999999999", True)])
def test_a_room_is_ended_when_its_time_is_over_and_again_where_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str, stays: bool
) -> None:
    monkeypatch.setattr("labkit.room.deadline._POLL_SECONDS", 0.01)
    file, asked = tmp_path / "deadline", list[str]()

    def end() -> None:
        asked.append(file.read_text())
        if len(asked) == 1:
            raise RoomError("hub-silent", url="https://localhost", reason="")
        if later:
            file.write_text(later)

    async def waited() -> None:
        waiting = asyncio.create_task(keep_deadline(tmp_path, end))
        set_deadline(tmp_path, 1)
        while len(asked) < 2 or file.exists() is not stays:  # noqa: ASYNC110 - for the file
            await asyncio.sleep(0.01)
        waiting.cancel()

    asyncio.run(waited())
    assert asked == ["1\n", "1\n"]


def test_the_view_of_a_room_runs_what_ends_the_room_once(tmp_path: Path) -> None:
    pair, ended = Certificates(tmp_path / "tls").server("view"), tmp_path / "ended"
    told = {"SERVICE_URL": "https://localhost:0", "SERVICE_PREFIX": "/services/view/", "API_URL": "https://localhost:1/hub/api"}
    env = {**os.environ, **{f"JUPYTERHUB_{name}": value for name, value in told.items()}, "JUPYTERHUB_API_TOKEN": "x"}
    end = ("/bin/sh", "-c", f"echo once >>{ended}")
    command = [sys.executable, "-P", "-m", "labkit.room.view", str(tmp_path), str(pair.certificate), str(pair.key), *end]
    set_deadline(tmp_path, 0)
    with subprocess.Popen(command, env=env) as view:
        try:
            wait_for(lambda: ended.exists() and not (tmp_path / "deadline").exists())
        finally:
            view.kill()
    assert ended.read_text() == "once\n"


@pytest.mark.fault("Settings", "a file of a room is damaged", "`labkit room down` stops all that is on record, and names the file")
def test_a_room_with_a_damaged_file_can_be_stopped(room: Room) -> None:
    room.processes.start(Server("seat-anna", ("/bin/sleep", "600"), (), lambda: True))
    (room.settings.folder / "hub.json").write_text("{")
    with pytest.raises(SettingsError):
        room.down()
    assert room.processes.running("seat-anna") is None


def test_to_look_at_a_room_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    assert main(["room", "status"]) == 3
    assert main(["room", "down"]) == 0
    assert not (tmp_path / "home").exists()


def test_labkit_can_plan_the_realm_of_a_room() -> None:
    document = read("room/realm.yaml", {"ROOM_URL": "https://localhost:8000"}, OWN)
    assert list(faults("realm", document.data)) == []


@pytest.mark.fault(
    "Exposure",
    "a learner in a room reads another's folder, or puts a link where the room writes",
    "the system refuses: each seat has an account, and what the room puts there it writes as that account",
)
def test_each_seat_has_an_account_of_its_own(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "cache").mkdir(mode=0o700)
    done = _with_accounts(tmp_path, _TWO_SEATS, str(ca), str(tmp_path / "cache"))
    refused = ["account-of-another", "room-hidden"]
    assert done.stdout.split() == ["of-anna", "1", "2", "1", "labkit-anna", "1", "True", "0", *refused], done.stderr


@pytest.mark.fault(
    "Room",
    "a seat asks for all memory, or starts processes without end",
    "the kernel ends what asks for more than the seat's limit; other seats go on, and nothing of that seat outlives it",
)
def test_a_seat_that_takes_too_much_is_ended_and_others_go_on(tmp_path: Path) -> None:
    if lack := lacking():
        pytest.skip(lack.why)
    # Control groups are the whole machine's, and so of other runs of this test too.
    done = _with_accounts(tmp_path, _LIMITED, f"hog-{os.getpid()}", f"other-{os.getpid()}")
    assert done.stdout.split("\n") == ["0 137 1", "True", "True", "0 True 0", "0 []", ""], done.stderr


def test_limits_are_those_of_either_version_of_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2 by a folder that stands for the kernel's; the test before this one asks the kernel, whichever version it has."""
    mount = SimpleNamespace(mountpoint=str(tmp_path), fstype="cgroup2", opts="rw")
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [mount])
    group = tmp_path / "labkit-anna"
    group.mkdir()
    for file in (group / "memory.max", group / "memory.swap.max", group / "pids.max", tmp_path / "cgroup.subtree_control"):
        file.touch()
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (group / "memory.events").write_text("max 7\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert Limits("labkit-anna").make() == [group / "cgroup.procs"]
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert [(group / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max")] == [str(3 * 10**9), "0", "1024"]
    assert Limits("labkit-anna").killed() == 2


@pytest.mark.fault(
    "Room",
    "root starts a room where no control groups can be made",
    "`labkit room up` says what that means; seats are limited in processes",
)
@pytest.mark.parametrize("fstype", ["cgroup2", "tmpfs"])
def test_that_seats_cant_be_limited_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fstype: str) -> None:
    mount = SimpleNamespace(mountpoint=str(tmp_path), fstype=fstype, opts="ro")
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [mount])
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").mkdir()
    found = lacking()
    assert found
    assert found.id == "seats-not-limited"
    assert "1024 processes" in found.why


def _given(folder: Path, host: str, *, with_authority: bool = True) -> tuple[Pair, Path]:
    """A certificate for a host, with its authority."""
    made = Certificates(folder / "tls", host)
    pair, authority = made.server("room"), made.authority("servers")
    given = Pair(folder / "given.crt", pair.key)
    given.certificate.write_text(pair.certificate.read_text() + (authority.read_text() if with_authority else ""))
    return given, authority


def _locked(key: Path) -> bytes:
    """A key that takes a password."""
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    coded = serialization.BestAvailableEncryption(b"a password")
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, coded)


def _with_accounts(folder: Path, script: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run Python as root where accounts are made for it alone."""
    if os.geteuid() != 0 or not shutil.which("useradd") or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("accounts can't be tried without root and mount namespaces")
    for each in (folder, *list(folder.parents)[:2]):
        each.chmod(0o755)
    namespace = ("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", _WITH_OWN_ACCOUNTS, str(folder))
    return subprocess.run([*namespace, sys.executable, "-P", "-c", script, *args], capture_output=True, text=True, check=False)
