"""A Keycloak as the labs use it, whoever runs it: its address, its issuer, what it is asked, who administers it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import requests

from ..common.display import Displayed, Finding
from ..common.errors import IdentityError, KeycloakUnreachable, why_failed
from ..common.exchanges import Exchange
from ..common.http_session import HttpSession
from ..common.problems import recognised

if TYPE_CHECKING:
    from keycloak import KeycloakAdmin
    from keycloak.exceptions import KeycloakError

_LOOK_SECONDS, _CHANGE_SECONDS = 30, 90
"""Passwords are hashed for what is posted: with many people at once, each waits for the others."""


@dataclass(frozen=True)
class Administrator:
    """Who administers the realm: a user, or a client with a service account.

    Attributes:
        realm: The realm that they are in.
        user: The user's name; empty for a client.
        client: The client that they sign in through; every realm of Keycloak has this one.
    """

    realm: str
    user: str = ""
    client: str = "admin-cli"

    @property
    def username(self) -> str:
        """The name of the account: the user's, or that of the client's service account."""
        return self.user or f"service-account-{self.client}"

    def __str__(self) -> str:
        return f"{f'user {self.user}' if self.user else f'client {self.client}'} of the realm {self.realm}"


class Keycloak(ABC):
    """A Keycloak, somebody else's unless a subclass says otherwise.

    Attributes:
        url: Its base URL, such as ``https://localhost:8443``.
        realm_url: The realm's address.
        administrator: Who administers the realm.
    """

    def __init__(self, url: str, realm: str, administrator: Administrator) -> None:
        self.url, self.realm_url, self.administrator = url, f"{url}/realms/{realm}", administrator

    @property
    @abstractmethod
    def ca(self) -> Path:
        """The certificate authorities that clients verify it with."""

    @cached_property
    def issuer(self) -> str:
        """The realm's issuer, as its discovery document names it, byte for byte; raises as `discovery`."""
        return str(self.discovery()["issuer"])

    @abstractmethod
    def start(self) -> Displayed:
        """See to it that it is up and fit for the labs; returns what there is to tell about it."""

    def starting(self) -> object:
        """Do what `start` does, as a step of `together`."""
        return self.start()

    def stop(self) -> bool:
        """Stop it if it is the lab's own; returns whether anything ran."""
        return False

    def erase(self) -> None:
        """Stop it and remove all that is in it; see `require_own`."""
        self.require_own()

    def require_own(self) -> None:
        """Insist that it is the lab's own, before anything in it is deleted.

        Raises:
            IdentityError: It is somebody else's.
        """
        raise IdentityError("keycloak-not-own", url=self.url, realm=self.realm_url)

    def is_running(self) -> bool:
        try:
            return bool(self.get(self.realm_url).status_code < requests.codes.server_error)
        except KeycloakUnreachable:
            return False

    @abstractmethod
    def findings(self) -> Iterator[Finding]:
        """What there is to see of it before the realm is applied; only reads."""

    def exchanges(self) -> list[Exchange]:
        """What the portal and the API server have asked of it; nothing where its access log is not the lab's to read."""
        return []

    @abstractmethod
    def unreachable(self, cause: BaseException | None = None) -> KeycloakUnreachable:
        """The error for no answer, after what the client ran into."""

    @abstractmethod
    def _secret(self) -> str:
        """The administrator's password, or the secret of their client."""

    @abstractmethod
    def _refused(self, code: int, words: str) -> IdentityError:
        """The error for an administrator that it does not let in."""

    def admin(self) -> KeycloakAdmin:
        """A client of the admin API, signed in as the administrator, in their realm; threads may share it.

        Raises:
            KeycloakUnreachable: Nothing answers.
            IdentityError: The administrator is not let in.
        """
        # Imported on use: it takes longer than the rest of `labkit status`.
        from keycloak import KeycloakAdmin
        from keycloak.exceptions import KeycloakError

        who = self.administrator
        try:
            admin = KeycloakAdmin(
                # Without the slash a path such as /auth would be cut off.
                server_url=f"{self.url}/",
                client_id=who.client,
                username=who.user or None,
                password=self._secret() if who.user else None,
                client_secret_key=None if who.user else self._secret(),
                realm_name=who.realm,
                user_realm_name=who.realm,
                verify=str(self.ca),
                timeout=_CHANGE_SECONDS,
                # python-keycloak repeats even a POST that took too long, and the repetition then collides with the first.
                max_retries=0,
            )
            for connection in (admin.connection, admin.connection.keycloak_openid.connection):
                session = self._new_session()
                # They know how often to try again.
                session.adapters = connection._s.adapters
                connection._s = session
            admin.connection.get_token()
            renew, renewing = admin.connection._refresh_if_required, Lock()

            def renew_once() -> None:
                with renewing:
                    renew()

            admin.connection._refresh_if_required = renew_once  # type: ignore[method-assign]
        except KeycloakError as error:
            if error.response_code:
                raise self._refused(error.response_code, words_of(error)) from None
            raise self.unreachable(error.__cause__) from None
        return admin

    def discovery(self) -> dict[str, Any]:
        """The realm's discovery document (OpenID Connect Discovery 1.0, section 4).

        Raises:
            KeycloakUnreachable: Nothing answers.
            IdentityError: The realm is not there, or it names an issuer that won't do.
        """
        answer = self.get(f"{self.realm_url}/.well-known/openid-configuration")
        if answer.status_code != requests.codes.ok:
            raise IdentityError("no-such-realm", url=self.realm_url, code=answer.status_code)
        return dict(answer.json())

    def key_ids(self) -> list[str]:
        """The sorted ids of the keys that the realm signs with, or has signed with and still vouches for; raises as `discovery`."""
        return sorted(str(key["kid"]) for key in self.get(self.discovery()["jwks_uri"]).json()["keys"])

    def get(self, url: str) -> requests.Response:
        """GET a URL of this Keycloak, verified with its CA.

        Raises:
            KeycloakUnreachable: Nothing answers.
        """
        return self._send("GET", url)

    def post(self, url: str, fields: Mapping[str, str]) -> requests.Response:
        """POST a form to a URL of this Keycloak; see `get`."""
        return self._send("POST", url, fields)

    @cached_property
    def _session(self) -> HttpSession:
        """The one of all requests: a new connection costs Keycloak about as much as an answer."""
        return self._new_session()

    def _new_session(self) -> HttpSession:
        """A session that threads may share: cookies are all that one of requests changes while it is used."""
        session = HttpSession(self.ca)
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        return session

    def _send(self, method: str, url: str, fields: Mapping[str, str] | None = None) -> requests.Response:
        try:
            # Not sent on to wherever it says: what is posted are passwords.
            ca = str(self.ca) if self.ca else None
            seconds = _CHANGE_SECONDS if fields else _LOOK_SECONDS
            return self._session.request(method, url, data=fields, timeout=seconds, allow_redirects=False, verify=ca)
        except requests.RequestException as error:
            raise self.unreachable(error) from None


