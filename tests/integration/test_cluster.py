"""The cluster that trusts the realm: who gets in, who may do what, and what kubectl says about it."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from labkit.cluster.access import AccessMatrix
from labkit.cluster.api import Api, Identity
from labkit.cluster.person import Person
from labkit.common.errors import ApiUnreachable, CheckFailed, ClusterError, Forbidden, Unauthorized
from labkit.common.expectation import expect
from labkit.common.http_session import request
from labkit.doctor.probes import contexts
from labkit.lab import Lab

PATIENCE_SECONDS = 30


@pytest.fixture
def admin(lab: Lab) -> Person:
    return lab.sign_in("user-admin")


@pytest.fixture
def dev(lab: Lab) -> Person:
    return lab.sign_in("user-dev")


def wait_for(condition: Callable[[], bool]) -> None:
    """RBAC objects reach the authorizer by a watch, so a change takes a moment."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.1)


@pytest.fixture
def rbac_restored(lab: Lab) -> Iterator[None]:
    """Whatever the test does to the RBAC objects is undone."""
    yield
    lab.cluster.rbac.apply()
    wait_for(lambda: not lab.access_matrix().differences)


def test_the_api_server_knows_both_by_email_and_group(admin: Person, dev: Person) -> None:
    assert admin.whoami() == Identity("user-admin@kratix.io", ("kube-admin", "system:authenticated"))
    assert dev.whoami() == Identity("user-dev@kratix.io", ("kube-dev", "system:authenticated"))


def test_kubectl_is_known_by_the_same_name(dev: Person) -> None:
    answer = json.loads(dev.kubectl("auth", "whoami", "-o", "json").output)
    assert answer["status"]["userInfo"]["username"] == "user-dev@kratix.io"


def test_starting_it_again_takes_over_what_runs(lab: Lab) -> None:
    before = {name: lab.processes.running(name) for name in lab.processes.names()}
    again = Lab.open()
    again.cluster.start()
    assert {name: again.processes.running(name) for name in again.processes.names()} == before


def etcd_answers(lab: Lab, caller: str = "") -> bool:
    tls = lab.settings.folder / "tls"
    pair = (str(tls / f"{caller}.crt"), str(tls / f"{caller}.key")) if caller else None
    return request("GET", f"{lab.settings.url('etcd')}/version", ca=tls / "ca-etcd.crt", cert=pair, timeout=15).ok


def test_etcd_answers_a_caller_whom_its_own_authority_signed_for(lab: Lab) -> None:
    assert etcd_answers(lab, "kube-apiserver-etcd-client")


@pytest.mark.fault("Exposure", "somebody else than the API server calls etcd", "no answer")
@pytest.mark.parametrize("caller", ["", "admin", "keycloak"], ids=["nobody", "the cluster's administrator", "a server"])
def test_etcd_answers_nobody_else(lab: Lab, caller: str) -> None:
    with pytest.raises(requests.exceptions.ConnectionError):
        etcd_answers(lab, caller)


def test_the_api_server_is_verified_with_the_labs_authority_only(lab: Lab) -> None:
    url = f"{lab.cluster.endpoint.url}/readyz"
    assert request("GET", url, ca=lab.cluster.endpoint.ca, timeout=15).ok
    with pytest.raises(requests.exceptions.SSLError):
        request("GET", url, ca=lab.settings.folder / "tls" / "ca-etcd.crt", timeout=15)


def tampered(token: str) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps({**claims, "groups": ["kube-admin"]}).encode()).decode().rstrip("=")
    return f"{header}.{changed}.{signature}"


@pytest.mark.fault("Tokens", "an access token, a tampered token or none at the API server", "401")
@pytest.mark.parametrize("kind", ["access token", "tampered", "none"])
def test_the_api_server_takes_no_other_token(lab: Lab, dev: Person, kind: str) -> None:
    tokens = dev.session.tokens
    shown = {"access token": tokens.access_token, "tampered": tampered(tokens.id_token), "none": ""}[kind]
    api = Api(lab.cluster.endpoint, lambda: shown, lab.cluster.causes)
    with pytest.raises(Unauthorized) as caught:
        api.whoami()
    assert caught.value.fix


