"""Whose a folder is: what lies in the state folder, the cache and a checkout is read and run as the person, so nobody else may change it.

Git asks the same of a repository (git-config(1), ``safe.directory``), and OpenSSH of ``~/.ssh`` (sshd_config(5), ``StrictModes``).
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import SettingsError

CODE = Path(__file__).resolve().parents[2]
"""The folder that holds this package: whoever may change it, or a folder above it, decides already what this process does."""

_PRIVATE = 0o077
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_before, _changing = list[int](), threading.Lock()


@contextmanager
def privately() -> Iterator[int]:
    """Have whatever is made meanwhile, by this process and its children, be the person's alone; gives the umask that they had set.

    That is the process's, so the last thread to leave puts it back.
    """
    with _changing:
        _before.append(os.umask(_PRIVATE))
    try:
        yield _before[0]
    finally:
        with _changing:
            first = _before[0]
            _before.pop()
            if not _before:
                os.umask(first)


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, with mode 0700 whatever the umask.

    Raises:
        OSError: It can't be made.
    """
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def require_own(folder: Path, holds: str, instead: str, *, to_read: bool = False) -> None:
    """Insist that a folder is the person's own, that nobody else may write to it, and that nobody else may put another in its place.

    Root's own is good for others to read alone: what came there by a command that was run as root, only root can write to.
    A group that is the person's alone may write, as on systems with a umask of 002. Of what lies above, no look is taken at what
    decides already what the person does: the folder of this code, the person's home directory, and what these lie in.

    Args:
        holds: What lies in it, for the error.
        instead: The command that takes another folder.
        to_read: Whether nothing will be written there, as to programs that root made for all.

    Raises:
        SettingsError: It is not.
    """
    for name, evidence in _dangers(folder.resolve(), instead, {0} if to_read else set()):
        raise SettingsError(name, holds=holds, **evidence)


def _dangers(folder: Path, instead: str, also: set[int]) -> Iterator[tuple[str, dict[str, object]]]:
    """What is wrong, by its id in the catalogue, and what was seen of it."""
    found, me = folder.stat(), os.geteuid()
    seen = {"folder": folder, "quoted": shlex.quote(str(folder)), "owner": _user(found.st_uid), "instead": instead}
    if found.st_uid not in {me, *also}:
        yield "folder-of-another", {**seen, "me": _user(me), "uid": me}
    if _others_write(found):
        yield "folder-others-write", seen
    for parent in folder.parents:
        if any(place.is_relative_to(parent) for place in (CODE, _home_directory())):
            return
        above = parent.stat()
        if not _is_trusted_above(above.st_uid):
            yield "folder-in-anothers", {**seen, "parent": parent, "owner": _user(above.st_uid)}
        # Where the sticky bit is set, as in /tmp, only an entry's owner may rename it.
        if _others_write(above) and not above.st_mode & stat.S_ISVTX:
            mend = f"chmod go-w {shlex.quote(str(parent))}" if above.st_uid == me else instead
            yield "folder-replaceable", {**seen, "parent": parent, "instead": mend}


def _home_directory() -> Path:
    """Where the person's shell and tools read their settings; this code's folder when the system knows of none."""
    try:
        return Path.home().resolve()
    except RuntimeError:
        return CODE


def _others_write(found: os.stat_result) -> bool:
    writable = found.st_mode & _OTHERS_WRITE
    return bool(writable) and not (writable == stat.S_IWGRP and _is_ones_own(found.st_gid))


def _is_ones_own(gid: int) -> bool:
    """Whether a group is the person's alone: the one that ``useradd`` makes along with them, with nobody added to it since."""
    try:
        person, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return person.pw_gid == gid and person.pw_name == group.gr_name and set(group.gr_mem) <= {person.pw_name}


def _is_trusted_above(uid: int) -> bool:
    """Root and the person; in a user namespace also who is nobody in it, as the machine's root is there (user_namespaces(7))."""
    trusted = {0, os.geteuid()}
    with suppress(OSError):
        if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
            trusted.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    return uid in trusted


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
