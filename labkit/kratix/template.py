"""The portal's template for a Promise: its form is the schema of the Promise's API, as far as a form can say it.

A form is JSON Schema (Backstage hands ``parameters`` to react-jsonschema-form, and its backend judges values by the same schema); a CRD's
schema is OpenAPI with words of Kubernetes' own. What is left out is listed, and holds all the same: the API server judges every request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..common.display import Table, Tabular
from ..config.settings import write_private
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

_NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}


@dataclass(frozen=True)
class Template(Tabular):
    """A template and what its form can't say.

    Attributes:
        entity: The entity, as the portal's catalog takes it.
        left_out: For each field what its form does not say, such as ``("spec", "x-kubernetes-validations", "…")``.
    """

    entity: Mapping[str, Any]
    left_out: tuple[tuple[str, str, str], ...]

    def write(self, folder: Path) -> Path:
        """Write it as a file, to be registered in the portal; returns the file."""
        file = folder / f"{self.entity['metadata']['name']}.yaml"
        write_private(file, yaml.safe_dump(dict(self.entity), sort_keys=False, width=140))
        return file

    def table(self) -> Table:
        """A row for each thing that its form can't say."""
        title = f"template {self.entity['metadata']['name']}: what the form can't say, and the API server enforces all the same"
        return Table(("field", "says", "what that means"), self.left_out, title=title)


def template(promise: Promise, owner: str) -> Template:
    """The template by which the portal offers a Promise.

    Args:
        promise: The Promise.
        owner: The entity that owns the template, such as ``group:default/kube-admin``.
    """
    spec, left_out = _form(promise.schema, "spec")
    kind, link = promise.kind, f"/resource?apiVersion={promise.api_version}&kind={promise.kind}"
    manifest = (
        f"apiVersion: {promise.api_version}\n"
        f"kind: {kind}\n"
        "metadata:\n"
        "  name: ${{ parameters.name | dump }}\n"
        '  namespace: ${{ (parameters.namespace or "default") | dump }}\n'
        "spec: ${{ (parameters.spec or {}) | dump }}\n"
    )
    where = {
        "name": {"title": "Name", "description": "The request's own name", **_NAME, "ui:autofocus": True},
        "namespace": {"title": "Namespace", "description": "One that exists", **_NAME, "default": "default"},
    }
    pages = [
        {"title": f"Which {kind}", "required": ["name"], "properties": where},
        {"title": "What it is to be", "required": ["spec"], "properties": {"spec": {"title": kind, **spec}}},
    ]
    output = {
        "resourceId": "${{ steps.configure.output.resourceId }}",
        "links": [
            {
                "title": "See it in the cluster",
                "url": link + '&namespace=${{ parameters.namespace or "default" }}&name=${{ parameters.name }}',
            }
        ],
    }
    entity = {
        "apiVersion": "scaffolder.backstage.io/v1beta3",
        "kind": "Template",
        "metadata": {
            "name": promise.name,
            "title": kind,
            "description": str(promise.schema.get("description", f"Asks for a {kind}")),
            "tags": ["kratix"],
        },
        "spec": {
            "owner": owner,
            "type": "kratix-promise",
            "parameters": pages,
            "steps": [
                {"id": "configure", "name": f"Ask for the {kind}", "action": "ske:configure-resource", "input": {"manifest": manifest}}
            ],
            "output": output,
        },
    }
    return Template(entity, tuple(left_out))


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
        else:
            left_out.extend((at, word, meaning) for meaning in _meanings(word, value))
    if "default" in form and form.get("type") == "string":
        form["default"] = str(form["default"])
    return form, left_out


def _meanings(word: str, value: Any) -> Iterator[str]:
    if word == "x-kubernetes-validations":
        for rule in value:
            yield str(rule.get("message") or rule["rule"])
    elif word == "x-kubernetes-preserve-unknown-fields":
        yield "values beyond the form's are taken too"
    else:
        yield "not in the form"