@pytest.mark.parametrize("kind", ["id_token", "access_token"])
def test_both_tokens_made_for_the_portal_are_taken_for_they_name_the_cluster_as_audience_too(lab: Lab, kind: str) -> None:
    token = getattr(lab.session("user-dev", "backstage-client").tokens, kind)
    assert Api(lab.cluster.endpoint, lambda: token, lab.cluster.causes).whoami().username == "user-dev@kratix.io"


@pytest.fixture
def unverified(lab: Lab) -> Iterator[Person]:
    """Somebody whose email nobody verified: Keycloak signs them in, the API server does not take their email for a name."""
    admin_api = lab.keycloak.admin()
    admin_api.change_current_realm(lab.workshop.realm.name)
    admin_api.update_user(str(admin_api.get_user_id("user-dev")), {"emailVerified": False})
    try:
        yield lab.sign_in("user-dev")
    finally:
        lab.realm.apply()


def test_somebody_whose_email_is_not_verified_is_unknown(unverified: Person) -> None:
    with pytest.raises(Unauthorized, match="does not take this token"):
        unverified.api.whoami()


def test_kubectl_with_a_tampered_token_says_so(lab: Lab, dev: Person) -> None:
    text = lab.cluster.kubeconfig.path.read_text()
    token = dev.session.tokens.id_token
    assert token in text
    lab.cluster.kubeconfig.path.write_text(text.replace(token, tampered(token)))
    with pytest.raises(Unauthorized, match="You must be logged in to the server"):
        dev.kubectl("get", "namespaces")


@pytest.mark.fault("Sign-in", "kubectl's token has expired", "kubectl renews it; after a sign-out it can't, and says so")
def test_kubectl_renews_an_expired_token_and_cannot_after_sign_out(lab: Lab, dev: Person) -> None:
    file = lab.cluster.kubeconfig.path

    def forget_the_id_token() -> None:
        file.write_text(re.sub(r"id-token: \S+", "id-token: ''", file.read_text()))

    forget_the_id_token()
    assert "user-dev@kratix.io" in dev.kubectl("auth", "whoami").output
    user = lab.cluster.kubeconfig.entry("users", "user-dev")
    assert user is not None
    assert user["auth-provider"]["config"]["id-token"].startswith("eyJ")
    dev.session.sign_out()
    forget_the_id_token()
    with pytest.raises(Unauthorized, match="failed to refresh token"):
        dev.kubectl("auth", "whoami")


def test_the_kubeconfig_holds_the_seeds_auth_provider_with_the_authority(lab: Lab, dev: Person) -> None:
    user = lab.cluster.kubeconfig.entry("users", "user-dev")
    assert user is not None
    provider = user["auth-provider"]
    tokens = dev.session.tokens
    assert provider == {
        "name": "oidc",
        "config": {
            "client-id": "kube",
            "client-secret": "kube-client-secret",
            "idp-issuer-url": lab.keycloak.issuer,
            "idp-certificate-authority": str(lab.keycloak.ca),
            "id-token": tokens.id_token,
            "refresh-token": tokens.refresh_token,
        },
    }
    assert lab.cluster.kubeconfig.path.stat().st_mode & 0o777 == 0o600
    assert lab.cluster.kubeconfig.entry("contexts", "user-dev") == {"cluster": "local-platform", "user": "user-dev"}


def said(person: Person, *args: str) -> str:
    """What a terminal shows: kubectl's answer, or its refusal."""
    try:
        return person.kubectl(*args).output
    except Forbidden as refusal:
        return refusal.what.partition("\n")[2]


