"""What people get wrong, and what labkit says then: ``bad_inputs.yaml``, each entry of it as a case."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from labkit.common.kubernetes_yaml import load
from labkit.common.problems import ids

LOOKING = ("status", "doctor", "realm plan", "kubeconfig", "kratix status", "agenda")
"""Verbs that write nothing, not even into a state folder that was made and never started."""


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        door: Where it comes in.
        problem: The id of what is said of it; ``usage`` where the command line itself says so.
        given: The input, in short.
        does: A command with its variables, or Python as a notebook has it.
        names: What has to be in the answer.
        file: The file that is wrong, below the test's folder, with what is done to it.
    """

    door: str
    problem: str
    given: str
    does: str
    names: str
    file: str = ""
    change: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """The variables in front of the command."""
        words = shlex.split(self.does)
        return dict(word.split("=", 1) for word in words[: words.index("labkit")]) if "labkit" in words else {}

    @property
    def arguments(self) -> list[str] | None:
        """What follows ``labkit``; None for Python."""
        words = shlex.split(self.does) if not self.does.endswith(")") else []
        return words[words.index("labkit") + 1 :] if "labkit" in words else None


def cases() -> Iterator[Case]:
    """Read the file."""
    for door, problems in load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).items():
        usual = problems.pop("usual")
        for problem, inputs in problems.items():
            for entry in inputs:
                yield _case(door, problem, usual, entry)


def _case(door: str, problem: str, usual: Mapping[str, str], entry: Any) -> Case:
    if isinstance(entry, str):
        variable = next(iter(re.findall(r"^(\w+)=", entry)), "")
        return Case(door, problem, entry, entry if "labkit" in entry or entry.endswith(")") else f"{entry} {usual['does']}", names=variable)
    change = dict(entry)
    given, names = change.pop("input"), change.pop("names", "")
    does, file = change.pop("does", usual.get("does", "")), change.pop("file", usual.get("file", ""))
    return Case(door, problem, given, does, names or file.rpartition("/")[2], file, change)


def pattern(problem: str) -> re.Pattern[str]:
    """How the catalogue's words for a problem look in an error, whatever was seen."""
    parts = []
    for label, text in zip(("", "  why: ", "  fix: "), (ids()[problem].get(name, "") for name in ("what", "why", "fix")), strict=True):
        if text:
            words = Template(text.strip()).substitute(dict.fromkeys(Template(text).get_identifiers(), "\0"))
            parts.append(label + re.sub(r"(\\x00|\0|\\\0)", "(?s:.*)", re.escape(words).replace("\\\n", r"\s+").replace("\n", r"\s+")))
    return re.compile(r"\s*".join(parts))


def table() -> str:
    """All of it for docs/reliability.md: a table for each door, a row for each answer."""
    found: dict[str, dict[str, list[str]]] = {}
    for case in cases():
        found.setdefault(case.door, {}).setdefault(case.problem, []).append(case.given)
    number = sum(len(given) for problems in found.values() for given in problems.values())
    parts = [f"## Bad inputs\n\n{number} inputs, each in a test; `tests/bad_inputs.yaml` has them.\n{_ABOUT}"]
    for door, problems in found.items():
        rows = [f"| {_cell('; '.join(given))} | {_cell(_said(problem))} | `{problem}` |" for problem, given in problems.items()]
        parts.append("\n".join((f"### {door}\n", "| input | what is said | name |", "| --- | --- | --- |", *rows)) + "\n")
    return "\n".join(parts)


_ABOUT = """\
Each ends with exit code 1 and an error with what, why and fix, or with 2 and the usage of the command; none with a traceback.
The wrong value is named, what was there stays as it was, and a verb that only looks writes nothing.
[docs/troubleshooting.md](troubleshooting.md) has the whole errors by their names.
"""


def _said(problem: str) -> str:
    if problem == "usage":
        return "the usage of the command, and what is wrong with it"
    text = ids()[problem]["what"].strip()
    return Template(text).substitute({name: f"‹{name}›" for name in Template(text).get_identifiers()})


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
