"""What this machine has, looked at before anything is built or started."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from .display import Table, Tabular

_GB = 1e9
DISK_GB = 1.0
"""Free disk that running the labs wants; building programs asks for more, and looks itself."""

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


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
