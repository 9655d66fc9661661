"""The workshop's realm as a configuration of the provider keycloak/keycloak for Terraform: the same realm by another hand.

Types and arguments are those of the provider's documentation, 5.0 and later; what is left out, the provider sets as
`labkit.identity.representations` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..display import Displayed, Table
from ..hosting import PUBLIC_CA
from ..workshop import Client, ClientScope, GroupMembershipMapper, Mapper, Workshop
from .hcl import Block, Expression, arguments, label, quoted
from .keycloak import Keycloak

PROVIDER = "keycloak/keycloak"
OLDEST = "5.0.0"

_REALM = Expression("local.realm_id")


class Terraform(Displayed):
    """What ``keycloak.tf`` holds; as text, the file. It holds no secret: those are variables.

    Args:
        workshop: What the realm, which has to be there, is to hold.
        keycloak: Where it is, and who administers it.
    """

    def __init__(self, workshop: Workshop, keycloak: Keycloak) -> None:
        self._workshop, self._keycloak = workshop, keycloak

    def __str__(self) -> str:
        return "\n\n".join(str(block) for block in self._blocks())

    def secrets(self) -> str:
        """A file of values for the variables, but for the administrator's: who has it can sign in as anybody here."""
        realm = self._workshop.realm
        return arguments(
            {
                "user_passwords": {user.username: user.password.get_secret_value() for user in realm.users},
                "client_secrets": {client.client_id: client.secret.get_secret_value() for client in realm.clients},
            }
        )

    def two_ways(self) -> Table:
        """Both ways to the same realm, with the columns ``what``, ``name``, ``by the admin API`` and ``in keycloak.tf``."""
        realm = self._workshop.realm
        users = ", ".join(user.username for user in realm.users)
        rows = [
            ("groups", ", ".join(realm.groups), "POST groups", "keycloak_group.groups"),
            ("users", users, "POST users", "keycloak_user.users"),
            ("memberships", users, "PUT users/…/groups/…", "keycloak_user_groups.user_groups"),
        ]
        for scope in realm.client_scopes:
            rows.append(("client scope", scope.name, "POST client-scopes", _scope_address(scope)))
            rows += _mapper_rows("client-scopes", scope.name, scope.mappers)
        for client in realm.clients:
            rows.append(("client", client.client_id, "POST clients", _client_address(client)))
            rows += _mapper_rows("clients", client.client_id, client.mappers)
            own = f"keycloak_openid_client_default_scopes.{label(client.client_id)}"
            rows.append(("default scopes", client.client_id, "PUT clients/…/default-client-scopes/…", own))
        note = "What the admin API is asked stands below its address /admin/realms/" + realm.name
        return Table(("what", "name", "by the admin API", "in keycloak.tf"), tuple(rows), note=note)

    def _blocks(self) -> Iterator[Block]:
        realm = self._workshop.realm
        source = {"keycloak": {"source": PROVIDER, "version": f">= {OLDEST}"}}
        yield Block("terraform", blocks=[Block("required_providers", source)])
        for name, kind in (("admin_secret", "string"), ("user_passwords", "map(string)"), ("client_secrets", "map(string)")):
            yield Block(f'variable "{name}"', {"type": Expression(kind), "sensitive": True})
        yield Block('provider "keycloak"', self._provider())
        yield Block("locals", {"realm_id": realm.name, "groups": realm.groups, "users": self._users()})
        yield from _people()
        for scope in realm.client_scopes:
            values = {"name": scope.name, "include_in_token_scope": scope.include_in_token_scope, "gui_order": scope.gui_order}
            yield _resource("keycloak_openid_client_scope", scope.name, values)
            yield from (_mapper(mapper, scope.name, {"client_scope_id": f"{_scope_address(scope)}.id"}) for mapper in scope.mappers)
        scopes = {scope.name: Expression(f"{_scope_address(scope)}.name") for scope in realm.client_scopes}
        for client in realm.clients:
            own_id = Expression(f"{_client_address(client)}.id")
            yield _resource("keycloak_openid_client", client.client_id, _client(client))
            yield from (_mapper(mapper, client.client_id, {"client_id": own_id}) for mapper in client.mappers)
            defaults = {"client_id": own_id, "default_scopes": [scopes.get(name, name) for name in client.default_scopes]}
            yield _resource("keycloak_openid_client_default_scopes", client.client_id, defaults)

    def _provider(self) -> dict[str, Any]:
        who, secret = self._keycloak.administrator, Expression("var.admin_secret")
        login = {"username": who.user, "password": secret} if who.user else {"client_secret": secret}
        ca = {} if self._keycloak.ca == PUBLIC_CA else {"root_ca_certificate": self._keycloak.ca.read_text()}
        return {"url": self._keycloak.url, "realm": who.realm, "client_id": who.client, **login, **ca}

    def _users(self) -> dict[str, Any]:
        return {
            user.username: {
                "email": user.email,
                "email_verified": user.email_verified,
                "first_name": user.first_name,
                "last_name": user.last_name,
                "enabled": user.enabled,
                "groups": user.groups,
            }
            for user in self._workshop.realm.users
        }


