"""What has to agree in the platform files, within one or between two, once none of them has a fault of its own."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from .fields import NOT_MANAGED, Problems, Representation, built_in, in_list, twice
from .files import ACCESS, AUTHENTICATION, FLAGS, KIND, MARK, RBAC, REALM, Document, Place

BUILT_IN_ROLES = frozenset(("cluster-admin", "admin", "edit", "view"))
"""The user-facing cluster roles of Kubernetes: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles"""

_KUBERNETES_OWN = {"ClusterRole": BUILT_IN_ROLES, "ClusterRoleBinding": frozenset(("cluster-admin",))}
"""What it makes itself besides the names with ``system:``, by kind."""

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""By what a token may be signed for an API server that a file tells; flags name some of them."""

_NEEDED = {
    "oidc-group-membership-mapper": ("claim.name",),
    "oidc-audience-mapper": ("included.custom.audience", "included.client.audience"),
}
_SCOPE_CLAIMS = {
    "email": ("email", "email_verified"),
    "profile": ("preferred_username", "name", "given_name", "family_name", "nickname"),
    "phone": ("phone_number",),
    "microprofile-jwt": ("upn", "groups"),
}
"""The claims of Keycloak's own client scopes that may name users or groups."""


def disagreements(files: Mapping[str, Document]) -> Iterator[str]:
    """What does not fit, by file, as `Document.problem` words it."""
    realm, flags, access = files[REALM].data, files[FLAGS].data, files[ACCESS].data
    found = {
        REALM: _in_realm(realm, flags["oidc-groups-claim"]),
        RBAC: _in_rbac(files[RBAC].documents, [path.rpartition("/")[2] for path in group_paths(realm)]),
        FLAGS: _in_flags(flags, realm),
        AUTHENTICATION: _in_authentication(files[AUTHENTICATION].data["jwt"][0], flags),
        KIND: _in_kind(files[KIND].data["nodes"]),
        ACCESS: _in_access(access, [user["username"] for user in realm.get("users", [])]),
    }
    for name, problems in found.items():
        yield from (files[name].problem(place if name == RBAC else (0, *place), what) for place, what in problems)


def group_paths(realm: Representation) -> list[str]:
    """The paths of all declared groups, subgroups too, such as ``/team/kube-dev``."""
    return [path for _, path, _ in _groups(realm.get("groups", []), ())]


def _groups(groups: Sequence[Representation], place: Place, above: str = "") -> Iterator[tuple[Place, str, str]]:
    """Place, path and name of each group."""
    for at, group in in_list(groups, place):
        path = f"{above}/{group['name']}"
        yield (*at, "name"), path, group["name"]
        yield from _groups(group.get("subGroups", []), (*at, "subGroups"), path)


def _in_realm(realm: Representation, groups_claim: str) -> Problems:
    groups = list(_groups(realm.get("groups", []), ("groups",)))
    # Tokens give a group's name without its path, so that two of one name would have each other's rights. Backstage knows no capitals.
    yield from twice([(place, name.lower()) for place, _, name in groups])
    if realm.get("registrationEmailAsUsername"):
        yield ("registrationEmailAsUsername",), "should be false, or left out: Keycloak would call every user by their email"
    if "password" in realm.get("smtpServer", {}):
        yield ("smtpServer", "password"), f"Keycloak never shows it again, so that a plan could not see a difference. {NOT_MANAGED}"
    roles = {*built_in("roles"), *(role["name"] for role in realm.get("roles", {}).get("realm", []))}
    usernames = {user["username"] for user in realm.get("users", [])}
    for place, user in in_list(realm.get("users", []), ("users",)):
        yield from _undeclared((*place, "groups"), "group", user["groups"], [path for _, path, _ in groups])
        yield from _undeclared((*place, "realmRoles"), "realm role", user.get("realmRoles", []), roles)
        if [each["type"] for each in user["credentials"]] != ["password"]:
            yield (*place, "credentials"), "should be one, of the type password"
        if user["username"].removesuffix("-exec") in usernames - {user["username"]}:
            yield (*place, "username"), f'"{user["username"]}" is the name of another user\'s second context, by which kubectl asks labkit'
    scopes = {*built_in("scopes"), *(scope["name"] for scope in realm.get("clientScopes", []))}
    for place, client in in_list(realm.get("clients", []), ("clients",)):
        yield from _in_client(place, client, scopes)
    for owners, key in (("clientScopes", "name"), ("clients", "clientId")):
        mappers = [
            (at, f"{owner[key]}/{mapper['name']}", mapper)
            for place, owner in in_list(realm.get(owners, []), (owners,))
            for at, mapper in in_list(owner.get("protocolMappers", []), (*place, "protocolMappers"))
        ]
        # Terraform calls a mapper by these two names, and keeps one of two that it calls alike.
        yield from twice([((*at, "name"), name) for at, name, _ in mappers])
        for at, _, mapper in mappers:
            yield from (((*at, "config", field), what) for field, what in _in_mapper(mapper, groups_claim))


