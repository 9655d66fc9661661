"""Where things run: the LABKIT_* variables. docs/operator.md tells what each sets, and its default."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from ..common.errors import SettingsError
from ..common.ownership import CODE, require_own
from ..common.platform_folder import OWN
from .hosting import Hosted, behind_proxy, hosted_from, one_of
from .state_folder import StateFolder, open_state_folder, read_facts, require_own_home, require_usable

OidcStyle = Literal["structured", "flags"]
"""``structured``: by an AuthenticationConfiguration in a file, which refuses more; ``flags``: by ``--oidc-*`` flags, as most clusters."""

OIDC_STYLES: tuple[OidcStyle, ...] = get_args(OidcStyle)

PortalToken = Literal["memory", "claim"]
"""``memory``: in the backend's memory alone; ``claim``: in the Backstage token, as the claim ``tok``, for every plugin to read."""

ClusterChoice = Literal["local", "kind", "external"]
"""``local``: plain processes; ``kind``: in a container; ``external``: somebody else's."""

SecretsChoice = Literal["auto", "demo", "own"]
"""``demo``: those that realm.yaml publishes; ``own``: random ones of the lab's; ``auto``: own wherever others can reach."""

FIRST_LAB = "00-start-here.ipynb"


@dataclass(frozen=True)
class Settings:
    """Where one lab runs; `load` shows which variable sets what.

    Attributes:
        root: The checkout: the folder that holds ``notebooks/``.
        folder: The state folder.
        folder_id: A random id of it, to mark what belongs to it; empty when it is not made yet.
        cache: The folder with programs, shared between checkouts.
        ports: Port numbers by the names in `PORTS`.
        hosted: The Keycloak that one already has; None when the lab starts its own.
        portal_proxied: The portal's address for browsers that come through a proxy; empty without one.
        seat: The folder of the seat that this is the lab of; None outside of a room.
        context: Empty when none is named, as is ``kind_image`` for labkit's pinned one.
        opened: Whether the state folder is open for use: what only looks makes nothing in it.
    """

    root: Path
    folder: Path
    folder_id: str
    cache: Path
    workshop_folder: Path
    ports: dict[str, int]
    oidc: OidcStyle = "structured"
    portal_keeps: PortalToken = "memory"
    portal_proxied: str = ""
    seat: Path | None = None
    hosted: Hosted | None = None
    cluster: ClusterChoice = "local"
    secrets: SecretsChoice = "auto"
    context: str = ""
    kind_image: str = ""
    kratix_source: Path | None = None
    opened: bool = field(default=False, compare=False)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings, and make nothing; see `read_facts` for a state folder that is not there yet.

        Raises:
            SettingsError: A variable is malformed, or the state folder can't be used by this person or this version.
        """
        env = os.environ if environ is None else environ
        hosted = hosted_from(env)
        root, folder = _root_and_home(env)
        facts = read_facts(folder, env)
        cache = _path(env.get("LABKIT_CACHE")) or _users_cache()
        require_usable(cache, "LABKIT_CACHE")
        # kind writes the kubeconfig once its cluster is made, and labkit removes it with the cluster.
        kept = {"LABKIT_CLUSTER": "kind"} if StateFolder(folder).kind_kubeconfig.exists() else {}
        return cls(
            root=root,
            folder=folder,
            folder_id=facts.id,
            cache=cache,
            workshop_folder=_path(env.get("LABKIT_WORKSHOP")) or OWN,
            ports=facts.ports,
            oidc=one_of(OidcStyle, "LABKIT_OIDC", env),
            portal_keeps=one_of(PortalToken, "LABKIT_PORTAL_TOKEN", env),
            portal_proxied=behind_proxy(env.get("LABKIT_PORTAL_URL", "")),
            seat=folder.parent if env.get("LABKIT_ROOM_VIEW") else None,
            hosted=hosted,
            cluster=one_of(ClusterChoice, "LABKIT_CLUSTER", {**kept, **env}),
            secrets=one_of(SecretsChoice, "LABKIT_SECRETS", env),
            context=env.get("LABKIT_CONTEXT", ""),
            kind_image=_image(env.get("LABKIT_KIND_IMAGE", "")),
            kratix_source=_path(env.get("LABKIT_KRATIX_SOURCE")),
        )

    @classmethod
    def open(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Make the state folder if it is not there yet, and read the settings; raises what `load` and `open_state_folder` do."""
        settings = cls.load(environ)
        facts = open_state_folder(settings.folder, environ=environ)
        return replace(settings, folder_id=facts.id, ports=facts.ports, opened=True)

    @classmethod
    def to_stop(cls) -> Settings:
        """What it takes to stop the servers of a state folder of which anything else can't be read.

        Raises:
            SettingsError: The folder is not the person's own.
        """
        root, folder = _root_and_home(os.environ)
        require_own_home(folder)
        return cls(root, folder, "of a damaged folder", cache=folder, workshop_folder=OWN, ports={})

    @property
    def state(self) -> StateFolder:
        """What lies where in the state folder."""
        return StateFolder(self.folder)

    def variables(self) -> dict[str, str]:
        """The variables that lead another process to this lab, also one that has others of them; none is a secret."""
        folders = {"LABKIT_HOME": self.folder, "LABKIT_CACHE": self.cache, "LABKIT_WORKSHOP": self.workshop_folder}
        chosen = {
            "LABKIT_CLUSTER": self.cluster,
            "LABKIT_CONTEXT": self.context,
            "LABKIT_SECRETS": self.secrets,
            "LABKIT_KIND_IMAGE": self.kind_image,
        }
        keycloak = self.hosted.variables if self.hosted else {"LABKIT_KEYCLOAK": "local"}
        return {**{name: str(path) for name, path in folders.items()}, **chosen, **keycloak}

    def within(self, folder: Path) -> Settings:
        """The settings of a lab in another state folder, to be broken: on this machine, on ports of its own, with labkit's own workshop.

        Its secrets are chosen as this lab's are.

        Raises:
            SettingsError: The folder can't be made, read or used by this version.
        """
        folder = folder.resolve()
        facts = open_state_folder(folder, environ={}, free_ports=True)
        # An API server that is configured by flags can be reconfigured in the five seconds of a restart.
        return Settings(self.root, folder, facts.id, self.cache, OWN, facts.ports, oidc="flags", secrets=self.secrets, opened=True)

    def starting(self, *ports: str) -> None:
        """Choose ports of servers that are about to start anew if somebody else has them; raises what `open_state_folder` does.

        Whoever holds these settings sees them.
        """
        with_variable = {name for name in ports if f"LABKIT_{name.upper()}_PORT" in os.environ}
        self.ports.update(open_state_folder(self.folder, environ={}, starting=set(ports) - with_variable).ports)

    @property
    def place(self) -> Path:
        """Where copies of the labs and results go: the checkout; beside the state folder in a room, and where nobody may write there."""
        return self.root if self.seat is None and os.access(self.root, os.W_OK) else self.folder.parent

    @property
    def portal_page(self) -> str:
        """The portal's base URL for browsers, which redirect URIs begin with."""
        return self.portal_proxied or self.url("portal", "http")

    @property
    def portal_socket(self) -> Path | None:
        """In a seat, where its JupyterLab asks the portal: in the seat's folder nobody else can listen in its place."""
        return self.seat / "portal.sock" if self.seat and self.portal_proxied else None

    def url(self, port_name: str, scheme: str = "https") -> str:
        """The base URL of the server on that port, as every client names it: by ``localhost``."""
        return f"{scheme}://localhost:{self.ports[port_name]}"


def find_root(start: Path | None = None) -> Path:
    """The checkout that holds the labs: above the current folder, else around this package, else the current folder.

    Notebook tools start kernels in different folders (papermill in the caller's, nbval in the notebook's), so it is searched for.
    """
    here = (start or Path.cwd()).resolve()
    return next((folder for folder in (here, *here.parents, CODE) if _has_labs(folder)), here)


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


def checkout() -> Path:
    """Give `own_root`, for what needs the labs themselves; raises `SettingsError` where there are none, as with a wheel."""
    root = own_root()
    if not _has_labs(root):
        raise SettingsError("no-labs-here", folder=root)
    return root


def _root_and_home(env: Mapping[str, str]) -> tuple[Path, Path]:
    named = _path(env.get("LABKIT_HOME"))
    root = find_root() if named else own_root()
    return root, named or root / ".labkit"


def _has_labs(folder: Path) -> bool:
    return (folder / "notebooks" / FIRST_LAB).is_file()


def _image(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?", text):
        raise SettingsError("setting-no-image", value=repr(text))
    return text


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser().resolve() if text else None


def _users_cache() -> Path:
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("labkit", appauthor=False))
    except RuntimeError:
        raise SettingsError("no-home-directory") from None
