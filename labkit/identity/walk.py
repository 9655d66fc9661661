"""The way through a realm's declared objects that a plan and an apply have in common, so that what is shown is what is done.

Each object is read, compared with its declaration and, when applying, created or written back whole with the declared fields set.
A list that is declared is declared whole: apply takes away what else Keycloak has in it. Of a user's groups and roles it takes away
the declared ones alone. What ``realm.yaml`` does not declare is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus

from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakError, KeycloakGetError, KeycloakPostError, KeycloakPutError, raise_error_from_response

from ..common.display import shown
from ..common.errors import IdentityError
from ..common.waiting import wait_until
from ..workshop.fields import Representation, built_in
from ..workshop.workshop import RealmSpec
from . import lookalikes
from .keycloak import failure, words_of
from .own_secrets import Given
from .plan import Action, Change, Kind, Notice, Plan, compare, merge

_LOCKED_OUT = "Database operation failed"
"""What Keycloak says when another of its transactions is making an object of that name, and does not end in time."""

_MAKING_SECONDS = 30

_KINDS = frozenset(("groups", "roles", "users", "clientScopes", "clients"))
"""What a RealmRepresentation holds besides the realm's own fields."""

_PARTS = frozenset(
    ("subGroups", "groups", "realmRoles", "credentials", "protocolMappers", "defaultClientScopes", "optionalClientScopes"),
)
"""What has endpoints of its own: with the object itself Keycloak passes over it, or takes away what is not declared."""

_SCOPES: Mapping[str, Kind] = {"defaultClientScopes": "default scopes", "optionalClientScopes": "optional scopes"}
_SCOPE_PATHS = {"defaultClientScopes": "default-client-scopes", "optionalClientScopes": "optional-client-scopes"}


