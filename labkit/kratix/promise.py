"""A Promise, an API that the platform offers: as its file has it, and what was asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.display import Table, Tabular, progress, shown
from ..common.errors import KratixError
from ..common.kubernetes_yaml import YamlError, load_all, worded
from ..common.waiting import wait_until
from ..workshop.fields import faults
from ..workshop.files import Place, dotted

PROMISE_KIND = "promises.platform.kratix.io"

_WAIT_SECONDS = 60


@dataclass(frozen=True)
class Promise(Tabular):
    """A Promise, as the API server takes it.

    Attributes:
        manifest: The Promise itself.
        beside: What else its file has, such as a namespace; it is published first.
    """

    manifest: Mapping[str, Any] = field(repr=False)
    beside: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @classmethod
    def load(cls, file: Path) -> Promise:
        """Read a Promise, which may offer no API; see `has_api`.

        Raises:
            KratixError: The file holds none, or several.
        """
        try:
            documents = load_all(file.read_bytes())
        except (OSError, YamlError) as error:
            reason = worded(error) if isinstance(error, YamlError) else f"{type(error).__name__}: {error}"
            raise KratixError("promise-file", file=file, reason=reason) from None
        _require(file, faults("list of manifest", documents))
        objects = [each for document in documents for each in document.get("items") or [document]]
        found = [each for each in objects if each["kind"] == "Promise"]
        if len(found) != 1:
            raise KratixError("promise-file", file=file, reason=f"it has {len(found)} objects of kind Promise instead of one")
        (manifest,) = found
        _require(file, faults("promise", manifest))
        promise = cls(manifest, tuple(each for each in objects if each is not manifest))
        if promise.has_api and not any(version["storage"] for version in promise._api["versions"]):
            raise KratixError("promise-file", file=file, reason="none of its API's versions is the stored one")
        return promise

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])

    @property
    def has_api(self) -> bool:
        """Whether one can ask for something; a Promise without an API only brings its dependencies."""
        return bool((self.manifest.get("spec") or {}).get("api"))

    def workflows(self) -> list[str]:
        """For what Kratix runs containers: ``promise``, before it is available; ``resource``, for each request."""
        return [what for what, when in ((self.manifest.get("spec") or {}).get("workflows") or {}).items() if when and any(when.values())]

    @property
    def kind(self) -> str:
        """The kind of its requests, such as ``TeamSpace``."""
        return str(self._api["names"]["kind"])

    @property
    def resource(self) -> str:
        """Its requests' plural name with the group, such as ``teamspaces.platform.example``: also the CRD's name."""
        return f"{self._api['names']['plural']}.{self._api['group']}"

    @property
    def api_version(self) -> str:
        """The group and version of its requests."""
        return f"{self._api['group']}/{self._version['name']}"

    @property
    def schema(self) -> Mapping[str, Any]:
        """The OpenAPI schema of a request's ``spec``; empty if a request has none."""
        return _spec_of(self._version)

    @property
    def _api(self) -> Mapping[str, Any]:
        if not self.has_api:
            raise KratixError("promise-no-api", promise=self.name)
        return dict(self.manifest["spec"]["api"]["spec"])

    @property
    def _version(self) -> Mapping[str, Any]:
        return next(version for version in self._api["versions"] if version["storage"])

    def is_published_by(self, crd: Mapping[str, Any]) -> bool:
        """Whether a CRD of the cluster takes requests with this schema; Kratix adds to it what is its own."""
        versions = {version["name"]: _spec_of(version) for version in crd["spec"]["versions"]}
        return versions.get(self._version["name"]) == self.schema

    def request(self, name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
        """A request, as ``kubectl apply`` takes it."""
        metadata = {"name": name, "namespace": namespace}
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata, "spec": spec}

    def table(self) -> Table:
        """What one may ask for, a row per value."""
        if not self.has_api:
            return Table(("value", "type", "required", "default", "what it is"), (), title=f"Promise {self.name}: it has no API")
        required = self.schema.get("required", ())
        rows = tuple(
            (name, _type_of(of), "yes" if name in required else "", shown(of.get("default", "")), str(of.get("description", "")))
            for name, of in (self.schema.get("properties") or {}).items()
        )
        title = f"Promise {self.name}: {self.kind} ({self.api_version})"
        return Table(("value", "type", "required", "default", "what it is"), rows, title=title)


@dataclass(frozen=True)
class RequestStatus(Tabular):
    """A request as it is now.

    Attributes:
        name: Its kind, namespace and name.
        spec: What was asked for, with the API's defaults filled in.
        version: The version of the Promise that it was taken by; empty where Kratix names none, as of 2024.
        pending: Why Kratix is not done with it, in its own words; empty when it is.
    """

    name: str
    spec: Mapping[str, Any]
    version: str
    pending: str

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> RequestStatus:
        """From the object as the API server, or the portal, gives it."""
        metadata, status = found["metadata"], found.get("status") or {}
        waits_for = [
            f"{condition['type']}: {condition.get('message') or condition.get('reason', '')}"
            for condition in status.get("conditions", ())
            if condition["status"] != "True"
        ]
        if not waits_for and status.get("observedGeneration") != metadata.get("generation"):
            waits_for = ["Kratix has said nothing of it yet"]
        name = f"{found['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        return cls(name, found.get("spec") or {}, str(status.get("promiseVersion", "")), "; ".join(waits_for))

    def table(self) -> Table:
        """What was asked for, a row per value, below how far it is."""
        taken = f"taken by version {self.version} of its Promise" if self.version else "taken"
        title = f"{self.name}, {f'pending: {self.pending}' if self.pending else taken}"
        return Table(("asked for", "value"), tuple((name, shown(value)) for name, value in self.spec.items()), title=title)


def wait_until_taken(read: Callable[[], Mapping[str, Any]], seconds: float = _WAIT_SECONDS) -> RequestStatus:
    """Watch a request until Kratix has taken it, and show what it says meanwhile.

    Raises:
        KratixError: It is still pending then; the reason is Kratix's own.
    """
    with progress("waiting for Kratix to take the request") as work:

        def taken() -> RequestStatus:
            now = RequestStatus.of(read())
            if now.pending:
                work.update(now.pending)
                raise KratixError("request-still-pending", request=now.name, seconds=f"{seconds:.0f}", reason=now.pending)
            return now

        return wait_until(taken, seconds, passing=lambda error: isinstance(error, KratixError))


def _require(file: Path, wrong: Iterable[tuple[Place, str]]) -> None:
    if reason := "\n".join(f"{dotted(place) or 'the file'}: {what}" for place, what in wrong):
        raise KratixError("promise-file", file=file, reason=reason)


def _spec_of(version: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a ``spec`` in one of a CRD's versions, which may know none."""
    return dict((version["schema"]["openAPIV3Schema"].get("properties") or {}).get("spec") or {})


def _type_of(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    return str(schema.get("type", "integer or string" if schema.get("x-kubernetes-int-or-string") else "anything"))
