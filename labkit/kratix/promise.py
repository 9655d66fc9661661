"""A Promise as a file holds it: an API that the platform offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..common.display import Table, Tabular, shown
from ..common.errors import KratixError

PROMISES = Path(__file__).with_name("promises")
"""Promises of our own."""

PROMISE_KIND = "promises.platform.kratix.io"


@dataclass(frozen=True)
class Promise(Tabular):
    """A Promise.

    Attributes:
        name: Its name.
        manifest: The whole of it, as the API server takes it.
    """

    name: str
    manifest: Mapping[str, Any] = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> Promise:
        """Read a Promise.

        Raises:
            KratixError: The file holds none that offers an API.
        """
        try:
            manifest = yaml.safe_load(file.read_text())
            promise = cls(manifest["metadata"]["name"], manifest)
            _ = promise.kind, promise.schema
        except (OSError, yaml.YAMLError, TypeError, KeyError, StopIteration) as error:
            msg = f"{file} holds no Promise with an API"
            raise KratixError(msg, why=f"{type(error).__name__}: {error}", fix="name a YAML file with one object of kind Promise") from None
        return promise

    @property
    def crd(self) -> Mapping[str, Any]:
        """The CustomResourceDefinition of its API."""
        return dict(self.manifest["spec"]["api"])

    @property
    def kind(self) -> str:
        """The kind of its requests, such as ``TeamSpace``."""
        return str(self.crd["spec"]["names"]["kind"])

    @property
    def resource(self) -> str:
        """Its requests' plural name with the group, such as ``teamspaces.platform.example``: also the CRD's name."""
        return f"{self.crd['spec']['names']['plural']}.{self.crd['spec']['group']}"

    @property
    def api_version(self) -> str:
        """The group and version of its requests."""
        return f"{self.crd['spec']['group']}/{self._version['name']}"

    @property
    def schema(self) -> Mapping[str, Any]:
        """The OpenAPI schema of a request's ``spec``."""
        return dict(self._version["schema"]["openAPIV3Schema"]["properties"]["spec"])

    @property
    def _version(self) -> Mapping[str, Any]:
        return next(version for version in self.crd["spec"]["versions"] if version["storage"])

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


def _type_of(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    return str(schema.get("type", "integer or string" if schema.get("x-kubernetes-int-or-string") else "anything"))
