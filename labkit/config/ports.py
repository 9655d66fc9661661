"""TCP ports of this machine's loopback: whether one is free, who has it, and how to keep others from listening beside a server.

Clients say ``localhost``, and where that has two addresses they ask ``[::1]`` before ``127.0.0.1``. The lab's servers listen on the latter;
whoever listens on the former at the same port would be taken for them.
"""

from __future__ import annotations

import errno
import fcntl
import shlex
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import PortInUse
from ..common.problems import Problem, problem

if TYPE_CHECKING:
    import psutil

LOOPBACK = "127.0.0.1"
NAMELESS = "another user's program"
"""Who has a port when the system does not say."""

STRANGERS = ("port-taken", "port-of-another-lab")
"""The problems that say who else listens where a server of the lab's should."""

_FIRST_FREE = 10
_RELEASE_SECONDS, _POLL_SECONDS = 5, 0.1
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def port_is_free(port: int) -> bool:
    """Whether a server of the lab's could have this port: nobody has it on ``127.0.0.1``, ``[::1]`` or all addresses."""
    try:
        with hold(port) or nullcontext():
            return _is_free(port)
    except OSError:
        return False


def hold(port: int) -> socket.socket | None:
    """Bind ``[::1]:port`` without listening: nobody else can then, whoever they are, and clients go on to ``127.0.0.1`` at once.

    Returns:
        The socket, to be kept open; None on a machine without IPv6, where nobody can be asked by it.

    Raises:
        OSError: Somebody has it.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as held:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Without SO_REUSEADDR, which on both sides would let two sockets have one address.
            held.bind(("::1", port))
            # Not 3, which scripts on the way to a server (kc.sh) use and close.
            return socket.socket(fileno=fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE))
    except OSError as error:
        if error.errno in _NO_IPV6:
            return None
        raise


def is_listened_on(port: int, processes: Iterable[psutil.Process]) -> bool:
    """Whether one of these processes, which are the person's own, listens on ``127.0.0.1:port``."""
    return any(LOOPBACK in _addresses(process, port) for process in processes)


def listener(port: int, *, held: bool = False, address: str = LOOPBACK) -> str | None:
    """Who has a port, as ``name (pid N)`` where the system tells; None when nobody does.

    Args:
        port: The port.
        held: Whether ``[::1]:port`` is held for a server of the lab's already.
        address: Where that server is to listen; a listener at another address of this machine does not matter.

    Raises:
        OSError: This machine has no such address.
    """
    is_loopback = address == LOOPBACK
    if port_is_free(port) if is_loopback and not held else _is_free(port, address):
        return None
    import psutil

    with suppress(psutil.Error):
        if process := _listening(port, {address, *({"::1"} if is_loopback else ())}):
            return f"{process.name()} (pid {process.pid})"
    return NAMELESS


def lab_at(port: int, facts: str) -> Path | None:
    """The state folder of the lab of which a server listens on a port of this machine's loopback.

    Args:
        port: The port.
        facts: The name of the file that makes a folder a state folder; a server's working folder is one, or lies in one.
    """
    import psutil

    with suppress(psutil.Error):
        if process := _listening(port, {LOOPBACK, "::1"}):
            place = Path(process.cwd())
            return next((folder for folder in (place, *place.parents) if (folder / facts).exists()), None)
    return None


class ServerPorts:
    """The ports that a server is to have for itself.

    Args:
        server: Its name.
        numbers: The ports by the names that their variables have.
        facts: The file of its state folder by which one knows it.
    """

    def __init__(self, server: str, numbers: Mapping[str, int], facts: Path) -> None:
        self._server, self._numbers, self._facts = server, numbers, facts

    def refuse_taken(self, *, patient: bool) -> None:
        """Insist that nobody has them.

        Args:
            patient: Whether a server of ours ended a moment ago. The system may still be closing its sockets, so wait for that.

        Raises:
            PortInUse: Somebody has one.
        """
        deadline = time.monotonic() + _RELEASE_SECONDS
        for name, port in self._numbers.items():
            while (holder := listener(port)) and (patient or holder == NAMELESS) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            self._refuse(name, holder)

    def in_use(self) -> Problem | None:
        """Who has one of them while the server does not run; None when nobody has. What answers there is not the server's to vouch for."""
        held = ((name, holder) for name, port in self._numbers.items() if (holder := listener(port)))
        return next((self._held_by(*each) for each in held), None)

    def hold(self) -> Iterator[socket.socket]:
        """Hold each against others; see `hold`. Raises `PortInUse` when somebody has one."""
        for name, port in self._numbers.items():
            try:
                held = hold(port)
            except OSError:
                self._refuse(name, NAMELESS)
            else:
                if held:
                    yield held

    def are_listened_on_by(self, processes: Callable[[], Iterable[psutil.Process]]) -> bool:
        """Whether these processes, which are the person's own, listen on all of them by now.

        Raises:
            PortInUse: It is somebody else who was quicker, and maybe answers as the server would.
        """
        for name, port in self._numbers.items():
            if not is_listened_on(port, processes()):
                holder = listener(port, held=True)
                # They may have begun meanwhile.
                if not is_listened_on(port, processes()):
                    self._refuse(name, holder)
                    return False
        return True

    def _refuse(self, name: str, holder: str | None) -> None:
        if holder:
            raise PortInUse(self._held_by(name, holder))

    def _held_by(self, name: str, holder: str) -> Problem:
        evidence: dict[str, object] = {"port": self._numbers[name], "server": self._server, "holder": holder}
        evidence["variable"] = f"LABKIT_{name.upper()}_PORT"
        lab = lab_at(self._numbers[name], self._facts.name)
        if lab and lab != self._facts.parent:
            return problem("port-of-another-lab", folder=lab, quoted=shlex.quote(str(lab)), **evidence)
        return problem("port-taken", **evidence)


def _is_free(port: int, address: str = LOOPBACK) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # An earlier server's connections stay for a minute (TIME_WAIT) and hinder no new listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise
            return False
    return True


def _listening(port: int, addresses: set[str]) -> psutil.Process | None:
    """The process that listens at one of these addresses or at all, as far as the system shows it."""
    import psutil

    asked = {*addresses, "0.0.0.0", "::"}  # noqa: S104 - compared with, not bound
    return next((process for process in psutil.process_iter() if asked & _addresses(process, port)), None)


def _addresses(process: psutil.Process, port: int) -> set[str]:
    """The addresses on which a process listens at a port. Asked one by one, as every system lets a person ask about their own processes."""
    import psutil

    with suppress(psutil.Error):
        listening = [each.laddr for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN and each.laddr]
        return {address.ip.removeprefix("::ffff:") for address in listening if address.port == port}
    return set()
