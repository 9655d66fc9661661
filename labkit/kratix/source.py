"""Where Kratix comes from on a local cluster: a checkout that the person names."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..common.environment import EVERYBODY, listed
from ..common.errors import KratixUnavailable

VARIABLE = "LABKIT_KRATIX_SOURCE"
NAMESPACE = "kratix-platform-system"
"""Where Kratix keeps what is its own."""

_NAME = "kratix-platform"
ACCOUNT = f"{_NAME}-controller-manager"
"""Its service account there: to this name the controller itself gives rights on each Promise's requests."""

WEBHOOKS = {f"{kind}webhookconfiguration": f"{_NAME}-{kind}-webhook-configuration" for kind in ("mutating", "validating")}
"""What tells the API server to ask Kratix, by kind: a name each."""

_WAYS_OUT = (
    f"set {VARIABLE} to a checkout of Kratix in which its controller was built (bin/manager), or use KinD where Docker runs: "
    "LABKIT_CLUSTER=kind"
)
_PARTS = {
    "its controller": "bin/manager",
    "its CRDs": "config/crd/bases/platform.kratix.io_promises.yaml",
    "its webhooks": "config/webhook/manifests.yaml",
    "its role": "config/rbac/role.yaml",
    "its role for its own namespace": "config/rbac/leader_election_role.yaml",
}


@dataclass(frozen=True)
class Source:
    """A checkout of Kratix in which its controller was built, as Kratix's own build leaves it.

    Attributes:
        folder: The checkout.
    """

    folder: Path

    @property
    def controller(self) -> Path:
        """The controller's program."""
        return self.folder / _PARTS["its controller"]

    def crds(self) -> list[dict[str, Any]]:
        """The kinds that Kratix adds to a cluster: Promise, Work, Destination, …"""
        return [crd for file in sorted((self.folder / "config/crd/bases").glob("*.yaml")) for crd in _documents(file)]

    def rights(self) -> list[dict[str, Any]]:
        """What the controller may do, by the roles that Kratix ships, bound to its service account."""
        (everywhere,), (at_home,) = (_documents(self.folder / _PARTS[part]) for part in ("its role", "its role for its own namespace"))
        everywhere["metadata"] = {"name": f"{_NAME}-manager-role"}
        at_home["metadata"] = {"name": f"{_NAME}-leader-election-role", "namespace": NAMESPACE}
        bindings = [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": f"{role['kind']}Binding",
                "metadata": {**role["metadata"], "name": f"{role['metadata']['name']}-binding"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["metadata"]["name"]},
                "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
            }
            for role in (everywhere, at_home)
        ]
        return [everywhere, at_home, *bindings]

    def webhooks(self, url: str, ca: str) -> list[dict[str, Any]]:
        """The webhooks by which the API server has Kratix judge Promises, at an address in place of a service.

        Args:
            url: Where the controller answers.
            ca: What to verify it with, PEM in base64.
        """
        found = _documents(self.folder / _PARTS["its webhooks"])
        for configuration in found:
            configuration["metadata"]["name"] = WEBHOOKS[configuration["kind"].lower()]
            for webhook in configuration["webhooks"]:
                path = webhook["clientConfig"]["service"]["path"]
                webhook["clientConfig"] = {"url": f"{url}{path}", "caBundle": ca}
        return found


def source(folder: Path | None) -> Source:
    """The source that a person named.

    Raises:
        KratixUnavailable: None is named, it lacks something, or this system can't keep the controller on loopback.
    """
    if folder is None:
        msg = "Kratix can't be had here: its controller is published as a container image, and a local cluster runs no containers"
        raise KratixUnavailable(msg, fix=_WAYS_OUT)
    lacks = [f"{what} ({path})" for what, path in _PARTS.items() if not (folder / path).is_file()]
    if lacks:
        msg = f"{VARIABLE} names {folder}, which lacks {', '.join(lacks)}"
        raise KratixUnavailable(msg, fix=_WAYS_OUT)
    if not os.access(folder / _PARTS["its controller"], os.X_OK):
        msg = f"{VARIABLE} names {folder}, whose {_PARTS['its controller']} is no program"
        raise KratixUnavailable(msg, fix=_WAYS_OUT)
    if not _networks_can_be_made():
        msg = "Kratix can't be kept on loopback here: it listens on every interface, and this system gives a user no network of their own"
        raise KratixUnavailable(msg, fix="allow user namespaces (Linux: unshare --user --net), or use KinD: LABKIT_CLUSTER=kind")
    return Source(folder)


@cache
def _networks_can_be_made() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and _succeeds(unshare, "--user", "--map-root-user", "--net", "true")


def _succeeds(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, timeout=10, env=listed(EVERYBODY), check=False).returncode == 0


def _documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]