def _people() -> Iterator[Block]:
    """Groups, users and who is in which, each made from the lists in ``locals``."""
    each_user = {"for_each": Expression("local.users"), "realm_id": _REALM}
    own = ("enabled", "email", "email_verified", "first_name", "last_name")
    yield Block(
        'resource "keycloak_group" "groups"',
        {"for_each": Expression("toset(local.groups)"), "realm_id": _REALM, "name": Expression("each.key")},
    )
    yield Block(
        'resource "keycloak_user" "users"',
        {**each_user, "username": Expression("each.key"), **{name: Expression(f"each.value.{name}") for name in own}},
        [Block("initial_password", {"value": Expression("var.user_passwords[each.key]")})],
    )
    yield Block(
        'resource "keycloak_user_groups" "user_groups"',
        {
            **each_user,
            "user_id": Expression("keycloak_user.users[each.key].id"),
            "group_ids": Expression("[for name in each.value.groups : keycloak_group.groups[name].id]"),
            # A group that the workshop does not declare stays the user's.
            "exhaustive": False,
        },
    )


def _client(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "enabled": client.enabled,
        "access_type": "CONFIDENTIAL",
        "client_secret": Expression(f"var.client_secrets[{quoted(client.client_id)}]"),
        "standard_flow_enabled": client.standard_flow,
        "implicit_flow_enabled": client.implicit_flow,
        "direct_access_grants_enabled": client.direct_access_grants,
        **({"valid_redirect_uris": sorted(set(client.redirect_uris))} if client.redirect_uris else {}),
    }


def _mapper(mapper: Mapper, owner: str, owner_id: dict[str, str]) -> Block:
    own = (
        {"claim_name": mapper.claim, "full_path": mapper.full_path}
        if isinstance(mapper, GroupMembershipMapper)
        else {"included_custom_audience": mapper.included_custom_audience}
    )
    ids = {name: Expression(value) for name, value in owner_id.items()}
    return _resource(_mapper_type(mapper), f"{owner}_{mapper.name}", {**ids, "name": mapper.name, **own})


def _mapper_type(mapper: Mapper) -> str:
    kind = "group_membership" if isinstance(mapper, GroupMembershipMapper) else "audience"
    return f"keycloak_openid_{kind}_protocol_mapper"


def _resource(kind: str, name: str, values: dict[str, Any]) -> Block:
    return Block(f'resource "{kind}" "{label(name)}"', {"realm_id": _REALM, **values})


def _mapper_rows(place: str, owner: str, mappers: tuple[Mapper, ...]) -> list[tuple[str, str, str, str]]:
    ask = f"POST {place}/…/protocol-mappers/models"
    return [("mapper", f"{owner}: {m.name}", ask, f"{_mapper_type(m)}.{label(f'{owner}_{m.name}')}") for m in mappers]


def _scope_address(scope: ClientScope) -> str:
    return f"keycloak_openid_client_scope.{label(scope.name)}"


def _client_address(client: Client) -> str:
    return f"keycloak_openid_client.{label(client.client_id)}"
