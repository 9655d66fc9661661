"""What lab 06 types into forms, held against the form: a template that its cells can't use is found without a server."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

import jsonschema  # nbformat brings it
import pytest
import yaml

from labkit.common.platform_folder import OWN
from labkit.config.settings import find_root

TEMPLATE = (OWN / "templates" / "configmap.yaml").read_text()


def code() -> Iterator[ast.AST]:
    """Walk the code of the lab's cells, in their order."""
    cells = json.loads((find_root() / "notebooks" / "06-portal.ipynb").read_text())["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            yield from ast.walk(ast.parse("".join(cell["source"])))


def typed_in() -> list[dict[str, Any]]:
    """The values of each ``run_template``; a name stands for what it was last given."""
    named: dict[str, Any] = {}
    found = []
    for node in code():
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as value):
                named[name] = ast.literal_eval(value)
            case ast.Call(func=ast.Attribute(attr="run_template"), args=[_, ast.Name(id=name)]):
                found.append(named[name])
            case ast.Call(func=ast.Attribute(attr="run_template"), args=[_, value]):
                found.append(ast.literal_eval(value))
    return found


def complaints(template: str, values: dict[str, Any]) -> list[str]:
    """What the pages of a form have against values, as Backstage's backend asks them one by one."""
    pages = yaml.safe_load(template)["spec"]["parameters"]
    return [error.message for page in pages for error in jsonschema.Draft7Validator(page).iter_errors(values)]


def test_the_form_takes_what_the_lab_types_in() -> None:
    """Each cell's values hold against the template's JSON Schema."""
    values = typed_in()
    assert len(values) >= 6
    assert [(each, wrong) for each in values if (wrong := complaints(TEMPLATE, each))] == []


@pytest.mark.parametrize(("now", "then"), [("required: [name]", "required: [name, namespace]"), ("maxLength: 63", "maxLength: 3")])
def test_a_form_that_asks_for_more_is_found(now: str, then: str) -> None:
    """A new required field, or a narrower one, leaves a cell that can't run."""
    assert now in TEMPLATE
    assert any(complaints(TEMPLATE.replace(now, then), each) for each in typed_in())
