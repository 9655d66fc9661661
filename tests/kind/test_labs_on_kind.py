"""The labs about the cluster, unchanged, on a real KinD: for a machine with Docker; `make test-kind`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.cluster.docker import Docker
from labkit.errors import ClusterError
from labkit.kratix.promise import Promise
from labkit.kratix.workflow import load_image
from labkit.lab import Lab
from labkit.settings import find_root, open_home
from labkit.steps import LABS
from tests.support import wait_for

CLUSTER = {"LABKIT_CLUSTER": "kind"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a realm, whose cluster is to be a KinD."""
    try:
        Docker().require()
    except ClusterError as error:
        pytest.skip(f"no KinD without Docker: {error.what}")
    folder = tmp_path_factory.mktemp("kind") / "home"
    open_home(folder, environ={}, free_ports=True)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in {"LABKIT_HOME": str(folder), **CLUSTER}.items():
            patch.setenv(variable, value)
        lab = Lab.open()
        lab.keycloak.start()
        lab.realm.apply()
        yield folder
        lab.down()


@pytest.mark.parametrize("name", [info.name for info in LABS if info.name[:2] in ("02", "03", "04", "05", "06", "08")])
def test_a_lab_passes_unchanged_on_kind(name: str, home: Path, run_lab: Callable[..., None]) -> None:
    run_lab(name, home, CLUSTER)


def test_a_promise_with_a_workflow_makes_a_namespace(home: Path) -> None:
    """Not yet run by anybody: there has been no Docker where this was written."""
    lab, folder = Lab.open(), find_root() / "notebooks" / "kratix"
    promise = Promise.load(folder / "promise.yaml")
    lab.kratix.start()
    load_image(promise, folder, lab.toolchain)
    lab.kratix.install(promise)
    lab.cluster.admin_kubectl("apply", "-f", "-", stdin=json.dumps(promise.request("blue", team="blue")))
    wait_for(lambda: lab.kratix.find("namespace", "team-blue") is not None, seconds=300)


def test_afterwards_nothing_of_it_is_left(home: Path) -> None:
    assert "kind-platform" in Lab.open().down()
    assert not Lab.open().cluster.is_running()
    assert Docker().run("ps", "-a", "--filter", "label=io.x-k8s.io.kind.cluster=platform", "--format", "{{.Names}}") == ""
