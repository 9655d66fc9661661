"""What this machine has, looked at before anything is built or started."""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ..common.control_groups import memory_available
from ..common.display import Table, Tabular

_GB = 1e9
FULL_GB = 0.05
"""Less than this, of disk or memory, counts as none."""
DISK_GB = 1.0
"""Free disk that running the labs wants; building programs asks for more, and looks itself."""

_FIRST_PERSON, _LAST_PERSON = 501 if platform.system() == "Darwin" else 1000, 60000
"""The numbers that systems give to people's accounts; below are services, above those of containers, and of a directory's people."""

_NO_MEMORY = re.compile("out of memory|insufficient memory|cannot allocate memory|could not (reserve|allocate)", re.IGNORECASE)
_NOBODY = 65534
_NO_LOGIN = ("nologin", "false", "sync")

MEMORY_GB, MEMORY_WITHOUT_KEYCLOAK_GB = 2.5, 1.0
"""What Keycloak, the control plane, the portal and a notebook take together, with room to breathe; a seat of a room has no Keycloak."""


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
    """Look at this machine, and at the disks of these folders, which need not exist yet."""
    existing = (next(place for place in (folder, *folder.parents) if place.exists()) for folder in folders)
    free = min(shutil.disk_usage(folder).free for folder in existing)
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        memory_gb=memory_available() / _GB,
        disk_gb=free / _GB,
    )


def other_people() -> list[str]:
    """The names, sorted, of people whose processes run on this machine besides one's own, as far as the system shows them."""
    uids = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            uids.add(process.uids().real)
    return sorted(name for uid in uids - {os.getuid()} if (name := _person(uid)))


def _person(uid: int) -> str:
    """A person's name: of an account whose number is none of a service's and whose shell lets one log in; nothing for anybody else."""
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        return f"uid {uid}" if _FIRST_PERSON <= uid <= _LAST_PERSON else ""
    logs_in = Path(account.pw_shell or "/bin/sh").name not in _NO_LOGIN
    return account.pw_name if uid >= _FIRST_PERSON and uid != _NOBODY and logs_in else ""


def shortage(folder: Path, said: str) -> tuple[str, dict[str, object]] | None:
    """Why a server failed, by its id in the catalogue, with what was seen; None when it lacked neither memory nor room in its folder."""
    if _NO_MEMORY.search(said):
        return "server-memory-refused", {}
    found = look(folder)
    if found.disk_gb < FULL_GB:
        return "server-disk-full", {"folder": folder}
    if found.memory_gb < FULL_GB:
        return "server-memory-short", {"megabytes": f"{found.memory_gb * 1000:.0f}"}
    return None
