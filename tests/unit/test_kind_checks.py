"""What is said of KinD where it is not in use: whether it can be had, and that it is one word away. A script stands in for Docker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.cli.verbs import main
from labkit.cluster.cluster import Cluster
from labkit.cluster.kind import checks as kind_checks
from labkit.cluster.kind.checks import docker_answers, look
from labkit.cluster.kind.files import AUTHENTICATION
from labkit.config.settings import Settings
from labkit.lab import Lab
from tests.support import DOCKER_LINES

ANSWERS = f"case $1 in\n{DOCKER_LINES}\nesac"
ISSUER = "https://localhost:8443/realms/myrealm"
NO_DAEMON = 'case $1 in --version) echo "Docker version 28.2.2";; *) echo "Cannot connect to the Docker daemon" >&2; exit 1;; esac'
SILENT = 'case $1 in --version) echo "Docker version 28.2.2";; *) exec /bin/sleep 60;; esac'
OFFER = "KinD is one word away"

Docker = Callable[[str], None]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Puts a ``docker`` that runs this shell line alone on PATH."""

    def put(line: str) -> None:
        command = tmp_path / "bin" / "docker"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n{line}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(command.parent))

    return put


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder in which nothing was ever started, by variable, without a cluster named."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LABKIT_CLUSTER", raising=False)
    return tmp_path / "home"


def test_where_docker_answers_it_is_said_how_to_go_on_with_kind(home: Path, docker: Docker) -> None:
    docker(ANSWERS)
    seen = look(Settings.open(), ISSUER, None)
    assert seen.ok
    assert "labkit down, then LABKIT_CLUSTER=kind labkit up" in str(seen)
    assert not (home / "kind").exists()


@pytest.mark.fault("Servers", "somebody would like KinD, and the machine lacks something for it", "lab 02 names it, with the fix")
def test_where_it_does_not_answer_what_is_missing_is_named_with_the_fix(home: Path, docker: Docker) -> None:
    docker(NO_DAEMON)
    (missing,) = look(Settings.open(), ISSUER, None).findings
    assert not missing.ok
    assert "Docker does not run" in missing.text
    assert "start Docker" in missing.fix


@pytest.mark.fault(
    "Commands", "labkit up where Docker is silent", "the cluster is local; two seconds are waited, and nothing is said of KinD"
)
def test_a_silent_docker_is_not_waited_for(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kind_checks._OFFER_SECONDS == 2
    monkeypatch.setattr(kind_checks, "_OFFER_SECONDS", 0.5)
    docker(SILENT)
    assert not docker_answers()


@pytest.mark.parametrize(
    ("line", "variables", "there", "offered"),
    [
        (ANSWERS, {}, "", True),
        (ANSWERS, {}, "etcd", False),
        (ANSWERS, {"LABKIT_CLUSTER": "kind"}, "", False),
        (NO_DAEMON, {}, "", False),
    ],
    ids=["a new local cluster", "one that was there", "KinD", "no Docker"],
)
def test_up_offers_kind_beside_a_new_local_cluster_where_docker_answers(
    home: Path,
    docker: Docker,
    line: str,
    variables: dict[str, str],
    there: str,
    offered: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    docker(line)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (home / there).mkdir(mode=0o700, parents=True)
    monkeypatch.setattr(Lab, "up", lambda lab: (lab.settings.folder / "etcd").mkdir(exist_ok=True))
    monkeypatch.setattr(Cluster, "enter_everybody", lambda _: None)
    assert main(["up"]) == 0
    assert (OFFER in capsys.readouterr().out) == offered


def test_the_files_of_a_kind_cluster_are_compared_with_an_api_server_that_runs(home: Path) -> None:
    files = Lab.open().kind_files()
    running = ("--secure-port=6443", "--authentication-config=/here/authentication.yaml", "--v")
    assert files.beside(running).rows == (("--authentication-config", "/here/authentication.yaml", str(AUTHENTICATION)),)
    assert files.beside(()).rows == (("--authentication-config", "—", str(AUTHENTICATION)),)
    assert "hostnames" in files.patch
    assert str(AUTHENTICATION) in files.config
