"""Where things run: the LABKIT_* variables, their defaults, and the home folder that keeps a lab's state.

============================  =====================================================  =========================
variable                      what it sets                                           default
============================  =====================================================  =========================
``LABKIT_HOME``               the folder with one lab's servers, secrets and logs    ``.labkit`` in the checkout
``LABKIT_CACHE``              the folder with programs, shared between checkouts     the user's cache folder
``LABKIT_WORKSHOP``           a folder whose files replace those of                  none
                              ``labkit/platform``
``LABKIT_OIDC``               how the API server is told whom to believe: one of     ``structured``
                              `OIDC_STYLES`
``LABKIT_PORTAL_TOKEN``       where the portal keeps a person's Keycloak token: one  ``memory``
                              of `PORTAL_TOKENS`
``LABKIT_CLUSTER``            where the cluster comes from: one of `CLUSTERS`        ``local``, or ``kind``
                                                                                     where the home has one
``LABKIT_SECRETS``            whose passwords and client secrets the realm has: one  ``auto``
                              of `SECRETS`
``LABKIT_CONTEXT``            for an external cluster: its administrator's context   none
                              in the person's own kubeconfig (``KUBECONFIG``)
``LABKIT_KIND_IMAGE``         the node image of a KinD cluster, such as a company's    labkit's pinned one
                              registry has it
``LABKIT_KRATIX_SOURCE``      a checkout of Kratix with its controller built, for     none
                              a local cluster
``LABKIT_<NAME>_PORT``        a port, for each name in `PORTS`                       see `PORTS`
============================  =====================================================  =========================

A Keycloak that one already has is named by more of them: see `labkit.config.hosting`.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shlex
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal, TypeVar, get_args

from ..common.errors import SettingsError
from ..common.ownership import CODE, make_private, require_own
from ..common.platform_folder import OWN
from .hosting import Hosted, hosted_from
from .ports import port_is_free
from .state_folder import StateFolder

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

OidcStyle = Literal["structured", "flags"]

OIDC_STYLES: tuple[OidcStyle, ...] = get_args(OidcStyle)
"""``structured``: by an AuthenticationConfiguration in a file, which refuses more; ``flags``: by ``--oidc-*`` flags, as most clusters."""

PortalToken = Literal["memory", "claim"]

PORTAL_TOKENS: tuple[PortalToken, ...] = get_args(PortalToken)
"""``memory``: in the backend's memory alone; ``claim``: in the Backstage token, as the claim ``tok``, for every plugin to read."""

ClusterChoice = Literal["local", "kind", "external"]

CLUSTERS: tuple[ClusterChoice, ...] = get_args(ClusterChoice)
"""``local``: plain processes; ``kind``: in a container; ``external``: somebody else's."""

SecretsChoice = Literal["auto", "demo", "own"]

SECRETS: tuple[SecretsChoice, ...] = get_args(SecretsChoice)
"""``demo``: those that realm.yaml publishes; ``own``: random ones of the home's; ``auto``: own wherever others can reach."""

HOME_FORMAT = 1
FIRST_LAB = "00-start-here.ipynb"


