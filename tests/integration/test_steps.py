"""The checks on a real lab: they hold when it is whole, and each fails when its step is undone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
import yaml
from keycloak import KeycloakAdmin

from labkit.common.display import Finding
from labkit.common.errors import CheckFailed, EarlierLabMissing
from labkit.common.platform_folder import OWN
from labkit.config.settings import find_root
from labkit.course import steps
from labkit.course.steps import LABS, STARTER, STEPS, Step, attempt, begin, catch_up, check, examine, overview, reset_lab, solve, the_lab
from labkit.lab import Lab
from labkit.portal.answers import location_ref

# What the first names is made by lab 04, the second by lab 06, and the third by the last lab; exercises of labs 07 and 08 are in
# tests/faults/test_practice.py and test_kratix.py.
MADE_LATER = ("contexts", "template", "stopped")
WHOLE = [name for name, step in STEPS.items() if name not in MADE_LATER and step.lab != "08-kratix" and not step.exercise]
EXERCISES = [step for step in STEPS.values() if step.exercise and step.lab not in ("07-break-and-fix", "08-kratix")]


@pytest.mark.parametrize("name", WHOLE)
def test_a_check_holds_on_a_whole_lab(lab: Lab, name: str) -> None:
    report = examine(lab, name)
    assert report.ok, report


def starter(step: Step) -> str:
    notebook = nbformat.read(find_root() / "notebooks" / f"{step.lab}.ipynb", as_version=4)
    found = ((STARTER.match(cell.source), cell.source) for cell in notebook.cells if cell.cell_type == "code")
    return str(next(source for match, source in found if match and match[1] == step.name))


@pytest.mark.parametrize("step", EXERCISES, ids=lambda step: step.name)
def test_an_exercise_is_not_done_by_its_starter_and_is_by_its_solution_until_it_is_undone(lab: Lab, step: Step) -> None:
    assert step.undo
    step.undo(lab)
    assert not examine(lab, step.name).ok
    names = {"lab": lab}  # what the notebook has by then
    exec(starter(step), names)  # noqa: S102 # it is the notebook's own
    assert not attempt(lab, step.name).ok
    for _ in range(2):
        report = solve(lab, step)
        assert report.ok, report
    assert step.name in dict(overview(lab).rows)[the_lab(step.lab)]
    for _ in range(2):
        step.undo(lab)
    assert not examine(lab, step.name).ok


def half_an_auditor(lab: Lab) -> None:
    lab.realm.admin().create_group({"name": "kube-audit"})
    lab.realm.admin().create_user({"username": "user-audit", "email": "user-audit@example.com"})


def team_for_everybody(lab: Lab) -> None:
    keycloak = lab.realm.admin()
    scope = keycloak.create_client_scope({"name": "team", "protocol": "openid-connect"})
    keycloak.add_client_default_client_scope(str(keycloak.get_client_id("kube")), scope, {})


def wrong_key(lab: Lab) -> None:
    (lab.settings.folder / "signing-key.json").write_text("{'kid': 1}")


def pods_for_auditors(lab: Lab) -> None:
    lab.cluster.admin_kubectl("create", "clusterrole", "configmap-reader", "--verb=get", "--resource=pods")


@pytest.mark.fault("Commands", "labkit solve after an exercise was done by half, and wrong", "it is begun anew, and solved")
@pytest.mark.parametrize(
    ("name", "tried"),
    [
        ("auditor", half_an_auditor),
        ("team-claim", team_for_everybody),
        ("signing-key", wrong_key),
        ("read-configmaps", pods_for_auditors),
    ],
)
def test_an_exercise_that_is_half_done_is_solved_all_the_same(lab: Lab, name: str, tried: Callable[[Lab], None]) -> None:
    step = STEPS[name]
    assert step.undo
    step.undo(lab)
    tried(lab)
    report = attempt(lab, name)
    assert not report.ok
    # The lab after it needs the realm as it is declared.
    assert ("lab.realm.apply()" in str(report)) == bool(lab.realm.plan().pending)
    report = solve(lab, step)
    assert report.ok, report
    assert not lab.realm.plan().pending
    step.undo(lab)


@pytest.mark.fault(
    "Commands",
    "a server reads in its own time what a solution has changed, as an API server does its AuthenticationConfiguration (10 s)",
    "the step is looked at again until the server has read it, and labkit says what it waits for; catch-up goes on only then",
)
def test_a_solution_that_the_api_server_reads_late_is_solved(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    file, session = lab.settings.state.authentication, lab.session(lab.workshop.reader.username)
    told = yaml.safe_load(file.read_text())
    told["jwt"][0]["claimMappings"]["username"] = {"expression": "'late:' + claims.sub"}

    def follows(lab: Lab) -> Iterator[Finding]:
        seen = lab.cluster.who(session.tokens.id_token)
        yield Finding(bool(seen and seen.username.startswith("late:")), f"the reader is {seen}")

    STEPS["late"] = Step(LABS[0].name, "late", "it follows", 1, follows, solve=lambda _: file.write_text(yaml.safe_dump(told)))
    try:
        report = solve(lab, STEPS["late"])
        assert report.ok, report
        assert "00-start-here.late: waiting up to 30 s" in capsys.readouterr().out
    finally:
        del STEPS["late"]
        lab.cluster.start()
    assert examine(lab, "cluster").ok


def test_a_key_that_signs_nothing_does_not_do(lab: Lab) -> None:
    """The realm's whole list is no key, and its key for encryption verifies no token."""
    keys = lab.keycloak.get(lab.keycloak.discovery()["jwks_uri"]).json()
    file = lab.settings.folder / "signing-key.json"
    for saved, said in (
        (keys, "it holds no key"),
        (next(key for key in keys["keys"] if key["use"] == "enc"), "does not verify a new token"),
    ):
        file.write_text(json.dumps(saved))
        report = examine(lab, "signing-key")
        assert (report.ok, said in str(report)) == (False, True), report
    file.unlink()


