"""Control groups, by which the kernel limits what a container's, a pod's or a seat's processes take.

There are two versions of them: https://docs.kernel.org/admin-guide/cgroup-v2.html, and cgroup-v1 beside it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""By version: the files of a group's limit and of what it has, and what of that is only kept to read files faster."""


def root(controller: str) -> Path:
    """Where the groups of a controller are; raises OSError where there are none."""
    for mount in psutil.disk_partitions(all=True):
        folder = Path(mount.mountpoint)
        if mount.fstype == "cgroup" and controller in mount.opts.split(","):
            return folder
        if mount.fstype == "cgroup2" and controller in (folder / "cgroup.controllers").read_text().split():
            return folder
    raise FileNotFoundError(errno.ENOENT, "this system has no control groups", controller)


def killed(groups: Iterable[Path]) -> int:
    """How many processes of groups the kernel has killed since these were made, as there was no memory left for them."""
    files = [folder / name for folder in groups for name in ("memory.events", "memory.oom_control")]
    counts = [re.search(r"^oom_kill (\d+)", file.read_text(), re.MULTILINE) for file in files if file.exists()]
    return sum(int(count[1]) for count in counts if count)


def memory_available() -> int:
    """Bytes of memory that this process and its children can still have: the machine's, or what a limit leaves where that is less."""
    return min((psutil.virtual_memory().available, *(left for folder in own_groups() if (left := _left(folder)) is not None)))


def own_groups() -> list[Path]:
    """This process's own group of memory, and those above it, as far as they can be seen; none where the system has none."""
    with suppress(OSError):
        top, paths = root("memory"), dict[str, str]()
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths |= dict.fromkeys(controllers.split(","), path)
        # Version 2 names no controllers.
        own = top / paths.get("memory", paths.get("", "/")).lstrip("/")
        # A container may see its own group as the root, while the kernel gives that group's path on the machine.
        return [folder for folder in (own, *own.parents) if folder.is_relative_to(top) and folder.is_dir()]
    return []


def _left(group: Path) -> int | None:
    """What a group's limit leaves, in bytes; None where it has none."""
    for limit, taken, kept in _MEMORY:
        with suppress(OSError, ValueError, KeyError):
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            return max(0, int((group / limit).read_text()) - int((group / taken).read_text()) + int(stat[kept]))
    return None
