"""The realm in a real Keycloak: what is made, what hand-made changes are found and mended, and what is left alone."""

from __future__ import annotations

import html
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import certifi
import pytest
from keycloak import KeycloakAdmin

from labkit.common.errors import IdentityError, KeycloakUnreachable
from labkit.common.platform_folder import OWN
from labkit.identity.own_secrets import Given
from labkit.identity.plan import Action, FieldChange, Plan
from labkit.identity.realm import Realm
from labkit.lab import Lab
from labkit.workshop.fields import built_in, kinds
from labkit.workshop.workshop import Workshop

AdminSource = Callable[[], KeycloakAdmin]
DEFAULT = Workshop.load()


@dataclass
class Place:
    """A realm of one test: what the workshop makes of it, and its admin API."""

    realm: Realm
    workshop: Workshop
    admin_api: KeycloakAdmin

    def client(self, client_id: str = "kube") -> dict[str, Any]:
        return next(client for client in self.admin_api.get_clients() if client["clientId"] == client_id)

    def scope(self, name: str = "groups") -> dict[str, Any]:
        return next(scope for scope in self.admin_api.get_client_scopes() if scope["name"] == name)

    def user(self, username: str = "user-dev") -> dict[str, Any]:
        return self.admin_api.get_users({"username": username, "exact": "true"})[0]  # type: ignore[no-any-return]

    def group(self, name: str) -> str:
        return next(str(group["id"]) for group in self.admin_api.get_groups() if group["name"] == name)

    def groups_of(self, username: str) -> set[str]:
        return {group["name"] for group in self.admin_api.get_user_groups(self.user(username)["id"])}


def named(workshop: Workshop, name: str) -> Workshop:
    return replace(workshop, realm=workshop.realm.with_values({("realm",): name}))


