"""The catalogue of problems: every id and every value that its text asks for is given where the code meets the problem."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
import yaml

import labkit.common.errors
from labkit.common.errors import LabkitError, PortInUse
from labkit.common.problems import Problem, catalogue, ids, problem

PROBLEMS = ids()
ERRORS = {name: kind for name, kind in vars(labkit.common.errors).items() if inspect.isclass(kind) and issubclass(kind, LabkitError)}


def asked(fields: dict[str, str]) -> set[str]:
    """The names for whose values a problem's text asks."""
    return {name for text in fields.values() for name in Template(text).get_identifiers()} - {"lab"}


def calls() -> Iterator[tuple[str, str, str, set[str]]]:
    """Each place in the code that describes a problem: where it is, by which function, the id, and the values that it gives."""
    for file in Path("labkit").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
                if name in {"problem", *ERRORS}:
                    yield f"{file}:{node.lineno}", name, node.args[0].value, {word.arg or "**" for word in node.keywords}


def test_a_problem_is_unique_and_whole() -> None:
    """No id stands in two areas, and each problem has at least what and fix, or says why there is no fix."""
    names = [name for area in catalogue().values() for name in area]
    assert sorted(names) == sorted(PROBLEMS)
    assert {name for name, fields in PROBLEMS.items() if not fields.keys() <= {"what", "why", "fix"} or "what" not in fields} == set()


def test_a_problem_reads_like_the_others() -> None:
    """Ids are words with hyphens between them, and what failed ends without a full stop, as it is the head of a message."""
    assert {name for name in PROBLEMS if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name)} == set()
    assert {name for name, fields in PROBLEMS.items() if fields["what"].rstrip().endswith(".")} == set()


def test_each_call_gives_what_the_text_asks_for() -> None:
    """An id that does not exist, a value that is missing and one that nothing reads are found here and not by a user."""
    wrong = []
    for where, by, name, given in calls():
        if name not in PROBLEMS:
            wrong.append(f"{where}: no problem {name!r}")
        elif "**" not in given:
            attributes = set(dir(ERRORS[by])) - set(dir(LabkitError)) if by in ERRORS else set()
            missing, spare = asked(PROBLEMS[name]) - given, given - asked(PROBLEMS[name]) - attributes
            wrong += [f"{where}: {name} lacks {missing}"] if missing else []
            wrong += [f"{where}: {name} does not read {spare}"] if spare else []
    assert wrong == []


def test_the_doctor_yields_ids_that_ask_for_no_value() -> None:
    """A probe that names a problem by its id alone names one that exists and whose text is whole without what was seen."""
    file = Path("labkit/doctor/probes.py")
    pairs = [
        node.value.elts[0]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple)
    ]
    names = {str(node.value) for node in pairs if isinstance(node, ast.Constant)}
    names |= {name for causes in yaml.safe_load(Path("labkit/doctor/signs.yaml").read_text()).values() for name in causes.values()}
    assert len(names) > 50
    assert {name for name in names if asked(PROBLEMS[name])} == set()


def test_each_problem_is_met_somewhere() -> None:
    """The catalogue has nothing that no code names."""
    code = "\n".join(file.read_text() for file in [*Path("labkit").rglob("*.py"), Path("labkit/doctor/signs.yaml")])
    assert {name for name in PROBLEMS if f'"{name}"' not in code and f": {name}\n" not in code} == set()


def test_an_unknown_id_is_an_error() -> None:
    """A typing error ends at once, with the id."""
    with pytest.raises(KeyError, match="no-such-problem"):
        problem("no-such-problem")


def test_an_error_shows_the_catalogue_s_words() -> None:
    """An error can be made of a problem that somebody else has described."""
    error = PortInUse(Problem("port-taken", "port 1 is in use", "", "stop it"))
    assert (str(error), error.problem.id) == ("port 1 is in use\n  fix: stop it", "port-taken")
