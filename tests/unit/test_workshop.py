"""The platform files: their values as they come, and what is said about a folder that can't be used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.common.errors import WorkshopError
from labkit.common.platform_folder import OWN
from labkit.workshop.workshop import Workshop

GOLDEN = Path(__file__).with_name("golden")
Edit = Callable[[Any], Any]


@pytest.fixture
def workshop() -> Workshop:
    return Workshop.load()


def load_edited(folder: Path, name: str, edit: Edit) -> Workshop:
    documents = list(yaml.safe_load_all((OWN / name).read_text()))
    edit(documents if len(documents) > 1 else documents[0])
    return load_text(folder, name, yaml.safe_dump_all(documents))


def load_text(folder: Path, name: str, text: str) -> Workshop:
    (folder / name).write_text(text)
    return Workshop.load(folder)


def by_name(value: Any) -> Any:
    """The same with lists of names sorted: their order has no meaning."""
    if isinstance(value, dict):
        return {key: by_name(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    return [by_name(item) for item in value] if any(isinstance(item, dict) for item in value) else sorted(value)


def test_the_realm_is_what_python_built_before_there_was_a_file(workshop: Workshop) -> None:
    """``golden/realm.json`` is what Keycloak was given then. One field is more: without it Terraform's plan would never be empty."""
    realm = workshop.realm.representation
    assert realm["clients"][1]["protocolMappers"][0]["config"].pop("userinfo.token.claim") == "true"
    assert by_name(realm) == by_name(json.loads((GOLDEN / "realm.json").read_text()))


def test_the_rbac_objects_are_what_python_built_before_there_was_a_file(workshop: Workshop) -> None:
    assert workshop.cluster.rbac.documents == json.loads((GOLDEN / "rbac.json").read_text())


def test_the_default_users_are_the_seeds(workshop: Workshop) -> None:
    users = {
        user.username: (user.groups, user.email, user.first_name, user.last_name, user.password.get_secret_value())
        for user in workshop.realm.users
    }
    assert users == {
        "user-dev": (("kube-dev",), "user-dev@kratix.io", "user-dev", "user-dev", "user-dev"),
        "backstage": (("kube-dev",), "backstage@kratix.io", "backstage", "backstage", "backstage"),
        "user-admin": (("kube-admin",), "user-admin@kratix.io", "user-admin", "user-admin", "user-admin"),
    }
    assert workshop.realm.name == "myrealm"
    assert workshop.realm.groups == ("kube-dev", "kube-admin")


def test_the_default_cluster_and_access_are_the_seeds(workshop: Workshop) -> None:
    oidc = workshop.cluster.oidc
    assert (oidc.client_id, oidc.username_claim, oidc.groups_claim) == ("kube", "email", "groups")
    bindings = [(binding.name, binding.group, binding.role) for binding in workshop.cluster.bindings]
    assert bindings == [("kube-admin", "kube-admin", "cluster-admin"), ("kube-dev", "kube-dev", "cr-reader")]
    assert workshop.access.verbs == ("get", "list", "watch", "create", "update", "patch", "delete")
    resources = ("namespaces", "configmaps", "secrets", "pods", "deployments.apps", "clusterroles.rbac.authorization.k8s.io")
    assert workshop.access.resources == resources
    assert workshop.access.expected == {"user-admin": workshop.access.verbs, "user-dev": ("get", "list", "watch")}


def test_the_first_redirect_uri_follows_the_portals_address() -> None:
    uris = Workshop.load(portal_url="http://localhost:23456").realm.representation["clients"][1]["redirectUris"]
    assert [uri.split("/")[2] for uri in uris] == ["localhost:23456", "localhost:3003", "localhost:3000"]


def test_two_loads_are_equal_and_no_secret_is_in_a_workshops_text(workshop: Workshop) -> None:
    assert workshop == Workshop.load()
    assert "kube-client-secret" not in f"{workshop!r} {workshop}"


