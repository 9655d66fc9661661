"""One lab for all tests of faults: real servers, in a state folder and on ports of their own."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.common.platform_folder import OWN
from labkit.lab import Lab
from tests.faults.lab import KEPT, enter_everybody, make_group
from tests.support import belonging_to, own_state_folder, strays_of, wait_for

_GONE_SECONDS = 10
# In the environment, so that the processes which run the tests have the one that the report names.
_SEED = int(os.environ.setdefault("FAULTS_SEED", str(random.randrange(1_000_000))))  # noqa: S311 - nothing to guess here


def pytest_report_header() -> str:
    """Say how the random moments can be had again."""
    return f"seed of the random moments: FAULTS_SEED={_SEED}"


@pytest.fixture
def chance() -> random.Random:
    """Where random moments come from; the report's header names the seed."""
    return random.Random(_SEED)  # noqa: S311 - nothing to guess here


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new state folder, named to this process and its children by LABKIT_HOME."""
    with own_state_folder(tmp_path_factory.mktemp("faults") / "home") as home:
        yield home


@pytest.fixture(scope="session")
def whole_lab(lab_folder: Path) -> Iterator[Lab]:
    """A lab as the first six leave it, with something in realm and cluster that somebody made by hand."""
    lab = Lab.open()
    assert lab.settings.folder == lab_folder
    lab.up()
    enter_everybody(lab)
    lab.portal.sign_in("user-admin").register_template(OWN / "templates" / "configmap.yaml")
    lab.cluster.admin_kubectl("create", "namespace", KEPT)
    yield lab
    lab.down()
    wait_for(lambda: belonging_to(lab_folder) == [], _GONE_SECONDS)


@pytest.fixture
def lab(whole_lab: Lab) -> Iterator[Lab]:
    """That lab with everything up; after the test nothing of it may run that is on no record."""
    whole_lab.up()
    # Some tests have the realm made anew.
    make_group(whole_lab, KEPT)
    yield whole_lab
    wait_for(lambda: strays_of(whole_lab.settings.folder) == [], _GONE_SECONDS)
