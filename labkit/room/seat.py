"""A seat: whose account it has, where its files are, and how a program is run as it."""

from __future__ import annotations

import os
import pwd
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.environment import EVERYBODY, listed
from ..common.errors import RoomError
from ..common.ownership import make_private
from .limits import PROCESSES, Limits
from .seats import seat_environment

NAME = re.compile(r"[a-z][a-z0-9-]{2,19}")
"""What Keycloak, a realm, a path and a Unix account all take as a name."""

RESERVED = ("master", "room", "instructor")
"""Realms that are no seat's, and whom each room has."""

_DOWN_SECONDS = 60

LABKIT = (sys.executable, "-P", "-m", "labkit")


@dataclass(frozen=True)
class Seat:
    """A person's place in a room.

    Attributes:
        name: The person's name, as Keycloak and the Hub have it.
        folder: All that is theirs: ``lab``, the state folder, and ``work``, their copy of the labs.
        account: The Unix account that it runs as; empty for this process's own.
        room: What the Hub reads of the room.
    """

    name: str
    folder: Path
    account: str
    room: Mapping[str, Any]

    @classmethod
    def of(cls, room: Mapping[str, Any], name: str) -> Seat:
        """The seat of that name in a room, of which the Hub's facts are given."""
        account = f"labkit-{name}" if room["accounts"] else ""
        folder = Path(pwd.getpwnam(account).pw_dir) if account else Path(room["seats"]) / name
        return cls(name, folder, account, room)

    def make(self, secret: str) -> None:
        """Make its folder, which nobody else may enter, with what its lab signs in to the room's Keycloak by."""
        if not self.account:
            make_private(self.folder)
        # By its own account: what it puts in its folder meanwhile, such as a link to another file, is then its own harm alone.
        for file, content in ((self._ca, Path(self.room["trusted"]).read_text()), (self._secret, secret)):
            self.run("/bin/sh", "-c", 'umask 077 && cat >"$0"', str(file), given=content)

    def environment(self) -> dict[str, str]:
        """All the variables that its processes have."""
        own = {"HOME": str(self.folder), "USER": self.account, "LOGNAME": self.account} if self.account else {}
        hub, cache = self.room["url"], Path(self.room["cache"])
        addresses = {"keycloak": f"{hub}/services/keycloak", "portal": f"{hub}/user/{self.name}/portal"}
        seat = seat_environment(self.name, self.folder, **addresses, ca=self._ca, secret=self._secret, cache=cache)
        return {**listed(EVERYBODY), **own, **seat, "LABKIT_ROOM_VIEW": f"{self.room['here']}/services/view/"}

    @property
    def _ca(self) -> Path:
        return self.folder / "room-ca.crt"

    @property
    def _secret(self) -> Path:
        return self.folder / "realm-secret"

    def enter(self) -> Callable[[], None]:
        """What a new process calls before it runs a program: it becomes the seat's account, with limits."""
        who = pwd.getpwnam(self.account) if self.account else None
        # By the last of these files the kernel, when the machine's own memory ends, takes a seat's process first and not the room's.
        files = {**dict.fromkeys(self.limits.make(), b"0"), Path("/proc/self/oom_score_adj"): b"500"} if self.limits else {}

        def become() -> None:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for file, content in files.items():
                opened = os.open(file, os.O_WRONLY)
                os.write(opened, content)
                os.close(opened)
            if who:
                if not files:
                    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
                os.initgroups(who.pw_name, who.pw_gid)
                os.setgid(who.pw_gid)
                os.setuid(who.pw_uid)
                os.chdir(who.pw_dir)

        return become

    @property
    def limits(self) -> Limits | None:
        """What it may take; None where nobody is limited."""
        return Limits(self.account) if self.account and self.room.get("limited") else None

    def run(self, *command: str, given: str = "", seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program as it, to its end, with ``given`` as its standard input; raises TimeoutExpired after so many seconds."""
        # become() calls nothing but the system.
        return subprocess.run(
            command,
            env=self.environment(),
            preexec_fn=self.enter(),
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def down(self) -> None:
        """Stop the servers of its lab, and those of a run of the labs there that failed; what they know stays."""
        for home in (self.folder / "lab", self.folder / "build" / "run-home"):
            if home.is_dir():
                # Beside what takes all that the seat may have, it would take minutes; `end` ends the servers then.
                with suppress(subprocess.TimeoutExpired):
                    self.run("/usr/bin/env", f"LABKIT_HOME={home}", *LABKIT, "down", seconds=_DOWN_SECONDS if self.limits else None)

    def end(self) -> None:
        """Kill what goes on in it for all that; without limits nothing is known of it."""
        if self.limits:
            self.limits.end()


def make_account(name: str, room: str) -> None:
    """Make the Unix account of a seat, without a password, unless this room made it already.

    Args:
        name: The seat's name.
        room: The room's id.

    Raises:
        RoomError: There is an account of that name that somebody else made; it can't be made; it can't run labkit.
    """
    account = f"labkit-{name}"
    if account not in {each.pw_name for each in pwd.getpwall()}:
        command = ("useradd", "--create-home", "--user-group", "--shell", "/bin/bash", "--comment", room, account)
        made = subprocess.run(command, env=listed(EVERYBODY), capture_output=True, text=True, check=False)
        if made.returncode:
            raise RoomError("account-not-made", account=account, reason=made.stderr.strip())
    found = pwd.getpwnam(account)
    if found.pw_gecos != room or found.pw_uid == 0:
        raise RoomError("account-of-another", account=account)
    Path(found.pw_dir).chmod(0o700)


def require_running(seat: Seat) -> None:
    """Insist that a seat's account can run this Python, this labkit and the programs.

    Raises:
        RoomError: It can't, as they lie where only their owner may look.
    """
    for command in ((*LABKIT, "--version"), ("/bin/ls", str(Path(seat.room["cache"]) / "programs"))):
        try:
            tried = seat.run(*command)
        except OSError as error:
            tried = subprocess.CompletedProcess((), 1, "", str(error))
        if tried.returncode:
            reason = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise RoomError("room-hidden", account=seat.account, python=sys.executable, reason=reason)
