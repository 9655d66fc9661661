"""A cluster in KinD: Kubernetes in a container (kind.sigs.k8s.io), made, taken over, looked into and deleted.

kind's success proves little: the flags may have been dropped, the CA not mounted, Keycloak out of reach. So everything is read back.
"""

from __future__ import annotations

import base64
import errno
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from ..display import progress
from ..errors import ClusterError, PortInUse
from ..exchanges import Exchange
from ..hosting import is_loopback
from ..ports import listener
from ..processes import Processes, Server
from ..settings import Settings, write_private
from ..toolchain import Toolchain
from ..toolchain.pins import KIND_NODE_IMAGE
from . import relay
from .docker import INSTEAD, Docker, Network, kind_environment
from .kind_config import PORT_NAMES, KindConfig, told
from .kind_faults import AGAIN, UNREACHED, not_created, unreached
from .provider import Endpoint
from .review import Somebody, insist
from .trust import Trust

NAME = "platform"
NODE = f"{NAME}-control-plane"
RELAY = "keycloak-relay"
_NETWORK = "kind"
_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_LOGS = "/var/log/pods/kube-system_kube-apiserver-*/kube-apiserver"
_CREATE_SECONDS = 900
_DELETE = f"kind delete cluster --name {NAME}"


class KindCluster:
    """The `Provider` that makes a KinD cluster named ``platform``.

    Args:
        settings: The home.
        processes: Its servers; the relay to Keycloak is one.
        tools: Where kind comes from.
        somebody: Signs somebody in, to ask the API server about.
        docker: Docker.
    """

    name = f"kind-{NAME}"
    programs = ("kind",)
    shared = False

    def __init__(
        self, settings: Settings, processes: Processes, tools: Toolchain, somebody: Callable[[], Somebody], docker: Docker | None = None
    ) -> None:
        self._settings, self._processes, self._tools, self._somebody = settings, processes, tools, somebody
        self._docker = docker or Docker()
        self._folder = settings.home / "kind"
        self._config = KindConfig(settings)

    @property
    def endpoint(self) -> Endpoint:
        """As kind wrote it when it made the cluster."""
        if not self._kubeconfig.exists():
            msg = f"this home has no cluster {NAME} yet"
            raise ClusterError(msg, fix="start it: labkit up, or lab.cluster.start() in a notebook")
        written = yaml.safe_load(self._kubeconfig.read_text())
        cluster, ca = written["clusters"][0]["cluster"], self._folder / "ca.crt"
        authority = base64.b64decode(cluster["certificate-authority-data"])
        if not ca.exists() or ca.read_bytes() != authority:
            write_private(ca, authority, mode=0o644)
        return Endpoint(self.name, cluster["server"], ca, written["users"][0]["user"])

    def start(self, trust: Trust) -> None:
        """Make the cluster or take over this home's own, and prove that it knows people.

        Raises:
            ClusterError: Docker can't be used; a cluster of that name is somebody else's; or the API server is not as it was to be.
            PortInUse: One of the ports of its nodes is taken.
            ServerError: The relay does not come up.
        """
        if urlsplit(trust.issuer).scheme != "https":
            msg = f"the issuer {trust.issuer} is not https"
            why = "the API server refuses to start with it, which kubeadm reports after a minute as a time-out"
            raise ClusterError(msg, why=why, fix="give Keycloak a certificate, and name the issuer with https")
        with self._processes.lock():
            desktop = self._docker.require()
            refuse_foreign(self._docker, self._config)
            alias = self._reach(trust, desktop) if is_loopback(trust.issuer) else ""
            stale = self._config.write(trust, alias)
            if stale or not self._can_be_taken_over(trust, alias):
                self._delete()
                self._create(trust, alias)
        insist(self._somebody(), lambda: self._discovery_fault(trust))

    def stop(self) -> bool:
        """Delete this home's cluster and stop the relay; the network ``kind`` and other homes' clusters stay."""
        with self._processes.lock():
            self._docker.require()
            ran = self._delete()
            shutil.rmtree(self._folder, ignore_errors=True)
            return self._processes.stop(RELAY) or ran

    def is_running(self) -> bool:
        """Whether this home's node runs."""
        try:
            return self._kubeconfig.exists() and self._nodes() == {NODE: True} and self._runs()
        except ClusterError:
            return False

    def server_log(self, lines: int) -> str:
        """The last lines of the API server's log, read in the node."""
        try:
            return self._docker.run("exec", NODE, "sh", "-c", f"tail -qn {lines} $(ls -tr {_LOGS}/*.log)")
        except ClusterError:
            return ""

    def flags(self) -> tuple[str, ...]:
        """The API server's command line, read in the node."""
        try:
            pod = yaml.safe_load(self._docker.read(NODE, _MANIFEST))
        except ClusterError:
            return ()
        return tuple(pod["spec"]["containers"][0]["command"][1:])

    def exchanges(self) -> list[Exchange]:
        """Nothing: kind's API server keeps no audit log unless told to, and then within the node."""
        return []

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The relay and the node."""
        there = self.is_running()
        node = (NODE, "runs" if there else "stopped", "", self.endpoint.url if there else "", "")
        return [self._processes.row(RELAY, "the gateway of Docker's network"), node]

    @property
    def _kubeconfig(self) -> Path:
        return self._folder / "kubeconfig"

    def _nodes(self) -> dict[str, bool]:
        """The containers of a cluster of that name, each with whether this home made it."""
        return _nodes(self._docker, self._config)

    def _runs(self) -> bool:
        return bool(self._docker.inspect(NODE)[0]["State"]["Running"])

    def _reach(self, trust: Trust, desktop: bool) -> str:
        """Make Keycloak reachable from the network of the nodes; returns the address."""
        network = self._docker.network(_NETWORK)
        if desktop:
            # Docker Desktop carries connections to this name on to the loopback of the machine around it. Not tried.
            probe = ("--rm", f"--network={_NETWORK}", "--entrypoint=getent", KIND_NODE_IMAGE, "ahostsv4", "host.docker.internal")
            return self._docker.run("run", *probe, seconds=_CREATE_SECONDS).split()[0]
        issuer = urlsplit(trust.issuer)
        self._start_relay(network, issuer.port or 443)
        return network.gateway

    def _start_relay(self, network: Network, port: int) -> None:
        if not self._processes.running(RELAY):
            _refuse_unusable(network.gateway, port)

        def answers() -> bool:
            with socket.create_connection((network.gateway, port), timeout=5):
                return True

        argv = (sys.executable, "-P", relay.__file__, network.gateway, str(port), "127.0.0.1", str(port), network.subnet)
        self._processes.start(Server(name=RELAY, argv=argv, ports=(), ready=answers))

    def _create(self, trust: Trust, alias: str) -> None:
        for name in PORT_NAMES:
            port = self._settings.ports[name]
            holder = listener(port)
            if holder:
                msg = f"port {port}, which the KinD cluster needs, is in use by {holder}"
                raise PortInUse(msg, fix=f"stop that program, or move the cluster's port: set LABKIT_{name.upper()}_PORT")
        kind = self._tools.ensure("kind")["kind"].path
        command = (
            # A node that was not made whole is looked into before it is deleted.
            *(str(kind), "create", "cluster", f"--name={NAME}", "--retain", f"--config={self._config.file}"),
            *(f"--kubeconfig={self._kubeconfig}", f"--image={KIND_NODE_IMAGE}"),
        )
        log = self._processes.log_file("kind")
        with progress(f"making the KinD cluster {NAME}; the first time its image is fetched (about 1 GB)"):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=_CREATE_SECONDS, env=kind_environment(), check=False)
                write_private(log, done.stdout + done.stderr)
                fault = self._fault(trust, alias) if self._nodes() else None
                if fault is not None or done.returncode:
                    raise fault or not_created(done.stderr, log)
            except BaseException:
                self._delete()
                raise

    def _delete(self) -> bool:
        """Delete this home's nodes and no others; returns whether there were any."""
        ours = [name for name, is_ours in self._nodes().items() if is_ours]
        if ours:
            self._docker.run("rm", "-f", "-v", *ours, seconds=120)
        self._kubeconfig.unlink(missing_ok=True)
        return bool(ours)

    def _can_be_taken_over(self, trust: Trust, alias: str) -> bool:
        """Whether this home's cluster is there, whole and as it is to be; a stopped node is started for that."""
        if not (self._kubeconfig.exists() and self._nodes()):
            return False
        if not self._runs():
            self._docker.run("start", NODE)
        return self._fault(trust, alias) is None

    def _fault(self, trust: Trust, alias: str) -> ClusterError | None:
        """Read back from the node what the API server was told, and by which files."""
        wanted = told(trust)
        for path, text in wanted.files.items():
            try:
                found = self._docker.read(NODE, str(path))
            except ClusterError as error:
                found = error.why
            if found != text:
                msg = f"the node has no {path}, or another one than this lab's"
                return ClusterError(msg, why="the file was not mounted (extraMounts), or Docker may not read this home", fix=AGAIN)
        try:
            pod = yaml.safe_load(self._docker.read(NODE, _MANIFEST))["spec"]
        except ClusterError as error:
            return ClusterError("the node has no API server", why=error.why, fix=AGAIN)
        missing = [flag for flag in wanted.flags if flag not in pod["containers"][0]["command"]]
        if missing:
            msg = "kind made the cluster, but its API server was not told whom to believe"
            why = f"kubeadm dropped, without a word: {' '.join(missing)}"
            return ClusterError(msg, why=why, fix=f"kind 0.32 or newer hands them over in the node's own form; {AGAIN}")
        if alias and {"ip": alias, "hostnames": ["localhost"]} not in pod.get("hostAliases", ()):
            msg = "kind made the cluster, but its API server would look for Keycloak in the node itself"
            return ClusterError(msg, why="kubeadm did not apply the patch that has localhost lead to this machine too", fix=AGAIN)
        return None

    def _discovery_fault(self, trust: Trust) -> ClusterError | None:
        """What keeps the API server from the realm, by its log; it tries every ten seconds, and the second failure in a row counts."""
        reasons = UNREACHED.findall(self.server_log(400))
        return unreached(reasons[-1], trust) if len(reasons) > 1 else None