def _in_mapper(mapper: Representation, groups_claim: str) -> Iterator[tuple[str, str]]:
    """What is wrong, by the field in the mapper's ``config``."""
    config, needed = mapper["config"], _NEEDED.get(mapper["protocolMapper"], ())
    if needed and not any(config.get(field, "").strip() for field in needed):
        yield needed[0], "is missing"
    paths = config.get("full.path") == "true" and mapper["protocolMapper"] == "oidc-group-membership-mapper"
    if paths and config.get("claim.name") == groups_claim:
        yield "full.path", f'should be "false": tokens would name groups with paths in the claim "{groups_claim}", and no binding does'


def _in_client(place: Place, client: Representation, scopes: Collection[str]) -> Problems:
    optional = client.get("optionalClientScopes", [])
    yield from _undeclared((*place, "defaultClientScopes"), "client scope", client["defaultClientScopes"], scopes)
    yield from _undeclared((*place, "optionalClientScopes"), "client scope", optional, scopes)
    if client["publicClient"] and "secret" in client:
        yield (*place, "secret"), "a public client has none: remove it, or set publicClient to false"
    elif not client["publicClient"] and "secret" not in client:
        yield (*place, "secret"), "is missing"
    for at, scope in in_list(optional, (*place, "optionalClientScopes")):
        if scope in client["defaultClientScopes"]:
            yield at, f'"{scope}" is a default client scope already'


