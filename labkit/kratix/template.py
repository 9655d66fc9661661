"""The portal's template for a Promise: its form is the schema of the Promise's API, as far as a form can say it.

A form is JSON Schema (Backstage hands ``parameters`` to react-jsonschema-form, and its backend judges values by the same schema); a CRD's
schema is OpenAPI with words of Kubernetes' own. What is left out is listed, and holds all the same: the API server judges every request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
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
        *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    )
)
_FORMATS = frozenset(("date", "ipv6"))
"""The formats that mean the same to both sides: of emails, addresses and times, one of the two takes some that the other refuses."""

_IN_CLASS = r"(?:[^\\\[\]-]|\\[\\^$.*+?()\[\]{}|/nrt-])"
_CLASS = rf"\[\^?-?(?:\\[dDwWsS](?!-[^\]])|{_IN_CLASS}(?:-{_IN_CLASS})?)+-?\]"
_PATTERN = re.compile(
    # A sign, what a backslash may stand before, a class or a group, each with how often; what can't be repeated.
    rf"(?:(?:[^\\\[\](){{}}*+?|^$]|\)|\\[dDwWsS\\^$.*+?()\[\]{{}}|/nrt]|{_CLASS})(?:(?:[*+?]|\{{\d+(?:,\d*)?\}})\??)?"
    r"|\((?:\?:|(?!\?))|[|^$]|\\[bB])*"
)
"""What a pattern may be made of, to mean the same in Go and, with the flag ``u`` and without, in a browser."""

_SAID_OTHERWISE = frozenset(
    (
        *("exclusiveMinimum", "exclusiveMaximum", "x-kubernetes-int-or-string"),
        *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"),
    )
)
_LARGEST = 2**53
"""The integers beyond it are rounded by a browser."""


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

    Its ``owner`` is an entity, such as ``group:default/kube-admin``. Raises a KratixError for a Promise without an API.
    """
    form, left_out = _form(promise.schema, "spec")
    spec = "spec: ${{ (parameters.spec or {}) | dump }}" if promise.schema else ""
    values = {
        "PROMISE": promise.name,
        "KIND": promise.kind,
        "API_VERSION": promise.api_version,
        "OWNER": owner,
        "DESCRIPTION": _yaml(promise.schema.get("description", f"Asks for a {promise.kind}")),
        "REQUIRED": _yaml(["spec"] if "required" in form else []),
        "PROPERTIES": _yaml({"spec": {"title": promise.kind, **form}} if promise.schema else {}),
        "SPEC": spec,
    }
    return Template(read("kratix/template.yaml", values, folder), tuple(left_out))


def _yaml(value: object) -> str:
    """A value as JSON, which is YAML and leaves no question of quoting."""
    return json.dumps(value, ensure_ascii=False)


def _form(schema: Mapping[str, Any], at: str) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """A schema as a form's, and what of it was left out, each with the field that it is at."""
    form: dict[str, Any] = {}
    left_out: list[tuple[str, str, str]] = []
    # Null is the same to the API server as a word that is left out.
    for word, value in ((word, value) for word, value in schema.items() if value is not None):
        if word == "properties":
            form[word] = {}
            for name, of in value.items():
                form[word][name], less = _form(of, f"{at}.{name}")
                form[word][name].setdefault("title", name)
                left_out += less
        elif word in ("items", "additionalProperties") and isinstance(value, Mapping):
            form[word], less = _form(value, f"{at}[]" if word == "items" else f"{at}.*")
            left_out += less
        elif word == "x-kubernetes-validations":
            left_out += ((at, word, str(rule.get("message") or rule["rule"])) for rule in value)
        elif why := _why_not(word, value, schema):
            left_out.append((at, f"{word}: {value}" if word in _TAKEN_OVER else word, why))
        elif word in _TAKEN_OVER or word == "additionalProperties":
            form[word] = value
    return _fit(form, schema), left_out


def _why_not(word: str, value: Any, schema: Mapping[str, Any]) -> str:
    """Why a form can't have a word, or has it in other words only; empty if it can."""
    int_or_string = schema.get("x-kubernetes-int-or-string")
    if word == "format" and value not in _FORMATS:
        return "no check of its own"
    if why := _read_otherwise(word, value):
        return why
    if word == "x-kubernetes-int-or-string" and ("enum" not in schema or _why_not("enum", schema["enum"], schema)):
        return "asked for as text"
    if word == "x-kubernetes-embedded-resource" or (word == "x-kubernetes-preserve-unknown-fields" and "type" not in schema):
        return "asked for as keys and values"
    known = word in _TAKEN_OVER or word in _SAID_OTHERWISE or (word == "additionalProperties" and isinstance(value, bool))
    return "" if known or (word == "anyOf" and int_or_string) else "not in the form"


def _read_otherwise(word: str, value: Any) -> str:
    """Why a word doesn't mean the same to the API server and to a browser; empty if it does."""
    if word == "pattern" and not (_PATTERN.fullmatch(value) and _compiles(value)):
        return "a browser reads such a pattern in another way"
    if word == "multipleOf" and isinstance(value, float) and not value.is_integer():
        return "the API server takes such a factor's whole part"
    if word in _TAKEN_OVER and json.loads(json.dumps(value), parse_int=_as_in_a_browser) != value:
        return "a browser rounds such a number"
    return ""


def _fit(form: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The form of a schema, with what OpenAPI and Kubernetes say otherwise than JSON Schema."""
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.get(exclusive) is True and limit in form:
            form[exclusive] = form.pop(limit)
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource"):
        form = {"type": "object", **form}
        if form["type"] == "object":
            form.setdefault("additionalProperties", True)
    elif "properties" in form:
        # The API server drops a field that it does not know, or refuses to apply it.
        form.setdefault("additionalProperties", False)
    # Null is what a field has that is left empty.
    form = {word: [each for each in value if each is not None] if word == "enum" else value for word, value in form.items()}
    form = {word: value for word, value in form.items() if (word, value) != ("enum", [])}
    if schema.get("x-kubernetes-int-or-string"):
        # The API server takes text for a number here as well, and passes over a type.
        form.pop("type", None)
        if "enum" not in form:
            form["type"] = "string"
            if "default" in form:
                form["default"] = str(form["default"])
    # What has a default may be left out.
    filled = {name for name, of in (schema.get("properties") or {}).items() if "default" in of}
    asked = [name for name in dict.fromkeys(form.pop("required", ())) if name not in filled]
    return form | ({"required": asked} if asked else {})


def _compiles(pattern: str) -> bool:
    try:
        return bool(re.compile(pattern))
    except (re.error, OverflowError, RecursionError):
        return False


def _as_in_a_browser(digits: str) -> float:
    return int(digits) if abs(int(digits)) <= _LARGEST else nan
