"""What ``realm.yaml`` may say: the fields of Keycloak's representations that labkit plans and applies, and what contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ..common.names import name_fault, realm_name_fault
from ..common.platform_folder import nearest
from .files import Place, dotted

Representation = dict[str, Any]
"""An object as Keycloak's admin API gives and takes it: https://www.keycloak.org/docs-api/latest/rest-api/"""

Problems = Iterator[tuple[Place, str]]

_REFUSED = "labkit does not manage this: leave it out, and set it in Keycloak's console or with lab.realm.admin()"
_NEEDED = {
    "oidc-group-membership-mapper": ("claim.name",),
    "oidc-audience-mapper": ("included.custom.audience", "included.client.audience"),
}


@dataclass(frozen=True)
class Kind:
    """The fields of one of Keycloak's representations; see ``realm_fields.yaml``.

    Attributes:
        required: Those that have to be there.
        unique: Those in which no two of a list are the same.
        refused: Those that labkit does not manage.
        managed: What each field holds that labkit plans and applies: a shape, or the name of another kind.
    """

    required: list[str]
    unique: list[str]
    refused: list[str]
    managed: dict[str, str]


@cache
def _table() -> dict[str, Any]:
    return dict(yaml.safe_load(Path(__file__).with_name("realm_fields.yaml").read_text(encoding="utf-8")))


def built_in(what: str) -> list[str]:
    """What a new realm of Keycloak 26 has: client ``scopes``, realm ``roles``, or types of ``mappers``; those of OpenID Connect."""
    return str(_table()["built-in"][what]).split()


@cache
def kinds() -> dict[str, Kind]:
    """The kinds of objects in a realm, by name; the realm itself is one."""
    return {name: _kind(dict(fields)) for name, fields in _table().items() if name != "built-in"}


def _kind(fields: dict[str, str]) -> Kind:
    required, unique, refused = (fields.pop(part, "").split() for part in ("required", "unique", "refused"))
    return Kind(required, unique, refused, {field: shape for shape, names in fields.items() for field in names.split()})


def faults(realm: object) -> Problems:
    """What is in a realm that its kind does not have, what is missing, and what no such value can be; with its place."""
    yield from _of_kind("realm", realm, ())


def _of_kind(name: str, value: Any, place: Place) -> Problems:
    if not isinstance(value, dict):
        yield place, "should hold keys and values"
        return
    kind = kinds()[name]
    for key, item in value.items():
        if key in kind.managed:
            yield from _of_shape(kind.managed[key], item, (*place, key))
        else:
            yield (*place, str(key)), _REFUSED if key in kind.refused else f"unknown key{nearest(key, kind.managed)}"
    yield from (((*place, key), "is missing") for key in kind.required if key not in value)


def _of_shape(shape: str, value: Any, place: Place) -> Problems:
    if shape == "roles":
        yield from _of_kind(shape, value, place)
    elif shape in _SINGLE:
        yield from _said(place, _SINGLE[shape](value))
    elif shape in _MAPS:
        if not isinstance(value, dict):
            yield place, "should hold keys and values"
            return
        for key, item in value.items():
            yield from _of_shape(_MAPS[shape], item, (*place, str(key)))
    elif not isinstance(value, list):
        yield place, "should be a list"
    else:
        check, inner = (_of_shape, _LISTS[shape]) if shape in _LISTS else (_of_kind, shape)
        for i, item in enumerate(value):
            yield from check(inner, item, (*place, i))
        yield from _repeated(shape, value, place)


def _repeated(shape: str, items: list[Any], place: Place) -> Problems:
    """What is in a list twice and may be there once."""
    if shape == "names":
        yield from _twice([((*place, i), item) for i, item in enumerate(items)])
    for field in kinds()[shape].unique if shape in kinds() else ():
        there = [(i, item) for i, item in enumerate(items) if isinstance(item, dict) and field in item]
        yield from _twice([((*place, i, field), item[field]) for i, item in there])


def contradictions(realm: Representation) -> Problems:
    """What does not go together in a realm that has no `faults`."""
    groups = list(_groups(realm.get("groups", []), ("groups",)))
    # Tokens give a group's name without its path, so that two of one name would have each other's rights.
    yield from _twice([((*place, "name"), group["name"]) for place, _, group in groups])
    if "password" in realm.get("smtpServer", {}):
        yield ("smtpServer", "password"), f"Keycloak never shows it again, so that a plan could not see a difference. {_REFUSED}"
    roles = {*built_in("roles"), *(role["name"] for role in realm.get("roles", {}).get("realm", []))}
    for i, user in enumerate(realm.get("users", [])):
        yield from _undeclared(("users", i, "groups"), "group", user["groups"], [path for _, path, _ in groups])
        yield from _undeclared(("users", i, "realmRoles"), "realm role", user.get("realmRoles", []), roles)
        if [each["type"] for each in user["credentials"]] != ["password"]:
            yield ("users", i, "credentials"), "should be one, of the type password"
    scopes = realm.get("clientScopes", [])
    known = {*built_in("scopes"), *(scope["name"] for scope in scopes)}
    for i, client in enumerate(realm.get("clients", [])):
        for field in ("defaultClientScopes", "optionalClientScopes"):
            yield from _undeclared(("clients", i, field), "client scope", client.get(field, []), known)
        yield from _client(("clients", i), client)
    for kind, owners in (("clientScopes", scopes), ("clients", realm.get("clients", []))):
        for i, owner in enumerate(owners):
            for number, mapper in enumerate(owner.get("protocolMappers", [])):
                needed = _NEEDED.get(mapper["protocolMapper"], ())
                if needed and not any(mapper["config"].get(key, "").strip() for key in needed):
                    yield (kind, i, "protocolMappers", number, "config", needed[0]), "is missing"