def _in_rbac(objects: list[Representation], groups: Sequence[str]) -> Problems:
    names = [(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in objects]
    for name in dict.fromkeys(names):
        yield from twice([((i, "metadata", "name"), name[2]) for i, other in enumerate(names) if other == name])
    for (place, each), (kind, namespace, name) in zip(in_list(objects), names, strict=True):
        if name in _KUBERNETES_OWN.get(kind, ()):
            yield (*place, "metadata", "name"), f'"{name}" is a {kind} of Kubernetes\' own'
        if kind.startswith("Cluster") == bool(namespace):
            what = f"a {kind} is in none: leave it out" if namespace else f"is missing: a {kind} holds in one"
            yield (*place, "metadata", "namespace"), what
        if kind.endswith("Binding") and "roleRef" not in each:
            yield (*place, "roleRef"), "is missing"
        for at, subject in in_list(each.get("subjects", []), (*place, "subjects")):
            yield from _undeclared((*at, "name"), "group", subject["name"], groups)
        if "roleRef" in each:
            bound, where = each["roleRef"]["kind"], "" if each["roleRef"]["kind"] == "ClusterRole" else namespace
            roles = {other for other_kind, there, other in names if (other_kind, there) == (bound, where)}
            known = BUILT_IN_ROLES | roles if bound == "ClusterRole" else roles
            yield from _undeclared((*place, "roleRef", "name"), "role", each["roleRef"]["name"], known)


def _in_flags(flags: Mapping[str, str], realm: Representation) -> Problems:
    clients = {client["clientId"]: client for client in realm.get("clients", [])}
    client = flags["oidc-client-id"]
    yield from _undeclared(("oidc-client-id",), "client", client, list(clients))
    for name in ("oidc-username-claim", "oidc-groups-claim") if client in clients else ():
        yield from _undeclared((name,), "claim", flags[name], _claims(clients[client], realm))
    for algorithm in signing_algorithms(flags):
        yield from _undeclared(("oidc-signing-algs",), "signing algorithm", algorithm, ALGORITHMS)
    if flags["oidc-username-claim"] != "email" and not flags.get("oidc-username-prefix"):
        yield ("oidc-username-claim",), 'needs oidc-username-prefix: "-" beside it, or the issuer stands before every name'


def signing_algorithms(flags: Mapping[str, str]) -> tuple[str, ...]:
    """Those that ``oidc-signing-algs`` names, with commas between them; Kubernetes' own choice is the first."""
    return tuple((flags.get("oidc-signing-algs") or ALGORITHMS[0]).split(","))


def _claims(client: Representation, realm: Representation) -> set[str]:
    """The claims of a client's ID tokens that may name users or groups, as far as the realm's file says."""
    scopes = [scope for scope in realm.get("clientScopes", []) if scope["name"] in client["defaultClientScopes"]]
    configs: list[dict[str, Any]] = [mapper["config"] for owner in (client, *scopes) for mapper in owner.get("protocolMappers", [])]
    written = {config["claim.name"] for config in configs if config.get("id.token.claim") == "true" and "claim.name" in config}
    return {"sub", *written, *(claim for scope in client["defaultClientScopes"] for claim in _SCOPE_CLAIMS.get(scope, ()))}


def _in_authentication(jwt: Representation, flags: Mapping[str, str]) -> Problems:
    client, username, groups = (flags[f"oidc-{name}"] for name in ("client-id", "username-claim", "groups-claim"))
    if jwt["issuer"]["audiences"] != [client]:
        yield ("jwt", 0, "issuer", "audiences"), f'should be "{client}" alone, which is oidc-client-id in oidc-flags.yaml'
    if jwt["claimMappings"]["username"]["claim"] != username:
        what = f'should be "{username}", which is oidc-username-claim in oidc-flags.yaml'
        yield ("jwt", 0, "claimMappings", "username", "claim"), what
    place, expression = ("jwt", 0, "claimMappings", "groups", "expression"), jwt["claimMappings"]["groups"]["expression"]
    if json.dumps(groups) not in expression:
        yield place, f'does not read the claim "{groups}", which is oidc-groups-claim in oidc-flags.yaml'
    if "${GROUPS}" not in expression:
        yield place, "does not go by ${GROUPS}: only groups that realm.yaml declares may count"


def _in_kind(nodes: Sequence[Representation]) -> Problems:
    if len(nodes) != 1:
        yield ("nodes",), "should be one"
    elif MARK not in [mount["containerPath"] for mount in nodes[0]["extraMounts"]]:
        yield ("nodes", 0, "extraMounts"), f"has no containerPath {MARK}, by which labkit knows its own nodes"


def _in_access(access: Representation, users: Sequence[str]) -> Problems:
    for username, verbs in access["expected"].items():
        yield from _undeclared(("expected", username), "user", username, users)
        yield from _undeclared(("expected", username), "verb", verbs, access["verbs"])


def _undeclared(place: Place, kind: str, names: str | Sequence[str], declared: Collection[str]) -> Problems:
    """The names, one or a list of them, that are none of those declared."""
    known = declared if isinstance(declared, Sequence) else sorted(declared)
    for at, name in [(place, names)] if isinstance(names, str) else in_list(names, place):
        if name not in declared:
            yield at, f'there is no {kind} "{name}" ({kind}s: {", ".join(known) or "none"})'