@dataclass(frozen=True)
class Settings:
    """Where one lab runs.

    Attributes:
        root: The checkout: the folder that holds ``notebooks/``.
        home: The lab's state (mode 0700): servers' data, secrets, logs, kubeconfig.
        home_id: A random id of that home, to mark what belongs to it.
        cache: Programs, keyed by version.
        workshop_folder: The folder whose files replace labkit's own platform files.
        ports: Port numbers by the names in `PORTS`.
        oidc: How the API server is told whom to believe.
        portal_keeps: Where the portal keeps a person's Keycloak token.
        hosted: The Keycloak that one already has; None when the lab starts its own.
        cluster: Where the cluster comes from.
        secrets: Whose passwords and client secrets the realm has.
        context: The administrator's context of an external cluster; empty when none is named.
        kind_image: The node image of a KinD cluster; empty for labkit's pinned one.
        kratix_source: A checkout of Kratix with its controller built; None when none is named.
    """

    root: Path
    home: Path
    home_id: str
    cache: Path
    workshop_folder: Path
    ports: Mapping[str, int]
    oidc: OidcStyle = "structured"
    portal_keeps: PortalToken = "memory"
    hosted: Hosted | None = None
    cluster: ClusterChoice = "local"
    secrets: SecretsChoice = "auto"
    context: str = ""
    kind_image: str = ""
    kratix_source: Path | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; a home that is not there yet is made, with ports of its own.

        Raises:
            SettingsError: A variable is malformed, or the home can't be made, read or used by this version.
        """
        env = os.environ if environ is None else environ
        oidc = _one_of(OIDC_STYLES, "LABKIT_OIDC", env, "no way to tell the API server whom to believe")
        portal_keeps = _one_of(PORTAL_TOKENS, "LABKIT_PORTAL_TOKEN", env, "no place for the portal to keep a token")
        hosted = hosted_from(env)
        cluster = _one_of(CLUSTERS, "LABKIT_CLUSTER", env, "no place that a cluster can come from")
        secrets = _one_of(SECRETS, "LABKIT_SECRETS", env, "no kind of secrets")
        root = find_root() if env.get("LABKIT_HOME") else own_root()
        home = _path(env.get("LABKIT_HOME")) or root / ".labkit"
        state = open_home(home, environ=env)
        return cls(
            root=root,
            home=home,
            home_id=str(state["id"]),
            cache=_path(env.get("LABKIT_CACHE")) or _users_cache(),
            workshop_folder=_path(env.get("LABKIT_WORKSHOP")) or OWN,
            ports=_port_numbers(state),
            oidc=oidc,
            portal_keeps=portal_keeps,
            hosted=hosted,
            cluster=cluster if "LABKIT_CLUSTER" in env else _kept_in(home),
            secrets=secrets,
            context=env.get("LABKIT_CONTEXT", ""),
            kind_image=_image(env.get("LABKIT_KIND_IMAGE", "")),
            kratix_source=_path(env.get("LABKIT_KRATIX_SOURCE")),
        )

    @property
    def state(self) -> StateFolder:
        """What lies where in the state folder."""
        return StateFolder(self.home)

    def variables(self) -> dict[str, str]:
        """The variables that lead another process to this lab, also one that has others of them; none is a secret."""
        folders = {"LABKIT_HOME": self.home, "LABKIT_CACHE": self.cache, "LABKIT_WORKSHOP": self.workshop_folder}
        chosen = {
            "LABKIT_CLUSTER": self.cluster,
            "LABKIT_CONTEXT": self.context,
            "LABKIT_SECRETS": self.secrets,
            "LABKIT_KIND_IMAGE": self.kind_image,
        }
        keycloak = self.hosted.variables if self.hosted else {"LABKIT_KEYCLOAK": "local"}
        return {**{name: str(path) for name, path in folders.items()}, **chosen, **keycloak}

    def within(self, home: Path) -> Settings:
        """The settings of a lab in another state folder, to be broken: on this machine, on ports of its own, with labkit's own workshop.

        Its secrets are chosen as this home's are.

        Raises:
            SettingsError: The folder can't be made, read or used by this version.
        """
        home = home.resolve()
        state = open_home(home, environ={}, free_ports=True)
        return Settings(
            root=self.root,
            home=home,
            home_id=str(state["id"]),
            cache=self.cache,
            workshop_folder=OWN,
            ports=_port_numbers(state),
            # An API server that is told by flags can be told something else in the five seconds of a restart.
            oidc="flags",
            cluster="local",
            secrets=self.secrets,
        )

    def url(self, port_name: str, scheme: str = "https") -> str:
        """The base URL of the server on that port, as every client names it: by ``localhost``."""
        return f"{scheme}://localhost:{self.ports[port_name]}"


def find_root(start: Path | None = None) -> Path:
    """The checkout that holds the labs: above the current folder, else around this package, else the current folder.

    Notebook tools start kernels in different folders (papermill in the caller's, nbval in the notebook's), so it is searched for.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, CODE):
        if _has_labs(folder):
            return folder
    return here


def own_root() -> Path:
    """The checkout for what is run from it or kept in it.

    The one that this package lies in needs no look: whoever may change it decides already what runs here.

    Raises:
        SettingsError: It was found by the search, and is not the person's own.
    """
    root = find_root()
    if root != CODE and _has_labs(root):
        instead = f"work on a copy of your own: cp -R {shlex.quote(str(root))} ~/labs && cd ~/labs"
        for folder in (root, root / "notebooks"):
            require_own(folder, "the labs' notebooks", instead)
    return root


def open_home(home: Path, *, environ: Mapping[str, str] | None = None, free_ports: bool = False) -> dict[str, object]:
    """Read a home's ``home.json``, making the home at first use.

    Args:
        home: The folder; made with mode 0700.
        environ: Where ``LABKIT_<NAME>_PORT`` is looked up; such a port is taken as it is and kept in the home.
        free_ports: For a new home: take ports out of everybody's way instead of the well-known ones.

    Returns:
        ``{"format": int, "id": str, "ports": {name: int}}``; the ports stay the same for the home's life.

    Raises:
        SettingsError: The folder can't be written, it is not the person's own, a newer or older labkit made it, or two servers have the
            same port.
    """
    wanted = _ports_from(os.environ if environ is None else environ)
    with writing(home):
        make_private(home)
        require_own(home, "a lab's keys and passwords, and commands that kubectl runs", "export LABKIT_HOME=~/labkit-home")
        there = StateFolder(home)
        state = _read(there.facts)
        ports: dict[str, int] = dict(state.get("ports", {}))  # type: ignore[call-overload]
        if ports.keys() == PORTS.keys() and ports == {**ports, **wanted}:
            return state
        # Only what changes it needs the lock, whose import takes longer than all of this.
        from filelock import FileLock

        with FileLock(there.facts_lock, mode=0o600):
            return _read_or_make(there.facts, wanted, free_ports)


