"""The files that a KinD cluster is made from: the seed's config, and what lets a node reach a Keycloak on this machine.

Inside a node ``localhost`` is the node, and an issuer's name can't be changed: it stands in every token. So the API server's pod gets
an alias: ``localhost`` is also the gateway of the node's network, which is this machine. Go tries the node's own loopback first, where
nobody listens, then the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ..hosting import PUBLIC_CA, is_loopback
from ..settings import Settings, write_private
from .kind_checks import PORT_NAMES, mark_of
from .node_image import NodeImage
from .trust import Dumper, Trust

CA = Path("/etc/kubernetes/pki/issuer-ca.crt")
AUTHENTICATION = Path("/etc/kubernetes/pki/authentication.yaml")
"""Where kubeadm's API servers, KinD's among them, can read a file without being given another mount."""

PATCH = Path("kubeadm-patches/kube-apiserver+strategic.yaml")
"""By its name kubeadm knows what it is a patch of; it is told of the folder, which holds nothing else."""


@dataclass(frozen=True)
class Told:
    """What the API server is to be told, as its pod has to show it afterwards.

    Attributes:
        flags: Of its command line.
        files: Paths in the node, and the text that each has to hold.
    """

    flags: tuple[str, ...]
    files: dict[Path, str]


class KindConfig:
    """The files of one home's cluster.

    Attributes:
        file: The config for ``kind create cluster --config``.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.home / "kind"
        self.file = self._folder / "config.yaml"

    def text(self, trust: Trust, alias: str) -> str:
        """The config, in which the node bears this home's mark."""
        wanted = told(trust)
        mounts = {mark_of(self._settings): self._patches, **{str(inside): self._copy(inside) for inside in wanted.files}}
        whole = _config(wanted.flags, self._settings.ports, mounts, mark_of(self._settings) if alias else "")
        # For people, who see it with kubectl get nodes --show-labels; what labkit goes by is MARK.
        whole["nodes"][0]["labels"] = {"labkit/home": self._settings.home_id}
        whole["nodes"][0]["image"] = NodeImage.of(self._settings).name
        return yaml.dump(whole, Dumper=Dumper, sort_keys=False)

    def write(self, trust: Trust, alias: str) -> bool:
        """Write everything; returns whether a cluster made from what was there before would not be as declared any more.

        A mounted file is changed in place: under a new name the node would never see it.
        """
        text = self.text(trust, alias)
        changed = not self.file.exists() or self.file.read_text() != text
        for inside, content in told(trust).files.items():
            copy = self._copy(inside)
            if not copy.exists():
                write_private(copy, content)
            elif copy.read_text() != content:
                # The API server reads an AuthenticationConfiguration again when it changes; a CA of its flags only at its start.
                changed = changed or trust.style == "flags"
                copy.write_text(content)
        write_private(self._folder / PATCH, pod_patch(alias))
        write_private(self.file, text)
        return changed

    @property
    def _patches(self) -> Path:
        return self._folder / PATCH.parent

    def _copy(self, inside: Path) -> Path:
        return self._folder / inside.name


def by_hand(trust: Trust, ports: Mapping[str, int]) -> str:
    """The config for whoever calls kind themselves, in a folder that has the files to be mounted: those of the node, by their names.

    Args:
        trust: Whom the API server is to believe.
        ports: The settings' ports.
    """
    wanted = told(trust)
    mounts = {str(inside): Path(inside.name) for inside in wanted.files}
    patches = "/kind/kubeadm-patches" if is_loopback(trust.issuer) else ""
    if patches:
        mounts[patches] = PATCH.parent
    return yaml.dump(_config(wanted.flags, ports, mounts, patches), Dumper=Dumper, sort_keys=False)


def told(trust: Trust) -> Told:
    """What an API server in KinD is to be told; paths are the node's."""
    if trust.style == "structured":
        return Told((f"--authentication-config={AUTHENTICATION}",), {AUTHENTICATION: trust.configuration()})
    if trust.ca == PUBLIC_CA:
        return Told(trust.flags(), {})
    return Told(replace(trust, ca=CA).flags(), {CA: trust.ca.read_text()})


def pod_patch(alias: str) -> str:
    """What kubeadm is to change in the API server's pod."""
    pod = {"spec": {"hostAliases": [{"ip": alias, "hostnames": ["localhost"]}]}} if alias else {}
    return yaml.safe_dump(pod, sort_keys=False)


def _config(flags: tuple[str, ...], ports: Mapping[str, int], mounts: Mapping[str, Path], patches: str) -> dict[str, Any]:
    """The seed's config, on loopback only, and with mounts.

    kubeadm drops, without a word, flags in a form that is not its version's. This one, without ``apiVersion`` and as a mapping,
    kind converts to whatever version the node's kubeadm has (kind 0.32 and newer).
    """
    extra = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
    kubeadm: list[dict[str, Any]] = [{"kind": "ClusterConfiguration", "apiServer": {"extraArgs": extra}}]
    if patches:
        kubeadm.append({"kind": "InitConfiguration", "patches": {"directory": patches}})
    node = {
        "role": "control-plane",
        "extraMounts": [{"hostPath": str(here), "containerPath": inside, "readOnly": True} for inside, here in mounts.items()],
        "extraPortMappings": [
            {"containerPort": int(name.removeprefix("kind_")), "hostPort": ports[name], "listenAddress": "127.0.0.1"} for name in PORT_NAMES
        ],
    }
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "kubeadmConfigPatches": [yaml.safe_dump(each, sort_keys=False) for each in kubeadm],
        "nodes": [node],
    }
