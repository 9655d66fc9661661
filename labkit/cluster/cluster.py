"""The cluster that the labs use: one provider, one kubeconfig, and what is asked through them."""

from __future__ import annotations

import json
import shutil
from functools import cached_property

from ..common.environment import EXTERNAL_KUBECTL, KUBECTL
from ..common.errors import Forbidden, Unauthorized
from ..config.settings import Settings
from ..identity.keycloak import Keycloak
from ..identity.session import Claims, Session, sign_in
from ..servers.certificates import Certificates
from ..servers.processes import Processes
from ..toolchain import Toolchain
from ..workshop.workshop import Workshop
from .api import Api, Identity
from .belongings import Belongings
from .causes import Causes
from .external import ExternalCluster
from .kind.provider import KindCluster
from .kubeconfig import Kubeconfig
from .kubectl import Kubectl, KubectlAnswer
from .local import LocalCluster
from .provider import Endpoint, Provider
from .rbac import Rbac
from .refusals import forbidden, unauthorized
from .review import Somebody
from .trust import Trust


class Cluster:
    """A cluster that trusts the realm.

    Args:
        settings: The home.
        workshop: What it is to be.
        processes: The home's servers.
        certificates: Its authorities.
        tools: The programs.
        keycloak: Who issues the tokens.

    Attributes:
        kubeconfig: The lab's kubeconfig.
    """

    def __init__(
        self,
        settings: Settings,
        workshop: Workshop,
        processes: Processes,
        certificates: Certificates,
        tools: Toolchain,
        keycloak: Keycloak,
    ) -> None:
        self._settings, self._workshop, self._keycloak = settings, workshop, keycloak
        self._processes, self._certificates, self._tools = processes, certificates, tools
        self.kubeconfig = Kubeconfig(settings.state.kubeconfig)
        names = EXTERNAL_KUBECTL if settings.cluster == "external" else KUBECTL
        self._kubectl = Kubectl(lambda: tools.ensure("kubectl")["kubectl"].path, self.kubeconfig.path, settings.state.kubectl_cache, names)

    @cached_property
    def provider(self) -> Provider:
        """How it is run."""
        match self._settings.cluster:
            case "kind":
                return KindCluster(self._settings, self._processes, self._tools, self._somebody)
            case "external":
                return ExternalCluster(self._settings, self._tools, self._somebody)
            case _:
                return LocalCluster(self._settings, self._processes, self._certificates, self._tools)

    @cached_property
    def rbac(self) -> Rbac:
        """The workshop's RBAC objects."""
        return Rbac(self._workshop.cluster, self._run, self.provider.name)

    @property
    def endpoint(self) -> Endpoint:
        """Where its API server is."""
        return self.provider.endpoint

    @property
    def trust(self) -> Trust:
        """How its API server is told to trust the realm."""
        workshop = self._workshop
        return Trust(self._keycloak.issuer, self._keycloak.ca, workshop.cluster, workshop.realm.groups, self._settings.oidc)

    def prepare(self) -> None:
        """Look whether it can be started, and fetch what that takes besides programs; nothing is started.

        Raises:
            ClusterError: It can't; what is wrong and what to do is said.
            PortInUse: A port that it needs is taken.
        """
        self.provider.prepare(self._keycloak.issuer)

    def start(self) -> Endpoint:
        """Bring it up, or take it over, and enter its administrator in the kubeconfig.

        The realm must be there before: an API server that finds no issuer tries again only every ten seconds. One that runs with an
        AuthenticationConfiguration goes on running when that has changed: one of the home's has followed when this returns, after some
        10 seconds, one in KinD follows within some 20.

        Raises:
            IdentityError: The realm is not there yet; or, for a cluster that others can reach, its people have other passwords.
            ServerError: A server did not come up.
            ClusterError: A cluster that is not local processes is not as it must be; what is wrong and who can mend it is said.
        """
        self._keycloak.discovery()
        if not self.provider.servers:
            # Not by a realm that still has the secrets that everybody knows: its clients are given new ones last.
            self._session()
        self.provider.start(self.trust)
        self.kubeconfig.write_admin(self.endpoint)
        return self.endpoint

    def stop(self) -> bool:
        """Stop it, keeping its data; returns whether anything ran."""
        return self.provider.stop()

    def erase(self) -> None:
        """Stop it and remove all that is in it; from a cluster that others use, what the labs made."""
        self.stop()
        shutil.rmtree(self._settings.state.etcd, ignore_errors=True)
        self.leave()

    def remove_objects(self) -> list[str]:
        """Remove the labs' objects; returns them by name. In a cluster that others use, all that bears the home's label."""
        if self.provider.shared:
            return self._belongings.remove() if self._is_used else []
        return self.rbac.remove().output.splitlines()

    def leave(self) -> list[str]:
        """Take away what is not a process of the home's: its KinD cluster, or what it made in somebody else's.

        Returns:
            The names of what was there.
        """
        if self._settings.state.kind.exists():
            kind = KindCluster(self._settings, self._processes, self._tools, self._somebody)
            return [kind.name] if kind.stop() else []
        return self.remove_objects() if self._is_used else []

    def left(self) -> list[str]:
        """What of the lab's objects is in a cluster that others use as well; nothing where the cluster is the lab's alone."""
        return self._belongings.left() if self._is_used else []

    def is_running(self) -> bool:
        """Whether it is up."""
        return self.provider.is_running()

    @property
    def causes(self) -> Causes:
        """What explains its API server's refusals."""
        return Causes(self.trust, [binding.group for binding in self._workshop.cluster.bindings], self.provider.server_log)

    def kubectl(self, context: str, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run kubectl in one of the kubeconfig's contexts; see `Kubectl.run` for what is raised, here with its cause."""
        try:
            return self._run(context, *args, stdin=stdin)
        except (Unauthorized, Forbidden) as error:
            token = self.kubeconfig.id_token(context)
            if not token:
                raise
            if isinstance(error, Unauthorized):
                raise unauthorized(error.what, self.causes.of_401(token)) from None
            raise forbidden(error.what, error.what, self.causes.of_403(token)) from None

    def admin_kubectl(self, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run kubectl as the cluster's administrator."""
        return self._run(self.provider.name, *args, stdin=stdin)

    def kubectl_as(self, claims: Claims, *args: str) -> KubectlAnswer:
        """Run kubectl as the administrator who poses as the bearer of a token with these claims (impersonation); see `kubectl`.

        For people who have not signed in: RBAC judges them by the claims' name and groups. Which groups of a token get as far as RBAC is
        the API server's trust to say.
        """
        who = self._identity(claims)
        return self._run(self.provider.name, *args, f"--as={who.username}", *(f"--as-group={group}" for group in who.groups))

    def may(self, claims: Claims, verb: str, resource: str, namespace: str = "") -> bool:
        """Ask, as the administrator, whether RBAC lets the bearer of a token with these claims do something (a SubjectAccessReview).

        Args:
            claims: What the token says.
            verb: ``get``, ``create``, …
            resource: The plural name, with ``.GROUP`` unless it is in the core group.
            namespace: The namespace; empty for all of them, and for what has none.
        """
        who, (plural, _, group) = self._identity(claims), resource.partition(".")
        asked = {"verb": verb, "resource": plural, "group": group, "namespace": namespace}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        review["spec"] = {"user": who.username, "groups": list(who.groups), "resourceAttributes": asked}  # type: ignore[assignment]
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        answer = self._kubectl.run(self.provider.name, "create", "--raw", path, "-f", "-", stdin=json.dumps(review))
        return bool(json.loads(answer.output)["status"]["allowed"])

    def _identity(self, claims: Claims) -> Identity:
        """The name and groups in these claims, as RBAC has them."""
        oidc = self._workshop.cluster.oidc
        return Identity(str(claims[oidc.username_claim]), (*claims.get(oidc.groups_claim, ()), "system:authenticated"))

    def api(self, session: Session) -> Api:
        """The API server as a signed-in person sees it, by ID token."""
        return Api(self.endpoint, lambda: session.tokens.id_token, self.causes)

    def who(self, token: str) -> Identity | None:
        """Who the API server takes the bearer of a token for; None when it takes them for nobody (401)."""
        try:
            return Api(self.endpoint, lambda: token, self.causes).whoami()
        except Unauthorized:
            return None

    def enter(self, session: Session) -> str:
        """Write a person's kubectl context with the tokens in it; returns the context's name, which is the user's."""
        client = self._workshop.client(session.client_id)
        return self.kubeconfig.write_person(self.endpoint, session, client, self._keycloak.issuer, self._keycloak.ca)

    def enter_exec(self, username: str) -> str:
        """Write a person's kubectl context that asks ``labkit credential`` for tokens; returns the context's name."""
        return self.kubeconfig.write_exec_person(self.endpoint, username, self._settings.variables())

    def _run(self, context: str, *args: str, stdin: str = "") -> KubectlAnswer:
        run = self._belongings.run if self.provider.shared else self._kubectl.run
        return run(context, *args, stdin=stdin)

    @property
    def _belongings(self) -> Belongings:
        return Belongings(self._kubectl, self.provider.name, self._settings.home_id)

    @property
    def _is_used(self) -> bool:
        """Whether this home has been in a cluster that others use."""
        return self._settings.cluster == "external" and self.kubeconfig.entry("contexts", self.provider.name) is not None

    def _somebody(self) -> Somebody:
        session = self._session()
        claimed = self._identity(session.claims)
        # In a hosted realm people have groups of others as well, which a trust by flags takes and one by a file does not.
        groups = tuple(group for group in claimed.groups if group in (*self._workshop.realm.groups, "system:authenticated"))
        return Somebody(self.api(session), Identity(claimed.username, groups))

    def _session(self) -> Session:
        """The first person of the workshop, signed in."""
        oidc = self._workshop.cluster.oidc
        username = [*self._workshop.access.expected, *(user.username for user in self._workshop.realm.users)][0]
        return sign_in(self._keycloak, self._workshop.client(oidc.client_id), self._workshop.user(username))
