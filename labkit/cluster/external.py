"""A cluster that somebody else runs and whose API server already trusts the realm: nothing is set up here, everything is verified.

The person's own kubeconfig is read by kubectl, as KUBECONFIG says, and never written; the context is always named.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from functools import cached_property
from typing import Any

import requests

from ..common.environment import EXTERNAL_KUBECTL
from ..common.errors import ApiUnreachable, ClusterError, SettingsError, Unauthorized
from ..common.http_session import request
from ..config.files import write_private
from ..config.hosting import PUBLIC_CA, is_loopback
from ..config.settings import Settings
from ..toolchain import Toolchain
from .kubectl import environment
from .provider import NOT_OURS, Endpoint, Prove, Provider
from .trust import Trust

_SECONDS = 30


class ExternalCluster(Provider):
    """The provider that runs nothing; ``settings.context`` names the administrator's context."""

    name = "external-platform"
    shared = True

    def __init__(self, settings: Settings, tools: Toolchain, prove: Prove) -> None:
        self._settings, self._tools, self._prove = settings, tools, prove

    @cached_property
    def endpoint(self) -> Endpoint:
        """As the person's kubeconfig has it."""
        view = self._view()
        cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
        if cluster.get("insecure-skip-tls-verify"):
            msg = f"context {self._settings.context} does not verify its API server's certificate"
            why = "it says insecure-skip-tls-verify, and whoever is in between could read the tokens"
            raise ClusterError(msg, why=why, fix="ask the cluster's administrator for its CA, and put it there as certificate-authority")
        ca, authority = self._settings.state.external_ca, cluster.get("certificate-authority-data")
        # Without one, the authorities that are trusted everywhere count.
        pem = base64.b64decode(authority) if authority else PUBLIC_CA.read_bytes()
        if self._settings.home_id:
            write_private(ca, pem, mode=0o644)
        return Endpoint(self.name, cluster["server"], ca, user)

    def start(self, trust: Trust) -> None:
        """Verify: it answers, the context's user may give rights, and the API server knows somebody by a token of the realm.

        Raises:
            SettingsError: LABKIT_CONTEXT names no context.
            ClusterError: One of these fails; what the cluster's administrator has to do is in ``fix``.
        """
        url = self.endpoint.url
        if is_loopback(trust.issuer) and not is_loopback(url):
            msg = f"the API server at {url} can't reach the issuer {trust.issuer}"
            why = "that name means every machine itself: the API server would look for Keycloak on its own"
            fix = "use a Keycloak with a name of its own (LABKIT_KEYCLOAK=hosted), or a cluster on this machine"
            raise ClusterError(msg, why=why, fix=fix)
        self._insist_on_an_answer()
        self._insist_on_rights()
        try:
            self._prove(lambda: None)
        except ApiUnreachable:
            raise
        except ClusterError as error:
            unknown = f"the API server at {url} does not know people by tokens of {trust.issuer}"
            what = unknown if isinstance(error, Unauthorized) else error.what
            raise ClusterError(what, why=error.why, fix=_for_the_administrator(trust)) from None

    def is_running(self) -> bool:
        try:
            self._insist_on_an_answer()
        except (ApiUnreachable, SettingsError):
            return False
        return True

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        return [(self.name, NOT_OURS if self.is_running() else "silent", "", self.endpoint.url, "")]

    def _view(self) -> dict[str, Any]:
        context = self._settings.context
        if context:
            done = self._kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
            if done.returncode == 0:
                return dict(json.loads(done.stdout))
        msg = f"LABKIT_CONTEXT names no context of your kubeconfig: {context!r}" if context else "LABKIT_CONTEXT is not set"
        there = self._kubectl("config", "get-contexts", "-o", "name", context=False).stdout.split()
        why = f"{os.environ.get('KUBECONFIG', '~/.kube/config')} has: {', '.join(there) or 'none'}"
        raise SettingsError(msg, why=why, fix="name the cluster's context; the current context is never taken for it")

    def _kubectl(self, *args: str, context: bool = True) -> subprocess.CompletedProcess[str]:
        """kubectl with the person's own kubeconfig, which it only reads."""
        named = (f"--context={self._settings.context}",) if context else ()
        argv = [str(self._tools.ensure("kubectl")["kubectl"].path), *named, *args]
        env = environment(self._settings.state.kubectl_cache, EXTERNAL_KUBECTL)
        return subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, env=env, stdin=subprocess.DEVNULL, check=False)

    def _insist_on_an_answer(self) -> None:
        url, context = self.endpoint.url, self._settings.context
        try:
            # Any answer will do: who asks is nobody yet.
            request("GET", f"{url}/readyz", ca=self.endpoint.ca, timeout=_SECONDS)
        except requests.exceptions.SSLError as error:
            msg = f"the certificate that is shown at {url} can't be verified with the CA in context {context}"
            raise ApiUnreachable(msg, fix="ask the cluster's administrator for a new kubeconfig") from error
        except requests.RequestException as error:
            msg = f"nothing answers at {url}, where context {context} leads"
            raise ApiUnreachable(msg, why=type(error).__name__, fix="start that cluster, or name another one in LABKIT_CONTEXT") from error

    def _insist_on_rights(self) -> None:
        done = self._kubectl("auth", "can-i", "*", "*", "--all-namespaces")
        if done.stdout.strip() != "yes":
            msg = f"context {self._settings.context} may not do everything in its cluster"
            why = done.stderr.strip() or "the labs bind cluster-admin to a group, and nobody can give rights that they haven't got"
            raise ClusterError(msg, why=why, fix="name a context of an administrator (cluster-admin) in LABKIT_CONTEXT")


def _for_the_administrator(trust: Trust) -> str:
    flags = "\n".join(trust.flags())
    return (
        "hand this to the cluster's administrator (labkit render DIR writes it as authentication.yaml); its API server, Kubernetes 1.34 or "
        "newer, reads it by --authentication-config=FILE, without any --oidc flag, and if it has such a file already, what is below jwt is "
        f"to be added there:\n{trust.configuration()}\n"
        "Only where no file can be had: these flags, with the CA file, and then a restart. Whoever may make groups in the realm can then "
        f"make one called system:masters, and owns the cluster:\n{flags}"
    )
