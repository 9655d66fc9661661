"""A room whose seats have accounts of their own, in one of which somebody asks for all that there is: `make test-room`, as root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.config.settings import Settings, checkout
from labkit.config.state_folder import open_state_folder
from labkit.room.limits import lacking
from tests.hostile import friendly

_WITH_OWN_ACCOUNTS = """
set -e
folder=$0 mine=$1 ways=$2; shift 2
mkdir -p $folder/etc $folder/people $folder/hidden && cp -a /etc/. $folder/etc
mount --bind $folder/etc /etc && mount --bind $folder/people /home
mount --bind $mine $folder/hidden && mount -t tmpfs -o mode=755 tmpfs $mine
for way in $ways; do mkdir -p $mine/$way && mount --bind $folder/hidden/$way $mine/$way; done
exec "$@"
"""
"""Runs a program that sees accounts of its own, which may enter what they need in this process's own directory."""

_A_ROOM = """
import json, sys, threading, time
import requests
from labkit.common.http_session import request
from labkit.room import limits
from labkit.room.room import Room
room, names = Room.open(), sys.argv[1:]
try:
    room.up(names)
    for name in names:
        room.hub.start(name)
    hog, other = map(room.seat, names)
    # The seats run; from now on theirs is less, so that the rest of this machine does not notice.
    limits.MOST |= {name: 600 * 2**20 for name, most in limits.MOST.items() if "memory" in name and most} | {"pids.max": 300}
    waited = []
    def ask():
        began = time.monotonic()
        answer = request("GET", f"{room.url}/user/{other.name}/api", timeout=60, verify=str(room.ca), allow_redirects=False)
        waited.append((answer.status_code, time.monotonic() - began))
    ask()
    hogged = hog.run("/bin/sh", "-c", "head -c 1G /dev/zero | tail")
    ask()
    bombed = hog.run("/bin/sh", "-c", "for i in $(seq 1000); do (while :; do :; done) >/dev/null 2>&1 & done")
    for _ in range(10):
        ask()
    status = {server.name: server.text for server in room.status().servers}
    print(json.dumps({"waited": waited, "bombed": bombed.stderr, "hogged": hogged.stderr, "status": status}))
finally:
    room.down()
"""


@pytest.mark.fault(
    "Room",
    "in a seat, a learner's program starts processes without end, and another asks for all memory",
    "neighbours' JupyterLab answers as before; the seat's own limits end both, and `labkit room status` says so",
)
@pytest.mark.timeout(900)
def test_a_seat_that_asks_for_everything_leaves_the_others_alone(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("useradd") or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("accounts can't be tried without root and mount namespaces")
    if lack := lacking():
        pytest.skip(lack.why)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    needed = (Path(sys.base_prefix), Settings.load().cache, checkout())
    ways = " ".join(str(path.relative_to(Path.home())) for path in needed if path.is_relative_to(Path.home()))
    open_state_folder(tmp_path / "lab" / "room", environ={}, free_ports=True)
    # Control groups are the whole machine's, and so of other runs of this test too.
    names = (f"hog-{os.getpid()}", f"other-{os.getpid()}")
    script = ("/bin/sh", "-c", _WITH_OWN_ACCOUNTS, str(tmp_path), Path.home(), ways)
    namespace = ("unshare", "--mount", "--propagation", "private", *script)
    env = {**friendly(), "LABKIT_HOME": str(tmp_path / "lab"), "LABKIT_CLUSTER": "local"}
    done = subprocess.run([*namespace, sys.executable, "-P", "-c", _A_ROOM, *names], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "fork" in found["bombed"]
    assert {code for code, _ in found["waited"]} == {200}
    assert max(seconds for _, seconds in found["waited"]) < 30, found["waited"]
    assert found["status"][f"seat-{names[0]}"].startswith("runs; programs that its memory limit ended: "), found["hogged"]
    assert found["status"][f"seat-{names[1]}"] == "runs"
    assert subprocess.run(["pgrep", "--full", f"labkit-{names[0]}"], stdout=subprocess.DEVNULL, check=False).returncode == 1
