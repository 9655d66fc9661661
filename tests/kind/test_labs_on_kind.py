"""The labs about the cluster, unchanged, on a real KinD: for a machine with Docker; `make test-kind`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.cluster.docker import Docker
from labkit.errors import ClusterError
from labkit.lab import Lab
from labkit.settings import open_home
from labkit.steps import LABS

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


@pytest.mark.parametrize("name", [info.name for info in LABS if "02" <= info.name[:2] <= "06"])
def test_a_lab_passes_unchanged_on_kind(name: str, home: Path, run_lab: Callable[..., None]) -> None:
    run_lab(name, home, CLUSTER)


def test_afterwards_nothing_of_it_is_left(home: Path) -> None:
    assert "kind-platform" in Lab.open().down()
    assert not Lab.open().cluster.is_running()
    assert Docker().run("ps", "-a", "--filter", "label=io.x-k8s.io.kind.cluster=platform", "--format", "{{.Names}}") == ""
