"""Find what keeps this machine from having a KinD cluster, before anything is changed or from kind's log afterwards."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from ...common.display import Finding, Findings
from ...common.errors import ClusterError, LabkitError, PortInUse
from ...config.hosting import is_loopback
from ...config.ports import listener
from ...config.settings import Settings
from ...toolchain.pins import KIND_NODE_IMAGE
from ...workshop.files import MARK
from .docker import Daemon, Docker, explained, last_lines, run_kind
from .files import PORT_NAMES
from .node_image import NodeImage

NAME = "platform"
"""The cluster's name, as the seed has it."""

_ANSWER_SECONDS = 5
_OFFER_SECONDS = 2
_KEPT = "this folder's cluster is a KinD, until labkit down deletes it"
_GO_ON = (
    "go on with it in a terminal: labkit down, then LABKIT_CLUSTER=kind labkit up\n"
    "then restart this notebook's kernel; the folder keeps its KinD cluster, without the variable too, until labkit down deletes it"
)
_NODE_GB, _IMAGE_GB = 1.0, 1.5
"""Disk that a node takes, and its image besides."""


def mark_of(settings: Settings) -> str:
    """Name the folder that the nodes of this lab have and no others.

    kind can put no label on a container; a mount shows on a stopped one too, and is there as soon as the container exists.
    """
    return MARK.replace("${HOME_ID}", settings.folder_id)


def look(settings: Settings, issuer: str, kind: Path | None) -> Findings:
    """Look whether a KinD cluster can be made on this machine; the last finding says how to go on with it, or what is missing.

    Nothing is changed. What builds on something that is missing is not looked at; without the program ``kind`` nobody can say whose a
    cluster is.
    """
    seen: list[Finding] = []
    docker = Docker(seconds=_ANSWER_SECONDS)
    try:
        # Those before the first that raises are kept.
        seen.extend(Finding(True, text) for text in _checks(settings, docker, docker.require(), issuer, kind))
    except LabkitError as error:
        seen.append(Finding.of(error.problem))
    else:
        seen.append(Finding(True, _KEPT if settings.cluster == "kind" else _GO_ON))
    return Findings("a KinD cluster can be made on this machine", tuple(seen))


def insist(settings: Settings, docker: Docker, issuer: str, kind: Path) -> Daemon:
    """Insist that a KinD cluster can be made on this machine: raise what `look` would find to be missing."""
    daemon = docker.require()
    for _ in _checks(settings, docker, daemon, issuer, kind):
        pass
    return daemon


def docker_answers() -> bool:
    """Whether a Docker answers here; one that is silent is given two seconds."""
    try:
        Docker(seconds=_OFFER_SECONDS).require()
    except ClusterError:
        return False
    return True


def node_names(kind: Path) -> list[str]:
    """The nodes of the cluster, whoever made it, by the names that kind gives them."""
    done = run_kind(kind, "get", "nodes", f"--name={NAME}")
    if done.returncode:
        raise ClusterError("kind-no-list", said=done.stderr)
    return done.stdout.split()


def no_node() -> ClusterError:
    """The error for what needs a node where there is none."""
    return ClusterError("kind-no-node", name=NAME)


def unreached(reason: str, issuer: str) -> ClusterError:
    """Why the API server can't read the discovery document, by the ``reason`` in its log."""
    return explained("kind-discovery", reason, issuer=issuer, port=urlsplit(issuer).port or 443)


def not_created(said: str, log: Path) -> ClusterError | PortInUse:
    """Why ``kind create cluster`` failed, by what it said; ``log`` holds all of it."""
    if re.search("port is already allocated|address already in use", said):
        return PortInUse("kind-port-in-use", said=last_lines(said))
    return explained("kind", said, log=log)


def _checks(settings: Settings, docker: Docker, daemon: Daemon, issuer: str, kind: Path | None) -> Iterator[str]:
    """Say what is well, one thing after the other, and raise an error for the first thing that is not."""
    image, mark = NodeImage.of(settings, docker), mark_of(settings)
    yield f"Docker {daemon.version} answers ({daemon.system})"
    if is_loopback(issuer) and daemon.elsewhere:
        raise ClusterError("docker-elsewhere", where=daemon.elsewhere, endpoint=daemon.endpoint)
    _refuse_cgroups(daemon, image)
    yield f"its containers have cgroup v{daemon.cgroups}"
    nodes = docker.containers_with(mark)
    if kind:
        if others := sorted(set(node_names(kind)) - set(nodes)):
            raise ClusterError("kind-foreign-cluster", name=NAME, nodes=", ".join(others), folder=mark)
        yield f"no cluster {NAME} is somebody else's"
    if not nodes:
        ports = {name: settings.ports[name] for name in PORT_NAMES}
        for name, port in ports.items():
            if holder := listener(port):
                raise PortInUse("kind-port-taken", port=port, holder=holder, variable=name.upper())
        yield f"its ports {', '.join(map(str, ports.values()))} are free"
    here = docker.has_image(image.to_use())
    _refuse_full_disk(daemon, 0 if nodes else _NODE_GB if here else _NODE_GB + _IMAGE_GB)
    yield f"the node image {image.name} is {'here' if here else 'not here yet: setting up fetches it (about 1 GB)'}"


def _refuse_cgroups(daemon: Daemon, image: NodeImage) -> None:
    # Another image may be configured otherwise.
    if daemon.cgroups == "1" and image.name == KIND_NODE_IMAGE:
        raise ClusterError("docker-cgroup-v1")
    if not daemon.limits:
        raise ClusterError("docker-rootless" if daemon.rootless else "docker-no-memory-limit")


def _refuse_full_disk(daemon: Daemon, gigabytes: float) -> None:
    # Of a Docker in a virtual machine the folder is not this machine's.
    with suppress(OSError):
        free = shutil.disk_usage(daemon.root).free / 1e9
        if not daemon.elsewhere and not daemon.is_desktop and free < gigabytes:
            raise ClusterError("docker-disk-full", folder=daemon.root, free=f"{free:.1f}", wanted=f"{gigabytes:.1f}")
