"""A kubeconfig as it is read, whoever wrote the file: nothing of it may be lost, and what is odd is not written back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from io import BufferedRandom
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import ClusterError
from ..common.kubernetes_yaml import Node, YamlError, compose, construct, dump, end_of, worded
from ..config.files import write_private

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
    return parsed(path, read(path))


def read(path: Path) -> str:
    """Its text, line ends as they are; empty if there is no file. Raises what `load` does."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"it is no YAML text in UTF-8 ({type(error).__name__})") from None


def parsed(path: Path, text: str) -> dict[str, Any]:
    """What `load` gives, of this text of the file; kubectl too reads the first document alone."""
    try:
        loaded = next((construct(node, unique=True) for node in compose(text)), None)
    except YamlError as error:
        raise _unreadable(path, worded(error)) from None
    if problems := list(_oddities(loaded)):
        raise _unreadable(path, *problems)
    whole = {"apiVersion": "v1", "kind": "Config", **(loaded or {})}
    return whole | {section: {entry["name"]: entry for entry in whole.get(section) or []} for section in SECTIONS}


def dumped(whole: Mapping[str, Any]) -> str:
    """The text of what `load` gave."""
    return dump({**whole, **{section: list(whole[section].values()) for section in SECTIONS}})


def replace_text(path: Path, before: str, text: str) -> Path | None:
    """Write somebody's file in its place, so that mode, owner and links stay; returns a copy of it as it was, None if there was none."""
    if not path.exists():
        write_private(path, text)
        return None
    names = (path.with_name(f"{path.name}.before-labkit-{number}") for number in count(1))
    copy = next(name for name in names if not name.exists())
    with path.open("r+b") as file:
        shutil.copy2(path, copy)
        try:
            _overwrite(file, text)
        except OSError:
            _overwrite(file, before)
            raise
    return copy


def _overwrite(file: BufferedRandom, text: str) -> None:
    file.seek(0)
    file.write(text.encode())
    file.flush()
    file.truncate()


def _unreadable(path: Path, *problems: str) -> ClusterError:
    return ClusterError("kubeconfig-unreadable", file=path, oddities="\n".join(problems))


def with_entry(text: str, section: str, name: str, value: Mapping[str, Any]) -> str:
    """A kubeconfig's text with an entry added or replaced, and nothing else changed: comments and layout stay.

    A text that has it already is returned as it is. In an odd layout the result may be no kubeconfig, or another one: read it again.
    """
    # The mark at a text's beginning is none of its characters to YAML.
    mark, text = text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")
    begin, end, new = _edit(text, section, {"name": name, SECTIONS[section]: value})
    line_end = "\r\n" if "\r\n" in text else "\n"
    return f"{mark}{text[:begin]}{new.replace(chr(10), line_end)}{text[end:]}"


def _edit(text: str, section: str, entry: dict[str, Any]) -> tuple[int, int, str]:
    """Where an entry's text goes, from and to, and that text."""
    root = next(iter(compose(text)), None)
    if not isinstance(root, yaml.MappingNode):
        return _below(text, len(text), 0, {section: [entry]})
    entries = _value_of(root, section)
    if entries is None:
        last = root.value[-1][1] if root.value else None
        flow = _in_flow(text, root, last, f"{json.dumps(section)}: [{_flow(entry)}]") if root.flow_style else None
        return flow or _below(text, end_of(root), root.start_mark.column, {section: [entry]})
    if not isinstance(entries, yaml.SequenceNode) or not (entries.value or root.flow_style):
        return _first(text, root, entries, entry)
    for item in entries.value:
        if construct(item)["name"] == entry["name"]:
            return _replacement(text, item, entry)
    last = entries.value[-1] if entries.value else None
    if entries.flow_style or last is None:
        return _in_flow(text, entries, last, _flow(entry))
    column = text.rindex("-", 0, last.start_mark.index) - text.rfind("\n", 0, last.start_mark.index) - 1
    return _below(text, end_of(entries), column, [entry])


def _first(text: str, root: yaml.MappingNode, entries: Node, entry: dict[str, Any]) -> tuple[int, int, str]:
    """In place of null, of ``[]`` or of nothing."""
    begin, end = entries.start_mark.index, end_of(entries)
    if root.flow_style:
        return begin, end, f" [{_flow(entry)}]"
    _, line, block = _below(text, end, root.start_mark.column, [entry])
    return begin, line, f"{text[end:line]}{block}"


def _replacement(text: str, item: yaml.MappingNode, entry: dict[str, Any]) -> tuple[int, int, str]:
    _, kind = entry
    found = construct(item)
    if found.get(kind) == entry[kind]:
        return 0, 0, ""
    node = _value_of(item, kind)
    if node is None:
        return item.start_mark.index, end_of(item), _flow(found | entry)
    begin, end = node.start_mark.index, end_of(node)
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not entry[kind]:
        return begin, end, f" {_flow(entry[kind])}"
    return begin, end, _block(entry[kind], node.start_mark.column) + "\n" * text[:end].endswith("\n")


def _below(text: str, end: int, column: int, value: Any) -> tuple[int, int, str]:
    """On lines of its own, below the line that has this end."""
    begin = end if text[:end].endswith("\n") else text.find("\n", end) + 1 or len(text)
    return begin, begin, "\n" * (begin > 0 and text[begin - 1] != "\n") + f"{' ' * column}{_block(value, column)}\n"


def _in_flow(text: str, node: yaml.CollectionNode, last: Node | None, new: str) -> tuple[int, int, str]:
    """Behind a collection's last value, or else its bracket."""
    at = end_of(last) if last else text.index("{" if isinstance(node, yaml.MappingNode) else "[", node.start_mark.index) + 1
    return at, at, f", {new}" if last else new


def _block(value: Any, column: int) -> str:
    return dump(value).rstrip("\n").replace("\n", f"\n{' ' * column}")


def _flow(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _value_of(node: yaml.MappingNode, name: str) -> Node | None:
    return next((value for key, value in node.value if key.value == name), None)


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
