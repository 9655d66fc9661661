"""What this machine has, looked at before anything is built or started."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ..common.display import Table, Tabular

_GB = 1e9
FULL_GB = 0.05
"""Less than this, of disk or memory, counts as none."""
DISK_GB = 1.0
"""Free disk that running the labs wants; building programs asks for more, and looks itself."""

_FIRST_PERSON, _LAST_PERSON = 501 if platform.system() == "Darwin" else 1000, 60000
"""The numbers that systems give to people's accounts; below are services, above those of containers, and of a directory's people."""

_NOBODY = 65534
_NO_LOGIN = ("nologin", "false", "sync")

MEMORY_GB = 2.5
"""What Keycloak, the control plane, the portal and a notebook take together, with room to breathe."""


@dataclass(frozen=True)
class Machine(Tabular):
    """This machine's resources.

    Attributes:
        system: Operating system and architecture.
        cores: Processors that may be used.
        memory_gb: Memory that programs can still have, in GB (10⁹ bytes).
        disk_gb: Free disk where programs and lab state go, the smaller of the two, in GB.
    """

    system: str
    cores: int
    memory_gb: float
    disk_gb: float

    def table(self) -> Table:
        """A row per resource."""
        rows = (
            ("system", self.system),
            ("Python", platform.python_version()),
            ("cores", str(self.cores)),
            ("memory available", f"{self.memory_gb:.1f} GB"),
            ("disk free", f"{self.disk_gb:.0f} GB"),
        )
        return Table(("", "this machine"), rows)


def look(*folders: Path) -> Machine:
    """Look at this machine.

    Args:
        folders: Where the labs will write; they need not exist yet.
    """
    free = min(shutil.disk_usage(_existing(folder)).free for folder in folders)
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        memory_gb=psutil.virtual_memory().available / _GB,
        disk_gb=free / _GB,
    )


def other_people() -> list[str]:
    """Whose processes run on this machine besides one's own and the system's; those that the system does not show are not among them.

    Somebody is a person by their account: its number is none of a service's, and its shell lets one log in. A number without an account
    counts as a person's if it is in the range from which people get theirs.

    Returns:
        Their names, sorted; for a number without an account ``uid NUMBER``.
    """
    uids = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            uids.add(process.uids().real)
    return sorted(name for uid in uids - {os.getuid()} if (name := _person(uid)))


def _person(uid: int) -> str:
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        return f"uid {uid}" if _FIRST_PERSON <= uid <= _LAST_PERSON else ""
    logs_in = Path(account.pw_shell or "/bin/sh").name not in _NO_LOGIN
    return account.pw_name if uid >= _FIRST_PERSON and uid != _NOBODY and logs_in else ""


def shortage(folder: Path) -> tuple[str, str] | None:
    """What this machine has run out of, and what to do; servers then fail in ways that name something else. None when it is neither.

    Args:
        folder: Where they write.
    """
    found = look(folder)
    if found.disk_gb < FULL_GB:
        return f"the disk that holds {folder} is full", "make room on it, or set LABKIT_HOME to a folder on another disk"
    if found.memory_gb < FULL_GB:
        return f"this machine has no memory left ({found.memory_gb * 1000:.0f} MB)", "close other programs"
    return None


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
