"""A cluster that somebody else runs and whose API server already trusts the realm: nothing is set up here, everything is verified.

The person's own kubeconfig is read by kubectl, as KUBECONFIG says, and never written; the context is always named.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

from ..common.environment import EXTERNAL_KUBECTL
from ..common.errors import ApiUnreachable, ClusterError, SettingsError, Unauthorized
from ..config.files import write_private
from ..config.hosting import PUBLIC_CA, is_loopback
from ..config.settings import Settings
from ..servers.status import ServerStatus, State
from ..toolchain import Toolchain
from .kubeconfig import Kubeconfig
from .kubectl import environment
from .provider import Endpoint, Prove, Provider
from .trust import Trust

_SECONDS = 30
_ANSWERED = re.compile(r"^Error from server|You must be logged in|\[[-+]\]\w", re.MULTILINE)


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
        cluster, user = view["clusters"][0]["cluster"], self._resolved(view["users"][0])
        if cluster.get("insecure-skip-tls-verify"):
            raise ClusterError("external-unverified", context=self._settings.context)
        if str(cluster.get("proxy-url", "")).startswith("socks"):
            raise ClusterError("external-socks", context=self._settings.context, proxy=cluster["proxy-url"])
        ca, authority = self._settings.state.external_ca, cluster.get("certificate-authority-data")
        # Without one, the authorities that are trusted everywhere count.
        pem = base64.b64decode(authority) if authority else PUBLIC_CA.read_bytes()
        if self._settings.folder_id:
            write_private(ca, pem, mode=0o644)
        more = {key: value for key, value in cluster.items() if key not in ("server", "certificate-authority-data")}
        return Endpoint(self.name, cluster["server"], ca, user, more)

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

    def _resolved(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A user's entry, with whole paths: kubectl takes a plugin's and a token's as relative to the file that the entry is in."""
        user, plugin = entry["user"], entry["user"].get("exec") or {}
        command, token = plugin.get("command", ""), user.get("tokenFile", "")
        if os.sep not in command and not token:
            return dict(user)
        named = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
        files = (Path(file) for file in named.split(os.pathsep) if file)
        folder = next(file.absolute().parent for file in files if Kubeconfig(file).entry("users", entry["name"]) is not None)
        whole = {"exec": {**plugin, "command": str(folder / command)}} if os.sep in command else {}
        return {**user, **whole, **({"tokenFile": str(folder / token)} if token else {})}

    def _kubectl(self, *args: str, context: bool = True) -> subprocess.CompletedProcess[str]:
        """kubectl with the person's own kubeconfig, which it only reads."""
        named = (f"--context={self._settings.context}",) if context else ()
        argv = [str(self._tools.ensure("kubectl")["kubectl"].path), *named, *args]
        env = environment(self._settings.state.kubectl_cache, EXTERNAL_KUBECTL)
        return subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, env=env, stdin=subprocess.DEVNULL, check=False)

    def _insist_on_an_answer(self) -> None:
        # By kubectl, which knows all that a kubeconfig may say. Any answer will do: who asks is nobody yet.
        done = self._kubectl("get", "--raw=/readyz", f"--request-timeout={_SECONDS // 2}s")
        if done.returncode and not _ANSWERED.search(done.stderr):
            reason = "".join(done.stderr.strip().splitlines()[-1:])
            name = "external-certificate" if "x509:" in reason else "external-unreachable"
            raise ApiUnreachable(name, url=self.endpoint.url, context=self._settings.context, error=reason)

    def _insist_on_rights(self) -> None:
        done = self._kubectl("auth", "can-i", "*", "*", "--all-namespaces")
        if done.stdout.strip() != "yes":
            reason = done.stderr.strip() or "the labs bind cluster-admin to a group, and nobody can give rights that they haven't got"
            raise ClusterError("external-no-rights", context=self._settings.context, reason=reason)
