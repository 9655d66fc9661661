"""What GitHub reads: forms for issues, workflows, and the container for Codespaces."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.config.state_folder import PORTS

ROOT = Path(__file__).resolve().parents[2]
FORMS = sorted(file for file in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if file.name != "config.yml")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

# By type of field, the attributes that GitHub's schema of forms has; each but markdown has an id too.
FIELDS = {
    "markdown": {"value"},
    "textarea": {"label", "description", "placeholder", "value", "render"},
    "input": {"label", "description", "placeholder", "value"},
}


@pytest.mark.parametrize("form", FORMS, ids=lambda file: file.name)
def test_form(form: Path) -> None:
    """GitHub would show the form: it has what the schema requires and nothing that it lacks."""
    shown = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= set(shown) <= {"name", "description", "title", "labels", "assignees", "body"}
    fields = [field for field in shown["body"] if field["type"] != "markdown"]
    assert fields, "GitHub wants a field that is no text"
    assert len({field["id"] for field in fields}) == len({field["attributes"]["label"] for field in fields}) == len(fields)
    for field in shown["body"]:
        text = field["type"] == "markdown"
        assert set(field) <= {"type", "attributes"} | (set() if text else {"id", "validations"})
        assert {"value" if text else "label"} <= set(field["attributes"]) <= FIELDS[field["type"]]
        assert set(field.get("validations", {})) <= {"required"}
        assert re.fullmatch(r"[\w-]+", field.get("id", "none"))


def test_a_report_has_the_doctors_word() -> None:
    """Whoever reports a problem is asked for what the doctor says."""
    (doctor,) = [f for f in yaml.safe_load((FORMS[0].parent / "problem.yml").read_text())["body"] if f.get("id") == "doctor"]
    assert "labkit doctor --json" in doctor["attributes"]["description"]
    assert doctor["validations"] == {"required": True}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_rights_of_a_workflow(workflow: Path) -> None:
    """A workflow only reads; a job that may write runs actions alone, and no code of the checkout or of a package."""
    whole: dict[str, Any] = yaml.safe_load(workflow.read_text())
    assert whole["permissions"] == {"contents": "read"}
    writing = [job for job in whole["jobs"].values() if "write" in job.get("permissions", {}).values()]
    assert [step for job in writing for step in job["steps"] if "run" in step or "checkout" in step["uses"]] == []


def test_ports_in_a_codespace() -> None:
    """Each server that a person opens has a label, at the port that a new state folder gives it."""
    labels = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())["portsAttributes"]
    assert {str(PORTS[name]) for name in ("keycloak", "kubernetes", "portal")} | {"8888"} == set(labels)
    assert all(port["label"] for port in labels.values())
