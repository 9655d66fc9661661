"""A TCP relay: what arrives at one address goes on to another, byte for byte, so that TLS passes through it untouched.

Keycloak can listen at one address only, which is loopback. A container reaches this machine by the gateway of its network; there this
relay listens, for callers from that network and nobody else. Run as a script, it needs nothing but Python.
"""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from contextlib import suppress

_CHUNK_BYTES = 1 << 16


async def relay(listen: tuple[str, int], target: tuple[str, int], network: str) -> None:
    """Serve until cancelled.

    Args:
        listen: Address and port to listen at.
        target: Address and port to connect to for each caller.
        network: The callers that are served, as ``172.18.0.0/16``; another one's connection is closed unread.
    """
    allowed = ipaddress.ip_network(network)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if ipaddress.ip_address(writer.get_extra_info("peername")[0]) in allowed:
                onward_reader, onward = await asyncio.open_connection(*target)
                try:
                    await asyncio.gather(_pump(reader, onward), _pump(onward_reader, writer))
                finally:
                    onward.close()
        except OSError as error:
            print(f"a connection ended: {error}", flush=True)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, *listen)
    async with server:
        await server.serve_forever()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        sink.write(chunk)
        await sink.drain()
    # The other direction may go on: TCP closes each for itself.
    with suppress(OSError):
        sink.write_eof()


def main(address: str, port: str, target: str, target_port: str, network: str) -> None:
    """Relay from ``address:port`` to ``target:target_port`` for callers from ``network``."""
    try:
        asyncio.run(relay((address, int(port)), (target, int(target_port)), network))
    except OSError as error:
        sys.exit(f"can't listen at {address}:{port}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
