"""A seat of a room: a realm of its own in the room's Keycloak, an administrator of that realm alone, and the variables of a lab there."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakError, KeycloakGetError

from ..common.errors import IdentityError, SettingsError
from ..common.names import name_fault
from ..config.hosting import SECRET_VARIABLE
from ..config.state_folder import StateFolder
from ..identity.keycloak import Keycloak, failure
from ..identity.realm_keys import new_keys

ADMINISTRATOR = "seat"
"""The client whose service account administers a seat's realm: nobody can lock it by wrong passwords, as they could a user."""

_RIGHTS = ("manage-users", "manage-clients")
"""What a workshop's objects take. Who may manage a realm itself may have Keycloak read files and call other servers."""

_HASHING = "hashAlgorithm(pbkdf2-sha256) and hashIterations(1)"
"""A workshop's passwords are published, or random and long: hashing them slowly guards nothing, and many at once wait for it."""

_MARK = "labkit.seat"


def seat_environment(name: str, folder: Path, *, keycloak: str, portal: str, ca: Path, secret: Path | str, cache: Path) -> dict[str, str]:
    """The variables of a seat's process, which lead labkit to that seat's lab.

    Args:
        name: The seat's name, which is its realm's too.
        folder: The folder that is the seat's own; its state folder lies there.
        keycloak: The base URL of the room's Keycloak, as learners' browsers name it.
        portal: The seat's portal, as the learner's browser names it.
        ca: The authorities behind that URL's certificate, readable by the seat.
        secret: What `prepare_seat` gave, or the file with it, readable by the seat.
        cache: The folder with programs, which all seats share and none may change.
    """
    home = StateFolder(folder / "lab")
    return {
        "LABKIT_HOME": str(home.root),
        "LABKIT_CACHE": str(cache),
        "LABKIT_CLUSTER": "local",
        "LABKIT_PORTAL_URL": portal,
        "LABKIT_SECRETS": "own",
        "LABKIT_KEYCLOAK": "hosted",
        "LABKIT_KEYCLOAK_URL": keycloak,
        "LABKIT_KEYCLOAK_REALM": name,
        "LABKIT_KEYCLOAK_CA": str(ca),
        "LABKIT_KEYCLOAK_ADMIN_CLIENT": ADMINISTRATOR,
        f"{SECRET_VARIABLE}_FILE" if isinstance(secret, Path) else SECRET_VARIABLE: str(secret),
    }


def prepare_seat(keycloak: Keycloak, name: str) -> str:
    """Have a seat's realm with its administrator in a room's Keycloak, whoever asks how often; returns the administrator's secret.

    Raises:
        SettingsError: No realm can have that name.
        IdentityError: The realm is there and is no seat's, or Keycloak refuses.
    """
    if fault := name_fault("realm name", name):
        raise SettingsError("seat-name", fault=fault)
    place = f"the seat {name}"
    try:
        admin = keycloak.admin()
        if not _is_there(admin, name):
            # Its keys are given: Keycloak itself takes seconds for them.
            realm = {"realm": name, "enabled": True, "bruteForceProtected": True, "passwordPolicy": _HASHING}
            admin.create_realm({**realm, "attributes": {_MARK: "true"}, "components": new_keys()})
        admin.change_current_realm(name)
        client = admin.get_client_id(ADMINISTRATOR) or admin.create_client(_administrator())
        account, management = admin.get_client_service_account_user(client)["id"], str(admin.get_client_id("realm-management"))
        admin.assign_client_role(account, management, [admin.get_client_role(management, right) for right in _RIGHTS])
        return str(admin.get_client_secrets(client)["value"])
    except KeycloakError as error:
        raise failure(place, error) from None


def remove_seat(keycloak: Keycloak, name: str) -> None:
    """Remove a seat's realm with all that is in it, if there is one; raises IdentityError as `prepare_seat`."""
    place = f"the seat {name}"
    try:
        admin = keycloak.admin()
        if _is_there(admin, name):
            admin.delete_realm(name)
    except KeycloakError as error:
        raise failure(place, error) from None


def open_programs(cache: Path) -> None:
    """Let every account read and run a cache's programs, which their owner alone can change; the logs beside them stay hidden."""
    programs = cache / "programs"
    # What is being made just now has a hidden name. A folder tells nothing of what lies in it: a cache may have been copied into another.
    for slot in programs.glob("[!.]*"):
        for path in (slot, *slot.rglob("*")):
            _open(path)
    for folder in (programs, cache):
        _open(folder)


def _open(path: Path) -> None:
    found = path.lstat().st_mode
    mode = stat.S_IMODE(found)
    opened = mode | 0o444 | (0o111 if mode & stat.S_IXUSR else 0)
    if opened != mode and not stat.S_ISLNK(found):
        path.chmod(opened)


def _is_there(admin: KeycloakAdmin, name: str) -> bool:
    """Whether there is a seat's realm of that name; raises IdentityError for a realm that is no seat's."""
    try:
        realm = admin.get_realm(name)
    except KeycloakGetError as error:
        if error.response_code == 404:
            return False
        raise
    if _MARK not in realm.get("attributes", {}):
        raise IdentityError("realm-no-seat", realm=name)
    return True


def _administrator() -> dict[str, Any]:
    """A client that can do nothing but sign in by itself."""
    flows = dict.fromkeys(("standardFlowEnabled", "directAccessGrantsEnabled", "implicitFlowEnabled"), False)
    return {"clientId": ADMINISTRATOR, "serviceAccountsEnabled": True, "publicClient": False, "fullScopeAllowed": True, **flows}
