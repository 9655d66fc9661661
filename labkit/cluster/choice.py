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
from .kind import NAME, KindCluster
from .local import LocalCluster
from .provider import Provider
from .review import Somebody

_ANSWER_SECONDS = 5


def choose(
    settings: Settings, processes: Processes, certificates: Certificates, tools: Toolchain, somebody: Callable[[], Somebody]
) -> tuple[Provider, str]:
    """The provider, and for ``auto`` without Docker a line that says why it is local processes.

    A home that has a cluster of one kind already keeps to it under ``auto``, whatever Docker does meanwhile.
    """
    chosen, note = (settings.cluster, "") if settings.cluster != "auto" else _automatic(settings, processes, tools, somebody)
    match chosen:
        case "kind":
            return KindCluster(settings, processes, tools, somebody), note
        case "external":
            return ExternalCluster(settings, tools, somebody), note
        case _:
            return LocalCluster(settings, processes, certificates, tools), note


def _automatic(settings: Settings, processes: Processes, tools: Toolchain, somebody: Callable[[], Somebody]) -> tuple[ClusterChoice, str]:
    if (settings.home / "kind").exists():
        return "kind", ""
    if (settings.home / "etcd").exists():
        return "local", ""
    docker = Docker(seconds=_ANSWER_SECONDS)
    try:
        docker.require()
        KindCluster(settings, processes, tools, somebody, docker).refuse_foreign()
    except ClusterError as error:
        return "local", f"no KinD here ({error.what}), so the cluster {NAME} runs as local processes"
    return "kind", ""