def test_exercises_leave_what_the_workshop_declares_as_it_was(lab: Lab) -> None:
    for step in EXERCISES:
        solve(lab, step)
    assert lab.realm.plan().pending == ()
    lab.access_matrix().verify()
    for step in EXERCISES:
        assert step.undo
        step.undo(lab)


@pytest.fixture
def admin(lab: Lab) -> KeycloakAdmin:
    """Somebody with Keycloak's console, in the lab's realm."""
    admin = lab.keycloak.admin()
    admin.change_current_realm(lab.workshop.realm.name)
    return admin


@pytest.fixture
def kube_dev(admin: KeycloakAdmin) -> str:
    """The id of the group kube-dev."""
    return next(str(group["id"]) for group in admin.get_groups() if group["name"] == "kube-dev")


def test_the_realm_check_names_a_drift(lab: Lab, admin: KeycloakAdmin, kube_dev: str) -> None:
    admin.delete_group(kube_dev)
    try:
        with pytest.raises(CheckFailed, match="group kube-dev: create"):
            check(lab, "realm")
        with pytest.raises(EarlierLabMissing) as missing:
            begin("02-cluster")
        assert "run 01-keycloak.ipynb" in missing.value.fix
    finally:
        lab.realm.apply()
    assert check(lab, "realm").ok


def test_the_sign_in_check_names_a_missing_group(lab: Lab, admin: KeycloakAdmin, kube_dev: str) -> None:
    user = admin.get_user_id("user-dev")
    assert user
    admin.group_user_remove(user, kube_dev)
    try:
        with pytest.raises(CheckFailed, match="user-dev's token says groups: none"):
            check(lab, "sign-in")
    finally:
        lab.realm.apply()


def test_the_rbac_check_names_a_missing_binding(lab: Lab) -> None:
    lab.cluster.admin_kubectl("delete", "clusterrolebinding", "kube-dev")
    try:
        with pytest.raises(CheckFailed, match="ClusterRoleBinding kube-dev is missing"):
            check(lab, "rbac")
        with pytest.raises(EarlierLabMissing) as missing:
            begin("05-access")
        assert "run 03-rbac.ipynb" in missing.value.fix
    finally:
        lab.cluster.rbac.apply()


