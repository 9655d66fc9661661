"""What Docker and kind refuse, told with the fix. A script says here what they say: no machine has all these faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from labkit.cluster.kind.checks import not_created, unreached
from labkit.cluster.kind.docker import Daemon, Docker, run_kind
from labkit.cluster.kind.node_image import NodeImage
from labkit.common.errors import ClusterError, PortInUse
from labkit.toolchain import PROGRAMS, Toolchain

NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NO_PERMISSION = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
ISSUER = "https://localhost:8443/realms/myrealm"


def script(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *lines: str) -> None:
    """Put a program of that name alone on PATH."""
    (folder / name).write_text("\n".join(("#!/bin/sh", *lines)))
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.fault(
    "Programs", "no docker command, no daemon, no permission on its socket, or Podman by its name", "each has its own message and fix"
)
@pytest.mark.parametrize(
    ("lines", "what", "fix"),
    [
        (
            [f"""case $1 in --version) echo Docker version 20.10.24;; *) echo '{{"ID":"","ServerErrors":["{NO_DAEMON}"]}}';; esac"""],
            "Docker does not run",
            "systemctl start docker",
        ),
        (
            ['case $1 in --version) echo "Docker version 28.2.2";; *)', 'echo "{}"', f'echo "{NO_DAEMON}" >&2; exit 1;; esac'],
            "Docker does not run",
            "systemctl start docker",
        ),
        (
            [f'case $1 in --version) echo "Docker version 28.2.2";; *) echo "{NO_PERMISSION}" >&2; exit 1;; esac'],
            "may not talk to Docker",
            "usermod -aG docker",
        ),
        (['echo "podman version 5.6.2"'], "is not Docker here but says: podman", "LABKIT_CLUSTER=local"),
    ],
    ids=["no daemon, old", "no daemon", "no permission", "podman"],
)
def test_a_docker_that_cannot_be_used_is_named_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], what: str, fix: str
) -> None:
    script(tmp_path, monkeypatch, "docker", *lines)
    with pytest.raises(ClusterError, match=what) as caught:
        Docker().require()
    assert fix in caught.value.fix
    assert "LABKIT_CLUSTER=local" in caught.value.fix


def test_a_machine_without_docker_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="no docker command on PATH"):
        Docker().require()


@pytest.mark.fault("Programs", "a Docker that gives no answer", "it is given up within seconds")
def test_a_docker_that_gives_no_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "docker", "exec /bin/sleep 30")
    with pytest.raises(ClusterError, match="no answer within"):
        Docker(seconds=0.2).require()


def test_a_persons_settings_for_kind_do_not_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "kind", "/usr/bin/env")
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    monkeypatch.setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", "mine")
    said = run_kind(tmp_path / "kind").stdout.splitlines()
    assert [line for line in said if "KIND" in line] == ["KIND_EXPERIMENTAL_PROVIDER=docker"]


def test_a_kind_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "kind", "exec /bin/sleep 30")
    with pytest.raises(ClusterError, match="kind create cluster did not end within"):
        run_kind(tmp_path / "kind", "create", "cluster", seconds=0.2)


HERE = Daemon("28.2.2", "Debian", "host", "unix:///var/run/docker.sock", "2", True, False, Path("/var/lib/docker"))


@pytest.mark.fault(
    "Programs", "Docker runs rootless, in a virtual machine or on another one", "each is told apart, before anything is started"
)
@pytest.mark.parametrize(
    ("daemon", "where"),
    [
        (HERE, ""),
        (replace(HERE, endpoint="tcp://127.0.0.1:2375"), ""),
        (replace(HERE, system="Docker Desktop", endpoint="unix:///home/me/.docker/desktop/docker.sock"), ""),
        (replace(HERE, rootless=True), "rootless"),
        (replace(HERE, endpoint="unix:///home/me/.colima/default/docker.sock"), "a virtual machine of Colima"),
        (replace(HERE, endpoint="unix:///home/me/.rd/docker.sock"), "a virtual machine of Rancher Desktop"),
        (replace(HERE, host="lima-default"), "a virtual machine of Lima"),
        (replace(HERE, endpoint="ssh://me@build.example"), "another machine (build.example)"),
        (replace(HERE, endpoint="tcp://192.0.2.1:2376"), "another machine (192.0.2.1)"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_where_docker_runs_is_told_apart(daemon: Daemon, where: str) -> None:
    assert where in daemon.elsewhere
    assert bool(daemon.elsewhere) == bool(where)


@pytest.mark.fault("Programs", "a registry that is silent", "fetching the image is given up, and no docker command goes on")
def test_a_registry_that_gives_no_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "docker", "echo $$ > ${0%docker}pid", "echo v1: Pulling from kindest/node", "exec /bin/sleep 30")
    with pytest.raises(ClusterError, match=r"nothing came for 1 s") as caught:
        Docker().pull("kindest/node:v1", silent_seconds=1)
    assert caught.value.why == "v1: Pulling from kindest/node"
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_pull_may_take_long_as_long_as_it_gets_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "docker", "for i in 1 2 3 4 5; do echo $i MB; /bin/sleep 0.2; done")
    Docker().pull("kindest/node:v1", silent_seconds=0.8)


@pytest.mark.fault("Servers", "Docker has no node image and can't fetch it", "the image is named, with how to carry it there")
def test_a_missing_image_is_named_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(
        tmp_path,
        monkeypatch,
        "docker",
        'case $1 in image) echo "Error response from daemon: No such image" ;;',
        '*) echo "Error response from daemon: Get \\"https://registry.example/v2/\\": no such host" ;; esac >&2; exit 1',
    )
    with pytest.raises(ClusterError) as caught:
        NodeImage("kindest/node:v1@sha256:0").fetch()
    assert caught.value.what == "Docker has no node image kindest/node:v1 and can't fetch it"
    assert "no such host" in caught.value.why
    for way in ("docker pull kindest/node:v1@sha256:0", "docker load", "LABKIT_KIND_IMAGE=kindest/node:v1", "LABKIT_CLUSTER=local"):
        assert way in caught.value.fix


@pytest.mark.fault(
    "Servers", "no inotify instances, cgroup v1, no delegation, no space left for a node", "kind's log is read, and the remedy told"
)
@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("Failed to create inotify object: Too many open files", "fs.inotify.max_user_instances=512"),
        ("kubelet is configured to not run on a host using cgroup v1", "cgroup v2"),
        ('running kind with rootless provider requires setting systemd property "Delegate=yes"', "Delegate=yes"),
        ("write /var/lib/docker/x: no space left on device", "docker system df"),
    ],
)
def test_what_has_a_known_remedy_is_shown_with_it(said: str, fix: str, tmp_path: Path) -> None:
    assert fix in not_created(f"ERROR: failed to create cluster\n{said}", tmp_path / "kind.log").fix


@pytest.mark.fault("Programs", "a kind too old to hand kubeadm the flags", "it is passed over, with its version")
def test_a_kind_that_is_too_old_is_passed_over_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "kind", 'echo "kind v0.31.0 go1.25.5 linux/amd64"')
    tools = Toolchain(tmp_path / "cache", environ={"PATH": str(tmp_path)})
    assert "kind" in PROGRAMS
    assert tools.find("kind") is None
    assert f"kind 0.31.0 of PATH ({tmp_path / 'kind'}): wants >= 0.32" in tools.status().note


def test_a_port_that_docker_finds_taken_is_a_taken_port(tmp_path: Path) -> None:
    assert isinstance(not_created("Bind for 127.0.0.1:31337 failed: port is already allocated", tmp_path / "kind.log"), PortInUse)


@pytest.mark.fault("Servers", "a firewall between the KinD node and this machine", "the API server's log is read, and it is reported")
@pytest.mark.parametrize(
    ("reason", "what", "fix"),
    [
        ("dial tcp 172.18.0.1:8443: i/o timeout", "nothing comes through to this machine", "docker network inspect kind"),
        ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "nothing comes through", "ufw"),
        ("dial tcp 172.18.0.1:8443: connect: connection refused", "nobody listens at the gateway", "labkit status"),
        ("404 Not Found: Realm does not exist", "can't read the realm's discovery document", "lab 01-keycloak"),
    ],
)
def test_what_keeps_the_api_server_from_keycloak_is_read_from_its_log(reason: str, what: str, fix: str) -> None:
    found = unreached(f'Get "{ISSUER}": {reason}', ISSUER)
    assert what in found.what
    assert reason in found.why
    assert fix in found.fix
