"""The same notebooks, unchanged, where nothing is the lab's own.

The realm is other people's, in a hosted Keycloak, and the cluster is theirs.
The workshop differs from labkit's own in everything that may differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.common.errors import PortalError
from labkit.config.hosting import SECRET_VARIABLE
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.course.steps import LABS
from labkit.lab import Lab

from ..snapshots import settled, snapshot
from ..support import OTHER_WORKSHOP

THERE = {"LABKIT_WORKSHOP": str(OTHER_WORKSHOP)}
TEMPLATE = "template:default/settings-in-pairs"


@pytest.fixture(scope="module")
def realm(other_keycloak: Any) -> Any:
    """A realm of other people's, with a limited administrator for the labs; see `conftest.OthersRealm`."""
    return other_keycloak.realm_of_others("labs")


@pytest.fixture(scope="module")
def theirs(realm: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Their cluster, which trusts that realm and its CA, and has things of its own: another lab's local cluster stands for it."""
    trust = Lab(Settings.load(realm.environment(tmp_path_factory.mktemp("asks") / "home") | THERE)).cluster.trust
    folder = tmp_path_factory.mktemp("theirs") / "home"
    open_state_folder(folder, environ={}, free_ports=True)
    made = Lab(Settings.load({"LABKIT_HOME": str(folder), "LABKIT_CLUSTER": "local"}))
    try:
        made.cluster.provider.start(trust)
        made.cluster.kubeconfig.enter(made.cluster.endpoint)
        made.cluster.admin_kubectl("create", "namespace", "payroll")
        made.cluster.admin_kubectl("create", "configmap", "figures", "-n", "payroll", "--from-literal=sum=42")
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def variables(realm: Any, theirs: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a lab there; what the labs started in its state folder is stopped at the end."""
    cluster = {
        "LABKIT_CLUSTER": "external",
        "LABKIT_CONTEXT": theirs.cluster.endpoint.name,
        "KUBECONFIG": str(theirs.cluster.kubeconfig.path),
    }
    yield (found := realm.environment(tmp_path_factory.mktemp("guest") / "home") | cluster | THERE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", found["KUBECONFIG"])
        Lab(Settings.load(found)).down()


@pytest.fixture
def lab(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab there, between two notebooks."""
    monkeypatch.setenv("KUBECONFIG", variables["KUBECONFIG"])
    return Lab(Settings.load(variables))


@pytest.fixture(scope="module")
def before(realm: Any, theirs: Lab, variables: dict[str, str]) -> tuple[Any, dict[str, str], bytes]:
    """Their realm, their cluster and their kubeconfig, before the first lab."""
    return realm.objects(), settled(theirs), Path(variables["KUBECONFIG"]).read_bytes()


@pytest.fixture(scope="module")
def passed() -> list[str]:
    """The labs that have passed so far."""
    return []


WITH_PORTAL = [info.name for info in LABS if info.name[:2] <= "06"]


@pytest.mark.parametrize("name", WITH_PORTAL)
def test_a_lab_passes_unchanged_where_keycloak_and_cluster_are_somebody_elses(
    name: str, variables: dict[str, str], before: Any, passed: list[str], run_lab: Callable[..., None]
) -> None:
    assert before
    assert passed == WITH_PORTAL[: len(passed)] == WITH_PORTAL[: WITH_PORTAL.index(name)], "an earlier lab has not passed"
    run_lab(name, Path(variables["LABKIT_HOME"]), variables)
    passed.append(name)


@pytest.mark.fault(
    "Exposure",
    "the portal in a cluster that others use: an object of theirs has the name that a template is given",
    "it is neither changed nor deleted, by whomever it is asked",
)
def test_what_somebody_else_has_in_the_cluster_is_left_as_it_is_by_the_portal_too(lab: Lab, theirs: Lab, passed: list[str]) -> None:
    assert passed == WITH_PORTAL
    admin = lab.portal.sign_in(lab.workshop.administrator.username)
    asks: dict[str, Callable[[], object]] = {
        "was refused": lambda: admin.run_template(TEMPLATE, {"name": "figures", "namespace": "payroll", "data": {"sum": "0"}}),
        "delete ConfigMap figures": lambda: admin.delete_resource("ConfigMap", "figures", namespace="payroll"),
    }
    for doing, ask in asks.items():
        with pytest.raises(PortalError) as refused:
            ask()
        assert doing in str(refused.value)
        assert "it is somebody else's and left as it is" in str(refused.value)
    figures = theirs.cluster.admin_kubectl("get", "configmap", "figures", "-n", "payroll", "-o", "json").output
    assert json.loads(figures)["data"] == {"sum": "42"}


@pytest.mark.fault(
    "Exposure",
    "an object that the portal made in somebody else's cluster is left over",
    "it is labelled, and clean-up finds it",
)
def test_what_the_portal_makes_there_is_known_as_the_labs(lab: Lab, passed: list[str]) -> None:
    assert passed == WITH_PORTAL
    admin = lab.portal.sign_in(lab.workshop.administrator.username)
    for colour in ("blue", "red"):
        admin.run_template(TEMPLATE, {"name": "left-over", "data": {"colour": colour}})
    assert "default/configmap/left-over" in lab.cluster.left()


def test_no_server_gets_the_administrators_secret(lab: Lab, passed: list[str]) -> None:
    assert passed == WITH_PORTAL
    assert lab.processes.names() == ["portal"]
    running = lab.processes.running("portal")
    assert running is not None
    assert SECRET_VARIABLE not in psutil.Process(running.pid).environ()


@pytest.mark.fault(
    "Exposure",
    "all labs in a realm and a cluster of other people's",
    "snapshots before and after are equal: the labs' objects leave the cluster, and what was in the realm is as it was, to the field",
)
def test_the_last_lab_takes_away_what_is_the_labs_and_nothing_else_has_changed(
    lab: Lab, realm: Any, theirs: Lab, variables: dict[str, str], before: Any, passed: list[str], run_lab: Callable[..., None]
) -> None:
    assert passed == WITH_PORTAL
    objects, cluster, kubeconfig = before
    run_lab(LABS[-1].name, Path(variables["LABKIT_HOME"]), variables)
    assert lab.processes.names() == []
    assert lab.cluster.left() == []
    assert snapshot(theirs) == cluster
    assert Path(variables["KUBECONFIG"]).read_bytes() == kubeconfig
    after = realm.objects()
    assert {kind: {name: thing for name, thing in after[kind].items() if name in there} for kind, there in objects.items()} == objects
    assert not lab.realm.plan().pending
