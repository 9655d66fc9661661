"""A Kubernetes control plane as plain local processes: etcd, API server, controller manager. No node, no pod, no root."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import psutil
from requests import RequestException

from ..common.display import progress
from ..common.errors import ServerError
from ..common.exchanges import Exchange
from ..common.http_session import request
from ..common.platform_folder import find
from ..common.waiting import wait_until
from ..config.settings import Settings, write_private
from ..servers.certificates import Certificates, Pair
from ..servers.processes import Processes, Server
from ..toolchain import Toolchain
from .audit import Audit
from .kubeconfig import certificate_user, component_kubeconfig
from .provider import Endpoint
from .trust import Trust

SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager")
"""The processes of a local cluster, in the order in which they start."""

_ANSWER_SECONDS = 5
_FOLLOW_SECONDS = 90
"""An API server gives up on a changed file after a minute, if it can't have the issuer's discovery document by it."""


class LocalCluster:
    """The `Provider` that needs nothing but the three programs.

    Who may call whom: the API server shows etcd a certificate from the ``etcd`` authority; the lab's administrator and the controller
    manager show the API server one from ``clients``; everybody verifies everybody's server certificate.
    """

    name = "local-platform"
    programs = SERVERS
    servers = SERVERS
    shared = False

    def __init__(self, settings: Settings, processes: Processes, certificates: Certificates, tools: Toolchain) -> None:
        self._settings, self._processes, self._certificates, self._tools = settings, processes, certificates, tools
        self._audit = Audit(settings.state.logs, find("audit-policy.yaml", settings.workshop_folder))
        self._told = settings.state.authentication

    @cached_property
    def endpoint(self) -> Endpoint:
        """The API server on this machine, with certificates that are made at first use."""
        ca = self._certificates.authority("servers")
        return Endpoint(self.name, self._settings.url("kubernetes"), ca, certificate_user(self._admin))

    @cached_property
    def _admin(self) -> Pair:
        # system:masters is the group that the API server itself lets do everything, before RBAC has any rule.
        return self._certificates.client("admin", user="labkit-admin", groups=("system:masters",))

    def prepare(self, issuer: str) -> None:
        """Do nothing: there is nothing to look at beforehand."""

    def start(self, trust: Trust) -> None:
        """Start the three, each once the one below it answers; an API server that runs follows a file that has changed.

        Raises:
            ServerError: One does not come up, or does not follow.
        """
        programs = self._tools.ensure(*SERVERS)
        paths = {name: str(program.path) for name, program in programs.items()}
        with self._processes.lock():
            self._processes.start(self._etcd(paths["etcd"]))
            api_server = self._api_server(paths["kube-apiserver"], trust)
            running = self._processes.running(api_server.name)
            if running and running.fingerprint != api_server.fingerprint():
                # An API server that is told to stop waits for whoever still watches it.
                self._processes.stop("kube-controller-manager")
            self._processes.start(api_server)
            self._processes.start(self._controller_manager(paths["kube-controller-manager"]))
            if trust.style == "structured":
                self._wait_until_followed()

    def stop(self) -> bool:
        """Stop them, the API server's clients first; etcd's data stays."""
        stopped = [self._processes.stop(name) for name in reversed(SERVERS)]
        return any(stopped)

    def is_running(self) -> bool:
        """Whether all three run."""
        return all(self._processes.running(name) for name in SERVERS)

    def server_log(self, lines: int) -> str:
        """The last lines of the API server's log."""
        return self._processes.log_tail("kube-apiserver", lines)

    def flags(self) -> tuple[str, ...]:
        """The API server's command line, read from its process."""
        running = self._processes.running("kube-apiserver")
        return tuple(psutil.Process(running.pid).cmdline()[1:]) if running else ()

    def exchanges(self) -> list[Exchange]:
        """What people have asked of the API server."""
        return self._audit.exchanges()

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The three processes."""
        ports = ("etcd", "kubernetes", "controller_manager")
        return [self._processes.row(name, self._settings.url(port)) for name, port in zip(SERVERS, ports, strict=True)]

    def _etcd(self, program: str) -> Server:
        client, peer = (f"https://localhost:{self._settings.ports[name]}" for name in ("etcd", "etcd_peer"))
        listen, listen_peer = (url.replace("localhost", "127.0.0.1") for url in (client, peer))
        own = self._certificates.server("etcd", authority="etcd")
        caller = self._etcd_client()
        authority = self._certificates.authority("etcd")
        return Server(
            name="etcd",
            argv=(
                program,
                f"--data-dir={self._settings.state.etcd}",
                f"--listen-client-urls={listen}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={listen_peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                *_tls_flags("", own, authority),
                *_tls_flags("peer-", own, authority),
                "--log-level=warn",
            ),
            ports=("etcd", "etcd_peer"),
            ready=lambda: self._answers(f"{client}/readyz", authority, caller),
            inputs=(own.certificate, authority),
        )

    def _api_server(self, program: str, trust: Trust) -> Server:
        own = self._certificates.server("kube-apiserver")
        caller, accounts = self._etcd_client(), self._certificates.signing_key("service-accounts")
        clients = self._certificates.authority("clients")
        told, read_at_start = self._tell(trust)
        return Server(
            name="kube-apiserver",
            argv=(
                program,
                f"--etcd-servers=https://localhost:{self._settings.ports['etcd']}",
                f"--etcd-cafile={self._certificates.authority('etcd')}",
                f"--etcd-certfile={caller.certificate}",
                f"--etcd-keyfile={caller.key}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self._settings.ports['kubernetes']}",
                f"--tls-cert-file={own.certificate}",
                f"--tls-private-key-file={own.key}",
                # Where it would write a certificate of its own making if it were given none.
                f"--cert-dir={self._settings.state.tls}",
                f"--client-ca-file={clients}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={accounts.certificate}",
                f"--service-account-signing-key-file={accounts.key}",
                "--service-cluster-ip-range=10.96.0.0/24",
                # No pod looks for the API server by service address, and a loopback address may not stand behind one.
                "--endpoint-reconciler-type=none",
                "--profiling=false",
                *self._audit.flags(),
                *told,
            ),
            ports=("kubernetes",),
            ready=lambda: self._answers(f"{self.endpoint.url}/readyz", self.endpoint.ca),
            ready_seconds=120,
            inputs=(own.certificate, caller.certificate, accounts.certificate, clients, self._audit.policy, *read_at_start),
        )

    def _tell(self, trust: Trust) -> tuple[tuple[str, ...], tuple[Path, ...]]:
        """The flags that carry the trust, and the files behind them that the API server reads only at its start."""
        if trust.style == "flags":
            return trust.flags(), (trust.ca,)
        write_private(self._told, trust.configuration())
        return (f"--authentication-config={self._told}",), ()

    def _wait_until_followed(self) -> None:
        digest = hashlib.sha256(self._told.read_bytes()).hexdigest()
        if self._goes_by(digest):
            return

        def late(_: Exception) -> ServerError:
            msg = f"the API server does not go by {self._told}"
            fix = "mend what its log says, then lab.cluster.start(); until then the file before counts"
            return ServerError(msg, why=self.server_log(3), fix=fix)

        with progress("having the API server read its changed file"):
            wait_until(lambda: self._goes_by(digest), _FOLLOW_SECONDS, late, pause=0.5)

    def _goes_by(self, digest: str) -> bool:
        """Whether that is the file in force: ``apiserver_authentication_config_controller_last_config_info`` names its digest."""
        shown = str(self._admin.certificate), str(self._admin.key)
        try:
            told = request("GET", f"{self.endpoint.url}/metrics", ca=self.endpoint.ca, cert=shown, timeout=_ANSWER_SECONDS).text
        except RequestException:
            return False
        return f'hash="sha256:{digest}"' in told

    def _controller_manager(self, program: str) -> Server:
        own = self._certificates.server("kube-controller-manager")
        accounts = self._certificates.signing_key("service-accounts")
        url = self._settings.url("controller_manager")
        shown = self._certificates.client("kube-controller-manager-client", user="system:kube-controller-manager")
        kubeconfig = component_kubeconfig(self._settings.state.secrets, "kube-controller-manager", self.endpoint, certificate_user(shown))
        return Server(
            name="kube-controller-manager",
            argv=(
                program,
                f"--kubeconfig={kubeconfig}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self._settings.ports['controller_manager']}",
                f"--tls-cert-file={own.certificate}",
                f"--tls-private-key-file={own.key}",
                f"--root-ca-file={self.endpoint.ca}",
                f"--service-account-private-key-file={accounts.key}",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--profiling=false",
            ),
            ports=("controller_manager",),
            ready=lambda: self._answers(f"{url}/healthz", self.endpoint.ca),
            inputs=(own.certificate, kubeconfig, accounts.key, self.endpoint.ca),
        )

    def _etcd_client(self) -> Pair:
        return self._certificates.client("kube-apiserver-etcd-client", user="kube-apiserver", authority="etcd")

    @staticmethod
    def _answers(url: str, ca: Path, caller: Pair | None = None) -> bool:
        shown = (str(caller.certificate), str(caller.key)) if caller else None
        return request("GET", url, ca=ca, cert=shown, timeout=_ANSWER_SECONDS).ok


def _tls_flags(prefix: str, own: Pair, authority: Path) -> tuple[str, ...]:
    return (
        f"--{prefix}cert-file={own.certificate}",
        f"--{prefix}key-file={own.key}",
        f"--{prefix}client-cert-auth=true",
        f"--{prefix}trusted-ca-file={authority}",
    )
