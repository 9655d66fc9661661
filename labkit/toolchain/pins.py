"""The table of programs, as `programs.yaml` has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..common.tables import table
from .builders import GoProgram, NpmPackages, Wheel
from .downloads import HERE
from .keycloak import Keycloak, KeycloakStart
from .recipe import Recipe

_KINDS: Mapping[str, type[Recipe]] = {
    "go": GoProgram,
    "keycloak": Keycloak,
    "keycloak-start": KeycloakStart,
    "npm": NpmPackages,
    "wheel": Wheel,
}


def _recipe(name: str, fields: dict[str, Any]) -> Recipe:
    major, minor, *_ = fields["version"].split(".")
    words = {"{version}": fields["version"], "{major}": major, "{minor}": minor}

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(filled, value))
        return re.sub(r"{(version|major|minor)}", lambda word: words[word[0]], value) if isinstance(value, str) else value

    kind = _KINDS[fields.pop("recipe")]
    return kind(**{"name": name, "batch": name} | {field: filled(value) for field, value in fields.items()})


_TABLE = table(HERE / "programs.yaml")

PINS: Mapping[str, Recipe] = {name: _recipe(name, fields) for name, fields in _TABLE["programs"].items()}
"""How each program is had, by its name."""

KIND_NODE_IMAGE: str = _TABLE["kind_node_image"]
"""The image of KinD's nodes, by its digest."""