class Walk:
    """One way through the declared objects, in the order in which they need each other.

    An object that is not there yet, because this walk only reads, has the id ``""``.
    """

    def __init__(self, admin: KeycloakAdmin, spec: RealmSpec, given: Given | None, *, write: bool) -> None:
        self._admin, self._spec, self._given, self._write = admin, spec, given, write
        self._declared = spec.representation
        self._changes: list[Change] = []
        self._notices: list[Notice] = []
        # What an error names.
        self._place = f"realm {spec.name}"

    def plan(self) -> Plan:
        """Walk it; returns an entry for every declared object, and what nothing is done about."""
        try:
            self._walk()
        except KeycloakError as error:
            raise failure(self._place, error) from None
        return Plan(self._spec.name, tuple(self._changes), tuple(self._notices))

    def _walk(self) -> None:
        spec, admin, declared = self._spec, self._admin, self._declared
        exists = self._realm()
        scopes = _by("name", admin.get_client_scopes() if exists else [])
        clients = _by("clientId", admin.get_clients() if exists else [])
        group_ids, roles = self._groups(declared.get("groups", []), exists), self._roles(exists)
        # Clients come after users: through a client with its own secret nobody signs in by a published password.
        for user in declared.get("users", []):
            name = user["username"]
            self._place = f"user {name}"
            found = admin.get_users({"username": name, "exact": "true"}) if exists else []
            self._user(user, _by("username", found).get(name), group_ids, roles)
        scope_ids = {name: str(scope["id"]) for name, scope in scopes.items()}
        for scope in declared.get("clientScopes", []):
            scope_ids[scope["name"]] = self._with_mappers("client scope", scope["name"], scope, scopes, "client-scopes")
        for client in declared.get("clients", []):
            self._client(client, clients, scope_ids)
        self._place = "the groups' members"
        self._notices += lookalikes.find(admin, spec) if exists else ()

    def _pending(self, kind: Kind, name: str, now: Representation | None, declared: Representation) -> bool:
        """Note what is to be done about an object; returns whether to do it now."""
        self._place = f"{kind} {name}"
        change = compare(kind, name, now, declared)
        self._changes.append(change)
        return self._write and change.action is not Action.AS_DECLARED

    def _object(self, kind: Kind, name: str, now: Representation | None, declared: Representation, at: str, made_at: str = "") -> str:
        """Have an object as declared but for its parts; returns its id.

        All objects of its kind are below the path ``at``; one is made at ``made_at``, if that is another.
        """
        own = {field: value for field, value in declared.items() if field not in _PARTS}
        if self._pending(kind, name, now, own):
            if now is None:
                # A password now or never: Keycloak gives none back, so that a later difference could not be seen.
                first = {"credentials": declared["credentials"]} if "credentials" in declared else {}
                return self._send("post", made_at or at, {**own, **first})
            self._send("put", f"{at}/{now['id']}", merge(now, own))
        return str(now["id"]) if now else ""

    def _send(self, method: str, path: str, body: object = None) -> str:
        """Ask the admin API below the realm for a change; returns the last part of the address of what was made."""
        send = getattr(self._admin.connection, f"raw_{method}")
        answer = send(f"admin/realms/{self._spec.name}/{path}", data=None if body is None else json.dumps(body))
        raise_error_from_response(answer, KeycloakPutError, expected_codes=[HTTPStatus.CREATED, HTTPStatus.NO_CONTENT])
        return str(answer.headers.get("Location", "")).rpartition("/")[2]

    def _realm(self) -> bool:
        """Have the realm as declared; returns whether it is there then."""
        name, now = self._spec.name, self._realm_now()
        declared = {field: value for field, value in self._declared.items() if field not in _KINDS}
        if now and now.get("registrationEmailAsUsername") and "registrationEmailAsUsername" not in declared:
            raise IdentityError("realm-email-as-username", realm=name)
        if now is None and not self._given:
            # Set when it is made: afterwards it is for those who run that Keycloak to decide.
            declared.setdefault("bruteForceProtected", True)
        if now is not None and "enabled" not in now:
            # Who may work on users and clients alone sees no more than the name.
            if unseen := sorted(declared.keys() - {"realm", "enabled"}):
                text = f"the administrator may not read the realm's own settings, so these are neither compared nor set: {shown(unseen)}"
                self._notices.append(Notice("unseen", text))
            declared = {"realm": name}
        if self._pending("realm", name, now, declared):
            self._create_realm(declared) if now is None else self._admin.update_realm(name, merge(now, declared))
        return now is not None or self._write

    def _realm_now(self) -> Representation | None:
        return self._found(lambda: self._admin.get_realm(self._spec.name))

    @staticmethod
    def _found(ask: Callable[[], Representation]) -> Representation | None:
        """What Keycloak has; None where it has none."""
        try:
            return dict(ask())
        except KeycloakGetError as error:
            if error.response_code != HTTPStatus.NOT_FOUND:
                raise
            return None

    def _create_realm(self, declared: Representation) -> None:
        """Create it, or wait for it: Keycloak may still be making the one that a command asked for before it was killed."""
        try:
            self._admin.create_realm(declared)
        except KeycloakPostError as error:
            if error.response_code != HTTPStatus.CONFLICT and words_of(error) != _LOCKED_OUT:
                raise
            refused = error
            wait_until(self._realm_now, _MAKING_SECONDS, lambda _: refused)

    def _groups(self, declared: list[Representation], exists: bool, above: str = "", made_at: str = "") -> dict[str, str]:
        """Have these groups and those below them as declared; returns their ids by their paths."""
        ids = {}
        for group in declared:
            path = f"{above}/{group['name']}"
            self._place = f"group {path[1:]}"
            # Each by its path: the list of all groups takes Keycloak seconds in a realm with hundreds.
            found = self._found(partial(self._admin.get_group_by_path, path[1:])) if exists else None
            ids[path] = self._object("group", path[1:], found, group, "groups", made_at)
            ids |= self._groups(group.get("subGroups", []), bool(found), path, f"groups/{ids[path]}/children")
        return ids

    def _roles(self, exists: bool) -> dict[str, Representation]:
        """Have the declared roles; returns them and Keycloak's own by name, or none where no role is spoken of."""
        declared, there = self._declared.get("roles", {}).get("realm", []), {}
        if exists and (declared or any("realmRoles" in user for user in self._declared.get("users", []))):
            self._place = "the realm's roles"
            there = _by("name", self._admin.get_realm_roles(brief_representation=False))
        for role in declared:
            name = role["name"]
            self._object("role", name, there.get(name), role, "roles-by-id", "roles")
        if self._write and {role["name"] for role in declared} - there.keys():
            there = _by("name", self._admin.get_realm_roles(brief_representation=False))
        known = {*built_in("roles"), *(role["name"] for role in declared)}
        return {name: role for name, role in there.items() if name in known}

    def _user(
        self, user: Representation, now: Representation | None, group_ids: Mapping[str, str], roles: Mapping[str, Representation]
    ) -> None:
        admin, name = self._admin, user["username"]
        user_id = self._object("user", name, now, user, "users")
        if now is None and user_id:
            # Keycloak itself asks a new user for what the realm asks of everybody, such as a new password.
            self._send("put", f"users/{user_id}", {"requiredActions": user.get("requiredActions", [])})
        if now is not None and self._given and self._given.outdated:
            self._new_password(user, user_id)
        groups = {group["path"] for group in admin.get_user_groups(user_id)} if user_id else set()
        ours = groups & group_ids.keys()
        for path in self._to_toggle("membership", name, "groups", ours, user):
            self._send("delete" if path in ours else "put", f"users/{user_id}/groups/{group_ids[path]}")
        if "realmRoles" in user:
            there = {role["name"] for role in admin.get_realm_roles_of_user(user_id)} if user_id else set()
            has = there & roles.keys()
            for role in self._to_toggle("realm roles", name, "realmRoles", has, user):
                self._send("delete" if role in has else "post", f"users/{user_id}/role-mappings/realm", [roles[role]])

    def _to_toggle(self, kind: Kind, name: str, field: str, now: set[str], user: Representation) -> list[str]:
        """What a user is to be put in, or taken out of if they are in it."""
        wanted = set(user[field])
        pending = self._pending(kind, name, {field: list(now)} if now or not wanted else None, {field: user[field]})
        return sorted(wanted ^ now) if pending else []

    def _new_password(self, user: Representation, user_id: str) -> None:
        (password,) = user["credentials"]
        if self._pending("password", user["username"], {"password": "another"}, {"password": password["value"]}):
            self._admin.set_user_password(user_id, password["value"], temporary=password.get("temporary", False))
            # What was begun with the old one ends as well.
            self._admin.user_logout(user_id)

    def _with_mappers(self, kind: Kind, name: str, declared: Representation, now: Mapping[str, Representation], at: str) -> str:
        """Have a client scope or client and its mappers as declared; returns its id."""
        own_id = self._object(kind, name, now.get(name), declared, at)
        there = _by("name", now.get(name, {}).get("protocolMappers", []))
        for mapper in declared.get("protocolMappers", []):
            own_name = mapper["name"]
            self._object("mapper", f"{name}: {own_name}", there.get(own_name), mapper, f"{at}/{own_id}/protocol-mappers/models")
        return own_id

    def _client(self, client: Representation, now: Mapping[str, Representation], scope_ids: Mapping[str, str]) -> None:
        name = client["clientId"]
        own_id = self._with_mappers("client", name, client, now, "clients")
        lists = {field: kind for field, kind in _SCOPES.items() if field in client}
        pending = [self._pending(kind, name, now.get(name), {field: client[field]}) for field, kind in lists.items()]
        if not any(pending):
            return
        whole = self._admin.get_client(own_id)
        there = {field: set(whole[field]) for field in _SCOPES}
        wanted = {field: set(client.get(field, names)) for field, names in there.items()}
        wanted["optionalClientScopes"] -= wanted["defaultClientScopes"]
        if missing := sorted({name for field in lists for name in client[field]} - scope_ids.keys()):
            raise IdentityError("client-scope-removed", client=name, scope=missing[0])
        # Taking away comes first: Keycloak says yes and does nothing about a scope that is in the other list.
        for method, more, less in (("delete", there, wanted), ("put", wanted, there)):
            for field, path in _SCOPE_PATHS.items():
                for scope in more[field] - less[field]:
                    self._send(method, f"clients/{own_id}/{path}/{scope_ids[scope]}")


def _by(key: str, items: Iterable[Representation]) -> dict[str, Representation]:
    return {str(item[key]): item for item in items}
