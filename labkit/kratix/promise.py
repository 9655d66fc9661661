"""A Promise, an API that the platform offers: as its file has it, and what was asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..common.display import Table, Tabular, progress, shown
from ..common.errors import KratixError
from ..common.waiting import wait_until

PROMISE_KIND = "promises.platform.kratix.io"

_WAIT_SECONDS = 60


@dataclass(frozen=True)
class Promise(Tabular):
    """A Promise, as the API server takes it."""

    manifest: Mapping[str, Any] = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> Promise:
        """Read a Promise.

        Raises:
            KratixError: The file holds none that offers an API.
        """
        try:
            promise = cls(yaml.safe_load(file.read_bytes()))
            _ = promise.name, promise.kind, promise.schema
        except (OSError, yaml.YAMLError, TypeError, KeyError, StopIteration) as error:
            raise KratixError("promise-file", file=file, reason=f"{type(error).__name__}: {error}") from None
        return promise

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])

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
        """The OpenAPI schema of a request's ``spec``."""
        return dict(self._version["schema"]["openAPIV3Schema"]["properties"]["spec"])

    @property
    def _api(self) -> Mapping[str, Any]:
        return dict(self.manifest["spec"]["api"]["spec"])

    @property
    def _version(self) -> Mapping[str, Any]:
        return next(version for version in self._api["versions"] if version["storage"])

    def is_published_by(self, crd: Mapping[str, Any]) -> bool:
        """Whether a CRD of the cluster takes requests with this schema; Kratix adds to it what is its own."""
        versions = {version["name"]: version["schema"]["openAPIV3Schema"]["properties"].get("spec") for version in crd["spec"]["versions"]}
        return versions.get(self._version["name"]) == self.schema

    def request(self, name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
        """A request, as ``kubectl apply`` takes it."""
        metadata = {"name": name, "namespace": namespace}
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata, "spec": spec}

    def table(self) -> Table:
        """What one may ask for, a row per value."""
        required = self.schema.get("required", ())
        rows = tuple(
            (name, _type_of(of), "yes" if name in required else "", shown(of.get("default", "")), str(of.get("description", "")))
            for name, of in self.schema.get("properties", {}).items()
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


def _type_of(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    return str(schema.get("type", "integer or string" if schema.get("x-kubernetes-int-or-string") else "anything"))
