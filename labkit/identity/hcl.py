"""Terraform's language, written as ``terraform fmt`` would: just what a `labkit.identity.terraform.Terraform` needs of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

_WIDTH = 100
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PEM = re.compile(r"(-----[A-Z ]+-----\n|[A-Za-z0-9+/=]{4,}\n)+")
_SPECIAL = re.compile(r'["\\\x00-\x1f\x7f]|[$%]+\{')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "${": "$${", "%{": "%%{"}


class Expression(str):
    """Text that is Terraform's own, such as ``var.admin_secret``; any other text is put in quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class Block:
    """A block.

    Attributes:
        header: Its type and labels.
        values: Its arguments; a mapping is an object, a certificate a heredoc.
        blocks: The blocks inside.
    """

    header: str
    values: Mapping[str, Any] = field(default_factory=dict)
    blocks: Sequence[Block] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.header} {{", *_indented(self._inside()), "}"])

    def _inside(self) -> list[str]:
        parts = [*_arguments(self.values), *(str(block).splitlines() for block in self.blocks)]
        return _apart(parts)


def arguments(values: Mapping[str, Any]) -> str:
    """Arguments outside any block, as in a file of values for variables."""
    return "\n".join(_apart([*_arguments(values)]))


def label(name: str) -> str:
    """A name as a resource's label: what may not stand in one becomes an underscore."""
    clean = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return clean if _IDENTIFIER.fullmatch(clean) else f"_{clean}"


def _arguments(values: Mapping[str, Any]) -> Iterator[list[str]]:
    """Arguments in groups: equals signs stand below each other where lines follow each other, and longer values stand alone."""
    written = [(name if _IDENTIFIER.fullmatch(name) else quoted(name), _value(value)) for name, value in values.items()]
    for short, group in groupby(written, key=lambda pair: len(pair[1]) == 1):
        pairs = list(group)
        if short:
            width = max(len(name) for name, _ in pairs)
            yield [f"{name.ljust(width)} = {lines[0]}" for name, lines in pairs]
        else:
            yield from ([f"{name} = {lines[0]}", *lines[1:]] for name, lines in pairs)


def _value(value: Any) -> list[str]:
    """A value's lines."""
    if isinstance(value, Expression):
        return [str(value)]
    if isinstance(value, Mapping):
        return ["{", *_indented(_apart([*_arguments(value)])), "}"]
    if isinstance(value, str):
        # Only what is known to come back as it is: a heredoc knows no escapes, and takes spaces off the lines' beginnings.
        return ["<<-EOT", *_indented(value.splitlines()), "EOT"] if _PEM.fullmatch(value) else [quoted(value)]
    if isinstance(value, list | tuple):
        items = [quoted(item) if isinstance(item, str) and not isinstance(item, Expression) else _value(item)[0] for item in value]
        line = f"[{', '.join(items)}]"
        return [line] if len(line) <= _WIDTH else ["[", *_indented([f"{item}," for item in items]), "]"]
    return [json.dumps(value)]


def quoted(text: str) -> str:
    """Text as a template that is that text and no more (HCL Native Syntax Specification, *Quoted Template Expression*)."""
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    sign = found[0]
    # A row of dollar signs before a brace has no escape of its own.
    return _ESCAPES.get(sign) or "".join(f"\\u{ord(char):04x}" for char in sign.rstrip("{")) + "{" * sign.endswith("{")


def _apart(parts: Sequence[Sequence[str]]) -> list[str]:
    lines: list[str] = []
    for part in parts:
        lines += [*([""] if lines else []), *part]
    return lines


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" if line else line for line in lines]