def write_private(path: Path, text: str | bytes, mode: int = 0o600) -> None:
    """Write a file whole or not at all: to a temporary name with that mode, then renamed over ``path``.

    Raises:
        SettingsError: The disk is full, or the folder is not the person's to write to.
    """
    with writing(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_unfinished(path)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode() if isinstance(text, str) else text)
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write below a path into an error that says what to do."""
    try:
        yield
    except OSError as error:
        msg = f"{path} can't be written"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "make room on the disk that holds it" if full else "set LABKIT_HOME to a folder that you may write to"
        raise SettingsError(msg, why=error.strerror or str(error), fix=fix) from error


def _kept_in(home: Path) -> ClusterChoice:
    """Where a home's cluster comes from when no variable says it: from KinD as long as the home has a cluster there.

    kind writes the kubeconfig once its cluster is made, and labkit removes it with the cluster.
    """
    return "kind" if StateFolder(home).kind_kubeconfig.exists() else CLUSTERS[0]


def _has_labs(folder: Path) -> bool:
    return (folder / "notebooks" / FIRST_LAB).is_file()


def _remove_unfinished(path: Path) -> None:
    """Remove what writers of ``path`` left when they were killed: it may hold secrets."""
    for file in path.parent.glob(f".{path.name}.*.*"):
        import psutil

        writer = file.name.removeprefix(f".{path.name}.").partition(".")[0]
        if writer.isdecimal() and not psutil.pid_exists(int(writer)):
            file.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, object]:
    """What a home's file says; nothing when there is none."""
    if not file.exists():
        return {}
    try:
        state = dict(json.loads(file.read_text()))
    except ValueError:
        state = {}
    if state.get("format") != HOME_FORMAT:
        msg = f"{file.parent} was made by another version of labkit"
        fix = f"stop what runs there with the version that made it, then remove the folder {file.parent}"
        raise SettingsError(msg, why=f"its format is {state.get('format')!r}, this version's is {HOME_FORMAT}", fix=fix)
    return state


def _read_or_make(file: Path, wanted: dict[str, int], free_ports: bool) -> dict[str, object]:
    state = _read(file)
    ports: dict[str, int] = dict(state.get("ports", {}))  # type: ignore[call-overload]
    ports.update(wanted)
    for name, default in PORTS.items():
        if name not in ports:
            taken = free_ports or default in ports.values() or not port_is_free(default)
            ports[name] = _free_port(ports) if taken else default
    for one, other in combinations(PORTS, 2):
        if ports[one] == ports[other]:
            msg = f"port {ports[one]} is meant for {one} and for {other}"
            raise SettingsError(msg, fix=f"set LABKIT_{one.upper()}_PORT or LABKIT_{other.upper()}_PORT to another port")
    made = {"format": HOME_FORMAT, "id": state.get("id") or uuid.uuid4().hex, "ports": ports}
    if made != state:
        write_private(file, json.dumps(made, indent=1) + "\n")
    return made


def _port_numbers(state: dict[str, object]) -> dict[str, int]:
    return {name: int(port) for name, port in dict(state["ports"]).items()}  # type: ignore[call-overload]


def _ports_from(env: Mapping[str, str]) -> dict[str, int]:
    ports = {}
    for name, default in PORTS.items():
        variable = f"LABKIT_{name.upper()}_PORT"
        text = env.get(variable)
        if text is None:
            continue
        if not text.isdecimal() or not 1 <= int(text) <= 65535:
            msg = f"{variable} is {text!r}, which is no port"
            raise SettingsError(msg, fix=f"give a number from 1 to 65535, or unset it for {default}")
        ports[name] = int(text)
    return ports


def _image(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?", text):
        msg = f"LABKIT_KIND_IMAGE is {text!r}, which names no image"
        raise SettingsError(msg, fix="name it as docker pull takes it, such as registry.example/kindest/node:v1.37.0, or unset it")
    return text


_Choice = TypeVar("_Choice", bound=str)


def _one_of(choices: tuple[_Choice, ...], variable: str, env: Mapping[str, str], what: str) -> _Choice:
    """What a variable says, the first of the choices when it is not set."""
    text = env.get(variable, choices[0])
    for choice in choices:
        if text == choice:
            return choice
    msg = f"{variable} is {text!r}, which is {what}"
    raise SettingsError(msg, fix=f"set it to {', '.join(choices[:-1])} or {choices[-1]}, or unset it for {choices[0]}")


def _free_port(taken: Mapping[str, int]) -> int:
    """A free port below the range from which systems take ports for outgoing connections."""
    for _ in range(1000):
        port = random.randint(20000, 29999)  # noqa: S311
        if port not in taken.values() and port_is_free(port):
            return port
    msg = "no free port found between 20000 and 29999"
    raise SettingsError(msg, fix="stop what listens there, or name ports with LABKIT_<NAME>_PORT")


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser().resolve() if text else None


def _users_cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("labkit", appauthor=False))
