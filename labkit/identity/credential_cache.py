"""What ``labkit credential USER`` answers kubectl, as far as it takes no request: an ExecCredential with a token that was kept.

kubectl runs that for each command and waits, so this module imports next to nothing: no workshop, no HTTP, no Keycloak.
Source: kubernetes.io, *Authenticating*, client-go credential plugins, input and output formats.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TypedDict

from ..common.platform_folder import find
from ..config.files import write_private
from ..config.settings import Settings

RENEW_SECONDS = 30
"""A token with less time left than this is renewed before it is used."""


class Kept(TypedDict):
    """What the cache holds of a user; ``origin`` is `CredentialCache.origin`, ``expires`` is in seconds since 1970 (UTC)."""

    origin: str
    id_token: str
    refresh_token: str
    expires: int


class CredentialCache:
    """The tokens that are kept between calls, one file a user with mode 0600, in ``folder``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.state.credentials

    @property
    def origin(self) -> str:
        """A digest of what decides whose tokens these are: where Keycloak is, and what the workshop declares."""
        place = self._settings.hosted.variables if self._settings.hosted else self._settings.url("keycloak")
        declared = b"".join(find(name, self._settings.workshop_folder).read_bytes() for name in ("realm.yaml", "oidc-flags.yaml"))
        return hashlib.sha256(repr(place).encode() + declared).hexdigest()

    def credential(self, username: str) -> str:
        """The ExecCredential of a user whose token has time left; empty when there is none."""
        kept = self.kept(username)
        return _answer(kept) if kept and kept["expires"] - time.time() > RENEW_SECONDS else ""

    def kept(self, username: str) -> Kept | None:
        """What is kept of a user, whether or not its token has time left; None when it is of another origin."""
        try:
            kept: Kept = json.loads(self._file(username).read_text())
            return kept if isinstance(kept, dict) and kept.get("origin") == self.origin else None
        except (OSError, ValueError):
            return None

    def keep(self, username: str, id_token: str, refresh_token: str, expires: int) -> str:
        """Keep a user's tokens; returns the ExecCredential, however little time is left."""
        kept = Kept(origin=self.origin, id_token=id_token, refresh_token=refresh_token, expires=expires)
        write_private(self._file(username), json.dumps(kept))
        return _answer(kept)

    def files(self) -> list[Path]:
        """The files that hold somebody's tokens."""
        return sorted(self.folder.glob("*"))

    def forget(self, username: str = "*") -> None:
        """Remove a user's tokens, or everybody's."""
        for file in self.folder.glob(f"{username}.json"):
            file.unlink(missing_ok=True)

    def _file(self, username: str) -> Path:
        return self.folder / f"{username}.json"


def _answer(kept: Kept) -> str:
    """The ExecCredential (v1) that holds a kept token, as JSON."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept["expires"]))
    status = {"token": kept["id_token"], "expirationTimestamp": moment}
    return json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