@pytest.mark.parametrize("args", [("crate", "namespace", "x"), ("create namespace x",), ("kubectl", "get", "pods")])
def test_a_verb_that_kubectl_does_not_have_is_named_as_in_a_terminal(dev: Person, args: tuple[str, ...]) -> None:
    with pytest.raises(ClusterError) as caught:
        dev.kubectl(*args)
    assert f'unknown command "{args[0]}" for "kubectl"' in caught.value.what + caught.value.why


def test_the_five_commands_get_the_five_answers(admin: Person, dev: Person) -> None:
    admin.kubectl("delete", "namespace", "test-ns", "--ignore-not-found")
    assert said(admin, "create", "namespace", "test-ns") == "namespace/test-ns created\n"
    assert said(dev, "create", "namespace", "test-ns-2") == (
        'Error from server (Forbidden): namespaces is forbidden: User "user-dev@kratix.io" cannot create resource "namespaces" '
        'in API group "" at the cluster scope'
    )
    assert re.fullmatch(r"NAME +STATUS +AGE\ntest-ns +Active +\d+s\n", said(dev, "get", "namespace", "test-ns"))
    assert said(dev, "delete", "namespace", "test-ns") == (
        'Error from server (Forbidden): namespaces "test-ns" is forbidden: User "user-dev@kratix.io" cannot delete resource "namespaces" '
        'in API group "" in the namespace "test-ns"'
    )
    assert said(admin, "delete", "namespace", "test-ns") == 'namespace "test-ns" deleted\n'


def test_a_refused_patch_names_the_user_behind_the_object_it_shows(lab: Lab, dev: Person, admin: Person, tmp_path: Path) -> None:
    file = tmp_path / "configmap.json"

    def apply(person: Person, value: str) -> None:
        metadata = {"name": "patched", "namespace": "default"}
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"says": value}}))
        person.kubectl("apply", "-f", str(file))

    apply(admin, "first")
    try:
        with pytest.raises(Forbidden) as caught:
            apply(dev, 'forbidden: User "somebody else"')
    finally:
        admin.kubectl("delete", "configmap", "patched")
    assert caught.value.user == "user-dev@kratix.io"


def test_an_expected_refusal_is_shown(dev: Person, capsys: pytest.CaptureFixture[str]) -> None:
    with expect(Forbidden, person=dev):
        dev.kubectl("create", "namespace", "test-ns-2")
    assert capsys.readouterr().out.startswith("✔ Forbidden, as expected:\n$ kubectl --context user-dev create namespace test-ns-2\n")


@pytest.mark.fault("Access", "an expected 403 does not come", "the lab's check fails")
def test_an_expected_refusal_that_does_not_come_fails(dev: Person) -> None:
    with pytest.raises(CheckFailed, match=r"user-dev@kratix\.io was allowed"), expect(Forbidden, person=dev):
        dev.kubectl("get", "namespaces")


@pytest.mark.fault("Access", "an expected 403 is for somebody else", "the lab's check fails")
def test_a_refusal_of_somebody_else_fails(admin: Person, dev: Person) -> None:
    with pytest.raises(CheckFailed, match=r"was for user-dev@kratix\.io, not for user-admin@kratix\.io"), expect(Forbidden, person=admin):
        dev.kubectl("create", "namespace", "test-ns-2")


