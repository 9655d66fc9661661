"""YAML as Kubernetes reads it, which knows only what JSON knows: the one reader of every file that people write or programs leave.

kubectl, the API server and Kratix read it by ``sigs.k8s.io/yaml``; what stands here was compared with kubectl. Its scalars are those of
YAML 1.1 without its dates, times and ``=``: ``0400`` is octal, ``yes`` is true, ``22:30`` and ``2024-11-05`` are text.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import yaml

Node = yaml.Node
YamlError = yaml.YAMLError

_MANY_VALUES = 400_000
"""What one document's aliases may add, as a few lines of them can stand for more than any memory holds."""

_DEEPEST = 150
"""How many lists and mappings may lie in one another: whatever goes through them by recursion has stack for so many."""

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES = (16, 2, 8, 10)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PLAIN, _STANDARD = "?", "tag:yaml.org,2002:"
_TAGGED: dict[str, tuple[type, ...]] = {
    f"{_STANDARD}bool": (bool,),
    f"{_STANDARD}int": (int,),
    f"{_STANDARD}float": (int, float),
    f"{_STANDARD}null": (type(None),),
}
_MERGED = (_PLAIN, "!", f"{_STANDARD}merge")
_LONE_TAG = re.compile(r"(&\S+\s+(#.*\s+)*)?!(<!>)?\s")
_READER = (yaml.composer.Composer, yaml.CBaseLoader) if yaml.__with_libyaml__ else (yaml.BaseLoader,)


def load(text: str | bytes, *, unique: bool = False) -> Any:
    """The value of a text's one document, None if it is empty; ``unique`` refuses a key that is there twice, as kubectl's last one wins.

    Raises:
        YamlError: It is no YAML or has more than one document.
    """
    found = load_all(text, unique=unique)
    if len(found) > 1:
        problem = f"there are {len(found)} documents instead of one"
        raise YamlError(problem)
    return found[0] if found else None


def load_all(text: str | bytes, *, unique: bool = False) -> list[Any]:
    """The values of a text's documents, without the empty ones; see `load`."""
    if not unique and text.lstrip()[:1] in ("{", b"{"):
        # JSON knows pairs of escapes that YAML refuses.
        with suppress(ValueError, RecursionError):
            return [json.loads(text, parse_float=lambda digits: _number(float(digits), digits), parse_constant=_refuse)]
    return [value for value in (construct(node, unique=unique) for node in compose(text)) if value is not None]


def compose(text: str | bytes, *, aliases: bool = True) -> list[Node]:
    """The nodes of a text's documents, which know where they stand.

    Raises:
        YamlError: It is no YAML, or has an alias (``*name``) where there are to be none.
    """
    try:
        read = text if isinstance(text, str) else text.decode("utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
        # Files that were put together on Windows have a byte order mark in the middle.
        whole = re.sub(r"(?m)(\A|^---.*\n)\ufeff", r"\1", read)
        return [node for node in yaml.compose_all(whole, partial(_Loader, aliases=aliases)) if node is not None]  # type: ignore[arg-type]
    except ValueError as error:
        problem = f"it is no YAML text in UTF-8 ({type(error).__name__})"
        raise YamlError(problem) from None


def end_of(node: Node) -> int:
    """Where a value's text ends; YAML itself counts what follows a list of lines to it, comments too."""
    lines = isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value
    last = node.value[-1] if lines else node
    last = last[1] if isinstance(last, tuple) else last
    return int(last.end_mark.index) if last is node else end_of(last)


def construct(node: Node, *, unique: bool = False) -> Any:
    """The value of a node; raises YamlError for what JSON has no word for."""
    return _Constructor(unique).value(node)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def dump(value: Any) -> str:
    """A value as text in YAML's own layout, with quotes around what Kubernetes would take for something else than text."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140))


def worded(error: YamlError) -> str:
    """What is wrong and where, without the snippet of the file that the error carries: it may show a password."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error)
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}" if mark else str(error.problem)


