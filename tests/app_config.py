"""How Backstage reads app-config.yaml, in a few lines; tests/integration/test_portal.py holds them against its own loader."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_VARIABLE = re.compile(r"\$\{([^{}:]+)(?::-([^{}]*))?\}")


def substituted(value: Any, variables: Mapping[str, str]) -> Any:
    """A file's data with the variables' values; what names one that is not set is left out, or None at the top."""
    if isinstance(value, dict):
        return {key: found for key, each in value.items() if (found := substituted(each, variables)) is not None}
    if isinstance(value, list):
        return [found for each in value if (found := substituted(each, variables)) is not None]
    if not isinstance(value, str):
        return value
    values = [variables.get(name) or instead or None for name, instead in _VARIABLE.findall(value)]
    return None if None in values else _VARIABLE.sub(lambda _: str(values.pop(0)), value)


def variables_in(text: str) -> set[str]:
    """The variables that a file names, but for comments."""
    return {name for line in text.splitlines() for name, _ in _VARIABLE.findall(line.partition("#")[0])}


def by_path(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested data by their paths, such as ``catalog.locations.0.type``."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inside or not value:
        yield path, value
    for key, each in inside:
        yield from by_path(each, f"{path}.{key}" if path else str(key))
