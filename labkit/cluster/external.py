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
from ..servers.status import ServerStatus, State
from ..toolchain import Toolchain
from .kubectl import environment
from .provider import Endpoint, Prove, Provider
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
            raise ClusterError("external-unverified", context=self._settings.context)
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
            raise ClusterError("external-loopback-issuer", url=url, issuer=trust.issuer)
        self._insist_on_an_answer()
        self._insist_on_rights()
        try:
            self._prove(lambda: None)
        except ApiUnreachable:
            raise
        except ClusterError as error:
            told = {"reason": error.why, "configuration": trust.configuration(), "flags": "\n".join(trust.flags())}
            if isinstance(error, Unauthorized):
                raise ClusterError("external-no-trust", url=url, issuer=trust.issuer, **told) from None
            raise ClusterError("external-not-proven", refusal=error.what, **told) from None

    def is_running(self) -> bool:
        try:
            self._insist_on_an_answer()
        except (ApiUnreachable, SettingsError):
            return False
        return True

    def statuses(self) -> list[ServerStatus]:
        return [ServerStatus(self.name, State.NOT_OURS if self.is_running() else State.SILENT, self.endpoint.url)]

    def _view(self) -> dict[str, Any]:
        context = self._settings.context
        if context:
            done = self._kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
            if done.returncode == 0:
                return dict(json.loads(done.stdout))
        there = self._kubectl("config", "get-contexts", "-o", "name", context=False).stdout.split()
        seen = {"file": os.environ.get("KUBECONFIG", "~/.kube/config"), "contexts": ", ".join(there) or "none"}
        raise SettingsError("external-context-unknown" if context else "external-context-unset", context=repr(context), **seen)

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
            raise ApiUnreachable("external-certificate", url=url, context=context) from error
        except requests.RequestException as error:
            raise ApiUnreachable("external-unreachable", url=url, context=context, error=type(error).__name__) from error

    def _insist_on_rights(self) -> None:
        done = self._kubectl("auth", "can-i", "*", "*", "--all-namespaces")
        if done.stdout.strip() != "yes":
            reason = done.stderr.strip() or "the labs bind cluster-admin to a group, and nobody can give rights that they haven't got"
            raise ClusterError("external-no-rights", context=self._settings.context, reason=reason)
