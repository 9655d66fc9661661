"""The state folder: everything that a lab keeps lies in it. What it was made with, its id and its ports, stays for its life.

A port that somebody else has is chosen anew while nobody knows it: none of a folder that has started no server yet is known, and some
never are; see `open_state_folder`.
"""

from __future__ import annotations

import json
import os
import random
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from ..common.errors import SettingsError
from ..common.ownership import make_private, require_own
from .files import read_state, write_private, writing
from .neighbours import neighbours
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
    "room": 8000,
}
"""Every port a lab listens on, with the number that is taken when it is free."""

KNOWN_BY_HEART = {"keycloak", "kubernetes", "portal", "kind_31337", "kind_31340", "kind_31333", "room"}
"""Those in an address that people and files hold; the others may be chosen anew."""

_FORMAT = 1
_PLAIN_PATH = re.compile(r"(?:[\w /.~=()-]|[@+](?!\())*")
"""Scripts, option files and search paths of the programs that labkit runs give other characters a meaning of their own."""


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
        room: The state folder of the room that is run from here.
        rehearsal: That of the room of a rehearsal.
        progress: The steps that are done.
        jupyter: The configuration of JupyterLab and IPython, in place of the person's own.
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
        self.room: Final = root / "room"
        self.rehearsal: Final = root / "rehearsal"
        self.progress: Final = root / "progress.json"
        self.jupyter: Final = root / "jupyter"

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
    ports: dict[str, int] = field(default_factory=dict)


def read_facts(folder: Path, environ: Mapping[str, str]) -> Facts:
    """Read a state folder's facts, and make nothing: a folder that is not there has no id, and the well-known ports.

    A port that ``LABKIT_<NAME>_PORT`` of the environment names is taken as it is.

    Raises:
        SettingsError: The folder is not the person's own, has a name that won't do, is damaged, or another labkit made it; a variable is no
            port.
    """
    wanted = _ports_from(environ)
    require_usable(folder, "LABKIT_HOME")
    with writing(folder):
        require_own_home(folder)
        kept = _kept(folder)
    return Facts(kept.id, {**PORTS, **kept.ports, **wanted})


def open_state_folder(
    folder: Path, *, environ: Mapping[str, str] | None = None, free_ports: bool = False, starting: Collection[str] = ()
) -> Facts:
    """Read a state folder's facts; make it, with mode 0700, at first use, and keep the ports that variables name.

    No port is chosen that another state folder of this person has, whether or not its servers run.

    Args:
        free_ports: For a new folder: take ports out of everybody's way instead of the well-known ones.
        starting: Ports of servers that are about to start: one that somebody else has is chosen anew, unless it is `KNOWN_BY_HEART`.
            When none is named, and no server has ever started here, that holds for all ports.

    Raises:
        SettingsError: Besides what `read_facts` raises: it can't be written, or two servers have the same port.
    """
    # Imported on use: `labkit credential`, which only reads, waits for every import.
    from filelock import FileLock

    environ = os.environ if environ is None else environ
    with writing(folder):
        make_private(folder)
        read_facts(folder, environ)
        with FileLock(StateFolder(folder).facts_lock, mode=0o600), neighbours(folder, StateFolder(folder).facts.name) as others:
            kept = _kept(folder)
            begun = starting or StateFolder(folder).run.exists() or StateFolder(folder).kind.exists()
            unknown = set(starting) - KNOWN_BY_HEART if begun else set(kept.ports)
            moved = {name for name in unknown if not port_is_free(kept.ports[name])}
            settled = {name: port for name, port in kept.ports.items() if name not in moved}
            ports = _chosen({**settled, **_ports_from(environ)}, free_ports, _ports_of(others))
            made = Facts(kept.id or uuid.uuid4().hex, ports)
            if made != kept:
                write_private(StateFolder(folder).facts, json.dumps({"format": _FORMAT, **asdict(made)}, indent=1) + "\n")
            return made


def require_own_home(folder: Path) -> None:
    """Insist that a state folder, if it is there, is the person's own; raises what `require_own` does."""
    if folder.is_dir():
        require_own(folder, "a lab's keys and passwords, and commands that kubectl runs", "export LABKIT_HOME=~/labkit-home")


def require_usable(folder: Path, variable: str) -> None:
    """Insist that a folder, whose variable is named, can be used by all the programs that labkit runs.

    Raises:
        SettingsError: Its name has a character that one of them gives a meaning of its own, or its file system runs no programs.
    """
    if not _PLAIN_PATH.fullmatch(str(folder)):
        strange = " ".join(sorted(set(_PLAIN_PATH.sub("", str(folder)))))
        raise SettingsError("folder-strange-name", folder=folder, strange=strange, variable=variable)
    there = next(place for place in (folder, *folder.parents) if os.path.exists(place))  # noqa: PTH110 - none may be readable
    if os.statvfs(there).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise SettingsError("folder-noexec", folder=folder, variable=variable)


def _kept(folder: Path) -> Facts:
    file = StateFolder(folder).facts
    if not file.exists():
        return Facts()
    state = read_state(file, "which ports this lab has, and its id", lambda found: _is_ours(found) or _is_of_another(found))
    if _is_of_another(state):
        raise SettingsError("home-other-version", folder=folder, format=repr(state["format"]), own=_FORMAT)
    return Facts(state["id"], state["ports"])


def _is_ours(state: Mapping[str, Any]) -> bool:
    name, ports = state.get("id"), state.get("ports")
    well_formed = isinstance(name, str) and isinstance(ports, dict) and all(map(_is_port, ports.values()))
    return state.get("format") == _FORMAT and bool(name) and well_formed


def _is_of_another(state: Mapping[str, Any]) -> bool:
    return type(state.get("format")) is int and state["format"] != _FORMAT


def _is_port(number: object) -> bool:
    return type(number) is int and 1 <= number <= 65535


def _ports_of(folders: Sequence[Path]) -> set[int]:
    taken: set[int] = set()
    for folder in folders:
        # A damaged one is reported to whoever uses it.
        with suppress(SettingsError, OSError):
            taken.update(_kept(folder).ports.values())
    return taken


def _ports_from(environ: Mapping[str, str]) -> dict[str, int]:
    ports = {}
    for name, default in PORTS.items():
        variable = f"LABKIT_{name.upper()}_PORT"
        text = environ.get(variable)
        if text is None:
            continue
        if not text.isdecimal() or not _is_port(int(text)):
            raise SettingsError("setting-no-port", variable=variable, value=repr(text), default=default)
        ports[name] = int(text)
    return ports


def _chosen(ports: dict[str, int], free_ports: bool, reserved: Collection[int]) -> dict[str, int]:
    """These ports, and for each name without one the well-known port or, where that won't do, another."""
    others: Sequence[int] = ()
    for index, (name, default) in enumerate(PORTS.items()):
        if name not in ports:
            taken = free_ports or default in ports.values() or default in reserved or not port_is_free(default)
            others = others or (_free_block({*ports.values(), *reserved}) if taken else ())
            ports[name] = others[index] if taken else default
    for one, other in combinations(PORTS, 2):
        if ports[one] == ports[other]:
            variables = f"LABKIT_{one.upper()}_PORT or LABKIT_{other.upper()}_PORT"
            raise SettingsError("port-meant-twice", port=ports[one], one=one, other=other, variables=variables)
    return {name: ports[name] for name in PORTS}


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
