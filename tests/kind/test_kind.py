"""KinD on a real Docker: the labs about the cluster, unchanged, and what goes wrong with nodes, Docker, images; `make test-kind`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cluster.kind.docker import Docker, run_kind
from labkit.cluster.kind.provider import RELAY
from labkit.common.platform_folder import OWN
from labkit.config.settings import OIDC_STYLES, find_root
from labkit.course.steps import LABS
from labkit.kratix.kratix import NAMESPACE
from labkit.kratix.promise import Promise
from labkit.lab import Lab
from tests.faults.lab import KEYCLOAK, kill
from tests.integration.docker_stand_in import ANSWERS
from tests.kind.record import record, shape
from tests.support import labkit, own_state_folder, wait_for

KIND: dict[str, Any] = {"LABKIT_CLUSTER": "kind"}
ON_KIND = [info.name for info in LABS if info.name[:2] in ("02", "03", "04", "05", "06")]


@pytest.fixture(scope="module", params=OIDC_STYLES)
def home(request: pytest.FixtureRequest, docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a realm, whose cluster is to be a KinD; in one style after the other."""
    with own_state_folder(tmp_path_factory.mktemp("kind") / "home") as folder, pytest.MonkeyPatch.context() as patch:
        for variable, value in {"LABKIT_OIDC": request.param, **KIND}.items():
            patch.setenv(variable, value)
        lab = Lab.open()
        lab.keycloak.start()
        lab.realm.apply()
        yield folder
        assert labkit("down").returncode == 0
        assert docker.containers_with(f"/kind/labkit/{lab.settings.folder_id}") == {}
        assert "nothing of" in labkit("down").stdout


def node_of(docker: Docker) -> str:
    """The name of this lab's node, running or not."""
    (name,) = docker.containers_with(f"/kind/labkit/{Lab.open().settings.folder_id}")
    return name


def up() -> None:
    """`labkit up`, after which all works."""
    done = labkit("up")
    assert done.returncode == 0, done.stdout + done.stderr
    lab = Lab.open()
    assert lab.sign_in("user-dev").whoami().username == lab.workshop.user("user-dev").email
    assert lab.access_matrix().differences == ()


@pytest.mark.parametrize("name", ON_KIND)
def test_a_lab_passes_unchanged_on_kind(name: str, home: Path, run_lab: Callable[..., None]) -> None:
    run_lab(name, home, KIND)


@pytest.mark.fault("Servers", "`labkit up` where its own KinD cluster runs already", "the cluster is taken over, its ports are its own")
def test_its_own_cluster_is_taken_over(home: Path, docker: Docker) -> None:
    node = docker.run("inspect", "--format", "{{.Id}}", node_of(docker))
    up()
    assert docker.run("inspect", "--format", "{{.Id}}", node_of(docker)) == node
    status = labkit("status", "--json")
    assert {row["server"]: row["state"] for row in json.loads(status.stdout)["servers"]}["kind-platform"] == "runs"
    assert status.returncode == 0


def restart_node(docker: Docker) -> None:
    docker.run("restart", node_of(docker), seconds=120)


def stop_node(docker: Docker) -> None:
    docker.run("stop", node_of(docker), seconds=120)
    status = labkit("status")
    assert "kind-platform" in status.stdout
    assert status.returncode == 3


def kill_relay(_: Docker) -> None:
    kill(Lab.open(), [RELAY])


def kill_keycloak(_: Docker) -> None:
    kill(Lab.open(), KEYCLOAK)


def restart_docker(docker: Docker) -> None:
    """By the command that RESTART_DOCKER names: a person's Docker is restarted only on request."""
    command = os.environ.get("RESTART_DOCKER")
    if not command:
        pytest.skip("RESTART_DOCKER names no command: make test-kind RESTART_DOCKER='sudo systemctl restart docker'")
    subprocess.run(shlex.split(command), check=True, timeout=120)
    docker.require()


def all_together(docker: Docker) -> None:
    stop_node(docker)
    kill_relay(docker)
    kill_keycloak(docker)


@pytest.mark.fault("Servers", "a restart of a KinD node, of Docker, of Keycloak, of the relay, or of all of them", "`labkit up` heals it")
@pytest.mark.parametrize("fault", [restart_node, stop_node, kill_relay, kill_keycloak, restart_docker, all_together])
def test_up_heals_whatever_was_restarted(fault: Callable[[Docker], None], home: Path, docker: Docker) -> None:
    fault(docker)
    up()


@pytest.mark.fault("Servers", "Docker has gone away from under a KinD cluster", "status, doctor and down say so and do what they can")
def test_a_docker_that_has_gone_away_is_reported(home: Path, docker: Docker, tmp_path: Path) -> None:
    gone: dict[str, Any] = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    status, doctor, down = labkit("status", **gone), labkit("doctor", **gone), labkit("down", **gone)
    assert "Docker does not run" in status.stdout
    assert "Docker does not run" in doctor.stdout
    assert "labkit down again" in down.stderr
    (stopped,) = [line for line in down.stderr.splitlines() if "stopped all the same: " in line]
    assert set(stopped.partition(": ")[2].split(", ")) == {"portal", "keycloak", RELAY}
    assert down.returncode == 1
    assert Lab.open().processes.names() == []
    up()


def test_the_stand_in_answers_as_this_docker_does(home: Path, docker: Docker, request: pytest.FixtureRequest) -> None:
    found = record(docker, node_of(docker))
    if request.config.getoption("--record"):
        ANSWERS.write_text(json.dumps(found, indent=1) + "\n")
    recorded = json.loads(ANSWERS.read_text())
    assert shape(recorded) == shape(found)
    assert recorded["container"]["Config"]["Labels"] == found["container"]["Config"]["Labels"]


def test_kratix_runs_or_says_what_it_lacks_before_anything_is_applied(home: Path) -> None:
    done, lab = labkit("kratix", "up"), Lab.open()
    if done.returncode:
        assert "can't be" in done.stderr
        assert "fix:" in done.stderr
        assert not lab.cluster.admin_kubectl("get", "namespace", NAMESPACE, "--ignore-not-found").output
        return
    promise = Promise.load(OWN / "kratix" / "team-namespace.yaml")
    image = promise.manifest["spec"]["workflows"]["resource"]["configure"][0]["spec"]["containers"][0]["image"]
    Docker().run("build", "--tag", image, str(find_root() / "notebooks" / "kratix"), seconds=600)
    run_kind(lab.toolchain.ensure("kind")["kind"].path, "load", "docker-image", image, "--name=platform", seconds=600).check_returncode()
    lab.kratix.install(promise)
    lab.cluster.admin_kubectl("apply", "-f", "-", stdin=json.dumps(promise.request("blue", team="blue")))
    wait_for(lambda: lab.kratix.find("namespace", "team-blue") is not None, seconds=300)
