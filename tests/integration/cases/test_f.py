"""F: the cause comes from the answer itself, every hint leads on, and the doctor is right with every cluster and Keycloak."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakPostError

from labkit import Lab
from labkit.cluster.kind.checks import not_created
from labkit.cluster.refusals import Causes, forbidden
from labkit.cluster.trust import Trust
from labkit.common.errors import Forbidden, IdentityError, PortalError, TokenInvalid, Unauthorized, WorkshopError
from labkit.common.platform_folder import OWN
from labkit.common.waiting import finish
from labkit.config.hosting import PUBLIC_CA
from labkit.doctor import diagnose, probes
from labkit.identity import hosted
from labkit.identity.keycloak import failure
from labkit.identity.session import Claims, Session, key_id
from labkit.servers.certificates import Certificates
from labkit.workshop.workshop import Workshop

STYLES = ("structured", "flags")


def keycloaks_error(body: object) -> IdentityError:
    return failure("user ada", KeycloakPostError(response_code=400, response_body=json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"field": "firstName", "errorMessage": "error-person-name-invalid-character"}, "firstName: error-person-name-invalid-character"),
        (
            {"errors": [{"field": field, "errorMessage": "error-user-attribute-required"} for field in ("badge", "department")]},
            "badge: error-user-attribute-required; department: error-user-attribute-required",
        ),
        (
            {"field": "username", "errorMessage": "error-invalid-length", "params": ["username", 3, 255]},
            "username: error-invalid-length (3, 255)",
        ),
        ({"errors": []}, "no reason given"),
        ({"errors": [{"field": "badge"}]}, "badge: no reason given"),
    ],
)
def test_every_field_that_keycloak_finds_wrong_is_named(body: object, words: str) -> None:
    """B16: the bodies are Keycloak's own, see also the test on a real one."""
    assert keycloaks_error(body).why == f"it answered 400: {words}"


@contextmanager
def realm_with(lab: Lab, **fields: Any) -> Iterator[KeycloakAdmin]:
    """The realm with other values for a while."""
    admin, name = lab.realm.admin(), lab.workshop.realm.name
    before = admin.get_realm(name)
    admin.update_realm(name, {**before, **fields})
    try:
        yield admin
    finally:
        admin.update_realm(name, {**before, **{field: before.get(field) for field in fields}})


@pytest.fixture
def in_style(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Lab]:
    """The lab with an API server that is configured in that style."""
    if request.param == "structured":
        yield lab
        return
    other = Lab(replace(lab.settings, oidc=request.param))
    other.cluster.start()
    yield other
    lab.cluster.start()


@pytest.mark.fault("Tokens", "the realm signs by another algorithm than RS256", "verified where the API server takes it, else named")
@pytest.mark.parametrize("in_style", STYLES, indirect=True)
@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_another_algorithm_is_taken_or_named(in_style: Lab, algorithm: str) -> None:
    """B19: the API server itself says which it takes."""
    lab = in_style
    taken = algorithm != "EdDSA" and lab.settings.oidc == "structured"
    with realm_with(lab, defaultSignatureAlgorithm=algorithm):
        session = lab.session("user-dev")
        if taken:
            assert lab.cluster.api(session).wait_until_known().username == "user-dev@kratix.io"
        else:
            with pytest.raises(Unauthorized) as refused:
                lab.cluster.api(session).whoami()
            assert refused.value.problem.id == "api-algorithm"
            assert f"signed by {algorithm}" in refused.value.why
        at_portal = lab.portal.sign_in("user-dev")
        assert at_portal.known().groups == ("kube-dev",)
        for ask in (at_portal.whoami, lambda: at_portal.resource("Service", "kubernetes", namespace="default")):
            if taken:
                ask()
            else:
                with pytest.raises(Unauthorized, match=f"signed by {algorithm}"):
                    ask()
        said = diagnose(lab)
    assert set(said.names) == (set() if taken else {"signed-otherwise"}), said


def test_what_a_secret_signs_proves_nothing_and_is_named_everywhere(lab: Lab) -> None:
    """B19, a relative: who can verify such a token could have made it."""
    with realm_with(lab, defaultSignatureAlgorithm="HS256"):
        with pytest.raises(TokenInvalid, match="signed by HS256") as by_labkit:
            lab.session("user-dev")
        with pytest.raises(PortalError, match="signed by HS256") as by_the_portal:
            lab.portal.sign_in("user-dev")
        said = diagnose(lab)
    assert "choose RS256" in by_labkit.value.fix
    assert "Choose RS256" in by_the_portal.value.why
    assert set(said.names) == {"signed-otherwise"}, said