@contextmanager
def new_place(keycloak_admin: AdminSource, declared: Workshop = DEFAULT) -> Iterator[Place]:
    """A place whose realm is not there yet, and is gone afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    workshop, admin, admin_api = named(declared, name), keycloak_admin(), keycloak_admin()
    admin_api.get_realms()
    admin_api.change_current_realm(name)
    yield Place(Realm(lambda: admin, workshop), workshop, admin_api)
    if name in {realm["realm"] for realm in admin_api.get_realms()}:
        admin_api.delete_realm(name)


@pytest.fixture
def empty(keycloak_admin: AdminSource) -> Iterator[Place]:
    with new_place(keycloak_admin) as place:
        yield place


@dataclass(frozen=True)
class First:
    """A realm that was applied once: the plan that was made, the one that was carried out, and the place it left."""

    plan: Plan
    done: Plan
    place: Place


@pytest.fixture(scope="module")
def first(keycloak_admin: AdminSource) -> Iterator[First]:
    """For tests that only read: making a realm costs seconds."""
    with new_place(keycloak_admin) as place:
        plan = place.realm.plan()
        yield First(plan, place.realm.apply(plan), place)


@pytest.fixture(scope="module")
def shared(keycloak_admin: AdminSource) -> Iterator[Place]:
    with new_place(keycloak_admin) as place:
        yield place


@pytest.fixture
def place(shared: Place) -> Place:
    """A place whose realm is as declared, for tests that leave nothing undeclared behind."""
    shared.realm.apply()
    return shared


def test_a_plan_for_an_empty_keycloak_creates_everything_and_does_nothing_yet(empty: Place) -> None:
    plan = empty.realm.plan()
    assert {change.action for change in plan.changes} == {Action.CREATE}
    assert plan.summary == "16 to create, 0 to change, 0 as declared"
    assert empty.workshop.realm.name not in {realm["realm"] for realm in empty.admin_api.get_realms()}


def test_applying_carries_out_the_plan_and_a_second_plan_has_nothing_to_do(first: First) -> None:
    assert first.done == first.plan
    again = first.place.realm.plan()
    assert not again.pending
    assert again.summary == "0 to create, 0 to change, 16 as declared"
    assert first.place.realm.apply() == again


def picked(whole: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """The fields of a representation that ``like`` has, lists of names sorted."""
    result = {}
    for field, value in like.items():
        there = whole.get(field)
        if isinstance(value, dict):
            there = picked(there or {}, value)
        result[field] = sorted(there) if isinstance(there, list) and all(isinstance(item, str) for item in there) else there
    return result


REFERENCE_CLIENT = {
    "protocol": "openid-connect",
    "enabled": True,
    "bearerOnly": False,
    "publicClient": False,
    "clientAuthenticatorType": "client-secret",
    "implicitFlowEnabled": False,
    "directAccessGrantsEnabled": True,
    "serviceAccountsEnabled": False,
    "frontchannelLogout": False,
    "fullScopeAllowed": True,
    "consentRequired": False,
    "webOrigins": [],
    "optionalClientScopes": ["address", "microprofile-jwt", "offline_access", "organization", "phone"],
    "attributes": {"backchannel.logout.session.required": "true", "use.refresh.tokens": "true"},
}
REFERENCE_KUBE = {
    **REFERENCE_CLIENT,
    "clientId": "kube",
    "name": "kube",
    "secret": "kube-client-secret",
    "standardFlowEnabled": False,
    "redirectUris": [],
    "defaultClientScopes": ["email", "groups"],
}
REFERENCE_PORTAL = {
    **REFERENCE_CLIENT,
    "clientId": "backstage-client",
    "name": "backstage-client",
    "secret": "backstage-client-secret",
    "standardFlowEnabled": True,
    "redirectUris": [
        "http://localhost:3000/api/auth/keycloak/handler/frame",
        "http://localhost:3003/api/auth/keycloak/handler/frame",
        "http://localhost:7007/api/auth/keycloak/handler/frame",
    ],
    "defaultClientScopes": ["basic", "email", "groups", "profile"],
}
REFERENCE_AUDIENCE_MAPPER = {
    "name": "kube-audience",
    "protocol": "openid-connect",
    "protocolMapper": "oidc-audience-mapper",
    "consentRequired": False,
    "config": {
        "access.token.claim": "true",
        "id.token.claim": "true",
        "included.custom.audience": "kube",
        "introspection.token.claim": "true",
        # Declared, since Terraform's plan would never be empty without it. It is what Keycloak does anyway.
        "userinfo.token.claim": "true",
    },
}
REFERENCE_SCOPE = {
    "name": "groups",
    "protocol": "openid-connect",
    "attributes": {"gui.order": "1", "include.in.openid.provider.metadata": "true", "include.in.token.scope": "true"},
}
REFERENCE_GROUP_MAPPER = {
    "name": "groups",
    "protocol": "openid-connect",
    "protocolMapper": "oidc-group-membership-mapper",
    "consentRequired": False,
    "config": {
        "access.token.claim": "true",
        "claim.name": "groups",
        "full.path": "false",
        "id.token.claim": "true",
        "introspection.token.claim": "false",
        "userinfo.token.claim": "true",
    },
}
REFERENCE_USERS = {"backstage": "/kube-dev", "user-admin": "/kube-admin", "user-dev": "/kube-dev"}


def without_id(mapper: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in mapper.items() if field != "id"}


def test_an_applied_realm_is_what_the_seeds_terraform_leaves(first: First) -> None:
    place = first.place
    assert picked(place.client("kube"), REFERENCE_KUBE) == REFERENCE_KUBE
    assert "protocolMappers" not in place.client("kube")
    assert picked(place.client("backstage-client"), REFERENCE_PORTAL) == REFERENCE_PORTAL
    assert [without_id(mapper) for mapper in place.client("backstage-client")["protocolMappers"]] == [REFERENCE_AUDIENCE_MAPPER]
    assert picked(place.scope(), REFERENCE_SCOPE) == REFERENCE_SCOPE
    assert [without_id(mapper) for mapper in place.scope()["protocolMappers"]] == [REFERENCE_GROUP_MAPPER]
    assert {group["path"] for group in place.admin_api.get_groups()} == {"/kube-admin", "/kube-dev"}
    assert {user["username"] for user in place.admin_api.get_users()} == set(REFERENCE_USERS)
    for name, group in REFERENCE_USERS.items():
        declared = {
            "username": name,
            "email": f"{name}@kratix.io",
            "emailVerified": True,
            "enabled": True,
            "firstName": name,
            "lastName": name,
            "requiredActions": [],
        }
        assert picked(place.user(name), declared) == declared
        user_id = place.user(name)["id"]
        assert [there["path"] for there in place.admin_api.get_user_groups(user_id)] == [group]
        assert [credential["type"] for credential in place.admin_api.get_credentials(user_id)] == ["password"]


def test_the_scopes_known_by_name_are_those_of_a_new_realm(first: First) -> None:
    made = {scope["name"] for scope in first.place.admin_api.get_client_scopes() if scope["protocol"] == "openid-connect"}
    assert made - {"groups"} == set(built_in("scopes"))


def test_the_fields_known_by_name_are_those_of_a_server(first: First) -> None:
    """So that what a newer Keycloak has more is noticed here, and not by whoever declares it."""
    admin_api = first.place.admin_api
    seen = {
        "realm": [admin_api.get_realm(first.place.workshop.realm.name)],
        "group": admin_api.get_groups({"briefRepresentation": "false"}),
        "user": admin_api.get_users(),
        "scope": admin_api.get_client_scopes(),
        "client": admin_api.get_clients(),
        "role": admin_api.get_realm_roles(brief_representation=False),
    }
    seen["mapper"] = [mapper for scope in seen["scope"] for mapper in scope.get("protocolMappers", [])]
    unknown = {
        f"{kind}.{field}"
        for kind, items in seen.items()
        for field in {field for item in items for field in item} - {*kinds()[kind].managed, *kinds()[kind].refused}
    }
    assert unknown == set()
    types = admin_api.get_server_info()["protocolMapperTypes"]["openid-connect"]
    assert {mapper["id"] for mapper in types} - set(built_in("mappers")) == set()


EVERYTHING = """
realm: everything
enabled: true
displayName: Everything
ssoSessionIdleTimeout: 900
attributes: {acr.loa.map: "{}"}
groups:
  - name: team
    attributes: {floor: ["1", "2"]}
    subGroups:
      - name: blue
        description: those in blue
        subGroups: [{name: navy}]
  - name: other