def refuse_foreign(docker: Docker, config: KindConfig) -> None:
    """Insist that a cluster of that name, if there is one, is this home's.

    Raises:
        ClusterError: It is somebody else's.
    """
    others = [name for name, ours in _nodes(docker, config).items() if not ours]
    if others:
        msg = f"there is a KinD cluster {NAME} that this lab has not made; it is left as it is"
        why = f"its nodes ({', '.join(others)}) have no folder {config.mark}"
        raise ClusterError(msg, why=why, fix=f"if nobody needs it any more: {_DELETE}; else\n{INSTEAD}")


def _nodes(docker: Docker, config: KindConfig) -> dict[str, bool]:
    listed = docker.run("ps", "-a", "--filter", f"label=io.x-k8s.io.kind.cluster={NAME}", "--format", "{{.Names}}").split()
    return {
        str(each["Name"]).removeprefix("/"): config.mark in (mount["Destination"] for mount in each["Mounts"])
        for each in docker.inspect(*listed)
    }


def _refuse_unusable(gateway: str, port: int) -> None:
    """Insist that this machine has the address, and that the port is free there."""
    with socket.socket() as here:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            here.bind((gateway, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                msg = f"{gateway}:{port}, where containers are to find Keycloak, is in use by another program"
                raise PortInUse(msg, fix=f"stop that program, or set LABKIT_KEYCLOAK_PORT; or\n{INSTEAD}") from error
            msg = f"{gateway}, the gateway of Docker's network {_NETWORK}, is no address of this machine"
            why = "Docker runs somewhere else: rootless, in a virtual machine, or on another one that DOCKER_HOST names"
            raise ClusterError(msg, why=why, fix=INSTEAD) from error
