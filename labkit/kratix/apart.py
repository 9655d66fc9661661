"""Run a command beside TCP relays; with a network of its own around it, the relays are all that leads in or out.

Kratix's controller listens on every interface, on a port that can't be chosen. In a network namespace of its own "every interface" is a
loopback that nobody else is on. Two of these scripts, one outside and one inside, pass its few connections on through Unix sockets, which
a network namespace doesn't part. Run as a script, it needs nothing but Python::

    apart.py tcp:20001=unix:in unix:out=tcp:6443 -- \\
        unshare --user --map-root-user --net apart.py unix:in=tcp:9443 tcp:6443=unix:out -- controller …
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
from contextlib import suppress

_CHUNK_BYTES = 1 << 16
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
"""SIOCGIFFLAGS, SIOCSIFFLAGS and IFF_UP of netdevice(7)."""

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def main(argv: list[str]) -> int:
    """Serve the relays named before ``--`` while the command after it runs; returns the command's exit code."""
    end = argv.index("--")
    _bring_up_loopback()
    return asyncio.run(_run([relay.split("=") for relay in argv[:end]], argv[end + 1 :]))


async def _run(relays: list[list[str]], command: list[str]) -> int:
    for listen, target in relays:
        await _serve(listen, target)
    child = await asyncio.create_subprocess_exec(*command)
    return await child.wait()


async def _serve(listen: str, target: str) -> None:
    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
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
        await asyncio.start_unix_server(passed_on, place)
    else:
        await asyncio.start_server(passed_on, "127.0.0.1", int(place))


async def _connect(target: str) -> _Streams:
    kind, _, place = target.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(place)
    return await asyncio.open_connection("127.0.0.1", int(place))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        sink.write(chunk)
        await sink.drain()
    # The other direction may go on: TCP closes each for itself.
    with suppress(OSError):
        sink.write_eof()


def _bring_up_loopback() -> None:
    """A new network's loopback interface is down; everywhere else it is up already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        name, flags = struct.unpack("16sh", fcntl.ioctl(asked, _GET_FLAGS, struct.pack("16sh", b"lo", 0)))
        if not flags & _UP:
            fcntl.ioctl(asked, _SET_FLAGS, struct.pack("16sh", name, flags | _UP))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
