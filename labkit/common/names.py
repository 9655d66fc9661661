"""What a name must be, for all who will bear or read it: the rules are in ``names.yaml``."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from .tables import table

_SHOWN = 40


@cache
def rules() -> dict[str, list[dict[str, str]]]:
    """The rules by kind of name; see ``names.yaml``."""

    return dict(table(Path(__file__).with_name("names.yaml")))


def broken_rule(kind: str, value: str) -> dict[str, str] | None:
    """The first rule that a name of that kind breaks."""
    every = (rule for rule in rules()["every name"] + rules()[kind] if not re.fullmatch(rule["good"], value, re.DOTALL))
    return next(every, None)


def name_fault(kind: str, value: str) -> str:
    """What is wrong with a name of that kind, and whose rule that is; nothing if it may be one."""
    if not value.strip():
        return "is empty"
    text = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    # Control characters would reach the terminal, quotation marks would end the quotation.
    shown = json.dumps(text, ensure_ascii=False) if text.isprintable() else ascii(text)
    if value != value.strip():
        return f"{shown} begins or ends with a space"
    rule = broken_rule(kind, value)
    return f"{shown} is no {kind} for {rule['whose']}: {rule['asks']}" if rule else ""
