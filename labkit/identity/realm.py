"""The workshop's realm in Keycloak: what has to change (plan), and changing it (apply).

Both go the same way through the declared objects, so that what is shown is what is done: read the object, compare it with
its declaration and, when applying, create it or write it back whole with the declared fields set. What the workshop does
not declare is left alone, but for four lists that it declares whole: a client's redirect URIs, its web origins, which are none,
its default scopes, and which of the workshop's groups a user is in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from http import HTTPStatus

from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakConnectionError, KeycloakError, KeycloakGetError, KeycloakPostError

from ..errors import IdentityError
from ..workshop import Client, ClientScope, Mapper, RealmSpec, User, Workshop
from . import lookalikes
from .keycloak import unreachable, words_of
from .own_secrets import Given
from .plan import Action, Change, Plan, Representation, compare, merge
from .representations import credentials, of_client, of_client_scope, of_mapper, of_user
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

_Add = Callable[[Representation], object]
_Update = Callable[[str, Representation], object]


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
            IdentityError: The plan is another realm's, or Keycloak refuses the administrator or a call;
                what was done before stays done, and applying again does the rest.
        """
        name = self._workshop.realm.name
        if plan is not None and plan.realm != name:
            msg = f"this plan is for the realm {plan.realm}, the workshop's is {name}"
            raise IdentityError(msg, fix="make a new plan, and apply that")
        return self._walk(write=True)

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

    def preview(self, username: str, scope: str = "openid", client_id: str = "") -> Claims:
        """What an ID token of somebody's would say, without their signing in; Keycloak's console shows the same under *Evaluate*.

        Args:
            username: Anybody in the realm, declared or not.
            scope: The scopes that the client would ask for, separated by spaces.
            client_id: Through which client; the one that the cluster trusts unless another is named.

        Raises:
            IdentityError: There is no such user or client.
        """
        client_id = client_id or self._workshop.cluster.oidc.client_id
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
        self._changes: list[Change] = []

    def plan(self) -> Plan:
        """Walk it; gives an entry for every declared object, and what nothing is done about.

        Clients come after people: through a client with its own secret nobody signs in by a published password.
        """
        spec, admin = self._spec, self._admin
        with failures(f"realm {spec.name}"):
            exists = self._realm()
            # Not before: a client that has made no call yet would look for its own account in the realm it is switched to.
            admin.change_current_realm(spec.name)
            groups = _by("name", admin.get_groups() if exists else [])
            scopes = _by("name", admin.get_client_scopes() if exists else [])
            clients = _by("clientId", admin.get_clients() if exists else [])
        group_ids = {}
        for name in spec.groups:
            with failures(f"group {name}"):
                group_ids[name] = self._group(name, groups.get(name))
        for user in spec.users:
            with failures(f"user {user.username}"):
                found = admin.get_users({"username": user.username, "exact": "true"}) if exists else []
                self._user(user, _by("username", found).get(user.username), group_ids)
        scope_ids = {name: str(scope["id"]) for name, scope in scopes.items()}
        for scope in spec.client_scopes:
            with failures(f"client scope {scope.name}"):
                scope_ids[scope.name] = self._client_scope(scope, scopes.get(scope.name))
        for client in spec.clients:
            with failures(f"client {client.client_id}"):
                self._client(client, clients.get(client.client_id), scope_ids)
        with failures("the groups' members"):
            notices = tuple(lookalikes.find(admin, spec)) if exists else ()
        return Plan(spec.name, tuple(self._changes), notices)

    def _pending(self, kind: str, name: str, now: Representation | None, declared: Representation) -> bool:
        """Note what is to be done about an object; tells whether to do it now."""
        change = compare(kind, name, now, declared)
        self._changes.append(change)
        return self._write and change.action is not Action.AS_DECLARED

    def _realm(self) -> bool:
        """Tells whether the realm is there now."""
        name, now = self._spec.name, self._realm_now()
        declared = {"realm": name, "enabled": True}
        if now is None and not self._given:
            # Set when it is made: afterwards it is for those who run that Keycloak to decide.
            declared["bruteForceProtected"] = True
        if now is not None and "enabled" not in now:
            # Who may work on users and clients alone is told no more than the name.
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
            deadline = time.monotonic() + _MAKING_SECONDS
            while self._realm_now() is None:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _group(self, name: str, now: Representation | None) -> str:
        if self._pending("group", name, now, {"name": name}):
            return str(self._admin.create_group({"name": name}))
        return _id(now)

    def _user(self, user: User, now: Representation | None, group_ids: Mapping[str, str]) -> None:
        admin, user_id, declared = self._admin, _id(now), of_user(user)
        if self._pending("user", user.username, now, declared):
            if now is None:
                user_id = admin.create_user({**declared, "credentials": credentials(user)})
            else:
                admin.update_user(user_id, merge(now, declared))
        if now is not None and self._given and self._given.outdated:
            self._new_password(user, user_id)
        there = _by("id", admin.get_user_groups(user_id) if user_id else [])
        ours = {name for name, group_id in group_ids.items() if group_id in there}
        member = {"groups": list(ours)} if ours or not user.groups else None
        if self._pending("membership", user.username, member, {"groups": list(user.groups)}):
            for name in set(user.groups) - ours:
                admin.group_user_add(user_id, group_ids[name])
            for name in ours - set(user.groups):
                admin.group_user_remove(user_id, group_ids[name])

    def _new_password(self, user: User, user_id: str) -> None:
        (password,) = credentials(user)
        if self._pending("password", user.username, {"password": "another"}, {"password": password["value"]}):
            self._admin.set_user_password(user_id, password["value"], temporary=False)
            # What was begun with the old one ends as well.
            self._admin.user_logout(user_id)

    def _client_scope(self, scope: ClientScope, now: Representation | None) -> str:
        admin, scope_id, declared = self._admin, _id(now), of_client_scope(scope)
        if self._pending("client scope", scope.name, now, declared):
            if now is None:
                scope_id = admin.create_client_scope(declared)
            else:
                admin.update_client_scope(scope_id, merge(now, declared))
        add, update = partial(admin.add_mapper_to_client_scope, scope_id), partial(admin.update_mapper_in_client_scope, scope_id)
        self._mappers(scope.name, scope.mappers, now, add, update)
        return scope_id

    def _client(self, client: Client, now: Representation | None, scope_ids: Mapping[str, str]) -> None:
        admin, internal_id, declared = self._admin, _id(now), of_client(client)
        if self._pending("client", client.client_id, now, declared):
            if now is None:
                internal_id = admin.create_client(declared)
            else:
                admin.update_client(internal_id, merge(now, declared))
        add, update = partial(admin.add_mapper_to_client, internal_id), partial(admin.update_client_mapper, internal_id)
        self._mappers(client.client_id, client.mappers, now, add, update)
        scopes = {"defaultClientScopes": list(client.default_scopes)}
        if self._pending("default scopes", client.client_id, now, scopes):
            self._set_default_scopes(internal_id, client, scope_ids)

    def _mappers(self, owner: str, mappers: Iterable[Mapper], now: Representation | None, add: _Add, update: _Update) -> None:
        existing = _by("name", (now or {}).get("protocolMappers", []))
        for mapper in mappers:
            there, declared = existing.get(mapper.name), of_mapper(mapper)
            if self._pending("mapper", f"{owner}: {mapper.name}", there, declared):
                if there is None:
                    add(declared)
                else:
                    update(_id(there), merge(there, declared))

    def _set_default_scopes(self, internal_id: str, client: Client, scope_ids: Mapping[str, str]) -> None:
        admin, wanted = self._admin, set(client.default_scopes)
        defaults = {scope["name"] for scope in admin.get_client_default_client_scopes(internal_id)}
        optional = {scope["name"] for scope in admin.get_client_optional_client_scopes(internal_id)}
        if missing := sorted(wanted - scope_ids.keys()):
            msg = f"client {client.client_id}: the realm has no client scope {missing[0]}"
            fix = "Keycloak makes its own client scopes with a realm only: create it again by hand, or remove the realm and apply"
            raise IdentityError(msg, why="every new realm has it; it was removed", fix=fix)
        for name in defaults - wanted:
            admin.delete_client_default_client_scope(internal_id, scope_ids[name])
        for name in wanted - defaults:
            # Keycloak says yes and does nothing about a default scope that the client has as an optional one.
            if name in optional:
                admin.delete_client_optional_client_scope(internal_id, scope_ids[name])
            admin.add_client_default_client_scope(internal_id, scope_ids[name], {})


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
