"""What a KinD cluster needs of this machine, looked at before anything is started or changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...common.display import Finding, Findings
from ...common.errors import ClusterError, LabkitError, PortInUse
from ...config.hosting import is_loopback
from ...config.ports import listener
from ...config.settings import Settings
from ...toolchain.pins import KIND_NODE_IMAGE
from ...workshop.cluster_files import MARK
from .docker import INSTEAD, Daemon, Docker, run_kind
from .node_image import NodeImage

NAME = "platform"
"""The cluster's name, as the seed has it."""

PORT_NAMES = ("kind_31337", "kind_31340", "kind_31333")
"""The seed's ports, by their names in `labkit.config.settings.PORTS`, where they may have other numbers on this machine."""

_ANSWER_SECONDS = 5
_OFFER_SECONDS = 2
_KEPT = "this folder's cluster is a KinD, until labkit down deletes it"
_GO_ON = (
    "go on with it in a terminal: labkit down, then LABKIT_CLUSTER=kind labkit up\n"
    "      then restart this notebook's kernel; the folder keeps its KinD cluster, without the variable too, until labkit down deletes it"
)
_NODE_GB, _IMAGE_GB = 1.0, 1.5
"""Disk that a node takes, and its image besides."""


def mark_of(settings: Settings) -> str:
    """Where a home's nodes have a folder, and no others.

    kind can put no label on a container; a mount shows on a stopped one too, and is there from the very moment the container is.
    """
    return MARK.replace("${HOME_ID}", settings.home_id)


def look(settings: Settings, issuer: str, kind: Path | None) -> Findings:
    """Look whether a KinD cluster can be made on this machine; the last finding says how to go on with it, or what is missing.

    Nothing is changed. What builds on something that is missing is not looked at.

    Args:
        settings: The home.
        issuer: Which Keycloak its nodes have to find.
        kind: The program; without it nobody can say whose a cluster is.
    """
    seen: list[Finding] = []
    try:
        # Those before the first that raises are kept.
        seen.extend(Finding(True, text) for text in KindChecks(settings, Docker(seconds=_ANSWER_SECONDS), issuer).each(kind))
    except LabkitError as error:
        seen.append(Finding(False, "\n      ".join(filter(None, (error.what, *error.why.splitlines()))), error.fix))
    else:
        seen.append(Finding(True, _KEPT if settings.cluster == "kind" else _GO_ON))
    return Findings("a KinD cluster can be made on this machine", tuple(seen))


def docker_answers() -> bool:
    """Whether a Docker answers here; one that is silent is given two seconds."""
    try:
        Docker(seconds=_OFFER_SECONDS).require()
    except ClusterError:
        return False
    return True


def node_names(kind: Path) -> list[str]:
    """The nodes of the cluster, whoever made it, by the names that kind gives them.

    Raises:
        ClusterError: kind can't tell.
    """
    done = run_kind(kind, "get", "nodes", f"--name={NAME}")
    if done.returncode:
        msg = "kind can't list its nodes"
        raise ClusterError(msg, why=done.stderr, fix=INSTEAD)
    return done.stdout.split()


def no_node() -> ClusterError:
    """The error for what needs a node where there is none."""
    return ClusterError(f"there is no node of the cluster {NAME}", fix="labkit up")


class KindChecks:
    """The checks for one home.

    Args:
        settings: The home.
        docker: Docker.
        issuer: Which Keycloak its nodes have to find.
    """

    def __init__(self, settings: Settings, docker: Docker, issuer: str) -> None:
        self._settings, self._docker, self._mark = settings, docker, mark_of(settings)
        self._by_gateway, self._image = is_loopback(issuer), NodeImage.of(settings, docker)

    def insist(self, kind: Path) -> None:
        """Insist that a cluster can be made.

        Raises:
            ClusterError: Something stands in the way.
            PortInUse: One of the ports of its node is taken.
        """
        for _ in self.each(kind):
            pass

    def each(self, kind: Path | None) -> Iterator[str]:
        """Say what is well, one thing after the other.

        Raises:
            ClusterError: The first thing that is not.
            PortInUse: A port is taken.
        """
        daemon = self._docker.require()
        yield f"Docker {daemon.version} answers ({daemon.system})"
        if self._by_gateway and daemon.elsewhere:
            msg = f"{daemon.elsewhere}: a node in it can't find Keycloak on this machine"
            why = f"its containers' gateway is not this machine; docker is found at {daemon.endpoint}"
            raise ClusterError(msg, why=why, fix=f"use a Docker that runs on this machine itself, or a Keycloak elsewhere; or\n{INSTEAD}")
        self._refuse_cgroups(daemon)
        yield f"its containers have cgroup v{daemon.cgroups}"
        nodes = self._docker.containers_with(self._mark)
        if kind:
            self._refuse_foreign(kind, nodes)
            yield f"no cluster {NAME} is somebody else's"
        if not nodes:
            self._refuse_taken_ports()
            yield f"its ports {', '.join(str(self._settings.ports[name]) for name in PORT_NAMES)} are free"
        here = self._docker.has_image(self._image.to_use())
        self._refuse_full_disk(daemon, 0 if nodes else _NODE_GB if here else _NODE_GB + _IMAGE_GB)
        yield f"the node image {self._image.name} is {'here' if here else 'not here yet: setting up fetches it (about 1 GB)'}"

    def _refuse_cgroups(self, daemon: Daemon) -> None:
        # Another image may have been told otherwise.
        if daemon.cgroups == "1" and self._image.name == KIND_NODE_IMAGE:
            msg = "this machine has cgroup v1, which Kubernetes no longer runs with"
            why = "kubelet refuses it since 1.35, unless its node image is told otherwise (--fail-cgroupv1=false)"
            raise ClusterError(msg, why=why, fix=f"boot with cgroup v2, or name such an image in LABKIT_KIND_IMAGE; or\n{INSTEAD}")
        if not daemon.limits:
            msg = "Docker can't limit a container's memory here, which Kubernetes needs"
            why = "rootless Docker gets cgroup controllers only by delegation" if daemon.rootless else "the memory controller is missing"
            raise ClusterError(msg, why=why, fix=f"see kind.sigs.k8s.io/docs/user/rootless; or\n{INSTEAD}")

    def _refuse_foreign(self, kind: Path, own: dict[str, bool]) -> None:
        others = sorted(set(node_names(kind)) - set(own))
        if others:
            msg = f"there is a KinD cluster {NAME} that this lab has not made; it is left as it is"
            why = f"its nodes ({', '.join(others)}) have no folder {self._mark}"
            raise ClusterError(msg, why=why, fix=f"if nobody needs it any more: kind delete cluster --name {NAME}; else\n{INSTEAD}")

    def _refuse_taken_ports(self) -> None:
        for name in PORT_NAMES:
            port = self._settings.ports[name]
            holder = listener(port)
            if holder:
                msg = f"port {port}, which the KinD cluster needs, is in use by {holder}"
                raise PortInUse(msg, fix=f"stop that program, or move the cluster's port: set LABKIT_{name.upper()}_PORT")

    def _refuse_full_disk(self, daemon: Daemon, gigabytes: float) -> None:
        # Of a Docker in a virtual machine the folder is not this machine's.
        with suppress(OSError):
            free = shutil.disk_usage(daemon.root).free / 1e9
            if not daemon.elsewhere and not daemon.is_desktop and free < gigabytes:
                msg = f"the disk that holds {daemon.root} has {free:.1f} GB free, and a KinD cluster takes {gigabytes:.1f} GB more"
                raise ClusterError(msg, fix=f"make room on it (docker system df shows what Docker has there); or\n{INSTEAD}")
