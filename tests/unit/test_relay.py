"""The relay between a container's network and a server on loopback."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from labkit.cluster.relay import SCRIPT, relay

HERE = "127.0.0.1"


@pytest.fixture
def port() -> int:
    return free()


async def said_through(port: int, network: str, sent: bytes, target: int | None = None) -> bytes:
    """What comes back by way of a relay from a server that answers a whole request with its length and itself."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = await reader.read()
        writer.write(b"%d " % len(whole) + whole)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, HERE, 0)
    relaying = await relay(f"tcp:{HERE}:{port}", f"tcp:{HERE}:{target or server.sockets[0].getsockname()[1]}", network)
    try:
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(sent)
        with suppress(OSError):
            writer.write_eof()
        with suppress(ConnectionError):
            return await asyncio.wait_for(reader.read(), timeout=10)
        return b""
    finally:
        relaying.close()
        server.close()


def test_what_is_sent_arrives_whole_in_both_directions_though_one_ends_first(port: int) -> None:
    sent = bytes(range(256)) * 4096
    assert asyncio.run(said_through(port, "127.0.0.0/8", sent)) == b"%d " % len(sent) + sent


@pytest.mark.fault("Exposure", "a caller of the relay from another network than KinD's", "its connection is closed unread")
def test_a_caller_from_another_network_gets_nothing(port: int) -> None:
    assert asyncio.run(said_through(port, "172.18.0.0/16", b"hello")) == b""


def test_a_server_that_does_not_listen_ends_the_connection_and_not_the_relay(port: int) -> None:
    assert asyncio.run(said_through(port, "127.0.0.0/8", b"hello", free())) == b""


def test_relays_through_a_unix_socket_end_with_their_command(port: int, tmp_path: Path) -> None:
    with socket.create_server((HERE, 0)) as server:
        target = server.getsockname()[1]
        relays = (f"tcp:{HERE}:{port}=unix:{tmp_path}/in", f"unix:{tmp_path}/in=tcp:{HERE}:{target}")
        asks = f"import socket; print(socket.create_connection(('{HERE}', {port})).recv(9).decode())"
        with subprocess.Popen([*SCRIPT, *relays, "--", sys.executable, "-c", asks], stdout=subprocess.PIPE, text=True) as run:
            caller, _ = server.accept()
            with caller:
                caller.sendall(b"hello")
            assert run.communicate(timeout=10)[0] == "hello\n"
    assert run.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HERE, port))


def test_a_relay_that_cannot_listen_says_where(port: int) -> None:
    with socket.create_server((HERE, port)):
        run = subprocess.run([*SCRIPT, f"tcp:{HERE}:{port}=unix:out"], capture_output=True, text=True, timeout=10, check=False)
    assert run.returncode == 1
    assert f"('{HERE}', {port}): address already in use" in run.stderr
    assert "Traceback" not in run.stderr


def free() -> int:
    """A port on which nobody listens."""
    with socket.create_server((HERE, 0)) as taken:
        return int(taken.getsockname()[1])
