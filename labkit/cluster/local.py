"""A Kubernetes control plane as plain local processes: etcd, API server, controller manager. No node, no pod, no root."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any

import psutil
import requests
import yaml

from ..common.display import progress
from ..common.errors import ApiUnreachable, ServerError
from ..common.exchanges import Exchange
from ..common.http_session import request
from ..common.platform_folder import find
from ..common.problems import Problem
from ..common.waiting import Steps, Work, together, until
from ..config.files import write_private
from ..config.hosting import PUBLIC_CA
from ..config.settings import Settings
from ..servers.certificates import Certificates, Pair
from ..servers.processes import Processes, Server
from ..servers.status import ServerStatus
from ..toolchain import Toolchain
from .kubeconfig import certificate_user, component_kubeconfig
from .provider import Endpoint, Provider
from .trust import Trust

_FLAGS = Path(__file__).with_name("control-plane.yaml")
_PORTS = {"etcd": ("etcd", "etcd_peer"), "kube-apiserver": ("kubernetes",), "kube-controller-manager": ("controller_manager",)}
SERVERS = tuple(_PORTS)
"""The processes of a local cluster, in the order in which they start."""

_CALLERS = {"kubectl": "kubectl", "OpenAPI-Generator": "labkit"}
"""By what their programs call themselves; the portal passes on what its caller does, or says nothing."""

_ANSWER_SECONDS = 5
_FOLLOW_SECONDS = 90
"""An API server gives up on a changed file after a minute, if it can't have the issuer's discovery document by it."""


class LocalCluster(Provider):
    """The provider that needs nothing but the three programs.

    Who may call whom: the API server shows etcd a certificate from the ``etcd`` authority; the lab's administrator and the controller
    manager show the API server one from ``clients``; everybody verifies everybody's server certificate.
    """

    name = "local-platform"
    programs = servers = SERVERS

    def __init__(self, settings: Settings, processes: Processes, tools: Toolchain) -> None:
        self._settings, self._processes, self._tools = settings, processes, tools
        self._certificates = Certificates(settings.state.tls)
        self._audit_policy = find("audit-policy.yaml", settings.workshop_folder)
        self._audit_log = settings.state.logs / "kube-apiserver-audit.log"
        self._told = settings.state.authentication

    @cached_property
    def endpoint(self) -> Endpoint:
        """The API server on this machine, with certificates that are made at first use.

        Raises:
            ApiUnreachable: Nothing was started yet, and this is to look only.
        """
        if not (self._settings.opened or self._certificates.made):
            raise ApiUnreachable("api-unreachable", url=self._settings.url("kubernetes"), error="it is not running")
        ca = self._certificates.authority("servers")
        return Endpoint(self.name, self._settings.url("kubernetes"), ca, certificate_user(self._admin))

    @cached_property
    def _admin(self) -> Pair:
        # system:masters is the group that the API server itself lets do everything, before RBAC has any rule.
        return self._certificates.client("admin", user="labkit-admin", groups=("system:masters",))

    def start(self, trust: Trust) -> None:
        """Start the three, each once the one below it answers; an API server that runs follows a file that has changed.

        Raises:
            ServerError: One does not come up, or does not follow.
        """
        with self._processes.lock():
            together({"issuer": ((), lambda: trust), **self.steps(lambda: trust)})

    def steps(self, trust: Callable[[], Trust]) -> Steps:
        programs = {name: program.path for name, program in self._tools.ensure(*SERVERS).items()}
        for name, ports in _PORTS.items():
            if not self._processes.running(name):
                self._settings.starting(*ports)
        etcd, api_server, controller_manager = SERVERS
        return {
            etcd: ((), lambda: self._processes.starting(self._etcd(programs))),
            # An API server that finds no issuer at its start tries again only every ten seconds.
            api_server: ((etcd, "issuer"), lambda: self._starting_api_server(programs, trust())),
            controller_manager: ((api_server,), lambda: self._processes.starting(self._controller_manager(programs))),
        }

    def stop(self) -> bool:
        """Stop them, the API server's clients first; etcd's data stays."""
        return any(list(map(self._processes.stop, reversed(SERVERS))))

    def is_running(self) -> bool:
        return all(self._processes.running(name) for name in SERVERS)

    def stranger(self) -> Problem | None:
        return self._processes.stranger("kube-apiserver", *_PORTS["kube-apiserver"])

    def server_log(self, lines: int) -> str:
        return self._processes.log_tail("kube-apiserver", lines)

    def flags(self) -> tuple[str, ...]:
        running = self._processes.running("kube-apiserver")
        return tuple(psutil.Process(running.pid).cmdline()[1:]) if running else ()

    def exchanges(self) -> list[Exchange]:
        return exchanges(self._audit_log)

    def statuses(self) -> list[ServerStatus]:
        return [self._processes.status(name, self._settings.url(ports[0])) for name, ports in _PORTS.items()]

    def _etcd(self, programs: Mapping[str, Path]) -> Server:
        own, authority = self._certificates.server("etcd", authority="etcd"), self._certificates.authority("etcd")
        url, caller = self._settings.url("etcd"), self._etcd_client()
        return self._server(programs, "etcd", lambda: _get(f"{url}/readyz", authority, caller).ok, own.certificate, authority)

    def _api_server(self, programs: Mapping[str, Path], trust: Trust) -> Server:
        own, caller = self._certificates.server("kube-apiserver"), self._etcd_client()
        accounts, clients = self._certificates.signing_key("service-accounts"), self._certificates.authority("clients")
        inputs = [own.certificate, caller.certificate, accounts.certificate, clients, self._audit_policy]
        if trust.style == "flags":
            told = trust.flags()
            inputs.append(trust.ca)
        else:
            # No input: it is read again whenever it changes.
            write_private(self._told, trust.configuration())
            told = (f"--authentication-config={self._told}",)
        server = self._server(programs, "kube-apiserver", lambda: _get(f"{self.endpoint.url}/readyz", self.endpoint.ca).ok, *inputs)
        # Of a machine without authorities of its own too: who vouches for the issuer there is whom labkit itself trusts.
        env = {"SSL_CERT_FILE": str(PUBLIC_CA)} if trust.ca == PUBLIC_CA else {}
        return replace(server, argv=(*server.argv, *told), env=env, ready_seconds=120)

    def _controller_manager(self, programs: Mapping[str, Path]) -> Server:
        own, url = self._certificates.server("kube-controller-manager"), self._settings.url("controller_manager")
        accounts, ca = self._certificates.signing_key("service-accounts"), self.endpoint.ca
        shown = self._certificates.client("kube-controller-manager-client", user="system:kube-controller-manager")
        kubeconfig = component_kubeconfig(self._settings.state.secrets, "kube-controller-manager", self.endpoint, certificate_user(shown))
        inputs = (own.certificate, kubeconfig, accounts.key, ca)
        return self._server(programs, "kube-controller-manager", lambda: _get(f"{url}/healthz", ca).ok, *inputs)

    def _server(self, programs: Mapping[str, Path], name: str, ready: Callable[[], bool], *inputs: Path) -> Server:
        state, values = self._settings.state, {f"{port.upper()}_PORT": number for port, number in self._settings.ports.items()}
        paths = {"ETCD": state.etcd, "TLS": state.tls, "SECRETS": state.secrets}
        audit = {"AUDIT_POLICY": self._audit_policy, "AUDIT_LOG": self._audit_log}
        declared = yaml.load(_FLAGS.read_bytes(), yaml.BaseLoader)[name]  # noqa: S506 - every value as the text it is
        flags = (f"--{flag}={Template(value).substitute(values, **paths, **audit)}" for flag, value in declared.items())
        return Server(name, (str(programs[name]), *flags), _PORTS[name], ready, inputs=inputs)

    def _starting_api_server(self, programs: Mapping[str, Path], trust: Trust) -> Work[None]:
        server = self._api_server(programs, trust)
        running = self._processes.running(server.name)
        if running and running.fingerprint != server.fingerprint():
            # An API server that is asked to stop waits for whoever still watches it.
            self._processes.stop("kube-controller-manager")
        yield from self._processes.starting(server)
        if trust.style == "structured":
            yield from self._following()

    def _etcd_client(self) -> Pair:
        return self._certificates.client("kube-apiserver-etcd-client", user="kube-apiserver", authority="etcd")

    def _following(self) -> Work[None]:
        digest = hashlib.sha256(self._told.read_bytes()).hexdigest()
        if self._goes_by(digest):
            return

        def late(_: Exception) -> ServerError:
            return ServerError("api-file-not-followed", file=self._told, log=self.server_log(3))

        with progress("having the API server read its changed file"):
            yield from until(lambda: self._goes_by(digest), _FOLLOW_SECONDS, late)

    def _goes_by(self, digest: str) -> bool:
        """Whether that is the file in force: ``apiserver_authentication_config_controller_last_config_info`` names its digest."""
        try:
            told = _get(f"{self.endpoint.url}/metrics", self.endpoint.ca, self._admin).text
        except requests.RequestException:
            return False
        return f'hash="sha256:{digest}"' in told


def _get(url: str, ca: Path, caller: Pair | None = None) -> requests.Response:
    shown = (str(caller.certificate), str(caller.key)) if caller else None
    return request("GET", url, ca=ca, cert=shown, timeout=_ANSWER_SECONDS)


def exchanges(log: Path) -> list[Exchange]:
    """The requests of people by an audit log (kubernetes.io, *Auditing*), in the order of their answers."""
    return list(_read(log)) if log.exists() else []


def _read(log: Path) -> Iterator[Exchange]:
    for line in log.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            # Being written just now.
            continue
        # A watch is logged twice: when it begins and when it ends.
        if event["stage"] != "ResponseComplete" or not _is_a_persons(event["user"]):
            continue
        began, ended = (datetime.fromisoformat(event[name]).timestamp() for name in ("requestReceivedTimestamp", "stageTimestamp"))
        what = f"{event['verb']} {event['requestURI'].partition('?')[0]}"
        reason = event.get("annotations", {}).get("authorization.k8s.io/reason", "").removeprefix("RBAC: ")
        name, status = event["user"].get("username", "nobody"), event.get("responseStatus", {}).get("code", "")
        answer = f"{status} for {name}{f', {reason}' if reason else ''}"
        agent = event.get("userAgent", "")
        caller = next((who for name, who in _CALLERS.items() if agent.startswith(name)), "portal")
        yield Exchange(caller, "API server", what, answer, began, ended - began, "the API server's audit log")


def _is_a_persons(user: dict[str, Any]) -> bool:
    """Whether a request is of somebody by their own token: the lab's components come by certificate or as a service account."""
    credential = user.get("extra", {}).get("authentication.kubernetes.io/credential-id", [""])[0]
    return not credential.startswith("X509SHA256=") and not user.get("username", "").startswith("system:serviceaccount:")