roles: {realm: [{name: builder, description: builds, attributes: {tool: [hammer]}}]}
users:
  - username: ada
    email: ada@example.com
    emailVerified: true
    firstName: Ada
    lastName: L
    enabled: true
    requiredActions: [UPDATE_PASSWORD]
    groups: [/team/blue, /team/blue/navy]
    realmRoles: [builder, offline_access]
    credentials: [{type: password, value: of-this-test}]
clientScopes:
  - name: extra
    protocol: openid-connect
    description: more
    attributes: {display.on.consent.screen: "false"}
    protocolMappers:
      - name: hard
        protocol: openid-connect
        protocolMapper: oidc-hardcoded-claim-mapper
        config: {claim.name: hard, claim.value: "1", jsonType.label: String, id.token.claim: "true"}
clients:
  - clientId: page
    enabled: true
    publicClient: true
    standardFlowEnabled: true
    rootUrl: https://page.example
    redirectUris: ["https://page.example/*"]
    webOrigins: [https://page.example]
    defaultClientScopes: [basic, extra]
    optionalClientScopes: [email, phone]
    attributes: {pkce.code.challenge.method: S256}
"""


def declared_by(folder: Path, **files: str) -> Workshop:
    """The workshop with these files in place of labkit's; a name such as ``realm`` stands for ``realm.yaml``."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return Workshop.load(folder)


@pytest.fixture(scope="module")
def everything(keycloak_admin: AdminSource, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A realm with a value in every kind of field, applied."""
    access = "verbs: [get]\nresources: [pods]\nexpected: {ada: [get]}\n"
    folder = tmp_path_factory.mktemp("everything")
    # Its client's tokens name nobody by email, and no groups.
    flags = (OWN / "oidc-flags.yaml").read_text().replace(": kube", ": page").replace(": groups", ": hard").replace(": email", ": sub")
    trust = (OWN / "authentication.yaml").read_text().replace("[kube]", "[page]").replace('"groups"', '"hard"').replace(": email", ": sub")
    files = {"oidc-flags": flags + 'oidc-username-prefix: "-"\n', "authentication": trust}
    declared = declared_by(folder, realm=EVERYTHING, access=access, rbac="", **files)
    with new_place(keycloak_admin, declared) as place:
        place.realm.apply()
        yield place


def test_whatever_a_realm_file_can_hold_is_applied_and_planned(everything: Place) -> None:
    place = everything
    assert not place.realm.plan().pending
    realm = place.admin_api.get_realm(place.workshop.realm.name)
    assert (realm["displayName"], realm["ssoSessionIdleTimeout"], realm["attributes"]["acr.loa.map"]) == ("Everything", 900, "{}")
    (team,) = [group for group in place.admin_api.get_groups({"briefRepresentation": "false"}) if group["name"] == "team"]
    assert (team["attributes"], team["subGroups"][0]["description"]) == ({"floor": ["1", "2"]}, "those in blue")
    assert [group["path"] for group in place.admin_api.get_user_groups(place.user("ada")["id"])] == ["/team/blue", "/team/blue/navy"]
    assert place.user("ada")["requiredActions"] == ["UPDATE_PASSWORD"]
    roles = {role["name"] for role in place.admin_api.get_realm_roles_of_user(place.user("ada")["id"])}
    assert {"builder", "offline_access"} <= roles
    assert place.admin_api.get_realm_role("builder")["attributes"] == {"tool": ["hammer"]}
    page = place.client("page")
    assert (page["publicClient"], page["rootUrl"], page["attributes"]["pkce.code.challenge.method"]) == (
        True,
        "https://page.example",
        "S256",
    )
    assert (sorted(page["defaultClientScopes"]), sorted(page["optionalClientScopes"])) == (["basic", "extra"], ["email", "phone"])


def change_realm(**fields: Any) -> Callable[[Place], object]:
    return lambda place: place.admin_api.update_realm(place.workshop.realm.name, fields)


def move_to_optional(place: Place) -> None:
    own, extra = place.client("page")["id"], place.scope("extra")["id"]
    place.admin_api.delete_client_default_client_scope(own, extra)
    place.admin_api.add_client_optional_client_scope(own, extra, {})


def leave_the_navy(place: Place) -> None:
    place.admin_api.group_user_remove(place.user("ada")["id"], place.admin_api.get_group_by_path("/team/blue/navy")["id"])


@pytest.mark.fault("Realm", "a change by hand to a field that labkit's own realm.yaml does not have", "it is found and mended all the same")
def test_a_drift_in_any_of_them_is_found_and_mended(everything: Place) -> None:
    place, admin_api = everything, everything.admin_api
    builder = admin_api.get_realm_role("builder")
    blue = admin_api.get_group_by_path("/team/blue")
    drifts: list[tuple[Callable[[Place], object], list[tuple[str, str, str]]]] = [
        (change_realm(displayName="Else"), [("realm", place.workshop.realm.name, "displayName")]),
        (lambda _: admin_api.update_group(blue["id"], {**blue, "description": "x"}), [("group", "team/blue", "description")]),
        (lambda _: admin_api.update_realm_role("builder", {**builder, "attributes": {}}), [("role", "builder", "attributes.tool")]),
        (
            lambda p: admin_api.update_user(p.user("ada")["id"], {**p.user("ada"), "requiredActions": []}),
            [("user", "ada", "requiredActions")],
        ),
        (leave_the_navy, [("membership", "ada", "groups")]),
        (lambda p: admin_api.delete_realm_roles_of_user(p.user("ada")["id"], [builder]), [("realm roles", "ada", "realmRoles")]),
        (
            move_to_optional,
            [("default scopes", "page", "defaultClientScopes"), ("optional scopes", "page", "optionalClientScopes")],
        ),
    ]
    for drift, found in drifts:
        drift(place)
        plan = place.realm.plan()
        assert [(change.kind, change.name, field.field) for change in plan.pending for field in change.fields] == found
        place.realm.apply(plan)
        assert not place.realm.plan().pending


@pytest.mark.fault(
    "Realm", "Keycloak accepts a field and drops it, such as a user's attribute that is in no user profile", "apply names it"
)
def test_what_keycloak_does_not_keep_is_named(keycloak_admin: AdminSource, tmp_path: Path) -> None:
    realm = DEFAULT.realm.document.text.replace("    groups: [/kube-admin]\n", "    groups: [/kube-admin]\n    attributes: {desk: ['4']}\n")
    with new_place(keycloak_admin, declared_by(tmp_path, realm=realm)) as place:
        with pytest.raises(IdentityError, match="Keycloak accepted what it did not keep") as caught:
            place.realm.apply()
        assert caught.value.why == "user user-admin: attributes.desk"
        assert "user profile" in caught.value.fix
        place.admin_api.update_realm_users_profile({**place.admin_api.get_realm_users_profile(), "unmanagedAttributePolicy": "ENABLED"})
        place.realm.apply()
        assert place.user("user-admin")["attributes"] == {"desk": ["4"]}


CLAIM = """
      - name: department
        protocol: openid-connect
        protocolMapper: oidc-hardcoded-claim-mapper
        config: {claim.name: department, claim.value: platform, jsonType.label: String, id.token.claim: "true"}
"""


def test_a_claim_is_added_by_realm_yaml_alone(keycloak_admin: AdminSource, idle_lab: Lab, tmp_path: Path) -> None:
    """The mapper is the one that docs/workshop.md shows."""
    assert CLAIM in (Path(__file__).parents[2] / "docs" / "workshop.md").read_text()
    text = (OWN / "realm.yaml").read_text().replace("realm: myrealm ", "realm: claims ")
    (tmp_path / "realm.yaml").write_text(text.replace("    protocolMappers:", f"    protocolMappers:{CLAIM.rstrip()}", 1))
    lab = Lab(replace(idle_lab.settings, workshop_folder=tmp_path))
    try:
        lab.realm.apply()
        assert lab.session("user-dev").claims["department"] == "platform"
        assert not lab.realm.plan().pending
    finally:
        keycloak_admin().delete_realm("claims")


def remove_default_scope(place: Place) -> None:
    place.admin_api.delete_client_default_client_scope(place.client()["id"], place.scope("email")["id"])


def make_default_scope_optional(place: Place) -> None:
    remove_default_scope(place)
    place.admin_api.add_client_optional_client_scope(place.client()["id"], place.scope("email")["id"], {})


def add_default_scope(place: Place) -> None:
    place.admin_api.add_client_default_client_scope(place.client()["id"], place.scope("roles")["id"], {})


def change_client(**fields: Any) -> Callable[[Place], None]:
    def edit(place: Place) -> None:
        place.admin_api.update_client(place.client()["id"], {**place.client(), **fields})

    return edit


def drop_client_attribute(place: Place) -> None:
    place.admin_api.update_client(place.client()["id"], {**place.client(), "attributes": {"use.refresh.tokens": "false"}})


def change_user(**fields: Any) -> Callable[[Place], None]:
    def edit(place: Place) -> None:
        place.admin_api.update_user(place.user()["id"], {**place.user(), **fields})

    return edit


def change_group_mapper(**config: str) -> Callable[[Place], None]:
    def edit(place: Place) -> None:
        mapper = next(mapper for mapper in place.scope()["protocolMappers"] if mapper["name"] == "groups")
        mapper["config"].update({key.replace("_", "."): value for key, value in config.items()})
        place.admin_api.update_mapper_in_client_scope(place.scope()["id"], mapper["id"], mapper)

    return edit


def change_audience(place: Place) -> None:
    mapper = place.client("backstage-client")["protocolMappers"][0]
    mapper["config"]["included.custom.audience"] = "other"
    place.admin_api.update_client_mapper(place.client("backstage-client")["id"], mapper["id"], mapper)


def hide_scope_from_tokens(place: Place) -> None:
    scope = place.scope()
    scope["attributes"]["include.in.token.scope"] = "false"
    place.admin_api.update_client_scope(scope["id"], scope)


def move_user(place: Place) -> None:
    place.admin_api.group_user_remove(place.user()["id"], place.group("kube-dev"))
    place.admin_api.group_user_add(place.user()["id"], place.group("kube-admin"))


def promote_user(place: Place) -> None:
    place.admin_api.group_user_add(place.user()["id"], place.group("kube-admin"))


def add_redirect_uri(place: Place) -> None:
    client = place.client("backstage-client")
    place.admin_api.update_client(client["id"], {**client, "redirectUris": [*client["redirectUris"], "https://evil.example/*"]})


def disable_realm(place: Place) -> None:
    place.admin_api.update_realm(place.workshop.realm.name, {"enabled": False})


FRAMES = tuple(f"http://localhost:{port}/api/auth/keycloak/handler/frame" for port in (3000, 3003, 7007))
DRIFTS = [
    (remove_default_scope, "default scopes", "kube", "defaultClientScopes", ("groups",), ("email", "groups")),
    (make_default_scope_optional, "default scopes", "kube", "defaultClientScopes", ("groups",), ("email", "groups")),
    (add_default_scope, "default scopes", "kube", "defaultClientScopes", ("email", "groups", "roles"), ("email", "groups")),
    (change_client(directAccessGrantsEnabled=False), "client", "kube", "directAccessGrantsEnabled", False, True),
    (change_client(standardFlowEnabled=True), "client", "kube", "standardFlowEnabled", True, False),
    (change_client(enabled=False), "client", "kube", "enabled", False, True),
    (change_client(secret="by-hand"), "client", "kube", "secret", "(another secret)", "(declared)"),
    (drop_client_attribute, "client", "kube", "attributes.use.refresh.tokens", "false", "true"),
    (add_redirect_uri, "client", "backstage-client", "redirectUris", (*FRAMES, "https://evil.example/*"), FRAMES),
    (change_client(webOrigins=["*"]), "client", "kube", "webOrigins", ("*",), ()),
    (change_audience, "mapper", "backstage-client: kube-audience", "config.included.custom.audience", "other", "kube"),
    (change_group_mapper(full_path="true"), "mapper", "groups: groups", "config.full.path", "true", "false"),
    (change_group_mapper(claim_name="teams"), "mapper", "groups: groups", "config.claim.name", "teams", "groups"),
    (hide_scope_from_tokens, "client scope", "groups", "attributes.include.in.token.scope", "false", "true"),
    (move_user, "membership", "user-dev", "groups", ("/kube-admin",), ("/kube-dev",)),
    (promote_user, "membership", "user-dev", "groups", ("/kube-admin", "/kube-dev"), ("/kube-dev",)),
    (change_user(emailVerified=False), "user", "user-dev", "emailVerified", False, True),
    (change_user(enabled=False), "user", "user-dev", "enabled", False, True),
    (change_user(email="else@kratix.io"), "user", "user-dev", "email", "else@kratix.io", "user-dev@kratix.io"),
    (disable_realm, "realm", None, "enabled", False, True),
]


@pytest.mark.fault(
    "Realm",
    "a scope removed or added, a flag flipped, a secret changed, a user moved or promoted, full group path on, a claim renamed, "
    "a redirect URI or web origin added, a realm, client or user disabled",
    "each is found, shown with both values (secrets without), and mended",
)
def test_every_drift_made_by_hand_is_found_shown_and_mended(place: Place) -> None:
    for drift, kind, name, field, now, declared in DRIFTS:
        drift(place)
        # One change in this plan is also the proof that the one before was mended.
        plan = place.realm.plan()
        (change,) = plan.pending
        told = (change.kind, change.name, change.action)
        assert told == (kind, name or place.workshop.realm.name, Action.CHANGE)
        assert change.fields == (FieldChange(field, now, declared),)
        assert plan.summary == "0 to create, 1 to change, 15 as declared"
        assert f"{field}: " in str(plan)
        assert place.realm.apply(plan) == plan
    assert not place.realm.plan().pending
    assert place.client()["secret"] == "kube-client-secret"
    assert place.groups_of("user-dev") == {"kube-dev"}
    assert "email" not in {scope["name"] for scope in place.admin_api.get_client_optional_client_scopes(place.client()["id"])}


def test_a_scope_for_saml_by_a_declared_name_is_shown_and_turned_into_the_declared_one(place: Place) -> None:
    """B70: its name alone would say that it is the declared one. Keycloak takes it from clients that speak OpenID Connect."""
    place.admin_api.update_client_scope(place.scope()["id"], {**place.scope(), "protocol": "saml"})
    plan = place.realm.apply()
    assert "protocol: saml → openid-connect" in str(plan)
    assert not place.realm.plan().pending
    assert place.scope()["protocol"] == "openid-connect"


@pytest.mark.fault("Realm", "an object deleted by hand", "it is made again")
def test_what_was_deleted_by_hand_is_made_again(place: Place) -> None:
    place.admin_api.delete_user(place.user()["id"])
    place.admin_api.delete_group(place.group("kube-admin"))
    place.admin_api.delete_client(place.client("backstage-client")["id"])
    place.admin_api.delete_mapper_from_client_scope(place.scope()["id"], place.scope()["protocolMappers"][0]["id"])
    plan = place.realm.plan()
    assert [(change.kind, change.name) for change in plan.pending if change.action is Action.CREATE] == [
        ("group", "kube-admin"),
        ("user", "user-dev"),
        ("membership", "user-dev"),
        ("membership", "user-admin"),
        ("mapper", "groups: groups"),
        ("client", "backstage-client"),
        ("mapper", "backstage-client: kube-audience"),
        ("default scopes", "backstage-client"),
    ]
    assert place.realm.apply(plan) == plan
    assert not place.realm.plan().pending


@pytest.mark.fault(
    "Neighbours",
    "declared groups have members that are not declared, there are more groups of their names, at any depth, or names with a colon",
    "the plan and the doctor name them, before anything is applied; applying leaves them",
)
def test_who_else_has_a_declared_groups_rights_is_noticed_and_left(empty: Place) -> None:
    empty.realm.apply()
    admin_api = empty.admin_api
    deep = admin_api.create_group({"name": "deep"}, parent=admin_api.create_group({"name": "team-x"}))
    lookalike = str(admin_api.create_group({"name": "kube-admin"}, parent=deep))
    admin_api.create_group({"name": "kube-admin-2"})
    admin_api.create_group({"name": "kubeadm:cluster-admins"}, parent=deep)
    colon = "/team-x/deep/kubeadm:cluster-admins"
    guests = [f"guest-{number}" for number in range(7)]
    for guest in guests:
        admin_api.create_user({"username": guest, "groups": ["kube-dev"]})
    admin_api.group_user_add(empty.user()["id"], lookalike)
    plan = empty.realm.plan()
    assert [(notice.kind, notice.text) for notice in plan.notices] == [
        (
            "members",
            f"the group kube-dev has members that are not declared, who have its rights: {', '.join(guests[:5])} and 2 more",
        ),
        ("group", "tokens name the group /team-x/deep/kube-admin kube-admin as well: its members (user-dev) have that group's rights"),
        (
            "colon",
            f"the API server refuses who is in a group with a colon ({colon}); with flags, it accepts them as Kubernetes' own",
        ),
    ]
    assert not plan.pending
    assert str(plan).splitlines()[-4:] == [plan.summary, *(f"! {notice.text}" for notice in plan.notices)]
    assert all(html.escape(notice.text) in plan.html() for notice in plan.notices)
    assert empty.realm.apply() == plan
    assert len(admin_api.get_group_members(lookalike)) == 1


@pytest.mark.fault("Realm", "objects and fields that the workshop does not declare", "they stay as they are")
def test_what_is_not_declared_stays_when_the_rest_is_mended(empty: Place) -> None:
    place, admin_api = empty, empty.admin_api
    place.realm.apply()
    kube = place.client()
    team = str(admin_api.create_group({"name": "team"}))
    admin_api.group_user_add(place.user()["id"], team)
    admin_api.create_user({"username": "guest", "enabled": True})
    admin_api.create_client({"clientId": "argo", "redirectUris": ["http://localhost:1/*"]})
    extra = {"name": "extra", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper", "config": {"id.token.claim": "true"}}
    admin_api.add_mapper_to_client(kube["id"], extra)
    admin_api.add_mapper_to_client_scope(place.scope()["id"], extra)
    by_hand = {"description": "by hand", "attributes": {**kube["attributes"], "by.hand": "x"}}
    admin_api.update_client(kube["id"], {**place.client(), **by_hand})
    admin_api.update_client_scope(place.scope()["id"], {**place.scope(), "description": "by hand"})
    change_group_mapper(lightweight_claim="true")(place)
    admin_api.update_realm_users_profile({**admin_api.get_realm_users_profile(), "unmanagedAttributePolicy": "ENABLED"})
    admin_api.update_user(place.user()["id"], {**place.user(), "requiredActions": ["UPDATE_PASSWORD"], "attributes": {"desk": ["4"]}})
    admin_api.update_realm(place.workshop.realm.name, {"displayName": "by hand", "ssoSessionIdleTimeout": 99})
    assert not place.realm.plan().pending

    change_client(enabled=False)(place)
    hide_scope_from_tokens(place)
    change_group_mapper(full_path="true")(place)
    change_user(emailVerified=False)(place)
    move_user(place)
    disable_realm(place)
    assert len(place.realm.apply().pending) == 6
    assert not place.realm.plan().pending

    assert place.groups_of("user-dev") == {"kube-dev", "team"}
    assert {"guest", "user-dev"} <= {user["username"] for user in admin_api.get_users()}
    assert "argo" in {client["clientId"] for client in admin_api.get_clients()}
    assert picked(place.client(), by_hand) == by_hand
    assert [mapper["name"] for mapper in place.client()["protocolMappers"]] == ["extra"]
    assert {mapper["name"] for mapper in place.scope()["protocolMappers"]} == {"extra", "groups"}
    assert place.scope()["description"] == "by hand"
    assert {mapper["config"].get("lightweight.claim") for mapper in place.scope()["protocolMappers"]} == {"true", None}
    assert (place.user()["requiredActions"], place.user()["attributes"]) == (["UPDATE_PASSWORD"], {"desk": ["4"]})
    realm = admin_api.get_realm(place.workshop.realm.name)
    assert (realm["displayName"], realm["ssoSessionIdleTimeout"]) == ("by hand", 99)


def test_a_realm_with_more_groups_than_one_answer_holds_is_read_whole_each_time_and_as_quickly(empty: Place) -> None:
    empty.realm.apply()
    requests: list[str] = []
    empty.realm.admin().connection._s.hooks["response"].append(lambda answer, **_: requests.append(answer.url))
    empty.realm.plan()
    alone = len(requests)
    for number in range(101):
        parent = empty.admin_api.create_group({"name": f"other-{number}"})
        empty.admin_api.create_group({"name": "inner"}, parent=parent)
    requests.clear()
    assert [empty.realm.plan().pending for _ in range(3)] == [()] * 3
    assert len(requests) == 3 * alone


def test_threads_that_share_an_administrator_renew_its_token_once(keycloak_admin: AdminSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh token may be good for one use."""
    admin = keycloak_admin()
    renewed: list[None] = []
    renew = admin.connection.refresh_token
    monkeypatch.setattr(admin.connection, "refresh_token", lambda: renewed.append(renew()))
    admin.connection._expires_at = datetime.now(UTC)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: admin.get_realms(), range(8)))
    assert len(renewed) == 1


