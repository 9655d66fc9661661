"""The workshop file: its default values, and what is said about one that can't be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.errors import WorkshopError
from labkit.workshop import AudienceMapper, GroupMembershipMapper, Workshop

DEFAULT = Path(__file__).parents[2] / "labkit" / "workshop.yaml"
Edit = Callable[[Any], Any]


@pytest.fixture
def workshop() -> Workshop:
    return Workshop.load(DEFAULT)


def load_edited(folder: Path, edit: Edit) -> Workshop:
    data = yaml.safe_load(DEFAULT.read_text())
    edit(data)
    return load_text(folder, yaml.safe_dump(data))


def load_text(folder: Path, text: str) -> Workshop:
    file = folder / "mine.yaml"
    file.write_text(text)
    return Workshop.load(file)


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
    assert all(user.enabled and user.email_verified for user in workshop.realm.users)
    assert workshop.realm.name == "myrealm"
    assert workshop.realm.groups == ("kube-dev", "kube-admin")


def test_the_default_client_scope_is_the_seeds(workshop: Workshop) -> None:
    (scope,) = workshop.realm.client_scopes
    assert (scope.name, scope.include_in_token_scope, scope.gui_order) == ("groups", True, 1)
    assert scope.mappers == (GroupMembershipMapper(type="group-membership", name="groups", claim="groups", full_path=False),)


def test_the_default_kube_client_is_the_seeds(workshop: Workshop) -> None:
    kube = workshop.client("kube")
    assert (kube.name, kube.enabled, kube.secret.get_secret_value()) == ("kube", True, "kube-client-secret")
    assert (kube.standard_flow, kube.implicit_flow, kube.direct_access_grants) == (False, False, True)
    assert (kube.redirect_uris, kube.default_scopes, kube.mappers) == ((), ("email", "groups"), ())


def test_the_default_portal_client_is_the_seeds(workshop: Workshop) -> None:
    portal = workshop.client("backstage-client")
    assert (portal.name, portal.enabled, portal.secret.get_secret_value()) == ("backstage-client", True, "backstage-client-secret")
    assert (portal.standard_flow, portal.implicit_flow, portal.direct_access_grants) == (True, False, True)
    assert portal.redirect_uris == (
        "http://localhost:7007/api/auth/keycloak/handler/frame",
        "http://localhost:3003/api/auth/keycloak/handler/frame",
        "http://localhost:3000/api/auth/keycloak/handler/frame",
    )
    assert portal.default_scopes == ("email", "basic", "profile", "groups")
    assert portal.mappers == (AudienceMapper(type="audience", name="kube-audience", included_custom_audience="kube"),)


def test_the_default_cluster_and_access_are_the_seeds(workshop: Workshop) -> None:
    oidc = workshop.cluster.oidc
    assert (oidc.client_id, oidc.username_claim, oidc.groups_claim) == ("kube", "email", "groups")
    (role,) = workshop.cluster.roles
    assert role.name == "cr-reader"
    assert [(rule.api_groups, rule.resources, rule.verbs) for rule in role.rules] == [(("*",), ("*",), ("get", "list", "watch"))]
    bindings = [(binding.name, binding.group, binding.role) for binding in workshop.cluster.bindings]
    assert bindings == [("kube-admin", "kube-admin", "cluster-admin"), ("kube-dev", "kube-dev", "cr-reader")]
    assert workshop.access.verbs == ("get", "list", "watch", "create", "update", "patch", "delete")
    resources = ("namespaces", "configmaps", "secrets", "pods", "deployments.apps", "clusterroles.rbac.authorization.k8s.io")
    assert workshop.access.resources == resources
    assert workshop.access.expected == {"user-admin": workshop.access.verbs, "user-dev": ("get", "list", "watch")}


def test_the_first_redirect_uri_follows_the_portals_port() -> None:
    uris = Workshop.load(DEFAULT, portal_port=23456).client("backstage-client").redirect_uris
    assert [uri.split("/")[2] for uri in uris] == ["localhost:23456", "localhost:3003", "localhost:3000"]


def test_two_loads_are_equal_and_no_secret_is_in_a_workshops_text(workshop: Workshop) -> None:
    assert workshop == Workshop.load(DEFAULT)
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
        data.append(data[0])

    return edit


USER, SCOPE, KUBE, PORTAL = ("realm", "users", 2), ("realm", "client_scopes", 0), ("realm", "clients", 0), ("realm", "clients", 1)
BAD_RESOURCE = (
    'access.resources[4]: "apps/deployments" is no resource: write its plural name, then a dot and its API group '
    "unless that is the core one"
)
NO_SUCH_SCOPE = (
    'realm.clients[0].default_scopes[1]: there is no client scope "team" (client scopes: acr, address, basic, email, groups, '
    "microprofile-jwt, offline_access, organization, phone, profile, roles, service_account, web-origins)"
)


@pytest.mark.fault(
    "Workshop",
    "a mistake in workshop.yaml: an unknown key, an undeclared group, two clients with one id, a bad email, an empty realm name, …",
    "a line with its place in the file and what is wrong",
)
@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (at(*USER, "groups", 0, to="kube-ops"), 'realm.users[2].groups[0]: there is no group "kube-ops" (groups: kube-dev, kube-admin)'),
        (
            at("realm", "groups", 1, to="system:masters"),
            'realm.groups[1]: "system:masters" has a ":", which marks names of Kubernetes and its tools, such as system:masters',
        ),
        (
            at("realm", "groups", 0, to="oidc:kube-dev"),
            'realm.groups[0]: "oidc:kube-dev" has a ":", which marks names of Kubernetes and its tools, such as system:masters',
        ),
        (
            at(*USER, "username", to="system:admin"),
            'realm.users[2].username: "system:admin" is no user name: take 3 to 255 characters, no spaces and no signs such as / or $',
        ),
        (at("realm", "name", to=""), "realm.name: is empty"),
        (at("realm", "name", to="my realm"), 'realm.name: "my realm" can\'t stand in an address: use letters, digits, ".", "_" and "-"'),
        (at("realm", "name", to="master"), 'realm.name: "master" is the realm that Keycloak keeps for its own administrators'),
        (at("realm", "nmae", to="x"), "realm.nmae: unknown key (did you mean name?)"),
        (at("colour", to="x"), "colour: unknown key"),
        (without("access"), "access: is missing"),
        (without(*USER, "email"), "realm.users[2].email: is missing"),
        (at("realm", "groups", to="kube-dev"), "realm.groups: should be a list"),
        (at("realm", "users", 0, to="user-dev"), "realm.users[0]: should hold keys and values"),
        (at("realm", to=None), "realm: should hold keys and values"),
        (at(*USER, "password", to=1234), "realm.users[2].password: should be text: put it in quotes"),
        (at(*USER, "password", to=""), "realm.users[2].password: is empty"),
        (at(*USER, "enabled", to="yes"), "realm.users[2].enabled: should be true or false"),
        (at(*USER, "first_name", to=" "), "realm.users[2].first_name: is empty"),
        (at(*USER, "last_name", to="Dev "), 'realm.users[2].last_name: "Dev " begins or ends with a space'),
        (at(*USER, "username", to="User-Dev"), 'realm.users[2].username: Keycloak keeps this in lower case: write "user-dev"'),
        (
            at(*USER, "username", to="a/b"),
            'realm.users[2].username: "a/b" is no user name: take 3 to 255 characters, no spaces and no signs such as / or $',
        ),
        (at(*USER, "email", to="user-admin"), 'realm.users[2].email: "user-admin" is no email address'),
        (at(*USER, "email", to="user@kratix..io"), 'realm.users[2].email: "user@kratix..io" is no email address'),
        (at(*USER, "email", to="User@kratix.io"), 'realm.users[2].email: Keycloak keeps this in lower case: write "user@kratix.io"'),
        (
            at(*USER, "email", to="user-dev@kratix.io"),
            'realm.users[2].email: "user-dev@kratix.io" is there twice, first as realm.users[0].email',
        ),
        (again("realm", "groups"), 'realm.groups[2]: "kube-dev" is there twice, first as realm.groups[0]'),
        (
            again(*USER, "groups"),
            'realm.users[2].groups[1]: "kube-admin" is there twice, first as realm.users[2].groups[0]',
        ),
        (
            at(*USER, "username", to="backstage"),
            'realm.users[2].username: "backstage" is there twice, first as realm.users[1].username',
        ),
        (
            again("realm", "client_scopes"),
            'realm.client_scopes[1].name: "groups" is there twice, first as realm.client_scopes[0].name',
        ),
        (
            again(*SCOPE, "mappers"),
            'realm.client_scopes[0].mappers[1].name: "groups" is there twice, first as realm.client_scopes[0].mappers[0].name',
        ),
        (at(*SCOPE, "gui_order", to=True), "realm.client_scopes[0].gui_order: should be a whole number"),
        (without(*SCOPE, "mappers", 0, "claim"), "realm.client_scopes[0].mappers[0].claim: is missing"),
        (without(*SCOPE, "mappers", 0, "type"), 'realm.client_scopes[0].mappers[0]: needs a "type" (types: group-membership, audience)'),
        (
            at(*SCOPE, "mappers", 0, "type", to="group"),
            "realm.client_scopes[0].mappers[0]: there is no such type (types: group-membership, audience)",
        ),
        (
            at(*PORTAL, "client_id", to="kube"),
            'realm.clients[1].client_id: "kube" is there twice, first as realm.clients[0].client_id',
        ),
        (at(*KUBE, "default_scopes", 1, to="team"), NO_SUCH_SCOPE),
        (
            again(*KUBE, "default_scopes"),
            'realm.clients[0].default_scopes[2]: "email" is there twice, first as realm.clients[0].default_scopes[0]',
        ),
        (at(*KUBE, "redirect_uri", to=[]), "realm.clients[0].redirect_uri: unknown key (did you mean redirect_uris?)"),
        (
            at("cluster", "oidc", "client_id", to="k8s"),
            'cluster.oidc.client_id: there is no client "k8s" (clients: kube, backstage-client)',
        ),
        (
            at("cluster", "bindings", 1, "group", to="dev"),
            'cluster.bindings[1].group: there is no group "dev" (groups: kube-dev, kube-admin)',
        ),
        (
            at("cluster", "bindings", 0, "role", to="root"),
            'cluster.bindings[0].role: there is no role "root" (roles: admin, cluster-admin, cr-reader, edit, view)',
        ),
        (
            at("cluster", "bindings", 1, "name", to="kube-admin"),
            'cluster.bindings[1].name: "kube-admin" is there twice, first as cluster.bindings[0].name',
        ),
        (
            at("cluster", "roles", 0, to={"name": "view", "rules": []}),
            'cluster.roles[0].name: "view" is a role of Kubernetes\' own',
        ),
        (at("access", "verbs", to=[]), "access.verbs: is empty"),
        (
            at("access", "verbs", 0, to="read"),
            "access.verbs[0]: should be 'get', 'list', 'watch', 'create', 'update', 'patch' or 'delete'",
        ),
        (
            at("access", "resources", 4, to="apps/deployments"),
            BAD_RESOURCE,
        ),
        (
            at("access", "expected", "user-ops", to=["get"]),
            'access.expected.user-ops: there is no user "user-ops" (users: user-dev, backstage, user-admin)',
        ),
        (
            at("access", "verbs", to=["list", "watch", "create", "update", "patch", "delete"]),
            'access.expected.user-dev[0]: there is no verb "get" (verbs: list, watch, create, update, patch, delete)',
        ),
    ],
)
def test_a_problem_is_told_on_a_line_with_its_place(tmp_path: Path, edit: Edit, problem: str) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_edited(tmp_path, edit)
    assert problem in caught.value.why.splitlines()


@pytest.mark.fault("Workshop", "a redirect URI that is none", "a line with its place in the file and what is wrong")
@pytest.mark.parametrize(
    "uri", ["", "localhost:3000/x", "/relative", "ftp://h/x", "http://", "http://h:99999/", "http://h/{port}", "http://*/x", "http://h/#x"]
)
def test_a_bad_redirect_uri_is_told(tmp_path: Path, uri: str) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_edited(tmp_path, at(*PORTAL, "redirect_uris", 1, to=uri))
    assert caught.value.why.startswith(f'realm.clients[1].redirect_uris[1]: "{uri}" is no redirect URI: write http(s)://host[:port]/path')


@pytest.mark.fault("Workshop", "several mistakes in workshop.yaml", "all are told at once")
def test_every_problem_is_told_at_once_with_the_files_name(tmp_path: Path) -> None:
    def edit(data: Any) -> None:
        at("realm", "users", 0, "groups", to=["nobody"])(data)
        at("cluster", "oidc", "client_id", to="nothing")(data)

    with pytest.raises(WorkshopError) as caught:
        load_edited(tmp_path, edit)
    assert caught.value.what == f"{tmp_path / 'mine.yaml'} has 2 problems"
    assert [line.split(":")[0] for line in caught.value.why.splitlines()] == ["realm.users[0].groups[0]", "cluster.oidc.client_id"]
    assert caught.value.fix.startswith("correct mine.yaml")


@pytest.mark.fault("Workshop", "workshop.yaml is no YAML, or something else", "a line with its line and column")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the file: should hold keys and values"),
        ("- a\n", "the file: should hold keys and values"),
        ("realm: {name: a\n", "line 2, column 1: expected ',' or '}', but got '<stream end>'"),
        ("realm:\n  name: a\n  name: b\n", 'line 3, column 3: the key "name" is there twice'),
        ("realm: !!python/object:os.system {}\n", "line 1, column 8: could not determine a constructor for the tag"),
        ("when: 2026-13-45\n", "this is no YAML text: month must be in 1..12"),
    ],
)
def test_a_file_that_is_no_yaml_or_no_workshop_is_told_by_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_text(tmp_path, text)
    assert caught.value.why.startswith(why)


@pytest.mark.fault("Workshop", "a mistake beside a password in workshop.yaml", "the message shows no secret")
def test_a_broken_file_never_shows_its_secrets(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError) as caught:
        load_text(tmp_path, "realm:\n  users:\n    - {password: hunter2 hunter3: x]\n")
    assert "hunter" not in str(caught.value)
    assert caught.value.__context__ is None
    with pytest.raises(WorkshopError) as caught:
        load_edited(tmp_path, at(*KUBE, "secret", to=["hunter2"]))
    assert caught.value.why == "realm.clients[0].secret: should be text: put it in quotes"
    assert caught.value.__context__ is None


@pytest.mark.fault("Workshop", "the workshop file can't be read", "the error names LABKIT_WORKSHOP")
def test_a_missing_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match="can't be read") as caught:
        Workshop.load(tmp_path / "none.yaml")
    assert caught.value.why == "No such file or directory"
    assert "LABKIT_WORKSHOP" in caught.value.fix
