"""One catalogue of what can be wrong: `labkit/problems.yaml`, by id. Errors, findings, causes and the doctor take their words from it.

`labkit/refusals.yaml` says which of them another program's words stand for.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from .tables import table

_LABKIT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, with what was seen of it.

    Attributes:
        id: Its name in the catalogue, such as ``port-taken``.
        what: What failed, or what somebody sees of it.
        why: The cause, as far as it is known; may hold several lines.
        fix: What to do about it, as far as possible a command.
    """

    id: str
    what: str
    why: str = ""
    fix: str = ""


@cache
def catalogue() -> dict[str, dict[str, dict[str, str]]]:
    """Read the catalogue: by area, by id, the fields."""
    return dict(table(_LABKIT / "problems.yaml"))


@cache
def refusals() -> dict[str, dict[str, str]]:
    """Read the other table: by program, by pattern, the id."""
    return dict(table(_LABKIT / "refusals.yaml"))


def ids() -> Mapping[str, dict[str, str]]:
    """Give every problem's fields by its id."""
    return ChainMap(*catalogue().values())


def problem(name: str, /, **evidence: object) -> Problem:
    """Describe a problem.

    Args:
        name: Its id in the catalogue.
        evidence: What was seen: the values for the ``${names}`` in its fields.

    Raises:
        KeyError: There is no such id, or one of its names has no value; `make check` looks at each call.
    """
    fields = ids()[name]
    values = {"lab": "lab", **evidence}
    return Problem(name, **{field: Template(text).substitute(values).strip() for field, text in fields.items()})


def recognised(program: str, said: str) -> str:
    """Find the id of the problem that a program's words stand for; ``program`` is a key of `refusals`."""
    return next(name for pattern, name in refusals()[program].items() if re.search(pattern, said, re.IGNORECASE))