def test_a_realm_of_the_labs_own_keycloak_gets_keys_of_its_own_for_every_use(keycloak_admin: AdminSource, tmp_path: Path) -> None:
    admin, names = keycloak_admin(), [f"keys-{number}" for number in range(3)]
    for name in names[:2]:
        Realm(lambda: admin, named(DEFAULT, name), Given(tmp_path / "note", "demo")).apply()
    admin.create_realm({"realm": names[2]})
    found = []
    for name in names:
        admin.change_current_realm(name)
        found.append(admin.get_keys())
        admin.delete_realm(name)
    first, second, of_keycloak = ({key: one["active"][key] for key in sorted(one["active"])} for one in found)
    assert first.keys() == of_keycloak.keys()
    assert not {*first.values()} & {*second.values()}
    assert [{(key["algorithm"], key["type"], key["use"]) for key in one["keys"]} for one in found[:2]] == [
        {(key["algorithm"], key["type"], key["use"]) for key in found[2]["keys"]}
    ] * 2


@pytest.mark.parametrize(
    ("declared", "other"), [("defaultClientScopes", "optionalClientScopes"), ("optionalClientScopes", "defaultClientScopes")]
)
def test_a_new_client_keeps_what_keycloak_gives_in_the_list_that_is_not_declared(
    empty: Place, declared: str, other: str, keycloak_admin: AdminSource
) -> None:
    empty.realm.apply()
    empty.admin_api.create_client({"clientId": "by-hand", "protocol": "openid-connect"})
    usual = set(empty.client("by-hand")[other])
    realm = empty.workshop.realm
    (kube, *_) = realm.representation["clients"]
    lists = {declared: ["email", "phone"]}
    new = {**{field: value for field, value in kube.items() if field not in {declared, other}}, "clientId": "new", **lists}
    place = replace(realm, document=replace(realm.document, text=json.dumps({**realm.representation, "clients": [new]})))
    Realm(keycloak_admin, replace(empty.workshop, realm=place)).apply()
    made = empty.client("new")
    assert set(made[declared]) == {"email", "phone"}
    assert set(made[other]) == usual - {"email", "phone"}


