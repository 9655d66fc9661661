"""New tokens for ``labkit credential USER``, when `labkit.identity.credential_cache` holds none of use."""

from __future__ import annotations

from contextlib import suppress

from filelock import FileLock

from ..common.errors import IdentityError, SignInRefused
from ..common.waiting import locked
from ..workshop.workshop import Client, User
from .credential_cache import CredentialCache
from .keycloak import Keycloak
from .session import resume, sign_in

_LOCK_SECONDS = 60


def exec_credential(keycloak: Keycloak, client: Client, user: User, cache: CredentialCache) -> str:
    """The ExecCredential (v1) for a user, as JSON; for a kept token with time left no request is made, so also while Keycloak is down.

    Several may ask at once, as kubectl does that runs in parallel. One of them gets new tokens, as a refresh token may be good for one
    use only; the others wait for what it gets.

    ``client`` is the one whose ID tokens the API server takes.

    Raises:
        KeycloakUnreachable: Nothing is cached and nothing answers.
        SignInRefused: Keycloak says no.
        IdentityError: Another process has been getting tokens for a minute.
    """
    if kept := cache.credential(user.username):
        return kept
    # Beside the folder, in which whatever lies is somebody's token; the system frees the lock of one that was killed.
    lock = FileLock(cache.folder.with_suffix(".lock"), timeout=_LOCK_SECONDS, mode=0o600)
    with locked(lock, lambda: IdentityError("tokens-locked", seconds=_LOCK_SECONDS, file=lock.lock_file)):
        if kept := cache.credential(user.username):
            return kept
        session = None
        if before := cache.kept(user.username):
            with suppress(SignInRefused):
                session = resume(keycloak, client, user.username, before["refresh_token"])
        session = session or sign_in(keycloak, client, user)
        return cache.keep(user.username, session.tokens.id_token, session.tokens.refresh_token, session.expires)
