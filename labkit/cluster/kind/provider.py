"""A cluster in KinD: Kubernetes in a container (kind.sigs.k8s.io), made, taken over, looked into and deleted.

kind's success proves little: the flags may have been dropped, the CA not mounted, Keycloak out of reach. So everything is read back.
What kind names its nodes is not relied upon: this home's are found by the folder that its own config mounts into them.
"""

from __future__ import annotations

import base64
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import yaml

from ...common.display import progress
from ...common.errors import ClusterError, PortInUse
from ...common.exchanges import Exchange
from ...config.hosting import is_loopback
from ...config.ports import LOOPBACK, listener
from ...config.settings import Settings, write_private
from ...servers.processes import Processes, Server
from ...toolchain import Toolchain
from .. import relay
from ..provider import Endpoint
from ..review import Somebody, insist
from ..trust import Trust
from .checks import NAME, KindChecks, mark_of, no_node
from .config import KindConfig, told
from .docker import INSTEAD, Docker, Network, run_kind
from .faults import AGAIN, UNREACHED, not_created, not_fetched, unreached
from .node_image import NodeImage

RELAY = "keycloak-relay"
_NETWORK = "kind"
_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_LOGS = "/var/log/pods/kube-system_kube-apiserver-*/kube-apiserver"
_CREATE_SECONDS = 900


