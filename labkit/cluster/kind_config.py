"""The files that a KinD cluster is made from: the seed's config, and what lets a node reach a Keycloak on this machine.

Inside a node ``localhost`` is the node, and an issuer's name can't be changed: it stands in every token. So the API server's pod gets
an alias: ``localhost`` is also the gateway of the node's network, which is this machine. Go tries the node's own loopback first, where
nobody listens, then the gateway.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ..hosting import PUBLIC_CA
from ..settings import Settings, write_private
from .trust import Dumper, Trust

MARK = "/kind/labkit"
"""Below this path a node has a folder named by the id of the home that made it. kind can put no label on a container; a mount shows on a
stopped one too, and is there from the very moment the container is."""

CA = Path("/etc/kubernetes/pki/labkit-ca.pem")
AUTHENTICATION = Path("/etc/kubernetes/pki/labkit-authentication.yaml")
PORT_NAMES = ("kind_31337", "kind_31340", "kind_31333")
"""The seed's ports, by their names in `labkit.settings.PORTS`, where they may have other numbers on this machine."""


@dataclass(frozen=True)
class Told:
    """What the API server is to be told, as its pod has to show it afterwards.

    Attributes:
        flags: Of its command line.
        alias: The address that ``localhost`` has besides loopback; empty when the issuer is no loopback name.
        files: Paths in the node, and the text that each has to hold.
    """

    flags: tuple[str, ...]
    alias: str
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

    def told(self, trust: Trust, alias: str) -> Told:
        """What the API server is to be told; paths are the node's."""
        if trust.style == "structured":
            return Told((f"--authentication-config={AUTHENTICATION}",), alias, {AUTHENTICATION: trust.configuration()})
        if trust.ca == PUBLIC_CA:
            return Told(trust.flags(), alias, {})
        return Told(replace(trust, ca=CA).flags(), alias, {CA: trust.ca.read_text()})

    def text(self, trust: Trust, alias: str) -> str:
        """The config: the seed's, on loopback only, and with mounts.

        kubeadm drops, without a word, flags in a form that is not its version's. This one, without ``apiVersion`` and as a mapping,
        kind converts to whatever version the node's kubeadm has (kind 0.32 and newer).
        """
        flags = dict(flag.removeprefix("--").split("=", 1) for flag in self.told(trust, alias).flags)
        patches: list[dict[str, Any]] = [{"kind": "ClusterConfiguration", "apiServer": {"extraArgs": flags}}]
        if alias:
            patches.append({"kind": "InitConfiguration", "patches": {"directory": self.mark}})
        mounts = [{"hostPath": str(self._patches), "containerPath": self.mark, "readOnly": True}]
        mounts += [
            {"hostPath": str(self._copy(inside)), "containerPath": str(inside), "readOnly": True}
            for inside in self.told(trust, alias).files
        ]
        ports = [
            {"containerPort": int(name.removeprefix("kind_")), "hostPort": self._settings.ports[name], "listenAddress": "127.0.0.1"}
            for name in PORT_NAMES
        ]
        node = {
            "role": "control-plane",
            # For people, who see it with kubectl get nodes --show-labels; what labkit goes by is MARK.
            "labels": {"labkit/home": self._settings.home_id},
            "extraMounts": mounts,
            "extraPortMappings": ports,
        }
        whole = {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "kubeadmConfigPatches": [yaml.safe_dump(patch, sort_keys=False) for patch in patches],
            "nodes": [node],
        }
        return yaml.dump(whole, Dumper=Dumper, sort_keys=False)

    def write(self, trust: Trust, alias: str) -> bool:
        """Write everything; returns whether a cluster made from what was there before would not be as declared any more.

        A mounted file is changed in place: under a new name the node would never see it.
        """
        text = self.text(trust, alias)
        changed = not self.file.exists() or self.file.read_text() != text
        for inside, content in self.told(trust, alias).files.items():
            copy = self._copy(inside)
            if not copy.exists():
                write_private(copy, content)
            elif copy.read_text() != content:
                # The API server reads an AuthenticationConfiguration again when it changes; a CA of its flags only at its start.
                changed = changed or trust.style == "flags"
                copy.write_text(content)
        pod = {"spec": {"hostAliases": [{"ip": alias, "hostnames": ["localhost"]}]}} if alias else {}
        self._patches.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._patches / "kube-apiserver+strategic.yaml", yaml.safe_dump(pod))
        write_private(self.file, text)
        return changed

    @property
    def mark(self) -> str:
        """Where this home's nodes have a folder, and no others."""
        return f"{MARK}/{self._settings.home_id}"

    @property
    def _patches(self) -> Path:
        return self._folder / "kubeadm-patches"

    def _copy(self, inside: Path) -> Path:
        return self._folder / inside.name


def is_loopback(url: str) -> bool:
    """Whether a URL names the machine that reads it, whichever that is."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.endswith(".localhost") or host.startswith("127.") or host == "::1"
