"""The checks on a real lab: they hold when it is whole, and each fails when its step is undone."""

from __future__ import annotations

import pytest
from keycloak import KeycloakAdmin

from labkit.errors import CheckFailed, EarlierLabMissing
from labkit.lab import Lab
from labkit.portal.catalog import location_ref
from labkit.portal.server import TEMPLATES
from labkit.steps import STEPS, begin, check, examine

# What the first names is made by lab 04, the second by lab 06, and the third by lab 09.
WHOLE = [name for name in STEPS if name not in ("contexts", "template", "stopped")]


@pytest.mark.parametrize("name", WHOLE)
def test_a_check_holds_on_a_whole_lab(lab: Lab, name: str) -> None:
    report = examine(lab, name)
    assert report.ok, report


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
        with pytest.raises(CheckFailed, match="user-dev's token says groups: —"):
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
    admin.register_template(TEMPLATES / "configmap.yaml")
    assert check(lab, "template").ok
    (lab.settings.home / "portal" / "templates" / "configmap.yaml").unlink()
    admin.ask("POST", "catalog/refresh", json={"entityRef": location_ref(str(lab.settings.home / "portal" / "templates" / "*.yaml"))})
    (entity,) = [e for e in admin.catalog("template").entities if e["metadata"]["name"] == "configmap"]
    admin.ask("DELETE", f"catalog/entities/by-uid/{entity['metadata']['uid']}")
    with pytest.raises(CheckFailed, match="template:default/configmap is not in the catalog"):
        check(lab, "template")
    admin.register_template(TEMPLATES / "configmap.yaml")


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
