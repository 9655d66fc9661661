"""Kratix's controller as a process beside the API server of a local cluster, from a checkout that the person names."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import requests

from ..cluster import relay
from ..cluster.cluster import Cluster
from ..cluster.kubeconfig import certificate_user, component_kubeconfig
from ..common.environment import EVERYBODY, listed
from ..common.errors import KratixUnavailable, why_failed
from ..common.http_session import request
from ..common.kubernetes_yaml import load_all
from ..config.files import write_private
from ..config.settings import Settings
from ..servers.certificates import Certificates
from ..servers.processes import Processes, Running, Server
from ..servers.status import ServerStatus
from ..workshop.workshop import Workshop
from .kratix import NAMESPACE, WEBHOOKS, Kratix

NAME = "kratix"
_USER = "labkit-kratix"
_ACTS_AS = f"system:serviceaccount:{NAMESPACE}:kratix-platform-controller-manager"
"""Too long for a certificate's common name, which has 64 characters at most."""

_ANSWER_SECONDS = 5
_ITS_PORT = 9443
"""Where the controller listens for webhooks; it takes no other."""

PARTS = {
    "controller": "bin/manager",
    "CRDs": "config/crd/bases/platform.kratix.io_promises.yaml",
    "webhooks": "config/webhook/manifests.yaml",
    "role": "config/rbac/role.yaml",
    "role for its own namespace": "config/rbac/leader_election_role.yaml",
}
"""What a checkout has to have, as Kratix's own build leaves it."""


