"""The files that a KinD cluster is made from: ``kind.yaml``, and what it mounts into the node."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from ...common.display import Table, shown
from ...common.kubernetes_yaml import load
from ...config.files import write_private
from ...config.hosting import PUBLIC_CA, is_loopback
from ...config.ports import LOOPBACK
from ...config.settings import Settings
from ...workshop.files import PATCH
from ..trust import Trust
from .node_image import NodeImage

CONFIG = "kind.yaml"
CA = Path("/etc/kubernetes/pki/issuer-ca.crt")
AUTHENTICATION = Path("/etc/kubernetes/pki/authentication.yaml")
"""Where kubeadm's API servers, KinD's among them, can read a file without being given another mount."""

GATEWAY = "GATEWAY"
"""Stands for the address by which a node reaches this machine; Docker chooses it."""

PORT_NAMES = ("kind_31337", "kind_31340", "kind_31333")
"""The published ports, by their names in `labkit.config.state_folder.PORTS`; on this machine they may have other numbers."""


@dataclass(frozen=True)
class KindFiles:
    """What a KinD cluster with this trust is made from; ``settings`` have its ports and the node image.

    Attributes:
        gateway: The address by which a node reaches this machine.
        folder: Where the files lie.
        folder_id: Marks the node.
    """

    trust: Trust
    settings: Settings
    gateway: str = GATEWAY
    folder: Path = Path()
    folder_id: str = "by-hand"

    @property
    def texts(self) -> dict[str, str]:
        """Each file's text, by name. Of those that are mounted, an API server reads what its flags name."""
        trust, ports = self.trust, {f"{name.upper()}_PORT": str(self.settings.ports[name]) for name in PORT_NAMES}
        flags = dict(flag.removeprefix("--").split("=", 1) for flag in self.flags)
        values = {
            # JSON is YAML too, and leaves no question of quoting.
            "API_SERVER_FLAGS": "\n".join(f"{name}: {json.dumps(value)}" for name, value in flags.items()),
            "FOLDER": str(self.folder),
            "HOME_ID": self.folder_id,
            "NODE_IMAGE": NodeImage.of(self.settings).name,
        }
        public = "# None: a public authority has signed Keycloak's certificate.\n"
        return {
            CONFIG: trust.declared.kind.filled_in(values | ports).text,
            PATCH: trust.declared.patch.filled_in({"GATEWAY": self.localhost}).text,
            AUTHENTICATION.name: trust.configuration(),
            CA.name: public if trust.ca == PUBLIC_CA else trust.ca.read_text(),
        }

    @property
    def localhost(self) -> str:
        """Where localhost is to lead in a node besides; with an issuer elsewhere, which has a name of its own, where it leads anyway."""
        return self.gateway if is_loopback(self.trust.issuer) else LOOPBACK

    @property
    def config(self) -> str:
        return self.texts[CONFIG]

    @property
    def patch(self) -> str:
        """What kubeadm is to change in the API server's pod; empty for an issuer that is not on this machine."""
        return self.texts[PATCH] if is_loopback(self.trust.issuer) else ""

    @property
    def flags(self) -> tuple[str, ...]:
        """What the config has kubeadm tell the API server; paths are the node's."""
        return (f"--authentication-config={AUTHENTICATION}",) if self.trust.style == "structured" else in_node(self.trust).flags()

    @property
    def read_by_server(self) -> Path:
        """The file in the node that the API server is configured to read."""
        return AUTHENTICATION if self.trust.style == "structured" else CA

    def beside(self, flags: tuple[str, ...]) -> Table:
        """Compare these flags with those of an API server that runs, in a table with the columns ``flag``, ``here``, ``in KinD``."""
        here, there = (dict(flag.split("=", 1) for flag in each if "=" in flag) for each in (flags, self.flags))
        return Table(("flag", "here", "in KinD"), tuple((name, shown(here.get(name)), value) for name, value in there.items()))

    def write(self) -> bool:
        """Write the files; returns whether a cluster that was made from those before is not as declared any more."""
        stale = False
        for name, text in self.texts.items():
            file = self.folder / name
            before = file.read_text() if file.exists() else None
            if name == CONFIG:
                # By value: another comment is no other cluster.
                stale |= before is None or load(before) != load(text)
            elif name == CA.name and self.read_by_server == CA:
                # The API server reads an AuthenticationConfiguration again when it changes; a CA of its flags only at its start.
                stale |= before not in (None, text)
            if before is None or name == CONFIG:
                write_private(file, text)
            elif before != text:
                # In place: a mounted file under a new name the node would never see.
                file.write_text(text)
        return stale


def in_node(trust: Trust) -> Trust:
    """Name the CA by its path in the node."""
    return trust if trust.ca == PUBLIC_CA else replace(trust, ca=CA)
