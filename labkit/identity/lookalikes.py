"""Groups that can be mistaken: for a declared one, as tokens name a group without its path, or for one of Kubernetes' own."""

from __future__ import annotations

from collections.abc import Iterator

from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakGetError, raise_error_from_response

from ..common.display import shown
from ..workshop.fields import Representation
from ..workshop.rules import group_paths
from ..workshop.workshop import RealmSpec
from .plan import Notice

_SHOWN = 5


def find(admin: KeycloakAdmin, spec: RealmSpec, name: str) -> Iterator[Notice]:
    """Look at a declared group's members and for further groups of its name, or for ``:`` in any group's name; only reads."""
    found = _groups_with(admin, spec, name)
    if name == ":" and found:
        reserved = _few([str(group["path"]) for group in found])
        text = f"the API server refuses who is in a group with a colon ({reserved}); with flags, it accepts them as Kubernetes' own"
        yield Notice("colon", text)
    declared, paths = {user.username for user in spec.users}, group_paths(spec.representation)
    for group in (group for group in found if group["name"] == name):
        members = [str(member["username"]) for member in admin.get_group_members(group["id"])]
        if group["path"] not in paths:
            text = f"tokens name the group {group['path']} {name} as well: its members ({_few(members)}) have that group's rights"
            yield Notice("group", text)
        elif others := [member for member in members if member not in declared]:
            yield Notice("members", f"the group {name} has members that are not declared, who have its rights: {_few(others)}")


def _groups_with(admin: KeycloakAdmin, spec: RealmSpec, text: str) -> list[Representation]:
    """The groups, at any depth, with that text in their names."""
    answer = admin.connection.raw_get(f"admin/realms/{spec.name}/groups", search=text)
    raise_error_from_response(answer, KeycloakGetError)
    found = list(answer.json())
    for group in found:
        # The list grows while it is read: what was found comes with those above it.
        found += group["subGroups"]
    return [group for group in found if text in group["name"]]


def _few(names: list[str]) -> str:
    return shown(sorted(names)[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
