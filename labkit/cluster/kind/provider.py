"""A cluster in KinD: Kubernetes in a container (kind.sigs.k8s.io), made, taken over, looked into and deleted.

kind's success proves little: the flags may have been dropped, the CA not mounted, Keycloak out of reach. So everything is read back.
What kind names its nodes is not relied upon: this lab's are found by the folder that its own config mounts into them.
"""

from __future__ import annotations

import base64
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from ...common.display import progress
from ...common.errors import ClusterError, PortInUse
from ...common.kubernetes_yaml import load
from ...config.files import write_private
from ...config.hosting import is_loopback
from ...config.ports import LOOPBACK, listener
from ...config.settings import Settings
from ...servers.processes import Processes, Server
from ...servers.status import ServerStatus, State
from ...toolchain import Toolchain
from .. import relay
from ..provider import Endpoint, Prove, Provider
from ..refusals import UNREACHED
from ..trust import Trust
from .checks import NAME, insist, mark_of, not_created, unreached
from .docker import Daemon, Docker, run_kind
from .files import CONFIG, KindFiles
from .node_image import NodeImage
from .nodes import Nodes

RELAY = "keycloak-relay"
_NETWORK = "kind"
_CREATE_SECONDS = 900


class KindCluster(Provider):
    """A KinD cluster named ``platform``, of one node, and the relay by which it reaches Keycloak."""

    name = f"kind-{NAME}"
    programs = ("kind",)

    def __init__(self, settings: Settings, processes: Processes, tools: Toolchain, prove: Prove) -> None:
        self._settings, self._processes, self._tools, self._prove = settings, processes, tools, prove
        self._docker = Docker()
        self._folder, self._kubeconfig = settings.state.kind, settings.state.kind_kubeconfig
        self._nodes, self._image = Nodes(self._docker, mark_of(settings)), NodeImage.of(settings, self._docker)
        self._prepared: dict[str, Daemon] = {}

    @property
    def endpoint(self) -> Endpoint:
        if not self._kubeconfig.exists():
            raise ClusterError("kind-not-made", name=NAME)
        written = load(self._kubeconfig.read_bytes())
        cluster, ca = written["clusters"][0]["cluster"], self._folder / "ca.crt"
        authority = base64.b64decode(cluster["certificate-authority-data"])
        if not ca.exists() or ca.read_bytes() != authority:
            write_private(ca, authority, mode=0o644)
        return Endpoint(self.name, cluster["server"], ca, written["users"][0]["user"])

    def prepare(self, issuer: Callable[[], str]) -> None:
        """Look whether a cluster can be made, and fetch its node image; the next `start` relies on it."""
        self._prepared[issuer()] = self._prepare(issuer())

    def start(self, trust: Trust) -> None:
        """Make the cluster or take over this lab's own, and prove that it knows people.

        A cluster that was begun here and can't be used is taken away again, and so is the relay to it.
        """
        daemon = self._prepared.pop(trust.issuer, None) or self._prepare(trust.issuer)
        with self._processes.lock():
            begun = False
            try:
                gateway = self._reach(trust.issuer, daemon) if is_loopback(trust.issuer) else LOOPBACK
                files = KindFiles(trust, self._settings, gateway, self._folder, self._settings.folder_id)
                stale = files.write()
                if stale or not self._kubeconfig.exists() or not self._nodes.can_be_taken_over(files):
                    self._image.fetch()
                    self._nodes.delete()
                    self._kubeconfig.unlink(missing_ok=True)
                    begun = True
                    self._create(files)
                self._prove(lambda: self._discovery_fault(trust))
            except BaseException:
                if begun or not self._kubeconfig.exists():
                    with suppress(ClusterError):
                        self._take_away()
                raise

    def stop(self) -> bool:
        """Delete this lab's cluster and stop the relay; the network ``kind`` and other labs' clusters stay.

        Raises:
            ClusterError: Docker can't be asked to; the relay is stopped all the same.
        """
        with self._processes.lock():
            try:
                return self._take_away()
            except ClusterError as error:
                raise ClusterError("kind-not-deleted", name=NAME, refusal=error.what, reason=error.why, folder=self._folder) from None

    def is_running(self) -> bool:
        return self._node().runs

    def server_log(self, lines: int) -> str:
        with suppress(ClusterError):
            return self._nodes.log(lines)
        return ""

    def flags(self) -> tuple[str, ...]:
        with suppress(ClusterError):
            return tuple(self._nodes.pod()["containers"][0]["command"][1:])
        return ()

    def statuses(self) -> list[ServerStatus]:
        """Tell how the relay and the node are, or what keeps Docker from telling."""
        return [self._processes.status(RELAY, "the gateway of Docker's network"), self._node()]

    def _node(self) -> ServerStatus:
        try:
            runs = self._kubeconfig.exists() and any(self._nodes.all().values())
        except ClusterError as error:
            return ServerStatus(self.name, State.UNKNOWN, reason=error.what)
        return ServerStatus(self.name, State.RUNS, self.endpoint.url) if runs else ServerStatus(self.name, State.STOPPED)

    def _prepare(self, issuer: str) -> Daemon:
        if urlsplit(issuer).scheme != "https":
            raise ClusterError("kind-issuer-not-https", issuer=issuer)
        daemon = insist(self._settings, self._docker, issuer, self._tools.ensure("kind")["kind"].path)
        if not self._nodes.all():
            self._image.fetch()
        return daemon

    def _reach(self, issuer: str, daemon: Daemon) -> str:
        """Make Keycloak reachable from the network of the nodes; returns the address."""
        network = self._docker.network(_NETWORK)
        if daemon.is_desktop:
            # Docker Desktop carries connections to this name on to the loopback of the machine around it. Not tried.
            probe = ("--rm", f"--network={_NETWORK}", "--entrypoint=getent", self._image.to_use(), "ahostsv4", "host.docker.internal")
            return self._docker.run("run", *probe, seconds=_CREATE_SECONDS).split()[0]
        gateway, port = network.gateway, urlsplit(issuer).port or 443
        if not self._processes.running(RELAY):
            _refuse_unusable(gateway, port)

        def answers() -> bool:
            with socket.create_connection((gateway, port), timeout=5):
                return True

        argv = (*relay.SCRIPT, f"tcp:{gateway}:{port}=tcp:127.0.0.1:{port}={network.subnet}")
        self._processes.start(Server(name=RELAY, argv=argv, ports=(), ready=answers))
        return gateway

    def _create(self, files: KindFiles) -> None:
        kind, log = self._tools.ensure("kind")["kind"].path, self._processes.log_file("kind")
        options = (f"--config={self._folder / CONFIG}", f"--kubeconfig={self._kubeconfig}", f"--image={self._image.to_use()}")
        with progress(f"making the KinD cluster {NAME}"):
            # --retain: a node that was not made whole is looked into before it is deleted.
            done = run_kind(kind, "create", "cluster", f"--name={NAME}", "--retain", *options, seconds=_CREATE_SECONDS)
            write_private(log, done.stdout + done.stderr)
            fault = self._nodes.fault(files) if self._nodes.all() else None
            if fault is not None or done.returncode:
                raise fault or not_created(done.stderr, log)

    def _take_away(self) -> bool:
        """Remove all that there is of the cluster; returns whether there was anything."""
        had_relay, had_nodes = self._processes.stop(RELAY), self._nodes.delete()
        shutil.rmtree(self._folder, ignore_errors=True)
        return had_nodes or had_relay

    def _discovery_fault(self, trust: Trust) -> ClusterError | None:
        """What keeps the API server from the realm, by its log; it tries every ten seconds, and the second failure in a row counts."""
        reasons = UNREACHED.findall(self.server_log(400))
        return unreached(reasons[-1], trust.issuer) if len(reasons) > 1 else None


def _refuse_unusable(gateway: str, port: int) -> None:
    """Insist that this machine has the address, and that the port is free there."""
    try:
        holder = listener(port, address=gateway)
    except OSError as error:
        raise ClusterError("docker-gateway-elsewhere", gateway=gateway, network=_NETWORK) from error
    if holder:
        raise PortInUse("docker-gateway-port-taken", gateway=gateway, port=port, holder=holder)
