"""Real faults to switch on, one at a time, in a lab that may be broken.

Each leaves a lab in the state that its mistake leaves behind in real life; the doctor names its cause, and mending is a call of the labs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from keycloak import KeycloakAdmin

from ..cluster.trust import Trust
from ..common.display import Displayed
from ..doctor import KNOWN
from ..lab import Lab

_USER = "user-dev"
_SCOPE = "groups"


@dataclass(frozen=True)
class Fault(Displayed):
    """A fault.

    Attributes:
        name: What it is called, such as ``wrong-issuer``.
        story: How it comes about in real life.
        cause: What the doctor names, one of `labkit.doctor.KNOWN`.
        switch_on: Breaks a lab that is whole.
        mend: Mends it, as the doctor says.
    """

    name: str
    story: str
    cause: str
    switch_on: Callable[[Lab], object]
    mend: Callable[[Lab], object]

    def __str__(self) -> str:
        return f"{self.name}: {self.story}; mended by {self.fix}"

    @property
    def symptom(self) -> str:
        """What one sees before asking the doctor."""
        return KNOWN[self.cause].symptom

    @property
    def fix(self) -> str:
        """What the doctor says mends it."""
        return KNOWN[self.cause].fix


def _change_user(**fields: Any) -> Callable[[Lab], None]:
    def switch_on(lab: Lab) -> None:
        hands = lab.realm.admin()
        user = hands.get_user(str(hands.get_user_id(_USER)))
        hands.update_user(user["id"], {**user, **fields})

    return switch_on


def _change_client(attributes: Mapping[str, str] | None = None, **fields: Any) -> Callable[[Lab], None]:
    def switch_on(lab: Lab) -> None:
        hands = lab.realm.admin()
        client = hands.get_client(str(hands.get_client_id(lab.workshop.cluster.oidc.client_id)))
        hands.update_client(client["id"], {**client, **fields, "attributes": {**client["attributes"], **(attributes or {})}})

    return switch_on


def _scope(hands: KeycloakAdmin) -> dict[str, Any]:
    return next(dict(scope) for scope in hands.get_client_scopes() if scope["name"] == _SCOPE)


def _without_groups_mapper(lab: Lab) -> None:
    hands = lab.realm.admin()
    scope = _scope(hands)
    hands.delete_mapper_from_client_scope(scope["id"], scope["protocolMappers"][0]["id"])


def _change_groups_mapper(**config: str) -> Callable[[Lab], None]:
    def switch_on(lab: Lab) -> None:
        hands = lab.realm.admin()
        scope = _scope(hands)
        mapper = scope["protocolMappers"][0]
        changed = {**mapper["config"], **{key.replace("_", "."): value for key, value in config.items()}}
        hands.update_mapper_in_client_scope(scope["id"], mapper["id"], {**mapper, "config": changed})

    return switch_on


def _tell(change: Callable[[Trust], Trust]) -> Callable[[Lab], None]:
    """Have the API server trust something else than what is declared."""
    return lambda lab: lab.cluster.provider.start(change(lab.cluster.trust))


def _asking_for(client_id: str) -> Callable[[Trust], Trust]:
    def change(trust: Trust) -> Trust:
        flags = trust.declared.flags.with_values({("oidc-client-id",): client_id})
        file = trust.file.with_values({("jwt", 0, "issuer", "audiences"): [client_id]})
        return replace(trust, declared=replace(trust.declared, flags=flags, authentication=file))

    return change


def _prefixed(trust: Trust) -> Trust:
    """A trust that puts a prefix before groups."""
    flags = replace(trust.declared.flags, text=f"{trust.declared.flags.text}\noidc-groups-prefix: 'oidc:'\n")
    expression = f"{trust.groups_expression}.map(group, 'oidc:' + group)"
    file = trust.file.with_values({("jwt", 0, "claimMappings", "groups", "expression"): expression})
    return replace(trust, declared=replace(trust.declared, flags=flags, authentication=file))


def _let_the_session_end(lab: Lab) -> None:
    """Sign in, with a token of a second's length, and end the session, as if it were long ago."""
    _change_client({"access.token.lifespan": "1"})(lab)
    try:
        lab.sign_in(_USER)
    finally:
        _change_client({"access.token.lifespan": ""})(lab)
    hands = lab.realm.admin()
    hands.user_logout(str(hands.get_user_id(_USER)))


