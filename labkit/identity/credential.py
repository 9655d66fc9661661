"""New tokens for ``labkit credential USER``, when `labkit.identity.credential_cache` holds none of use."""

from __future__ import annotations

from filelock import FileLock

from ..common.errors import IdentityError, SignInRefused
from ..common.waiting import locked
from ..workshop.workshop import Client, User
from .credential_cache import CredentialCache, answer
from .keycloak import Keycloak
from .session import Session, resume, sign_in

_LOCK_SECONDS = 60


def exec_credential(keycloak: Keycloak, client: Client, user: User, cache: CredentialCache) -> str:
    """The ExecCredential (v1) for a user, as JSON.

    A kept token with time left is handed over as it is: no request is made for it, so also while Keycloak is down.

    Several may ask at once, as kubectl does that runs in parallel. One of them gets new tokens, as a refresh token may be good for one
    use only; the others wait for what it gets.

    Args:
        keycloak: Where to sign in when the cache holds nothing of use.
        client: The client whose ID tokens the API server takes.
        user: Who.
        cache: Where tokens are kept between calls.

    Raises:
        KeycloakUnreachable: Nothing is cached and nothing answers.
        SignInRefused: Keycloak says no.
        IdentityError: Another process has been getting tokens for a minute.
    """
    if kept := cache.credential(user.username):
        return kept
    # Beside the folder, in which whatever lies is somebody's token; the system frees the lock of one that was killed.
    lock = FileLock(cache.folder.with_suffix(".lock"), timeout=_LOCK_SECONDS, mode=0o600)
    msg = f"another process has been getting tokens for {_LOCK_SECONDS} s"
    fix = f"see whether Keycloak is well: labkit status; whoever holds {lock.lock_file} is the one"
    with locked(lock, IdentityError(msg, fix=fix)):
        if kept := cache.credential(user.username):
            return kept
        before = cache.kept(user.username)
        session = (_renewed(keycloak, client, user, before["refresh_token"]) if before else None) or sign_in(keycloak, client, user)
        return answer(cache.keep(user.username, session.tokens.id_token, session.tokens.refresh_token, session.expires))


def _renewed(keycloak: Keycloak, client: Client, user: User, refresh_token: str) -> Session | None:
    try:
        return resume(keycloak, client, user.username, refresh_token)
    except SignInRefused:
        return None
