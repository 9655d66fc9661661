"""Passwords and client secrets of the home's own, for a realm in a Keycloak that others can reach as well."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from filelock import FileLock
from pydantic import SecretStr

from ..settings import write_private
from ..workshop import Workshop


def with_own_secrets(workshop: Workshop, file: Path, place: str) -> Workshop:
    """The workshop with every user's password and every client's secret replaced by one that only this home knows.

    They are made at first use and stay the same. Who has accounts there already may write their passwords into the file.

    Args:
        workshop: As declared, with secrets that everybody knows.
        file: Where they are kept (mode 0600).
        place: What they are for: no two Keycloaks are given the same ones.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock"), mode=0o600):
        everywhere = json.loads(file.read_text()) if file.exists() else {}
        known = everywhere.get(place, {})
        wanted = {"users": [u.username for u in workshop.realm.users], "clients": [c.client_id for c in workshop.realm.clients]}
        kept = {kind: {name: known.get(kind, {}).get(name) or _new_secret() for name in names} for kind, names in wanted.items()}
        if kept != known:
            write_private(file, json.dumps({**everywhere, place: kept}, indent=1) + "\n")
    users = tuple(u.model_copy(update={"password": SecretStr(kept["users"][u.username])}) for u in workshop.realm.users)
    clients = tuple(c.model_copy(update={"secret": SecretStr(kept["clients"][c.client_id])}) for c in workshop.realm.clients)
    return workshop.model_copy(update={"realm": workshop.realm.model_copy(update={"users": users, "clients": clients})})


def _new_secret() -> str:
    # The end is there for realms whose password policy asks for one of each kind.
    return f"{secrets.token_urlsafe(24)}-Aa0"
