"""Lab: what a notebook holds. It puts the packages' parts together and owns no logic of its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .cluster.access import AccessMatrix, matrix
from .cluster.cluster import Cluster
from .cluster.kind.checks import look
from .cluster.kind.files import KindFiles
from .cluster.kind.node_image import NodeImage, pass_over
from .cluster.kubeconfig import exec_context
from .cluster.local import SERVERS
from .cluster.person import Person
from .common.display import Displayed, Findings
from .common.environment import ask_loopback_directly
from .common.errors import ClusterError
from .common.platform_folder import find
from .common.waiting import Steps, together
from .config.settings import Settings
from .config.state_folder import StateFolder
from .identity.credential import exec_credential
from .identity.credential_cache import CredentialCache
from .identity.keycloak import Keycloak
from .identity.local import LocalKeycloak
from .identity.own_secrets import Given, load_workshop
from .identity.session import Session, key_id, sign_in
from .portal.server import Portal
from .servers import machine
from .servers.certificates import Certificates
from .servers.processes import Processes
from .servers.status import LabStatus, ServerStatus, State
from .toolchain import PROGRAMS, Toolchain

if TYPE_CHECKING:
    from .identity.realm import Realm
    from .identity.terraform import Terraform
    from .kratix.kratix import Kratix

NEEDED_PROGRAMS = tuple(name for name in PROGRAMS if name not in {"go", "kind", "pages", "room-proxy", *SERVERS})
"""The programs that the labs run wherever the cluster comes from; Go is fetched when one has to be built, pages are for a browser, the
proxy for a room."""


class Lab(Displayed):
    """The running environment: every notebook, shell and test with the same state folder sees the same one.

    ``secrets`` tells whether people's passwords and clients' secrets are the published ones or this lab's own, and ``workshop`` has
    them. ``credentials`` are the tokens that ``labkit credential`` keeps.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.secrets, self.workshop = load_workshop(settings)
        self.toolchain = Toolchain(settings.cache)
        self.processes = Processes(settings)
        self._certificates = Certificates(settings.state.tls)
        self.keycloak: Keycloak
        if settings.hosted:
            from .identity.hosted import HostedKeycloak

            self.keycloak = HostedKeycloak(settings.hosted, self.workshop)
        else:
            self.keycloak = LocalKeycloak(settings, self.workshop, self.processes, self._certificates, self.toolchain)
        self.cluster = Cluster(settings, self.workshop, self.processes, self.toolchain, self.keycloak)
        self.portal = Portal(settings, self.workshop, self.processes, self.toolchain, self.keycloak, self.cluster)
        self.credentials = CredentialCache(settings)

    @classmethod
    def open(cls) -> Lab:
        """Open the lab of this checkout, or of the state folder that LABKIT_HOME names, and ask its servers past any proxy."""
        ask_loopback_directly()
        return cls(Settings.open())

    @classmethod
    def load(cls) -> Lab:
        """The same to look at: a state folder that is not there is not made, and then nothing can be started; raises what `open` does."""
        ask_loopback_directly()
        return cls(Settings.load())

    @cached_property
    def realm(self) -> Realm:
        """The realm's plan and apply."""
        from .identity.realm import Realm

        given = None if self.settings.hosted else Given(self.settings.state.secrets_note(self.workshop.realm.name), self.secrets)
        return Realm(self.keycloak.admin, self.workshop, given)

    @cached_property
    def kratix(self) -> Kratix:
        if self.cluster.provider.servers:
            from .kratix.local import LocalKratix

            return LocalKratix(self.settings, self.workshop, self.processes, self._certificates, self.cluster)
        from .kratix.released import ReleasedKratix

        return ReleasedKratix(self.settings, self.workshop, self.cluster, self.toolchain)

    @property
    def programs(self) -> tuple[str, ...]:
        spared = LocalKeycloak.programs if self.settings.hosted else ()
        return tuple(name for name in (*NEEDED_PROGRAMS, *self.cluster.provider.programs) if name not in spared)

    def machine(self) -> machine.Machine:
        """Look at what this machine has."""
        return machine.look(self.settings.folder, self.settings.cache)

    def setup(self, offline_bundle: Path | None = None, *, ui: bool = False) -> None:
        """Find, fetch or build every program that the labs run, and look whether the cluster can be started.

        Args:
            offline_bundle: A file with the programs to start from; if there is none, it is written at the end. The checkout's Python
                packages go along, and the image of KinD's nodes where the cluster is in KinD.
            ui: Whether the portal's pages are to be had too; without them it has its API only.

        Raises:
            ToolchainError: One can't be had, or the bundle can't be read or written.
            ClusterError: Docker can't save or load the image, or something of this machine's stands in a cluster's way.
        """
        node_image = NodeImage.of(self.settings) if "kind" in self.programs else None
        to_write = None if offline_bundle is None or offline_bundle.exists() else offline_bundle
        if offline_bundle and not to_write:
            self.toolchain.unpack(offline_bundle, node_image.load if node_image else pass_over)
        # Who packs programs for others may well have them in a room.
        wanted = (*self.programs, *(["pages"] if ui else []), *(["room-proxy"] if to_write else []))
        self.toolchain.ensure(*wanted)
        if to_write:
            lock = self.settings.root / "requirements.lock"
            self.toolchain.pack(to_write, *wanted, lock=lock, image=node_image.save if node_image else None)
        self.cluster.prepare()

    def up(self) -> None:
        """Start all that the labs start: Keycloak with the realm, the cluster that trusts it, the RBAC objects, the portal.

        Two at once wait for each other, and so does `down`.
        """
        # First: nothing is started for a portal whose files say something else than the workshop's.
        self.portal.require_agreement()
        # Before the lock: where one has to be built, it takes longer than anybody waits for a lock.
        self.setup()
        # All that its files say is known before anything runs, where both are this lab's own.
        at_once = not self.settings.hosted and self.cluster.provider.servers
        self.start_chain({"portal": (() if at_once else ("cluster",), self.portal.starting)})

    def start_chain(self, more: Steps | None = None) -> None:
        """Do all of `up` but the portal, and what more there is to do."""
        with self.processes.lock():
            together(
                {
                    "keycloak": ((), self.keycloak.starting),
                    **self.cluster.steps(),
                    **(more or {}),
                    # What it imports takes a second.
                    "client": ((), lambda: self.realm),
                    "realm": (("keycloak", "client"), self._applying),
                    "rbac": (("cluster",), self.cluster.rbac.apply),
                }
            )

    def _applying(self) -> Iterator[None]:
        """Apply the realm; closed before it has ended, this waits for it."""
        with ThreadPoolExecutor(1) as pool:
            applied = pool.submit(self.realm.apply)
            while not applied.done():
                yield
        applied.result()

    def down(self) -> list[str]:
        """Stop this lab's servers, the last started first, those of its practice lab before, and name those that ran; their data stays.

        This lab's KinD cluster is deleted, and what the labs made in a cluster that others use is taken away.

        Raises:
            ClusterError: The cluster's part can't be done; the servers are stopped all the same.
        """
        if not self.settings.folder_id:
            return []
        stopped = [f"practice: {name}" for inner in self._inner() for name in inner.down()]
        with self.processes.lock():
            stopped += self.processes.stop_all()
            try:
                stopped += self.cluster.leave()
            except ClusterError as error:
                why = f"{error.why}\nstopped all the same: {', '.join(stopped) or 'nothing else ran'}"
                raise ClusterError(replace(error.problem, why=why)) from None
            return stopped

    def sign_in(self, username: str) -> Person:
        """Sign a user of the workshop in through the client that the cluster trusts, and write their kubectl context."""
        session = self.session(username)
        kept = self.credentials.kept(username)
        if kept and key_id(kept["id_token"]) != key_id(session.tokens.id_token):
            # The realm has other keys now: what `labkit credential` would hand over may be signed by one that is gone.
            self.credentials.forget(username)
        return Person(session, self.cluster.enter(session), self.cluster)

    def session(self, username: str, client_id: str = "") -> Session:
        """Sign a user of the workshop in, through the client that the cluster trusts unless another is named, and leave no trace here.

        Raises:
            WorkshopError: There is no such user or client.
            KeycloakUnreachable: Nothing answers.
            SignInRefused: Keycloak says no.
        """
        client = self.workshop.client(client_id) if client_id else self.workshop.api_client
        return sign_in(self.keycloak, client, self.workshop.user(username))

    def credential(self, username: str) -> str:
        """Give kubectl an ExecCredential, as JSON; see `labkit.identity.credential`."""
        return exec_credential(self.keycloak, self.workshop.api_client, self.workshop.user(username), self.credentials)

    def terraform(self) -> Terraform:
        """Give the realm as a configuration for Terraform, in place of its plan and apply."""
        from .identity.terraform import Terraform

        return Terraform(find("keycloak.tf", self.settings.workshop_folder), self.workshop.realm, self.keycloak)

    def kind_files(self) -> KindFiles:
        """What this lab's cluster would be made from in KinD, wherever it comes from now."""
        return KindFiles(self.cluster.trust, self.settings)

    def kind_checks(self) -> Findings:
        """Look whether this machine can make a KinD cluster, and say how to go on with one, or what is missing for it."""
        kind = self.toolchain.find("kind")
        return look(self.settings, self.keycloak.issuer, kind.path if kind else None)

    def people_on_disk(self) -> list[str]:
        """Name where people's tokens lie on this machine: contexts of the kubeconfig, and files of kept credentials."""
        known = {context for user in self.workshop.realm.users for context in (user.username, exec_context(user.username))}
        contexts = [context for context in self.cluster.kubeconfig.contexts() if context in known]
        inner = [f"practice: {name}" for inner in self._inner() for name in inner.people_on_disk()]
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
        """Open the practice lab within this state folder, once there is one."""
        there = StateFolder(self.settings.state.practice).facts.exists()
        return [Lab(self.practice_settings)] if there else []

    @property
    def practice_settings(self) -> Settings:
        """The settings of the practice lab within this state folder, whose secrets are of the same kind; asking makes its folder."""
        return replace(self.settings, secrets=self.secrets).within(self.settings.state.practice)

    def access_matrix(self) -> AccessMatrix:
        """Ask the API server who can do what, beside what the workshop expects of each."""
        return matrix(lambda username: self.cluster.api(self.session(username)), self.workshop.access)

    def status(self) -> LabStatus:
        """Tell how this lab's servers are: which run, as which process, where they answer and log; of the practice lab's those that run."""
        hosted = ServerStatus("keycloak", State.HOSTED, self.keycloak.url)
        servers = [
            hosted if self.settings.hosted else self.processes.status("keycloak", self.keycloak.url),
            *self.cluster.provider.statuses(),
            self.processes.status("portal", self.portal.url),
            *self.kratix.statuses(),
            *(replace(each, name=f"practice: {each.name}") for inner in self._inner() for each in inner.status().servers if each.runs),
        ]
        return LabStatus(self.settings.folder, tuple(servers))

    def __str__(self) -> str:
        what = f"realm   {self.keycloak.realm_url}\ncluster {self.cluster.provider.name}\n{self.status()}"
        return f"{what}\n\noverview(lab), or labkit check in a terminal, shows what is done"

    def __repr__(self) -> str:
        return f"<Lab {self.settings.folder}>"
