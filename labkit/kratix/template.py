"""The portal's template for a Promise: its form is the schema of the Promise's API, as far as a form can say it.

A form is JSON Schema (Backstage hands ``parameters`` to react-jsonschema-form, and its backend judges values by the same schema); a CRD's
schema is OpenAPI with words of Kubernetes' own. What is left out is listed, and holds all the same: the API server judges every request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.display import Table, Tabular
from ..common.platform_folder import OWN
from ..config.files import write_private
from ..workshop.files import Document, read
from .promise import Promise

_TAKEN_OVER = frozenset(
    (
        *("type", "title", "description", "default", "enum", "pattern", "format", "required", "multipleOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    )
)
_FORMATS = frozenset(("date", "date-time", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"))
"""The formats that both sides know; Kubernetes' int32, int64, byte, … mean nothing to a form."""
_MEANINGS = {"x-kubernetes-preserve-unknown-fields": "values beyond the form's are taken too"}


@dataclass(frozen=True)
class Template(Tabular):
    """A template and what its form can't say.

    Attributes:
        document: The entity, as the portal's catalog takes it.
        left_out: For each field what its form does not say, such as ``("spec", "x-kubernetes-validations", "…")``.
    """

    document: Document
    left_out: tuple[tuple[str, str, str], ...]

    @property
    def entity(self) -> dict[str, Any]:
        """The template's content."""
        return dict(self.document.data)

    @property
    def _name(self) -> str:
        return str(self.entity["metadata"]["name"])

    def write(self, folder: Path) -> Path:
        """Write it as a file, to be registered in the portal; returns the file."""
        file = folder / f"{self._name}.yaml"
        write_private(file, self.document.text)
        return file

    def table(self) -> Table:
        """A row for each thing that its form can't say."""
        title = f"template {self._name}: what the form can't say, and the API server enforces all the same"
        return Table(("field", "says", "what that means"), self.left_out, title=title)


def template(promise: Promise, owner: str, folder: Path = OWN) -> Template:
    """The template by which the portal offers a Promise: ``kratix/template.yaml`` of the platform folder, with the Promise filled in.

    Its ``owner`` is an entity, such as ``group:default/kube-admin``.
    """
    form, left_out = _form(promise.schema, "spec")
    values = {
        "PROMISE": promise.name,
        "KIND": promise.kind,
        "API_VERSION": promise.api_version,
        "OWNER": owner,
        "DESCRIPTION": _yaml(promise.schema.get("description", f"Asks for a {promise.kind}")),
        "SCHEMA": _yaml({"title": promise.kind, **form}),
    }
    return Template(read("kratix/template.yaml", values, folder), tuple(left_out))


def _yaml(value: object) -> str:
    """A value as JSON, which is YAML and leaves no question of quoting."""
    return json.dumps(value, ensure_ascii=False)


def _form(schema: Mapping[str, Any], at: str) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """A schema as a form's, and what of it was left out, each with the field that it is at."""
    form: dict[str, Any] = {}
    left_out: list[tuple[str, str, str]] = []
    for word, value in schema.items():
        if word == "properties":
            form[word] = {}
            for name, of in value.items():
                form[word][name], less = _form(of, f"{at}.{name}")
                form[word][name].setdefault("title", name)
                left_out += less
        elif word in ("items", "additionalProperties") and isinstance(value, Mapping):
            form[word], less = _form(value, f"{at}[]" if word == "items" else f"{at}.*")
            left_out += less
        elif word == "format" and value not in _FORMATS:
            left_out.append((at, f"format: {value}", "no check of its own"))
        elif word in _TAKEN_OVER or (word == "additionalProperties" and value is False):
            form[word] = value
        elif word == "x-kubernetes-int-or-string":
            # The API server takes text for a number here as well.
            form["type"] = "string"
            left_out.append((at, word, "asked for as text"))
        elif word == "x-kubernetes-validations":
            left_out += ((at, word, str(rule.get("message") or rule["rule"])) for rule in value)
        else:
            left_out.append((at, word, _MEANINGS.get(word, "not in the form")))
    if "default" in form and form.get("type") == "string":
        form["default"] = str(form["default"])
    return form, left_out
