"""The lab's kubeconfig: the administrator's context, and one for each person who signs in.

kubectl writes this file too, when it renews a token, so every change here reads it first and leaves what it doesn't know.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import SoftFileLock

from ..common.errors import ClusterError
from ..common.waiting import locked
from ..config.settings import write_private
from ..identity.session import Session
from ..servers.certificates import Pair
from ..workshop.workshop import Client
from .kubeconfig_file import SECTIONS, load
from .provider import Endpoint

_LOCK_SECONDS = 30


def exec_context(username: str) -> str:
    """The name of a user's context that runs ``labkit credential``."""
    return f"{username}-exec"


def exec_user(username: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """A user's entry by which kubectl asks ``labkit credential`` for tokens; see `Kubeconfig.write_exec_person`."""
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-P", "-m", "labkit", "credential", username],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }
    return {"exec": plugin}


def certificate_user(pair: Pair) -> dict[str, Any]:
    """A user's entry by which a certificate is shown, with the files' contents so that the kubeconfig can be carried elsewhere."""
    return {
        "client-certificate-data": base64.b64encode(pair.certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(pair.key.read_bytes()).decode(),
    }


def component_kubeconfig(folder: Path, name: str, endpoint: Endpoint, user: Mapping[str, Any]) -> Path:
    """Write a kubeconfig of its own for a component; JSON is YAML, so no writer is needed for it.

    Args:
        folder: Where to write it.
        name: The component's.
        endpoint: Where the API server is.
        user: The user's entry; with ``as`` the component impersonates somebody, for which it needs the right.
    """
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": endpoint.url, "certificate-authority": str(endpoint.ca)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": "local", "user": name}}],
        "current-context": name,
    }
    file = folder / f"{name}.kubeconfig"
    write_private(file, json.dumps(config))
    return file


class Kubeconfig:
    """A kubeconfig file (kubernetes.io, *Organizing cluster access using kubeconfig files*).

    Attributes:
        path: Where it lies; mode 0600.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_admin(self, endpoint: Endpoint) -> str:
        """Enter the cluster and its administrator; returns the context's name."""
        cluster = {"server": endpoint.url, "certificate-authority": str(endpoint.ca)}
        context = {"cluster": endpoint.name, "user": endpoint.name}
        self._enter(clusters={endpoint.name: cluster}, users={endpoint.name: endpoint.admin}, contexts={endpoint.name: context})
        return endpoint.name

    def write_person(self, endpoint: Endpoint, session: Session, client: Client, issuer: str, ca: Path) -> str:
        """Enter a signed-in person as kubectl's built-in ``oidc`` auth provider wants it; returns the context's name.

        The tokens and the client's secret lie in the file: kubectl renews with them by itself, and so could whoever reads the file.
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
        user = {"auth-provider": {"name": "oidc", "config": config}}
        return self._enter_user(session.username, user, endpoint)

    def write_exec_person(self, endpoint: Endpoint, username: str, variables: Mapping[str, str]) -> str:
        """Enter a person whose tokens kubectl asks ``labkit credential`` for; returns the context's name, ``USER-exec``.

        Source: kubernetes.io, *Authenticating*, client-go credential plugins.

        Args:
            endpoint: The cluster.
            username: Whose tokens.
            variables: The environment variables that lead labkit to this lab.
        """
        return self._enter_user(exec_context(username), exec_user(username, variables), endpoint)

    def contexts(self) -> list[str]:
        """The names of its contexts."""
        return list(_read(self.path)["contexts"])

    def entry(self, section: str, name: str) -> dict[str, Any] | None:
        """What ``clusters``, ``users`` or ``contexts`` holds under a name, or None."""
        found = _read(self.path)[section].get(name)
        return None if found is None else dict(found)

    def id_token(self, name: str) -> str:
        """The ID token that lies in a user's entry; empty when there is none, or the user has another way of showing one."""
        provider = (self.entry("users", name) or {}).get("auth-provider") or {}
        return str((provider.get("config") or {}).get("id-token", ""))

    def merge_into(self, target: Path) -> list[str]:
        """Copy all entries into another kubeconfig, whose own entries and current context stay.

        Args:
            target: Such as ``~/.kube/config``; made if missing.

        Returns:
            The names of the contexts that were entered.

        Raises:
            ClusterError: It is no kubeconfig, or entries of the same name, for another cluster, are there already.
        """
        # Followed, so that a file that is kept elsewhere and linked is changed there.
        target = target.resolve()
        ours, theirs = _read(self.path), _read(target)
        # Another cluster may be at the same address, such as that of another lab on this machine.
        known_as = [_identity(cluster, self.path.parent) for cluster in ours["clusters"].values()]
        same = {name for name, cluster in theirs["clusters"].items() if _identity(cluster, target.parent) in known_as}
        contexts = {name: context for name, context in theirs["contexts"].items() if context.get("cluster") in same}
        known = {"clusters": same, "contexts": set(contexts), "users": {context.get("user") for context in contexts.values()}}
        taken = {name for section, names in known.items() for name in theirs[section].keys() & ours[section].keys() - names}
        if taken:
            msg = f"{target} already has {', '.join(sorted(taken))}, for another cluster"
            raise ClusterError(msg, fix=f"rename or remove it there, or use the lab's own file: export KUBECONFIG={self.path}")
        Kubeconfig(target)._enter(**ours)
        return list(ours["contexts"])

    def remove(self, *names: str) -> None:
        """Take out people's contexts, each with the user it names; what isn't there is no error."""
        with self._whole() as whole:
            for section in ("contexts", "users"):
                whole[section] = [entry for entry in whole.get(section) or [] if entry["name"] not in names]

    def _enter_user(self, name: str, user: dict[str, Any], endpoint: Endpoint) -> str:
        self._enter(users={name: user}, contexts={name: {"cluster": endpoint.name, "user": name}})
        return name

    def _enter(self, **entries: dict[str, Any]) -> None:
        with self._whole() as whole:
            for section, kind in SECTIONS.items():
                known = {entry["name"]: entry for entry in whole.get(section) or []}
                for name, value in entries.get(section, {}).items():
                    known[name] = {**known.get(name, {"name": name}), kind: value}
                whole[section] = list(known.values())

    @contextmanager
    def _whole(self) -> Iterator[dict[str, Any]]:
        """The file's content, written back at the end."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # client-go guards its own writes by the same file.
        lock = SoftFileLock(f"{self.path}.lock", timeout=_LOCK_SECONDS)
        msg = f"{self.path} has been locked for {_LOCK_SECONDS} s"
        with locked(lock, ClusterError(msg, fix=f"if no kubectl or labkit is running, remove {lock.lock_file}")):
            whole = load(self.path)
            yield whole
            write_private(self.path, yaml.safe_dump(whole, sort_keys=False))


def _identity(cluster: dict[str, Any], folder: Path) -> tuple[object, str]:
    """What tells a cluster from another: its address, and the authority that its certificate is verified with.

    Args:
        cluster: A cluster's entry.
        folder: Where the kubeconfig lies, for files that it names.
    """
    data, file = cluster.get("certificate-authority-data"), cluster.get("certificate-authority")
    if not data and file:
        try:
            data = base64.b64encode((folder / file).read_bytes()).decode()
        except (OSError, ValueError):
            data = str(folder / file)
    return cluster.get("server"), data or ""


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The three sections, each as a mapping of names to what stands there."""
    whole = load(path)
    sections = SECTIONS.items()
    return {section: {entry["name"]: entry.get(kind) or {} for entry in whole.get(section) or []} for section, kind in sections}
