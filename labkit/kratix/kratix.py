"""Kratix in the lab's cluster: run it, publish a Promise, follow what is asked of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..cluster.cluster import Cluster
from ..cluster.kubectl import KubectlAnswer
from ..common.display import Displayed, Finding, Table, progress
from ..common.errors import KratixError, KratixUnavailable
from ..common.waiting import wait_until
from ..config.settings import Settings
from ..servers.certificates import Certificates
from ..servers.processes import Processes
from ..toolchain import Toolchain
from ..workshop.workshop import Workshop
from .local import LocalKratix
from .promise import PROMISE_KIND, PROMISES, Promise
from .released.controller import ReleasedKratix
from .request import RequestStatus
from .roles import requester
from .template import Template, template

_AVAILABLE_SECONDS = 60

KINDS = tuple(f"{plural}.platform.kratix.io" for plural in ("promises", "works", "workplacements", "destinations"))
"""Those of Kratix's kinds that every version has, by the names of their CRDs."""

Run = Callable[..., KubectlAnswer]
"""kubectl as somebody, such as ``Person.kubectl``."""


class Kratix:
    """Kratix, run as the cluster is: on a local one as a process, elsewhere in the cluster itself."""

    def __init__(
        self,
        settings: Settings,
        workshop: Workshop,
        processes: Processes,
        certificates: Certificates,
        tools: Toolchain,
        cluster: Cluster,
    ) -> None:
        self._workshop, self._tools, self._cluster = workshop, tools, cluster
        self._templates = settings.state.kratix / "templates"
        self._local = LocalKratix(settings, processes, certificates, cluster)

    @property
    def _server(self) -> LocalKratix | ReleasedKratix:
        # On use: what kind of cluster it is may take asking Docker.
        return self._local if self._cluster.provider.servers else ReleasedKratix(self._cluster, self._tools)

    @property
    def lacking(self) -> str:
        """Why it can't be had here; empty when it can."""
        try:
            self._server.lacking()
        except KratixUnavailable as error:
            return error.what
        return ""

    def start(self) -> Displayed:
        """Bring it up, or take over the one that is up; it is ready on return.

        Raises:
            KratixUnavailable: It can't be had here; the fix names the ways out.
            ClusterError: The cluster is not up.
            ServerError: It did not come up.
        """
        return self._server.start()

    def stop(self) -> bool:
        """Stop it; Promises and requests stay in the cluster, and nobody looks after them. Returns whether it ran."""
        return self._server.stop()

    def is_running(self) -> bool:
        """Whether it runs."""
        return self._server.is_running()

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Its server for `Lab.status`, from its start until it is stopped."""
        return [self._server.row()] if self._server.is_on_record() else []

    def findings(self) -> Iterator[Finding]:
        """Whether it runs, and whether the API server has what it needs to ask it about a Promise."""
        runs = self.is_running()
        yield Finding(runs, f"Kratix {'runs' if runs else 'does not run'} at {self._server.url}", "lab.kratix.start()")
        wrong = self.webhook_differences()
        yield Finding(not wrong, "; ".join(wrong) or "the API server asks it about each Promise, over verified TLS", "lab.kratix.start()")

    def webhook_differences(self) -> list[str]:
        """What keeps the API server from asking Kratix about Promises, a sentence each; empty when nothing does."""
        return list(self._server.webhook_differences(self.find))

    def missing_kinds(self) -> list[str]:
        """Which of Kratix's kinds the cluster lacks, by the names of their CRDs."""
        return [name for name in KINDS if self.find("crd", name) is None]

    def requests(self, promise: Promise) -> list[RequestStatus]:
        """What has been asked of a Promise, in all namespaces, as the cluster's administrator sees it."""
        if self.find("crd", promise.resource) is None:
            return []
        found = json.loads(self._cluster.admin_kubectl("get", promise.resource, "--all-namespaces", "-o", "json").output)
        return [RequestStatus.of(item) for item in found["items"]]

    def status(self) -> Table:
        """What there is of Kratix: its server, and the Promises with whether they can be asked."""
        rows = [(f"kratix, at {self._server.url}", "runs" if self.is_running() else "stopped", "")]
        if self.is_running():
            rows += [(f"Promise {promise.name}", "waits" if why else "available", why) for promise, why in self.promises()]
        return Table(("what", "state", "why"), tuple(rows))

    def promises(self) -> list[tuple[Promise, str]]:
        """The Promises with an API that are published, each with why it can't be asked; that is empty when it can.

        Raises:
            ClusterError: The cluster does not know the kind.
        """
        found = json.loads(self._cluster.admin_kubectl("get", PROMISE_KIND, "-o", "json").output)["items"]
        return [(Promise(item["metadata"]["name"], item), _unavailable(item)) for item in found if item["spec"].get("api")]

    @property
    def team_space(self) -> Promise:
        """The workshop's own Promise."""
        return Promise.load(PROMISES / "team-space.yaml")

    def install(self, promise: Promise, run: Run | None = None) -> KubectlAnswer:
        """Publish a Promise, and wait until its API can be asked.

        Args:
            promise: The Promise.
            run: kubectl as whoever publishes it, ``Person.kubectl``; the cluster's administrator's if left out.

        Raises:
            Forbidden: They may not.
            KratixError: Kratix does not make it available; the reason is its own.
            ClusterError: Another refusal, such as one of Kratix's webhooks.
        """
        answer = (run or self._cluster.admin_kubectl)("apply", "-f", "-", stdin=json.dumps(promise.manifest))

        def late(_: Exception) -> KratixError:
            msg = f"the Promise {promise.name} is not available after {_AVAILABLE_SECONDS} s"
            return KratixError(msg, why=self.unavailable(promise), fix="see what keeps it: labkit doctor")

        with progress(f"waiting for the Promise {promise.name} to be available"):
            wait_until(lambda: not self.unavailable(promise), _AVAILABLE_SECONDS, late)
        return answer

    def unavailable(self, promise: Promise) -> str:
        """Why a Promise can't be asked yet, in Kratix's words; empty when it can."""
        found = self.find(PROMISE_KIND, promise.name)
        return "there is no such Promise" if found is None else _unavailable(found)

    def remove(self, promise: Promise) -> list[str]:
        """Withdraw a Promise, and with it every request for what it offers and the roles around it; Kratix must run for that.

        Returns:
            What is gone, by name.
        """
        roles = [f"{wanted['kind'].lower()}/{wanted['metadata']['name']}" for group in self._groups for wanted in requester(promise, group)]
        names = [*dict.fromkeys(roles), f"{PROMISE_KIND}/{promise.name}"] if self.find("crd", PROMISE_KIND) else list(dict.fromkeys(roles))
        return self._cluster.admin_kubectl("delete", "--ignore-not-found", "--timeout=50s", *names).output.splitlines()

    def template(self, promise: Promise) -> Template:
        """The portal's template for a Promise."""
        return template(promise, f"group:default/{self._workshop.cluster.bindings[0].group}")

    def template_file(self, promise: Promise) -> Path:
        """That template as a file, to be registered with `PortalSession.register_template`."""
        return self.template(promise).write(self._templates)

    def let_request(self, promise: Promise, group: str) -> KubectlAnswer:
        """Let a group ask for what a Promise offers, and nothing more."""
        bundle = {"apiVersion": "v1", "kind": "List", "items": requester(promise, group)}
        return self._cluster.admin_kubectl("apply", "-f", "-", stdin=json.dumps(bundle))

    def keep_from_requesting(self, promise: Promise, group: str) -> KubectlAnswer:
        """Take that back."""
        _, binding = requester(promise, group)
        return self._cluster.admin_kubectl("delete", "--ignore-not-found", "clusterrolebinding", binding["metadata"]["name"])

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object of the cluster, in the namespace ``default`` if it is in any, as its administrator sees it; None when there is none.

        Raises:
            ClusterError: There is no such kind.
        """
        answer = self._cluster.admin_kubectl("get", kind, name, "--namespace=default", "--ignore-not-found", "-o", "json")
        return dict(json.loads(answer.output)) if answer.output.strip() else None

    @property
    def _groups(self) -> list[str]:
        return [binding.group for binding in self._workshop.cluster.bindings]


def _unavailable(promise: Mapping[str, Any]) -> str:
    conditions = {condition["type"]: condition for condition in promise.get("status", {}).get("conditions", ())}
    available = conditions.get("Available", {})
    if available.get("status") == "True":
        return ""
    return str(available.get("message") or available.get("reason") or "Kratix has said nothing of it yet")
