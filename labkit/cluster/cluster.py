"""The cluster that the labs use: one provider, one kubeconfig, and what is asked through them."""

from __future__ import annotations

from ..certificates import Certificates
from ..errors import Forbidden, Unauthorized
from ..identity.keycloak import Keycloak
from ..identity.session import Session
from ..processes import Processes
from ..settings import Settings
from ..toolchain import Toolchain
from ..workshop import Workshop
from .api import Api, Identity
from .causes import Causes
from .kubeconfig import Kubeconfig
from .kubectl import Kubectl, KubectlAnswer
from .local import LocalCluster
from .provider import Endpoint, Provider
from .rbac import Rbac
from .refusals import forbidden, unauthorized
from .trust import Trust


class Cluster:
    """A cluster that trusts the realm.

    Attributes:
        provider: How it is run.
        kubeconfig: The lab's kubeconfig.
        rbac: The workshop's RBAC objects.
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
        self.provider: Provider = LocalCluster(settings, processes, certificates, tools)
        self.kubeconfig = Kubeconfig(settings.home / "kubeconfig")
        self._kubectl = Kubectl(lambda: tools.ensure("kubectl")["kubectl"].path, self.kubeconfig.path, settings.home)
        self.rbac = Rbac(workshop.cluster, self._kubectl, self.endpoint.name)

    @property
    def endpoint(self) -> Endpoint:
        """Where its API server is."""
        return self.provider.endpoint

    @property
    def trust(self) -> Trust:
        """How its API server is told to trust the realm."""
        return Trust(self._keycloak.issuer, self._keycloak.ca, self._workshop.cluster.oidc, self._settings.oidc)

    def start(self) -> Endpoint:
        """Bring it up, or take it over, and enter its administrator in the kubeconfig.

        The realm must be there before: an API server that finds no issuer tries again only every ten seconds. One that runs with an
        AuthenticationConfiguration goes on running when that has changed, and follows within some 20 seconds.

        Raises:
            IdentityError: The realm is not there yet.
            ServerError: A server did not come up.
        """
        self._keycloak.discovery()
        self.provider.start(self.trust)
        self.kubeconfig.write_admin(self.endpoint)
        return self.endpoint

    def stop(self) -> bool:
        """Stop it, keeping its data; returns whether anything ran."""
        return self.provider.stop()

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
            return self._kubectl.run(context, *args, stdin=stdin)
        except (Unauthorized, Forbidden) as error:
            token = self.kubeconfig.id_token(context)
            if not token:
                raise
            if isinstance(error, Unauthorized):
                raise unauthorized(error.what, self.causes.of_401(token)) from None
            raise forbidden(error.what, error.what, self.causes.of_403(token)) from None

    def admin_kubectl(self, *args: str) -> KubectlAnswer:
        """Run kubectl as the cluster's administrator."""
        return self._kubectl.run(self.endpoint.name, *args)

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
