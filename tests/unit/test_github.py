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

# By a job's rights, the only command that it may run; all else there is an action.
PUBLISHING = {
    frozenset({"id-token"}): r"pipx run --spec uv==[\d.]+ uv publish --trusted-publishing always",
    frozenset({"contents"}): r'gh release create "\$GITHUB_REF_NAME" dist/\* [^;&|`()\n]+',
}

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
    """A workflow only reads. A job that may do more has one right, and publishes what another job has built."""
    whole: dict[str, Any] = yaml.safe_load(workflow.read_text())
    assert whole["permissions"] == {"contents": "read"}
    for job in whole["jobs"].values():
        rights = job.get("permissions", {})
        if "write" not in rights.values():
            continue
        assert not any("checkout" in step.get("uses", "") for step in job["steps"])
        commands = [step["run"] for step in job["steps"] if "run" in step]
        assert [command for command in commands if not re.fullmatch(PUBLISHING.get(frozenset(rights), "no command"), command)] == []


def test_publisher_is_pinned() -> None:
    """The uv that publishes a release is the one that the lock pins."""
    (version,) = re.findall(r"^uv==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert f"--spec uv=={version} uv publish" in (ROOT / ".github/workflows/release.yml").read_text()


def test_ports_in_a_codespace() -> None:
    """Each server that a person opens has a label, at the port that a new state folder gives it."""
    labels = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())["portsAttributes"]
    assert {str(PORTS[name]) for name in ("keycloak", "kubernetes", "portal")} | {"8888"} == set(labels)
    assert all(port["label"] for port in labels.values())
