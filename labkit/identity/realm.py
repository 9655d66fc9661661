"""The workshop's realm in Keycloak: what has to change (plan), and changing it (apply).

Both go the same way through the declared objects, so that what is shown is what is done: read the object, compare it with
its declaration and, when applying, create it or write it back whole with the declared fields set. A list that is declared
is declared whole: apply takes away what else Keycloak has in it. Of a user's groups and roles it takes away the declared ones alone.
What ``realm.yaml`` does not declare is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from http import HTTPStatus

from keycloak import KeycloakAdmin
from keycloak.exceptions import (
    KeycloakConnectionError,
    KeycloakError,
    KeycloakGetError,
    KeycloakPostError,
    KeycloakPutError,
    raise_error_from_response,
)

from ..common.display import shown
from ..common.errors import IdentityError
from ..common.waiting import wait_until
from ..workshop.realm_file import Representation, built_in
from ..workshop.workshop import RealmSpec, Workshop
from . import lookalikes
from .keycloak import unreachable, words_of
from .own_secrets import Given
from .plan import Action, Change, Notice, Plan, compare, merge
from .session import Claims

_LOOK = "see what the plan shows now, and Keycloak's log: labkit status says where it is"
_FIXES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "the administrator's account or password was changed: set it back",
    HTTPStatus.FORBIDDEN: "use an administrator of the realm master, or one in the realm who has manage-users and manage-clients",
    HTTPStatus.CONFLICT: "something else has that name or address: remove it in Keycloak's console, or apply again if it was just made",
}

_LOCKED_OUT = "Database operation failed"
"""What Keycloak says when another of its transactions is making an object of that name, and does not end in time."""

_MAKING_SECONDS = 30

_KINDS = frozenset(("groups", "roles", "users", "clientScopes", "clients"))
"""What a RealmRepresentation holds besides the realm's own fields."""

_PARTS = frozenset(
    ("subGroups", "groups", "realmRoles", "credentials", "protocolMappers", "defaultClientScopes", "optionalClientScopes"),
)
"""What has endpoints of its own: with the object itself Keycloak passes over it, or takes away what is not declared."""

_PATHS = {"defaultClientScopes": "default-client-scopes", "optionalClientScopes": "optional-client-scopes"}
_WHOLE = {"briefRepresentation": "false"}
_SCOPE_LISTS = {"default scopes": "defaultClientScopes", "optional scopes": "optionalClientScopes"}


