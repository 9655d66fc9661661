"""A Keycloak that one already has: the ``LABKIT_KEYCLOAK*`` variables. docs/operator.md tells what each says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import certifi

from ..common.errors import SettingsError
from ..common.names import name_fault

PUBLIC_CA = Path(certifi.where())
"""The authorities that a browser trusts, as requests brings them along."""

SECRET_VARIABLE = "LABKIT_KEYCLOAK_ADMIN_SECRET"  # noqa: S105 - the variable's name
_PREFIX = "LABKIT_KEYCLOAK"
_NOT_WHERE = (SECRET_VARIABLE, f"{_PREFIX}_PORT")
_taken: dict[tuple[str, ...], str] = {}


@dataclass(frozen=True)
class Hosted:
    """Where a hosted Keycloak is, and who administers the realm there.

    Attributes:
        url: Its base URL, without a slash at the end.
        realm: The realm's name; empty for the workshop's.
        ca: The certificate authorities to verify it with.
        admin_realm: The realm that the administrator is in; empty for the realm itself.
        user: The administrator's user name; empty when it is a client.
        client: The client that signs in with a service account; empty when it is a user.
        secret: The password or secret, if the environment holds it.
        secret_file: The file that holds it, if one is named.
        variables: The variables behind all this but the secret, for a process that is to find the same Keycloak.
    """

    url: str
    realm: str
    ca: Path
    admin_realm: str
    user: str
    client: str
    secret: str = field(repr=False)
    secret_file: Path | None
    variables: Mapping[str, str] = field(repr=False)


def hosted_from(env: Mapping[str, str]) -> Hosted | None:
    """The hosted Keycloak that the environment names; None when the lab is to start its own.

    The administrator's secret leaves this process's environment here, so that no child of it ever has it.

    Raises:
        SettingsError: A variable is missing or can't be used.
    """
    secret = _secret(env)
    given = {name: value for name, value in env.items() if value}
    kind, url = one_of(Literal["auto", "local", "hosted"], _PREFIX, given), given.get(f"{_PREFIX}_URL", "")
    if kind == "local" or not (url or kind == "hosted"):
        return None
    user, client = given.get(f"{_PREFIX}_ADMIN", ""), given.get(f"{_PREFIX}_ADMIN_CLIENT", "")
    if user and client:
        raise SettingsError("hosted-two-administrators")
    realm = given.get(f"{_PREFIX}_REALM", "")
    if realm and (fault := name_fault("realm name", realm)):
        raise SettingsError("hosted-realm-name", fault=fault)
    # Whole, for a process in another folder.
    files = {name: Path(given[name]).expanduser().resolve() for name in (f"{SECRET_VARIABLE}_FILE", f"{_PREFIX}_CA") if name in given}
    where = {name: value for name, value in given.items() if f"{name}_".startswith(f"{_PREFIX}_") and name not in _NOT_WHERE}
    return Hosted(
        url=_base_url(url),
        realm=realm,
        # A file in every case, for whoever else has to trust the issuer: the API server, kubectl, the portal.
        ca=_ca(files.get(f"{_PREFIX}_CA", PUBLIC_CA)),
        admin_realm=given.get(f"{_PREFIX}_ADMIN_REALM", ""),
        user=user or ("" if client else "admin"),
        client=client,
        secret=secret,
        secret_file=files.get(f"{SECRET_VARIABLE}_FILE"),
        variables={name: str(files.get(name, value)) for name, value in where.items()},
    )


def one_of(kind: object, variable: str, env: Mapping[str, str]) -> Any:
    """What a variable says, the first of the words of a `Literal` when it is not set."""
    choices: tuple[str, ...] = get_args(kind)
    text = env.get(variable, choices[0])
    if text not in choices:
        words = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise SettingsError("setting-no-choice", variable=variable, value=repr(text), choices=words, default=choices[0])
    return text


def is_loopback(url: str) -> bool:
    """Whether a URL names the machine that reads it, whichever that is."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")


def _secret(env: Mapping[str, str]) -> str:
    if env is not os.environ:
        return env.get(SECRET_VARIABLE, "")
    # Never said to another Keycloak, or for somebody else, than it was given for.
    whose = tuple(env.get(f"{_PREFIX}_{name}", "") for name in ("URL", "ADMIN_REALM", "ADMIN", "ADMIN_CLIENT"))
    if SECRET_VARIABLE in os.environ:
        _taken[whose] = os.environ.pop(SECRET_VARIABLE)
    return _taken.get(whose, "")


def behind_proxy(text: str) -> str:
    """The address at which browsers reach a server through a proxy that takes the address's path away; HTTPS, except on loopback.

    Raises:
        SettingsError: It is no such address.
    """
    if text and not (is_base(text) and text.startswith(("https://", "http://" if is_loopback(text) else "https://"))):
        raise SettingsError("portal-url-no-base")
    return text.rstrip("/")


def is_base(text: str) -> bool:
    """Whether a text is the address of a server, without a query or a password."""
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0 and not (parts.query or parts.fragment or parts.username or parts.password)
    except ValueError:
        return False


def _base_url(text: str) -> str:
    if not text:
        raise SettingsError("hosted-url-missing")
    if not is_base(text) or "/realms/" in text or "/admin/" in text:
        # Not shown: what is wrong with it may be a password.
        raise SettingsError("hosted-url-no-base")
    if not text.startswith("https://"):
        raise SettingsError("hosted-url-no-https")
    return text.rstrip("/")


def _ca(file: Path) -> Path:
    try:
        holds_one = b"-----BEGIN CERTIFICATE-----" in file.read_bytes()
    except OSError as error:
        raise SettingsError("hosted-ca-unreadable", file=file, reason=error.strerror or error) from None
    if not holds_one:
        raise SettingsError("hosted-ca-no-certificate", file=file)
    return file
