"""Commands that are killed, or run at once: the next one works, and no half state stays."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from labkit.cluster.local import SERVERS
from labkit.lab import Lab
from tests.faults import killed
from tests.faults.lab import KEYCLOAK, assert_whole, assert_works, enter_everybody, kill
from tests.support import LABKIT, belonging_to, own_state_folder, strays_of, wait_for

GONE_SECONDS = 5
COMMAND_SECONDS = 240


def remove_realm(lab: Lab) -> None:
    """With it goes what everybody's tokens are worth."""
    lab.keycloak.admin().delete_realm(lab.workshop.realm.name)
    lab.forget_people()


def remove_realm_and_cluster(lab: Lab) -> None:
    remove_realm(lab)
    lab.cluster.stop()


def stop(server: str) -> Callable[[Lab], object]:
    return lambda lab: lab.processes.stop(server)


def point(
    what: str,
    moment: str,
    function: str,
    call: int = 1,
    *,
    undo: Callable[[Lab], object],
    outcome: str = "the next `labkit up` does the rest",
) -> ParameterSet:
    """A point at which `labkit up` dies, and what is undone before, so that it comes there."""
    mark = pytest.mark.fault("Commands", f"kill -9 of `labkit up` {what}", outcome)
    return pytest.param(moment, function, call, undo, id=what.replace(" ", "-"), marks=mark)


def in_realm(what: str, request: str, call: int = 1) -> ParameterSet:
    """A point in the middle of a request to Keycloak: it has been sent, its answer is not read."""
    return point(f"while Keycloak makes {what}", "asked", f"labkit.identity.walk:Walk._send?{request}", call, undo=remove_realm)