class Realm:
    """The realm that a workshop declares.

    Args:
        admin: Gives a `KeycloakAdmin`, made with ``user_realm_name``: of the realm master, or of the realm itself.
        workshop: What is declared.
        given: In a Keycloak of the lab's own, which secrets people have there: with other ones declared, they are given new passwords.
            None elsewhere: nobody who was there before gets a new password, and a realm that is made is guarded against guessing.
    """

    def __init__(self, admin: Callable[[], KeycloakAdmin], workshop: Workshop, given: Given | None = None) -> None:
        self._admin, self._workshop, self._given = admin, workshop, given

    def plan(self) -> Plan:
        """What `apply` would do; only reads. A realm that is not there yet is all to create.

        Raises:
            KeycloakUnreachable: Nothing answers, or with a certificate that the administrator's client does not trust.
            IdentityError: Keycloak refuses the administrator or a call.
        """
        return self._walk(write=False)

    def apply(self, plan: Plan | None = None) -> Plan:
        """Make the realm what the workshop declares.

        Keycloak is read afresh, so a plan that has gone stale does no harm: what is done is what is needed now.

        Args:
            plan: The plan that was looked at, if one was; it must be this realm's.

        Returns:
            The plan that was carried out.

        Raises:
            KeycloakUnreachable: Nothing answers, or with a certificate that the administrator's client does not trust.
            IdentityError: The plan is another realm's, Keycloak refuses the administrator or a call, or it did not keep what it accepted;
                what was done before stays done, and applying again does the rest.
        """
        name = self._workshop.realm.name
        if plan is not None and plan.realm != name:
            msg = f"this plan is for the realm {plan.realm}, the workshop's is {name}"
            raise IdentityError(msg, fix="make a new plan, and apply that")
        done = self._walk(write=True)
        if done and (left := self._walk(write=False).pending):
            fields = [f"{change.kind} {change.name}: {', '.join(each.field for each in change.fields) or 'all'}" for change in left]
            msg = "Keycloak accepted what it did not keep"
            fix = "take it out of realm.yaml, or write it as Keycloak's console shows it; a user's attribute has to be in the user profile"
            raise IdentityError(msg, why="\n".join(fields), fix=fix)
        return done

    def admin(self) -> KeycloakAdmin:
        """A client of Keycloak's admin API, at work in this realm: for what no workshop declares.

        Raises:
            KeycloakUnreachable: Nothing answers.
            IdentityError: Keycloak refuses the administrator.
        """
        with failures("the administration"):
            admin = self._admin()
            # A client that has made no call yet would look for its own account in the realm it is switched to.
            admin.get_realms()
            admin.change_current_realm(self._workshop.realm.name)
        return admin

    def preview(self, username: str, scope: str = "openid") -> Claims:
        """What an ID token for the cluster would say of somebody who has not signed in; Keycloak's console shows it under *Evaluate*.

        Args:
            username: Anybody in the realm, declared or not.
            scope: The scopes that the client would ask for, separated by spaces.

        Raises:
            IdentityError: There is no such user or client.
        """
        client_id = self._workshop.cluster.oidc.client_id
        admin, title = self.admin(), f"an ID token of {username}, made for {client_id}, would say"
        with failures(f"a token of {username} through {client_id}"):
            user, client = admin.get_user_id(username), _by("clientId", admin.get_clients()).get(client_id)
            if user is None or client is None:
                msg = f"the realm has no {f'client {client_id}' if user else f'user {username}'}"
                raise IdentityError(msg, fix="make it, in Keycloak's console or with lab.realm.admin()")
            path = f"admin/realms/{self._workshop.realm.name}/clients/{client['id']}/evaluate-scopes/generate-example-id-token"
            answer = admin.connection.raw_get(path, userId=user, scope=scope)
        if not answer.ok:
            msg = f"Keycloak shows no token of {username} through {client_id}"
            raise IdentityError(msg, why=f"it answered {answer.status_code}", fix=_FIXES.get(answer.status_code, _LOOK))
        return Claims(title, dict(answer.json()))

    def _walk(self, *, write: bool) -> Plan:
        spec = self._workshop.realm
        with failures("the administration"):
            admin = self._admin()
        before = admin.get_current_realm() or "master"
        try:
            with self._given.changing() if write and self._given else nullcontext():
                return _Walk(admin, spec, self._given, write=write).plan()
        finally:
            admin.change_current_realm(before)