class LocalKratix(Kratix):
    """The controller in a network of its own, of which only its webhooks are seen, on loopback; see `labkit.cluster.relay`.

    It calls the API server by certificate and acts as its service account, with the rights that Kratix's manifests give that one.
    """

    runs_pods = False

    def __init__(self, settings: Settings, workshop: Workshop, processes: Processes, certificates: Certificates, cluster: Cluster) -> None:
        super().__init__(settings, workshop, cluster)
        self._processes, self._certificates, self._folder = processes, certificates, settings.state.kratix
        self.url = settings.url("kratix_webhook")

    def start(self) -> Running:
        checkout = require_source(self._settings.kratix_source)
        with self._processes.lock():
            if not self.is_running():
                self._settings.starting("kratix_webhook")
                self.url = self._settings.url("kratix_webhook")
            crds = [crd for file in sorted((checkout / PARTS["CRDs"]).parent.glob("*.yaml")) for crd in _documents(file)]
            namespace, *rights = _documents(Path(__file__).with_suffix(".yaml"))
            self._server_side(*crds, namespace)
            names = [f"crd/{crd['metadata']['name']}" for crd in crds]
            self._cluster.admin_kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")
            self._server_side(*_roles(checkout), *rights)
            running = self._processes.start(self._server(checkout / PARTS["controller"]))
            # Last, as the API server refuses every Promise from then on that nobody judges.
            self._server_side(*webhooks(checkout, self.url, self._ca_bundle))
            return running

    def stop(self) -> bool:
        return self._processes.stop(NAME)

    def is_running(self) -> bool:
        return self._processes.running(NAME) is not None

    @property
    def lacking(self) -> str:
        try:
            require_source(self._settings.kratix_source)
        except KratixUnavailable as error:
            return error.what
        return ""

    def statuses(self) -> list[ServerStatus]:
        return [self._processes.status(NAME, self.url)] if NAME in self._processes.names() else []

    def _misdirected(self, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        for name, configuration in found.items():
            asked = [webhook["clientConfig"] for webhook in configuration["webhooks"]]
            if any(config.get("caBundle") != self._ca_bundle for config in asked):
                yield f"the API server verifies it with another authority than the lab's: {name}"
            if any(not config.get("url", "").startswith(f"{self.url}/") for config in asked):
                yield f"the API server asks at another address than {self.url}: {name}"
        try:
            self._answers()
        except requests.RequestException as error:
            yield f"{self.url} gives no answer that {self._ca} vouches for: {why_failed(error)}"

    def _answers(self) -> bool:
        """Whether the controller answers, with a certificate of the lab's authority; what it says doesn't matter."""
        return request("GET", self.url, ca=self._ca, timeout=_ANSWER_SECONDS).status_code > 0

    @property
    def _ca(self) -> Path:
        return self._certificates.authority("servers")

    @property
    def _ca_bundle(self) -> str:
        return base64.b64encode(self._ca.read_bytes()).decode()

    def _server_side(self, *objects: Mapping[str, Any]) -> None:
        self._apply(*objects, how=("--server-side", "--force-conflicts"))

    def _server(self, controller: Path) -> Server:
        certificate, kubeconfig = self._certificate(), self._kubeconfig()
        api = self._settings.ports["kubernetes"]
        outside = (f"tcp:127.0.0.1:{self._settings.ports['kratix_webhook']}=unix:in", f"unix:out=tcp:127.0.0.1:{api}")
        inside = (f"unix:in=tcp:127.0.0.1:{_ITS_PORT}", f"tcp:127.0.0.1:{api}=unix:out")
        unshare = (str(shutil.which("unshare")), "--user", "--map-root-user", "--net")
        # No metrics, no profiles and no probes: its webhooks tell that it is up.
        off = ("--metrics-bind-address=0", "--pprof-bind-address=0", "--health-probe-bind-address=0")
        argv = (str(controller), f"--kubeconfig={kubeconfig}", *off)
        return Server(
            name=NAME,
            argv=(*relay.SCRIPT, *outside, "--", *unshare, *relay.SCRIPT, *inside, "--", *argv),
            ports=("kratix_webhook",),
            # It looks for its certificate below the folder for temporary files, and builds no Promise with a workflow without an image
            # that reports what a workflow's containers have made; no pod is started here.
            env={"TMPDIR": str(self._folder), "PIPELINE_ADAPTER_IMG": "docker.io/syntasso/kratix-platform-pipeline-adapter:dev"},
            cwd=self._folder,
            ready=self._answers,
            inputs=(controller, certificate, kubeconfig),
        )

    def _certificate(self) -> Path:
        pair, folder = self._certificates.server(NAME), self._folder / "k8s-webhook-server" / "serving-certs"
        write_private(folder / "tls.key", pair.key.read_bytes())
        write_private(folder / "tls.crt", pair.certificate.read_bytes())
        return folder / "tls.crt"

    def _kubeconfig(self) -> Path:
        shown = certificate_user(self._certificates.client(f"{NAME}-client", user=_USER))
        return component_kubeconfig(self._settings.state.secrets, NAME, self._cluster.endpoint, {**shown, "as": _ACTS_AS})


def require_source(folder: Path | None) -> Path:
    """The checkout that a person named.

    Raises:
        KratixUnavailable: None is named, it lacks something, or this system can't keep the controller on loopback.
    """
    if folder is None:
        raise KratixUnavailable("kratix-no-source")
    lacks = [f"its {what} ({path})" for what, path in PARTS.items() if not (folder / path).is_file()]
    if lacks:
        raise KratixUnavailable("kratix-source-lacks", folder=folder, parts=", ".join(lacks))
    if not os.access(folder / PARTS["controller"], os.X_OK):
        raise KratixUnavailable("kratix-no-program", folder=folder, program=PARTS["controller"])
    if not _networks_can_be_made():
        raise KratixUnavailable("kratix-no-network")
    return folder


def webhooks(checkout: Path, url: str, ca: str) -> list[dict[str, Any]]:
    """The webhooks by which the API server has Kratix judge Promises, at ``url`` in place of a service; ``ca`` is PEM in base64."""
    found = _documents(checkout / PARTS["webhooks"])
    for configuration in found:
        configuration["metadata"]["name"] = WEBHOOKS[configuration["kind"].lower()]
        for webhook in configuration["webhooks"]:
            webhook["clientConfig"] = {"url": f"{url}{webhook['clientConfig']['service']['path']}", "caBundle": ca}
    return found


def _roles(checkout: Path) -> list[dict[str, Any]]:
    """What the controller may do, by the roles that Kratix ships, under the names that ``local.yaml`` binds."""
    (everywhere,), (at_home,) = (_documents(checkout / PARTS[part]) for part in ("role", "role for its own namespace"))
    everywhere["metadata"] = {"name": "kratix-platform-manager-role"}
    at_home["metadata"] = {"name": "kratix-platform-leader-election-role", "namespace": NAMESPACE}
    return [everywhere, at_home]


@cache
def _networks_can_be_made() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    command = (unshare, "--user", "--map-root-user", "--net", "true")
    return subprocess.run(command, capture_output=True, timeout=10, env=listed(EVERYBODY), check=False).returncode == 0


def _documents(file: Path) -> list[dict[str, Any]]:
    return load_all(file.read_bytes())