def test_the_namespaces_check_names_what_was_left(lab: Lab) -> None:
    lab.cluster.admin_kubectl("create", "namespace", "test-ns")
    try:
        with pytest.raises(CheckFailed, match="namespace test-ns is still there"):
            check(lab, "namespaces")
    finally:
        lab.cluster.admin_kubectl("delete", "namespace", "test-ns")


def test_the_contexts_check_wants_both_ways_for_each_person(lab: Lab) -> None:
    for username in lab.workshop.access.expected:
        lab.sign_in(username)
        lab.cluster.kubeconfig.remove(f"{username}-exec")
    assert [finding.ok for finding in examine(lab, "contexts").findings] == [True, False, True, False]
    for username in lab.workshop.access.expected:
        lab.cluster.enter_exec(username)
    assert check(lab, "contexts").ok


def test_the_portal_check_fails_while_it_is_stopped(lab: Lab) -> None:
    assert lab.portal.stop()
    try:
        with pytest.raises(CheckFailed, match="nothing answers at http") as failure:
            check(lab, "portal")
        assert "lab.portal.start()" in failure.value.fix
    finally:
        lab.portal.start()


def test_the_template_check_wants_it_in_the_catalog(lab: Lab) -> None:
    admin = lab.portal.sign_in("user-admin")
    admin.register_template(OWN / "templates" / "configmap.yaml")
    assert check(lab, "template").ok
    (lab.settings.folder / "portal" / "templates" / "configmap.yaml").unlink()
    admin.ask("POST", "catalog/refresh", json={"entityRef": location_ref(str(lab.settings.folder / "portal" / "templates" / "*.yaml"))})
    (entity,) = [e for e in admin.catalog("template").entities if e["metadata"]["name"] == "configmap"]
    admin.ask("DELETE", f"catalog/entities/by-uid/{entity['metadata']['uid']}")
    with pytest.raises(CheckFailed, match="template:default/configmap is not in the catalog"):
        check(lab, "template")
    admin.register_template(OWN / "templates" / "configmap.yaml")


def test_the_portal_objects_check_names_what_was_left(lab: Lab) -> None:
    lab.cluster.admin_kubectl("create", "configmap", "test-configmap")
    try:
        with pytest.raises(CheckFailed, match="ConfigMap test-configmap is still there"):
            check(lab, "portal-objects")
    finally:
        lab.cluster.admin_kubectl("delete", "configmap", "test-configmap")


def test_the_last_check_fails_while_servers_run(lab: Lab) -> None:
    with pytest.raises(CheckFailed, match="keycloak: runs"):
        check(lab, "stopped")


def test_a_lab_that_is_reset_takes_back_its_own_steps_alone_and_whoever_comes_late_is_caught_up(lab: Lab) -> None:
    for number in ("06", "05", "04", "03"):
        info = the_lab(number)
        for _ in range(2):
            reset_lab(lab, info)
        holding = {step.name for step in info.steps if examine(lab, step.name).ok}
        assert holding == {step.name for step in info.steps if step.holds_before}, "a check that holds before its step can't fail"
        first = next(step.name for step in info.steps if step.name not in holding)
        before = [step.name for earlier in LABS[: LABS.index(info)] for step in earlier.steps if step.name in ("realm", "cluster", "rbac")]
        assert [name for name in before if not examine(lab, name).ok] == []
        with pytest.raises(CheckFailed):
            check(lab, first)
    reports = catch_up(lab, LABS[-1])
    assert [report.step for report in reports if not report.ok] == []
    assert set(WHOLE) <= {report.step for report in reports}


def test_the_lab_that_the_guide_shows_is_one_like_the_others(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (find_root() / "docs" / "workshop.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    (tmp_path / "lab_10_quota.py").write_text(example)
    monkeypatch.setattr(steps, "__path__", [*steps.__path__, str(tmp_path)])
    import_module("labkit.course.steps.lab_10_quota")
    try:
        assert not examine(lab, "quota").ok
        for _ in range(2):
            assert solve(lab, STEPS["quota"]).ok
        assert begin("10-quota").settings.folder == lab.settings.folder
        for _ in range(2):
            assert reset_lab(lab, the_lab("10")) == ["quota"]
        assert not examine(lab, "quota").ok
    finally:
        LABS.pop()
        del STEPS["quota"]
