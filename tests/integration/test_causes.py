"""Why the API server refuses somebody, told from the token, from what it trusts and from its log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from keycloak import KeycloakAdmin
from kubernetes.client import ApiClient, CoreV1Api

from labkit.cluster.api import Api
from labkit.common.errors import Forbidden, Unauthorized
from labkit.identity.session import read_claims
from labkit.lab import Lab

MEND = "let lab.realm.apply() mend the client's scopes and mappers, then sign in again"
SIGN_IN = 'sign in again: lab.sign_in("…")'


@pytest.fixture
def admin_api(lab: Lab) -> Iterator[KeycloakAdmin]:
    """The admin API of the workshop's realm; what they change is mended afterwards."""
    admin = lab.keycloak.admin()
    admin.get_realms()
    admin.change_current_realm(lab.workshop.realm.name)
    yield admin
    lab.realm.apply()


def without_scope(name: str) -> Callable[[Lab, KeycloakAdmin], str]:
    def token(lab: Lab, admin_api: KeycloakAdmin) -> str:
        scope = next(scope["id"] for scope in admin_api.get_client_scopes() if scope["name"] == name)
        admin_api.delete_client_default_client_scope(str(admin_api.get_client_id("kube")), scope)
        return lab.sign_in("user-dev").session.tokens.id_token

    return token


def with_full_group_paths(lab: Lab, admin_api: KeycloakAdmin) -> str:
    scope = next(scope for scope in admin_api.get_client_scopes() if scope["name"] == "groups")
    mapper: dict[str, Any] = scope["protocolMappers"][0]
    admin_api.update_mapper_in_client_scope(scope["id"], mapper["id"], {**mapper, "config": {**mapper["config"], "full.path": "true"}})
    return lab.sign_in("user-dev").session.tokens.id_token


def of_an_unverified_email(lab: Lab, admin_api: KeycloakAdmin) -> str:
    admin_api.update_user(str(admin_api.get_user_id("user-dev")), {"emailVerified": False})
    return lab.sign_in("user-dev").session.tokens.id_token


def that_has_expired(lab: Lab, admin_api: KeycloakAdmin) -> str:
    client = admin_api.get_client(str(admin_api.get_client_id("kube")))
    declared = client["attributes"].get("access.token.lifespan", "")
    admin_api.update_client(client["id"], {**client, "attributes": {**client["attributes"], "access.token.lifespan": "1"}})
    token = lab.session("user-dev")._tokens.id_token
    admin_api.update_client(client["id"], {**client, "attributes": {**client["attributes"], "access.token.lifespan": declared}})
    expiry = (read_claims(token) or {})["exp"]
    while time.time() <= expiry:
        time.sleep(0.1)
    return token


def access_token(lab: Lab, _: KeycloakAdmin) -> str:
    return lab.session("user-dev").tokens.access_token


def of_realm_master(_: Lab, admin_api: KeycloakAdmin) -> str:
    assert admin_api.connection.token
    return str(admin_api.connection.token["access_token"])


def tampered(lab: Lab, _: KeycloakAdmin) -> str:
    header, payload, signature = lab.session("user-dev").tokens.id_token.split(".")
    return ".".join((header, payload, signature[::-1]))


def cause(what: str, token: Callable[[Lab, KeycloakAdmin], str], why: str, fix: str) -> Any:
    return pytest.param(token, why, fix, id=what, marks=pytest.mark.fault("Access", what, f"{why}. Fix: {fix}"))


@pytest.mark.parametrize(
    ("make", "why", "fix"),
    [
        cause(
            "the access token of the client kube instead of its ID token",
            access_token,
            'the token names nobody whom it is made for (aud), and the API server asks for "kube"',
            "show it the ID token that the client kube gets: its access token names no audience",
        ),
        cause(
            "a token of another realm",
            of_realm_master,
            "the token's issuer (iss) is KEYCLOAK/realms/master, and the API server trusts KEYCLOAK/realms/myrealm, to the letter",
            "sign in at the issuer that it trusts; if that one moved, tell the API server: lab.cluster.start()",
        ),
        cause("a token that has expired", that_has_expired, "the token has expired (exp)", SIGN_IN),
        cause("no email in the token", without_scope("email"), 'the token has no claim "email", which is to be the user name', MEND),
        cause(
            "an email that nobody verified",
            of_an_unverified_email,
            "the token says that the email is not verified (email_verified)",
            "let lab.realm.apply() mend the user, then sign in again",
        ),
        cause("something else than a token", lambda *_: "a-password", "what was shown is no JSON Web Token", SIGN_IN),
        cause(
            "a token with another signature",
            tampered,
            "the token's signature is of none of the realm's keys",
            f"{SIGN_IN}; the realm's keys may be new ones",
        ),
    ],
)
def test_a_401_is_shown_with_its_cause(
    lab: Lab, admin_api: KeycloakAdmin, make: Callable[[Lab, KeycloakAdmin], str], why: str, fix: str
) -> None:
    token = make(lab, admin_api)
    with pytest.raises(Unauthorized) as caught:
        Api(lab.cluster.endpoint, lambda: token, lab.cluster.causes).whoami()
    assert (caught.value.why, caught.value.fix) == (why.replace("KEYCLOAK", lab.keycloak.url), fix)


@pytest.mark.parametrize(
    ("make", "why", "fix"),
    [
        cause(
            "no groups in the token",
            without_scope("groups"),
            'the token names no groups (claim "groups"), so that no group\'s binding applies',
            f"if realm.yaml gives the user groups, {MEND}",
        ),
        cause(
            "groups with their full path",
            with_full_group_paths,
            "its groups are /kube-dev; roles are bound to kube-admin, kube-dev",
            "compare the groups in the token with the bindings, to the letter: lab.realm.plan() and lab 03-rbac",
        ),
    ],
)
def test_a_403_for_want_of_a_known_group_says_so(
    lab: Lab, admin_api: KeycloakAdmin, make: Callable[[Lab, KeycloakAdmin], str], why: str, fix: str
) -> None:
    token = make(lab, admin_api)
    api = Api(lab.cluster.endpoint, lambda: token, lab.cluster.causes)
    with pytest.raises(Forbidden, match=r'User "user-dev@kratix\.io" cannot list resource "namespaces"') as caught:
        api.ask(list_namespaces)
    assert (caught.value.why, caught.value.fix) == (why, fix)
    with pytest.raises(Forbidden) as by_kubectl:
        lab.cluster.kubectl("user-dev", "get", "namespaces")
    assert (by_kubectl.value.why, by_kubectl.value.fix) == (why, fix)


def list_namespaces(client: ApiClient) -> object:
    return CoreV1Api(client).list_namespace()


def test_a_403_that_is_rbacs_own_answer_points_to_the_bindings(lab: Lab) -> None:
    with pytest.raises(Forbidden) as caught:
        lab.sign_in("user-dev").kubectl("create", "namespace", "test-ns-2")
    assert caught.value.why == ""
    assert caught.value.fix == "this is RBAC's answer; the bindings of the user's groups decide it (lab 03-rbac)"


def test_waiting_to_be_known_ends_at_once_when_it_can_never_help(lab: Lab, admin_api: KeycloakAdmin) -> None:
    token = of_an_unverified_email(lab, admin_api)
    asked: list[float] = []

    def show() -> str:
        asked.append(time.monotonic())
        return token

    with pytest.raises(Unauthorized) as caught:
        Api(lab.cluster.endpoint, show, lab.cluster.causes).wait_until_known()
    assert caught.value.lasting
    assert asked[-1] - asked[0] < 5