def group_paths(realm: Representation) -> list[str]:
    """The paths of all declared groups, subgroups too, such as ``/team/kube-dev``."""
    return [path for _, path, _ in _groups(realm.get("groups", []), ())]


def _groups(groups: Sequence[Representation], place: Place, above: str = "") -> Iterator[tuple[Place, str, Representation]]:
    for i, group in enumerate(groups):
        path = f"{above}/{group['name']}"
        yield (*place, i), path, group
        yield from _groups(group.get("subGroups", []), (*place, i, "subGroups"), path)


def _client(place: Place, client: Representation) -> Problems:
    if client["publicClient"] and "secret" in client:
        yield (*place, "secret"), "a public client has none: remove it, or set publicClient to false"
    elif not client["publicClient"] and "secret" not in client:
        yield (*place, "secret"), "is missing"
    for i, scope in enumerate(client.get("optionalClientScopes", [])):
        if scope in client["defaultClientScopes"]:
            yield (*place, "optionalClientScopes", i), f'"{scope}" is a default client scope already'


def _twice(named: Sequence[tuple[Place, Any]]) -> Problems:
    first: dict[str, Place] = {}
    for place, value in named:
        if isinstance(value, str) and first.setdefault(value, place) != place:
            yield place, f'"{value}" is there twice, first as {dotted(first[value])}'


def _undeclared(place: Place, kind: str, values: Sequence[str], declared: Collection[str]) -> Problems:
    for i, value in enumerate(values):
        yield from undeclared((*place, i), kind, value, declared)


def undeclared(place: Place, kind: str, value: str, declared: Collection[str]) -> Problems:
    """The problem, if it is one, that a name is none of those declared."""
    if value not in declared:
        known: Iterable[str] = declared if isinstance(declared, Sequence) else sorted(declared)
        yield place, f'there is no {kind} "{value}" ({kind}s: {", ".join(known) or "none"})'


def _said(place: Place, what: str) -> Problems:
    if what:
        yield place, what


def _group_fault(value: str) -> str:
    if ":" in value:
        return f'"{value}" has a ":", which marks names of Kubernetes and its tools, such as system:masters'
    return f'"{value}" has a "/", which divides the names in a path: write subGroups' if "/" in value else name_fault(value)


def _lower_case_fault(value: str) -> str:
    return name_fault(value) or (f'Keycloak keeps this in lower case: write "{value.lower()}"' if value != value.lower() else "")


def _username_fault(value: str) -> str:
    if fault := _lower_case_fault(value):
        return fault
    if re.fullmatch(r"[^\s<>&\"$%!#?§;:*~/\\|^=\[\]{}()]{3,255}", value):
        return ""
    return f'"{value}" is no user name: take 3 to 255 characters, no spaces and no signs such as / or $'


_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"


def _email_fault(value: str) -> str:
    if fault := _lower_case_fault(value):
        return fault
    return "" if re.fullmatch(rf"{_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})*", value) else f'"{value}" is no email address'


def _secret_fault(value: str) -> str:
    return "" if value.strip() else "is empty"


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


def _text(fault: Callable[[str], str]) -> Callable[[Any], str]:
    return lambda value: fault(value) if isinstance(value, str) else "should be text: put it in quotes"


_SINGLE: dict[str, Callable[[Any], str]] = {
    "flag": lambda value: "" if isinstance(value, bool) else "should be true or false",
    "number": lambda value: "" if isinstance(value, int) and not isinstance(value, bool) else "should be a whole number",
    "text": _text(lambda _: ""),
    "name": _text(name_fault),
    "realm_name": _text(realm_name_fault),
    "group_name": _text(_group_fault),
    "username": _text(_username_fault),
    "email": _text(_email_fault),
    "secret": _text(_secret_fault),
    "uri": _text(_redirect_uri_fault),
    "mapper_type": _text(_mapper_type_fault),
}
_LISTS = {"texts": "text", "uris": "uri", "names": "text"}
_MAPS = {"map": "text", "lists": "texts"}
