"""The Keycloak server of one home: over HTTPS, on loopback, with its own database."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.display import Finding
from ..common.errors import ForeignIssuer, IdentityError, KeycloakUnreachable
from ..common.exchanges import Exchange
from ..config.settings import Settings, write_private, writing
from ..servers.certificates import Certificates
from ..servers.processes import Processes, Running, Server
from ..toolchain import Toolchain
from ..workshop.workshop import Workshop
from . import access_log
from .keycloak import Administrator, Keycloak, unreachable

if TYPE_CHECKING:
    from keycloak import KeycloakAdmin

_ADMIN = "admin"


class LocalKeycloak(Keycloak):
    """Keycloak, started from the shared cache into the home."""

    programs = ("java", "keycloak")
    """What it needs on this machine."""

    def __init__(self, settings: Settings, workshop: Workshop, processes: Processes, certificates: Certificates, tools: Toolchain) -> None:
        super().__init__(settings.url("keycloak"), workshop.realm.name, Administrator("master", user=_ADMIN))
        self._settings, self._processes, self._tools, self._certificates = settings, processes, tools, certificates
        self._folder, self._secret_file = settings.state.keycloak, settings.state.keycloak_admin

    @cached_property
    def ca(self) -> Path:
        """The lab's own authority, made at first use."""
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
        programs = self._tools.ensure(*self.programs)
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
                    *access_log.OPTIONS,
                ),
                env={
                    "JAVA_HOME": str(programs["java"].path.parent.parent),
                    # A lab is used for minutes: compiling less halves the time to start. Java knows no TMPDIR.
                    "JAVA_OPTS_APPEND": f"-XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.io.tmpdir='{self._settings.state.temporary}'",
                    **access_log.ENVIRONMENT,
                    # Read by Keycloak at its very first start, ignored afterwards.
                    "KC_BOOTSTRAP_ADMIN_USERNAME": _ADMIN,
                    "KC_BOOTSTRAP_ADMIN_PASSWORD": self._secret(),
                },
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

    def erase(self) -> None:
        """Stop it and remove its database."""
        with self._processes.lock():
            self.stop()
            shutil.rmtree(self._folder / "data", ignore_errors=True)

    def require_own(self) -> None:
        """Does nothing: it is."""

    def is_running(self) -> bool:
        """Whether this home's Keycloak runs."""
        return self._processes.running(self.name) is not None

    def findings(self) -> Iterator[Finding]:
        """That it runs, and that its realm master answers."""
        yield Finding(self.is_running(), f"Keycloak runs at {self.url}", "lab.keycloak.start()")
        answer = self.get(f"{self.url}/realms/master")
        yield Finding(answer.ok, f"its master realm answers {answer.status_code}, certificate verified with {self.ca.name}")

    def exchanges(self) -> list[Exchange]:
        """See `Keycloak.exchanges`."""
        return access_log.exchanges(self._folder / "data")

    def admin(self) -> KeycloakAdmin:
        """See `Keycloak.admin`."""
        admin = super().admin()
        # The administrator is what it makes last; and from now on there is something to lose.
        self._first_start.unlink(missing_ok=True)
        return admin

    def discovery(self) -> dict[str, Any]:
        """See `Keycloak.discovery`; a realm that names another issuer than the one it was asked as, which section 4.3 forbids, won't do."""
        found = super().discovery()
        if found["issuer"] != self.issuer:
            msg = f"the realm names another issuer than the lab's: {found['issuer']}"
            why = f"its tokens would name that one too, and whoever trusts {self.issuer} would refuse them"
            raise ForeignIssuer(msg, why=why, fix="clear the realm's Frontend URL in Keycloak's console: Realm settings, General")
        return found

    @property
    def _first_start(self) -> Path:
        """There from before the database is made until it is whole."""
        return self._folder / "first-start"

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

    def _secret(self) -> str:
        if not self._secret_file.exists():
            write_private(self._secret_file, secrets.token_urlsafe(24))
        return self._secret_file.read_text()

    def _refused(self, code: int, words: str) -> IdentityError:
        msg = f"Keycloak at {self.url} does not accept the lab's administrator"
        fix = f"if its password was changed by hand, set it back to what {self._secret_file} holds"
        return IdentityError(msg, why=f"it answered {code}: {words}", fix=fix)

    def unreachable(self, cause: BaseException | None = None) -> KeycloakUnreachable:
        state = "it runs, but does not answer yet" if self.is_running() else "it is not running"
        return unreachable(f"nothing answers at {self.url}", cause, state)

    def _answers(self) -> bool:
        return self.get(f"{self.url}/realms/master/.well-known/openid-configuration").ok

    def _lay_out(self, distribution: Path) -> None:
        """Give the home a Keycloak folder: what it only reads is linked to the cache, what it writes is its own."""
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
