"""How ``workshop.yaml`` is read: what a single value may be, and how a problem is worded without telling a secret."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo
from pydantic_core import ErrorDetails

BUILT_IN_SCOPES = frozenset(
    (
        "acr",
        "address",
        "basic",
        "email",
        "microprofile-jwt",
        "offline_access",
        "organization",
        "phone",
        "profile",
        "roles",
        "service_account",
        "web-origins",
    )
)
"""The OpenID Connect client scopes that every new realm of Keycloak 26 has."""

BUILT_IN_ROLES = frozenset(("cluster-admin", "admin", "edit", "view"))
"""The user-facing cluster roles of Kubernetes: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles"""

MAPPER_TYPES = ("group-membership", "audience")

_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_DNS_NAME = rf"{_LABEL}(\.{_LABEL})*"
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_WORDING = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "invalid_key": "a key should be text: put it in quotes",
    "string_type": "should be text: put it in quotes",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number",
    "tuple_type": "should be a list",
    "dict_type": "should hold keys and values",
    "mapping_type": "should hold keys and values",
    "model_type": "should hold keys and values",
    "model_attributes_type": "should hold keys and values",
    "too_short": "is empty",
    "union_tag_not_found": f'needs a "type" (types: {", ".join(MAPPER_TYPES)})',
    "union_tag_invalid": f"there is no such type (types: {', '.join(MAPPER_TYPES)})",
}


def worded(error: ErrorDetails) -> str:
    """One of pydantic's errors as ``path: what is wrong``, without the value unless its own rule tells it."""
    path = ""
    parts = error["loc"]
    for before, part in zip((None, *parts), parts, strict=False):
        if isinstance(part, int):
            path += f"[{part}]"
        elif not (isinstance(before, int) and part in MAPPER_TYPES):
            path += f".{part}" if path else part
    cause = error.get("ctx", {}).get("error")
    plain = error["msg"].removeprefix("Input ")
    return f"{path or 'the file'}: {cause or _WORDING.get(error['type'], plain)}"


def yaml_worded(error: yaml.MarkedYAMLError) -> str:
    """What is wrong and where, without the snippet of the file that the error carries: it may show a password."""
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}" if mark else str(error.problem)


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, but a key that is there twice is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f'the key "{key.value}" is there twice', key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _name(value: str) -> str:
    if not value.strip():
        msg = "is empty"
        raise ValueError(msg)
    if value != value.strip():
        msg = f'"{value}" begins or ends with a space'
        raise ValueError(msg)
    return value


def _realm_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", _name(value)):
        msg = f'"{value}" can\'t stand in an address: use letters, digits, ".", "_" and "-"'
        raise ValueError(msg)
    if value == "master":
        msg = '"master" is the realm that Keycloak keeps for its own administrators'
        raise ValueError(msg)
    return value


def _lower_case(value: str) -> str:
    if _name(value) != value.lower():
        msg = f'Keycloak keeps this in lower case: write "{value.lower()}"'
        raise ValueError(msg)
    return value


def _group(value: str) -> str:
    if ":" in _name(value):
        msg = f'"{value}" has a ":", which marks names of Kubernetes and its tools, such as system:masters'
        raise ValueError(msg)
    return value


def _username(value: str) -> str:
    if not re.fullmatch(r"[^\s<>&\"$%!#?§;:*~/\\|^=\[\]{}()]{3,255}", _lower_case(value)):
        msg = f'"{value}" is no user name: take 3 to 255 characters, no spaces and no signs such as / or $'
        raise ValueError(msg)
    return value


def _email(value: str) -> str:
    if not re.fullmatch(rf"{_ATOM}(\.{_ATOM})*@{_DNS_NAME}", _lower_case(value)):
        msg = f'"{value}" is no email address'
        raise ValueError(msg)
    return value


def _secret(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        msg = "is empty"
        raise ValueError(msg)
    return value


def _with_portal_port(value: object, info: ValidationInfo) -> object:
    port = (info.context or {}).get("portal_port")
    return value.replace("{portal_port}", str(port)) if isinstance(value, str) and port else value


def _redirect_uri(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[\s{}<>\"\\^`|#]", value) or "*" in value[:-1]:
        msg = f'"{value}" is no redirect URI: write http(s)://host[:port]/path, with "*" at most at its end'
        raise ValueError(msg)
    return value


def _resource(value: str) -> str:
    if not re.fullmatch(_DNS_NAME, value):
        msg = f'"{value}" is no resource: write its plural name, then a dot and its API group unless that is the core one'
        raise ValueError(msg)
    return value


Name = Annotated[str, AfterValidator(_name)]
GroupName = Annotated[str, AfterValidator(_group)]
RealmName = Annotated[str, AfterValidator(_realm_name)]
Username = Annotated[str, AfterValidator(_username)]
Email = Annotated[str, AfterValidator(_email)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
RedirectUri = Annotated[str, BeforeValidator(_with_portal_port), AfterValidator(_redirect_uri)]
Resource = Annotated[str, AfterValidator(_resource)]
Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete"]