def test_an_algorithm_that_no_api_server_takes_is_refused_in_the_file(tmp_path: Path) -> None:
    """B19: the API server would not start."""
    (tmp_path / "oidc-flags.yaml").write_text((OWN / "oidc-flags.yaml").read_text() + 'oidc-signing-algs: "RS256,EdDSA"\n')
    with pytest.raises(WorkshopError) as refused:
        Workshop.load(tmp_path)
    assert 'oidc-signing-algs: there is no signing algorithm "EdDSA"' in refused.value.why


FROM_POD_SECURITY = 'pods "p" is forbidden: violates PodSecurity "restricted:latest": privileged (container "c" must not set …)'
NOT_RBACS = [
    FROM_POD_SECURITY,
    'pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0',
    'admission webhook "w.example" denied the request: no, said User "ada"',
    'configmaps "c" is forbidden: unable to create new content in namespace n because it is being terminated',
    "configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not you",
    'pods "p" is forbidden: error looking up service account default/x: serviceaccount "x" not found',
]
RBACS = [
    'namespaces is forbidden: User "ada@x" cannot create resource "namespaces" in API group "" at the cluster scope',
    'forbidden: User "ada@x" cannot get path "/metrics"',
    'users "root" is forbidden: User "ada@x" cannot impersonate resource "users" in API group "" at the cluster scope',
    'roles "r" is forbidden: user "ada@x" (groups=["dev"]) is attempting to grant RBAC permissions not currently held',
]


@pytest.mark.parametrize("words", NOT_RBACS)
def test_a_403_of_whoever_stands_behind_rbac_is_shown_in_its_own_words(words: str) -> None:
    """B53: no talk of bindings, and no cause that is looked for in the groups."""
    error = forbidden(words)
    assert (error.problem.id, error.user, error.what) == ("api-403-otherwise", "", words)
    assert "no binding changes it" in error.fix
    causes(Path("-")).explain(error, token(groups=[]))
    assert error.problem.id == "api-403-otherwise"


@pytest.mark.parametrize("words", RBACS)
def test_rbacs_own_403_names_the_user(words: str) -> None:
    """B53: what RBAC says is known by its form."""
    error = forbidden(words)
    assert (error.problem.id, error.user) == ("api-403", "ada@x")


