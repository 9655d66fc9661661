"""What the state of a lab's servers comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.servers.status import LabStatus, ServerStatus, State


@pytest.mark.parametrize(
    ("state", "up"),
    [
        *((state, True) for state in (State.RUNS, State.HOSTED, State.NOT_OURS)),
        *((state, False) for state in (State.STOPPED, State.SILENT, State.UNKNOWN)),
    ],
)
def test_a_lab_is_up_when_each_server_is(state: State, up: bool) -> None:
    """A server of somebody else's that answers counts as well; one that nobody can tell of does not."""
    assert LabStatus(Path("/h"), (ServerStatus("etcd", State.RUNS), ServerStatus("other", state))).is_up is up


def test_an_unknown_state_shows_its_reason() -> None:
    """Words never decide: a reason that reads like a state is none."""
    server = ServerStatus("kind-platform", State.UNKNOWN, reason="runs")
    assert (server.text, server.runs, server.is_up) == ("runs", False, False)


def test_scripts_get_text() -> None:
    """Each cell is text, and empty where there is nothing."""
    record = {"server": "etcd", "state": "runs", "pid": "7", "address": "https://localhost:1", "log": "/l"}
    running = ServerStatus("etcd", State.RUNS, "https://localhost:1", 7, Path("/l"))
    stopped = ServerStatus("portal", State.STOPPED)
    nothing = {"server": "portal", "state": "stopped", "pid": "", "address": "", "log": ""}
    assert LabStatus(Path("/h"), (running, stopped)).table().records() == [record, nothing]
