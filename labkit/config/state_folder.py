"""The state folder: everything that a lab keeps lies in it, each thing under a name of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final


class StateFolder:
    """The paths in a state folder; nothing is made or read here.

    Attributes:
        root: The folder itself, mode 0700; ``LABKIT_HOME`` names it.
        facts: What it was made with: its id, its ports, its format.
        run: A record per server.
        tls: The authorities and the certificates that they sign.
        secrets: Passwords, and kubeconfigs of the components that call the API server.
        own_secrets: Users' and clients' secrets in place of the published ones, by Keycloak and realm.
        keycloak: Keycloak as laid out for this lab, with its database below ``data``.
        credentials: The tokens that ``labkit credential`` keeps.
        authentication: The AuthenticationConfiguration, which an API server that runs reads again every ten seconds.
        kind: What a KinD cluster is made from; there as long as the cluster is.
        practice: The state folder of the practice lab.
        progress: The steps that are done.
    """

    def __init__(self, root: Path) -> None:
        self.root: Final = root
        self.facts: Final = root / "home.json"
        self.facts_lock: Final = root / "home.lock"
        self.run: Final = root / "run"
        self.servers_lock: Final = root / "servers.lock"
        self.logs: Final = root / "logs"
        self.temporary: Final = root / "tmp"
        self.tls: Final = root / "tls"
        self.portal_trust: Final = self.tls / "portal-trust.pem"
        self.secrets: Final = root / "secrets"
        self.keycloak_admin: Final = self.secrets / "keycloak-admin"
        self.own_secrets: Final = self.secrets / "own.json"
        self.portal_secrets: Final = self.secrets / "portal.json"
        self.keycloak: Final = root / "keycloak"
        self.credentials: Final = root / "credentials"
        self.kubeconfig: Final = root / "kubeconfig"
        self.kubectl_cache: Final = root / "kubectl-cache"
        self.authentication: Final = root / "authentication.yaml"
        self.etcd: Final = root / "etcd"
        self.kind: Final = root / "kind"
        self.kind_kubeconfig: Final = self.kind / "kubeconfig"
        self.external_ca: Final = root / "external" / "ca.crt"
        self.portal: Final = root / "portal"
        self.kratix: Final = root / "kratix"
        self.practice: Final = root / "practice"
        self.progress: Final = root / "progress.json"

    def secrets_note(self, realm: str) -> Path:
        """Which secrets a realm's users have; beside Keycloak's database, and goes with it."""
        return self.keycloak / "data" / f"secrets-of-{realm}"
