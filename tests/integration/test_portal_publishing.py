"""Who publishes templates, and what a template can not do whoever publishes and whoever runs it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from labkit.common.errors import NotPermitted, PortalError, TaskFailed
from labkit.common.platform_folder import OWN
from labkit.lab import Lab
from labkit.portal.answers import location_ref
from labkit.portal.client import PortalSession
from tests.support import wait_for

PUBLISHED = "template:default/configmap"
MARK = "a line of a file of the learner's"
STOLEN = '{apiVersion: v1, kind: ConfigMap, metadata: {name: stolen, namespace: default}, data: {t: "${{ secrets.backstageToken }}"}}'


def template_of(name: str, *steps: dict[str, Any], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "scaffolder.backstage.io/v1beta3",
        "kind": "Template",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"type": "service", "steps": list(steps)},
    }


def written(folder: Path, template: dict[str, Any]) -> Path:
    file = folder / f"{template['metadata']['name']}.yaml"
    file.write_text(json.dumps(template))
    return file


@pytest.fixture(scope="module")
def admin(lab: Lab) -> PortalSession:
    session = lab.portal.sign_in("user-admin")
    session.register_template(OWN / "templates" / "configmap.yaml")
    return session


@pytest.fixture(scope="module")
def dev(lab: Lab, admin: PortalSession) -> PortalSession:
    assert admin
    return lab.portal.sign_in("user-dev")


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file that is nobody's business, in a shape whose mistakes a parser likes to quote."""
    # By a short path, as the error that names it shows the beginning of a long answer only.
    with TemporaryDirectory() as folder:
        file = Path(folder) / "credentials"
        file.write_text(f"[default]\n{MARK} = 1\n")
        yield file


@pytest.fixture
def reading(secret: Path) -> dict[str, Any]:
    """A template that puts the file beside it into its log."""
    fetch = {"id": "f", "action": "fetch:plain:file", "input": {"url": f"${{{{ './{secret.name}' }}}}", "targetPath": "out"}}
    log = {"id": "l", "action": "debug:log", "input": {"listWorkspace": "with-contents"}}
    return template_of("reading", fetch, log)


def uid_of(session: PortalSession, name: str) -> str:
    return str(session.ask("GET", f"catalog/entities/by-name/template/default/{name}")["metadata"]["uid"])


def completions(session: PortalSession, task: str) -> list[dict[str, Any]]:
    events = session.ask("GET", f"scaffolder/v2/tasks/{task}/events")
    return [event["body"] for event in events if event["type"] == "completion"]


def errors_of(lab: Lab, ref: str) -> str:
    """What the catalog has against an entity that it has read and doesn't show."""
    with closing(sqlite3.connect(lab.settings.folder / "portal" / "database" / "catalog.sqlite")) as database:
        rows = database.execute("SELECT errors FROM refresh_state WHERE entity_ref = ?", (ref,)).fetchall()
    return str(rows)


@pytest.mark.fault("Neighbours", "a participant publishes a template for others to run", "refused, with who may publish")
@pytest.mark.parametrize("source", [OWN / "templates" / "reader.yaml", "https://github.com/o/r/blob/main/t.yaml"], ids=["file", "address"])
def test_publishing_is_for_publishers(lab: Lab, dev: PortalSession, source: Path | str) -> None:
    """Whoever is in no publisher's group learns why, and nothing is copied to where templates lie."""
    before = sorted((lab.settings.folder / "portal" / "templates").iterdir())
    with pytest.raises(NotPermitted, match="user-dev may not publish templates") as caught:
        dev.register_template(source)
    assert caught.value.why.endswith("so to publish is for the members of kube-admin")
    assert "register_template" in caught.value.fix
    assert sorted((lab.settings.folder / "portal" / "templates").iterdir()) == before


@pytest.mark.fault("Neighbours", "a participant deletes or replaces somebody's template", "refused; templates are deleted by their owners")
def test_a_template_is_deleted_by_its_owners(admin: PortalSession, dev: PortalSession, tmp_path: Path) -> None:
    """Not by other people, and one without an owner not even by publishers."""
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("DELETE", f"catalog/entities/by-uid/{uid_of(admin, 'configmap')}", {}),
        ("POST", "catalog/refresh", {"entityRef": PUBLISHED}),
        ("POST", "catalog/validate-entity", {"entity": template_of("x"), "location": "url:https://localhost/x"}),
    ]
    for method, path, body in asked:
        with pytest.raises(NotPermitted):
            dev.ask(method, path, json=body)
    admin.register_template(written(tmp_path, template_of("ownerless", {"action": "debug:wait", "input": {"seconds": 0}})))
    with pytest.raises(NotPermitted):
        admin.ask("DELETE", f"catalog/entities/by-uid/{uid_of(admin, 'ownerless')}")
    assert PUBLISHED in dev.catalog("template").refs


