"""Who else has a declared group's rights: whom tokens, which name a group without its path, can't tell from its declared members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakGetError, raise_error_from_response

from ..display import shown
from ..workshop import RealmSpec
from .plan import Notice, Representation

_SHOWN = 5


def find(admin: KeycloakAdmin, spec: RealmSpec) -> Iterator[Notice]:
    """Look at each declared group's members, and for further groups of its name; only reads.

    Args:
        admin: At work in the realm.
        spec: What is declared of it.
    """
    declared = {user.username for user in spec.users}
    for name in spec.groups:
        # What is found comes with the groups above it.
        answer = admin.connection.raw_get(f"admin/realms/{spec.name}/groups", search=name, exact="true")
        raise_error_from_response(answer, KeycloakGetError)
        for group in (group for group in _all(answer.json()) if group["name"] == name):
            members = [str(member["username"]) for member in admin.get_group_members(group["id"])]
            if group["path"] != f"/{name}":
                text = f"tokens name the group {group['path']} {name} as well: its members ({_few(members)}) have that group's rights"
                yield Notice("group", text)
            elif others := [member for member in members if member not in declared]:
                yield Notice("members", f"the group {name} has members that are not declared, who have its rights: {_few(others)}")


def _all(groups: Iterable[Representation]) -> Iterator[Representation]:
    for group in groups:
        yield group
        yield from _all(group["subGroups"])


def _few(names: list[str]) -> str:
    return shown(sorted(names)[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
