"""Kratix as it is released, in a cluster that runs containers: KinD, or somebody else's.

Not yet run: there is no Docker where this was written. The versions are those of Kratix's own quick start. What lies in Kratix's
repository is fetched at a commit and checked against the digest it had there. What is attached to a release is checked against its digest
where `PINNED` has one; where it is open, TLS, the version in the address and a line that must be in it are all there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests
import yaml

from ...cluster.cluster import Cluster
from ...cluster.kind.docker import Docker
from ...common.display import Displayed, Finding, Findings, progress
from ...common.errors import ClusterError, KratixError
from ...common.http_session import request
from ...common.waiting import wait_until
from ...toolchain import Toolchain
from ...toolchain.downloads import PINNED
from ..source import NAMESPACE, WEBHOOKS
from . import images

CONTROLLER = "deployment/kratix-platform-controller-manager"
_CERT_MANAGER = "https://github.com/cert-manager/cert-manager/releases/download/v1.15.0/cert-manager.yaml"
_RELEASE = "https://github.com/syntasso/kratix/releases/download/v0.125.0/kratix.yaml"
_KRATIX = "https://raw.githubusercontent.com/syntasso/kratix/9c50158824f15a3632050a32196febb505124fef"
_FETCH_SECONDS = 30
_READY_SECONDS = 600
_TRY_SECONDS = 40
_NOT_YET = ("failed calling webhook", "no matches for kind", "timed out waiting", "no matching resources found")


@dataclass(frozen=True)
class Manifest:
    """What is applied, and what has to be ready before the next.

    Attributes:
        what: What it brings.
        url: Where it is.
        holds: A line that it must have.
        sha256: Its digest; empty where it is still open.
        namespace: The namespace whose deployments have to be available; empty where there are none.
    """

    what: str
    url: str
    holds: str
    sha256: str = ""
    namespace: str = ""

    def fetch(self) -> str:
        """Its text.

        Raises:
            KratixError: It can't be had, or is not what it should be.
        """
        try:
            answer = request("GET", self.url, timeout=_FETCH_SECONDS)
            answer.raise_for_status()
        except requests.RequestException as error:
            msg = f"{self.what} can't be fetched from {self.url}"
            raise KratixError(msg, why=f"{type(error).__name__}: {error}", fix="see whether this machine reaches that site") from None
        digest = hashlib.sha256(answer.content).hexdigest()
        if self.sha256 not in ("", digest) or self.holds not in answer.text:
            msg = f"{self.url} is not {self.what}"
            why = f"its SHA-256 is {digest}, pinned is {self.sha256}" if self.sha256 else f"it has no line {self.holds!r}"
            raise KratixError(msg, why=why, fix="try again; if it stays, somebody has changed it: do not apply it")
        return answer.text

    def images(self, text: str) -> list[str]:
        """The container images that its text names.

        Raises:
            KratixError: It is not what it should be.
        """
        try:
            return images.named_in(text)
        except yaml.YAMLError as error:
            msg = f"{self.url} is not {self.what}"
            raise KratixError(msg, why=f"it is no YAML: {error}", fix="try again; if it stays, do not apply it") from None


MANIFESTS = (
    Manifest(
        "cert-manager 1.15.0",
        _CERT_MANAGER,
        "name: cert-manager-webhook",
        PINNED.get(_CERT_MANAGER, ""),
        "cert-manager",
    ),
    Manifest(
        "Kratix 0.125.0",
        _RELEASE,
        "name: kratix-platform-controller-manager",
        PINNED.get(_RELEASE, ""),
        NAMESPACE,
    ),
    Manifest(
        "the state store's MinIO",
        f"{_KRATIX}/config/samples/minio-install.yaml",
        "name: minio",
        "5467efc1a87467d3caef7083047c73cbe03f3773ea42e096a1eb0cddd7e7c10b",
        NAMESPACE,
    ),
    Manifest(
        "Flux",
        f"{_KRATIX}/hack/destination/gitops-tk-install.yaml",
        "name: flux-system",
        "19455295236c55d026cb2a9e5423ced5bfab35f1c4abc69ffc9ad84cdbbb3fe1",
        "flux-system",
    ),
    Manifest(
        "the state store",
        f"{_KRATIX}/config/samples/platform_v1alpha1_bucketstatestore.yaml",
        "kind: BucketStateStore",
        "b8761c7c74f2f2dc1badea980fdff1234c97c407dd7590401875c8f6dc1a3781",
    ),
    Manifest(
        "the destination",
        f"{_KRATIX}/config/samples/platform_v1alpha1_worker.yaml",
        "kind: Destination",
        "3f9a6ccc5503f99241379624f103c0441c9ba2c6b89ab194d6669cd0a6611047",
    ),
    Manifest(
        "what Flux watches",
        f"{_KRATIX}/hack/destination/gitops-tk-resources-single-cluster.yaml",
        "kind: Kustomization",
        "5ef48e487e8655200b930858c399a7de23f168e1e46b4760ac4457d1ec9bbec2",
    ),
)
"""In the order in which they are applied."""


class ReleasedKratix:
    """Kratix in the cluster itself.

    Args:
        cluster: The cluster.
        tools: Where kind comes from.
        manifests: What to apply.
    """

    url = CONTROLLER

    def __init__(self, cluster: Cluster, tools: Toolchain, manifests: tuple[Manifest, ...] = MANIFESTS) -> None:
        self._cluster, self._tools, self._manifests = cluster, tools, manifests

    def start(self) -> Displayed:
        """Apply what is missing, each once the one before it is ready; a Kratix that is there already is taken as it is.

        First everything is fetched, and in KinD every image is brought into the node. Elsewhere images are the cluster's own affair.

        Raises:
            KratixError: A manifest or an image can't be had, which leaves the cluster as it was; or something does not become ready.
            ClusterError: The cluster or Docker refuses something.
        """
        if not self._is_there():
            with progress("fetching Kratix's manifests"):
                texts = {manifest: manifest.fetch() for manifest in self._manifests}
            if "kind" in self._cluster.provider.programs:
                wanted = [image for manifest, text in texts.items() for image in manifest.images(text)]
                images.require(wanted, self._tools.ensure("kind")["kind"].path, Docker())
            for manifest, text in texts.items():
                with progress(f"applying {manifest.what}"):
                    self._until_taken(manifest.what, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
                if manifest.namespace:
                    self._wait(manifest.what, "deployment", "--all", f"--namespace={manifest.namespace}")
        elif not self.is_running():
            self._scale(1)
            self._wait("Kratix", CONTROLLER, f"--namespace={NAMESPACE}")
        return Findings("Kratix runs", (Finding(self.is_running(), f"{CONTROLLER} is available"),))

    def stop(self) -> bool:
        """Have no controller run; returns whether one did. In a cluster that others use nothing is stopped, as they may be using it."""
        if self._cluster.provider.shared or not self._cluster.is_running() or not self.is_running():
            return False
        self._scale(0)
        return True

    def is_running(self) -> bool:
        """Whether its controller is available."""
        found = self._ask("jsonpath={.status.availableReplicas}")
        return found not in ("", "0")

    def is_on_record(self) -> bool:
        """Never: it is no process of this home's."""
        return False

    def lacking(self) -> None:
        """Nothing is lacking before it is tried."""

    def webhook_differences(self, find: Callable[[str, str], dict[str, Any] | None]) -> Iterator[str]:
        """Whether the API server is told to ask it."""
        for kind, name in WEBHOOKS.items():
            if find(kind, name) is None:
                yield f"the API server is not told to ask it: {kind} {name} is missing"

    def row(self) -> tuple[str, str, str, str, str]:
        """The controller as a row of `Lab.status`."""
        return ("kratix", "runs" if self.is_running() else "stopped", "", self._cluster.endpoint.url, "")

    def _is_there(self) -> bool:
        return bool(self._ask("name"))

    def _ask(self, output: str) -> str:
        answer = self._cluster.admin_kubectl("get", CONTROLLER, f"--namespace={NAMESPACE}", "--ignore-not-found", "-o", output)
        return answer.output.strip()

    def _scale(self, replicas: int) -> None:
        self._cluster.admin_kubectl("scale", CONTROLLER, f"--namespace={NAMESPACE}", f"--replicas={replicas}")

    def _wait(self, what: str, *of: str) -> None:
        with progress(f"waiting for {what} to be ready; the first time its images are fetched"):
            self._until_taken(what, "wait", "--for=condition=Available", *of, f"--timeout={_TRY_SECONDS}s")

    def _until_taken(self, what: str, *args: str, stdin: str = "") -> None:
        """Try again while the cluster is not ready for it yet."""

        def late(last: Exception) -> KratixError:
            msg = f"{what} is not ready after {_READY_SECONDS} s"
            return KratixError(msg, why=str(last), fix="see what its pods say: kubectl get pods --all-namespaces")

        def passing(error: Exception) -> bool:
            return isinstance(error, ClusterError) and any(words in str(error) for words in _NOT_YET)

        wait_until(lambda: self._cluster.admin_kubectl(*args, stdin=stdin), _READY_SECONDS, late, pause=1, passing=passing)
