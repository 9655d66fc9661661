"""A Keycloak that somebody else runs: looked at before it is used, never started or stopped."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from pathlib import Path

import requests

from ..common.display import Finding
from ..common.errors import IdentityError, KeycloakUnreachable, SettingsError
from ..config.hosting import SECRET_VARIABLE, Hosted
from ..workshop.workshop import Workshop
from .keycloak import Administrator, Keycloak
from .preflight import Preflight, look


class HostedKeycloak(Keycloak):
    """A Keycloak that is there already.

    Args:
        place: Where it is, and who administers the realm.
        workshop: What its realm is to be, with the secrets that are the home's own.
    """

    def __init__(self, place: Hosted, workshop: Workshop) -> None:
        realm = workshop.realm.name
        who = {"client": place.client} if place.client else {"user": place.user}
        super().__init__(place.url, realm, Administrator(place.admin_realm or realm, **who))
        self._place, self._workshop = place, workshop
        self._issuer = self._given_secret = ""

    @property
    def ca(self) -> Path:
        """The authorities that LABKIT_KEYCLOAK_CA names, or the public ones."""
        return self._place.ca

    @property
    def issuer(self) -> str:
        """The realm's issuer, as its discovery document names it, byte for byte; asked once.

        Raises:
            KeycloakUnreachable: Nothing answers.
            IdentityError: The realm is not there.
        """
        self._issuer = self._issuer or str(self.discovery()["issuer"])
        return self._issuer

    def start(self) -> Preflight:
        """Look whether it can carry the workshop; nothing is started or changed.

        Raises:
            IdentityError: It can't; each thing that is missing is named.
        """
        found = Preflight(f"the Keycloak at {self.url} can carry the workshop", tuple(self.findings()))
        if not found.ok:
            msg = f"the Keycloak at {self.url} can't carry the workshop yet"
            raise IdentityError(msg, why=found.why(), fix=found.fix())
        return found

    def stop(self) -> bool:
        """Does nothing: it is not the lab's to stop."""
        return False

    def erase(self) -> None:
        """Refuses, see `require_own`."""
        self.require_own()

    def require_own(self) -> None:
        """Refuses: nothing is deleted in a Keycloak that is somebody's."""
        msg = f"{self.url} is not this lab's own, and labkit deletes nothing there"
        raise IdentityError(msg, fix=f"have its administrator remove what the labs made in {self.realm_url}; lab 01 then makes it anew")

    def is_running(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.get(self.realm_url).status_code < requests.codes.server_error)
        except KeycloakUnreachable:
            return False

    def findings(self) -> Iterator[Finding]:
        """See `labkit.identity.preflight`."""
        return look(self, self._workshop)

    def _secret(self) -> str:
        """From the environment, the file, or the person; the last is asked once per process."""
        if not self._given_secret:
            self._given_secret = self._place.secret or self._secret_from_file() or self._secret_from_person()
        return self._given_secret

    def _secret_from_file(self) -> str:
        file = self._place.secret_file
        try:
            return file.read_text().strip() if file else ""
        except OSError as error:
            msg = f"the file {file} with the administrator's secret can't be read"
            raise SettingsError(msg, why=error.strerror or str(error), fix=f"name another in {SECRET_VARIABLE}_FILE") from None

    def _secret_from_person(self) -> str:
        what = "password" if self.administrator.user else "secret"
        try:
            # In a notebook there is no terminal; the kernel asks, if whoever runs it can answer.
            if not sys.stdin.isatty() and "ipykernel" not in sys.modules:
                raise EOFError
            return getpass.getpass(f"{what} of the {self.administrator} at {self.url}: ")
        except (EOFError, NotImplementedError):
            msg = f"the {what} of the {self.administrator} is not known, and there is nobody to ask"
            raise SettingsError(msg, fix=f"write it to a file of yours and name that in {SECRET_VARIABLE}_FILE") from None

    def _refused(self, code: int, words: str) -> IdentityError:
        if code == requests.codes.not_found:
            msg = f"there is no realm {self.administrator.realm} at {self.url}"
            fix = (
                "correct LABKIT_KEYCLOAK_REALM, or LABKIT_KEYCLOAK_URL (some end with /auth);\n"
                "to have the realm made, name an administrator of all realms: LABKIT_KEYCLOAK_ADMIN_REALM=master"
            )
        else:
            msg = f"the Keycloak at {self.url} does not let in the {self.administrator}"
            fix = f"correct {SECRET_VARIABLE}, or who signs in: LABKIT_KEYCLOAK_ADMIN or …_ADMIN_CLIENT, and LABKIT_KEYCLOAK_ADMIN_REALM"
        return IdentityError(msg, why=f"it answered {code}: {words}", fix=fix)

    def unreachable(self, cause: BaseException | None = None) -> KeycloakUnreachable:
        if isinstance(cause, requests.exceptions.SSLError):
            msg = f"the certificate that {self.url} shows can't be verified"
            fix = "name a PEM file with the CA that signed it: LABKIT_KEYCLOAK_CA; if that is the right one, somebody else answers there"
            return KeycloakUnreachable(msg, why=f"no authority in {self.ca} vouches for it", fix=fix)
        why = f"{type(cause).__name__}, from {cause.request.url}" if isinstance(cause, requests.RequestException) and cause.request else ""
        fix = "correct LABKIT_KEYCLOAK_URL, or see why this machine does not reach it (a proxy, a VPN, a firewall)"
        return KeycloakUnreachable(f"nothing answers at {self.url}", why=why, fix=fix)
