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
from labkit.common.problems import Problem, catalogue, ids, problem, recognised, refusals

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


def alternatives() -> Iterator[str]:
    """The ids of which a call takes one by a condition, there and then or by a name that it is given in the same function."""
    for file in Path("labkit").rglob("*.py"):
        for function in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)):
            nodes = list(ast.walk(function))
            chosen = [
                node.args[0]
                for node in nodes
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"problem", *ERRORS} and node.args
            ]
            names = {each.id for each in chosen if isinstance(each, ast.Name)}
            for node in nodes:
                match node:
                    case ast.Assign(targets=[ast.Name(str(name))], value=value) if name in names:
                        chosen.append(value)
            for choice in (each for each in chosen if isinstance(each, ast.IfExp)):
                ends = (end for each in ast.walk(choice) if isinstance(each, ast.IfExp) for end in (each.body, each.orelse))
                yield from (str(end.value) for end in ends if isinstance(end, ast.Constant))


def test_each_alternative_is_a_problem() -> None:
    """An id that only some condition leads to exists as well."""
    assert {"docker-rootless", "bundle-damaged", "object-not-ours", "kratix-images-by-digest"} <= set(alternatives())
    assert [name for name in alternatives() if name not in PROBLEMS] == []


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


def meanings() -> Iterator[tuple[str, set[str]]]:
    """Each place in the code that gives another program's words a meaning: whose words, and the values for the problem's text."""
    for file in Path("labkit").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name("explained"), args=[ast.Constant(str(program)), *_], keywords=given):
                    yield program, {"said", "whole", *(str(word.arg) for word in given)}
                case ast.Call(args=[ast.Call(func=ast.Name("recognised"), args=[ast.Constant(str(program)), *_])], keywords=given):
                    yield program, {str(word.arg) for word in given}


def test_whatever_another_program_says_has_a_meaning() -> None:
    """Each table ends with a problem for any other words, and each of its problems gets the values that its text asks for."""
    assert {program for program, _ in meanings()} == set(refusals())
    assert {list(table)[-1] for table in refusals().values()} == {""}
    named = [(name, given) for program, given in meanings() for name in refusals()[program].values()]
    assert [name for name, _ in named if name not in PROBLEMS] == []
    assert [(name, missing) for name, given in named if (missing := asked(PROBLEMS[name]) - given)] == []


def test_words_are_recognised_whatever_their_case() -> None:
    """The first pattern that is found counts; words that nobody foresaw, and none at all, are a problem too."""
    assert recognised("docker", "Got Permission Denied while trying to connect to the Docker daemon") == "docker-not-permitted"
    assert recognised("sign-in", "Account disabled for a while") == "refused-otherwise"
    assert recognised("token", "") == "api-log-silent"


def test_each_problem_is_met_somewhere() -> None:
    """The catalogue has nothing that no code names."""
    tables = (Path("labkit/doctor/signs.yaml"), Path("labkit/refusals.yaml"))
    code = "\n".join(file.read_text() for file in [*Path("labkit").rglob("*.py"), *tables])
    assert {name for name in PROBLEMS if f'"{name}"' not in code and f": {name}\n" not in code} == set()


def test_an_unknown_id_is_an_error() -> None:
    """A typing error ends at once, with the id."""
    with pytest.raises(KeyError, match="no-such-problem"):
        problem("no-such-problem")


def test_an_error_shows_the_catalogue_s_words() -> None:
    """An error can be made of a problem that somebody else has described."""
    error = PortInUse(Problem("port-taken", "port 1 is in use", "", "stop it"))
    assert (str(error), error.problem.id) == ("port 1 is in use\n  fix: stop it", "port-taken")
