"""TCP ports of this machine's loopback: whether one is free, who has it, and how to keep others from listening beside a server.

Clients say ``localhost``, and where that has two addresses they ask ``[::1]`` before ``127.0.0.1``. The lab's servers listen on the latter;
whoever listens on the former at the same port would be taken for them.
"""

from __future__ import annotations

import errno
import fcntl
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

LOOPBACK = "127.0.0.1"
NAMELESS = "another user's program"
"""Who has a port when the system does not say."""

_ALL = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound
_FIRST_FREE = 10
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def port_is_free(port: int) -> bool:
    """Whether a server of the lab's could have this port: nobody has it on ``127.0.0.1``, ``[::1]`` or all addresses."""
    try:
        held = hold(port)
    except OSError:
        return False
    if held:
        held.close()
    return _is_free(port)


def hold(port: int) -> socket.socket | None:
    """Bind ``[::1]:port`` without listening: nobody else can then, whoever they are, and clients go on to ``127.0.0.1`` at once.

    Returns:
        The socket, to be kept open; None on a machine without IPv6, where nobody can be asked by it.

    Raises:
        OSError: Somebody has it.
    """
    held: socket.socket | None = None
    try:
        held = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Without SO_REUSEADDR, which on both sides would let two sockets have one address.
        held.bind(("::1", port))
    except OSError as error:
        if held:
            held.close()
        if error.errno in _NO_IPV6:
            return None
        raise
    with held:
        # Not 3, which scripts on the way to a server (kc.sh) use and close.
        return socket.socket(fileno=fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE))


def is_listened_on(port: int, processes: Iterable[psutil.Process]) -> bool:
    """Whether one of these processes, which are the person's own, listens on ``127.0.0.1:port``."""
    return any(LOOPBACK in _addresses(process, port) for process in processes)


def listener(port: int, *, held: bool = False, address: str = LOOPBACK) -> str | None:
    """Who has a port that a server of the lab's needs, as ``name (pid N)`` where the system tells; None when nobody does.

    A listener at another address of this machine is in nobody's way.

    Args:
        port: The port.
        held: Whether ``[::1]:port`` is held for a server of the lab's already.
        address: Where the server is to listen.

    Raises:
        OSError: This machine has no such address.
    """
    is_loopback = address == LOOPBACK
    if port_is_free(port) if is_loopback and not held else _is_free(port, address):
        return None
    asked = {address, *_ALL, *(("::1",) if is_loopback else ())}
    import psutil

    for process in psutil.process_iter():
        if asked & _addresses(process, port):
            with suppress(psutil.Error):
                return f"{process.name()} (pid {process.pid})"
    return NAMELESS


def _is_free(port: int, address: str = LOOPBACK) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # What an earlier server's connections leave for a minute is in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise
            return False
    return True


def _addresses(process: psutil.Process, port: int) -> set[str]:
    """The addresses on which a process listens at a port. Asked one by one, as every system lets a person ask about their own processes."""
    import psutil

    try:
        sockets = process.net_connections("tcp")
    except psutil.Error:
        return set()
    listening = (each.laddr for each in sockets if each.status == psutil.CONN_LISTEN and each.laddr)
    return {address.ip.removeprefix("::ffff:") for address in listening if address.port == port}
