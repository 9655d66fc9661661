"""The cluster that the labs use: one provider, one kubeconfig, and what is asked through them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cached_property

from ..common.environment import EXTERNAL_KUBECTL, KUBECTL
from ..common.errors import ClusterError, Forbidden, IdentityError, Unauthorized
from ..common.waiting import Steps, until
from ..config.settings import Settings
from ..identity.keycloak import Keycloak
from ..identity.session import Claims, Session, sign_in, texts
from ..servers.processes import Processes
from ..toolchain import Toolchain
from ..workshop.workshop import Workshop
from .access import Rbac
from .api import Api, Identity
from .external import ExternalCluster
from .kind.provider import KindCluster
from .kubeconfig import Kubeconfig, exec_context, exec_user, oidc_user
from .kubectl import Kubectl, KubectlAnswer, OwnedObjects
from .local import LocalCluster
from .provider import Endpoint, Provider
from .refusals import Causes
from .trust import Trust

_REALM_SECONDS = 120
"""Keycloak makes a realm in a few seconds, and on a busy machine in a minute."""


class Cluster:
    """A cluster that trusts the realm of a Keycloak."""

    def __init__(self, settings: Settings, workshop: Workshop, processes: Processes, tools: Toolchain, keycloak: Keycloak) -> None:
        self._settings, self._workshop, self._keycloak, self._processes, self._tools = settings, workshop, keycloak, processes, tools
        self.kubeconfig = Kubeconfig(settings.state.kubeconfig)
        names = EXTERNAL_KUBECTL if settings.cluster == "external" else KUBECTL
        self._kubectl = Kubectl(
            lambda: tools.ensure("kubectl")["kubectl"].path,
            self.kubeconfig.path,
            settings.state.kubectl_cache,
            names,
            self.provider.stranger,
        )
        self._owned = OwnedObjects(self._kubectl.run, ExternalCluster.name, settings.folder_id)
        self._run = self._owned.run if settings.cluster == "external" else self._kubectl.run

    @cached_property
    def provider(self) -> Provider:
        match self._settings.cluster:
            case "kind":
                return self._kind()
            case "external":
                return ExternalCluster(self._settings, self._tools, self._prove)
            case _:
                return LocalCluster(self._settings, self._processes, self._tools)

    @cached_property
    def rbac(self) -> Rbac:
        return Rbac(self._workshop.cluster, self.admin_kubectl)

    @property
    def endpoint(self) -> Endpoint:
        return self.provider.endpoint

    @property
    def trust(self) -> Trust:
        """How its API server is configured to trust the realm."""
        workshop = self._workshop
        return Trust(self._keycloak.issuer, self._keycloak.ca, workshop.cluster, workshop.realm.groups, self._settings.oidc)

    @property
    def causes(self) -> Causes:
        """What explains its API server's refusals."""
        return Causes(
            self.trust, [binding.group for binding in self._workshop.cluster.bindings], self.provider.server_log, self.provider.stranger
        )

    def prepare(self) -> None:
        """Look whether it can be started, and fetch what that takes besides programs; nothing is started."""
        self.provider.prepare(lambda: self._keycloak.issuer)

    def start(self) -> Endpoint:
        """Bring it up, or take it over, and enter its administrator in the kubeconfig.

        The realm must be there before. An API server that runs follows a changed AuthenticationConfiguration without a restart: a local
        one has done so when this returns, one in KinD within 20 s.

        Raises:
            IdentityError: The realm is not there yet; or, for a cluster that others can reach, its people have other passwords.
            ServerError: A server did not come up, or a port is taken.
            ClusterError: A cluster that is not local processes is not as it must be.
        """
        self._keycloak.discovery()
        if not self.provider.servers:
            # Not by a realm that still has the secrets that everybody knows: its clients are given new ones last.
            self._session()
        self.provider.start(self.trust)
        self.kubeconfig.enter(self.endpoint)
        return self.endpoint

    def steps(self) -> Steps:
        """Give what `start` does as steps for `together`, of which the last is ``cluster``; they need ``keycloak`` and ``realm``."""
        own = self.provider.steps(lambda: self.trust)
        if not own:
            return {"cluster": (("realm",), self.start)}
        # Where the realm is there already, an API server need not wait until it is applied.
        there = until(
            self._keycloak.discovery,
            _REALM_SECONDS,
            passing=lambda error: isinstance(error, IdentityError) and error.problem.id == "no-such-realm",
        )
        enter = (tuple(own), lambda: self.kubeconfig.enter(self.endpoint))
        return {"issuer": (("keycloak",), lambda: there), **own, "cluster": enter}

    def is_running(self) -> bool:
        return self.provider.is_running()

    def stop(self) -> bool:
        """Stop it, keeping its data; returns whether anything ran."""
        return self.provider.stop()

    def erase(self) -> None:
        """Stop it and remove all that is in it; from a cluster that others use, what the labs made."""
        self.stop()
        shutil.rmtree(self._settings.state.etcd, ignore_errors=True)
        self.leave()

    def remove_objects(self) -> list[str]:
        """Remove the labs' objects; returns them by name. In a cluster that others use, all that bears this lab's owner label."""
        if self.provider.shared:
            return self._owned.remove() if self._shared_one_was_used() else []
        return self.rbac.remove().output.splitlines()

    def leave(self) -> list[str]:
        """Take away what is no process of this lab's: its KinD cluster, or what it made in somebody else's; returns what that was."""
        if self._settings.state.kind.exists():
            return [KindCluster.name] if self._kind().stop() else []
        return self._owned.remove() if self._shared_one_was_used() else []

    def left(self) -> list[str]:
        """What of the lab's objects is in a cluster that others use as well; nothing where the cluster is the lab's alone."""
        return self._owned.names() if self._shared_one_was_used() else []

    def kubectl(self, context: str, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run kubectl in one of the kubeconfig's contexts; see `Kubectl.run` for what is raised, here with its cause."""
        try:
            return self._run(context, *args, stdin=stdin)
        except (Unauthorized, Forbidden) as error:
            if token := self.kubeconfig.id_token(context):
                self.causes.explain(error, token)
            raise

    def admin_kubectl(self, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run kubectl as the cluster's administrator."""
        return self._run(self.provider.name, *args, stdin=stdin)

    def kubectl_as(self, claims: Claims, *args: str) -> KubectlAnswer:
        """Run kubectl as the administrator who impersonates the bearer of a token with these claims, who need not have signed in.

        Which groups of a real token get as far as RBAC is the API server's trust to say.
        """
        who = self.identity(claims)
        return self.admin_kubectl(*args, f"--as={who.username}", *(f"--as-group={group}" for group in who.groups))

    def may(self, claims: Claims, verb: str, resource: str, namespace: str = "") -> bool:
        """Ask by a SubjectAccessReview whether RBAC lets the bearer of a token with these claims do something; see `Api.can`."""
        who, (plural, _, group) = self.identity(claims), resource.partition(".")
        asked = {"verb": verb, "resource": plural, "group": group, "namespace": namespace}
        spec = {"user": who.username, "groups": who.groups, "resourceAttributes": asked}
        review = json.dumps({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        answer = self._kubectl.run(self.provider.name, "create", "--raw", path, "-f", "-", stdin=review)
        return bool(json.loads(answer.output)["status"]["allowed"])

    def api(self, session: Session) -> Api:
        """The API server as a signed-in person sees it, by ID token."""
        return Api(self.endpoint, lambda: session.tokens.id_token, self.causes)

    def who(self, token: str) -> Identity | None:
        """The user that the API server authenticates by a token; None when it rejects the token (401)."""
        try:
            return Api(self.endpoint, lambda: token, self.causes).whoami()
        except Unauthorized:
            return None

    def enter(self, session: Session) -> str:
        """Write a person's kubectl context with the tokens in it; returns the context's name, which is the user's."""
        user = oidc_user(session, self._workshop.client(session.client_id), self._keycloak.issuer, self._keycloak.ca)
        return self.kubeconfig.enter(self.endpoint, session.username, user)

    def enter_exec(self, username: str) -> str:
        """Write a person's kubectl context that asks ``labkit credential`` for tokens; returns the context's name."""
        return self.kubeconfig.enter(self.endpoint, exec_context(username), exec_user(username, self._settings.variables()))

    def enter_everybody(self) -> None:
        """Write a context of the user's name for each of the workshop's people who has none; `labkit credential` fetches its tokens."""
        for username in self._workshop.access.expected.keys() - set(self.kubeconfig.contexts()):
            self.kubeconfig.enter(self.endpoint, username, exec_user(username, self._settings.variables()))

    def _kind(self) -> KindCluster:
        return KindCluster(self._settings, self._processes, self._tools, self._prove)

    def _shared_one_was_used(self) -> bool:
        return self._settings.cluster == "external" and self.kubeconfig.entry("contexts", ExternalCluster.name) is not None

    def identity(self, claims: Claims) -> Identity:
        """The name and groups in these claims, as RBAC has them; IdentityError if they have no name."""
        oidc = self._workshop.cluster.oidc
        if (name := claims.get(oidc.username_claim)) is None:
            raise IdentityError("token-lacks-claim", token=claims.title, claim=oidc.username_claim, client=oidc.client_id)
        return Identity(str(name), (*texts(claims.get(oidc.groups_claim)), "system:authenticated"))

    def declared_identity(self, session: Session) -> Identity:
        """Whom the API server should take a signed-in person for, as the workshop declares them; only the token knows Keycloak's ids."""
        user = self._workshop.user(session.username)
        declared = {"email": user.email, "preferred_username": user.username}.get(self._workshop.cluster.oidc.username_claim)
        return Identity(declared or self.identity(session.claims).username, (*user.groups, "system:authenticated"))

    def _prove(self, fault: Callable[[], ClusterError | None]) -> None:
        """Prove that the cluster trusts the realm: somebody signs in, and the API server takes them for who they are."""
        session = self._session()
        claimed, found = self.identity(session.claims), self.api(session).wait_until_known(fault)
        # In a hosted realm people have groups of others as well, which a trust by flags takes and one by a file does not.
        known = (*self._workshop.realm.groups, "system:authenticated")
        expected = Identity(claimed.username, tuple(group for group in claimed.groups if group in known))
        if found.username != expected.username or not set(expected.groups) <= set(found.groups):
            raise ClusterError("api-other-person", expected=expected, found=found)

    def _session(self) -> Session:
        """The first person of the workshop, signed in."""
        username = [*self._workshop.access.expected, *(user.username for user in self._workshop.realm.users)][0]
        return sign_in(self._keycloak, self._workshop.api_client, self._workshop.user(username))