def test_a_look_up_of_an_unknown_name_says_what_there_is(workshop: Workshop) -> None:
    assert workshop.user("user-dev").groups == ("kube-dev",)
    with pytest.raises(WorkshopError, match='no user "user-ops"') as caught:
        workshop.user("user-ops")
    assert caught.value.why == "its users: user-dev, backstage, user-admin"
    with pytest.raises(WorkshopError, match='no client "argo"') as caught:
        workshop.client("argo")
    assert caught.value.why == "its clients: kube, backstage-client"


def at(*path: str | int, to: object) -> Edit:
    """An edit that sets the value at this place."""

    def edit(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return edit


def without(*path: str | int) -> Edit:
    def edit(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return edit


def again(*path: str | int) -> Edit:
    """An edit that repeats a list's first entry at its end."""

    def edit(data: Any) -> None:
        for key in path:
            data = data[key]
        data.append(deepcopy(data[0]))

    return edit


USER, SCOPE, KUBE, PORTAL = ("users", 2), ("clientScopes", 0), ("clients", 0), ("clients", 1)
REALM, RBAC, FLAGS, ACCESS = "realm.yaml", "rbac.yaml", "oidc-flags.yaml", "access.yaml"
NO_SUCH_MAPPER = (
    'clientScopes[0].protocolMappers[0].protocolMapper: there is no such type as "oidc-group-member-mapper" '
    "(did you mean oidc-group-membership-mapper?)"
)
GROUPS = "(groups: /kube-dev, /kube-admin)"
MAPPER_TEXT = "clientScopes[0].protocolMappers[0].config.full.path: should be text: put it in quotes"
REALM_ROLE = 'users[2].realmRoles[0]: there is no realm role "builder" (realm roles: offline_access, uma_authorization)'
MAPPER = (*SCOPE, "protocolMappers", 0)
BAD_RESOURCE = (
    'resources[4]: "apps/deployments" is no resource: write its plural name, then a dot and its API group unless that is the core one'
)
NO_SUCH_SCOPE = (
    'clients[0].defaultClientScopes[1]: there is no client scope "team" (client scopes: acr, address, basic, email, groups, '
    "microprofile-jwt, offline_access, organization, phone, profile, roles, service_account, web-origins)"
)
NOT_MANAGED = "labkit does not manage this: leave it out, and set it in Keycloak's console or with lab.realm.admin()"
LOOPBACK_ONLY = "nodes[0].extraPortMappings[0].listenAddress: should be '127.0.0.1'"
NO_PREFIX = "jwt[0].claimMappings.username.prefix: should be ''"
BAD_NAME = "is no user name for Keycloak: leave out spaces and signs such as /, ', : and $"
COLON = 'is no group name for Kubernetes: leave out ":", which marks its own names, such as system:masters'
LOWER_CASE = "Keycloak: write it in lower case, as Keycloak keeps it"
EMAIL = 'Keycloak: write NAME@DOMAIN, with 64 characters at most before the "@"'


def told(caught: pytest.ExceptionInfo[WorkshopError], file: Path) -> list[str]:
    """The problems of a file, without its name and the line; that labkit's own files no longer fit it is not among them."""
    lines = [line.partition(": ") for line in caught.value.why.splitlines()]
    assert all(re.fullmatch(rf"({re.escape(str(file))}|{re.escape(str(OWN))}/\S+):[1-9][0-9]*", place) for place, _, _ in lines)
    return [what for place, _, what in lines if place.startswith(str(file))]


@pytest.mark.fault(
    "Workshop",
    "a mistake in a platform file: an unknown key, an undeclared group, two clients with one id, a bad email, an empty realm name, …",
    "a line with the file, its line, the place in it and what is wrong",
)
@pytest.mark.parametrize(
    ("file", "edit", "problem"),
    [
        (
            REALM,
            at(*USER, "groups", 0, to="/kube-ops"),
            'users[2].groups[0]: there is no group "/kube-ops" (groups: /kube-dev, /kube-admin)',
        ),
        (REALM, at(*USER, "groups", 0, to="kube-dev"), f'users[2].groups[0]: there is no group "kube-dev" {GROUPS}'),
        (
            REALM,
            at("groups", 1, "name", to="system:masters"),
            f'groups[1].name: "system:masters" {COLON}',
        ),
        (
            REALM,
            at("groups", 0, "name", to="oidc:kube-dev"),
            f'groups[0].name: "oidc:kube-dev" {COLON}',
        ),
        (
            REALM,
            at("groups", 0, "subGroups", to=[{"name": "a:b"}]),
            f'groups[0].subGroups[0].name: "a:b" {COLON}',
        ),
        (
            REALM,
            at("groups", 0, "name", to="a/b"),
            'groups[0].name: "a/b" is no group name for Keycloak\'s paths: write subGroups instead of "/"',
        ),
        (REALM, at(*USER, "username", to="system:admin"), f'users[2].username: "system:admin" {BAD_NAME}'),
        (REALM, at("realm", to=""), "realm: is empty"),
        (
            REALM,
            at("realm", to="my realm"),
            'realm: "my realm" is no realm name for its address: use letters, digits, ".", "_" and "-", and begin with a letter or digit',
        ),
        (
            REALM,
            at("realm", to="master"),
            'realm: "master" is no realm name for Keycloak: take another, this is the realm of its own administrators',
        ),
        (REALM, at("client_scopes", to=[]), "client_scopes: unknown key (did you mean clientScopes?)"),
        (REALM, at("colour", to="x"), "colour: unknown key"),
        (REALM, at("displayname", to="x"), "displayname: unknown key (did you mean displayName?)"),
        (REALM, at("identityProviders", to=[]), f"identityProviders: {NOT_MANAGED}"),
        (REALM, at(*USER, "clientRoles", to={"kube": ["a"]}), f"users[2].clientRoles: {NOT_MANAGED}"),
        (REALM, at(*KUBE, "authorizationSettings", to={}), f"clients[0].authorizationSettings: {NOT_MANAGED}"),
        (REALM, at("roles", to={"client": {}}), f"roles.client: {NOT_MANAGED}"),
        (REALM, at("roles", to={"realm": [{"name": "a", "composites": {}}]}), f"roles.realm[0].composites: {NOT_MANAGED}"),
        (REALM, without("enabled"), "enabled: is missing"),
        (ACCESS, without("expected"), "expected: is missing"),
        (REALM, without(*USER, "email"), "users[2].email: is missing"),
        (REALM, without(*USER, "groups"), "users[2].groups: is missing"),
        (REALM, without(*KUBE, "webOrigins"), "clients[0].webOrigins: is missing"),
        (REALM, without(*KUBE, "secret"), "clients[0].secret: is missing"),
        (REALM, without(*MAPPER, "protocol"), "clientScopes[0].protocolMappers[0].protocol: is missing"),
        (REALM, at("groups", to="kube-dev"), "groups: should be a list"),
        (REALM, at("groups", 0, to="kube-dev"), "groups[0]: should hold keys and values"),
        (REALM, at("users", 0, to="user-dev"), "users[0]: should hold keys and values"),
        (REALM, at("roles", to=[]), "roles: should hold keys and values"),
        (REALM, at("users", to=None), "users: should be a list"),
        (REALM, at(*USER, "credentials", 0, "value", to=1234), "users[2].credentials[0].value: should be text: put it in quotes"),
        (REALM, at(*USER, "credentials", 0, "value", to=""), "users[2].credentials[0].value: is empty"),
        (REALM, at(*USER, "credentials", to=[]), "users[2].credentials: should be one, of the type password"),
        (REALM, at(*USER, "enabled", to="yes"), "users[2].enabled: should be true or false"),
        (REALM, at(*USER, "firstName", to=" "), "users[2].firstName: is empty"),
        (REALM, at(*USER, "lastName", to="Dev "), 'users[2].lastName: "Dev " begins or ends with a space'),
        (REALM, at(*USER, "username", to="User-Dev"), f'users[2].username: "User-Dev" is no user name for {LOWER_CASE}'),
        (REALM, at(*USER, "username", to="a/b"), f'users[2].username: "a/b" {BAD_NAME}'),
        (REALM, at(*USER, "email", to="user-admin"), f'users[2].email: "user-admin" is no email address for {EMAIL}'),
        (REALM, at(*USER, "email", to="user@kratix..io"), f'users[2].email: "user@kratix..io" is no email address for {EMAIL}'),
        (REALM, at(*USER, "email", to="User@kratix.io"), f'users[2].email: "User@kratix.io" is no email address for {LOWER_CASE}'),
        (
            REALM,
            at(*USER, "email", to="user-dev@kratix.io"),
            'users[2].email: "user-dev@kratix.io" is there twice, first as users[0].email',
        ),
        (REALM, again("groups"), 'groups[2].name: "kube-dev" is there twice, first as groups[0].name'),
        (
            REALM,
            at("groups", 0, "subGroups", to=[{"name": "kube-admin"}]),
            'groups[1].name: "kube-admin" is there twice, first as groups[0].subGroups[0].name',
        ),
        (REALM, again(*USER, "groups"), 'users[2].groups[1]: "/kube-admin" is there twice, first as users[2].groups[0]'),
        (REALM, at(*USER, "username", to="backstage"), 'users[2].username: "backstage" is there twice, first as users[1].username'),
        (REALM, at(*USER, "realmRoles", to=["builder"]), REALM_ROLE),
        (REALM, at(*USER, "attributes", to={"desk": "4"}), "users[2].attributes.desk: should be a list"),
        (REALM, again("clientScopes"), 'clientScopes[1].name: "groups" is there twice, first as clientScopes[0].name'),
        (
            REALM,
            again(*SCOPE, "protocolMappers"),
            'clientScopes[0].protocolMappers[1].name: "groups" is there twice, first as clientScopes[0].protocolMappers[0].name',
        ),
        (REALM, at("ssoSessionIdleTimeout", to=True), "ssoSessionIdleTimeout: should be a whole number"),
        (REALM, at(*SCOPE, "attributes", "gui.order", to=1), "clientScopes[0].attributes.gui.order: should be text: put it in quotes"),
        (REALM, at(*MAPPER, "config", "full.path", to=False), MAPPER_TEXT),
        (REALM, without(*MAPPER, "config", "claim.name"), "clientScopes[0].protocolMappers[0].config.claim.name: is missing"),
        (REALM, without(*MAPPER, "protocolMapper"), "clientScopes[0].protocolMappers[0].protocolMapper: is missing"),
        (
            REALM,
            at(*MAPPER, "protocolMapper", to="oidc-group-member-mapper"),
            NO_SUCH_MAPPER,
        ),
        (
            REALM,
            at(*MAPPER, "protocolMapper", to="group"),
            'clientScopes[0].protocolMappers[0].protocolMapper: there is no such type as "group"',
        ),
        (REALM, at(*PORTAL, "clientId", to="kube"), 'clients[1].clientId: "kube" is there twice, first as clients[0].clientId'),
        (REALM, at(*KUBE, "defaultClientScopes", 1, to="team"), NO_SUCH_SCOPE),
        (
            REALM,
            again(*KUBE, "defaultClientScopes"),
            'clients[0].defaultClientScopes[2]: "email" is there twice, first as clients[0].defaultClientScopes[0]',
        ),
        (
            REALM,
            at(*KUBE, "optionalClientScopes", to=["phone", "email"]),
            'clients[0].optionalClientScopes[1]: "email" is a default client scope already',
        ),
        (REALM, at(*KUBE, "publicClient", to=True), "clients[0].secret: a public client has none: remove it, or set publicClient to false"),
        (REALM, at(*KUBE, "redirectUri", to=[]), "clients[0].redirectUri: unknown key (did you mean redirectUris?)"),
        (
            REALM,
            at("smtpServer", to={"password": "x"}),
            f"smtpServer.password: Keycloak never shows it again, so that a plan could not see a difference. {NOT_MANAGED}",
        ),
        (FLAGS, at("oidc-client-id", to="k8s"), 'oidc-client-id: there is no client "k8s" (clients: kube, backstage-client)'),
        (FLAGS, at("oidc-group-claim", to="x"), "oidc-group-claim: unknown key (did you mean oidc-groups-claim?)"),
        (
            RBAC,
            at(2, "subjects", 0, "name", to="dev"),
            '[2].subjects[0].name: there is no group "dev" (groups: kube-dev, kube-admin)',
        ),
        (RBAC, at(2, "subjects", 0, "kind", to="User"), "[2].subjects[0].kind: should be 'Group'"),
        (RBAC, without(2, "subjects", 0, "apiGroup"), "[2].subjects[0].apiGroup: is missing"),
        (
            RBAC,
            at(1, "roleRef", "name", to="root"),
            '[1].roleRef.name: there is no role "root" (roles: admin, cluster-admin, cr-reader, edit, view)',
        ),
        (RBAC, without(1, "roleRef"), "[1].roleRef: is missing"),
        (
            RBAC,
            at(2, "metadata", "name", to="kube-admin"),
            '[2].metadata.name: "kube-admin" is there twice, first as [1].metadata.name',
        ),
        (RBAC, at(0, "metadata", "name", to="view"), '[0].metadata.name: "view" is a ClusterRole of Kubernetes\' own'),
        (RBAC, at(0, "kind", to="Node"), "[0].kind: should be 'ClusterRole', 'ClusterRoleBinding', 'Role' or 'RoleBinding'"),
        (RBAC, at(0, "kind", to="Role"), "[0].metadata.namespace: is missing: a Role holds in one"),
        (RBAC, at(0, "metadata", "namespace", to="default"), "[0].metadata.namespace: a ClusterRole is in none: leave it out"),
        (RBAC, at(2, "roleRef", "kind", to="Role"), '[2].roleRef.name: there is no role "cr-reader" (roles: none)'),
        (ACCESS, at("verbs", to=[]), "verbs: is empty"),
        (ACCESS, at("verb", to=[]), "verb: unknown key (did you mean verbs?)"),
        (ACCESS, at("verbs", 0, to="read"), "verbs[0]: should be 'get', 'list', 'watch', 'create', 'update', 'patch' or 'delete'"),
        (ACCESS, again("verbs"), 'verbs[7]: "get" is there twice, first as verbs[0]'),
        (ACCESS, at("resources", 4, to="apps/deployments"), BAD_RESOURCE),
        (
            ACCESS,
            at("expected", "user-ops", to=["get"]),
            'expected.user-ops: there is no user "user-ops" (users: user-dev, backstage, user-admin)',
        ),
        (
            ACCESS,
            at("verbs", to=["list", "watch", "create", "update", "patch", "delete"]),
            'expected.user-dev[0]: there is no verb "get" (verbs: list, watch, create, update, patch, delete)',
        ),
    ],
)
def test_a_problem_is_reported_on_a_line_with_its_place(tmp_path: Path, file: str, edit: Edit, problem: str) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_edited(tmp_path, file, edit)
    assert problem in told(caught, tmp_path / file)


@pytest.mark.parametrize(
    ("file", "edit", "problem"),
    [
        (ACCESS, at("expected", 7, to=["get"]), 'expected.7: there is no user "7" (users: user-dev, backstage, user-admin)'),
        ("kind.yaml", again("nodes"), "nodes: should be one"),
        ("kind.yaml", at("nodes", 0, "extraPortMappings", 0, "listenAddress", to="0.0.0.0"), LOOPBACK_ONLY),  # noqa: S104 - refused
        ("authentication.yaml", at("jwt", 0, "issuer", "audiences", to=[]), "jwt[0].issuer.audiences: is empty"),
        ("authentication.yaml", at("jwt", 0, "claimMappings", "username", "prefix", to="a:"), NO_PREFIX),
    ],
)
def test_the_clusters_files_and_access_are_checked_by_the_same_table(tmp_path: Path, file: str, edit: Edit, problem: str) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_edited(tmp_path, file, edit)
    assert problem in told(caught, tmp_path / file)


@pytest.mark.fault("Workshop", "a redirect URI that is none", "a line with its place in the file and what is wrong")
@pytest.mark.parametrize(
    "uri", ["", "localhost:3000/x", "/relative", "ftp://h/x", "http://", "http://h:99999/", "http://h/{port}", "http://*/x", "http://h/#x"]
)
def test_a_bad_redirect_uri_is_reported(tmp_path: Path, uri: str) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_edited(tmp_path, REALM, at(*PORTAL, "redirectUris", to=["http://h/x", uri]))
    (what,) = told(caught, tmp_path / REALM)
    assert what.startswith(f'clients[1].redirectUris[1]: "{uri}" is no redirect URI: write http(s)://host[:port]/path')


@pytest.mark.fault("Workshop", "several mistakes, in more than one platform file", "all are reported at once, each with its file and line")
def test_every_problem_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    realm = (OWN / REALM).read_text().replace("groups: [/kube-dev]", "groups: [nobody]", 1)
    (tmp_path / FLAGS).write_text(
        "# mine\noidc-client-id: nothing\noidc-issuer-url: ${ISSUER}\noidc-username-claim: email\noidc-groups-claim: groups\n"
    )
    with pytest.raises(WorkshopError) as caught:
        load_text(tmp_path, REALM, realm)
    assert caught.value.what == "the platform files have 3 problems"
    line = next(number for number, text in enumerate(realm.splitlines(), 1) if "nobody" in text)
    assert [text.rpartition(": ")[0] for text in caught.value.why.splitlines()] == [
        f'{tmp_path / REALM}:{line}: users[0].groups[0]: there is no group "nobody" (groups',
        f'{tmp_path / FLAGS}:2: oidc-client-id: there is no client "nothing" (clients',
        f"{OWN / 'authentication.yaml'}:12: jwt[0].issuer.audiences",
    ]
    assert caught.value.fix.startswith("correct the file")


@pytest.mark.fault("Workshop", "a file of labkit's own no longer fits a file of one's own", "its place is shown, and where to copy it from")
def test_a_file_that_was_left_out_and_does_not_fit_is_reported(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_edited(tmp_path, REALM, lambda data: data["users"].pop())
    assert [line.split(": ", 1)[1] for line in caught.value.why.splitlines()] == [
        'expected.user-admin: there is no user "user-admin" (users: user-dev, backstage)'
    ]
    assert caught.value.why.startswith(str(OWN / ACCESS))
    assert str(OWN) in caught.value.fix


@pytest.mark.fault("Workshop", "a platform file is no YAML, or something else", "a line with its line and column")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", ":1: the file: should hold keys and values"),
        ("- a\n", ":1: the file: should hold keys and values"),
        ("realm: {name: a\n", ": line 2, column 1: did not find expected ',' or '}'"),
        ("realm: a\nrealm: b\n", ': line 2, column 1: the key "realm" is there twice'),
        ("realm: !!python/object:os.system {}\n", ":1: realm: should be text: put it in quotes"),
        ("users: [&a {username: x}, *a]\n", ": line 1, column 27: the alias *a is not for these files: write it out"),
        ("when: 2026-13-45\n", ":1: when: unknown key"),
    ],
)
def test_a_file_that_is_no_yaml_or_no_realm_is_reported_by_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_text(tmp_path, REALM, text)
    assert caught.value.why.startswith(f"{tmp_path / REALM}{why}")


@pytest.mark.fault("Workshop", "a platform file has a `${NAME}` that labkit does not know", "a line with its line and the names there are")
def test_an_unknown_name_to_fill_in_is_reported(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_text(tmp_path, FLAGS, "oidc-client-id: kube\noidc-username-claim: ${ISSUED}\n")
    name = "labkit knows no ${ISSUED} (did you mean ISSUER?); it fills in ISSUER, ISSUER_CA_FILE"
    assert caught.value.why == f"{tmp_path / FLAGS}:2: {name}"


def test_what_is_escaped_or_another_tools_is_not_filled_in(tmp_path: Path) -> None:
    text = (OWN / REALM).read_text().replace("    name: kube\n", "    name: $${PORTAL_URL} ${profileScopeConsentText}\n")
    assert load_text(tmp_path, REALM, text).realm.representation["clients"][0]["name"] == "${PORTAL_URL} ${profileScopeConsentText}"


def test_other_values_are_put_in_and_every_comment_stays(workshop: Workshop) -> None:
    password, email = 'x: [# "\\é', "a@b.example"
    changed = workshop.realm.with_values(
        {("users", 2, "credentials", 0, "value"): password, ("users", 0, "email"): email, ("clients", 1, "redirectUris"): ["https://a"]}
    )
    assert (changed.users[2].password.get_secret_value(), changed.users[0].email) == (password, email)
    assert changed.representation["clients"][1]["redirectUris"] == ["https://a"]
    assert changed.with_values({("clients", 1, "redirectUris"): []}).representation["clients"][1]["webOrigins"] == []
    comments = [line.partition("#")[2] for line in workshop.realm.document.text.splitlines() if "#" in line]
    assert [comment for comment in comments if comment not in changed.document.text] == []


def test_a_value_on_lines_of_its_own_is_replaced_whole(tmp_path: Path) -> None:
    text = (OWN / REALM).read_text().replace("secret: kube-client-secret\n", "secret: |-\n      kube-client-\n      secret\n")
    workshop = load_text(tmp_path, REALM, text)
    assert workshop.client("kube").secret.get_secret_value() == "kube-client-\nsecret"
    changed = workshop.realm.with_values({("clients", 0, "secret"): "other"})
    assert changed.clients[0].secret.get_secret_value() == "other"
    assert changed.representation["clients"][0]["directAccessGrantsEnabled"] is True


@pytest.mark.fault("Workshop", "realm.yaml holds a second document", "it is refused, instead of passed over")
def test_a_second_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_text(tmp_path, REALM, (OWN / REALM).read_text() + "---\nrealm: another\n")
    assert told(caught, tmp_path / REALM) == ["[1]: should be one document: --- begins another"]


@pytest.mark.fault("Workshop", "a mistake beside a password in realm.yaml", "the message shows no secret")
def test_a_broken_file_never_shows_its_secrets(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_text(tmp_path, REALM, "users:\n  - {password: hunter2 hunter3: x]\n")
    assert "hunter" not in str(caught.value)
    assert caught.value.__context__ is None
    with pytest.raises(WorkshopError) as caught:
        load_edited(tmp_path, REALM, at(*KUBE, "secret", to=["hunter2"]))
    assert told(caught, tmp_path / REALM) == ["clients[0].secret: should be text: put it in quotes"]
    assert caught.value.__context__ is None


@pytest.mark.fault("Workshop", "the workshop folder can't be read", "the error names LABKIT_WORKSHOP")
def test_a_missing_folder_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match="can't be read") as caught:
        Workshop.load(tmp_path / "none")
    assert caught.value.why == "No such file or directory"
    assert "LABKIT_WORKSHOP" in caught.value.fix


@pytest.mark.fault("Workshop", "LABKIT_WORKSHOP names a workshop.yaml, as it used to", "the error says which files its parts are now")
def test_a_single_file_is_answered_with_where_its_parts_are_now(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("realm: {}\n")
    with pytest.raises(WorkshopError, match="is now a folder") as caught:
        Workshop.load(tmp_path / "mine.yaml")
    assert all(name in caught.value.why for name in (REALM, RBAC, FLAGS, ACCESS))
    assert str(OWN) in caught.value.fix


@pytest.mark.fault("Workshop", "a file in the workshop folder is named nearly as one of labkit's", "it is named, instead of passed over")
@pytest.mark.parametrize("name", ["realm.yml", "relam.yaml", "acces.yaml"])
def test_a_file_of_nearly_the_right_name_is_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkshopError, match=rf"{name} replaces no file of labkit's \(did you mean"):
        load_text(tmp_path, name, "")


def test_other_files_may_lie_in_the_folder(tmp_path: Path, workshop: Workshop) -> None:
    for name in ("README.md", ".gitignore", "notes.txt"):
        (tmp_path / name).write_text("")
    assert Workshop.load(tmp_path) == workshop