@pytest.mark.fault("Access", "Pod Security refuses a pod", "its words, and no talk of bindings")
def test_pod_securitys_403_on_a_real_cluster(lab: Lab) -> None:
    """B53: a pod that may become root, by somebody who may make pods."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    place = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted-here", "labels": label}}
    container = {"name": "c", "image": "x"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "restricted-here"},
        "spec": {"containers": [container]},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "restricted-here"}}
    admin = lab.sign_in("user-admin")
    admin.whoami()
    admin.kubectl("apply", "-f", "-", stdin=json.dumps(place))
    try:
        admin.kubectl("apply", "-f", "-", stdin=json.dumps(account))
        with pytest.raises(Forbidden, match="violates PodSecurity") as refused:
            admin.kubectl("create", "-f", "-", stdin=json.dumps(pod))
        assert refused.value.problem.id == "api-403-otherwise"
    finally:
        admin.kubectl("delete", "namespace", "restricted-here", "--wait=false")


ISSUER = "https://localhost:8443/realms/myrealm"


def token(**claims: Any) -> str:
    """A token with these claims, which only its reader takes for one: nothing is signed."""
    said = {"iss": ISSUER, "aud": "kube", "exp": time.time() + 300, "email": "ada@x", "groups": ["kube-dev"], **claims}
    parts = ({"alg": "RS256", "kid": "k"}, said)
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "s"])


def causes(ca: Path, style: Any = "structured") -> Causes:
    return Causes(Trust(ISSUER, ca, Workshop.load().cluster, ("kube-dev",), style), ["kube-dev"], lambda _: "")


def cause(error: Any, shown: str, style: str = "structured") -> str:
    causes(Path("-"), style).explain(error, shown)
    return str(error.problem.id)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("claims", "id_"),
    [
        ({"exp": "soon"}, "api-log-silent"),
        ({"exp": None}, "api-log-silent"),
        ({"exp": 1.5}, "api-token-expired"),
        ({"aud": 7}, "api-no-audience"),
        ({"aud": {"a": 1}}, "api-no-audience"),
        ({"aud": [7, "kube"]}, "api-log-silent"),
        ({"aud": ["x", 7]}, "api-other-audience"),
        ({"iss": ["x"]}, "api-other-issuer"),
    ],
)
def test_a_token_with_claims_of_odd_types_is_explained(claims: dict[str, Any], id_: str, style: str) -> None:
    """Found on the way (F): explaining a refusal ended in a TypeError."""
    assert cause(Unauthorized("api-401", url="x"), token(**claims), style) == id_


@pytest.mark.parametrize(
    ("groups", "id_"),
    [
        ("kube-dev", "api-403"),
        ("ops", "api-groups-unbound"),
        (["ops", 7], "api-groups-unbound"),
        (7, "api-no-groups"),
        ({}, "api-no-groups"),
    ],
)
def test_a_403_while_groups_is_text_or_odd_is_explained(groups: object, id_: str) -> None:
    """Found on the way (F): the text was taken for a list of its letters."""
    assert cause(forbidden(RBACS[0]), token(groups=groups)) == id_


@pytest.mark.parametrize("shown", ["", "x", "a.b.c", "e30.e30.", "W10.W10.x", "bnVsbA.e30.x"])
def test_what_is_no_token_at_all_is_explained(shown: str) -> None:
    """Found on the way (F): a header that is none, or a list."""
    assert cause(Unauthorized("api-401", url="x"), shown) in ("api-no-jwt", "api-other-issuer")
    assert key_id(shown) == ""


def test_a_token_without_the_claim_for_the_name_is_an_error_of_its_own(lab: Lab) -> None:
    """B46: asking as somebody whose token does not name them."""
    lacking = Claims("an ID token of ada", {"groups": ["kube-dev"]})
    with pytest.raises(IdentityError, match='no claim "email"') as refused:
        lab.cluster.kubectl_as(lacking, "get", "ns")
    assert "realm.plan()" in refused.value.fix


def test_a_claim_for_the_name_that_no_scope_brings_is_refused_in_the_file(tmp_path: Path) -> None:
    """B46: preferred_username without the scope profile."""
    flags = (OWN / "oidc-flags.yaml").read_text().replace("oidc-username-claim: email", "oidc-username-claim: preferred_username")
    (tmp_path / "oidc-flags.yaml").write_text(flags + 'oidc-username-prefix: "-"\n')
    with pytest.raises(WorkshopError) as refused:
        Workshop.load(tmp_path)
    assert 'oidc-username-claim: there is no claim "preferred_username"' in refused.value.why


@pytest.mark.parametrize(
    ("said", "id_", "remedy"),
    [
        ("Failed to create inotify object: Too many open files", "kind-no-inotify", "fs.inotify.max_user_instances=512"),
        ("kubelet is configured to not run on a host using cgroup v1", "kind-cgroup-v1", "LABKIT_CLUSTER=local"),
        ('running kind with rootless provider requires setting systemd property "Delegate=yes"', "kind-rootless", "Delegate=yes"),
    ],
)
def test_what_keeps_kind_from_making_a_cluster_has_its_remedy(said: str, id_: str, remedy: str) -> None:
    """B56: causes with a known remedy."""
    error = not_created(said, Path("log"))
    assert error.problem.id == id_
    assert remedy in error.fix


@pytest.mark.parametrize(
    ("version", "good"),
    [("nightly", True), ("999.0.0-SNAPSHOT", True), ("26.7.3", True), ("24.0.5", False), ("24", False), ("", True)],
)
def test_any_version_of_keycloak_is_read(monkeypatch: pytest.MonkeyPatch, version: str, good: bool) -> None:
    """B71: a nightly build has no number."""
    monkeypatch.setattr(hosted, "_read", lambda *_: {"systemInfo": {"version": version}})
    assert hosted._version(cast("KeycloakAdmin", None)).ok is good


Change = Callable[[dict[str, Any]], object]


def mapped(**mappings: object) -> Change:
    return lambda told: told["jwt"][0]["claimMappings"].update(mappings)


def other_issuer_first(told: dict[str, Any]) -> None:
    told["jwt"].insert(
        0, {"issuer": {"url": "https://other.example", "audiences": ["x"]}, "claimMappings": {"username": {"expression": "1"}}}
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda _: None, []),
        (mapped(username={"expression": "claims.email_verified ? claims.email : ''"}), []),
        (other_issuer_first, []),
        (lambda told: told["jwt"][0]["issuer"].update(audiences=["x", "kube"], audienceMatchPolicy="MatchAny"), []),
        (mapped(username={"claim": "sub", "prefix": "oidc:"}), ["other-claims", "swapped-prefix"]),
        (mapped(groups={"claim": "groups", "prefix": ""}), ["undeclared-groups"]),
        (mapped(groups={"claim": "groups", "prefix": "oidc:"}), ["swapped-prefix"]),
        (mapped(groups={"claim": "roles", "prefix": ""}), ["other-claims"]),
        (mapped(groups=None), ["other-claims"]),
        (lambda told: told["jwt"][0]["issuer"].update(audiences=["x"]), ["wrong-audience"]),
        (lambda told: told["jwt"][0]["issuer"].pop("certificateAuthority"), ["wrong-ca"]),
        (lambda told: told.update(jwt=[]), ["wrong-issuer"]),
        (lambda told: told.pop("jwt"), ["wrong-issuer"]),
        (lambda told: told.clear(), ["wrong-issuer"]),
    ],
)
def test_the_doctor_reads_any_valid_authentication_configuration(tmp_path: Path, change: Change, found: list[str]) -> None:
    """Found on the way (F): the doctor ended in a KeyError where the file is not labkit's own word for word."""
    trust = Trust(ISSUER, Certificates(tmp_path / "tls").authority("servers"), Workshop.load().cluster, ("kube-dev",))
    told = yaml.safe_load(trust.configuration())
    change(told)
    (tmp_path / "told.yaml").write_text(yaml.safe_dump(told))
    provider = SimpleNamespace(servers=["kube-apiserver"], flags=lambda: (f"--authentication-config={tmp_path / 'told.yaml'}",))
    lab = SimpleNamespace(cluster=SimpleNamespace(trust=trust, provider=provider))
    assert [name for name, _ in probes.trust(cast("Lab", lab), cast("Any", None))] == found


