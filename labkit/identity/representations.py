"""The workshop's realm in the form of Keycloak's admin API: only what is declared, so that all else is left alone.

Field names are those of https://www.keycloak.org/docs-api/latest/rest-api/; what the workshop leaves open is set as the
Keycloak provider for Terraform 5 sets it, so that a realm made here is one that provider finds nothing to change in.
"""

from __future__ import annotations

from ..workshop import Client, ClientScope, GroupMembershipMapper, Mapper, User
from .plan import Representation

_PROTOCOL = "openid-connect"
_CLIENT_ATTRIBUTES = {"backchannel.logout.session.required": "true", "use.refresh.tokens": "true"}
_SCOPE_ATTRIBUTES = {"include.in.openid.provider.metadata": "true"}
_CLAIM_IN_TOKENS = {"id.token.claim": "true", "access.token.claim": "true"}
_GROUP_MAPPER_CONFIG = {**_CLAIM_IN_TOKENS, "userinfo.token.claim": "true", "introspection.token.claim": "false"}
_AUDIENCE_MAPPER_CONFIG = {**_CLAIM_IN_TOKENS, "introspection.token.claim": "true"}


def of_user(user: User) -> Representation:
    """A user, without password and groups."""
    return {
        "username": user.username,
        "email": user.email,
        "emailVerified": user.email_verified,
        "firstName": user.first_name,
        "lastName": user.last_name,
        "enabled": user.enabled,
    }


def credentials(user: User) -> list[Representation]:
    """A user's password, for a new user: Keycloak gives none back, so that a later difference could not be seen."""
    return [{"type": "password", "value": user.password.get_secret_value(), "temporary": False}]


def of_client_scope(scope: ClientScope) -> Representation:
    """A client scope, without its mappers."""
    attributes = {"include.in.token.scope": _text(scope.include_in_token_scope), "gui.order": str(scope.gui_order)}
    return {"name": scope.name, "protocol": _PROTOCOL, "attributes": {**_SCOPE_ATTRIBUTES, **attributes}}


def of_mapper(mapper: Mapper) -> Representation:
    """A protocol mapper of a client scope or client."""
    if isinstance(mapper, GroupMembershipMapper):
        kind = "oidc-group-membership-mapper"
        config = {"claim.name": mapper.claim, "full.path": _text(mapper.full_path), **_GROUP_MAPPER_CONFIG}
    else:
        kind = "oidc-audience-mapper"
        config = {"included.custom.audience": mapper.included_custom_audience, **_AUDIENCE_MAPPER_CONFIG}
    return {"name": mapper.name, "protocol": _PROTOCOL, "protocolMapper": kind, "config": config}


def of_client(client: Client) -> Representation:
    """A confidential client, without its mappers and default scopes."""
    return {
        "clientId": client.client_id,
        "name": client.name,
        "protocol": _PROTOCOL,
        "enabled": client.enabled,
        "publicClient": False,
        "clientAuthenticatorType": "client-secret",
        "secret": client.secret.get_secret_value(),
        "standardFlowEnabled": client.standard_flow,
        "implicitFlowEnabled": client.implicit_flow,
        "directAccessGrantsEnabled": client.direct_access_grants,
        # A portal that was moved to the port of another URI makes two of them the same.
        "redirectUris": sorted(set(client.redirect_uris)),
        # No browser page calls Keycloak itself. Left out of a new client, it would be every redirect URI's address.
        "webOrigins": [],
        "attributes": dict(_CLIENT_ATTRIBUTES),
    }


def _text(value: bool) -> str:
    return "true" if value else "false"
