"""Passwords and client secrets of the lab's own, in place of the published ones, for a realm that others can reach as well."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from ..common.errors import SettingsError
from ..config.files import read_state, write_private
from ..config.hosting import is_loopback
from ..config.settings import Settings
from ..workshop.files import Place
from ..workshop.workshop import Workshop

Secrets = Literal["demo", "own"]
"""What `labkit.config.settings.SECRETS` come to."""

_ARTICLES_DOMAIN, _NOBODYS_DOMAIN = "@kratix.io", "@example.com"


@dataclass(frozen=True)
class Given:
    """Which secrets the people of a realm in the lab's own Keycloak have, since no password can be read back from there.

    That is noted beside Keycloak's database, and goes with it.

    Attributes:
        file: The note, `StateFolder.secrets_note`: the kind that they have, or nothing while passwords are being changed.
        wanted: Which they are to have.
    """

    file: Path
    wanted: Secrets

    @property
    def outdated(self) -> bool:
        """Whether people who are there have to be given other passwords; until anything is noted, they have the published ones."""
        return (self.file.read_text() if self.file.exists() else "demo") != self.wanted

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Note that people may have either kind, and at the end, unless that fails, that they have the one that is wanted."""
        if self.outdated:
            write_private(self.file, "")
        yield
        if self.outdated:
            write_private(self.file, self.wanted)


def load_workshop(settings: Settings) -> tuple[Secrets, Workshop]:
    """Load the workshop with the secrets that are due, which are named; for a hosted Keycloak with the realm that is named there.

    Raises:
        WorkshopError: A file of the workshop says something that can't be done.
        SettingsError: LABKIT_SECRETS asks for the published secrets where they won't do.
    """
    portal, hosted = settings.portal_page, settings.hosted
    workshop = Workshop.load(settings.workshop_folder, portal_url=portal)
    if hosted and hosted.realm:
        workshop = replace(workshop, realm=workshop.realm.with_values({("realm",): hosted.realm}))
    realm = workshop.realm.name
    secrets = _secrets_of(settings, settings.state.secrets_note(realm))
    if secrets == "own":
        place = f"{hosted.url if hosted else 'local'}/realms/{realm}"
        workshop = _with_own_secrets(workshop, settings.state.own_secrets if settings.folder_id else None, place, portal)
    return secrets, workshop


def _secrets_of(settings: Settings, note: Path) -> Secrets:
    """Which secrets a lab's realm is to have: its own wherever others can reach it, or a cluster of theirs trusts it.

    A realm that has the lab's own, be it in part, keeps them: a shell without LABKIT_SECRETS must not put the published ones back.
    """
    if settings.secrets == "own" or (settings.secrets == "auto" and Given(note, "demo").outdated):
        return "own"
    if settings.hosted:
        where = "the Keycloak is a hosted one"
    elif settings.state.kind.exists() or settings.cluster == "kind":
        where = "the cluster is a KinD"
    elif settings.cluster == "external":
        where = "the cluster is an external one"
    else:
        return "demo"
    if settings.secrets == "demo":
        raise SettingsError("published-secrets", where=where)
    return "own"


def _with_own_secrets(workshop: Workshop, file: Path | None, place: str, portal: str) -> Workshop:
    """Replace every user's password and every client's secret by one that only this lab knows.

    They are made at first use and stay the same. Who has accounts there already may write their passwords into the file.
    Two more published values would let others in. So emails get a domain that nobody owns.
    Of redirect URIs and web origins on this machine, only the portal's stay: anybody might listen at another.

    Args:
        workshop: As declared, with secrets that everybody knows.
        file: Where they are kept (mode 0600); None for a state folder that is not made yet, where they are good for this process alone.
        place: What they are for: no two Keycloaks are given the same ones.
    """
    wanted = {"users": [u.username for u in workshop.realm.users], "clients": [c.client_id for c in workshop.realm.clients]}
    kept = _kept(file, place, wanted) if file else _completed({}, wanted)
    values: dict[Place, str | list[str]] = {}
    for i, user in enumerate(workshop.realm.users):
        values["users", i, "credentials", 0, "value"] = kept["users"][user.username]
        if user.email.endswith(_ARTICLES_DOMAIN):
            values["users", i, "email"] = user.email.removesuffix(_ARTICLES_DOMAIN) + _NOBODYS_DOMAIN
    for i, client in enumerate(workshop.realm.representation.get("clients", [])):
        if not client["publicClient"]:
            values["clients", i, "secret"] = kept["clients"][client["clientId"]]
        for field in ("redirectUris", "webOrigins"):
            ours = [uri for uri in client[field] if f"{uri}/".startswith(f"{portal}/") or not is_loopback(uri)]
            if ours != client[field]:
                values["clients", i, field] = ours
    return replace(workshop, realm=workshop.realm.with_values(values))


def _kept(file: Path, place: str, wanted: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock"), mode=0o600):
        holds = "the passwords of people and the secrets of clients that only this lab has, also those in a hosted realm"
        everywhere = read_state(file, holds, _is_whole) if file.exists() else {}
        known = everywhere.get(place, {})
        kept = _completed(known, wanted)
        if kept != known:
            write_private(file, json.dumps({**everywhere, place: kept}, indent=1) + "\n")
    return kept


def _is_whole(kept: dict[str, Any]) -> bool:
    kinds = [kind for place in kept.values() for kind in (place.values() if isinstance(place, dict) else (None,))]
    return all(isinstance(kind, dict) and all(isinstance(secret, str) for secret in kind.values()) for kind in kinds)


def _completed(known: dict[str, dict[str, str]], wanted: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    return {kind: {name: known.get(kind, {}).get(name) or _new_secret() for name in names} for kind, names in wanted.items()}


def _new_secret() -> str:
    # The end is there for realms whose password policy asks for one of each kind.
    return f"{secrets.token_urlsafe(24)}-Aa0"
