"""A person at the cluster."""

from __future__ import annotations

from dataclasses import dataclass

from ..identity.session import Claims, Session
from .api import Api, Identity
from .cluster import Cluster
from .kubectl import KubectlAnswer


@dataclass(frozen=True)
class Person:
    """A signed-in user: the session, joined with the API server and a context in the lab's kubeconfig, where kubectl renews the tokens."""

    session: Session
    context: str
    _cluster: Cluster

    def __repr__(self) -> str:
        return repr(self.session)

    @property
    def username(self) -> str:
        """The name at Keycloak; the API server may know them by another."""
        return self.session.username

    @property
    def claims(self) -> Claims:
        """The ID token's claims, decoded and verified."""
        return self.session.claims

    @property
    def api(self) -> Api:
        return self._cluster.api(self.session)

    def whoami(self) -> Identity:
        """Ask the API server whom it takes this person for, and wait while a new one still learns the realm's keys."""
        return self.api.wait_until_known()

    def kubectl(self, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run kubectl as this person; see `labkit.cluster.kubectl.Kubectl.run` for what is raised."""
        return self._cluster.kubectl(self.context, *args, stdin=stdin)
