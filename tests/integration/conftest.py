"""One lab for all integration tests: real servers, in a home and on ports of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from keycloak import KeycloakAdmin

from labkit.lab import Lab
from tests.support import home_of_its_own


@pytest.fixture(scope="session")
def lab_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new home, named to this process and its children by LABKIT_HOME."""
    with home_of_its_own(tmp_path_factory.mktemp("lab") / "home") as home:
        yield home


@pytest.fixture(scope="session")
def idle_lab(lab_home: Path) -> Iterator[Lab]:
    """The lab of that home, with whatever has been started in it; stopped at the end."""
    lab = Lab.open()
    assert lab.settings.home == lab_home
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def keycloak_admin(idle_lab: Lab) -> Callable[[], KeycloakAdmin]:
    """A Keycloak that runs: signs in to its admin API, in realm master."""
    idle_lab.keycloak.start()
    return idle_lab.keycloak.admin


@pytest.fixture(scope="session")
def lab(idle_lab: Lab) -> Lab:
    """A lab with everything up: the realm, the cluster, the RBAC objects."""
    idle_lab.up()
    for username in idle_lab.workshop.access.expected:
        idle_lab.sign_in(username).whoami()
    return idle_lab