def _rotate_the_keys(lab: Lab) -> None:
    """Sign somebody in, then give the realm a new signing key and take the old one away."""
    lab.sign_in(_USER)
    hands = lab.realm.admin()
    parent = {"parent": hands.get_realm(lab.workshop.realm.name)["id"], "type": "org.keycloak.keys.KeyProvider"}
    old = [component for component in hands.get_components(parent) if component["providerId"] == "rsa-generated"]
    config = {"priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]}
    new = {"name": "rsa-new", "providerId": "rsa-generated", "providerType": parent["type"], "parentId": parent["parent"], "config": config}
    hands.create_component(new)
    for component in old:
        hands.delete_component(component["id"])


def _apply_realm(lab: Lab) -> None:
    lab.realm.apply()


def _start_cluster(lab: Lab) -> None:
    lab.cluster.start()


def _sign_in(lab: Lab) -> None:
    for username in lab.workshop.access.expected:
        lab.sign_in(username)


FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "wrong-issuer",
            "the API server was told an issuer with a typing error in it",
            "wrong-issuer",
            _tell(lambda trust: replace(trust, issuer=f"{trust.issuer}s")),
            _start_cluster,
        ),
        Fault(
            "wrong-ca",
            "Keycloak's certificate was renewed by another authority, and nobody told the API server",
            "wrong-ca",
            lambda lab: lab.cluster.provider.start(replace(lab.cluster.trust, ca=lab.settings.state.tls / "ca-etcd.crt")),
            _start_cluster,
        ),
        Fault(
            "wrong-audience",
            "the API server asks for a client that people do not sign in through",
            "wrong-audience",
            _tell(_asking_for("kubernetes")),
            _start_cluster,
        ),
        Fault(
            "swapped-prefix",
            "somebody gave groups a prefix, as the documentation recommends, and left the bindings as they were",
            "swapped-prefix",
            _tell(_prefixed),
            _start_cluster,
        ),
        Fault(
            "missing-groups-mapper",
            "the mapper was removed while tidying up",
            "groups-mapper-missing",
            _without_groups_mapper,
            _apply_realm,
        ),
        Fault(
            "full-group-path",
            "the mapper was made anew by hand, with the console's default",
            "full-group-path",
            _change_groups_mapper(full_path="true"),
            _apply_realm,
        ),
        Fault(
            "unverified-email",
            "a user changed the email and never clicked the link",
            "email-unverified",
            _change_user(emailVerified=False),
            _apply_realm,
        ),
        Fault(
            "user-without-profile",
            "a user was made by a script, with a name and a password",
            "user-unfinished",
            _change_user(lastName=""),
            _apply_realm,
        ),
        Fault(
            "missing-binding",
            "somebody tidied up, and took the binding for a leftover",
            "binding-missing",
            lambda lab: lab.cluster.admin_kubectl("delete", "clusterrolebinding", "kube-dev"),
            lambda lab: lab.cluster.rbac.apply(),
        ),
        Fault("expired-token", "lunch: more than 30 minutes without a call", "context-expired", _let_the_session_end, _sign_in),
        Fault(
            "keycloak-down",
            "the machine ran out of memory, and Keycloak was the largest",
            "keycloak-down",
            lambda lab: lab.keycloak.stop(),
            lambda lab: lab.keycloak.start(),
        ),
        Fault("key-rotated", "the realm's key was renewed, and the old one taken away at once", "keys-rotated", _rotate_the_keys, _sign_in),
    )
}
"""By name."""