def words_of(error: KeycloakError) -> str:
    """Keycloak's own words for an error, and nothing else: the error carries the whole answer, and with it what was sent."""
    try:
        answer = dict(json.loads(error.response_body or b""))
    except (TypeError, ValueError):
        answer = {}
    # Of what a user profile forbids, each field is named: in a list of its own if there are several.
    return "; ".join(map(_one_of_its_words, answer.get("errors") or [answer]))


def _one_of_its_words(answer: Mapping[str, Any]) -> str:
    words = (answer.get(name) for name in ("errorMessage", "error_description", "error"))
    reason, field = str(next(filter(None, words), "no reason given")), answer.get("field")
    limits = ", ".join(str(value) for value in answer.get("params") or () if isinstance(value, int))
    return (f"{field}: " if field else "") + reason + (f" ({limits})" if limits else "")


def failure(what: str, error: KeycloakError) -> IdentityError:
    """The error to raise, unchained, for one of python-keycloak's that came while something was worked on."""
    code, cause = error.response_code, error.__cause__
    if code is None:
        if isinstance(cause, requests.exceptions.SSLError):
            return KeycloakUnreachable("admin-call-unverified", place=what)
        return KeycloakUnreachable("admin-call-unreachable", place=what, state=why_failed(cause) if cause else "")
    return IdentityError(recognised("admin-call", str(code)), place=what, code=code, words=words_of(error))
