"""O: what a realm of others does to users by itself is said or undone, and what is declared there is looked up by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keycloak import KeycloakAdmin

from labkit import Lab
from labkit.common.errors import IdentityError, SignInRefused, WorkshopError
from labkit.common.platform_folder import OWN
from labkit.doctor import diagnose
from labkit.workshop.workshop import Workshop


@pytest.fixture
def admin_api(lab: Lab) -> Iterator[KeycloakAdmin]:
    """The administrator, at work in the realm, which is as declared again afterwards."""
    admin, name = lab.realm.admin(), lab.workshop.realm.name
    before = admin.get_realm(name)
    yield admin
    admin.update_realm(name, before)
    lab.realm.apply()
    assert lab.realm.plan().pending == ()


def forget(admin_api: KeycloakAdmin, username: str) -> None:
    admin_api.delete_user(str(admin_api.get_user_id(username)))


@pytest.mark.fault("Realm", "the realm calls users by their email", "plan and apply say so first, and where to turn it off")
def test_email_as_username_is_said_before_anything_is_done(lab: Lab, admin_api: KeycloakAdmin) -> None:
    """B20: the plan never became empty, and applying ended in 409."""
    name = lab.workshop.realm.name
    admin_api.update_realm(name, {**admin_api.get_realm(name), "registrationEmailAsUsername": True})
    forget(admin_api, "user-dev")
    for ask in (lab.realm.plan, lab.realm.apply):
        with pytest.raises(IdentityError, match="calls every user by their email") as refused:
            ask()
        assert "Realm settings, Login" in refused.value.fix
    assert admin_api.get_user_id("user-dev") is None


def with_realm(lab: Lab, folder: Path, more: str) -> Workshop:
    (folder / "realm.yaml").write_text((OWN / "realm.yaml").read_text() + more)
    return Workshop.load(folder, portal_url=lab.settings.url("portal", "http"))


def test_email_as_username_can_be_declared_away_and_no_other_way(lab: Lab, admin_api: KeycloakAdmin, tmp_path: Path) -> None:
    """B20: the second way that the error names."""
    name = lab.workshop.realm.name
    admin_api.update_realm(name, {**admin_api.get_realm(name), "registrationEmailAsUsername": True})
    realm = type(lab.realm)(lab.keycloak.admin, with_realm(lab, tmp_path, "registrationEmailAsUsername: false\n"))
    assert [change.name for change in realm.apply().pending] == [name]
    assert admin_api.get_realm(name)["registrationEmailAsUsername"] is False
    with pytest.raises(WorkshopError) as refused:
        with_realm(lab, tmp_path, "registrationEmailAsUsername: true\n")
    assert re.search(r"realm\.yaml:\d+: registrationEmailAsUsername: should be false", refused.value.why)


@pytest.mark.fault("Realm", "the realm asks new users for something first, such as a new password", "declared users are not asked")
@pytest.mark.parametrize("action", ["UPDATE_PASSWORD", "CONFIGURE_TOTP"])
def test_declared_users_are_not_asked_for_what_the_realm_asks_of_new_ones(lab: Lab, admin_api: KeycloakAdmin, action: str) -> None:
    """B32: "Account is not fully set up", and the plan showed nothing."""
    at = f"admin/realms/{lab.workshop.realm.name}/authentication/required-actions/{action}"
    before = admin_api.connection.raw_get(at).json()
    admin_api.connection.raw_put(at, data=json.dumps({**before, "defaultAction": True})).raise_for_status()
    try:
        forget(admin_api, "user-dev")
        lab.realm.apply()
        assert lab.session("user-dev").username == "user-dev"
        assert lab.realm.plan().pending == ()
    finally:
        admin_api.connection.raw_put(at, data=json.dumps(before)).raise_for_status()


def test_a_required_action_that_somebody_was_given_later_stays_and_the_refusal_says_where_it_is(lab: Lab, admin_api: KeycloakAdmin) -> None:
    """B32: the plan has no part in it, and the refusal does not say so."""
    user_id = str(admin_api.get_user_id("user-dev"))
    admin_api.update_user(user_id, {"requiredActions": ["UPDATE_PASSWORD"]})
    try:
        assert lab.realm.plan().pending == ()
        with pytest.raises(SignInRefused) as refused:
            lab.session("user-dev")
        assert "a required action (Users, Details)" in refused.value.fix
        assert diagnose(lab).names == ["required-action"]
    finally:
        admin_api.update_user(user_id, {"requiredActions": []})


def test_what_is_declared_of_a_new_users_required_actions_holds_and_no_more(lab: Lab, admin_api: KeycloakAdmin, tmp_path: Path) -> None:
    """B32: a declared action beside one of the realm's own."""
    at = f"admin/realms/{lab.workshop.realm.name}/authentication/required-actions/UPDATE_PASSWORD"
    before = admin_api.connection.raw_get(at).json()
    admin_api.connection.raw_put(at, data=json.dumps({**before, "defaultAction": True})).raise_for_status()
    mine = "    groups: [/kube-admin]\n"
    text = (OWN / "realm.yaml").read_text().replace(mine, f"{mine}    requiredActions: [CONFIGURE_TOTP]\n")
    (tmp_path / "realm.yaml").write_text(text)
    try:
        forget(admin_api, "user-admin")
        type(lab.realm)(lab.keycloak.admin, Workshop.load(tmp_path, portal_url=lab.settings.url("portal", "http"))).apply()
        assert admin_api.get_user(str(admin_api.get_user_id("user-admin")))["requiredActions"] == ["CONFIGURE_TOTP"]
    finally:
        admin_api.connection.raw_put(at, data=json.dumps(before)).raise_for_status()
        forget(admin_api, "user-admin")


