"""The way through a realm's declared objects that a plan and an apply have in common, so that what is shown is what is done.

Each object is read and compared with its declaration. When applying, one that is missing is created whole, with its parts, and one that
differs is written back whole with the declared fields set. What does not depend on each other is done at once.
A list that is declared is declared whole: apply takes away what else Keycloak has in it. Of a user's groups and roles it takes away
the declared ones alone. What ``realm.yaml`` does not declare is left alone.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any

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
from .realm_keys import new_keys

_LOCKED_OUT = "Database operation failed"
"""What Keycloak says when another of its transactions is making an object of that name, and does not end in time."""

_MAKING_SECONDS = 30
_AT_ONCE = 4

_KINDS = frozenset(("groups", "roles", "users", "clientScopes", "clients"))
"""What a RealmRepresentation holds besides the realm's own fields."""

_PARTS = frozenset(
    ("subGroups", "groups", "realmRoles", "credentials", "protocolMappers", "defaultClientScopes", "optionalClientScopes"),
)
"""What has endpoints of its own: in an update Keycloak passes over it, or takes away what is not declared."""

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
        self._alone(Walk._walk)
        return Plan(self._spec.name, tuple(self._changes), tuple(self._notices))

    def _walk(self) -> None:
        declared, admin = self._declared, self._admin
        # In a realm that this walk makes there are Keycloak's own client scopes and clients alone.
        before = self._realm()
        exists = before or self._write
        groups, users, scopes, clients = (declared.get(kind, []) for kind in ("groups", "users", "clientScopes", "clients"))
        roles, found_scopes, found_clients, *ids = self._at_once(
            partial(Walk._roles, exists=exists),
            lambda _: _by("name", admin.get_client_scopes() if exists else []),
            lambda _: _by("clientId", admin.get_clients() if exists else []),
            *(partial(Walk._group, group=group, exists=before) for group in groups),
        )
        # After the groups and roles that they are given, and before clients, through which nobody signs in by a published password.
        group_ids = dict(ChainMap(*ids))
        made = self._at_once(
            *(partial(Walk._user, user=user, exists=before, group_ids=group_ids, roles=roles) for user in users),
            *(partial(Walk._scope, scope=scope, now=found_scopes) for scope in scopes),
        )
        scope_ids = {name: str(scope["id"]) for name, scope in found_scopes.items()} | dict(ChainMap(*filter(None, made)))
        self._at_once(
            *(partial(Walk._client, client=client, now=found_clients, scopes=found_scopes, scope_ids=scope_ids) for client in clients),
            *(partial(Walk._lookalikes, name=name) for name in (*self._spec.groups, ":") if before),
        )

    def _at_once(self, *calls: Callable[[Walk], Any]) -> list[Any]:
        """Make calls that don't depend on each other; returns what they return, and notes what they note, in the order of the calls."""
        walks = [Walk(self._admin, self._spec, self._given, write=self._write) for _ in calls]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            results = list(pool.map(Walk._alone, walks, calls))
        for walk in walks:
            self._changes += walk._changes
            self._notices += walk._notices
        return results

    def _alone(self, call: Callable[[Walk], Any]) -> Any:
        """Make a call of this walk; an error of Keycloak's names the place that it came to."""
        try:
            return call(self)
        except KeycloakError as error:
            raise failure(self._place, error) from None

    def _pending(self, kind: Kind, name: str, now: Representation | None, declared: Representation) -> bool:
        """Note what is to be done about an object; returns whether to do it now."""
        self._place = f"{kind} {name}"
        change = compare(kind, name, now, declared)
        self._changes.append(change)
        return self._write and change.action is not Action.AS_DECLARED

    def _object(self, kind: Kind, name: str, now: Representation | None, declared: Representation, at: str, made_at: str = "") -> str:
        """Have an object as declared but, if it is there already, for its parts; returns its id.

        All objects of its kind are below the path ``at``; one is made at ``made_at``, if that is another.
        """
        own = {field: value for field, value in declared.items() if field not in _PARTS}
        if self._pending(kind, name, now, own):
            if now is None:
                # A password now or never: Keycloak gives none back, so that a later difference could not be seen.
                return self._send("post", made_at or at, declared)
            self._send("put", f"{at}/{now['id']}", merge(now, own))
        return str(now["id"]) if now else ""

    def _send(self, method: str, path: str, body: object = None) -> str:
        """Ask the admin API below the realm for a change; returns the last part of the address of what was made."""
        send = getattr(self._admin.connection, f"raw_{method}")
        answer = send(f"admin/realms/{self._spec.name}/{path}", data=None if body is None else json.dumps(body))
        raise_error_from_response(answer, KeycloakPutError, expected_codes=[HTTPStatus.CREATED, HTTPStatus.NO_CONTENT])
        return str(answer.headers.get("Location", "")).rpartition("/")[2]

    def _realm(self) -> bool:
        """Have the realm as declared; returns whether it was there before."""
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
            if now is None:
                return not self._create_realm(declared)
            self._admin.update_realm(name, merge(now, declared))
        return now is not None

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

    def _create_realm(self, declared: Representation) -> bool:
        """Create it, or wait for it: Keycloak may still be making the one that a command asked for before it was killed.

        Returns whether it is new.
        """
        try:
            self._admin.create_realm({**declared, "components": new_keys()})
        except KeycloakPostError as error:
            if error.response_code != HTTPStatus.CONFLICT and words_of(error) != _LOCKED_OUT:
                raise
            refused = error
            wait_until(self._realm_now, _MAKING_SECONDS, lambda _: refused)
            return False
        return True

    def _group(self, group: Representation, *, exists: bool, above: str = "", made_at: str = "") -> dict[str, str]:
        """Have a group and those below it as declared; returns their ids by their paths."""
        path = f"{above}/{group['name']}"
        self._place = f"group {path[1:]}"
        # Each by its path: the list of all groups takes Keycloak seconds in a realm with hundreds.
        found = self._found(partial(self._admin.get_group_by_path, path[1:])) if exists else None
        ids = {path: self._object("group", path[1:], found, group, "groups", made_at)}
        for inner in group.get("subGroups", []):
            ids |= self._group(inner, exists=bool(found), above=path, made_at=f"groups/{ids[path]}/children")
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

    def _user(self, user: Representation, *, exists: bool, group_ids: Mapping[str, str], roles: Mapping[str, Representation]) -> None:
        admin, name = self._admin, user["username"]
        self._place = f"user {name}"
        now = _by("username", admin.get_users({"username": name, "exact": "true"}) if exists else []).get(name)
        user_id = self._object("user", name, now, user, "users")
        if now is None and user_id:
            # Keycloak itself asks a new user for what the realm asks of everybody, such as a new password.
            self._send("put", f"users/{user_id}", {"requiredActions": user.get("requiredActions", [])})
        if now is not None and self._given and self._given.outdated:
            self._new_password(user, user_id)
        ours = {group["path"] for group in admin.get_user_groups(user_id)} & group_ids.keys() if now else set()
        for path in self._to_toggle("membership", name, "groups", ours, user):
            if now:
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

    def _scope(self, scope: Representation, *, now: Mapping[str, Representation]) -> dict[str, str]:
        """Have a client scope as declared; returns its id by its name."""
        name = scope["name"]
        return {name: self._with_mappers("client scope", name, scope, now.get(name), "client-scopes")}

    def _with_mappers(self, kind: Kind, name: str, declared: Representation, now: Representation | None, at: str) -> str:
        """Have a client scope or client and its mappers as declared; returns its id."""
        own_id = self._object(kind, name, now, declared, at)
        there = _by("name", (now or {}).get("protocolMappers", []))
        for mapper in declared.get("protocolMappers", []):
            place = f"{name}: {mapper['name']}"
            if now:
                self._object("mapper", place, there.get(mapper["name"]), mapper, f"{at}/{own_id}/protocol-mappers/models")
            else:
                self._pending("mapper", place, None, mapper)
        return own_id

    def _client(
        self,
        client: Representation,
        *,
        now: Mapping[str, Representation],
        scopes: Mapping[str, Representation],
        scope_ids: Mapping[str, str],
    ) -> None:
        name, there = client["clientId"], now.get(client["clientId"])
        lists = {field: kind for field, kind in _SCOPES.items() if field in client}
        missing = sorted({scope for field in lists for scope in client[field]} - scope_ids.keys())
        if missing and self._write:
            # Keycloak would say yes, and pass over it.
            raise IdentityError("client-scope-removed", client=name, scope=missing[0])
        whole = {**client, **self._other_list(client, scopes)} if there is None and self._write else client
        own_id = self._with_mappers("client", name, whole, there, "clients")
        pending = [self._pending(kind, name, there, {field: client[field]}) for field, kind in lists.items()]
        if any(pending) and there:
            self._put_in_lists(own_id, {field: set(client[field]) for field in lists}, scope_ids)

    def _other_list(self, client: Representation, scopes: Mapping[str, Representation]) -> Representation:
        """Of a new client's two lists of scopes the one that is not declared beside the other, which Keycloak then leaves empty."""
        missing = [field for field in _SCOPES if field not in client]
        if len(missing) != 1:
            return {}
        admin, protocol = self._admin, client.get("protocol", "openid-connect")
        default = missing == ["defaultClientScopes"]
        usual = admin.get_default_default_client_scopes() if default else admin.get_default_optional_client_scopes()
        free = _by("name", usual).keys() - {scope for field in _SCOPES for scope in client.get(field, ())}
        return {missing[0]: [name for name in free if scopes[name]["protocol"] == protocol]}

    def _put_in_lists(self, own_id: str, declared: Mapping[str, set[str]], scope_ids: Mapping[str, str]) -> None:
        whole = self._admin.get_client(own_id)
        there = {field: set(whole[field]) for field in _SCOPES}
        wanted = {field: declared.get(field, names) for field, names in there.items()}
        wanted["optionalClientScopes"] = wanted["optionalClientScopes"] - wanted["defaultClientScopes"]
        # Taking away comes first: Keycloak says yes and does nothing about a scope that is in the other list.
        for method, more, less in (("delete", there, wanted), ("put", wanted, there)):
            for field, path in _SCOPE_PATHS.items():
                for scope in more[field] - less[field]:
                    self._send(method, f"clients/{own_id}/{path}/{scope_ids[scope]}")

    def _lookalikes(self, *, name: str) -> None:
        self._place = "the groups' members"
        self._notices += lookalikes.find(self._admin, self._spec, name)


def _by(key: str, items: Iterable[Representation]) -> dict[str, Representation]:
    return {str(item[key]): item for item in items}
