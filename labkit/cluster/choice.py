"""Which provider a home's cluster has, by LABKIT_CLUSTER."""

from __future__ import annotations

from collections.abc import Callable

from ..certificates import Certificates
from ..errors import ClusterError
from ..processes import Processes
from ..settings import ClusterChoice, Settings
from ..toolchain import Toolchain
from .docker import Docker
from .external import ExternalCluster
from .kind import NAME, KindCluster, refuse_foreign
from .kind_config import KindConfig
from .local import LocalCluster
from .provider import Provider
from .review import Somebody

_ANSWER_SECONDS = 5

Choice = Callable[[], tuple[ClusterChoice, str]]
"""Gives what `choose` gives; for ``auto`` it may ask Docker, which takes a moment."""


def choose(settings: Settings) -> tuple[ClusterChoice, str]:
    """Where the cluster comes from, and for ``auto`` without Docker a line that says why it is local processes.

    A home that has a cluster of one kind already keeps to it under ``auto``, whatever Docker does meanwhile.
    """
    if settings.cluster != "auto":
        return settings.cluster, ""
    if (settings.home / "kind").exists():
        return "kind", ""
    if (settings.home / "etcd").exists():
        return "local", ""
    docker = Docker(seconds=_ANSWER_SECONDS)
    try:
        docker.require()
        refuse_foreign(docker, KindConfig(settings))
    except ClusterError as error:
        return "local", f"no KinD here ({error.what}), so the cluster {NAME} runs as local processes"
    return "kind", ""


def provider_of(
    chosen: ClusterChoice,
    settings: Settings,
    processes: Processes,
    certificates: Certificates,
    tools: Toolchain,
    somebody: Callable[[], Somebody],
) -> Provider:
    """What runs a cluster that comes from there."""
    match chosen:
        case "kind":
            return KindCluster(settings, processes, tools, somebody)
        case "external":
            return ExternalCluster(settings, tools, somebody)
        case _:
            return LocalCluster(settings, processes, certificates, tools)