@pytest.mark.fault("Realm", "a plan that has gone stale is applied", "what is done is what is needed now")
def test_a_stale_plan_does_no_harm(place: Place) -> None:
    remove_default_scope(place)
    stale = place.realm.plan()
    place.realm.apply()
    move_user(place)
    done = place.realm.apply(stale)
    assert [(change.kind, change.name) for change in done.pending] == [("membership", "user-dev")]
    assert not place.realm.plan().pending


@pytest.mark.fault("Realm", "Keycloak refuses a change", "the error names the object and Keycloak's reason, without secrets")
def test_a_refused_call_names_the_object_and_keycloaks_reason_without_secrets(place: Place) -> None:
    place.admin_api.delete_user(place.user()["id"])
    squatter = place.admin_api.create_user({"username": "squatter", "email": "user-dev@kratix.io"})
    with pytest.raises(IdentityError) as caught:
        place.realm.apply()
    place.admin_api.delete_user(squatter)
    assert caught.value.what == "user user-dev: Keycloak refused a call"
    assert caught.value.why == "it answered 409: User exists with same email"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.fault("Realm", "a client scope of Keycloak's own was removed", "the error says what can be done")
def test_a_removed_built_in_scope_is_reported_with_the_way_out(place: Place, keycloak_admin: AdminSource) -> None:
    place.admin_api.delete_client_scope(place.scope("address")["id"])
    realm = place.workshop.realm.with_values({("clients", 0, "defaultClientScopes"): ["email", "groups", "address"]})
    with pytest.raises(IdentityError, match="client kube: the realm has no client scope address") as caught:
        Realm(keycloak_admin, replace(place.workshop, realm=realm)).apply()
    assert "remove the realm and apply" in caught.value.fix