class _Loader(*_READER):  # type: ignore[misc] # reads by libyaml, where it is
    """Makes nodes, and resolves nothing of plain scalars, which it marks: `_Constructor` does, once and by Kubernetes' rules."""

    def __init__(self, text: str, aliases: bool) -> None:
        self.anchors: dict[str, Node] = {}
        self._text, self._aliases, self._depth = text, aliases, 0
        _READER[-1].__init__(self, text)

    def resolve(self, kind: type[Node], value: str, implicit: Any) -> str:
        return _PLAIN if kind is yaml.ScalarNode and implicit[0] else ""

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) and not self._aliases:
            raise _error(event, f"the alias *{event.anchor} is not for these files: write it out")
        if self._depth > _DEEPEST:
            raise _error(event, "it is nested too deeply")
        if not isinstance(event, yaml.AliasEvent):
            # Two may have one name: an alias is the last one before it.
            self.anchors.pop(event.anchor, None)
        self._depth += 1
        node: Node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """What stands behind a lone ``!`` is text, though the parser calls it plain."""
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        if node.tag == _PLAIN and _LONE_TAG.match(self._text, node.start_mark.index):
            node.tag = "!"
        return node


class _Constructor:
    """Makes values of one document's nodes."""

    def __init__(self, unique: bool) -> None:
        self._unique, self._within = unique, set[int]()
        self._made, self._seen = 0, set[int]()

    def value(self, node: Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if id(node) in self._within:
            raise _error(node, "it contains itself")
        if len(self._within) > _DEEPEST:
            # By aliases, as the loader counts what is written.
            raise _error(node, "it is nested too deeply")
        self._made += id(node) in self._seen and len(node.value)
        self._seen.add(id(node))
        if self._made > _MANY_VALUES:
            raise _error(node, "its aliases stand for too much")
        self._within.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item) for item in node.value]
            return self._mapping(node)
        finally:
            self._within.discard(id(node))

    def _mapping(self, node: Node) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own = set[str]()
        for key, value in node.value:
            if key.value == "<<" and key.tag in _MERGED:
                found |= self._merged(value)
                continue
            name = _key(key)
            if self._unique and name in own:
                raise _error(key, f'the key "{name}" is there twice')
            own.add(name)
            found[name] = self.value(value)
        return found

    def _merged(self, node: Node) -> dict[str, Any]:
        parts = node.value[::-1] if isinstance(node, yaml.SequenceNode) else [node]
        if not all(isinstance(part, yaml.MappingNode) for part in parts):
            raise _error(node, "only a mapping can be merged")
        return {name: value for part in parts for name, value in self.value(part).items()}


def _scalar(node: yaml.ScalarNode) -> Any:
    tag, text = node.tag, str(node.value)
    if tag == _PLAIN:
        return _plain(node, text)
    if tag == f"{_STANDARD}binary":
        try:
            return base64.b64decode(text, validate=False).decode()
        except ValueError:
            raise _error(node, "it is no text in base64") from None
    if tag not in _TAGGED:
        return text
    value = _plain(node, text)
    if type(value) not in _TAGGED[tag]:
        raise _error(node, f"it is no {tag.removeprefix(_STANDARD)}")
    return value


def _plain(node: Node, text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _ENDLESS.fullmatch(text):
        raise _error(node, f"JSON has no {text}")
    bare = text.replace("_", "") if text[0] in "+-0123456789" else text
    if found := _INTEGER.fullmatch(bare):
        sign, *digits = found.groups()
        number, base = next((digit, base) for digit, base in zip(digits, _BASES, strict=True) if digit)
        whole = int(f"{sign}{number}", base)
        if -(2**63) <= whole < 2**64:
            return whole
    if _FLOAT.fullmatch(bare):
        return _number(float(bare), text)
    return text


def _number(value: float, text: str) -> Any:
    """A number as Go writes it, 1e3 as 1000; text, where it has no such number."""
    if abs(value) == float("inf"):
        return text
    return int(Decimal(repr(value))) if value.is_integer() and abs(value) < 1e21 else value


def _key(node: Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _error(node, "a key is text, and no list or mapping")
    key = _scalar(node)
    if key is None:
        raise _error(node, "a key is text, and not null")
    if isinstance(key, bool):
        return "true" if key else "false"
    return f"{key:g}" if isinstance(key, float) else str(key)


def _error(where: Node | yaml.Event, problem: str) -> YamlError:
    return yaml.constructor.ConstructorError(None, None, problem, where.start_mark)  # type: ignore[arg-type]


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if text and text not in _WORDS and not re.match(r"[-+.0-9]", text) else '"'
    return dumper.represent_scalar(f"{_STANDARD}str", text, style=style)


_Dumper.add_representer(str, _text)
