"""Kratix in the lab's cluster: run it, publish a Promise, follow what is asked of it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..cluster.cluster import Cluster
from ..cluster.kubectl import KubectlAnswer, bundle
from ..common.display import Displayed, Finding, Table, progress
from ..common.errors import KratixError
from ..common.platform_folder import find
from ..common.problems import problem
from ..common.waiting import wait_until
from ..config.settings import Settings
from ..servers.status import ServerStatus
from ..workshop.files import Document, read
from ..workshop.workshop import Workshop
from .promise import PROMISE_KIND, Promise, RequestStatus
from .template import Template, template

_AVAILABLE_SECONDS = 60
_KINDS = tuple(f"{plural}.platform.kratix.io" for plural in ("promises", "works", "workplacements", "destinations"))
"""The CRDs that every version of Kratix has."""

_WAITS = {"promise": "promise-waits-for-pods", "resource": "requests-wait-for-pods"}
"""By what a workflow is for: what waits where no pod is started."""

NAMESPACE = "kratix-platform-system"
"""Where Kratix keeps what is its own."""

WEBHOOKS = {f"{kind}webhookconfiguration": f"kratix-platform-{kind}-webhook-configuration" for kind in ("mutating", "validating")}
"""What tells the API server to ask Kratix, by kind: a name each."""


class Kratix(ABC):
    """Kratix, run as the cluster is: on a local one as a process, elsewhere in the cluster itself.

    Attributes:
        url: Where its controller is.
        promise_file: The workshop's own Promise.
        runs_pods: Whether the cluster starts pods, as workflows need.
    """

    url: str
    runs_pods = True

    def __init__(self, settings: Settings, workshop: Workshop, cluster: Cluster) -> None:
        self._settings, self._workshop, self._cluster = settings, workshop, cluster
        self.promise_file = find("kratix/team-space.yaml", settings.workshop_folder)

    @abstractmethod
    def start(self) -> Displayed:
        """Bring it up, or take over the one that is up; it is ready on return.

        Raises:
            KratixUnavailable: It can't be had here; the fix names the ways out.
            ClusterError: The cluster is not up, or refuses something.
            ServerError: The controller did not come up.
            KratixError: What it needs can't be had, which leaves the cluster as it was; or something does not become ready.
        """

    @abstractmethod
    def stop(self) -> bool:
        """Stop it; Promises and requests stay in the cluster, and nobody looks after them. Returns whether it ran."""

    @abstractmethod
    def is_running(self) -> bool:
        """Whether it runs."""

    @property
    def lacking(self) -> str:
        """Why it can't be had here; empty when it can, as far as is known before it is tried."""
        return ""

    def statuses(self) -> list[ServerStatus]:
        """Tell how its process is, from its start until it is stopped; there is none where it runs in the cluster."""
        return []

    def webhook_differences(self) -> list[str]:
        """Find what keeps the API server from asking Kratix about Promises: a sentence each, or none."""
        found = {f"{kind} {name}": self.find(kind, name) for kind, name in WEBHOOKS.items()}
        missing = [f"the API server is not configured to call it: {name} is missing" for name, there in found.items() if there is None]
        return missing + list(self._misdirected({name: there for name, there in found.items() if there}))

    def _misdirected(self, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        """What is wrong with the webhooks that are there, by name."""
        yield from ()

    def findings(self) -> Iterator[Finding]:
        """Whether it runs, and whether the API server has what it needs to ask it about a Promise."""
        runs = self.is_running()
        yield Finding(runs, f"Kratix {'runs' if runs else 'does not run'} at {self.url}", problem("kratix-down").fix)
        wrong = self.webhook_differences()
        text = "; ".join(wrong) or "the API server asks it about each Promise, over verified TLS"
        yield Finding(not wrong, text, problem("kratix-webhook").fix)

    def missing_kinds(self) -> list[str]:
        """Which of Kratix's kinds the cluster lacks, by the names of their CRDs."""
        return [name for name in _KINDS if self.find("crd", name) is None]

    def status(self) -> Table:
        """What there is of Kratix: its server, and the Promises with whether they can be asked."""
        runs = self.is_running()
        rows = [(f"kratix, at {self.url}", "runs" if runs else "stopped", "")]
        if runs:
            rows += [(f"Promise {promise.name}", "waits" if why else "available", why) for promise, why in self.promises()]
        return Table(("what", "state", "why"), tuple(rows))

    def promises(self) -> list[tuple[Promise, str]]:
        """The Promises with an API that are published, each with why it can't be asked; that is empty when it can.

        Raises:
            ClusterError: The cluster does not know the kind.
        """
        found = json.loads(self._cluster.admin_kubectl("get", PROMISE_KIND, "-o", "json").output)["items"]
        return [(Promise(item), _unavailable(item)) for item in found if item["spec"].get("api")]

    def requests(self, promise: Promise) -> list[RequestStatus]:
        """What has been asked of a Promise, in all namespaces, as the cluster's administrator sees it."""
        if self.find("crd", promise.resource) is None:
            return []
        found = json.loads(self._cluster.admin_kubectl("get", promise.resource, "--all-namespaces", "-o", "json").output)
        return [RequestStatus.of(item) for item in found["items"]]

    @property
    def team_space(self) -> Promise:
        """The workshop's own Promise."""
        return Promise.load(self.promise_file)

    def install(self, promise: Promise, run: Callable[..., KubectlAnswer] | None = None) -> KubectlAnswer:
        """Publish a Promise, by kubectl of whoever publishes it or else the administrator's, and wait until its API can be asked.

        The answer says what of the Promise waits for pods, if the cluster starts none.

        Raises:
            Forbidden: They may not.
            KratixError: Kratix does not make it available; the reason is its own.
            ClusterError: Another refusal, such as one of Kratix's webhooks.
        """
        answer = (run or self._cluster.admin_kubectl)("apply", "-f", "-", stdin=bundle([*promise.beside, promise.manifest]))

        def late(_: Exception) -> KratixError:
            reason = self.unavailable(promise)
            return KratixError("promise-not-available", promise=promise.name, seconds=_AVAILABLE_SECONDS, reason=reason)

        waits = [] if self.runs_pods else promise.workflows()
        if "promise" not in waits:
            with progress(f"waiting for the Promise {promise.name} to be available"):
                wait_until(lambda: not self.unavailable(promise), _AVAILABLE_SECONDS, late)
        notes = [problem(_WAITS[what], promise=promise.name).what for what in waits]
        return replace(answer, output="\n".join((answer.output.rstrip(), *notes)))

    def unavailable(self, promise: Promise) -> str:
        """Why a Promise can't be asked yet, in Kratix's words; empty when it can."""
        found = self.find(PROMISE_KIND, promise.name)
        return "there is no such Promise" if found is None else _unavailable(found)

    def remove(self, promise: Promise) -> list[str]:
        """Withdraw a Promise, every request for it and the roles around it, while Kratix runs; return what is gone, by name."""
        groups = [binding.group for binding in self._workshop.cluster.bindings if promise.has_api]
        roles = [role for group in groups for role in self.requester(promise, group).documents]
        names = [f"{role['kind'].lower()}/{role['metadata']['name']}" for role in roles]
        if self.find("crd", PROMISE_KIND):
            names.append(f"{PROMISE_KIND}/{promise.name}")
        return self._cluster.admin_kubectl("delete", "--ignore-not-found", "--timeout=50s", *dict.fromkeys(names)).output.splitlines()

    def template(self, promise: Promise) -> Template:
        """The portal's template for a Promise."""
        return template(promise, f"group:default/{self._workshop.cluster.bindings[0].group}", self._settings.workshop_folder)

    def template_file(self, promise: Promise) -> Path:
        """That template as a file, to be registered with `PortalSession.register_template`."""
        return self.template(promise).write(self._settings.state.kratix / "templates")

    def requester(self, promise: Promise, group: str) -> Document:
        """The cluster role of whoever may ask for what a Promise offers, and nothing else, and its binding to a group of the tokens."""
        resource, _, api_group = promise.resource.partition(".")
        values = {"PROMISE": promise.name, "RESOURCE": resource, "API_GROUP": api_group, "GROUP": group}
        return read("kratix/requester.yaml", values, self._settings.workshop_folder)

    def let_request(self, promise: Promise, group: str) -> KubectlAnswer:
        """Let a group ask for what a Promise offers, and nothing more."""
        return self._apply(*self.requester(promise, group).documents)

    def keep_from_requesting(self, promise: Promise, group: str) -> KubectlAnswer:
        """Take that back."""
        _, binding = self.requester(promise, group).documents
        return self._cluster.admin_kubectl("delete", "--ignore-not-found", "clusterrolebinding", binding["metadata"]["name"])

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object of the cluster, in the namespace ``default`` if it is in any, as its administrator sees it; None when there is none.

        Raises:
            ClusterError: There is no such kind.
        """
        answer = self._cluster.admin_kubectl("get", kind, name, "--namespace=default", "--ignore-not-found", "-o", "json")
        return dict(json.loads(answer.output)) if answer.output.strip() else None

    def _apply(self, *objects: Mapping[str, Any], how: tuple[str, ...] = ()) -> KubectlAnswer:
        return self._cluster.admin_kubectl("apply", *how, "-f", "-", stdin=bundle(objects))


def _unavailable(promise: Mapping[str, Any]) -> str:
    conditions = {condition["type"]: condition for condition in promise.get("status", {}).get("conditions", ())}
    available = conditions.get("Available", {})
    if available.get("status") == "True":
        return ""
    return str(available.get("message") or available.get("reason") or "Kratix has said nothing of it yet")
