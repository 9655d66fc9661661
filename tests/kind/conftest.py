"""The Docker of these tests, which is left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit.cluster.kind.docker import Docker
from labkit.common.errors import ClusterError


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write what Docker answers into the file that its stand-in answers from")


@pytest.fixture(scope="session")
def docker() -> Docker:
    """A Docker that a KinD cluster can be made in."""
    found = Docker()
    try:
        found.require()
    except ClusterError as error:
        pytest.skip(f"no KinD without Docker: {error.what}")
    return found


def everything(docker: Docker) -> dict[str, list[str]]:
    """What Docker holds, as it lists it."""
    listed = {"containers": ("ps", "-a"), "networks": ("network", "ls"), "volumes": ("volume", "ls")}
    names = {"containers": "{{.ID}}", "networks": "{{.Name}}", "volumes": "{{.Name}}"}
    return {what: sorted(docker.run(*command, "--format", names[what]).split()) for what, command in listed.items()}


@pytest.fixture(scope="session", autouse=True)
def as_it_was(docker: Docker) -> Iterator[None]:
    """Whatever Docker held before is there afterwards, and nothing else."""
    before, network = everything(docker), docker.run("network", "ls", "--filter=name=^kind$", "--quiet").split()
    yield
    if not network:
        # labkit keeps it, as kind does, for other clusters.
        docker.run("network", "rm", "kind")
    assert everything(docker) == before
