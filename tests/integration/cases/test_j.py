"""J: a CRD's schema is translated into a form that both validators compile, that can be filled in, and that says what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.kratix.promise import Promise
from labkit.kratix.template import Template, template
from tests.validators import refusals


def made(spec: dict[str, Any]) -> Template:
    """The template of a Promise whose requests have this ``spec``."""
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"properties": {"spec": spec}}}}
    crd = {"spec": {"group": "t.example", "names": {"kind": "T", "plural": "ts"}, "versions": [version]}}
    return template(Promise({"metadata": {"name": "t"}, "spec": {"api": crd}}), "group:default/kube-admin")


def form(schema: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A field's form without its title, and the words that were left out."""
    found = made({"type": "object", "properties": {"f": schema}})
    field = dict(found.entity["spec"]["parameters"][1]["properties"]["spec"]["properties"]["f"])
    field.pop("title")
    return field, [said for _, said, _ in found.left_out]


@pytest.mark.parametrize(
    ("schema", "field", "good", "bad"),
    [
        ({"minimum": 0, "exclusiveMinimum": True}, {"exclusiveMinimum": 0}, 1, 0),
        ({"maximum": 5, "exclusiveMaximum": True}, {"exclusiveMaximum": 5}, 4, 5),
        ({"minimum": 0, "exclusiveMinimum": False}, {"minimum": 0}, 0, -1),
        ({"exclusiveMinimum": True}, {}, 0, "text"),
    ],
)
def test_exclusive_limits_are_numbers_in_a_form(schema: dict[str, Any], field: dict[str, Any], good: Any, bad: Any) -> None:
    """B05: OpenAPI's are booleans."""
    shown, left_out = form({"type": "integer", **schema})
    assert (shown, left_out) == ({"type": "integer", **field}, [])
    taken, refused = refusals((shown, good), (shown, bad))
    assert taken == []
    assert len(refused) == 2


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"any": {"thing": 1}}),
        ({"type": "object", "additionalProperties": True}, {"any": "thing"}),
        ({"type": "object", "x-kubernetes-embedded-resource": True}, {"kind": "Pod"}),
        ({"x-kubernetes-preserve-unknown-fields": True}, {"any": "thing"}),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {"type": "string"}}}, {"a": "b", "c": 1}),
    ],
)
def test_a_free_object_takes_keys_and_values(schema: dict[str, Any], value: Any) -> None:
    """B23: the form has no fields for what it does not know, unless it may have more."""
    shown, _ = form({"type": "array", "items": schema})
    assert shown["items"]["additionalProperties"] is True
    assert refusals((shown, [value])) == [[]]


@pytest.mark.parametrize(
    "pattern",
    ["^a+$", r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", r"^(?:[A-Z]{2,3}\d*|x)$", r"^\w+\.[^/\]]$", r"^v\d{1}/[\w.-]+$", r"^\$\{a\}$", r"[\w\-]"],
)
def test_a_pattern_that_means_the_same_everywhere_is_in_the_form(pattern: str) -> None:
    """B43: what both validators compile stays."""
    shown, left_out = form({"type": "string", "pattern": pattern})
    assert (shown["pattern"], left_out) == (pattern, [])
    assert "xpression" not in str(refusals((shown, "~")))


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "(?i)^dev$",
            "^[[:alnum:]]+$",
            r"\A[a-z]+\z",
            r"^[\w-.]+$",
            r"^\Qa.b\E$",
            r"\pL",
            r"^\p{Greek}$",
            "(?P<name>a)",
            "(?s:.)",
            r"\x{10FFFF}",
        ),
        *(
            "(?s:.)",
            r"\x{10FFFF}",
            r"^a\-b$",
            r"\_",
            r"\a",
            r"\C",
            "a{",
            "}",
            "{}",
            "[]a]",
            "[[a]",
            "[^[:space:]]",
            r"[\pN]",
            r"\01",
            r"[a-\d]",
        ),
    ],
)
def test_a_pattern_that_a_browser_reads_otherwise_is_left_out(pattern: str) -> None:
    """B43: flags, POSIX classes, Go's anchors and escapes, and signs that only Go takes as they are."""
    assert form({"type": "string", "pattern": pattern}) == ({"type": "string"}, [f"pattern: {pattern}"])


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"x-kubernetes-int-or-string": True, "enum": [80, 443, "http"], "default": 80}, {"enum": [80, 443, "http"], "default": 80}),
        ({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}, {"type": "string"}),
        ({"type": "string", "nullable": True, "default": None}, {"type": "string"}),
        ({"type": "integer", "nullable": True, "default": None}, {"type": "integer"}),
        ({"type": "string", "nullable": True, "enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
        ({"type": "string", "nullable": True, "enum": [None]}, {"type": "string"}),
        ({"type": "integer", "default": 9007199254740993}, {"type": "integer"}),
        ({"type": "object", "default": {"id": 1234567890123456789}}, {"type": "object"}),
        ({"type": "integer", "enum": [1, 1234567890123456789]}, {"type": "integer"}),
        ({"type": "integer", "maximum": 9223372036854775807}, {"type": "integer"}),
    ],
)
def test_values_that_a_browser_can_not_hold_are_not_offered(schema: dict[str, Any], field: dict[str, Any]) -> None:
    """B44: numbers in text, null, and integers of 64 bits."""
    assert form(schema)[0] == field


def test_a_choice_of_numbers_and_text_can_be_sent() -> None:
    """B44: what is chosen is of the API's own types, which its enum compares."""
    shown, _ = form({"x-kubernetes-int-or-string": True, "enum": [80, "http"]})
    assert refusals((shown, 80), (shown, "http")) == [[], []]


@pytest.mark.parametrize(
    ("spec", "required"),
    [
        ({"type": "object"}, []),
        ({"type": "object", "properties": None}, []),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, []),
        ({"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "default": "x"}}}, []),
        ({"type": "object", "required": ["a", "a"], "properties": {"a": {"type": "string"}}}, ["spec"]),
    ],
)
def test_a_spec_is_required_only_if_it_has_something_to_fill_in(spec: dict[str, Any], required: list[str]) -> None:
    """B74: a request may be its name alone; defaults are the API server's."""
    page = made(spec).entity["spec"]["parameters"][1]
    assert page["required"] == required
    assert (refusals((page, {})) == [[]]) == (not required)


def test_what_compiled_before_still_does() -> None:
    """B63: multiples, arrays of arrays, one of several."""
    rows = {"type": "array", "items": {"type": "array", "items": {"type": "number", "multipleOf": 2}}}
    spec = {"type": "object", "properties": {"rows": rows}, "oneOf": [{"required": ["rows"]}, {"required": ["b"]}]}
    page = made(spec).entity["spec"]["parameters"][1]
    assert refusals((page, {"spec": {"rows": [[4, 2]]}})) == [[]]
    assert len(refusals((page, {"spec": {"rows": [[3]]}}))[0]) == 2