def test_a_refusal_counts_only_for_somebody_whom_the_api_server_knows(unverified: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.cluster.api._DISCOVERY_SECONDS", 0)
    with pytest.raises(Unauthorized), expect(Forbidden, person=unverified):
        pytest.fail("the body must not run")


def test_applying_the_rbac_objects_again_changes_nothing(lab: Lab) -> None:
    lines = lab.cluster.rbac.apply().output.splitlines()
    assert [line.rsplit(" ", 1)[0].split("/")[1] for line in lines] == ["cr-reader", "kube-admin", "kube-dev"]
    assert {line.rsplit(" ", 1)[1] for line in lines} == {"unchanged"}
    assert lab.cluster.rbac.differences() == []


@pytest.mark.fault("Access", "a binding to another role", "it is named, and replaced")
@pytest.mark.usefixtures("rbac_restored")
def test_a_binding_to_another_role_is_named_and_replaced(lab: Lab) -> None:
    lab.cluster.admin_kubectl("delete", "clusterrolebinding", "kube-dev")
    lab.cluster.admin_kubectl("create", "clusterrolebinding", "kube-dev", "--clusterrole=cluster-admin", "--group=kube-dev")
    assert [*map(str, lab.cluster.rbac.differences())] == ["ClusterRoleBinding kube-dev: its roleRef are not as declared"]
    lab.cluster.rbac.apply()
    assert lab.cluster.rbac.differences() == []


@pytest.mark.fault("Access", "other rules or subjects", "they are named, and mended")
@pytest.mark.usefixtures("rbac_restored")
def test_other_rules_and_subjects_are_named_and_mended(lab: Lab) -> None:
    for kind, name, patch in (
        ("clusterrole", "cr-reader", [{"op": "add", "path": "/rules/0/verbs/-", "value": "delete"}]),
        ("clusterrolebinding", "kube-dev", [{"op": "add", "path": "/subjects/-", "value": {"kind": "User", "name": "eve"}}]),
    ):
        lab.cluster.admin_kubectl("patch", kind, name, "--type=json", "-p", json.dumps(patch))
    assert [*map(str, lab.cluster.rbac.differences())] == [
        "ClusterRole cr-reader: its rules are not as declared",
        "ClusterRoleBinding kube-dev: its subjects are not as declared",
    ]
    lab.cluster.rbac.apply()
    assert lab.cluster.rbac.differences() == []


@pytest.mark.fault("Access", "RBAC objects were removed", "they are named as missing")
@pytest.mark.usefixtures("rbac_restored")
def test_removed_objects_are_named_as_missing_and_removing_them_again_is_no_error(lab: Lab) -> None:
    lab.cluster.rbac.remove()
    lab.cluster.rbac.remove()
    names = ("ClusterRole cr-reader", "ClusterRoleBinding kube-admin", "ClusterRoleBinding kube-dev")
    assert [*map(str, lab.cluster.rbac.differences())] == [f"{name} is missing" for name in names]


@pytest.fixture(scope="module")
def matrix(lab: Lab) -> AccessMatrix:
    return lab.access_matrix()


def test_every_answer_is_as_the_workshop_expects(matrix: AccessMatrix) -> None:
    assert len(matrix.answers) == 84
    assert matrix.differences == ()
    assert matrix.verify() is matrix
    assert "84 of 84 answers as expected" in str(matrix)


def test_the_answers_are_not_all_alike(matrix: AccessMatrix) -> None:
    allowed = {(a.user, a.verb) for a in matrix.answers if a.allowed}
    assert {verb for user, verb in allowed if user == "user-dev"} == {"get", "list", "watch"}
    assert len({verb for user, verb in allowed if user == "user-admin"}) == 7


def test_the_picture_has_a_title_for_every_answer_and_the_text_beside_it(matrix: AccessMatrix) -> None:
    html = matrix.html()
    assert html.count("<g><title>") == 84
    assert "user-dev may not delete secrets, expected no" in html
    assert "84 of 84 answers as expected" in html


@pytest.mark.fault("Access", "a missing binding", "the access matrix names each answer that differs")
@pytest.mark.usefixtures("rbac_restored")
def test_without_a_binding_the_differences_are_named_and_the_check_fails(lab: Lab) -> None:
    lab.cluster.admin_kubectl("delete", "clusterrolebinding", "kube-dev")
    wait_for(lambda: len(lab.access_matrix().differences) == 18)
    found = lab.access_matrix()
    assert {(answer.user, answer.allowed, answer.expected) for answer in found.differences} == {("user-dev", False, True)}
    with pytest.raises(CheckFailed, match="18 of 84 answers") as caught:
        found.verify()
    assert "user-dev may not get namespaces, expected yes" in caught.value.why
    assert "66 of 84 answers as expected" in str(found)


def test_an_exec_context_gets_its_token_from_labkit_and_keeps_none_in_the_kubeconfig(lab: Lab) -> None:
    cache = lab.settings.folder / "credentials" / "user-dev.json"
    cache.unlink(missing_ok=True)
    context = lab.cluster.enter_exec("user-dev")
    assert "user-dev@kratix.io" in lab.cluster.kubectl(context, "auth", "whoami").output
    assert "eyJ" not in json.dumps(lab.cluster.kubeconfig.entry("users", context))
    assert (cache.stat().st_mode & 0o777, cache.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    kept = cache.read_bytes()
    lab.cluster.kubectl(context, "auth", "whoami")
    assert cache.read_bytes() == kept


def test_a_credential_is_an_exec_credential_with_the_tokens_expiry(lab: Lab) -> None:
    answer = json.loads(lab.credential("user-dev"))
    kept = json.loads((lab.settings.folder / "credentials" / "user-dev.json").read_text())
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept["expires"]))
    assert (answer["apiVersion"], answer["kind"]) == ("client.authentication.k8s.io/v1", "ExecCredential")
    assert answer["status"] == {"token": kept["id_token"], "expirationTimestamp": moment}


