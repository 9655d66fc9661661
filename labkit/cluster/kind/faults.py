"""What can be wrong with a KinD cluster, told from what kind and the API server in the node say."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from ...common.errors import ClusterError, PortInUse
from ..trust import Trust
from .docker import INSTEAD

AGAIN = f"start from nothing: labkit down, then labkit up; or {INSTEAD}"
"""The fix for a cluster of this home that is not as it should be."""

UNREACHED = re.compile(r"oidc authenticator: initializing plugin: (.*)")
"""What the API server's log says each time, every ten seconds, that it could not read the realm's discovery document."""


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
"""What kind's log says, and what that means."""


def unreached(reason: str, trust: Trust) -> ClusterError:
    """Why the API server can't read the discovery document, by the ``reason`` in its log."""
    what = "the API server in the node can't read the realm's discovery document"
    if "x509" in reason:
        msg = f"{what}: it does not trust Keycloak's certificate"
        return ClusterError(msg, why=reason, fix=f"the CA that it was given is not the one that signed it; {AGAIN}")
    if re.search("timeout|deadline exceeded|no route to host", reason):
        port = urlsplit(trust.issuer).port or 443
        fix = (
            f"let its network in, with ufw: sudo ufw allow proto tcp from SUBNET to any port {port}\n"
            f"(docker network inspect kind names the subnet), or\n{INSTEAD}"
        )
        return ClusterError(f"{what}: nothing comes through to this machine", why=f"{reason}\na firewall does that", fix=fix)
    if "connection refused" in reason:
        msg = f"{what}: nobody listens at the gateway"
        return ClusterError(msg, why=reason, fix="labkit status shows whether Keycloak and keycloak-relay run; labkit up starts them")
    return ClusterError(what, why=reason, fix=f"see whether the realm answers at {trust.issuer}: lab 01-keycloak")


def not_fetched(image: str, error: ClusterError) -> ClusterError:
    """Why there is no node image, by Docker's refusal to fetch it."""
    tagged = image.partition("@")[0]
    fix = (
        f"where there is network: docker pull {image}\nor carry it here: docker save {tagged} there, docker load here, "
        f"and LABKIT_KIND_IMAGE={tagged}\nor name another registry's in LABKIT_KIND_IMAGE; or\n{INSTEAD}"
    )
    return ClusterError(f"Docker has no node image {tagged} and can't fetch it", why=error.why or error.what, fix=fix)


def not_created(said: str, log: Path) -> ClusterError | PortInUse:
    """Why ``kind create cluster`` failed, by what it said; ``log`` holds all of it."""
    for words, (what, fix) in _REMEDIES.items():
        if re.search(words, said, re.IGNORECASE):
            return ClusterError(what, why=_last(said), fix=f"{fix}; or\n{INSTEAD}")
    if re.search("port is already allocated|address already in use", said):
        fix = "labkit's ports are LABKIT_KIND_31337_PORT, …; the message names the taken one"
        return PortInUse("a port of the KinD cluster is in use", why=_last(said), fix=fix)
    return ClusterError("kind could not make the cluster", why=_last(said), fix=f"the whole log: {log}, or\n{INSTEAD}")


def _last(said: str) -> str:
    return "\n".join([line for line in said.splitlines() if line.strip()][-6:])
