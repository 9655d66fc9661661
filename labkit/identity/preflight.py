"""The look at somebody else's Keycloak before anything is changed there: is it the right one, may the administrator do the work?

Keycloak tells a caller about each object whether they may manage it (``access`` in the admin API's answers), so nothing has to be tried.
An administrator in the realm needs the roles ``manage-users`` and ``manage-clients`` of its client ``realm-management``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from keycloak import KeycloakAdmin

from ..common.display import Finding, Findings
from ..common.errors import IdentityError
from ..workshop.workshop import Workshop
from .keycloak import Keycloak
from .plan import Plan
from .realm import Realm, failures

OLDEST = 25
"""The first major version of Keycloak that has the client scope ``basic``, which the workshop's clients are given."""


class Preflight(Findings):
    """What a look at a hosted Keycloak found."""


@dataclass(frozen=True)
class _Work:
    """One of the two kinds of work, the role that allows it, and which of a plan's kinds of objects it is about."""

    role: str
    what: str
    kinds: tuple[str, ...]


_USERS = _Work("manage-users", "groups and users", ("group", "user", "membership", "realm roles"))
_CLIENTS = _Work(
    "manage-clients", "clients, client scopes and mappers", ("client", "client scope", "mapper", "default scopes", "optional scopes")
)


def look(keycloak: Keycloak, workshop: Workshop) -> Iterator[Finding]:
    """Look at it from the outside in, as far as one gets; changes nothing.

    Args:
        keycloak: The server.
        workshop: What its realm is to be.
    """
    try:
        answer = keycloak.get(f"{keycloak.realm_url}/.well-known/openid-configuration")
        yield Finding(True, f"{keycloak.url} answers, its certificate verified with {keycloak.ca.name}")
        if answer.is_redirect:
            where = answer.headers["Location"]
            yield Finding(False, f"it sends one on to {where}", "name the address itself, if it is to be trusted: LABKIT_KEYCLOAK_URL")
            return
        admin = keycloak.admin()
    except IdentityError as error:
        yield _finding(error)
        return
    yield Finding(True, f"it lets in the {keycloak.administrator}")
    yield _version(admin)
    name = workshop.realm.name
    if answer.status_code == HTTPStatus.NOT_FOUND:
        yield _creatable(admin, keycloak, name)
        return
    yield _issuer(answer.json() if answer.ok else {}, keycloak)
    allowed = {work: _may_manage(admin, keycloak, name, work) for work in (_USERS, _CLIENTS)}
    plan, told = None, None
    if None not in allowed.values():
        try:
            plan = Realm(lambda: admin, workshop).plan()
            told = Finding(True, f"the plan for it: {plan.summary}")
        except IdentityError as error:
            told = _finding(error)
    for work, may in allowed.items():
        yield _right(work, may, plan, keycloak, name)
    if told:
        yield told
    for notice in plan.notices if plan is not None else ():
        yield Finding(True, f"left as it is: {notice.text}")


def _finding(error: IdentityError) -> Finding:
    return Finding(False, f"{error.what}{f': {error.why}' if error.why else ''}", error.fix)


def _version(admin: KeycloakAdmin) -> Finding:
    _, body = _read(admin, "admin/serverinfo")
    version = str(((body or {}).get("systemInfo") or {}).get("version") or "")
    if not version:
        return Finding(True, "it does not tell this administrator its version; the labs are made for Keycloak 26")
    new_enough = int(version.partition(".")[0]) >= OLDEST
    return Finding(new_enough, f"it is Keycloak {version}", f"the workshop needs Keycloak {OLDEST} or newer: have it updated")


def _issuer(discovery: dict[str, Any], keycloak: Keycloak) -> Finding:
    issuer = str(discovery.get("issuer", ""))
    if not issuer:
        return Finding(False, f"the realm at {keycloak.realm_url} does not tell its issuer", "see that the realm is enabled")
    return Finding(
        issuer.startswith("https://"),
        f"the realm is there, and its issuer is {issuer}",
        "an API server takes an https issuer only: set the server's hostname, or the realm's Frontend URL, to its https address",
    )


def _creatable(admin: KeycloakAdmin, keycloak: Keycloak, name: str) -> Finding:
    who = keycloak.administrator
    # Only there is a realm made, and who may manage themselves there is the administrator of all.
    if who.realm == "master" and _own_account(admin, keycloak):
        return Finding(True, f"the realm {name} is not there yet, and the {who} may make it")
    return Finding(
        False,
        f"there is no realm {name}, and the {who} may not make it",
        "correct LABKIT_KEYCLOAK_REALM, or name an administrator of the realm master: LABKIT_KEYCLOAK_ADMIN_REALM=master",
    )


def _may_manage(admin: KeycloakAdmin, keycloak: Keycloak, realm: str, work: _Work) -> bool | None:
    """Whether the administrator may do it; None when they may not even look."""
    if work is _CLIENTS:
        status, found = _read(admin, f"admin/realms/{realm}/clients", first="0", max="1")
    else:
        status, found = _read(admin, f"admin/realms/{realm}/users", max="1")
    if status != HTTPStatus.OK:
        return None
    # A realm always has clients; it may be without users, except for the administrator in their own.
    return any(item.get("access", {}).get("manage") for item in found) if found else _own_account(admin, keycloak)


def _own_account(admin: KeycloakAdmin, keycloak: Keycloak) -> bool:
    """Whether the administrator may manage the very realm that they are in."""
    who = keycloak.administrator
    status, found = _read(admin, f"admin/realms/{who.realm}/users", username=who.username, exact="true")
    return status == HTTPStatus.OK and any(item.get("access", {}).get("manage") for item in found)


def _right(work: _Work, may: bool | None, plan: Plan | None, keycloak: Keycloak, realm: str) -> Finding:
    pending = [change for change in plan.pending if change.kind in work.kinds] if plan is not None else None
    who, place = keycloak.administrator, "realm-management" if keycloak.administrator.realm == realm else f"{realm}-realm"
    fix = f"give the {who} the role {work.role} of the client {place}"
    if may is None:
        return Finding(False, f"it may not read {work.what}, nor change them ({work.role})", fix)
    if may:
        return Finding(True, f"it may change {work.what} ({work.role})")
    if pending == []:
        return Finding(True, f"it may read {work.what}, which is enough: they are as declared")
    many = f"{len(pending)} of them are to be made or changed" if pending else "they may have to be made or changed"
    return Finding(False, f"it may read {work.what} but not change them ({work.role}), and {many}", fix)


def _read(admin: KeycloakAdmin, path: str, **query: str) -> tuple[int, Any]:
    """The status and, if it is 200, the body of a GET to the admin API."""
    with failures(path):
        answer = admin.connection.raw_get(path, **query)
    return answer.status_code, answer.json() if answer.status_code == HTTPStatus.OK else None
