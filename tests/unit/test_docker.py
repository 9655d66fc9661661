"""What Docker and kind refuse, told with the fix. A script says here what they say: no machine has all these faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.cluster.docker import Docker, kind_environment
from labkit.cluster.kind_faults import not_created, unreached
from labkit.cluster.trust import Trust
from labkit.errors import ClusterError, PortInUse
from labkit.toolchain import PROGRAMS, Toolchain
from labkit.workshop import Oidc

NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NO_PERMISSION = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
OIDC = Oidc(client_id="kube", username_claim="email", groups_claim="groups")
TRUST = Trust("https://localhost:8443/realms/myrealm", Path("ca.crt"), OIDC, ("kube-dev", "kube-admin"))


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
            ['case $1 in --version) echo "Docker version 28.2.2";; *) echo', f'echo "{NO_DAEMON}" >&2;; esac'],
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
    ids=["no daemon", "no permission", "podman"],
)
def test_a_docker_that_cannot_be_used_is_told_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], what: str, fix: str
) -> None:
    script(tmp_path, monkeypatch, "docker", *lines)
    with pytest.raises(ClusterError, match=what) as caught:
        Docker().require()
    assert fix in caught.value.fix
    assert "LABKIT_CLUSTER=local" in caught.value.fix


def test_a_machine_without_docker_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="no docker command on PATH"):
        Docker().require()


@pytest.mark.fault("Programs", "a Docker that gives no answer", "it is given up within seconds")
def test_a_docker_that_gives_no_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "docker", "exec /bin/sleep 30")
    with pytest.raises(ClusterError, match="no answer within"):
        Docker(seconds=0.2).require()


def test_a_persons_settings_for_kind_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    monkeypatch.setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", "mine")
    assert {name: value for name, value in kind_environment().items() if "KIND" in name} == {"KIND_EXPERIMENTAL_PROVIDER": "docker"}


@pytest.mark.fault("Programs", "a kind too old to hand kubeadm the flags", "it is passed over, with its version")
def test_a_kind_that_is_too_old_is_passed_over_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "kind", 'echo "kind v0.31.0 go1.25.5 linux/amd64"')
    tools = Toolchain(tmp_path / "cache", environ={"PATH": str(tmp_path)})
    assert "kind" in PROGRAMS
    assert tools.find("kind") is None
    assert f"kind 0.31.0 of PATH ({tmp_path / 'kind'}): wants >= 0.32" in tools.status().note


@pytest.mark.fault("Servers", "Docker has no node image and can't fetch it", "the image is named, with how to carry it there")
def test_a_missing_image_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    said = 'ERROR: failed to create cluster: failed to pull image "kindest/node:v1": command "docker pull" failed with error: exit status 1'
    found = not_created(said, tmp_path / "kind.log")
    assert "no node image kindest/node:v1" in found.what
    assert "docker load" in found.fix


def test_a_port_that_docker_finds_taken_is_a_taken_port(tmp_path: Path) -> None:
    assert isinstance(not_created("Bind for 127.0.0.1:31337 failed: port is already allocated", tmp_path / "kind.log"), PortInUse)


@pytest.mark.fault("Servers", "a firewall between the KinD node and this machine", "the API server's log is read, and it is told")
@pytest.mark.parametrize(
    ("reason", "what", "fix"),
    [
        ("dial tcp 172.18.0.1:8443: i/o timeout", "nothing comes through to this machine", "docker network inspect kind"),
        ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "nothing comes through", "ufw"),
        ("dial tcp 172.18.0.1:8443: connect: connection refused", "nobody listens at the gateway", "labkit status"),
        ("404 Not Found: Realm does not exist", "can't read the realm's discovery document", "lab 01-keycloak"),
    ],
)
def test_what_keeps_the_api_server_from_keycloak_is_told_from_its_log(reason: str, what: str, fix: str) -> None:
    found = unreached(f'Get "{TRUST.issuer}": {reason}', TRUST)
    assert what in found.what
    assert reason in found.why
    assert fix in found.fix
