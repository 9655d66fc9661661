"""What a KinD cluster of this lab would be made from, to be read beside an API server that runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...common.display import Table, shown
from ...config.hosting import is_loopback
from ...config.settings import Settings
from ..trust import Trust
from . import config as kind_config

GATEWAY = "GATEWAY"
"""Stands for the address by which a node reaches this machine; Docker chooses it."""


@dataclass(frozen=True)
class KindFiles:
    """The files for ``kind create cluster``, as ``labkit render`` writes them.

    Attributes:
        config: The config, as text.
        patch: What kubeadm is to change in the API server's pod, as text; empty for an issuer that is not on this machine.
        flags: What the config has kubeadm tell the API server.
    """

    config: str
    patch: str
    flags: tuple[str, ...]

    def beside(self, flags: tuple[str, ...]) -> Table:
        """Compare these flags with those of an API server that runs, in a table with the columns ``flag``, ``here``, ``in KinD``."""
        here, there = (dict(flag.split("=", 1) for flag in each if "=" in flag) for each in (flags, self.flags))
        return Table(("flag", "here", "in KinD"), tuple((name, shown(here.get(name)), value) for name, value in there.items()))


def kind_files(trust: Trust, settings: Settings) -> KindFiles:
    """Write, as text, what a KinD cluster with this trust is made from.

    Args:
        trust: Whom the API server is to believe.
        settings: Has the ports, and the node image.
    """
    patch = kind_config.pod_patch(trust, GATEWAY) if is_loopback(trust.issuer) else ""
    return KindFiles(kind_config.config(trust, settings, Path(), "by-hand"), patch, kind_config.told(trust).flags)
