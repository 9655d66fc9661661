"""The Keycloak server of one lab: over HTTPS, on loopback, with its own database."""

from __future__ import annotations

import re
import secrets
import shlex
import shutil
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from ..common.display import Finding
from ..common.errors import ForeignIssuer, IdentityError, KeycloakUnreachable, ToolchainError
from ..common.exchanges import Exchange
from ..common.problems import problem
from ..common.waiting import Work, finish
from ..config.files import write_private, writing
from ..config.settings import Settings
from ..servers.certificates import Certificates
from ..servers.processes import Processes, Running, Server
from ..toolchain import Toolchain
from ..toolchain.keycloak import JAVA_OPTIONS, Prepared
from ..workshop.workshop import Workshop
from .keycloak import Administrator, Keycloak

if TYPE_CHECKING:
    from keycloak import KeycloakAdmin

_NAME = "keycloak"
_ADMIN = "admin"
_ACCESS_LINE = re.compile(r"(?P<ended>\S+) (?P<ms>\d+) (?P<what>[A-Z]+ /realms/\S+) (?P<status>\d+) (?P<agent>.*)")
_CALLERS = {"openid-client": "portal", "node": "portal", "jose": "portal", "Go-http-client": "API server"}


class LocalKeycloak(Keycloak):
    """Keycloak, started from the shared cache into the state folder."""

    programs = ("java", "keycloak", "keycloak-start")
    """What it needs on this machine."""

    listens = "127.0.0.1"
    """The address that it listens on."""

    def __init__(self, settings: Settings, workshop: Workshop, processes: Processes, certificates: Certificates, tools: Toolchain) -> None:
        super().__init__(settings.url("keycloak"), workshop.realm.name, Administrator("master", user=_ADMIN))
        self._settings, self._processes, self._tools, self._certificates = settings, processes, tools, certificates
        self._folder, self._secret_file = settings.state.keycloak, settings.state.keycloak_admin
        self._data = self._folder / "data"
        self._first_start = self._folder / "first-start"
        """There from before the database is made until it is whole."""

    @cached_property
    def ca(self) -> Path:
        """The lab's own authority, made at first use.

        Raises:
            KeycloakUnreachable: Nothing was started yet, and this is to look only.
        """
        if not (self._settings.opened or self._certificates.made):
            raise self.unreachable()
        return self._certificates.authority("servers")

    @property
    def issuer(self) -> str:
        """The realm's issuer: the lab decides by which name its Keycloak is known."""
        return self.realm_url

    def start(self) -> Running:
        """Start it, or take over the one that runs.

        Raises:
            ToolchainError: Keycloak or Java can't be had.
            ServerError: It did not come up.
        """
        with self._processes.lock():
            return finish(self.starting())

    def starting(self) -> Work[Running]:
        programs = self._tools.ensure(*self.programs)
        prepared = Prepared(programs["keycloak-start"].path)
        self._begin_anew_if_cut_short(prepared)
        self._lay_out(programs["keycloak"].path)
        running = yield from self._processes.starting(self._server(programs["java"].path, prepared))
        self._first_start.unlink(missing_ok=True)
        return running

    def stop(self) -> bool:
        """Stop it; its database stays. Returns whether it ran."""
        return self._processes.stop(_NAME)

    def erase(self) -> None:
        """Stop it and remove its database."""
        with self._processes.lock():
            self.stop()
            shutil.rmtree(self._data, ignore_errors=True)

    def require_own(self) -> None:
        """Does nothing: it is."""

    def is_running(self) -> bool:
        return self._processes.running(_NAME) is not None

    def findings(self) -> Iterator[Finding]:
        """That it runs, and that its realm master answers."""
        yield Finding(self.is_running(), f"Keycloak runs at {self.url}", problem("keycloak-down").fix)
        answer = self.get(f"{self.url}/realms/master")
        yield Finding(answer.ok, f"its master realm answers {answer.status_code}, certificate verified with {self.ca.name}")

    def exchanges(self) -> list[Exchange]:
        return exchanges(self._data)

    def admin(self) -> KeycloakAdmin:
        admin = super().admin()
        # The administrator is what it makes last; and from now on there is something to lose.
        self._first_start.unlink(missing_ok=True)
        return admin

    def discovery(self) -> dict[str, Any]:
        """See `Keycloak.discovery`; a realm that names another issuer than the one it was asked as, which section 4.3 forbids, won't do."""
        found = super().discovery()
        if found["issuer"] != self.issuer:
            raise ForeignIssuer("foreign-issuer", named=found["issuer"], issuer=self.issuer)
        return found

    def unreachable(self, cause: BaseException | None = None) -> KeycloakUnreachable:
        if stranger := self._processes.stranger(_NAME, _NAME):
            return KeycloakUnreachable(stranger)
        if isinstance(cause, requests.exceptions.SSLError):
            return KeycloakUnreachable("keycloak-unverified", url=self.url)
        state = "it runs, but does not answer yet" if self.is_running() else "it is not running"
        return KeycloakUnreachable("keycloak-unreachable", url=self.url, state=state)

    def _server(self, java: Path, prepared: Prepared) -> Server:
        pair = self._certificates.server(_NAME)
        if not self._secret_file.exists():
            write_private(self._secret_file, secrets.token_urlsafe(24))
        options = (*JAVA_OPTIONS, f"-Djava.io.tmpdir={self._settings.state.temporary}")
        if prepared.classes.exists():
            program = (str(java), f"-XX:AOTCache={prepared.classes}", options[-1], *prepared.arguments(self._folder))
        else:
            program = (str(self._folder / "bin" / "kc.sh"),)
        argv = (
            *program,
            "start",
            "--optimized",
            # One node: without this it opens cluster ports on every interface.
            "--cache=local",
            *self._names(),
            "--http-enabled=false",
            f"--http-host={self.listens}",
            f"--https-port={self._settings.ports['keycloak']}",
            f"--https-certificate-file={pair.certificate}",
            f"--https-certificate-key-file={pair.key}",
            "--http-access-log-enabled=true",
            # A file of its own, since the last lines of Keycloak's log are what an error shows.
            "--http-access-log-file-enabled=true",
            # %R is the path without its query, which holds codes.
            "--http-access-log-pattern=%{time,yyyy-MM-dd'T'HH:mm:ss.SSSZ} %D %m %R %s %{i,User-Agent}",
        )
        env = {
            "JAVA_HOME": str(java.parent.parent),
            "JAVA_OPTS_APPEND": shlex.join(options),
            # Without it the access log has no durations (%D).
            "QUARKUS_HTTP_RECORD_REQUEST_START_TIME": "true",
            # Read by Keycloak at its very first start, ignored afterwards.
            "KC_BOOTSTRAP_ADMIN_USERNAME": _ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self._secret(),
        }
        answers = f"{self.url}/realms/master/.well-known/openid-configuration"
        return Server(_NAME, argv, (_NAME,), lambda: self.get(answers).ok, env, ready_seconds=180, inputs=(pair.certificate,))

    def _names(self) -> tuple[str, ...]:
        """The options that say by which address it is known."""
        return (f"--hostname={self.url}",)

    def _begin_anew_if_cut_short(self, prepared: Prepared) -> None:
        """Remove a database whose making was cut short: Keycloak makes table by table, and fails for ever at one that is there already.

        A new one begins with prepared tables, and no row.
        """
        if self.is_running():
            return
        # A Java that has lost its kc.sh would write on.
        self.stop()
        if self._first_start.exists() and self._data.exists():
            shutil.rmtree(self._data)
        if (self._data / "h2").exists():
            return
        write_private(self._first_start, "")
        if tables := prepared.tables():
            (self._data / "h2").mkdir(parents=True)
            shutil.copyfile(tables, self._data / "h2" / "keycloakdb.mv.db")
        else:
            print("  ", ToolchainError("keycloak-tables-damaged", folder=prepared.folder), sep="", flush=True)

    def _secret(self) -> str:
        try:
            return self._secret_file.read_text()
        except FileNotFoundError:
            # Made at the first start.
            raise self.unreachable() from None

    def _refused(self, code: int, words: str) -> IdentityError:
        return IdentityError("administrator-not-accepted", url=self.url, code=code, words=words, file=self._secret_file)

    def _lay_out(self, distribution: Path) -> None:
        """Give the state folder a Keycloak folder: what it only reads is linked to the cache, what it writes is its own."""
        with writing(self._folder):
            for folder in ("bin", "data", "conf"):
                (self._folder / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy2(distribution / "bin" / "kc.sh", self._folder / "bin" / "kc.sh")
            for source in sorted((distribution / "conf").rglob("*")):
                # Not by copytree, whose error no longer has the system's number.
                target = self._folder / source.relative_to(distribution)
                target.mkdir(exist_ok=True) if source.is_dir() else shutil.copy2(source, target)
            for folder in ("lib", "providers", "themes"):
                link, target = self._folder / folder, distribution / folder
                if not link.is_symlink() or link.readlink() != target:
                    link.unlink(missing_ok=True)
                    link.symlink_to(target)


def exchanges(data: Path) -> list[Exchange]:
    """What the portal and the API server have asked, in the order of the answers, by the access log in Keycloak's data folder."""
    try:
        lines = (data / "log" / "keycloak-http-access.log").read_text().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in filter(None, map(_ACCESS_LINE.fullmatch, lines)):
        caller = next((who for agent, who in _CALLERS.items() if line["agent"].startswith(agent)), "")
        if caller:
            seconds = int(line["ms"]) / 1000
            began = datetime.strptime(line["ended"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp() - seconds
            found.append(Exchange(caller, "Keycloak", line["what"], line["status"], began, seconds, "Keycloak's access log"))
    return found
