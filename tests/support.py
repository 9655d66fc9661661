"""What the tests on real servers share: a state folder, its processes, and labkit in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from labkit.config.state_folder import open_state_folder
from labkit.course.steps import LABS
from labkit.lab import Lab
from labkit.servers._launch import session_members

LABKIT = (sys.executable, "-P", "-m", "labkit")
PATIENCE_SECONDS = 60

JWT = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")

DOCKER_INFO = json.dumps(
    {
        "ServerVersion": "28.2.2",
        "OperatingSystem": "Linux",
        "Name": "host",
        "CgroupVersion": "2",
        "MemoryLimit": True,
        "SecurityOptions": [],
        "DockerRootDir": "/nowhere",
    }
)
DOCKER_LINES = f"""--version) echo Docker version 28.2.2;;
info) echo '{DOCKER_INFO}';;
context) echo unix:///var/run/docker.sock;;"""
"""What a script says that stands in for a Docker of which nothing but that it answers is asked: the cases of its first argument."""

OTHER_WORKSHOP = Path(__file__).with_name("other_workshop")
"""A workshop that differs from labkit's own in everything that may differ."""

QUICK_LABS = [info.name for info in LABS if info.name != "07-break-and-fix"]
"""The labs that `make test` runs, in their order; tests/faults/test_lab_07.py runs the one that takes minutes."""


@contextmanager
def own_state_folder(home: Path) -> Iterator[Path]:
    """A new state folder on free ports, named to this process and its children by LABKIT_HOME."""
    open_state_folder(home, environ={}, free_ports=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(home))
        for variable in ("LABKIT_CLUSTER", "LABKIT_OIDC", "LABKIT_SECRETS"):
            patch.delenv(variable, raising=False)
        # A Keycloak that the person who runs the tests has is none of the tests' business.
        patch.setenv("LABKIT_KEYCLOAK", "local")
        yield home


def labkit(*args: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``labkit ARGS`` to its end."""
    return subprocess.run([*LABKIT, *args], capture_output=True, text=True, env={**os.environ, **env}, cwd=cwd, timeout=240, check=False)


_NEIGHBOUR = """
import os, socket, sys
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for port in sys.argv[1:]:
    for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
        with socket.socket(socket.AF_INET6) as rogue:
            for option in options:
                rogue.setsockopt(socket.SOL_SOCKET, option, 1)
            try:
                rogue.bind(("::1", int(port)))
                rogue.listen()
                print(port)
            except OSError:
                pass
"""


def neighbour_takes(ports: Iterable[int]) -> set[int]:
    """At which of these ports another program, another user's where that can be had, can listen on ``[::1]``.

    Which user it is makes no difference to a port that is held; where there is no IPv6, nobody can.
    """
    command = [sys.executable, "-I", "-c", _NEIGHBOUR, *map(str, ports)]
    return set(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))


def session_of(home: Path, server: str) -> list[psutil.Process]:
    """Every process in the session of a server that is on record."""
    return session_members(json.loads((home / "run" / f"{server}.json").read_text()))


def on_record(home: Path) -> list[psutil.Process]:
    """Every process in the session of any server on record."""
    found = []
    for record in (home / "run").glob("*.json"):
        # Somebody may be stopping it just now.
        with suppress(FileNotFoundError):
            found += session_of(home, record.stem)
    return found


def belonging_to(home: Path, program: str = "") -> list[psutil.Process]:
    """Every process on this machine, but for this one, that works in the state folder, or names it in its command line or LABKIT_HOME.

    With ``program``, only those that have it in their command line.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            named = str(home) in line or process.environ().get("LABKIT_HOME") == str(home) or Path(process.cwd()).is_relative_to(home)
            if named and program in line and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def strays_of(home: Path) -> list[psutil.Process]:
    """What belongs to a state folder and is on no record."""
    recorded = on_record(home)
    return [process for process in belonging_to(home) if process not in recorded]


def secrets_in(text: str, made: Mapping[str, str]) -> list[str]:
    """What a text gives away: tokens, keys, and those of the named secrets."""
    found = [kind for kind, pattern in (("JWT", JWT), ("private key", PRIVATE_KEY)) if pattern.search(text)]
    return found + [name for name, secret in made.items() if secret in text]


def made_by(lab: Lab) -> dict[str, str]:
    """The secrets that a lab made for itself, and wrote down."""
    folder = lab.settings.folder / "secrets"
    portal = json.loads((folder / "portal.json").read_text())
    return {"admin password": (folder / "keycloak-admin").read_text(), **portal}


def given_away(files: Iterable[Path], made: Mapping[str, str]) -> dict[str, list[str]]:
    """Each of the files that gives something away, with what."""
    return {str(file): found for file in files if (found := secrets_in(file.read_text(errors="replace"), made))}


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Ask until it holds; fails when it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.05)
