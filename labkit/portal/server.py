"""The portal's server: Backstage, run by Node from the state folder, with packages that lie in the cache."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

from ..cluster.cluster import Cluster
from ..common.environment import PORTAL, listed
from ..common.errors import PortalUnreachable
from ..common.http_session import request
from ..common.platform_folder import find, matching, text_of
from ..common.waiting import Work
from ..config.files import read_state, write_private, writing
from ..config.settings import Settings
from ..identity.keycloak import Keycloak
from ..servers.processes import Processes, Running, Server
from ..toolchain import Toolchain
from ..workshop.workshop import Workshop
from . import config
from .browser import Browser, SignedIn
from .client import PortalSession
from .token_way import TokenWay

SOURCES = Path(__file__).with_name("app")

_ANSWER_SECONDS = 5
# As much as the API server takes: a token names each group of its person, and a request has two tokens.
_HEADERS = f"--max-http-header-size={1024 * 1024}"
# Megabytes for objects that have just been made; Node's own 16 let it grow by 90 MB while it loads, and it starts no faster by them.
_YOUNG = "--max-semi-space-size=4"
_PIECE = 40


class Portal:
    """Backstage on loopback, with a database of the lab's own.

    Its ``url``, which programs ask, is plain HTTP, since it never leaves this machine.
    Its ``page`` is what a browser opens: the same, or LABKIT_PORTAL_URL where a proxy leads to it.
    Of ``app_config``, Backstage's configuration, each start takes a copy.
    """

    name = "portal"

    def __init__(
        self,
        settings: Settings,
        workshop: Workshop,
        processes: Processes,
        tools: Toolchain,
        keycloak: Keycloak,
        cluster: Cluster,
    ) -> None:
        self._settings, self._workshop, self._processes, self._tools = settings, workshop, processes, tools
        self._keycloak, self._cluster = keycloak, cluster
        self._folder = settings.state.portal
        self._templates = self._folder / "templates"
        self.app_config, self._catalog = (find(file.name, settings.workshop_folder) for file in (config.APP_CONFIG, config.CATALOG))
        self.url, self.page = settings.url("portal", "http"), settings.portal_page

    @property
    def templates(self) -> dict[str, Path]:
        """The workshop's templates by file name, for publishers to register."""
        return {file.name: file for file in matching("templates/*.yaml", self._settings.workshop_folder).values()}

    def require_agreement(self) -> None:
        """Insist that its files name what the workshop declares and a catalog takes; raises WorkshopError, with a line per problem."""
        config.require_agreement(self.app_config, self._workshop, (self._catalog, *self.templates.values()))

    def start(self) -> Running:
        """Start it, or take over the one that runs; it is ready on return.

        Raises:
            KeycloakUnreachable: Keycloak, through which people sign in, does not answer.
            IdentityError: The realm is not there.
            ToolchainError: Node or the portal's packages can't be had.
            ServerError: It did not come up.
        """
        with self._processes.lock():
            self._keycloak.discovery()
            return self._processes.start(self._server())

    def starting(self) -> Work[Running]:
        """Do what `start` does as a step of `together`, while Keycloak starts: the realm matters to whoever signs in."""
        return self._processes.starting(self._server())

    def stop(self) -> bool:
        """Stop it and say whether it ran; whoever is signed in has to sign in again, as their tokens were in its memory."""
        return self._processes.stop(self.name)

    def erase(self) -> None:
        """Stop it and remove its catalog, its tasks and the templates that were registered."""
        with self._processes.lock():
            self.stop()
            shutil.rmtree(self._folder, ignore_errors=True)

    def is_running(self) -> bool:
        """Whether this lab's portal runs."""
        return self._processes.running(self.name) is not None

    def is_ready(self) -> bool:
        """Whether it answers and all of its plugins have started."""
        return request("GET", f"{self.url}/.backstage/health/v1/readiness", timeout=_ANSWER_SECONDS).ok

    def is_as_declared(self) -> bool:
        """Whether it was last started with what workshop and settings say now."""
        return all(file.exists() and file.read_text() == text for file, text in self._configured().items())

    def sign_in(self, username: str) -> PortalSession:
        """Sign a user of the workshop in through Keycloak's form; raises what `Browser.sign_in` does, or WorkshopError for no such user."""
        user = self._workshop.user(username)
        browser = self._browser()
        return self._session(username, browser, browser.sign_in(user))

    def guest(self) -> PortalSession:
        """Enter without signing in to Keycloak; raises what `Browser.refresh` does."""
        browser = self._browser(provider="guest")
        return self._session("guest", browser, browser.refresh())

    def token_way(self) -> TokenWay:
        """How a person's token gets from Keycloak to the API server, as this portal is set up."""
        return TokenWay(self._settings.portal_keeps, self._workshop.portal_client.client_id)

    def traces_of(self, session: PortalSession) -> list[str]:
        """The files of the portal's log and database in which a person's Keycloak tokens are found, be it in pieces."""
        # By their signatures: what comes before is much alike in all of a realm's tokens.
        files = [self._processes.log_file(self.name), *sorted((self._folder / "database").iterdir())]
        signatures = [token.rpartition(".")[2].encode() for token in session.keycloak_tokens]
        pieces = [signature[i : i + _PIECE] for signature in signatures for i in range(0, len(signature) - _PIECE, _PIECE)]
        return [file.name for file in files if any(piece in _content(file) for piece in pieces)]

    def absent(self) -> PortalUnreachable | None:
        """The error for this lab's portal if it does not run, whoever answers at its address; None if it runs."""
        if self.is_running():
            return None
        stranger = self._processes.stranger(self.name, self.name)
        return PortalUnreachable(stranger or "portal-unreachable", url=self.url, state="it is not running")

    def _browser(self, **more: str) -> Browser:
        return Browser(self.page, self._keycloak, self.absent, server=self.url, **more)

    def _session(self, username: str, browser: Browser, signed_in: SignedIn) -> PortalSession:
        return PortalSession(username, browser, signed_in, self._cluster, self._templates, config.publishers(self._workshop))

    def _server(self) -> Server:
        self.require_agreement()
        programs = self._tools.ensure("node", "backstage")
        app = self._lay_out(programs["backstage"].path)
        configured = self._configured()
        for file, text in configured.items():
            write_private(file, text)
        trusted, secret = self._trusted(), self._secrets()
        return Server(
            name=self.name,
            argv=(str(programs["node"].path), _HEADERS, _YOUNG, "packages/backend", "--config", str(self._folder / self.app_config.name)),
            env={**listed(PORTAL), **self._variables(), **json.loads(secret.read_text()), "NODE_EXTRA_CA_CERTS": str(trusted)},
            cwd=app,
            ports=("portal",),
            ready=self.is_ready,
            ready_seconds=120,
            inputs=(*configured, trusted, secret, *_sources()),
        )

    def _variables(self) -> dict[str, str]:
        pages = self._tools.find("pages")
        return config.variables(self._settings, self._cluster.endpoint, self._keycloak.issuer, self._folder, pages.path if pages else None)

    def _configured(self) -> dict[Path, str]:
        """What Backstage is given, by file; copies, since Backstage would read an edited file at once, and half of it."""
        texts = {file.name: text_of(file) for file in (self.app_config, self._catalog)}
        texts |= {"people.yaml": config.people(self._workshop), "portal.env": config.env_file(self._variables())}
        return {self._folder / name: text for name, text in texts.items()}

    def _lay_out(self, packages: Path) -> Path:
        """Give the state folder a copy of the app: its sources, with the packages linked to the cache."""
        app = self._folder / "app"
        with writing(app):
            for folder in (self._folder, *(self._folder / name for name in ("database", "tasks", "templates"))):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for source in _sources():
                copy = app / source.relative_to(SOURCES)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
            # Packages of which two versions are needed lie below the package of ours that needs the other one.
            for found in (packages / "node_modules", *packages.glob("packages/*/node_modules")):
                link = app / found.relative_to(packages)
                if not link.is_symlink() or link.readlink() != found:
                    link.unlink(missing_ok=True)
                    link.symlink_to(found)
        return app

    def _trusted(self) -> Path:
        """What Node trusts besides its own list: what this machine's settings name, and the lab's authority."""
        file, told = self._settings.state.portal_trust, os.environ.get("NODE_EXTRA_CA_CERTS")
        bundles = [Path(told)] if told and Path(told).is_file() else []
        write_private(file, b"\n".join(bundle.read_bytes().strip() for bundle in (*bundles, self._keycloak.ca)) + b"\n", mode=0o644)
        return file

    def _secrets(self) -> Path:
        """The variables with the secrets, as JSON: a file too, since another secret is another portal."""
        file = self._settings.state.portal_secrets
        holds = "the key to the portal's sign-ins"
        kept = read_state(file, holds, lambda found: all(isinstance(value, str) for value in found.values())) if file.exists() else {}
        client = self._workshop.portal_client.secret.get_secret_value()
        wanted = {config.SESSION_SECRET: kept.get(config.SESSION_SECRET) or secrets.token_urlsafe(32), config.CLIENT_SECRET: client}
        if wanted != kept:
            write_private(file, json.dumps(wanted))
        return file


def _sources() -> list[Path]:
    """The app's own files, which a checkout may have a ``node_modules`` beside."""
    return sorted(p for p in SOURCES.rglob("*") if p.is_file() and not {"node_modules", "test"} & set(p.relative_to(SOURCES).parts))


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        # A database's journal comes and goes.
        return b""
