"""The lab's kubeconfig: the administrator's context, and one for each person who signs in.

kubectl writes this file too, when it renews a token, so every change here reads it first and leaves what it doesn't know.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import SoftFileLock

from ..common.errors import ClusterError
from ..common.kubernetes_yaml import YamlError
from ..common.waiting import locked
from ..config.files import write_private
from ..identity.session import Session
from ..servers.certificates import Pair
from ..workshop.workshop import Client
from .kubeconfig_file import SECTIONS, dumped, load, parsed, read, replace_text, with_entry
from .provider import Endpoint

_LOCK_SECONDS = 30


def exec_context(username: str) -> str:
    """The name of a user's context that runs ``labkit credential``."""
    return f"{username}-exec"


def exec_user(username: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """A user's entry by which kubectl asks ``labkit credential`` for tokens.

    Source: kubernetes.io, *Authenticating*, client-go credential plugins. These variables lead labkit to the lab.
    """
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-E", "-P", "-m", "labkit", "credential", username],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }
    return {"exec": plugin}


def oidc_user(session: Session, client: Client, issuer: str, ca: Path) -> dict[str, Any]:
    """A user's entry with a signed-in person's tokens, as kubectl's built-in ``oidc`` auth provider wants it.

    The tokens and the client's secret stand in it: kubectl renews with them by itself, and so could whoever reads the file.
    """
    tokens = session.tokens
    config = {
        "client-id": client.client_id,
        "client-secret": client.secret.get_secret_value(),
        "id-token": tokens.id_token,
        "idp-certificate-authority": str(ca),
        "idp-issuer-url": issuer,
        "refresh-token": tokens.refresh_token,
    }
    return {"auth-provider": {"name": "oidc", "config": config}}


def certificate_user(pair: Pair) -> dict[str, Any]:
    """A user's entry by which a certificate is shown, with the files' contents so that the kubeconfig can be carried elsewhere."""
    return {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}


def portable(endpoint: Endpoint, users: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A kubeconfig that can be carried elsewhere, with a context for each of these users' entries."""
    cluster = {**endpoint.more, "server": endpoint.url, "certificate-authority-data": _base64(endpoint.ca)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": endpoint.name, "cluster": cluster}],
        "users": [{"name": name, "user": user} for name, user in users.items()],
        "contexts": [{"name": name, "context": {"cluster": endpoint.name, "user": name}} for name in users],
    }


def component_kubeconfig(folder: Path, name: str, endpoint: Endpoint, user: Mapping[str, Any]) -> Path:
    """Write a kubeconfig of its own for a component; with ``as`` in the user's entry it impersonates somebody."""
    file = folder / f"{name}.kubeconfig"
    # JSON is YAML too.
    write_private(file, json.dumps({**portable(endpoint, {name: user}), "current-context": name}))
    return file


class Kubeconfig:
    """A kubeconfig file of mode 0600 (kubernetes.io, *Organizing cluster access using kubeconfig files*)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def enter(self, endpoint: Endpoint, name: str = "", user: Mapping[str, Any] | None = None) -> str:
        """Enter the cluster with one who uses it, the administrator unless somebody is named; returns the context's name."""
        name, user = name or endpoint.name, endpoint.admin if user is None else user
        cluster = {**endpoint.more, "server": endpoint.url, "certificate-authority": str(endpoint.ca)}
        context = {"cluster": endpoint.name, "user": name}
        self._enter({"clusters": {endpoint.name: cluster}, "users": {name: user}, "contexts": {name: context}})
        return name

    def contexts(self) -> list[str]:
        """The names of its contexts."""
        return list(_by_name(load(self.path))["contexts"])

    def entry(self, section: str, name: str) -> dict[str, Any] | None:
        """What ``clusters``, ``users`` or ``contexts`` holds under a name, or None."""
        return _by_name(load(self.path))[section].get(name)

    def id_token(self, name: str) -> str:
        """The ID token in a user's entry; empty when there is none, or the user has another way of showing one."""
        provider = (self.entry("users", name) or {}).get("auth-provider") or {}
        return str((provider.get("config") or {}).get("id-token", ""))

    def merge_into(self, target: Path) -> Path | None:
        """Copy all entries into another kubeconfig, in which nothing else is changed, not even a comment.

        Returns the copy of that file as it was before, which lies beside it; None if there was no file, or nothing to change.

        Raises:
            ClusterError: It is no kubeconfig, can't be written, or has entries of the same name for another cluster.
        """
        # Followed, so that a file that is kept elsewhere and linked is changed there.
        target = Path(os.path.realpath(target))
        try:
            with _locked(target):
                return self._merge(target)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ClusterError("kubeconfig-not-writable", file=target, reason=reason, ours=self.path) from None

    def _merge(self, target: Path) -> Path | None:
        before = text = read(target)
        whole = parsed(target, text)
        ours, theirs = _by_name(load(self.path)), _by_name(whole)
        # Another cluster may be at the same address, such as that of another lab on this machine.
        known_as = [_identity(cluster, self.path.parent) for cluster in ours["clusters"].values()]
        same = {name for name, cluster in theirs["clusters"].items() if _identity(cluster, target.parent) in known_as}
        contexts = {name: context for name, context in theirs["contexts"].items() if context.get("cluster") in same}
        known = {"clusters": same, "contexts": set(contexts), "users": {context.get("user") for context in contexts.values()}}
        taken = {name for section, names in known.items() for name in theirs[section].keys() & ours[section].keys() - names}
        if taken:
            raise ClusterError("kubeconfig-names-taken", file=target, names=", ".join(sorted(taken)), ours=self.path)
        _put(whole, ours)
        try:
            for section, entries in ours.items():
                for name, value in entries.items():
                    text = with_entry(text, section, name, value)
            right = parsed(target, text) == whole
        except (ClusterError, YamlError, ValueError):
            right = False
        if not right:
            raise ClusterError("kubeconfig-odd-layout", file=target, ours=self.path)
        return replace_text(target, before, text) if text != before else None

    def remove(self, *names: str) -> None:
        """Take out people's contexts, each with the user it names; what isn't there is no error."""
        with self._whole() as whole:
            for name in names:
                whole["contexts"].pop(name, None)
                whole["users"].pop(name, None)

    def _enter(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        with self._whole() as whole:
            _put(whole, entries)

    @contextmanager
    def _whole(self) -> Iterator[dict[str, Any]]:
        """The file's content, written back at the end."""
        with _locked(self.path):
            whole = load(self.path)
            yield whole
            write_private(self.path, dumped(whole))


def default_file() -> Path:
    """Where ``kubectl config`` adds entries: the first file of KUBECONFIG that is there, else its last, else ``~/.kube/config``."""
    named = [Path(file) for file in os.environ.get("KUBECONFIG", "").split(os.pathsep) if file]
    return next((file for file in named if file.exists()), named[-1] if named else Path("~/.kube/config").expanduser())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # client-go guards its own writes by the same file.
    lock = SoftFileLock(f"{path}.lock", timeout=_LOCK_SECONDS)
    with locked(lock, lambda: ClusterError("kubeconfig-locked", file=path, seconds=_LOCK_SECONDS, lock=lock.lock_file)):
        yield


def _put(whole: dict[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> None:
    for section, kind in SECTIONS.items():
        for name, value in entries[section].items():
            whole[section].setdefault(name, {"name": name})[kind] = value


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _identity(cluster: dict[str, Any], folder: Path) -> tuple[object, str]:
    """What tells a cluster from another: its address, and the authority behind its certificate, a file of which may lie in that folder."""
    data, file = cluster.get("certificate-authority-data"), cluster.get("certificate-authority")
    if not data and file:
        try:
            data = _base64(folder / file)
        except (OSError, ValueError):
            data = str(folder / file)
    return cluster.get("server"), data or ""


def _by_name(whole: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The three sections, each as a mapping of names to what stands there."""
    return {section: {name: entry.get(kind) or {} for name, entry in whole[section].items()} for section, kind in SECTIONS.items()}