@pytest.mark.parametrize("text", ["jwt: [", "jwt: {a: 1}", "jwt: [7]", "jwt: [{issuer: {url: x, audiences: 7}}]", "- jwt", "\t", None])
def test_the_doctor_names_a_file_that_is_no_authentication_configuration(tmp_path: Path, text: str | None) -> None:
    """Found on the way (F): gone, no YAML, or of another form."""
    trust = Trust(ISSUER, Certificates(tmp_path / "tls").authority("servers"), Workshop.load().cluster, ("kube-dev",))
    if text is not None:
        (tmp_path / "file.yaml").write_text(text)
    provider = SimpleNamespace(servers=["kube-apiserver"], flags=lambda: (f"--authentication-config={tmp_path / 'file.yaml'}",))
    lab = SimpleNamespace(cluster=SimpleNamespace(trust=trust, provider=provider))
    found = [name for name, _ in probes.trust(cast("Lab", lab), cast("Any", None))]
    assert found
    assert set(found) <= {"authentication-unreadable", "wrong-issuer", "wrong-audience", "wrong-ca", "other-claims"}


def test_the_doctor_is_content_with_an_expression_by_which_people_are_who_they_are(lab: Lab) -> None:
    """Found on the way (F): whom an expression names is asked of the API server."""
    file = lab.settings.state.authentication
    told = yaml.safe_load(file.read_text())
    mapped(username={"expression": "claims.email_verified ? claims.email : ''"})(told)
    before = file.read_text()
    try:
        file.write_text(yaml.safe_dump(told))
        finish(lab.cluster.provider._following())  # type: ignore[attr-defined]
        assert diagnose(lab).found == ()
    finally:
        file.write_text(before)
        lab.cluster.start()


@pytest.mark.parametrize("style", STYLES)
def test_for_a_public_certificate_the_api_server_gets_the_authorities_that_labkit_trusts(lab: Lab, style: Any) -> None:
    """B34: a machine without authorities of its own, where ``SSL_CERT_FILE`` leads to none."""
    provider = lab.cluster.provider
    for ca, given in ((PUBLIC_CA, str(PUBLIC_CA)), (lab.keycloak.ca, None)):
        trust = replace(lab.cluster.trust, ca=ca, style=style)
        before = lab.settings.state.authentication.read_text()
        try:
            server = provider._api_server({"kube-apiserver": Path("/bin/true")}, trust)  # type: ignore[attr-defined]
        finally:
            lab.settings.state.authentication.write_text(before)
        assert server.env.get("SSL_CERT_FILE") == given


def test_a_session_is_verified_whatever_the_client_has_its_tokens_signed_by(lab: Lab) -> None:
    """B19: the client's own algorithm, beside the realm's."""
    admin, attribute = lab.realm.admin(), "id.token.signed.response.alg"
    client = str(admin.get_client_id("kube"))
    before = admin.get_client(client)["attributes"]
    admin.update_client(client, {"attributes": {**before, attribute: "PS256"}, "webOrigins": []})
    try:
        session: Session = lab.session("user-dev")
        assert lab.cluster.api(session).wait_until_known().username == "user-dev@kratix.io"
    finally:
        admin.update_client(client, {"attributes": {**before, attribute: ""}, "webOrigins": []})
