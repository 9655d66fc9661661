"""What the platform files may say: the fields in ``fields.yaml``, and what each can hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..common.names import name_fault
from ..common.platform_folder import nearest
from ..common.tables import table
from .files import Place, dotted

Representation = dict[str, Any]
"""An object as Keycloak's admin API gives and takes it: https://www.keycloak.org/docs-api/latest/rest-api/"""

Problems = Iterator[tuple[Place, str]]

NOT_MANAGED = "labkit does not manage this: leave it out, and set it in Keycloak's console or with lab.realm.admin()"
_PARTS = ("required", "filled", "unique", "refused", "others")


@dataclass(frozen=True)
class Kind:
    """The fields of one kind of object; see ``fields.yaml``.

    Attributes:
        managed: What each field holds that labkit knows.
    """

    required: list[str]
    filled: list[str]
    unique: list[str]
    refused: list[str]
    others: list[str]
    managed: dict[str, str]


@cache
def _table() -> dict[str, Any]:
    return dict(table(Path(__file__).with_name("fields.yaml")))


def built_in(what: str) -> list[str]:
    """What a new realm of Keycloak 26 has: client ``scopes``, realm ``roles``, or types of ``mappers``; those of OpenID Connect."""
    return str(_table()["built-in"][what]).split()


@cache
def kinds() -> dict[str, Kind]:
    """The kinds of objects, by name."""
    return {name: _kind(dict(fields)) for name, fields in _table().items() if name != "built-in"}


def _kind(fields: dict[str, str]) -> Kind:
    parts = {part: fields.pop(part, "").split() for part in _PARTS}
    return Kind(**parts, managed={field: shape for shape, names in fields.items() for field in names.split()})


def faults(shape: str, value: Any, place: Place = ()) -> Problems:
    """What in a value is unknown, missing, or not as such a value has to be; with its place.

    Args:
        shape: A kind, or what else ``fields.yaml`` has a field hold.
        value: The value.
        place: Where it stands.
    """
    container, _, inner = shape.partition(" of ")
    if " or " in shape:
        either = [list(faults(each, value, place)) for each in shape.split(" or ")]
        yield from [] if [] in either else either[-1]
    elif inner:
        yield from _of_many(container, inner, value, place)
    elif shape in kinds():
        yield from _of_kind(kinds()[shape], value, place)
    elif shape.startswith("="):
        *words, last = map(repr, shape[1:].split("|"))
        if repr(value) not in (*words, last):
            yield place, f"should be {', '.join(words)}{' or ' if words else ''}{last}"
    elif what := (_SINGLE.get(shape) or _text(partial(name_fault, shape)))(value):
        yield place, what


def _of_kind(kind: Kind, value: Any, place: Place) -> Problems:
    if not isinstance(value, dict):
        yield place, "should hold keys and values"
        return
    for key, item in value.items():
        if key in kind.managed:
            yield from faults(kind.managed[key], item, (*place, key))
        elif key in kind.refused:
            yield (*place, key), NOT_MANAGED
        elif not kind.others:
            yield (*place, str(key)), f"unknown key{nearest(key, kind.managed)}"
    yield from (((*place, key), "is missing") for key in kind.required if key not in value)
    yield from (((*place, key), "is empty") for key in kind.filled if value.get(key) == [])


def _of_many(container: str, inner: str, value: Any, place: Place) -> Problems:
    wanted, what = (dict, "should hold keys and values") if container == "map" else (list, "should be a list")
    if not isinstance(value, wanted):
        yield place, what
        return
    items = [((*place, str(key)), item) for key, item in value.items()] if isinstance(value, dict) else in_list(value, place)
    for at, item in items:
        yield from faults(inner, item, at)
    if container == "set":
        yield from twice(items)
    for field in kinds()[inner].unique if inner in kinds() else ():
        yield from twice([((*at, field), item[field]) for at, item in items if isinstance(item, dict) and field in item])


def in_list(items: Sequence[Any], place: Place = ()) -> list[tuple[Place, Any]]:
    """The items of a list with their places."""
    return [((*place, i), item) for i, item in enumerate(items)]


def twice(named: list[tuple[Place, Any]]) -> Problems:
    """The texts that stand in two places."""
    first: dict[str, Place] = {}
    for place, value in named:
        if isinstance(value, str) and first.setdefault(value, place) != place:
            yield place, f'"{value}" is there twice, first as {dotted(first[value])}'


def _redirect_uri_fault(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if good and not re.search(r"[\s{}<>\"\\^`|#]", value) and "*" not in value[:-1]:
        return ""
    return f'"{value}" is no redirect URI: write http(s)://host[:port]/path, with "*" at most at its end'


def _mapper_type_fault(value: str) -> str:
    types = built_in("mappers")
    return "" if value in types or value.startswith("saml-") else f'there is no such type as "{value}"{nearest(value, types)}'


_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"


def _resource_fault(value: str) -> str:
    what = "is no resource: write its plural name, then a dot and its API group unless that is the core one"
    return "" if re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", value) else f'"{value}" {what}'


def _text(fault: Callable[[str], str]) -> Callable[[Any], str]:
    def what(value: Any) -> str:
        if not isinstance(value, str):
            return "should be text: put it in quotes"
        # YAML can write half of a character of two ("\\ud83d"), which no file and no request can hold.
        return fault(value) if value == value.encode(errors="ignore").decode() else "has half a character: write it whole"

    return what


_SINGLE: dict[str, Callable[[Any], str]] = {
    "anything": lambda _: "",
    "null": lambda value: "" if value is None else "should be empty",
    "flag": lambda value: "" if isinstance(value, bool) else "should be true or false",
    "number": lambda value: "" if isinstance(value, int) and not isinstance(value, bool) else "should be a whole number",
    "text": _text(lambda _: ""),
    "secret": _text(lambda value: "" if value.strip() else "is empty"),
    "uri": _text(_redirect_uri_fault),
    "mapper_type": _text(_mapper_type_fault),
    "resource": _text(_resource_fault),
}
