"""labkit: the helper package behind the workshop's labs.

Whatever a notebook needs of labkit is imported from here, and loaded when it is first asked for (PEP 562): ``labkit credential``, which
kubectl runs for each command, waits for none of it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path


@cache
def _exports() -> dict[str, str]:
    """The module that each exported name is from, as ``__init__.pyi`` has it."""
    found = re.findall(r"from (\S+) import \w+ as (\w+)", Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {name: module for module, name in found}


def __getattr__(name: str) -> object:
    if name == "__all__":
        return list(_exports())
    if name not in _exports():
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value = getattr(import_module(_exports()[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_exports()})