@pytest.mark.fault("Tokens", "`labkit credential` keeps a token that has expired, or one of another realm", "kubectl gets a new one")
def test_a_cached_credential_that_nobody_would_take_any_more_is_replaced(lab: Lab) -> None:
    lab.credential("user-dev")
    cache = lab.settings.folder / "credentials" / "user-dev.json"
    kept = json.loads(cache.read_text())
    ended = {"expires": 0, "refresh_token": "ended"}
    for change in ({"expires": int(time.time()) + 5}, {"origin": "another realm"}, ended):
        cache.write_text(json.dumps({**kept, **change}))
        assert json.loads(lab.credential("user-dev"))["status"]["token"] != kept["id_token"]


def signed_by(key: str, token: str) -> str:
    """A token that names another key as the one that signed it."""
    header, rest = token.split(".", 1)
    named = {**json.loads(base64.urlsafe_b64decode(header + "==")), "kid": key}
    return f"{base64.urlsafe_b64encode(json.dumps(named).encode()).decode().rstrip('=')}.{rest}"


@pytest.mark.fault(
    "Tokens",
    "`labkit credential` keeps a token of a key that the realm has taken away",
    "the doctor names it, and signing in again replaces it; else it expires within five minutes",
)
def test_a_kept_token_of_a_key_that_is_gone_is_named_by_the_doctor_and_replaced_by_signing_in(lab: Lab) -> None:
    lab.sign_in("user-dev")
    good = json.loads(lab.credential("user-dev"))["status"]["token"]
    gone = signed_by("a-key-that-is-gone", good)
    lab.credentials.keep("user-dev", gone, "a refresh token", int(time.time()) + 300)
    assert json.loads(lab.credential("user-dev"))["status"]["token"] == gone
    found = dict(contexts(lab, lab.session))
    assert found == {"keys-rotated": "labkit credential user-dev: the token that it keeps is signed by key a-key-that-is-gone"}
    lab.sign_in("user-dev")
    assert json.loads(lab.credential("user-dev"))["status"]["token"] not in (good, gone)
    assert dict(contexts(lab, lab.session)) == {}


@pytest.mark.fault("Access", "the API server does not run", "the error says how to start it")
def test_an_api_server_that_is_not_there_is_named_with_how_to_start_it(lab: Lab, dev: Person) -> None:
    nowhere = type(lab.cluster.endpoint)("nowhere", "https://localhost:1", lab.cluster.endpoint.ca, {})
    with pytest.raises(ApiUnreachable, match="https://localhost:1") as caught:
        Api(nowhere, lambda: dev.session.tokens.id_token, lab.cluster.causes).whoami()
    assert "labkit up" in caught.value.fix