class KindCluster:
    """The `Provider` that makes a KinD cluster named ``platform``, of one node.

    Args:
        settings: The home.
        processes: Its servers; the relay to Keycloak is one.
        tools: Where kind comes from.
        somebody: Signs somebody in, to ask the API server about.
        docker: Docker.
    """

    name = f"kind-{NAME}"
    programs = ("kind",)
    servers = ()
    shared = False

    def __init__(
        self, settings: Settings, processes: Processes, tools: Toolchain, somebody: Callable[[], Somebody], docker: Docker | None = None
    ) -> None:
        self._settings, self._processes, self._tools, self._somebody = settings, processes, tools, somebody
        self._docker = docker or Docker()
        self._folder, self._kubeconfig = settings.state.kind, settings.state.kind_kubeconfig
        self._config, self._image = KindConfig(settings), NodeImage.of(settings, self._docker)

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

    def prepare(self, issuer: str) -> None:
        """Look whether a cluster can be made, and fetch its node image.

        Raises:
            ClusterError: It can't, or the image can't be had.
            PortInUse: One of the ports of its node is taken.
        """
        if urlsplit(issuer).scheme != "https":
            msg = f"the issuer {issuer} is not https"
            why = "the API server refuses to start with it, which kubeadm reports after a minute as a time-out"
            raise ClusterError(msg, why=why, fix="give Keycloak a certificate, and name the issuer with https")
        KindChecks(self._settings, self._docker, issuer).insist(self._tools.ensure("kind")["kind"].path)
        if not self._nodes():
            self._fetch_image()

    def start(self, trust: Trust) -> None:
        """Make the cluster or take over this home's own, and prove that it knows people.

        A cluster that was begun here and can't be used is taken away again, and so is the relay to it.

        Raises:
            ClusterError: Docker can't be used; a cluster of that name is somebody else's; or the API server is not as it was to be.
            PortInUse: One of the ports of its node is taken.
            ServerError: The relay does not come up.
        """
        self.prepare(trust.issuer)
        with self._processes.lock():
            begun = False
            try:
                # An issuer elsewhere is found by its own name: localhost then leads where it leads anyway.
                gateway = self._reach(trust) if is_loopback(trust.issuer) else LOOPBACK
                stale = self._config.write(trust, gateway)
                if stale or not self._can_be_taken_over(trust, gateway):
                    self._fetch_image()
                    self._delete()
                    begun = True
                    self._create(trust, gateway)
                insist(self._somebody(), lambda: self._discovery_fault(trust))
            except BaseException:
                if begun or not self._kubeconfig.exists():
                    with suppress(ClusterError):
                        self._take_away()
                raise

    def stop(self) -> bool:
        """Delete this home's cluster and stop the relay; the network ``kind`` and other homes' clusters stay.

        Raises:
            ClusterError: Docker can't be asked to; the relay is stopped all the same.
        """
        with self._processes.lock():
            try:
                return self._take_away()
            except ClusterError as error:
                msg = f"the KinD cluster {NAME} can't be deleted: {error.what}"
                fix = f"mend that, then labkit down again; if that Docker is gone for good, remove the folder {self._folder}"
                raise ClusterError(msg, why=error.why, fix=fix) from None

    def is_running(self) -> bool:
        """Whether this home's node runs."""
        return self._state() == "runs"

    def server_log(self, lines: int) -> str:
        """The last lines of the API server's log, read in the node."""
        try:
            return self._docker.run("exec", self._node(), "sh", "-c", f"tail -qn {lines} $(ls -tr {_LOGS}/*.log)")
        except ClusterError:
            return ""

    def flags(self) -> tuple[str, ...]:
        """The API server's command line, read in the node."""
        try:
            return tuple(self._pod(self._node())["containers"][0]["command"][1:])
        except ClusterError:
            return ()

    def exchanges(self) -> list[Exchange]:
        """Nothing: kind's API server keeps no audit log unless told to, and then within the node."""
        return []

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The relay and the node, with what keeps Docker from telling of it."""
        state = self._state()
        node = (self.name, state, "", self.endpoint.url if state == "runs" else "", "")
        return [self._processes.row(RELAY, "the gateway of Docker's network"), node]

    def _state(self) -> str:
        if not self._kubeconfig.exists():
            return "stopped"
        try:
            return "runs" if any(self._nodes().values()) else "stopped"
        except ClusterError as error:
            return error.what

    def _nodes(self) -> dict[str, bool]:
        """This home's nodes, each with whether it runs."""
        return self._docker.containers_with(mark_of(self._settings))

    def _node(self) -> str:
        for name in self._nodes():
            return name
        raise no_node()

    def _pod(self, node: str) -> dict[str, Any]:
        """The API server's pod, as its manifest in the node specifies it."""
        return dict(yaml.safe_load(self._docker.read(node, _MANIFEST))["spec"])

    def _reach(self, trust: Trust) -> str:
        """Make Keycloak reachable from the network of the nodes; returns the address."""
        network = self._docker.network(_NETWORK)
        if self._docker.require().is_desktop:
            # Docker Desktop carries connections to this name on to the loopback of the machine around it. Not tried.
            image = self._image.to_use()
            probe = ("--rm", f"--network={_NETWORK}", "--entrypoint=getent", image, "ahostsv4", "host.docker.internal")
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

        argv = (*relay.SCRIPT, f"tcp:{network.gateway}:{port}=tcp:127.0.0.1:{port}={network.subnet}")
        self._processes.start(Server(name=RELAY, argv=argv, ports=(), ready=answers))

    def _fetch_image(self) -> None:
        if not self._docker.has_image(self._image.to_use()):
            try:
                self._docker.pull(self._image.name)
            except ClusterError as error:
                raise not_fetched(self._image.name, error) from None

    def _create(self, trust: Trust, gateway: str) -> None:
        kind = self._tools.ensure("kind")["kind"].path
        command = (
            # A node that was not made whole is looked into before it is deleted.
            *(kind, "create", "cluster", f"--name={NAME}", "--retain"),
            *(f"--config={self._config.file}", f"--kubeconfig={self._kubeconfig}", f"--image={self._image.to_use()}"),
        )
        log = self._processes.log_file("kind")
        with progress(f"making the KinD cluster {NAME}"):
            done = run_kind(*command, seconds=_CREATE_SECONDS)
            write_private(log, done.stdout + done.stderr)
            fault = self._fault(trust, gateway) if self._nodes() else None
            if fault is not None or done.returncode:
                raise fault or not_created(done.stderr, log)

    def _take_away(self) -> bool:
        """Remove all that there is of the cluster; returns whether there was anything."""
        had_relay = self._processes.stop(RELAY)
        had_nodes = self._delete()
        shutil.rmtree(self._folder, ignore_errors=True)
        return had_nodes or had_relay

    def _delete(self) -> bool:
        """Delete this home's nodes and no others; returns whether there were any."""
        nodes = self._nodes()
        if nodes:
            self._docker.run("rm", "-f", "-v", *nodes, seconds=120)
        self._kubeconfig.unlink(missing_ok=True)
        return bool(nodes)

    def _can_be_taken_over(self, trust: Trust, gateway: str) -> bool:
        """Whether this home's cluster is there, whole and as it is to be; a stopped node is started for that."""
        nodes = self._nodes() if self._kubeconfig.exists() else {}
        for name, runs in nodes.items():
            if not runs:
                self._docker.run("start", name)
        return bool(nodes) and self._fault(trust, gateway) is None

    def _fault(self, trust: Trust, gateway: str) -> ClusterError | None:
        """Read back from the node what the API server was told, and by which files."""
        wanted, node = told(trust), self._node()
        for path, text in wanted.files.items():
            try:
                found = self._docker.read(node, str(path))
            except ClusterError as error:
                found = error.why
            if found != text:
                msg = f"the node has no {path}, or another one than this lab's"
                return ClusterError(msg, why="the file was not mounted (extraMounts), or Docker may not read this home", fix=AGAIN)
        try:
            pod = self._pod(node)
        except ClusterError as error:
            return ClusterError("the node has no API server", why=error.why, fix=AGAIN)
        missing = [flag for flag in wanted.flags if flag not in pod["containers"][0]["command"]]
        if missing:
            msg = "kind made the cluster, but its API server was not told whom to believe"
            why = f"kubeadm dropped, without a word: {' '.join(missing)}"
            return ClusterError(msg, why=why, fix=f"kind 0.32 or newer hands them over in the node's own form; {AGAIN}")
        if {"ip": gateway, "hostnames": ["localhost"]} not in pod.get("hostAliases", ()):
            msg = "kind made the cluster, but its API server would look for Keycloak in the node itself"
            return ClusterError(msg, why="kubeadm did not apply the patch that has localhost lead to this machine too", fix=AGAIN)
        return None

    def _discovery_fault(self, trust: Trust) -> ClusterError | None:
        """What keeps the API server from the realm, by its log; it tries every ten seconds, and the second failure in a row counts."""
        reasons = UNREACHED.findall(self.server_log(400))
        return unreached(reasons[-1], trust) if len(reasons) > 1 else None


def _refuse_unusable(gateway: str, port: int) -> None:
    """Insist that this machine has the address, and that the port is free there."""
    try:
        holder = listener(port, address=gateway)
    except OSError as error:
        msg = f"{gateway}, the gateway of Docker's network {_NETWORK}, is no address of this machine"
        why = "Docker runs somewhere else: rootless, in a virtual machine, or on another one that DOCKER_HOST names"
        raise ClusterError(msg, why=why, fix=INSTEAD) from error
    if holder:
        msg = f"{gateway}:{port}, where containers are to find Keycloak, is in use by {holder}"
        raise PortInUse(msg, fix=f"stop that program, or set LABKIT_KEYCLOAK_PORT; or\n{INSTEAD}")
