"""Kratix's controller as a process beside the API server of a local cluster."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from ..cluster import relay
from ..cluster.cluster import Cluster
from ..cluster.kubeconfig import certificate_user, component_kubeconfig
from ..common.http_session import request
from ..config.settings import Settings, write_private
from ..servers.certificates import Certificates
from ..servers.processes import Processes, Running, Server
from .source import ACCOUNT, NAMESPACE, WEBHOOKS, Source, source

NAME = "kratix"
_USER = "labkit-kratix"
_ACTS_AS = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
"""Too long for a certificate's common name, which has 64 characters at most."""

_ANSWER_SECONDS = 5
_ITS_PORT = 9443
"""Where the controller listens for webhooks; it takes no other."""


class LocalKratix:
    """The controller in a network of its own, of which only its webhooks are seen, on loopback; see `labkit.cluster.relay`.

    It calls the API server by certificate and acts as its service account, with the rights that Kratix's manifests give that one.
    """

    def __init__(self, settings: Settings, processes: Processes, certificates: Certificates, cluster: Cluster) -> None:
        self._settings, self._processes, self._certificates, self._cluster = settings, processes, certificates, cluster
        self._folder = settings.state.kratix
        self.url = settings.url("kratix_webhook")

    def start(self) -> Running:
        """Give the cluster Kratix's kinds, start the controller, and have the API server ask it about Promises.

        Raises:
            KratixUnavailable: There is no source to take it from.
            ClusterError: The cluster is not up.
            ServerError: It did not come up.
        """
        checkout = source(self._settings.kratix_source)
        with self._processes.lock():
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            crds = checkout.crds()
            self._apply(*crds, namespace)
            names = [f"crd/{crd['metadata']['name']}" for crd in crds]
            self._cluster.admin_kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")
            self._apply(*checkout.rights(), *_impersonation())
            running = self._processes.start(self._server(checkout))
            # Last, as the API server refuses every Promise from then on that nobody judges.
            self._apply(*checkout.webhooks(self.url, base64.b64encode(self._ca.read_bytes()).decode()))
            return running

    def stop(self) -> bool:
        """Stop the controller; what it made in the cluster stays. Returns whether it ran."""
        return self._processes.stop(NAME)

    def is_running(self) -> bool:
        """Whether the controller runs."""
        return self._processes.running(NAME) is not None

    def is_on_record(self) -> bool:
        """Whether it was started and not stopped since, be it that it ended by itself."""
        return NAME in self._processes.names()

    def lacking(self) -> None:
        """See whether it can be had here.

        Raises:
            KratixUnavailable: It can't.
        """
        source(self._settings.kratix_source)

    def answers(self) -> bool:
        """Whether the controller answers, with a certificate of the lab's authority; what it says doesn't matter."""
        return request("GET", self.url, ca=self._ca, timeout=_ANSWER_SECONDS).status_code > 0

    def webhook_differences(self, find: Callable[[str, str], dict[str, Any] | None]) -> Iterator[str]:
        """What is wrong between the API server and the controller, a sentence each.

        Args:
            find: Finds an object of the cluster by kind and name.
        """
        told = base64.b64encode(self._ca.read_bytes()).decode()
        for kind, name in WEBHOOKS.items():
            found = find(kind, name)
            if found is None:
                yield f"the API server is not told to ask it: {kind} {name} is missing"
                continue
            asked = [webhook["clientConfig"] for webhook in found["webhooks"]]
            if any(config.get("caBundle") != told for config in asked):
                yield f"the API server verifies it with another authority than the lab's: {kind} {name}"
            if any(not config.get("url", "").startswith(f"{self.url}/") for config in asked):
                yield f"the API server asks at another address than {self.url}: {kind} {name}"
        try:
            self.answers()
        except requests.RequestException as error:
            yield f"{self.url} gives no answer that {self._ca} vouches for: {type(error).__name__}"

    def row(self) -> tuple[str, str, str, str, str]:
        """The controller as a row of `Lab.status`."""
        return self._processes.row(NAME, self.url)

    @property
    def _ca(self) -> Path:
        return self._certificates.authority("servers")

    def _apply(self, *objects: dict[str, Any]) -> None:
        bundle = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self._cluster.admin_kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(bundle))

    def _server(self, checkout: Source) -> Server:
        certificate, kubeconfig = self._certificate(), self._kubeconfig()
        api = self._settings.ports["kubernetes"]
        outside = (f"tcp:127.0.0.1:{self._settings.ports['kratix_webhook']}=unix:in", f"unix:out=tcp:127.0.0.1:{api}")
        inside = (f"unix:in=tcp:127.0.0.1:{_ITS_PORT}", f"tcp:127.0.0.1:{api}=unix:out")
        unshare = (str(shutil.which("unshare")), "--user", "--map-root-user", "--net")
        # No metrics, no profiles and no probes: its webhooks tell that it is up.
        off = ("--metrics-bind-address=0", "--pprof-bind-address=0", "--health-probe-bind-address=0")
        controller = (str(checkout.controller), f"--kubeconfig={kubeconfig}", *off)
        return Server(
            name=NAME,
            argv=(*relay.SCRIPT, *outside, "--", *unshare, *relay.SCRIPT, *inside, "--", *controller),
            ports=("kratix_webhook",),
            # It looks for its certificate below the folder for temporary files.
            env={"TMPDIR": str(self._folder)},
            cwd=self._folder,
            ready=self.answers,
            inputs=(checkout.controller, certificate, kubeconfig),
        )

    def _certificate(self) -> Path:
        pair, folder = self._certificates.server(NAME), self._folder / "k8s-webhook-server" / "serving-certs"
        write_private(folder / "tls.key", pair.key.read_bytes())
        write_private(folder / "tls.crt", pair.certificate.read_bytes())
        return folder / "tls.crt"

    def _kubeconfig(self) -> Path:
        shown = certificate_user(self._certificates.client(f"{NAME}-client", user=_USER))
        return component_kubeconfig(self._settings.state.secrets, NAME, self._cluster.endpoint, {**shown, "as": _ACTS_AS})


def _impersonation() -> list[dict[str, Any]]:
    """The one right of the certificate's holder: to act as Kratix's service account."""
    name, group = f"{_USER}-impersonation", "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [ACCOUNT], "verbs": ["impersonate"]}
    metadata = {"name": name, "namespace": NAMESPACE}
    return [
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": _USER}],
        },
    ]
