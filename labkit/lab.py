"""Lab: what a notebook holds. It composes the rooms and owns no logic of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .cluster.access import AccessMatrix, matrix
from .cluster.api import Api, Identity
from .cluster.cluster import Cluster
from .cluster.kind.checks import look
from .cluster.kind.lesson import KindFiles, kind_files
from .cluster.kind.node_image import NodeImage, pass_over
from .cluster.kubeconfig import exec_context
from .cluster.kubectl import KubectlAnswer
from .cluster.local import SERVERS
from .common.display import Findings, Table
from .common.environment import ask_loopback_directly
from .common.errors import ClusterError
from .common.platform_folder import find
from .config.settings import Settings
from .config.state_folder import StateFolder
from .identity.credential import exec_credential
from .identity.credential_cache import CredentialCache
from .identity.keycloak import Keycloak
from .identity.local import LocalKeycloak
from .identity.own_secrets import Given, Secrets, secrets_of, with_own_secrets
from .identity.session import Claims, Session, key_id, sign_in
from .kratix.kratix import Kratix
from .portal.server import Portal
from .servers import machine
from .servers.certificates import Certificates
from .servers.processes import Processes
from .toolchain import PROGRAMS, Toolchain
from .workshop.workshop import Workshop

if TYPE_CHECKING:
    from .identity.realm import Realm
    from .identity.terraform import Terraform

NEEDED_PROGRAMS = tuple(name for name in PROGRAMS if name not in {"go", "kind", "pages", *SERVERS})
"""The programs that the labs run wherever the cluster comes from, the portal's packages being one.

