"""Kratix as it is released, in a cluster that runs containers: KinD, or somebody else's.

Not yet run: there is no Docker where this was written. The versions are those of Kratix's own quick start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests

from ..cluster.cluster import Cluster
from ..cluster.kind.checks import NAME, no_node, node_names
from ..cluster.kind.docker import Docker, run_kind
from ..common.display import Displayed, Finding, Findings, progress
from ..common.errors import ClusterError, KratixError, why_failed
from ..common.http_session import request
from ..common.kubernetes_yaml import YamlError, load_all
from ..common.tables import table
from ..common.waiting import wait_until
from ..config.settings import Settings
from ..toolchain import Toolchain
from ..toolchain.downloads import PINNED
from ..workshop.workshop import Workshop
from .kratix import NAMESPACE, Kratix

CONTROLLER = "deployment/kratix-platform-controller-manager"
_FETCH_SECONDS = 30
_LOAD_SECONDS = 600
_PULL_SECONDS = 300
_READY_SECONDS = 600
_TRY_SECONDS = 40
_NOT_YET = ("failed calling webhook", "no matches for kind", "timed out waiting", "no matching resources found")


@dataclass(frozen=True)
class Manifest:
    """An entry of ``released.yaml``; the digest is empty while it is open."""

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
            raise KratixError("manifest-not-fetched", manifest=self.what, url=self.url, reason=why_failed(error)) from None
        digest = hashlib.sha256(answer.content).hexdigest()
        if self.sha256 not in ("", digest) or self.holds not in answer.text:
            why = f"its SHA-256 is {digest}, pinned is {self.sha256}" if self.sha256 else f"it has no line {self.holds!r}"
            raise self._is_another(why)
        return answer.text

    def images(self, text: str) -> list[str]:
        """The container images that its text names; raises what `fetch` does."""
        try:
            return named_in(text)
        except YamlError as error:
            reason = f"it is no YAML: {error}"
            raise self._is_another(reason) from None

    def _is_another(self, reason: str) -> KratixError:
        return KratixError("manifest-is-another", url=self.url, manifest=self.what, reason=reason)


MANIFESTS = tuple(Manifest(**{"sha256": PINNED.get(entry["url"], ""), **entry}) for entry in table(Path(__file__).with_suffix(".yaml")))
"""In the order in which they are applied."""


class ReleasedKratix(Kratix):
    """Kratix in the cluster itself.

    First everything is fetched, and in KinD every image is brought into the node; elsewhere images are the cluster's own affair.
    Each manifest is applied once the one before it is ready. A Kratix that is there already is taken as it is.
    """

    url = CONTROLLER

    def __init__(
        self, settings: Settings, workshop: Workshop, cluster: Cluster, tools: Toolchain, manifests: tuple[Manifest, ...] = MANIFESTS
    ) -> None:
        super().__init__(settings, workshop, cluster)
        self._tools, self._manifests = tools, manifests

    def start(self) -> Displayed:
        if not self._ask("name"):
            self._install()
        elif not self.is_running():
            self._scale(1)
            self._wait("Kratix", CONTROLLER, f"--namespace={NAMESPACE}")
        return Findings("Kratix runs", (Finding(self.is_running(), f"{CONTROLLER} is available"),))

    def stop(self) -> bool:
        # In a cluster that others use nothing is stopped, as they may be using it.
        if self._cluster.provider.shared or not self._cluster.is_running() or not self.is_running():
            return False
        self._scale(0)
        return True

    def is_running(self) -> bool:
        return self._ask("jsonpath={.status.availableReplicas}") not in ("", "0")

    def _install(self) -> None:
        with progress("fetching Kratix's manifests"):
            texts = {manifest: manifest.fetch() for manifest in self._manifests}
        if "kind" in self._cluster.provider.programs:
            wanted = [image for manifest, text in texts.items() for image in manifest.images(text)]
            require_images(wanted, self._tools.ensure("kind")["kind"].path, Docker())
        for manifest, text in texts.items():
            with progress(f"applying {manifest.what}"):
                self._until_taken(manifest.what, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
            if manifest.namespace:
                self._wait(manifest.what, "deployment", "--all", f"--namespace={manifest.namespace}")

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
            return KratixError("manifest-not-ready", manifest=what, seconds=_READY_SECONDS, reason=str(last))

        def passing(error: Exception) -> bool:  # kubectl's own words are what failed
            return isinstance(error, ClusterError) and any(words in error.what for words in _NOT_YET)

        wait_until(lambda: self._cluster.admin_kubectl(*args, stdin=stdin), _READY_SECONDS, late, pause=1, passing=passing)


def named_in(text: str) -> list[str]:
    """The images that a manifest has run: each container's, and those that Kratix's ConfigMaps and variables name by ``…_IMG``.

    Raises:
        YamlError: It is no YAML.
    """
    return [image for document in load_all(text) for image in _images(document)]


def _images(part: object) -> Iterator[str]:
    match part:
        case list():
            for each in part:
                yield from _images(each)
        case dict():
            # Not what cert-manager's --acme-http01-solver-image names: no certificate here comes by ACME.
            if isinstance(part.get("name"), str) and isinstance(part.get("image"), str):
                yield part["image"]
            if str(part.get("name")).endswith("_IMG") and isinstance(part.get("value"), str):
                yield part["value"]
            for key, value in part.items():
                if key.endswith("_IMG") and isinstance(value, str):
                    yield value
                yield from _images(value)


def require_images(wanted: Iterable[str], kind: Path, docker: Docker) -> None:
    """Have these images in KinD's node: those that Docker has are loaded, the others pulled by the node as its kubelet would, all at once.

    Raises:
        ClusterError: There is no node, or Docker does not answer.
        KratixError: Some can't be had, each with the reason.
    """
    nodes = node_names(kind)
    if not nodes:
        raise no_node()
    images = list(dict.fromkeys(wanted))
    bring = partial(_bring, node=nodes[0], kind=kind, docker=docker)
    with progress(f"looking for {len(images)} images in KinD's node; what it lacks is fetched"), ThreadPoolExecutor() as pool:
        reasons = zip(images, pool.map(bring, images), strict=True)
        missing = {image: why for image, why in reasons if why}
    if missing:
        # What is saved by its digest arrives without a name.
        names = " ".join(image for image in missing if "@" not in image)
        raise KratixError(
            "kratix-images" if names else "kratix-images-by-digest",
            lacking=len(missing),
            many=len(images),
            reasons="\n".join(f"{image}: {why}" for image, why in missing.items()),
            names=names,
            kind=kind,
            cluster=NAME,
        )


def _bring(image: str, *, node: str, kind: Path, docker: Docker) -> str:
    """Have an image in the node; returns why that can't be done."""
    with suppress(ClusterError):
        # The node completes a name that lacks registry or tag.
        docker.run("exec", node, "crictl", "inspecti", "-q", image)
        return ""
    reasons = []
    # By its digest the node would not know what kind loads.
    if "@" not in image and docker.has_image(image):
        try:
            loaded = run_kind(kind, "load", "docker-image", image, f"--name={NAME}", seconds=_LOAD_SECONDS)
        except ClusterError as error:
            reasons.append(error.what)
        else:
            if loaded.returncode == 0:
                return ""
            reasons.append(f"kind can't load it: {_last_line(loaded.stderr)}")
    try:
        # The limit is kept within the node: what is killed out here goes on in there.
        docker.run("exec", node, "timeout", str(_PULL_SECONDS), "crictl", "pull", image, seconds=_PULL_SECONDS + 10)
    except ClusterError as error:
        reasons.append(_last_line(error.why) or f"it did not come within {_PULL_SECONDS} s")
        return "; ".join(reasons)
    return ""


def _last_line(text: str) -> str:
    return "".join(text.strip().splitlines()[-1:])
