"""The pods of a room on Kubernetes, as the real API server judges them; it is tests/cluster that runs them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from labkit.common.errors import ClusterError
from labkit.lab import Lab
from tests.support import wait_for
from tests.unit.test_kubernetes import DEPLOY, DEPLOYMENT, VALUES

pytestmark = pytest.mark.xdist_group("lab")

NAMESPACE = "labs-on-kubernetes"


@pytest.fixture(scope="module")
def restricted(lab: Lab) -> Iterator[Lab]:
    """A namespace of the level that the page on Kubernetes has people take."""
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    made["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}  # type: ignore[index]
    lab.cluster.admin_kubectl("create", "-f", "-", stdin=yaml.safe_dump(made))
    # No pod is taken before its account is there.
    wait_for(lambda: "/default" in lab.cluster.admin_kubectl("get", "serviceaccounts", "-o", "name", f"--namespace={NAMESPACE}").output)
    yield lab
    lab.cluster.admin_kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def judged(lab: Lab, manifest: str) -> str:
    """What the API server says of objects that it does not keep."""
    command = ("create", "--dry-run=server", "--validate=strict", f"--namespace={NAMESPACE}", "-f", "-")
    return lab.cluster.admin_kubectl(*command, stdin=manifest).output


def pod(spec: dict[str, Any]) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": spec})


def seat() -> dict[str, Any]:
    """A seat's pod, with what the values say of it and kubespawner adds."""
    values, spawner = VALUES["singleuser"], VALUES["hub"]["config"]["KubeSpawner"]
    added = {"allowPrivilegeEscalation": False, "runAsUser": values["uid"], "runAsGroup": spawner["gid"]}
    volumes, mounts = (list(values["storage"][name].values()) for name in ("extraVolumes", "extraVolumeMounts"))
    image = ":".join(values["image"][part] for part in ("name", "tag"))
    container = {"name": "notebook", "image": image, "args": values["cmd"], "volumeMounts": mounts}
    container["securityContext"] = {**spawner["container_security_context"], **added}
    security = {**spawner["pod_security_context"], "fsGroup": values["fsGid"]}
    return {"securityContext": security, "containers": [container], "volumes": volumes}


def test_the_manifest_of_keycloak_is_taken(restricted: Lab) -> None:
    answer = judged(restricted, (DEPLOY / "keycloak.yaml").read_text())
    assert "deployment.apps/keycloak created" in answer
    assert "Warning" not in answer


@pytest.mark.parametrize("spec", [DEPLOYMENT, seat()], ids=["keycloak", "seat"])
def test_a_pod_keeps_to_the_level_restricted_and_would_not_with_less(restricted: Lab, spec: dict[str, Any]) -> None:
    assert "pod/tried created" in judged(restricted, pod(spec))
    less = copy.deepcopy(spec)
    del less["containers"][0]["securityContext"]["capabilities"]
    with pytest.raises(ClusterError, match="restricted"):
        judged(restricted, pod(less))
