"""Real faults to switch on, one at a time, in a lab that may be broken.

Each leaves a lab in the state that its mistake leaves behind in real life; the doctor names its cause, and mending is a call of the labs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..common.display import Displayed
from ..common.problems import problem
from ..identity.realm_keys import PROVIDERS, signing_key
from ..lab import Lab
from ..workshop.files import Document, Place

Act = Callable[[Lab], object]


@dataclass(frozen=True)
class Fault(Displayed):
    """A fault.

    Attributes:
        name: What it is called, such as ``wrong-issuer``.
        story: How it comes about in real life.
        cause: What the doctor names, one of `labkit/problems.yaml`.
        switch_on: Breaks a lab that is whole.
        mend: Mends it, as the doctor says.
    """

    name: str
    story: str
    cause: str
    switch_on: Act
    mend: Act

    def __str__(self) -> str:
        return f"{self.name}: {self.story}; mended by {problem(self.cause).fix}"


FAULTS: dict[str, Fault] = {}
"""By name."""


def _fault(name: str, story: str, cause: str, mend: Act) -> Callable[[Act], Act]:
    """Add a fault; decorates what switches it on."""

    def register(switch_on: Act) -> Act:
        FAULTS[name] = Fault(name, story, cause, switch_on, mend)
        return switch_on

    return register


def _apply_realm(lab: Lab) -> None:
    lab.realm.apply()


def _start_cluster(lab: Lab) -> None:
    lab.cluster.start()


def _sign_in(lab: Lab) -> None:
    for username in lab.workshop.access.expected:
        lab.sign_in(username)


def _tell(lab: Lab, flags: Document, values: Mapping[Place, str | list[str]]) -> None:
    """Configure the API server with other values than the declared ones, in whichever style."""
    trust = lab.cluster.trust
    declared = replace(trust.declared, flags=flags, authentication=trust.file.with_values(values))
    lab.cluster.provider.start(replace(trust, declared=declared))


@_fault("wrong-issuer", "the API server is configured with a mistyped issuer", "wrong-issuer", _start_cluster)
def _(lab: Lab) -> None:
    trust = lab.cluster.trust
    lab.cluster.provider.start(replace(trust, issuer=f"{trust.issuer}s"))


@_fault("wrong-ca", "Keycloak's certificate was renewed by another authority, and nobody told the API server", "wrong-ca", _start_cluster)
def _(lab: Lab) -> None:
    lab.cluster.provider.start(replace(lab.cluster.trust, ca=lab.settings.state.tls / "ca-etcd.crt"))


@_fault("wrong-audience", "the API server asks for a client that people do not sign in through", "wrong-audience", _start_cluster)
def _(lab: Lab) -> None:
    flags = lab.cluster.trust.declared.flags.with_values({("oidc-client-id",): "kubernetes"})
    _tell(lab, flags, {("jwt", 0, "issuer", "audiences"): ["kubernetes"]})


@_fault(
    "swapped-prefix",
    "somebody gave groups a prefix, as the documentation recommends, and left the bindings as they were",
    "swapped-prefix",
    _start_cluster,
)
def _(lab: Lab) -> None:
    trust = lab.cluster.trust
    flags = replace(trust.declared.flags, text=f"{trust.declared.flags.text}\noidc-groups-prefix: 'oidc:'\n")
    expression = f"{trust.groups_expression}.map(group, 'oidc:' + group)"
    _tell(lab, flags, {("jwt", 0, "claimMappings", "groups", "expression"): expression})


def _groups_scope(lab: Lab) -> tuple[str, dict[str, Any]]:
    """The id of the client scope that writes the claim of groups, and its mapper."""
    claim = lab.workshop.cluster.oidc.groups_claim
    scopes = {scope["name"]: scope for scope in lab.realm.admin().get_client_scopes()}
    declared = next(each for each in lab.workshop.realm.representation["clients"] if each["clientId"] == lab.workshop.api_client.client_id)
    owners = [scopes[name] for name in declared["defaultClientScopes"]]
    return next((o["id"], m) for o in owners for m in o.get("protocolMappers", ()) if m["config"].get("claim.name") == claim)


@_fault("missing-groups-mapper", "the mapper was removed while tidying up", "groups-mapper-missing", _apply_realm)
def _(lab: Lab) -> None:
    scope, mapper = _groups_scope(lab)
    lab.realm.admin().delete_mapper_from_client_scope(scope, mapper["id"])


@_fault("full-group-path", "the mapper was made anew by hand, with the console's default", "full-group-path", _apply_realm)
def _(lab: Lab) -> None:
    scope, mapper = _groups_scope(lab)
    changed = {**mapper, "config": {**mapper["config"], "full.path": "true"}}
    lab.realm.admin().update_mapper_in_client_scope(scope, mapper["id"], changed)


def _change_user(lab: Lab, **fields: Any) -> None:
    keycloak = lab.realm.admin()
    user = keycloak.get_user(str(keycloak.get_user_id(lab.workshop.reader.username)))
    keycloak.update_user(user["id"], {**user, **fields})


@_fault("unverified-email", "a user changed the email and never clicked the link", "email-unverified", _apply_realm)
def _(lab: Lab) -> None:
    _change_user(lab, emailVerified=False)


@_fault("user-without-profile", "a user was made by a script, with a name and a password", "user-unfinished", _apply_realm)
def _(lab: Lab) -> None:
    _change_user(lab, lastName="")


@_fault(
    "missing-binding", "somebody tidied up, and took the binding for a leftover", "binding-missing", lambda lab: lab.cluster.rbac.apply()
)
def _(lab: Lab) -> None:
    lab.cluster.admin_kubectl("delete", "clusterrolebinding", lab.workshop.reading.name)


@_fault("expired-token", "lunch: more than 30 minutes without a call", "context-expired", _sign_in)
def _(lab: Lab) -> None:
    """Sign in, with a token of a second's length, and end the session, as if it were long ago."""
    keycloak = lab.realm.admin()
    client = keycloak.get_client(str(keycloak.get_client_id(lab.workshop.api_client.client_id)))

    def let_tokens_live(seconds: str) -> None:
        attributes = {**client["attributes"], "access.token.lifespan": seconds}
        keycloak.update_client(client["id"], {**client, "attributes": attributes})

    let_tokens_live("1")
    try:
        lab.sign_in(lab.workshop.reader.username)
    finally:
        let_tokens_live("")
    keycloak.user_logout(str(keycloak.get_user_id(lab.workshop.reader.username)))


@_fault("keycloak-down", "the machine ran out of memory, and Keycloak was the largest", "keycloak-down", lambda lab: lab.keycloak.start())
def _(lab: Lab) -> None:
    lab.keycloak.stop()


@_fault("key-rotated", "the realm's key was renewed, and the old one taken away at once", "keys-rotated", _sign_in)
def _(lab: Lab) -> None:
    """Sign somebody in, then give the realm a new signing key and take the old one away."""
    lab.sign_in(lab.workshop.reader.username)
    keycloak = lab.realm.admin()
    parent = {"parent": keycloak.get_realm(lab.workshop.realm.name)["id"], "type": PROVIDERS}
    old = [component for component in keycloak.get_components(parent) if component["providerId"] in ("rsa", "rsa-generated")]
    new = {**signing_key(priority="200"), "providerType": PROVIDERS, "parentId": parent["parent"]}
    keycloak.create_component(new)
    for component in old:
        keycloak.delete_component(component["id"])
