"""What ``labkit credential USER`` answers kubectl: an ExecCredential with an ID token, from a cache or fresh.

Source: kubernetes.io, *Authenticating*, client-go credential plugins, input and output formats.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from filelock import FileLock, Timeout

from ..errors import IdentityError, KeycloakUnreachable, SignInRefused
from ..settings import write_private
from ..workshop import Client, User
from .keycloak import Keycloak
from .session import RENEW_SECONDS, Session, key_id, resume, sign_in

_LOCK_SECONDS = 60


class _Kept(TypedDict):
    """What the cache holds of a user; ``realm`` is the realm's address, ``expires`` in seconds since 1970 (UTC)."""

    realm: str
    id_token: str
    refresh_token: str
    expires: int


def exec_credential(keycloak: Keycloak, client: Client, user: User, folder: Path) -> str:
    """The ExecCredential (v1) for a user, as JSON.

    A cached token with time left is handed over, if the realm still vouches for the key that signed it: the API server would go on
    saying 401 until the token expires, and kubectl calls this for each command.

    Several may ask at once, as kubectl does that runs in parallel. One of them gets new tokens, as a refresh token may be good for one
    use only; the others wait for what it gets.

    Args:
        keycloak: Where to sign in when the cache holds nothing of use.
        client: The client whose ID tokens the API server takes.
        user: Who.
        folder: Where tokens are kept between calls, one file a user with mode 0600.

    Raises:
        KeycloakUnreachable: Nothing is cached and nothing answers.
        SignInRefused: Keycloak says no.
        IdentityError: Another process has been getting tokens for a minute.
    """
    cache = folder / f"{user.username}.json"
    if kept := _usable(keycloak, cache):
        return _answer(kept)
    with _lock(folder):
        return _answer(_usable(keycloak, cache) or _fresh(keycloak, client, user, cache))


def _usable(keycloak: Keycloak, cache: Path) -> _Kept | None:
    """What is cached, if it may be handed over."""
    kept = _kept(cache, keycloak.realm_url)
    usable = kept and kept["expires"] - time.time() > RENEW_SECONDS and _is_vouched_for(keycloak, kept["id_token"])
    return kept if usable else None


def _fresh(keycloak: Keycloak, client: Client, user: User, cache: Path) -> _Kept:
    """New tokens, cached."""
    kept = _kept(cache, keycloak.realm_url)
    session = (_renewed(keycloak, client, user, kept["refresh_token"]) if kept else None) or sign_in(keycloak, client, user)
    tokens = session.tokens
    facts = _Kept(realm=keycloak.realm_url, id_token=tokens.id_token, refresh_token=tokens.refresh_token, expires=session.expires)
    write_private(cache, json.dumps(facts))
    return facts


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Be the only one to get new tokens; the system frees the lock of one that was killed."""
    # Beside the folder, in which whatever lies is somebody's token.
    lock = FileLock(folder.with_suffix(".lock"), timeout=_LOCK_SECONDS, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        msg = f"another process has been getting tokens for {_LOCK_SECONDS} s"
        raise IdentityError(msg, fix=f"see whether Keycloak is well: labkit status; whoever holds {lock.lock_file} is the one") from error
    try:
        yield
    finally:
        lock.release()


def _is_vouched_for(keycloak: Keycloak, token: str) -> bool:
    """Whether the realm still has the token's key. While Keycloak is down nobody can say."""
    try:
        return key_id(token) in keycloak.key_ids()
    except KeycloakUnreachable:
        return True


def _renewed(keycloak: Keycloak, client: Client, user: User, refresh_token: str) -> Session | None:
    try:
        return resume(keycloak, client, user.username, refresh_token)
    except SignInRefused:
        return None


def _kept(cache: Path, realm: str) -> _Kept | None:
    try:
        kept: _Kept = json.loads(cache.read_text())
    except (OSError, ValueError):
        return None
    return kept if kept.get("realm") == realm else None


def _answer(kept: _Kept) -> str:
    moment = datetime.datetime.fromtimestamp(kept["expires"], datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"token": kept["id_token"], "expirationTimestamp": moment}
    return json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
