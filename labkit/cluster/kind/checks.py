"""What keeps this machine from having a KinD cluster: looked at before anything is changed, or told from what kind says afterwards."""

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
from .docker import INSTEAD, Daemon, Docker, explained, last_lines, run_kind, unusable
from .files import PORT_NAMES
from .node_image import NodeImage

NAME = "platform"
"""The cluster's name, as the seed has it."""

AGAIN = "start from nothing: labkit down, then labkit up"
"""The fix for a cluster of this home that is not as it should be."""

_ANSWER_SECONDS = 5
_OFFER_SECONDS = 2
_KEPT = "this folder's cluster is a KinD, until labkit down deletes it"
_GO_ON = (
    "go on with it in a terminal: labkit down, then LABKIT_CLUSTER=kind labkit up\n"
    "      then restart this notebook's kernel; the folder keeps its KinD cluster, without the variable too, until labkit down deletes it"
)
_NODE_GB, _IMAGE_GB = 1.0, 1.5
"""Disk that a node takes, and its image besides."""

_REMEDIES = {
    "inotify|too many open files": (
        "the node has no inotify instances left to watch files with",
        "give this machine more: sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512",
    ),
    "not run on a host using cgroup v1": ("this machine has cgroup v1, which kubelet in the node refuses", "boot with cgroup v2"),
    'running kind with rootless provider requires|"delegate=yes"': (
        "rootless Docker has no cgroup controllers here",
        "have systemd delegate them (Delegate=yes): kind.sigs.k8s.io/docs/user/rootless",
    ),
    "no space left on device": ("the disk that Docker writes to is full", "make room on it: docker system df"),
}
"""What kind's log says, what that means, and the fix."""


def mark_of(settings: Settings) -> str:
    """Where a home's nodes have a folder, and no others.

    kind can put no label on a container; a mount shows on a stopped one too, and is there from the very moment the container is.
    """
    return MARK.replace("${HOME_ID}", settings.home_id)


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
        seen.append(Finding(False, "\n      ".join(filter(None, (error.what, *error.why.splitlines()))), error.fix))
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
        msg = "kind can't list its nodes"
        raise unusable(msg, why=done.stderr)
    return done.stdout.split()


def no_node() -> ClusterError:
    """The error for what needs a node where there is none."""
    return ClusterError(f"there is no node of the cluster {NAME}", fix="labkit up")


def unreached(reason: str, issuer: str) -> ClusterError:
    """Why the API server can't read the discovery document, by the ``reason`` in its log."""
    port = urlsplit(issuer).port or 443
    what = "the API server in the node can't read the realm's discovery document"
    remedies = {
        "x509": (
            f"{what}: it does not trust Keycloak's certificate",
            f"the CA that it was given is not the one that signed it; {AGAIN}",
        ),
        "timeout|deadline exceeded|no route to host": (
            f"{what}: nothing comes through to this machine, as behind a firewall",
            f"let SUBNET in (docker network inspect kind names it), with ufw: sudo ufw allow proto tcp from SUBNET to any port {port}",
        ),
        "connection refused": (
            f"{what}: nobody listens at the gateway",
            "labkit status shows whether Keycloak and keycloak-relay run; labkit up starts them",
        ),
    }
    return explained(reason, remedies) or unusable(what, why=reason, fix=f"see whether the realm answers at {issuer}: lab 01-keycloak")


def not_created(said: str, log: Path) -> ClusterError | PortInUse:
    """Why ``kind create cluster`` failed, by what it said; ``log`` holds all of it."""
    if re.search("port is already allocated|address already in use", said):
        fix = "labkit's ports are LABKIT_KIND_31337_PORT, …; the message names the taken one"
        return PortInUse("a port of the KinD cluster is in use", why=last_lines(said), fix=fix)
    failed = unusable("kind could not make the cluster", why=last_lines(said), fix=f"the whole log: {log}")
    return explained(said, _REMEDIES) or failed


def _checks(settings: Settings, docker: Docker, daemon: Daemon, issuer: str, kind: Path | None) -> Iterator[str]:
    """Say what is well, one thing after the other, and raise an error for the first thing that is not."""
    image, mark = NodeImage.of(settings, docker), mark_of(settings)
    yield f"Docker {daemon.version} answers ({daemon.system})"
    if is_loopback(issuer) and daemon.elsewhere:
        msg = f"{daemon.elsewhere}: a node in it can't find Keycloak on this machine"
        why = f"its containers' gateway is not this machine; docker is found at {daemon.endpoint}"
        raise unusable(msg, why=why, fix="use a Docker that runs on this machine itself, or a Keycloak elsewhere")
    _refuse_cgroups(daemon, image)
    yield f"its containers have cgroup v{daemon.cgroups}"
    nodes = docker.containers_with(mark)
    if kind:
        if others := sorted(set(node_names(kind)) - set(nodes)):
            msg = f"there is a KinD cluster {NAME} that this lab has not made; it is left as it is"
            why = f"its nodes ({', '.join(others)}) have no folder {mark}"
            raise ClusterError(msg, why=why, fix=f"if nobody needs it any more: kind delete cluster --name {NAME}; else\n{INSTEAD}")
        yield f"no cluster {NAME} is somebody else's"
    if not nodes:
        ports = {name: settings.ports[name] for name in PORT_NAMES}
        for name, port in ports.items():
            if holder := listener(port):
                msg = f"port {port}, which the KinD cluster needs, is in use by {holder}"
                raise PortInUse(msg, fix=f"stop that program, or move the cluster's port: set LABKIT_{name.upper()}_PORT")
        yield f"its ports {', '.join(map(str, ports.values()))} are free"
    here = docker.has_image(image.to_use())
    _refuse_full_disk(daemon, 0 if nodes else _NODE_GB if here else _NODE_GB + _IMAGE_GB)
    yield f"the node image {image.name} is {'here' if here else 'not here yet: setting up fetches it (about 1 GB)'}"


def _refuse_cgroups(daemon: Daemon, image: NodeImage) -> None:
    # Another image may have been told otherwise.
    if daemon.cgroups == "1" and image.name == KIND_NODE_IMAGE:
        msg = "this machine has cgroup v1, which Kubernetes no longer runs with"
        why = "kubelet refuses it since 1.35, unless its node image is told otherwise (--fail-cgroupv1=false)"
        raise unusable(msg, why=why, fix="boot with cgroup v2, or name such an image in LABKIT_KIND_IMAGE")
    if not daemon.limits:
        msg = "Docker can't limit a container's memory here, which Kubernetes needs"
        why = "rootless Docker gets cgroup controllers only by delegation" if daemon.rootless else "the memory controller is missing"
        raise unusable(msg, why=why, fix="see kind.sigs.k8s.io/docs/user/rootless")


def _refuse_full_disk(daemon: Daemon, gigabytes: float) -> None:
    # Of a Docker in a virtual machine the folder is not this machine's.
    with suppress(OSError):
        free = shutil.disk_usage(daemon.root).free / 1e9
        if not daemon.elsewhere and not daemon.is_desktop and free < gigabytes:
            msg = f"the disk that holds {daemon.root} has {free:.1f} GB free, and a KinD cluster takes {gigabytes:.1f} GB more"
            raise unusable(msg, fix="make room on it (docker system df shows what Docker has there)")