@pytest.mark.fault("Realm", "a user profile that asks for attributes which realm.yaml lacks", "each of them is named")
def test_each_attribute_that_the_user_profile_asks_for_is_named(lab: Lab, admin_api: KeycloakAdmin) -> None:
    """B16: on a real Keycloak."""
    path = f"admin/realms/{lab.workshop.realm.name}/users/profile"
    before = admin_api.connection.raw_get(path).json()
    asked = {"required": {"roles": ["admin", "user"]}, "permissions": {"view": ["admin"], "edit": ["admin"]}}
    more = [{"name": name, **asked} for name in ("badge", "department")]
    admin_api.connection.raw_put(path, data=json.dumps({**before, "attributes": [*before["attributes"], *more]})).raise_for_status()
    try:
        forget(admin_api, "user-dev")
        with pytest.raises(IdentityError) as refused:
            lab.realm.apply()
        assert {"badge: error-user-attribute-required", "department: error-user-attribute-required"} == set(
            refused.value.why.removeprefix("it answered 400: ").split("; ")
        )
        assert "User profile" in refused.value.fix
    finally:
        admin_api.connection.raw_put(path, data=json.dumps(before)).raise_for_status()


def test_groups_are_looked_up_by_their_paths(lab: Lab, admin_api: KeycloakAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    """B48: as many requests in a realm with hundreds of groups as in one with two."""
    asked: list[str] = []
    send = type(admin_api.connection).raw_get

    def counted(self: Any, path: str, **query: Any) -> Any:
        asked.append(path)
        return send(self, path, **query)

    monkeypatch.setattr(type(admin_api.connection), "raw_get", counted)
    before = lab.realm.plan()
    few = list(asked)
    others = [str(admin_api.create_group({"name": f"department-{i:03}"})) for i in range(30)]
    for group in others:
        admin_api.create_group({"name": f"team-of-{group}"}, parent=group)
    asked.clear()
    try:
        assert lab.realm.plan() == before
        assert len(asked) == len(few)
    finally:
        for group in others:
            admin_api.delete_group(group)


@pytest.mark.parametrize("name", ["a role; with=signs/and spaces", "röle 😀", "..."])
def test_a_role_of_any_name_is_found_again(lab: Lab, admin_api: KeycloakAdmin, tmp_path: Path, name: str) -> None:
    """B48: roles were looked up by a name in an address, where some names mean something else."""
    quoted, mine = json.dumps(name, ensure_ascii=False), "    groups: [/kube-admin]\n"
    text = (OWN / "realm.yaml").read_text().replace(mine, f"{mine}    realmRoles: [{quoted}]\n")
    (tmp_path / "realm.yaml").write_text(text + f"roles: {{realm: [{{name: {quoted}}}]}}\n")
    realm = type(lab.realm)(lab.keycloak.admin, Workshop.load(tmp_path, portal_url=lab.settings.url("portal", "http")))
    try:
        assert len(realm.apply().pending) == 2
        assert realm.plan().pending == ()
    finally:
        (role,) = [role for role in admin_api.get_realm_roles() if role["name"] == name]
        admin_api.connection.raw_delete(f"admin/realms/{lab.workshop.realm.name}/roles-by-id/{role['id']}").raise_for_status()
