"""What labkit has to know of the files that make a cluster trust a realm. The rest of them is for their tools to judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..common.names import name_fault
from .realm_file import Problems, Representation, undeclared

PATCH = "kubeadm-patches/kube-apiserver+strategic.yaml"

FILLED_IN: Mapping[str, frozenset[str]] = {
    "oidc-flags.yaml": frozenset(("ISSUER", "ISSUER_CA_FILE")),
    "authentication.yaml": frozenset(("ISSUER", "ISSUER_CA", "GROUPS")),
    "kind.yaml": frozenset(
        ("API_SERVER_FLAGS", "FOLDER", "HOME_ID", "NODE_IMAGE", "KIND_31337_PORT", "KIND_31340_PORT", "KIND_31333_PORT")
    ),
    PATCH: frozenset(("GATEWAY",)),
}
"""By file: what stands for a value that is known once there is an issuer, or a KinD cluster."""

MARK = "/kind/labkit/${HOME_ID}"
"""Where a state folder's nodes have a folder, and no others."""

_SCOPE_CLAIMS = {
    "email": ("email", "email_verified"),
    "profile": ("preferred_username", "name", "given_name", "family_name", "nickname"),
    "phone": ("phone_number",),
    "microprofile-jwt": ("upn", "groups"),
}
"""The claims of Keycloak's own client scopes that may name users or groups."""


def _name(value: str) -> str:
    if fault := name_fault(value):
        raise ValueError(fault)
    return value


Name = Annotated[str, AfterValidator(_name)]


class Oidc(BaseModel):
    """``oidc-flags.yaml``: how the API server reads a token, by the audience it asks for and the claims that name user and groups."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    issuer: Literal["${ISSUER}"] = Field(validation_alias="oidc-issuer-url")
    ca_file: str = Field("", validation_alias="oidc-ca-file")
    client_id: Name = Field(validation_alias="oidc-client-id")
    username_claim: Name = Field(validation_alias="oidc-username-claim")
    groups_claim: Name = Field(validation_alias="oidc-groups-claim")
    # With another one, or one for groups, RBAC would have other names than the token.
    username_prefix: Literal["-", ""] = Field("", validation_alias="oidc-username-prefix")
    required_claim: str = Field("", validation_alias="oidc-required-claim")
    signing_algs: str = Field("", validation_alias="oidc-signing-algs")


class _Issuer(BaseModel):
    url: Literal["${ISSUER}"]
    audiences: Annotated[tuple[str, ...], Field(min_length=1)]


class _Username(BaseModel):
    claim: str
    prefix: Literal[""]


class _Groups(BaseModel):
    expression: str


class _Mappings(BaseModel):
    username: _Username
    groups: _Groups


class _Jwt(BaseModel):
    issuer: _Issuer
    mappings: _Mappings = Field(validation_alias="claimMappings")


class Authentication(BaseModel):
    """``authentication.yaml``; the first issuer is the realm."""

    jwt: Annotated[tuple[_Jwt, ...], Field(min_length=1)]


class _Mount(BaseModel):
    path: str = Field(validation_alias="containerPath")


class _Port(BaseModel):
    # kind's own default is every address of the machine.
    address: Literal["127.0.0.1"] = Field(validation_alias="listenAddress")


class _Node(BaseModel):
    mounts: tuple[_Mount, ...] = Field(validation_alias="extraMounts")
    ports: tuple[_Port, ...] = Field((), validation_alias="extraPortMappings")


class Kind(BaseModel):
    """``kind.yaml``."""

    nodes: tuple[_Node]


def in_flags(oidc: Oidc, realm: Representation) -> Problems:
    """What in ``oidc-flags.yaml`` the realm does not have."""
    clients = {client["clientId"]: client for client in realm.get("clients", [])}
    yield from undeclared(("oidc-client-id",), "client", oidc.client_id, list(clients))
    if oidc.client_id in clients:
        claims = _claims(clients[oidc.client_id], realm)
        yield from undeclared(("oidc-username-claim",), "claim", oidc.username_claim, claims)
        yield from undeclared(("oidc-groups-claim",), "claim", oidc.groups_claim, claims)
    if oidc.username_claim != "email" and not oidc.username_prefix:
        yield ("oidc-username-claim",), 'needs oidc-username-prefix: "-" beside it, or the issuer stands before every name'


def in_authentication(authentication: Authentication, oidc: Oidc) -> Problems:
    """What in ``authentication.yaml`` is otherwise than in ``oidc-flags.yaml``."""
    jwt = authentication.jwt[0]
    if jwt.issuer.audiences != (oidc.client_id,):
        yield ("jwt", 0, "issuer", "audiences"), f'should be "{oidc.client_id}" alone, which is oidc-client-id in oidc-flags.yaml'
    if jwt.mappings.username.claim != oidc.username_claim:
        what = f'should be "{oidc.username_claim}", which is oidc-username-claim in oidc-flags.yaml'
        yield ("jwt", 0, "claimMappings", "username", "claim"), what
    place = ("jwt", 0, "claimMappings", "groups", "expression")
    if json.dumps(oidc.groups_claim) not in jwt.mappings.groups.expression:
        yield place, f'does not read the claim "{oidc.groups_claim}", which is oidc-groups-claim in oidc-flags.yaml'
    if "${GROUPS}" not in jwt.mappings.groups.expression:
        yield place, "does not go by ${GROUPS}: only groups that realm.yaml declares may count"


def in_kind(kind: Kind) -> Problems:
    """What in ``kind.yaml`` keeps labkit from telling whose a node is."""
    if MARK not in [mount.path for mount in kind.nodes[0].mounts]:
        yield ("nodes", 0, "extraMounts"), f"has no containerPath {MARK}, by which labkit knows its own nodes"


def _claims(client: Representation, realm: Representation) -> set[str]:
    """The claims of a client's ID tokens that may name users or groups, as far as the realm's file says."""
    scopes = [scope for scope in realm.get("clientScopes", []) if scope["name"] in client["defaultClientScopes"]]
    configs: list[dict[str, Any]] = [mapper["config"] for owner in (client, *scopes) for mapper in owner.get("protocolMappers", [])]
    written = {config["claim.name"] for config in configs if config.get("id.token.claim") == "true" and "claim.name" in config}
    return {"sub", *written, *(claim for scope in client["defaultClientScopes"] for claim in _SCOPE_CLAIMS.get(scope, ()))}