@pytest.mark.parametrize(
    ("moment", "function", "call", "undo"),
    [
        point("before a server is on record", "before", "labkit.servers.processes.write_private", undo=stop("etcd")),
        point("while a server's record is written", "unnamed", "labkit.servers.processes.write_private", undo=stop("etcd")),
        point(
            "right after a server's launch",
            "before",
            "labkit.servers.readiness:Readiness.wait",
            2,
            undo=stop("etcd"),
            outcome="the next `labkit up` takes the server over",
        ),
        point("while Keycloak makes the realm", "asked", "keycloak:KeycloakAdmin.create_realm", undo=remove_realm),
        in_realm("a group", " post groups ", 2),
        in_realm("a user", " post users ", 2),
        in_realm("what a new user is asked for", " put users/"),
        in_realm("a client scope", " post client-scopes "),
        in_realm("a client", " post clients ", 2),
        point(
            "between realm and cluster",
            "before",
            "labkit.cluster.local:LocalCluster._starting_api_server",
            undo=remove_realm_and_cluster,
        ),
        point(
            "while it writes the kubeconfig",
            "unnamed",
            "labkit.cluster.kubeconfig.write_private",
            undo=lambda lab: lab.cluster.kubeconfig.path.unlink(),
        ),
        point(
            "while kubectl applies the RBAC objects",
            "asked",
            "labkit.cluster.kubectl:Kubectl.run",
            2,
            undo=lambda lab: lab.cluster.rbac.remove(),
        ),
    ],
)
def test_after_a_kill_at_a_named_point_the_next_up_does_the_rest(
    lab: Lab, moment: str, function: str, call: int, undo: Callable[[Lab], object]
) -> None:
    undo(lab)
    died = subprocess.run([sys.executable, "-P", killed.__file__, moment, function, str(call)], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    assert_works("up")
    assert not lab.realm.plan().pending
    enter_everybody(lab)
    assert_whole(lab)
    assert strays_of(lab.settings.folder) == []
    assert unfinished_files(lab) == []


@pytest.mark.fault(
    "Commands",
    "kill -9 of `labkit up` while Keycloak makes the realm, and at once the next command, while Keycloak is still at it",
    "it waits for that and does the rest",
)
def test_a_realm_that_is_still_being_made_is_waited_for(lab: Lab) -> None:
    remove_realm(lab)
    subprocess.run([sys.executable, "-P", killed.__file__, "asked", "keycloak:KeycloakAdmin.create_realm", "1"], check=False)
    lab.realm.apply()
    assert not lab.realm.plan().pending
    lab.portal.start()
    enter_everybody(lab)
    assert_whole(lab)


def unfinished_files(lab: Lab) -> list[Path]:
    """Files that were being written when their writer was killed."""
    home = lab.settings.folder
    return [file for folder in (home, home / "run", home / "secrets", home / "credentials", home / "tls") for file in folder.glob(".*.*")]


RANDOM_KILLS, RANDOM_SECONDS = 20, 2400
SLOW_SHARE = 0.25
"""At how many kills all servers are the victims, so that all start at once; it takes as long as Keycloak does."""


@pytest.mark.fault(
    "Commands",
    f"kill -9 of `labkit up` at {RANDOM_KILLS} random moments, each after kill -9 of random servers or of all",
    "what runs is on record; the next `labkit up` works and `labkit check` passes",
)
@pytest.mark.timeout(RANDOM_SECONDS)
def test_after_a_kill_at_a_random_moment_the_next_command_works(lab: Lab, chance: random.Random) -> None:
    for number in range(RANDOM_KILLS):
        slow = chance.random() < SLOW_SHARE
        victims = [*SERVERS, *KEYCLOAK, "portal"] if slow else chance.sample([*SERVERS, "portal"], chance.randint(1, 3))
        seconds, realm_too = chance.uniform(0, 20 if slow else 5), not slow and chance.random() < 0.3
        if realm_too:
            remove_realm(lab)
        kill(lab, victims)
        up = subprocess.Popen([*LABKIT, "up"], stdout=subprocess.DEVNULL)
        try:
            up.wait(seconds)
        except subprocess.TimeoutExpired:
            up.kill()
        ending = "killed" if up.wait() == -signal.SIGKILL else "ended"
        print(f"{number}: killed {victims}, realm removed: {realm_too}, `up` {ending} after {seconds:.2f} s")
        wait_for(lambda: strays_of(lab.settings.folder) == [], GONE_SECONDS)
        assert_works("up")
        if realm_too:
            enter_everybody(lab)
        assert_works("check")


NEW_FOLDERS, NEW_SECONDS = 3, 30


@pytest.mark.fault(
    "Commands",
    f"kill -9 of the first `labkit up` in a new state folder, at {NEW_FOLDERS} random moments",
    "what runs is on record; the next `labkit up` works",
)
def test_after_a_kill_of_the_very_first_up_the_next_one_works(tmp_path: Path, chance: random.Random) -> None:
    for number in range(NEW_FOLDERS):
        with own_state_folder(tmp_path / str(number)) as home:
            seconds = chance.uniform(0, NEW_SECONDS)
            print(f"{number}: killed after {seconds:.2f} s")
            up = subprocess.Popen([*LABKIT, "up"], stdout=subprocess.DEVNULL)
            with suppress(subprocess.TimeoutExpired):
                up.wait(seconds)
            up.kill()
            up.wait()
            wait_for(lambda home=home: strays_of(home) == [], GONE_SECONDS)  # type: ignore[misc]
            lab = Lab.open()
            try:
                assert_works("up")
                assert not lab.realm.plan().pending
                lab.access_matrix().verify()
                assert lab.status().is_up
                assert strays_of(home) == []
            finally:
                lab.down()


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(
            server,
            marks=pytest.mark.fault(
                "Commands",
                f"Ctrl-C at `labkit up` while {server} starts, and others beside it",
                "what is not ready is stopped, what runs is on record; the next `labkit up` does the rest",
            ),
        )
        for server in ("keycloak", "kube-apiserver")
    ],
)
def test_an_interrupted_up_leaves_only_what_is_ready(lab: Lab, server: str) -> None:
    lab.down()
    # A terminal sends it to labkit and to all that labkit has started in the same group.
    with subprocess.Popen([*LABKIT, "up"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0) as up:
        wait_for(lambda: lab.processes.running(server) is not None)
        os.killpg(up.pid, signal.SIGINT)
        text, _ = up.communicate(timeout=COMMAND_SECONDS)
    assert up.returncode == 130, text
    assert f"✘ starting {server}" in text
    assert "Traceback" not in text
    assert lab.processes.running(server) is None
    assert all(lab.processes.running(name) for name in lab.processes.names())
    assert strays_of(lab.settings.folder) == []
    assert_works("up")
    assert_whole(lab)


@contextmanager
def at_once(*commands: tuple[str, ...]) -> Iterator[list[subprocess.Popen[str]]]:
    """Commands that run at the same time; none outlives the block."""
    running = [subprocess.Popen([*LABKIT, *c], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for c in commands]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    """What a command printed, once it has ended well."""
    text, _ = process.communicate(timeout=COMMAND_SECONDS)
    assert process.returncode == 0, text
    return text


@pytest.mark.fault("Commands", "two `labkit up` at once", "one does the work, the other waits and finds it done")
def test_two_ups_at_once_make_one_lab(lab: Lab) -> None:
    remove_realm(lab)
    lab.down()
    with at_once(("up",), ("up",)) as ups:
        texts = [said(up) for up in ups]
    assert sorted(text.count("starting keycloak") > 0 for text in texts) == [False, True]
    leaders = {process.pid for process in belonging_to(lab.settings.folder) if os.getsid(process.pid) == process.pid}
    assert leaders == {running.pid for name in lab.processes.names() if (running := lab.processes.running(name))}
    enter_everybody(lab)
    assert_works("check")


@pytest.mark.fault("Commands", "`labkit down` while `labkit up` runs", "it waits for it and then stops everything")
def test_a_down_during_an_up_stops_all_that_was_started(lab: Lab) -> None:
    lab.cluster.stop()
    with at_once(("up",)) as (up,):
        wait_for(lambda: "etcd" in lab.processes.names())
        with at_once(("down",)) as (down,):
            said(up)
            assert "keycloak" in said(down)
    assert belonging_to(lab.settings.folder) == []


@pytest.mark.fault("Commands", "`labkit up` while `labkit down` runs", "it waits for it and then starts everything")
def test_an_up_during_a_down_brings_everything_back(lab: Lab) -> None:
    with at_once(("down",)) as (down,):
        wait_for(lambda: "kube-controller-manager" not in lab.processes.names())
        with at_once(("up",)) as (up,):
            said(down)
            said(up)
    assert_works("check")


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(
            "nothing",
            marks=pytest.mark.fault("Commands", "three `labkit credential` of one user at once", "each answers with a good token"),
        ),
        pytest.param(
            "an expired token",
            marks=pytest.mark.fault(
                "Commands", "three `labkit credential` at once that renew the same token", "each answers with a good token"
            ),
        ),
    ],
)
def test_credentials_asked_for_at_once_are_all_good(lab: Lab, kept: str) -> None:
    cache = lab.settings.folder / "credentials" / "user-dev.json"
    if kept == "nothing":
        cache.unlink(missing_ok=True)
    else:
        lab.credential("user-dev")
        cache.write_text(json.dumps({**json.loads(cache.read_text()), "expires": 0}))
    with at_once(*[("credential", "user-dev")] * 3) as three:
        answers = [json.loads(said(each)) for each in three]
    for answer in answers:
        known = lab.cluster.who(answer["status"]["token"])
        assert known is not None
        assert known.username == "user-dev@kratix.io"
    assert [file.name for file in cache.parent.iterdir() if "user-dev" in file.name] == [cache.name]
