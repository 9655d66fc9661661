"""The same notebooks, in a realm of other people's in a hosted Keycloak; the cluster is the local one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.hosting import SECRET_VARIABLE
from labkit.lab import Lab
from labkit.settings import Settings
from labkit.steps import LABS

WITHOUT_PORTAL = ("00", "01", "02", "03", "04", "05")


@pytest.fixture(scope="module")
def realm(other_keycloak: Any) -> Any:
    return other_keycloak.realm_of_others("labs")


@pytest.fixture(scope="module")
def variables(realm: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A lab's variables; what they name in a home of its own is stopped at the end."""
    found: dict[str, str] = realm.environment(tmp_path_factory.mktemp("hosted-labs") / "home")
    yield found
    Lab(Settings.load(found)).down()


def test_the_labs_pass_there_and_leave_what_is_not_theirs_as_it_was(
    realm: Any, variables: dict[str, str], run_lab: Callable[..., None]
) -> None:
    home, before = Path(variables["LABKIT_HOME"]), realm.objects()
    for name in [info.name for info in LABS if info.name.startswith(WITHOUT_PORTAL)]:
        run_lab(name, home, variables)
    lab = Lab(Settings.load(variables))
    assert "keycloak" not in lab.processes.names()
    environments = [psutil.Process(running.pid).environ() for running in map(lab.processes.running, lab.processes.names()) if running]
    assert len(environments) == 3
    assert [env for env in environments if SECRET_VARIABLE in env] == []
    run_lab("09-clean-up", home, variables)
    assert lab.processes.names() == []
    after = realm.objects()
    assert {kind: {name: thing for name, thing in after[kind].items() if name in there} for kind, there in before.items()} == before
    assert lab.realm.plan().is_empty
