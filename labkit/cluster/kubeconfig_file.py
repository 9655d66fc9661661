"""A kubeconfig as it is read, whoever wrote the file: nothing of it may be lost, and what is odd is not written back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import ClusterError
from ..workshop.files import UniqueKeyLoader, yaml_worded

SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
"""The lists of a kubeconfig; an entry holds a name and, under this key, what goes by it."""

_ENTRIES: Mapping[str, Any] = {
    "clusters": {"cluster": {"server": str, "certificate-authority": str, "certificate-authority-data": str}},
    "users": {"user": {"auth-provider": {"config": {}}, "exec": {}}},
    "contexts": {"context": {"cluster": str, "user": str}},
}
"""What an entry of each list holds, as far as labkit reads it: text, or a mapping."""


def load(path: Path) -> dict[str, Any]:
    """A kubeconfig's content, fit to be changed and written back by `dumped`; entries stand by their names.

    Raises:
        ClusterError: It is odd in any way; none of what stands in it is shown.
    """
    loaded: Any = None
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
    except FileNotFoundError:
        problems = []
    except OSError as error:
        problems = [error.strerror or type(error).__name__]
    except yaml.MarkedYAMLError as error:
        problems = [yaml_worded(error)]
    except Exception as error:  # noqa: BLE001 - it is somebody else's file, and YAML's own loader fails in many ways at what is odd
        problems = [f"it is no YAML text in UTF-8 ({type(error).__name__})"]
    else:
        problems = list(_oddities(loaded))
    if problems:
        raise ClusterError("kubeconfig-unreadable", file=path, oddities="\n".join(problems))
    whole = {"apiVersion": "v1", "kind": "Config", **(loaded or {})}
    return whole | {section: {entry["name"]: entry for entry in whole.get(section) or []} for section in SECTIONS}


def dumped(whole: Mapping[str, Any]) -> str:
    """The text of what `load` gave."""
    return str(yaml.safe_dump({**whole, **{section: list(whole[section].values()) for section in SECTIONS}}, sort_keys=False))


class _Loader(UniqueKeyLoader):
    """A safe loader to which what looks like a date or a time (12:30:45) stays the text that it is to kubectl, to be written back so."""


def _text_or_number(loader: _Loader, node: yaml.ScalarNode) -> object:
    if ":" in node.value:
        return node.value
    return loader.construct_yaml_float(node) if node.tag.endswith("float") else loader.construct_yaml_int(node)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _Loader.add_constructor(_tag, _text_or_number)


def _oddities(whole: Any) -> Iterator[str]:
    """What is not as it is in a kubeconfig (kubernetes.io, *kubeconfig (v1)*)."""
    if whole is None:
        return
    if not isinstance(whole, dict):
        yield "it is not a mapping"
        return
    if (whole.get("apiVersion") or "v1", whole.get("kind") or "Config") != ("v1", "Config"):
        yield "it says of itself that it is something else: apiVersion and kind are not v1 and Config"
    yield from _mistyped("", whole, {"current-context": str})
    for section, shape in _ENTRIES.items():
        entries = [] if whole.get(section) is None else whole[section]
        if not isinstance(entries, list):
            yield f"{section} is not a list"
            continue
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
        for i, name in enumerate(names):
            place = f"{section}[{i}]"
            if not (isinstance(name, str) and name):
                yield f"{place} has no name, or one that is not text"
            elif name in names[:i]:
                yield f'{place} has the name "{name}", as {section}[{names.index(name)}] has'
            else:
                yield from _mistyped(f"{place}.", entries[i], shape)


def _mistyped(place: str, value: Mapping[str, Any], shape: Mapping[str, Any]) -> Iterator[str]:
    for key, wanted in shape.items():
        found = value.get(key)
        if found is not None and not isinstance(found, str if wanted is str else dict):
            yield f"{place}{key} is not {'text' if wanted is str else 'a mapping'}"
        elif isinstance(found, dict):
            yield from _mistyped(f"{place}{key}.", found, wanted)
