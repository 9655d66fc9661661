"""E: each page that Keycloak shows in a sign-in is recognised, and what it asks for is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from keycloak import KeycloakAdmin

from labkit.common.errors import SignInRefused
from labkit.lab import Lab

WHO = "user-dev"
# As large as a token of 600 groups with names of usual length.
MANY, LONG = 80, 240


@pytest.fixture
def admin(lab: Lab) -> KeycloakAdmin:
    return lab.realm.admin()


@pytest.fixture
def changed(lab: Lab, admin: KeycloakAdmin) -> Iterator[Any]:
    """Changes the user; they are as before at the end."""
    user = str(admin.get_user_id(WHO))
    before = admin.get_user(user)
    yield lambda **fields: admin.update_user(user, {**admin.get_user(user), **fields})
    admin.update_user(user, {**before, "requiredActions": before["requiredActions"]})


@pytest.mark.fault("Sign-in", "a user for whom Keycloak has a required action", "the sign-in to the portal names it, and where to do it")
@pytest.mark.parametrize("action", ["UPDATE_PASSWORD", "CONFIGURE_TOTP", "UPDATE_PROFILE", "VERIFY_EMAIL", "webauthn-register"])
def test_what_keycloak_asks_for_first_is_said(lab: Lab, changed: Any, action: str) -> None:
    """B04: a required action is named, and the portal isn't called down."""
    changed(requiredActions=[action], emailVerified=False)
    with pytest.raises(SignInRefused, match=f"Keycloak asks {WHO} for more than name and password") as caught:
        lab.portal.sign_in(WHO)
    assert caught.value.why.endswith(action)
    assert f"{lab.keycloak.issuer}/account" in caught.value.fix


def test_a_disabled_user_is_named(lab: Lab, changed: Any) -> None:
    """B04, a relative: no advice to reset a password that is right."""
    changed(enabled=False)
    with pytest.raises(SignInRefused, match="did not sign") as caught:
        lab.portal.sign_in(WHO)
    assert "disabled" in caught.value.why
    assert "enable the user" in caught.value.fix


@pytest.fixture
def two_steps(lab: Lab, admin: KeycloakAdmin, request: pytest.FixtureRequest) -> Iterator[None]:
    """A realm that asks for the name first, and for the password then."""
    realm = lab.workshop.realm.name
    if request.param == "organisations":
        admin.update_realm(realm, {**admin.get_realm(realm), "organizationsEnabled": True})
        body = '{"name": "acme", "alias": "acme", "domains": [{"name": "acme.test"}]}'
        made = admin.connection.raw_post(f"admin/realms/{realm}/organizations", data=body)
        assert made.ok
        yield
        admin.connection.raw_delete(f"admin/realms/{realm}/organizations/{made.headers['Location'].rpartition('/')[2]}")
        admin.update_realm(realm, {**admin.get_realm(realm), "organizationsEnabled": False})
        return
    admin.create_authentication_flow({"alias": "two-steps", "providerId": "basic-flow", "topLevel": True, "builtIn": False})
    for provider in ("auth-username-form", "auth-password-form"):
        admin.create_authentication_flow_execution({"provider": provider}, "two-steps")
    for execution in admin.get_authentication_flow_executions("two-steps"):
        admin.update_authentication_flow_executions({**execution, "requirement": "REQUIRED"}, "two-steps")
    admin.update_realm(realm, {**admin.get_realm(realm), "browserFlow": "two-steps"})
    yield
    admin.update_realm(realm, {**admin.get_realm(realm), "browserFlow": "browser"})
    flow = next(flow["id"] for flow in admin.get_authentication_flows() if flow["alias"] == "two-steps")
    admin.connection.raw_delete(f"admin/realms/{realm}/authentication/flows/{flow}")


@pytest.mark.parametrize("two_steps", ["organisations", "username form, then password form"], indirect=True)
def test_a_sign_in_on_two_pages_is_filled_in(lab: Lab, two_steps: None) -> None:
    """B33: the second page gets the password."""
    assert lab.portal.sign_in(WHO).known().user_ref == f"user:default/{WHO}"


@pytest.fixture
def many_groups(admin: KeycloakAdmin) -> Iterator[None]:
    """The user is in so many groups that their token is too large for Node as it comes."""
    user, made = str(admin.get_user_id(WHO)), []
    for number in range(MANY):
        made.append(str(admin.create_group({"name": f"department-{number:03}-".ljust(LONG, "x")})))
        admin.group_user_add(user, made[-1])
    yield
    for group in made:
        admin.delete_group(group)


def test_a_person_in_many_groups_is_known_to_the_cluster_through_the_portal(lab: Lab, many_groups: None) -> None:
    """B18: requests with a large token pass."""
    session = lab.portal.sign_in(WHO)
    assert sum(map(len, session.keycloak_tokens)) > 2 * 16 * 1024
    assert session.known().user_ref == f"user:default/{WHO}"
    assert "kube-dev" in session.whoami().groups