@pytest.mark.fault("Neighbours", "a template fetches a file of the learner's and logs it", "no action but the listed ones runs")
def test_only_listed_actions_run(admin: PortalSession, dev: PortalSession, reading: dict[str, Any], tmp_path: Path) -> None:
    """In a task, when it is tried again, and in a dry run, whoever asks."""
    refusal = "Unauthorized action: fetch:plain:file"
    ref = admin.register_template(written(tmp_path, reading))
    for person in (dev, admin):
        with pytest.raises(TaskFailed) as caught:
            person.run_template(ref, {}, say=lambda _: None)
        assert refusal in caught.value.why
        assert MARK not in "\n".join(caught.value.log)
    task = admin.ask("POST", "scaffolder/v2/tasks", json={"templateRef": ref, "values": {}})["id"]
    wait_for(lambda: len(completions(admin, task)) == 1)
    admin.ask("POST", f"scaffolder/v2/tasks/{task}/retry", json={})
    wait_for(lambda: admin.ask("GET", f"scaffolder/v2/tasks/{task}")["status"] == "failed")
    assert refusal in completions(admin, task)[-1]["error"]["message"]
    files = [{"path": "credentials", "base64Content": ""}]
    with pytest.raises(PortalError) as dry:
        admin.ask("POST", "scaffolder/v2/dry-run", json={"template": reading, "values": {}, "directoryContents": files})
    assert refusal in dry.value.why
    with pytest.raises(NotPermitted):
        dev.ask("POST", "scaffolder/v2/dry-run", json={"template": reading, "values": {}, "directoryContents": []})


def test_a_dry_run_of_a_listed_action_works(admin: PortalSession) -> None:
    """What Backstage itself adds to a dry run is on the list."""
    waiting = template_of("dry", {"id": "w", "action": "debug:wait", "input": {"seconds": 0}})
    done = admin.ask("POST", "scaffolder/v2/dry-run", json={"template": waiting, "values": {}, "directoryContents": []})
    assert [step["action"] for step in done["steps"]] == ["debug:wait"]


@pytest.mark.fault("Neighbours", "an entity claims to come from a folder of the learner's", "it is refused, and its claim named")
def test_an_entity_says_nothing_of_its_origin(
    lab: Lab, admin: PortalSession, reading: dict[str, Any], secret: Path, tmp_path: Path
) -> None:
    """Neither when it is published nor when somebody puts its file where templates lie."""
    claim = "backstage.io/source-location"
    reading["metadata"] |= {"name": "lying", "annotations": {claim: f"file:{secret}"}}
    file = written(tmp_path, reading)
    with pytest.raises(PortalError) as caught:
        admin.register_template(file)
    assert f"{claim} is not where the entity was read" in caught.value.why
    folder = lab.settings.folder / "portal" / "templates"
    try:
        (folder / file.name).write_text(file.read_text())
        admin.ask("POST", "catalog/refresh", json={"entityRef": location_ref(f"{folder}/*.yaml")})
        wait_for(lambda: f"{claim} is not where the entity was read" in errors_of(lab, "template:default/lying"))
        assert "template:default/lying" not in admin.catalog("template").refs
    finally:
        (folder / file.name).unlink()


@pytest.mark.fault("Neighbours", "a validated entity names a file for the catalog to read", "no file is read but the configured ones")
@pytest.mark.parametrize("target", ["{secret}", "{folder}/*", "/dev/zero", "{home}/secrets/*"], ids=["file", "folder", "device", "secrets"])
def test_validating_reads_no_file(lab: Lab, admin: PortalSession, secret: Path, target: str) -> None:
    """The answer to a publisher holds nothing of the file, nor whether there is one."""
    target = target.format(secret=secret, folder=secret.parent, home=lab.settings.folder)
    place = {"backstage.io/managed-by-location": "file:/x", "backstage.io/managed-by-origin-location": "file:/x"}
    for kind in ({"type": "file"}, {}):
        metadata = {"name": "x", "annotations": place}
        entity = {"apiVersion": "backstage.io/v1alpha1", "kind": "Location", "metadata": metadata, "spec": {**kind, "target": target}}
        with pytest.raises(PortalError) as caught:
            admin.ask("POST", "catalog/validate-entity", json={"entity": entity, "location": "url:https://localhost/x"})
        assert f"The file {target} is not read" in caught.value.why
        assert MARK not in caught.value.why


@pytest.mark.fault(
    "Neighbours", "a template's address leads to a cloud's storage or another forge", "it is not read, and no identity is used"
)
@pytest.mark.parametrize("host", ["b.s3.eu-west-1.amazonaws.com", "dev.azure.com", "gitlab.com", "bitbucket.org"])
def test_no_cloud_is_read(admin: PortalSession, host: str) -> None:
    """GitHub and the configured hosts are all there is."""
    with pytest.raises(PortalError) as caught:
        admin.register_template(f"https://{host}/b/t.yaml")
    assert f"Reading from 'https://{host}/b/t.yaml' is not allowed" in caught.value.why


@pytest.mark.fault("Neighbours", "a template writes its runner's session where others read it", "the task fails, and nothing is made")
def test_a_template_hands_on_no_session(lab: Lab, admin: PortalSession, tmp_path: Path) -> None:
    """Even a publisher's template, run by a publisher."""
    step = {"id": "s", "action": "ske:configure-resource", "input": {"manifest": STOLEN}}
    ref = admin.register_template(written(tmp_path, template_of("thief", step)))
    with pytest.raises(TaskFailed) as caught:
        admin.run_template(ref, {}, say=lambda _: None)
    assert "contains a secret of this task" in caught.value.why
    assert lab.cluster.admin_kubectl("get", "configmap", "stolen", "--ignore-not-found", "-o", "name").output == ""
