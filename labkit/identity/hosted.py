"""A Keycloak that somebody else runs: looked at before it is used, never started or stopped.

Keycloak tells a caller about each object whether they may manage it (``access`` in the admin API's answers), so nothing has to be tried.
An administrator in the realm needs the roles ``manage-users`` and ``manage-clients`` of its client ``realm-management``.
"""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakError

from ..common.display import Finding, Findings
from ..common.errors import IdentityError, KeycloakUnreachable, SettingsError, why_failed
from ..common.problems import problem
from ..config.hosting import Hosted
from ..workshop.workshop import Workshop
from .keycloak import Administrator, Keycloak, failure
from .plan import Kind, Plan
from .realm import Realm

_OLDEST = 25
"""The first major version of Keycloak that has the client scope ``basic``, which the workshop's clients are given."""

_RIGHTS: dict[str, tuple[str, str, tuple[Kind, ...]]] = {
    "manage-users": ("users", "groups and users", ("group", "user", "membership", "realm roles")),
    "manage-clients": (
        "clients",
        "clients, client scopes and mappers",
        ("client", "client scope", "mapper", "default scopes", "optional scopes"),
    ),
}
"""By role: the path of objects that tell whether one has it, what it allows to change, and a plan's kinds of these."""


class HostedKeycloak(Keycloak):
    """A Keycloak that is there already, and whose realm is to be what a workshop declares."""

    def __init__(self, place: Hosted, workshop: Workshop) -> None:
        realm = workshop.realm.name
        super().__init__(place.url, realm, Administrator(place.admin_realm or realm, place.user, place.client or "admin-cli"))
        self._place, self._workshop, self._given_secret = place, workshop, ""

    @property
    def ca(self) -> Path:
        """The authorities that LABKIT_KEYCLOAK_CA names, or the public ones."""
        return self._place.ca

    def start(self) -> Findings:
        """Look whether it can carry the workshop; nothing is started or changed.

        Raises:
            IdentityError: It can't; each thing that is missing is named.
        """
        found = Findings(f"the Keycloak at {self.url} can carry the workshop", tuple(self.findings()))
        if not found.ok:
            raise IdentityError("hosted-unfit", url=self.url, findings=found.why(), fixes=found.fix())
        return found

    def findings(self) -> Iterator[Finding]:
        """Look at it from the outside in, as far as one gets: is it the right one, may the administrator do the work?"""
        try:
            answer = self.get(f"{self.realm_url}/.well-known/openid-configuration")
            yield Finding(True, f"{self.url} answers, its certificate verified with {self.ca.name}")
            if answer.is_redirect:
                yield Finding.of(problem("hosted-elsewhere", where=answer.headers["Location"]))
                return
            admin = self.admin()
        except IdentityError as error:
            yield Finding.of(error.problem)
            return
        yield Finding(True, f"it lets in the {self.administrator}")
        yield _version(admin)
        if answer.status_code == requests.codes.not_found:
            yield self._creatable(admin)
            return
        yield self._named_issuer(answer)
        allowed = {role: self._may(admin, role) for role in _RIGHTS}
        plan, told = None, []
        if None not in allowed.values():
            try:
                plan = Realm(lambda: admin, self._workshop).plan()
                texts = (f"the plan for it: {plan.summary}", *(f"left as it is: {notice.text}" for notice in plan.notices))
                told = [Finding(True, text) for text in texts]
            except IdentityError as error:
                told.append(Finding.of(error.problem))
        yield from (self._right(role, may, plan) for role, may in allowed.items())
        yield from told

    def _named_issuer(self, answer: requests.Response) -> Finding:
        issuer = answer.json().get("issuer") if answer.ok else ""
        if not issuer:
            return Finding.of(problem("hosted-realm-without-issuer", url=self.realm_url))
        if not issuer.startswith("https://"):
            return Finding.of(problem("hosted-issuer-not-https", issuer=issuer))
        return Finding(True, f"the realm is there, and its issuer is {issuer}")

    def _creatable(self, admin: KeycloakAdmin) -> Finding:
        who, name = self.administrator, self._workshop.realm.name
        # Only there is a realm made, and who may manage themselves there is the administrator of all.
        if who.realm == "master" and self._may_manage_themselves(admin):
            return Finding(True, f"the realm {name} is not there yet, and the {who} may make it")
        return Finding.of(problem("hosted-realm-not-creatable", realm=name, administrator=who))

    def _may(self, admin: KeycloakAdmin, role: str) -> bool | None:
        """Whether the administrator may do what a role allows; None when they may not even look."""
        found = _read(admin, f"admin/realms/{self._workshop.realm.name}/{_RIGHTS[role][0]}", first="0", max="1")
        if found is None:
            return None
        # A realm always has clients; it may be without users, except for the administrator in their own.
        return _manageable(found) if found else self._may_manage_themselves(admin)

    def _may_manage_themselves(self, admin: KeycloakAdmin) -> bool:
        who = self.administrator
        return _manageable(_read(admin, f"admin/realms/{who.realm}/users", username=who.username, exact="true") or [])

    def _right(self, role: str, may: bool | None, plan: Plan | None) -> Finding:
        who, realm = self.administrator, self._workshop.realm.name
        _, what, kinds = _RIGHTS[role]
        pending = [change for change in plan.pending if change.kind in kinds] if plan else None
        client = "realm-management" if who.realm == realm else f"{realm}-realm"
        if may is None:
            return Finding.of(problem("hosted-may-not-read", objects=what, role=role, administrator=who, client=client))
        if may:
            return Finding(True, f"it may change {what} ({role})")
        if pending == []:
            return Finding(True, f"it may read {what}, which is enough: they are as declared")
        many = f"{len(pending)} of them are to be made or changed" if pending else "they may have to be made or changed"
        return Finding.of(problem("hosted-may-not-change", objects=what, role=role, administrator=who, client=client, pending=many))

    def _secret(self) -> str:
        """From the environment, the file, or the person, who is asked once per process."""
        self._given_secret = self._given_secret or self._place.secret or self._secret_from_file() or self._secret_from_person()
        return self._given_secret

    def _secret_from_file(self) -> str:
        file = self._place.secret_file
        try:
            return file.read_text().strip() if file else ""
        except OSError as error:
            raise SettingsError("hosted-secret-unreadable", file=file, reason=error.strerror or str(error)) from None

    def _secret_from_person(self) -> str:
        what = "password" if self.administrator.user else "secret"
        try:
            # In a notebook there is no terminal; the kernel asks, if whoever runs it can answer.
            if not sys.stdin.isatty() and "ipykernel" not in sys.modules:
                raise EOFError
            return getpass.getpass(f"{what} of the {self.administrator} at {self.url}: ")
        except (EOFError, NotImplementedError):
            raise SettingsError("hosted-secret-unknown", secret=what, administrator=self.administrator) from None

    def _refused(self, code: int, words: str) -> IdentityError:
        if code >= requests.codes.server_error:
            return KeycloakUnreachable("hosted-not-ready", url=self.url, code=code, words=words)
        if code == requests.codes.not_found:
            return IdentityError("hosted-no-realm", realm=self.administrator.realm, url=self.url, code=code, words=words)
        return IdentityError("hosted-not-let-in", url=self.url, administrator=self.administrator, code=code, words=words)

    def unreachable(self, cause: BaseException | None = None) -> KeycloakUnreachable:
        if isinstance(cause, requests.exceptions.SSLError):
            return KeycloakUnreachable("hosted-unverified", url=self.url, ca=self.ca)
        asked = cause.request if isinstance(cause, requests.RequestException) else None
        reason = f"{why_failed(cause)}, from {asked.url}" if cause and asked else ""
        return KeycloakUnreachable("hosted-unreachable", url=self.url, reason=reason)


def _version(admin: KeycloakAdmin) -> Finding:
    version = str(((_read(admin, "admin/serverinfo") or {}).get("systemInfo") or {}).get("version") or "")
    if not version:
        return Finding(True, "it does not tell this administrator its version; the labs are made for Keycloak 26")
    major = re.match(r"\d+", version)  # "nightly" has none
    if major and int(major[0]) < _OLDEST:
        return Finding.of(problem("hosted-too-old", version=version, oldest=_OLDEST))
    return Finding(True, f"it is Keycloak {version}")


def _manageable(found: list[dict[str, Any]]) -> bool:
    return any(item.get("access", {}).get("manage") for item in found)


def _read(admin: KeycloakAdmin, path: str, **query: str) -> Any:
    """What a GET to the admin API gives; None when it refuses."""
    try:
        answer = admin.connection.raw_get(path, **query)
    except KeycloakError as error:
        raise failure(path, error) from None
    return answer.json() if answer.ok else None