class _Walk:
    """One way through the declared objects, in the order in which they need each other.

    An object that is not there yet, because this walk only reads, has the id ``""``.
    """

    def __init__(self, admin: KeycloakAdmin, spec: RealmSpec, given: Given | None, *, write: bool) -> None:
        self._admin, self._spec, self._given, self._write = admin, spec, given, write
        self._declared = spec.representation
        self._changes: list[Change] = []
        self._notices: list[Notice] = []

    def plan(self) -> Plan:
        """Walk it; gives an entry for every declared object, and what nothing is done about.

        Clients come after people: through a client with its own secret nobody signs in by a published password.
        """
        spec, admin, declared = self._spec, self._admin, self._declared
        with failures(f"realm {spec.name}"):
            exists = self._realm()
            # Not before: a client that has made no call yet would look for its own account in the realm it is switched to.
            admin.change_current_realm(spec.name)
            groups = admin.get_groups(_WHOLE) if exists else []
            scopes = _by("name", admin.get_client_scopes() if exists else [])
            clients = _by("clientId", admin.get_clients() if exists else [])
        group_ids, roles = self._groups(declared.get("groups", []), groups), self._roles(exists)
        for user in declared.get("users", []):
            with failures(f"user {user['username']}"):
                found = admin.get_users({"username": user["username"], "exact": "true"}) if exists else []
                self._user(user, _by("username", found).get(user["username"]), group_ids, roles)
        scope_ids = {name: str(scope["id"]) for name, scope in scopes.items()}
        for scope in declared.get("clientScopes", []):
            with failures(f"client scope {scope['name']}"):
                scope_ids[scope["name"]] = self._with_mappers("client scope", scope["name"], scope, scopes, "client-scopes")
        for client in declared.get("clients", []):
            with failures(f"client {client['clientId']}"):
                self._client(client, clients, scope_ids)
        with failures("the groups' members"):
            self._notices += lookalikes.find(admin, spec) if exists else ()
        return Plan(spec.name, tuple(self._changes), tuple(self._notices))

    def _pending(self, kind: str, name: str, now: Representation | None, declared: Representation) -> bool:
        """Note what is to be done about an object; tells whether to do it now."""
        change = compare(kind, name, now, declared)
        self._changes.append(change)
        return self._write and change.action is not Action.AS_DECLARED

    def _object(self, kind: str, name: str, now: Representation | None, declared: Representation, at: str, made_at: str = "") -> str:
        """Have an object as declared; gives its id. An update gets the whole object.

        Args:
            kind: See `Change`.
            name: See `Change`.
            now: What Keycloak has.
            declared: What is declared, with its parts.
            at: The path of all objects of that kind.
            made_at: The path to make one, if it is another.
        """
        own = {field: value for field, value in declared.items() if field not in _PARTS}
        if self._pending(kind, name, now, own):
            if now is None:
                # A password now or never: Keycloak gives none back, so that a later difference could not be seen.
                first = {"credentials": declared["credentials"]} if "credentials" in declared else {}
                return self._send("post", made_at or at, {**own, **first})
            self._send("put", f"{at}/{now['id']}", merge(now, own))
        return _id(now)

    def _send(self, method: str, path: str, body: object = None) -> str:
        """Ask the admin API below the realm for a change; gives the last part of the address of what was made."""
        send = getattr(self._admin.connection, f"raw_{method}")
        answer = send(f"admin/realms/{self._spec.name}/{path}", data=None if body is None else json.dumps(body))
        raise_error_from_response(answer, KeycloakPutError, expected_codes=[HTTPStatus.CREATED, HTTPStatus.NO_CONTENT])
        return str(answer.headers.get("Location", "")).rpartition("/")[2]

    def _realm(self) -> bool:
        """Tells whether the realm is there now."""
        name, now = self._spec.name, self._realm_now()
        declared = {field: value for field, value in self._declared.items() if field not in _KINDS}
        if now is None and not self._given:
            # Set when it is made: afterwards it is for those who run that Keycloak to decide.
            declared.setdefault("bruteForceProtected", True)
        if now is not None and "enabled" not in now:
            # Who may work on users and clients alone is told no more than the name.
            if unseen := sorted(declared.keys() - {"realm", "enabled"}):
                text = f"the administrator is not told the realm's own settings, so these are neither compared nor set: {shown(unseen)}"
                self._notices.append(Notice("unseen", text))
            declared = {"realm": name}
        if self._pending("realm", name, now, declared):
            self._create_realm(declared) if now is None else self._admin.update_realm(name, merge(now, declared))
        return now is not None or self._write

    def _realm_now(self) -> Representation | None:
        try:
            return dict(self._admin.get_realm(self._spec.name))
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

    def _groups(self, declared: list[Representation], there: list[Representation], above: str = "", made_at: str = "") -> dict[str, str]:
        """The ids of these groups and those below them, by their paths."""
        ids, now = {}, _by("name", there)
        for group in declared:
            path, found, below = f"{above}/{group['name']}", now.get(group["name"]), group.get("subGroups", [])
            with failures(f"group {path[1:]}"):
                ids[path] = self._object("group", path[1:], found, group, "groups", made_at)
                children = self._admin.get_group_children(ids[path], _WHOLE) if found and below else []
            ids |= self._groups(below, children, path, f"groups/{ids[path]}/children")
        return ids

    def _roles(self, exists: bool) -> dict[str, Representation]:
        """The realm's roles by name, if anything is declared of them."""
        declared = self._declared.get("roles", {}).get("realm", [])
        if not exists or not (declared or any("realmRoles" in user for user in self._declared.get("users", []))):
            there = {}
        else:
            with failures("the realm's roles"):
                there = _by("name", self._admin.get_realm_roles(brief_representation=False))
        for role in declared:
            name = role["name"]
            with failures(f"role {name}"):
                self._object("role", name, there.get(name), role, "roles-by-id", "roles")
                if self._write and name not in there:
                    there[name] = self._admin.get_realm_role(name)
        return there

    def _user(
        self, user: Representation, now: Representation | None, group_ids: Mapping[str, str], roles: Mapping[str, Representation]
    ) -> None:
        admin, name = self._admin, user["username"]
        user_id = self._object("user", name, now, user, "users")
        if now is not None and self._given and self._given.outdated:
            self._new_password(user, user_id)
        there = {group["id"] for group in admin.get_user_groups(user_id)} if user_id else set()
        ours = {path for path, group_id in group_ids.items() if group_id in there}
        for path, joins in self._members("membership", name, "groups", ours, user):
            self._send("put" if joins else "delete", f"users/{user_id}/groups/{group_ids[path]}")
        if "realmRoles" in user:
            declared = {*built_in("roles"), *(role["name"] for role in self._declared.get("roles", {}).get("realm", []))}
            has = {role["name"] for role in admin.get_realm_roles_of_user(user_id)} if user_id else set()
            for role, joins in self._members("realm roles", name, "realmRoles", has & declared, user):
                self._send("post" if joins else "delete", f"users/{user_id}/role-mappings/realm", [roles[role]])

    def _members(self, kind: str, name: str, field: str, now: set[str], user: Representation) -> Iterator[tuple[str, bool]]:
        """Which of what is declared a user is to be put in (true) or taken out of (false)."""
        wanted = set(user[field])
        if self._pending(kind, name, {field: list(now)} if now or not wanted else None, {field: user[field]}):
            yield from ((each, each in wanted) for each in sorted(wanted ^ now))

    def _new_password(self, user: Representation, user_id: str) -> None:
        (password,) = user["credentials"]
        if self._pending("password", user["username"], {"password": "another"}, {"password": password["value"]}):
            self._admin.set_user_password(user_id, password["value"], temporary=password.get("temporary", False))
            # What was begun with the old one ends as well.
            self._admin.user_logout(user_id)

    def _with_mappers(self, kind: str, name: str, declared: Representation, now: Mapping[str, Representation], at: str) -> str:
        """Have a client scope or client and its mappers as declared; gives its id."""
        own_id = self._object(kind, name, now.get(name), declared, at)
        there = _by("name", now.get(name, {}).get("protocolMappers", []))
        for mapper in declared.get("protocolMappers", []):
            own_name = mapper["name"]
            self._object("mapper", f"{name}: {own_name}", there.get(own_name), mapper, f"{at}/{own_id}/protocol-mappers/models")
        return own_id

    def _client(self, client: Representation, now: Mapping[str, Representation], scope_ids: Mapping[str, str]) -> None:
        name = client["clientId"]
        own_id = self._with_mappers("client", name, client, now, "clients")
        lists = [(kind, field) for kind, field in _SCOPE_LISTS.items() if field in client]
        pending = [self._pending(kind, name, now.get(name), {field: client[field]}) for kind, field in lists]
        if any(pending):
            self._set_scopes(own_id, client, scope_ids)

    def _set_scopes(self, own_id: str, client: Representation, scope_ids: Mapping[str, str]) -> None:
        """Set both lists of a client's scopes.

        Taking away comes first: Keycloak says yes and does nothing about a scope that is in the other list.
        """
        now = self._admin.get_client(own_id)
        there = {field: set(now[field]) for field in _SCOPE_LISTS.values()}
        wanted = {field: set(client.get(field, names)) for field, names in there.items()}
        wanted["optionalClientScopes"] -= wanted["defaultClientScopes"]
        if missing := sorted({*client["defaultClientScopes"], *client.get("optionalClientScopes", ())} - scope_ids.keys()):
            msg = f"client {client['clientId']}: the realm has no client scope {missing[0]}"
            fix = "Keycloak makes its own client scopes with a realm only: create it again by hand, or remove the realm and apply"
            raise IdentityError(msg, why="every new realm has it; it was removed", fix=fix)
        for method, more, less in (("delete", there, wanted), ("put", wanted, there)):
            for field, path in _PATHS.items():
                for name in more[field] - less[field]:
                    self._send(method, f"clients/{own_id}/{path}/{scope_ids[name]}")


def _by(key: str, items: Iterable[Representation]) -> dict[str, Representation]:
    return {str(item[key]): item for item in items}


def _id(now: Representation | None) -> str:
    return str(now["id"]) if now else ""


@contextmanager
def failures(place: str) -> Iterator[None]:
    """Turn python-keycloak's errors into labkit's.

    The original is not chained and only Keycloak's own words for the error are kept: it carries the whole answer, and with
    it what was sent.
    """
    try:
        yield
    except KeycloakConnectionError as error:
        cause = error.__cause__
        msg = f"{place}: Keycloak can't be reached"
        raise unreachable(msg, cause, type(cause).__name__ if cause else "") from None
    except KeycloakError as error:
        code = error.response_code
        msg = f"{place}: Keycloak refused a call"
        raise IdentityError(msg, why=f"it answered {code}: {words_of(error)}", fix=_FIXES.get(code or 0, _LOOK)) from None
