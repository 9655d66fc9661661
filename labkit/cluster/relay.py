"""Relays: what arrives at one address goes on to another, byte for byte, so that TLS passes through untouched.

Keycloak can listen at one address only, which is loopback. A container reaches this machine by the gateway of its network. There a relay
listens, for callers from that network and nobody else.

Kratix's controller listens on every interface, on a port that can't be chosen. In a network namespace of its own "every interface" is a
loopback that nobody else is on. Relays outside and inside pass its few connections on through Unix sockets, which a network namespace
doesn't part.

Run as a script, it needs nothing but Python. An address is ``tcp:HOST:PORT`` or ``unix:PATH``; a third part names the network of the
callers that are served. With a command after ``--`` the relays end with it::

    relay.py tcp:172.18.0.1:8443=tcp:127.0.0.1:8443=172.18.0.0/16
    relay.py tcp:127.0.0.1:20001=unix:in unix:out=tcp:127.0.0.1:6443 -- \\
        unshare --user --map-root-user --net relay.py unix:in=tcp:127.0.0.1:9443 tcp:127.0.0.1:6443=unix:out -- controller …
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import socket
import struct
import sys
from contextlib import suppress

SCRIPT = (sys.executable, "-I", "-S", __file__)
"""How to run it; the relays follow."""

_CHUNK_BYTES = 1 << 16
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
"""SIOCGIFFLAGS, SIOCSIFFLAGS and IFF_UP of netdevice(7)."""


def main(argv: list[str]) -> int:
    """Serve the relays named before ``--`` while the command after it runs, or for ever; returns the command's exit code."""
    end = argv.index("--") if "--" in argv else len(argv)
    try:
        return asyncio.run(_run([each.split("=") for each in argv[:end]], argv[end + 1 :]))
    except OSError as error:
        sys.exit(str(error))


async def _run(relays: list[list[str]], command: list[str]) -> int:
    if command:
        _bring_up_loopback()
    servers = [await relay(*each) for each in relays]
    if command:
        return await (await asyncio.create_subprocess_exec(*command)).wait()
    await asyncio.gather(*(server.serve_forever() for server in servers))
    return 0


async def relay(listen: str, target: str, callers: str = "") -> asyncio.Server:
    """Listen at an address, and connect each caller to another one; with ``callers`` only those of that network, such as ``172.18.0.0/16``.

    Another caller's connection is closed unread.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not callers or ipaddress.ip_address(writer.get_extra_info("peername")[0]) in ipaddress.ip_network(callers):
                onward_reader, onward = await _connect(target)
                try:
                    await asyncio.gather(_pump(reader, onward), _pump(onward_reader, writer))
                finally:
                    onward.close()
        except OSError as error:
            print(f"a connection to {target} ended: {error}", flush=True)
        finally:
            writer.close()

    kind, _, place = listen.partition(":")
    if kind == "unix":
        return await asyncio.start_unix_server(serve, place)
    host, _, port = place.rpartition(":")
    return await asyncio.start_server(serve, host, int(port))


async def _connect(target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, place = target.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(place)
    host, _, port = place.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        sink.write(chunk)
        await sink.drain()
    # The other direction may go on: TCP closes each for itself.
    with suppress(OSError):
        sink.write_eof()


def _bring_up_loopback() -> None:
    """Bring up the loopback interface, which is down in a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        name, flags = struct.unpack("16sh", fcntl.ioctl(asked, _GET_FLAGS, struct.pack("16sh", b"lo", 0)))
        if not flags & _UP:
            fcntl.ioctl(asked, _SET_FLAGS, struct.pack("16sh", name, flags | _UP))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
