"""The files that a KinD cluster is made from: ``kind.yaml``, and what it mounts into the node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from ...config.hosting import PUBLIC_CA
from ...config.settings import Settings, write_private
from ...workshop.cluster_files import PATCH
from ..trust import Trust
from .checks import PORT_NAMES
from .node_image import NodeImage

CA = Path("/etc/kubernetes/pki/issuer-ca.crt")
AUTHENTICATION = Path("/etc/kubernetes/pki/authentication.yaml")
"""Where kubeadm's API servers, KinD's among them, can read a file without being given another mount."""


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
        self._folder = settings.state.kind
        self.file = self._folder / "kind.yaml"

    def text(self, trust: Trust) -> str:
        """The config, in which the node bears this home's mark."""
        return config(trust, self._settings, self._folder, self._settings.home_id)

    def write(self, trust: Trust, gateway: str) -> bool:
        """Write everything; returns whether a cluster made from what was there before would not be as declared any more.

        A mounted file is changed in place: under a new name the node would never see it.
        """
        text = self.text(trust)
        # By value: another comment is no other cluster.
        changed = not self.file.exists() or yaml.safe_load(self.file.read_text()) != yaml.safe_load(text)
        for name, content in mounted(trust).items():
            copy = self._folder / name
            if not copy.exists():
                write_private(copy, content)
            elif copy.read_text() != content:
                # The API server reads an AuthenticationConfiguration again when it changes; a CA of its flags only at its start.
                changed = changed or (trust.style == "flags" and name == CA.name)
                copy.write_text(content)
        write_private(self._folder / PATCH, pod_patch(trust, gateway))
        write_private(self.file, text)
        return changed


def config(trust: Trust, settings: Settings, folder: Path, home_id: str) -> str:
    """Fill in ``kind.yaml``.

    Args:
        trust: Whom the API server is to believe.
        settings: Has the ports, and the node image.
        folder: Where what is mounted lies, by the names that `mounted` gives it.
        home_id: Marks the node.
    """
    flags: Mapping[str, str] = dict(flag.removeprefix("--").split("=", 1) for flag in told(trust).flags)
    values = {
        # JSON is YAML too, and leaves no question of quoting.
        "API_SERVER_FLAGS": "\n".join(f"{name}: {json.dumps(value)}" for name, value in flags.items()),
        "FOLDER": str(folder),
        "HOME_ID": home_id,
        "NODE_IMAGE": NodeImage.of(settings).name,
        **{f"{name.upper()}_PORT": str(settings.ports[name]) for name in PORT_NAMES},
    }
    return trust.declared.kind.filled_in(values).text


def told(trust: Trust) -> Told:
    """What an API server in KinD has to be told; paths are the node's."""
    if trust.style == "structured":
        return Told((f"--authentication-config={AUTHENTICATION}",), {AUTHENTICATION: trust.configuration()})
    return Told(in_node(trust).flags(), {CA: mounted(trust)[CA.name]})


def in_node(trust: Trust) -> Trust:
    """Name the CA by its path in the node."""
    return trust if trust.ca == PUBLIC_CA else replace(trust, ca=CA)


def mounted(trust: Trust) -> dict[str, str]:
    """The files that are mounted besides the patch, by name. An API server reads only those that its flags name."""
    ca = "# None: a public authority has signed Keycloak's certificate.\n" if trust.ca == PUBLIC_CA else trust.ca.read_text()
    return {AUTHENTICATION.name: trust.configuration(), CA.name: ca}


def pod_patch(trust: Trust, gateway: str) -> str:
    """What kubeadm is to change in the API server's pod."""
    return trust.declared.patch.filled_in({"GATEWAY": gateway}).text
