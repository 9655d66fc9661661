"""The Keycloak server of one home: over HTTPS, on loopback, with its own database."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakError

from ..certificates import Certificates
from ..errors import ForeignIssuer, IdentityError, KeycloakUnreachable
from ..processes import Processes, Running, Server
from ..settings import Settings, write_private
from ..toolchain import Toolchain
from ..workshop import Workshop

_ADMIN = "admin"
_TIMEOUT_SECONDS = 15
_ADMIN_SECONDS = 90


class Keycloak:
    """Keycloak, started from the shared cache into the home.

    Attributes:
        url: Its base URL, such as ``https://localhost:8443``.
        issuer: The realm's issuer, which every token of it names in ``iss``.
        ca: The certificate authority that clients verify it with.
    """

    name = "keycloak"

    def __init__(self, settings: Settings, workshop: Workshop, processes: Processes, certificates: Certificates, tools: Toolchain) -> None:
        self._settings, self._processes, self._tools, self._certificates = settings, processes, tools, certificates
        self._folder = settings.home / "keycloak"
        self.url = settings.url("keycloak")
        self.issuer = f"{self.url}/realms/{workshop.realm.name}"
        self.ca = certificates.authority("servers")

    def start(self) -> Running:
        """Start it, or take over the one that runs.

        Raises:
            ToolchainError: Keycloak or Java can't be had.
            ServerError: It did not come up.
        """
        programs = self._tools.ensure("java", "keycloak")
        with self._processes.lock():
            self._begin_anew_if_cut_short()
            self._lay_out(programs["keycloak"].path)
            pair = self._certificates.server("keycloak")
            server = Server(
                name=self.name,
                argv=(
                    str(self._folder / "bin" / "kc.sh"),
                    "start",
                    "--optimized",
                    # One node: without this it opens cluster ports on every interface.
                    "--cache=local",
                    f"--hostname={self.url}",
                    "--http-enabled=false",
                    "--http-host=127.0.0.1",
                    f"--https-port={self._settings.ports['keycloak']}",
                    f"--https-certificate-file={pair.certificate}",
                    f"--https-certificate-key-file={pair.key}",
                ),
                env={
                    "JAVA_HOME": str(programs["java"].path.parent.parent),
                    # A lab is used for minutes: compiling less halves the time to start.
                    "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
                    # Read by Keycloak at its very first start, ignored afterwards.
                    "KC_BOOTSTRAP_ADMIN_USERNAME": _ADMIN,
                    "KC_BOOTSTRAP_ADMIN_PASSWORD": self._admin_password(),
                },
                without=("KC_", "JAVA_"),
                ports=("keycloak",),
                ready=self._answers,
                ready_seconds=180,
                inputs=(pair.certificate,),
            )
            running = self._processes.start(server)
            self._first_start.unlink(missing_ok=True)
            return running

    def stop(self) -> bool:
        """Stop it; its database stays. Returns whether it ran."""
        return self._processes.stop(self.name)

    def is_running(self) -> bool:
        """Whether this home's Keycloak runs."""
        return self._processes.running(self.name) is not None

    def admin(self) -> KeycloakAdmin:
        """A client of the admin API, signed in as the administrator that Keycloak was first started with.

        Raises:
            KeycloakUnreachable: It does not run.
            IdentityError: The administrator's password was changed.
        """
        try:
            admin = KeycloakAdmin(
                server_url=self.url,
                username=_ADMIN,
                password=self._admin_password(),
                realm_name="master",
                user_realm_name="master",
                verify=str(self.ca),
                timeout=_ADMIN_SECONDS,
                # python-keycloak repeats even a POST that took too long, and the repetition then collides with the first.
                max_retries=0,
            )
            admin.connection.get_token()
        except KeycloakError as error:
            if error.response_code:
                msg = f"Keycloak at {self.url} does not accept the lab's administrator"
                fix = f"if its password was changed by hand, set it back to what {self._password_file} holds"
                raise IdentityError(msg, why=f"it answered {error.response_code}", fix=fix) from None
            raise self.unreachable(error.__cause__) from None
        # The administrator is what it makes last; and from now on there is something to lose.
        self._first_start.unlink(missing_ok=True)
        return admin

    def discovery(self) -> dict[str, Any]:
        """The realm's discovery document (OpenID Connect Discovery 1.0, section 4).

        Raises:
            KeycloakUnreachable: Nothing answers.
            IdentityError: The realm is not there.
            ForeignIssuer: It names another issuer than the one it was asked as, which section 4.3 forbids.
        """
        answer = self.get(f"{self.issuer}/.well-known/openid-configuration")
        if answer.status_code != requests.codes.ok:
            msg = f"there is no realm at {self.issuer}"
            raise IdentityError(
                msg, why=f"its discovery document answers {answer.status_code}", fix="apply the realm plan: lab 01-keycloak"
            )
        found = dict(answer.json())
        if found["issuer"] != self.issuer:
            msg = f"the realm names another issuer than the lab's: {found['issuer']}"
            why = f"its tokens would name that one too, and whoever trusts {self.issuer} would refuse them"
            raise ForeignIssuer(msg, why=why, fix="clear the realm's Frontend URL in Keycloak's console: Realm settings, General")
        return found

    def get(self, url: str) -> requests.Response:
        """GET a URL of this Keycloak, verified with the lab's CA.

        Raises:
            KeycloakUnreachable: Nothing answers.
        """
        return self._send("GET", url)

    def post(self, url: str, fields: Mapping[str, str]) -> requests.Response:
        """POST a form to a URL of this Keycloak; see `get`."""
        return self._send("POST", url, fields)

    def _send(self, method: str, url: str, fields: Mapping[str, str] | None = None) -> requests.Response:
        try:
            return requests.request(method, url, data=fields, verify=str(self.ca), timeout=_TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise self.unreachable(error) from None

    def unreachable(self, cause: BaseException | None = None) -> KeycloakUnreachable:
        """The error for a Keycloak that gives no answer; see the function `unreachable`."""
        state = "it runs, but does not answer yet" if self.is_running() else "it is not running"
        return unreachable(f"nothing answers at {self.url}", cause, state)

    @property
    def _first_start(self) -> Path:
        """There from before the database is made until it is whole."""
        return self._folder / "first-start"

    @property
    def _password_file(self) -> Path:
        return self._settings.home / "secrets" / "keycloak-admin"

    def _admin_password(self) -> str:
        if not self._password_file.exists():
            write_private(self._password_file, secrets.token_urlsafe(24))
        return self._password_file.read_text()

    def _answers(self) -> bool:
        return self.get(f"{self.url}/realms/master/.well-known/openid-configuration").ok

    def _begin_anew_if_cut_short(self) -> None:
        """Remove a database whose making was cut short: Keycloak makes table by table, and fails for ever at one that is there already."""
        if self.is_running():
            return
        # A Java that has lost its kc.sh would write on.
        self.stop()
        data = self._folder / "data"
        if self._first_start.exists() and data.exists():
            shutil.rmtree(data)
        if not (data / "h2").exists():
            write_private(self._first_start, "")

    def _lay_out(self, distribution: Path) -> None:
        """Give the home a Keycloak folder: what it only reads is linked to the cache, what it writes is its own."""
        for folder in ("bin", "data", "conf"):
            (self._folder / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy2(distribution / "bin" / "kc.sh", self._folder / "bin" / "kc.sh")
        shutil.copytree(distribution / "conf", self._folder / "conf", dirs_exist_ok=True)
        for folder in ("lib", "providers", "themes"):
            link, target = self._folder / folder, distribution / folder
            if not link.is_symlink() or link.readlink() != target:
                link.unlink(missing_ok=True)
                link.symlink_to(target)


def unreachable(what: str, cause: BaseException | None, otherwise: str = "") -> KeycloakUnreachable:
    """The error for a Keycloak that gives no answer.

    Args:
        what: What was tried.
        cause: What the client ran into.
        otherwise: The reason when that is not a certificate that can't be verified.
    """
    if isinstance(cause, requests.exceptions.SSLError):
        fix = "labkit status says what of this lab runs there; labkit down, then labkit up, gives Keycloak a certificate of the lab's CA"
        return KeycloakUnreachable(what, why="the certificate that is shown there can't be verified with the lab's CA", fix=fix)
    return KeycloakUnreachable(what, why=otherwise, fix="start it: labkit up, or lab.keycloak.start() in a notebook")
