"""What ``labkit credential USER`` answers kubectl: an ExecCredential with an ID token, from a cache or fresh.

Source: kubernetes.io, *Authenticating*, client-go credential plugins, input and output formats.
"""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path
from typing import TypedDict

from ..errors import KeycloakUnreachable, SignInRefused
from ..settings import write_private
from ..workshop import Client, User
from .keycloak import Keycloak
from .session import RENEW_SECONDS, Session, key_id, resume, sign_in


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

    Args:
        keycloak: Where to sign in when the cache holds nothing of use.
        client: The client whose ID tokens the API server takes.
        user: Who.
        folder: Where tokens are kept between calls, one file a user with mode 0600.

    Raises:
        KeycloakUnreachable: Nothing is cached and nothing answers.
        SignInRefused: Keycloak says no.
    """
    cache = folder / f"{user.username}.json"
    kept = _kept(cache, keycloak.realm_url)
    if kept and kept["expires"] - time.time() > RENEW_SECONDS and _is_vouched_for(keycloak, kept["id_token"]):
        return _answer(kept["id_token"], kept["expires"])
    session = (_renewed(keycloak, client, user, kept["refresh_token"]) if kept else None) or sign_in(keycloak, client, user)
    tokens = session.tokens
    facts = _Kept(realm=keycloak.realm_url, id_token=tokens.id_token, refresh_token=tokens.refresh_token, expires=session.expires)
    write_private(cache, json.dumps(facts))
    return _answer(tokens.id_token, session.expires)


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


def _answer(token: str, expires: int) -> str:
    moment = datetime.datetime.fromtimestamp(expires, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"token": token, "expirationTimestamp": moment}
    return json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
