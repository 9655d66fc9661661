"""The state folder: everything that a lab keeps lies in it. What it was made with, its id and its ports, stays the same for its life."""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final

from ..common.errors import SettingsError
from ..common.ownership import make_private, require_own
from .files import write_private, writing
from .ports import port_is_free

PORTS = {
    "keycloak": 8443,
    "etcd": 2379,
    "etcd_peer": 2380,
    "kubernetes": 6443,
    "controller_manager": 10257,
    "portal": 7007,
    "kratix_webhook": 9443,
    "kind_31337": 31337,
    "kind_31340": 31340,
    "kind_31333": 31333,
}
"""Every port a lab listens on, with the number that is taken when it is free."""

_FORMAT = 1


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


@dataclass(frozen=True)
class Facts:
    """What a state folder was made with.

    Attributes:
        id: A random text that marks what belongs to it; empty as long as there is no folder.
        ports: Port numbers by the names in `PORTS`.
    """

    id: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)


def read_facts(home: Path, environ: Mapping[str, str]) -> Facts:
    """Read a state folder's facts, and make nothing: a folder that is not there has no id, and the well-known ports.

    A port that ``LABKIT_<NAME>_PORT`` of the environment names is taken as it is.

    Raises:
        SettingsError: The folder is not the person's own, or another labkit made it; a variable is no port.
    """
    wanted = _ports_from(environ)
    with writing(home):
        if home.is_dir():
            require_own(home, "a lab's keys and passwords, and commands that kubectl runs", "export LABKIT_HOME=~/labkit-home")
        kept = _kept(home)
    return Facts(kept.id, {**PORTS, **kept.ports, **wanted})


def open_home(home: Path, *, environ: Mapping[str, str] | None = None, free_ports: bool = False) -> Facts:
    """Read a state folder's facts; make it, with mode 0700, at first use, and keep the ports that variables name.

    Args:
        free_ports: For a new folder: take ports out of everybody's way instead of the well-known ones.

    Raises:
        SettingsError: Besides what `read_facts` raises: it can't be written, or two servers have the same port.
    """
    # Imported on use: `labkit credential`, which only reads, waits for every import.
    from filelock import FileLock

    environ = os.environ if environ is None else environ
    with writing(home):
        make_private(home)
        read_facts(home, environ)
        with FileLock(StateFolder(home).facts_lock, mode=0o600):
            kept = _kept(home)
            ports = _chosen({**kept.ports, **_ports_from(environ)}, free_ports)
            made = Facts(kept.id or uuid.uuid4().hex, ports)
            if made != kept:
                write_private(StateFolder(home).facts, json.dumps({"format": _FORMAT, **asdict(made)}, indent=1) + "\n")
            return made


def _kept(home: Path) -> Facts:
    file = StateFolder(home).facts
    if not file.exists():
        return Facts()
    try:
        state = dict(json.loads(file.read_text()))
    except ValueError:
        state = {}
    if state.get("format") != _FORMAT:
        raise SettingsError("home-other-version", folder=home, format=repr(state.get("format")), own=_FORMAT)
    return Facts(state["id"], state["ports"])


def _ports_from(environ: Mapping[str, str]) -> dict[str, int]:
    ports = {}
    for name, default in PORTS.items():
        variable = f"LABKIT_{name.upper()}_PORT"
        text = environ.get(variable)
        if text is None:
            continue
        if not text.isdecimal() or not 1 <= int(text) <= 65535:
            raise SettingsError("setting-no-port", variable=variable, value=repr(text), default=default)
        ports[name] = int(text)
    return ports


def _chosen(ports: dict[str, int], free_ports: bool) -> dict[str, int]:
    """These ports, and for each name without one the well-known port or, where that won't do, another."""
    others: Sequence[int] = ()
    for index, (name, default) in enumerate(PORTS.items()):
        if name not in ports:
            taken = free_ports or default in ports.values() or not port_is_free(default)
            others = others or (_free_block(ports.values()) if taken else ())
            ports[name] = others[index] if taken else default
    for one, other in combinations(PORTS, 2):
        if ports[one] == ports[other]:
            variables = f"LABKIT_{one.upper()}_PORT or LABKIT_{other.upper()}_PORT"
            raise SettingsError("port-meant-twice", port=ports[one], one=one, other=other, variables=variables)
    return ports


def _free_block(taken: Collection[int]) -> Sequence[int]:
    """Ports in a row, below the range from which systems take ports for outgoing connections.

    Every lab chooses among the same rows. So a lab of which one server runs keeps all of its row, also the ports that it uses later.
    """
    for _ in range(1000):
        first = random.randrange(20000, 30000, len(PORTS))  # noqa: S311
        block = range(first, first + len(PORTS))
        if not set(block) & set(taken) and all(map(port_is_free, block)):
            return block
    raise SettingsError("no-free-port")