Go is only fetched when one of them has to be built; the portal's pages are for people with a browser.
"""


@dataclass(frozen=True)
class Person:
    """A signed-in user: a session, joined with kubectl and the API server.

    Attributes:
        session: The tokens and their claims.
        context: The person's context in the lab's kubeconfig; kubectl renews the tokens in there by itself.
    """

    session: Session
    context: str
    _cluster: Cluster

    def __repr__(self) -> str:
        return repr(self.session)

    @property
    def username(self) -> str:
        """The name that they sign in with at Keycloak; the API server may know them by another."""
        return self.session.username

    @property
    def claims(self) -> Claims:
        """The ID token's claims, decoded and verified."""
        return self.session.claims

    @property
    def api(self) -> Api:
        """The API server as this person sees it."""
        return self._cluster.api(self.session)

    def whoami(self) -> Identity:
        """Who the API server takes this person for; waits while a new API server still learns the realm's keys."""
        return self.api.wait_until_known()

    def kubectl(self, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run kubectl as this person; see `labkit.cluster.kubectl.Kubectl.run` for what is raised."""
        return self._cluster.kubectl(self.context, *args, stdin=stdin)


class Lab:
    """The running environment: every notebook, shell and test with the same home sees the same one.

    Attributes:
        settings: Where it runs.
        secrets: Whether people's passwords and clients' secrets are the published ones or this home's own.
        workshop: What it is to be, as declared, with these secrets.
        toolchain: The programs.
        processes: The servers.
        keycloak: The Keycloak server: the lab's own, or a hosted one.
        cluster: The Kubernetes cluster.
        portal: The portal.
        kratix: Kratix, in that cluster.
        credentials: The tokens that ``labkit credential`` keeps.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.secrets, self.workshop = _workshop(settings)
        self.toolchain = Toolchain(settings.cache)
        self.processes = Processes(settings)
        certificates = Certificates(settings.state.tls)
        self.keycloak: Keycloak
        if settings.hosted:
            from .identity.hosted import HostedKeycloak

            self.keycloak = HostedKeycloak(settings.hosted, self.workshop)
        else:
            self.keycloak = LocalKeycloak(settings, self.workshop, self.processes, certificates, self.toolchain)
        self.cluster = Cluster(settings, self.workshop, self.processes, certificates, self.toolchain, self.keycloak)
        self.portal = Portal(settings, self.workshop, self.processes, self.toolchain, self.keycloak, lambda: self.cluster.endpoint)
        self.credentials = CredentialCache(settings)
        self.kratix = Kratix(settings, self.workshop, self.processes, certificates, self.toolchain, self.cluster)

    @classmethod
    def open(cls) -> Lab:
        """The lab of this checkout, or of the home that LABKIT_HOME names; this process asks its servers past any proxy from then on.

        Raises:
            SettingsError: The home can't be used.
            WorkshopError: A platform file holds a mistake.
        """
        ask_loopback_directly()
        return cls(Settings.load())

    @cached_property
    def realm(self) -> Realm:
        """The realm's plan and apply."""
        from .identity.realm import Realm

        given = None if self.settings.hosted else Given(self.settings.state.secrets_note(self.workshop.realm.name), self.secrets)
        return Realm(self.keycloak.admin, self.workshop, given)

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that this lab runs."""
        spared = LocalKeycloak.programs if self.settings.hosted else ()
        return tuple(name for name in (*NEEDED_PROGRAMS, *self.cluster.provider.programs) if name not in spared)

    def machine(self) -> machine.Machine:
        """What this machine has."""
        return machine.look(self.settings.home, self.settings.cache)

    def setup(self, offline_bundle: Path | None = None, *, ui: bool = False) -> None:
        """Find, fetch or build every program that the labs run, and look whether the cluster can be started.

        Args:
            offline_bundle: A file with the programs to start from; if there is none, it is written at the end. Where the cluster is in
                KinD, the image of its nodes goes along.
            ui: Whether the portal's pages are to be had too; without them it has its API only.

        Raises:
            ToolchainError: One can't be had, or the bundle can't be read or written.
            ClusterError: Docker can't save or load the image, or something of this machine's stands in a cluster's way.
        """
        node_image = NodeImage.of(self.settings) if "kind" in self.programs else None
        there = offline_bundle is not None and offline_bundle.exists()
        if offline_bundle is not None and there:
            self.toolchain.unpack(offline_bundle, node_image.load if node_image else pass_over)
        wanted = (*self.programs, "pages") if ui else self.programs
        self.toolchain.ensure(*wanted)
        if offline_bundle is not None and not there:
            self.toolchain.pack(offline_bundle, *wanted, image=node_image.save if node_image else None)
        self.cluster.prepare()

    def up(self) -> None:
        """Everything that the labs start: Keycloak with the realm, the cluster that trusts it, the RBAC objects, the portal.

        Two at once wait for each other, and so does `down`.
        """
        # Before the lock: where one has to be built, it takes longer than anybody waits for a lock.
        self.setup()
        with self.processes.lock():
            self.start_chain()
            self.portal.start()

    def start_chain(self) -> None:
        """All of `up` but the portal."""
        with self.processes.lock():
            self.keycloak.start()
            self.realm.apply()
            self.cluster.start()
            self.cluster.rbac.apply()

    def down(self) -> list[str]:
        """Stop this home's servers, the last started first, those of its practice lab before; their data stays.

        A KinD cluster of this home is deleted, and what the labs made in a cluster that others use is taken away.

        Returns:
            The names of those that ran.

        Raises:
            ClusterError: The cluster's part can't be done; the servers are stopped all the same.
        """
        stopped = [_in_practice(name) for inner in self._inner() for name in inner.down()]
        with self.processes.lock():
            stopped += [name for name in reversed(self.processes.names()) if self.processes.stop(name)]
            try:
                return stopped + self.cluster.leave()
            except ClusterError as error:
                why = f"{error.why}\nstopped all the same: {', '.join(stopped) or 'nothing else ran'}"
                raise ClusterError(error.what, why=why, fix=error.fix) from None

    def sign_in(self, username: str) -> Person:
        """Sign a user of the workshop in through the client that the cluster trusts, and write their kubectl context; see `session`."""
        session = self.session(username)
        kept = self.credentials.kept(username)
        if kept and key_id(kept["id_token"]) != key_id(session.tokens.id_token):
            # The realm has other keys now: what `labkit credential` would hand over may be signed by one that is gone.
            self.credentials.forget(username)
        return Person(session, self.cluster.enter(session), self.cluster)

    def session(self, username: str, client_id: str = "") -> Session:
        """Sign a user of the workshop in, and leave no trace on this machine.

        Args:
            username: As in realm.yaml.
            client_id: Through which client; the one that the cluster trusts unless another is named.

        Raises:
            WorkshopError: There is no such user or client.
            KeycloakUnreachable: Nothing answers.
            SignInRefused: Keycloak says no.
        """
        client = self.workshop.client(client_id or self.workshop.cluster.oidc.client_id)
        return sign_in(self.keycloak, client, self.workshop.user(username))

    def credential(self, username: str) -> str:
        """An ExecCredential for kubectl, as JSON; see `labkit.identity.credential`."""
        client = self.workshop.client(self.workshop.cluster.oidc.client_id)
        return exec_credential(self.keycloak, client, self.workshop.user(username), self.credentials)

    def terraform(self) -> Terraform:
        """The realm as a configuration for Terraform, in place of its plan and apply."""
        from .identity.terraform import Terraform

        return Terraform(find("keycloak.tf", self.settings.workshop_folder), self.workshop.realm, self.keycloak)

    def kind_files(self) -> KindFiles:
        """What this lab's cluster would be made from in KinD, wherever it comes from now."""
        return kind_files(self.cluster.trust, self.settings)

    def kind_checks(self) -> Findings:
        """Whether this machine can make a KinD cluster, and how to go on with one, or what is missing for it."""
        kind = self.toolchain.find("kind")
        return look(self.settings, self.keycloak.issuer, kind.path if kind else None)

    def people_on_disk(self) -> list[str]:
        """Where people's tokens lie on this machine: contexts of the kubeconfig by name, kept credentials by file name."""
        names = [user.username for user in self.workshop.realm.users]
        known = {context for name in names for context in (name, exec_context(name))}
        contexts = [context for context in self.cluster.kubeconfig.contexts() if context in known]
        inner = [_in_practice(name) for inner in self._inner() for name in inner.people_on_disk()]
        return contexts + [file.name for file in self.credentials.files()] + inner

    def forget_people(self) -> list[str]:
        """Remove what `people_on_disk` names, and return it."""
        found = self.people_on_disk()
        self.cluster.kubeconfig.remove(*found)
        self.credentials.forget()
        for inner in self._inner():
            inner.forget_people()
        return found

    def _inner(self) -> list[Lab]:
        """The practice lab within this home, once there is one."""
        there = StateFolder(self.settings.state.practice).facts.exists()
        return [Lab(self.practice_settings)] if there else []

    @property
    def practice_settings(self) -> Settings:
        """The settings of the practice lab within this home, whose secrets are of the same kind; the home is made when it is asked for."""
        return replace(self.settings, secrets=self.secrets).within(self.settings.state.practice)

    def access_matrix(self) -> AccessMatrix:
        """Who can do what, as the API server says, beside what the workshop expects of each."""
        people = {username: self.cluster.api(self.session(username)) for username in self.workshop.access.expected}
        return matrix(people, self.workshop.access)

    def status(self) -> Table:
        """This home's servers: which run, as which process, where they answer and where they log; of the practice lab's those that run."""
        keycloak = ("keycloak", "hosted", "", self.keycloak.url, "")
        rows = [
            keycloak if self.settings.hosted else self.processes.row("keycloak", self.keycloak.url),
            *self.cluster.provider.rows(),
            self.processes.row("portal", self.portal.url),
            *self.kratix.rows(),
            *((_in_practice(row[0]), *row[1:]) for inner in self._inner() for row in inner.status().rows if row[1] == "runs"),
        ]
        return Table(("server", "state", "pid", "address", "log"), tuple(rows), title=f"home {self.settings.home}")


def _in_practice(name: str) -> str:
    return f"practice: {name}"


def _workshop(settings: Settings) -> tuple[Secrets, Workshop]:
    """The workshop as declared; in a hosted Keycloak with the realm that is named there, and with secrets of the home's own where due."""
    workshop, place = Workshop.load(settings.workshop_folder, portal_url=settings.url("portal", "http")), "local"
    if settings.hosted:
        realm, place = settings.hosted.realm or workshop.realm.name, settings.hosted.url
        workshop = replace(workshop, realm=workshop.realm.with_values({("realm",): realm}))
    realm = workshop.realm.name
    secrets = secrets_of(settings, settings.state.secrets_note(realm))
    if secrets == "demo":
        return secrets, workshop
    own = with_own_secrets(workshop, settings.state.own_secrets, f"{place}/realms/{realm}", settings.url("portal", "http"))
    return secrets, own