@pytest.mark.fault("Realm", "an administrator without rights", "the error says which account it takes")
def test_an_account_without_rights_is_refused_as_an_identity_error(place: Place, keycloak_admin: AdminSource) -> None:
    name = place.workshop.realm.name
    server = keycloak_admin().connection

    def visitor() -> KeycloakAdmin:
        return KeycloakAdmin(
            server_url=server.server_url,
            username="user-dev",
            password="user-dev",
            realm_name=name,
            user_realm_name=name,
            verify=server.verify,
        )

    with pytest.raises(IdentityError) as caught:
        Realm(visitor, place.workshop).plan()
    assert caught.value.what == f"realm {name}: Keycloak refused a call"
    assert caught.value.why.startswith("it answered 403")
    assert caught.value.fix.startswith("use an administrator of the realm master, or one in the realm who has manage-users")


@pytest.mark.fault(
    "Keycloak",
    "a certificate that the lab's CA did not sign",
    "KeycloakUnreachable says so instead of calling the server down; nothing is sent",
)
def test_a_certificate_of_another_ca_is_told_apart_from_nobody_there(keycloak_admin: AdminSource) -> None:
    url = keycloak_admin().connection.server_url
    stranger = Realm(lambda: KeycloakAdmin(server_url=url, username="admin", password="x", verify=certifi.where()), DEFAULT)
    with pytest.raises(KeycloakUnreachable) as caught:
        stranger.plan()
    assert caught.value.why == "the certificate that is shown there can't be verified with the lab's CA"
