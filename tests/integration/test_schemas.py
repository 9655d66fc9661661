"""Generated schemas of a CRD: the API server, the form that is made of them, and both of the form's validators have to agree."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import event, example, given, note, settings
from hypothesis import strategies as st

from labkit import Lab
from labkit.common.http_session import HttpSession
from labkit.common.waiting import wait_until
from labkit.kratix.promise import Promise
from labkit.kratix.template import Template, template
from tests.validators import refusals

NUMBERS = st.sampled_from((0, 1, 5, 0.5, -1, 2**53, 2**53 + 1, 2**63 - 1))
TEXTS = st.sampled_from(("", "a", "${{ x }}", "22:30", "caf\u00e9"))
PATTERNS = st.text(r"ab0^$.*+?()[]{}|/\\-:,dwsipPQAzEx", max_size=10) | st.sampled_from(("^a+$", "(?i)a", "[[:alpha:]]", r"^[\w.-]+$"))
ANYTHING = st.one_of(NUMBERS, TEXTS, st.none(), st.booleans(), st.lists(NUMBERS, max_size=2), st.dictionaries(TEXTS, NUMBERS, max_size=2))
WORDS = {
    "description": TEXTS,
    "default": ANYTHING,
    "enum": st.lists(TEXTS | NUMBERS | st.none(), min_size=1, max_size=3, unique_by=str),
    "format": st.sampled_from(("int32", "int64", "email", "date-time", "byte", "ipv4", "duration")),
    "minimum": NUMBERS,
    "maximum": NUMBERS,
    "exclusiveMinimum": st.booleans(),
    "exclusiveMaximum": st.booleans(),
    "multipleOf": st.sampled_from((1, 0.5, 3)),
    "pattern": PATTERNS,
    "maxLength": st.integers(0, 9),
    "maxItems": st.integers(0, 9),
    "minProperties": st.integers(0, 2),
    "nullable": st.booleans(),
    "x-kubernetes-int-or-string": st.just(True),
    "x-kubernetes-preserve-unknown-fields": st.just(True),
    "x-kubernetes-embedded-resource": st.just(True),
    "x-kubernetes-list-type": st.just("set"),
    "oneOf": st.just([{"required": ["a"]}]),
    "not": st.just({"required": ["b"]}),
}
ODD_TEXTS = TEXTS | st.sampled_from(
    [
        *("aa", "A", "b0", "a b", "\U0001f600", "1.5", "-1", "127.0.0.1", "127.0.0.01", "::1", "::ffff:1.2.3.4", "fe80::1%eth0"),
        *("a@b", "A <a@b.c>", "a@b.c", "a.b", "-a", "a_b", "x" * 64, "a.", "a..b", "http://a", "/a", "a:b", "http://a b", "urn:x", "a%zz"),
        *("2024-02-30", "2024-11-05", "24-1-1", "2024-11-05T10:00:00Z", "2024-11-05 10:00:00Z", "2024-11-05T24:00:00Z"),
        *("3f1e1f1e-0000-4000-8000-00000000000a", "3F1E1F1E00004000800000000000000A"),
    ]
)
TYPED: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "string": {
        "default": TEXTS,
        "enum": st.lists(TEXTS, min_size=1, max_size=3, unique=True),
        "format": st.sampled_from(("email", "date", "date-time", "hostname", "ipv4", "ipv6", "uri", "uuid", "byte", "duration")),
        "pattern": PATTERNS,
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(0, 9),
    },
    "integer": {
        "default": st.integers(0, 5),
        "enum": st.lists(NUMBERS, min_size=1, max_size=3, unique=True),
        "format": st.sampled_from(("int32", "int64")),
        "multipleOf": st.sampled_from((1, 2, 3, 0.5)),
    },
    "number": {"default": NUMBERS, "format": st.sampled_from(("float", "double")), "multipleOf": st.sampled_from((1, 0.5, 0.1, 0.01, 3))},
    "boolean": {"default": st.booleans()},
}
for kind in ("integer", "number"):
    TYPED[kind] |= {word: WORDS[word] for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")}
FIELDS = st.one_of(
    *(
        st.fixed_dictionaries({"type": st.just(kind)}, optional={"nullable": st.booleans(), "description": TEXTS, **words})
        for kind, words in TYPED.items()
    ),
    st.fixed_dictionaries(
        {"x-kubernetes-int-or-string": st.just(True)},
        optional={"default": TEXTS | st.integers(0, 5), "pattern": PATTERNS, "maximum": NUMBERS},
    ),
    st.fixed_dictionaries({"type": st.sampled_from(tuple(TYPED))}, optional=WORDS),
    st.fixed_dictionaries({}, optional=WORDS),
)
LIMITS, SIZES = ({word: st.integers(0, 3) for word in words} for words in (("minItems", "maxItems"), ("minProperties", "maxProperties")))
PROPERTY = st.sampled_from(("a", "b", "true", "1.1", "spec"))
SCHEMAS = st.recursive(
    FIELDS,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional=LIMITS),
        st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner}, optional=SIZES),
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(PROPERTY, inner, max_size=3),
            },
            optional={"required": st.lists(st.sampled_from(("a", "b")), max_size=2, unique=True), **SIZES},
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional=WORDS),
        st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(st.just("a"), inner)}, optional=WORDS),
    ),
    max_leaves=4,
)


@st.composite
def values(draw: st.DrawFn, schema: Mapping[str, Any]) -> Any:
    """What somebody may send for a schema: mostly of its type, and often near its limits."""
    kind = schema.get("type", "") if draw(st.integers(0, 9)) else ""
    if kind and "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if kind == "object":
        free = dict.fromkeys(draw(st.lists(st.sampled_from("abc"), unique=True)), schema.get("additionalProperties", {}))
        fields = schema.get("properties", free)
        wanted = [name for name in fields if name in schema.get("required", ()) or draw(st.booleans())]
        return {name: draw(values(fields[name])) for name in wanted}
    if kind == "array":
        return draw(st.lists(values(schema["items"]), max_size=3))
    # What a browser can hold: it rounds larger ones.
    near = [schema[limit] + more for limit in ("minimum", "maximum") if limit in schema for more in (-1, 0, 0.5, 1)]
    numbers = st.sampled_from([each for each in (*near, 0, 1, 3, 4.5, 0.3, -7, 2**31, 2**53, 1e-7) if abs(each) <= 2**53])
    return draw({"string": ODD_TEXTS, "boolean": st.booleans(), "integer": numbers, "number": numbers}.get(kind, ANYTHING))


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any]]:
    schema = draw(SCHEMAS)
    return schema, draw(st.lists(values(schema), min_size=1, max_size=3))


def crd(group: str, schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """A CRD with a version for each schema."""
    versions = [
        {
            "name": f"v{number}",
            "served": True,
            "storage": number == 1,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": schema}}},
        }
        for number, schema in enumerate(schemas, 1)
    ]
    names = {"kind": "T", "listKind": "TList", "plural": "ts", "singular": "t"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"ts.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
    }


def form_of(schema: dict[str, Any]) -> Template:
    return template(Promise({"metadata": {"name": "t"}, "spec": {"api": crd("t.example", [schema])}}), "group:default/kube-admin")


class ApiServer:
    """The API server, as its administrator asks it."""

    _CRDS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"

    def __init__(self, lab: Lab) -> None:
        endpoint, tls = lab.cluster.endpoint, lab.settings.state.tls
        self._url, self._session, self._numbers = endpoint.url, HttpSession(endpoint.ca), itertools.count()
        self._session.cert = (str(tls / "admin.crt"), str(tls / "admin.key"))

    def refuses(self, path: str, body: Any, *, dry: bool = True) -> str:
        """Why it does not take an object; empty if it does."""
        answer = self._session.post(
            f"{self._url}/{path}", json=body, params={"dryRun": "All", "fieldValidation": "Strict"} if dry else None, timeout=30
        )
        return "" if answer.ok else str(answer.json()["message"])

    def refuses_crd(self, schema: dict[str, Any]) -> str:
        return self.refuses(self._CRDS, crd("t.example", [schema]))

    def judges(self, tried: list[tuple[dict[str, Any], Any]]) -> list[str]:
        """What it has against each value, by its schema; all schemas are versions of one CRD, as each takes a while to be served."""
        group = f"s{next(self._numbers)}.example"
        assert self.refuses(self._CRDS, crd(group, [schema for schema, _ in tried]), dry=False) == ""
        try:
            served = f"{self._url}/apis/{group}/v{len(tried)}/ts"
            wait_until(lambda: self._session.get(served, timeout=30).ok, 30, pause=0.05)
            return [
                self.refuses(
                    f"apis/{group}/v{number}/namespaces/default/ts",
                    {"apiVersion": f"{group}/v{number}", "kind": "T", "metadata": {"name": "t"}, "spec": value},
                )
                for number, (_, value) in enumerate(tried, 1)
            ]
        finally:
            self._session.delete(f"{self._url}/{self._CRDS}/ts.{group}", timeout=30)


@pytest.fixture(scope="module")
def api_server(lab: Lab) -> ApiServer:
    return ApiServer(lab)


def disagreements(api_server: ApiServer, tried: list[tuple[dict[str, Any], list[Any]]]) -> list[tuple[Any, ...]]:
    """The schemas that the API server takes, each with a value that either it or the form takes alone, and why the other does not."""
    taken = [(schema, value) for schema, some in tried if not api_server.refuses_crd(schema) for value in some]
    if not taken:
        return []
    forms = [form_of(schema) for schema, _ in taken]
    pages = [form.entity["spec"]["parameters"][1] for form in forms]
    by_form = refusals(*((page, {"spec": value}) for page, (_, value) in zip(pages, taken, strict=True)))
    wrong: list[tuple[Any, ...]] = []
    for (schema, value), form, ours, theirs in zip(taken, forms, by_form, api_server.judges(taken), strict=True):
        event(f"the form {'refuses' if ours else 'takes'} it, the API server {'refuses' if theirs else 'takes'} it")
        otherwise = any(why.startswith("asked for as") for _, _, why in form.left_out)
        unsaid = {word.partition(":")[0] for _, word, why in form.left_out if not why.startswith("asked for as text")} - {"nullable"}
        # Nobody fills in null, which the API server takes for a field that is left out.
        if (theirs and not ours and not unsaid) or (ours and not theirs and not otherwise and "null" not in json.dumps(value)):
            wrong.append((schema, value, ours or theirs))
    return wrong


@example(
    tried=[
        ({"type": "object", "properties": {"a": {"type": "string"}}, "minProperties": 1}, [{"b": 1}, {"a": ""}, {}]),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]}, [{}, {"a": ""}]),
        ({"type": "object", "x-kubernetes-embedded-resource": True, "properties": {}}, [{"c": True}]),
        ({"type": "string", "format": "email"}, ["a@b", "A <a@b.c>"]),
        ({"type": "string", "format": "hostname"}, ["caf\u00e9", "a.b"]),
        ({"type": "string", "format": "date-time"}, ["2024-11-05 10:00:00Z"]),
        ({"type": "string", "pattern": None, "enum": None}, ["a"]),
        ({"type": "object", "x-kubernetes-int-or-string": True, "enum": [2**53]}, [2**53]),
        ({"type": "object", "x-kubernetes-int-or-string": True, "enum": [1, "a"]}, [1, "a", {}]),
        ({"type": "object", "x-kubernetes-int-or-string": True}, [1, "a", {}]),
        ({"type": "number", "multipleOf": 0.5}, [0, 1, 0.5, 0.3]),
    ]
)
# Each example has several schemas, and a CRD of its own.
@settings(max_examples=settings().max_examples // 8)
@given(tried=st.lists(cases(), min_size=1, max_size=12))
def test_the_form_lets_through_what_the_api_server_takes(api_server: ApiServer, tried: list[tuple[dict[str, Any], list[Any]]]) -> None:
    assert disagreements(api_server, tried) == []


@given(SCHEMAS)
def test_both_validators_compile_the_form_of_a_schema(schema: dict[str, Any]) -> None:
    made = form_of(schema)
    page = made.entity["spec"]["parameters"][1]
    note(json.dumps(page))
    assert page == json.loads(json.dumps(page), parse_int=lambda digits: int(digits) if abs(int(digits)) <= 2**53 else None)
    # A value of a wrong kind is refused with reasons; what can't be compiled is an exception.
    assert [wrong for wrong in refusals((page, {"spec": "text"}))[0] if "rror: " in wrong or "schema is invalid" in wrong] == []
