"""Both ways to tell the API server whom to believe: the same person for the same token, the same refusals, and where they differ.

The token cases are those of Kubernetes' own integration test. Keycloak signs every token; "tampered" and "none" are changed afterwards.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.cluster.api import Api, Identity
from labkit.cluster.cluster import Cluster
from labkit.common.errors import Unauthorized
from labkit.common.http_session import request
from labkit.config.files import write_private
from labkit.config.settings import OIDC_STYLES, OidcStyle, Settings, find_root
from labkit.config.state_folder import open_state_folder
from labkit.doctor import probes
from labkit.identity.session import sign_in
from labkit.lab import Lab
from labkit.servers.certificates import Certificates
from labkit.servers.processes import Processes
from labkit.workshop.workshop import Workshop

PATIENCE_SECONDS = 90
EVERYBODY = "system:authenticated"
GROUP = {"user-admin": "kube-admin", "user-dev": "kube-dev"}
CLIENTS = ["kube", "backstage-client"]
ALGORITHMS = {
    "flags": '["RS256"]',
    "structured": '["ES256" "ES384" "ES512" "PS256" "PS384" "PS512" "RS256" "RS384" "RS512"]',
}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def realm(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab's Keycloak with a realm of this module's own: the workshop's, two more users, and tokens that outlast the module."""
    declared = lab.workshop.realm.representation
    somebody = next(user for user in declared["users"] if user["username"] == "user-dev")
    more = [
        {**somebody, "username": "unverified", "email": "unverified@kratix.io", "emailVerified": False},
        {**somebody, "username": "groupless", "email": "groupless@kratix.io", "groups": []},
    ]
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "realm.yaml").write_text(json.dumps({**declared, "realm": "tokens", "users": [*declared["users"], *more]}))
    made = Lab(replace(lab.settings, workshop_folder=folder))
    made.realm.apply()
    admin = made.keycloak.admin()
    admin.update_realm("tokens", {"accessTokenLifespan": 1800})
    yield made
    made.keycloak.admin().delete_realm("tokens")


@pytest.fixture(scope="module")
def home(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Another state folder, for a cluster that trusts that realm."""
    folder = tmp_path_factory.mktemp("styles") / "home"
    facts = open_state_folder(folder, environ={}, free_ports=True)
    settings = replace(lab.settings, folder=folder, folder_id=facts.id, ports=facts.ports)
    yield settings
    Lab(settings).down()


def cluster_of(home: Settings, realm: Lab, style: OidcStyle, workshop: Workshop | None = None) -> Cluster:
    settings = replace(home, oidc=style)
    return Cluster(settings, workshop or realm.workshop, Processes(settings), realm.toolchain, realm.keycloak)


@pytest.fixture(scope="module", params=OIDC_STYLES)
def cluster(request: pytest.FixtureRequest, home: Settings, realm: Lab) -> Cluster:
    """That cluster, in one style after the other."""
    made = cluster_of(home, realm, request.param)
    made.start()
    made.api(realm.session("user-dev")).wait_until_known()
    return made


def style_of(cluster: Cluster) -> OidcStyle:
    return cluster.trust.style


def refusals(cluster: Cluster) -> list[str]:
    """Why the API server has refused a token, in its log's words, oldest first."""
    found = re.findall(r'"Unable to authenticate the request" err=(".*")', cluster.provider.server_log(100_000))
    return [json.loads(quoted) for quoted in found]


def refusal(cluster: Cluster, token: str) -> str:
    """Show a token that must be refused; gives the reason in the log, with the moment of expiry left out."""
    before = len(refusals(cluster))
    assert cluster.who(token) is None
    wait_for(lambda: len(refusals(cluster)) > before)
    return re.sub(r"Token Expiry: [^)]+", "Token Expiry: …", refusals(cluster)[-1])


def encoded(part: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def decoded(part: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def tampered(token: str) -> str:
    header, payload, signature = token.split(".")
    return ".".join((header, encoded({**decoded(payload), "groups": ["kube-admin"]}), signature))


def unsigned(token: str) -> str:
    header, payload, _ = token.split(".")
    return ".".join((encoded({**decoded(header), "alg": "none"}), payload, ""))


def writes(claim: str, value: object) -> dict[str, Any]:
    """A mapper that writes a claim, of whatever value, into a client's ID tokens."""
    return mapper("oidc-hardcoded-claim-mapper", **{"claim.name": claim, "claim.value": json.dumps(value), "jsonType.label": "JSON"})


def mapper(kind: str, **config: str) -> dict[str, Any]:
    name = f"{kind} {config.get('claim.name', '')}"
    return {"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": {**config, "id.token.claim": "true"}}


FOR_THE_CLUSTER = mapper("oidc-audience-mapper", **{"included.custom.audience": "kube"})
FULL_PATHS = mapper("oidc-group-membership-mapper", **{"claim.name": "groups", "full.path": "true"})
VERIFIED = [FOR_THE_CLUSTER, writes("email_verified", True)]
EMAIL = writes("email", "user-dev@kratix.io")


def id_token_of(realm: Lab, name: str, mappers: list[dict[str, Any]]) -> str:
    """user-dev's, through a new client of that name that gives nothing but what these mappers write."""
    declared = replace(realm.workshop.client("kube"), client_id=name)
    representation = {
        "clientId": name,
        "secret": declared.secret.get_secret_value(),
        "directAccessGrantsEnabled": True,
        "defaultClientScopes": [],
        "optionalClientScopes": [],
        "protocolMappers": mappers,
        # In seconds; an ID token lives as long.
        "attributes": {"access.token.lifespan": "1" if name == "expired" else "1800"},
    }
    admin = realm.keycloak.admin()
    admin.change_current_realm(realm.workshop.realm.name)
    admin.create_client(representation)
    return sign_in(realm.keycloak, declared, realm.workshop.user("user-dev")).tokens.id_token


@pytest.fixture(scope="module")
def tokens(lab: Lab, realm: Lab) -> dict[str, str]:
    """A token for each case, by its name; both styles are shown the same ones."""
    good = realm.session("user-dev").tokens.id_token
    made = {
        "good": good,
        **{f"{user} through {client}": realm.session(user, client).tokens.id_token for user in GROUP for client in CLIENTS},
        "another realm's": lab.session("user-dev").tokens.id_token,
        "tampered": tampered(good),
        "none": unsigned(good),
        "unverified email": realm.session("unverified").tokens.id_token,
        "no groups": realm.session("groupless").tokens.id_token,
    }
    clients = {
        "expired": [*VERIFIED, EMAIL],
        "another client's": [writes("email_verified", True), EMAIL],
        "empty user name": [*VERIFIED, writes("email", "")],
        "no user name": VERIFIED,
        "email of unknown standing": [FOR_THE_CLUSTER, EMAIL],
        "no groups claim": [*VERIFIED, EMAIL],
        "group with a slash": [*VERIFIED, EMAIL, FULL_PATHS],
        "a user of Kubernetes' own": [*VERIFIED, writes("email", "system:admin")],
        "a group of Kubernetes' own": [*VERIFIED, EMAIL, writes("groups", ["kube-dev", "system:masters"])],
        "a group of kubeadm's": [*VERIFIED, EMAIL, writes("groups", ["kube-dev", "kubeadm:cluster-admins"])],
        "a group that is not declared": [*VERIFIED, EMAIL, writes("groups", ["kube-dev", "team-x"])],
        "groups as text": [*VERIFIED, EMAIL, writes("groups", "kube-dev")],
    }
    made |= {name: id_token_of(realm, name, mappers) for name, mappers in clients.items()}
    expiry = decoded(made["expired"].split(".")[1])["exp"]
    wait_for(lambda: time.time() > expiry + 1)
    return made


@dataclass(frozen=True)
class Case:
    """What becomes of a token: the person whom the API server sees, or the reason in its log; ``structured`` if that is another there."""

    token: str
    flags: Identity | str
    structured: Identity | str = ""

    def outcome(self, style: OidcStyle) -> Identity | str:
        return (style == "structured" and self.structured) or self.flags


DEV = "user-dev@kratix.io"
RULE = "oidc: error evaluating user info validation rule: validation expression"
COLON = (
    "[invalid bearer token, oidc: error evaluating claim validation expression: validation expression "
    """'dyn(claims[?"groups"].orValue([])).all(group, !group.contains(":"))' failed: """
    "a group with a colon is Kubernetes' own, or another tool's]"
)
CASES = [
    Case("good", Identity(DEV, ("kube-dev", EVERYBODY))),
    Case("expired", "[invalid bearer token, oidc: verify token: oidc: token is expired (Token Expiry: …)]"),
    Case("another client's", """[invalid bearer token, oidc: verify token: oidc: expected audience "kube" got ["another client's"]]"""),
    Case("another realm's", "invalid bearer token"),
    Case("tampered", "[invalid bearer token, oidc: verify token: failed to verify signature: failed to verify id token signature]"),
    Case(
        "none",
        *(
            "[invalid bearer token, oidc: verify token: oidc: id token signed with unsupported algorithm, "
            f'expected {ALGORITHMS[style]} got "none"]'
            for style in ("flags", "structured")
        ),
    ),
    Case(
        "empty user name",
        Identity("", (EVERYBODY,)),
        f"[invalid bearer token, {RULE} 'user.username != \"\"' failed: the user name is empty]",
    ),
    Case("no user name", '[invalid bearer token, oidc: parse username claims "email": claim not present]'),
    Case("unverified email", "[invalid bearer token, oidc: email not verified]"),
    Case(
        "email of unknown standing",
        Identity(DEV, (EVERYBODY,)),
        "[invalid bearer token, oidc: error evaluating claim validation expression: validation expression "
        "'claims.?email_verified.orValue(false) == true' failed: the email is not verified]",
    ),
    Case("no groups", Identity("groupless@kratix.io", (EVERYBODY,))),
    Case("no groups claim", Identity(DEV, (EVERYBODY,))),
    Case("group with a slash", Identity(DEV, ("/kube-dev", EVERYBODY)), Identity(DEV, (EVERYBODY,))),
    Case("a group that is not declared", Identity(DEV, ("kube-dev", "team-x", EVERYBODY)), Identity(DEV, ("kube-dev", EVERYBODY))),
    Case(
        "groups as text",
        Identity(DEV, ("kube-dev", EVERYBODY)),
        "[invalid bearer token, oidc: error evaluating group claim expression: expression "
        """'["kube-dev", "kube-admin"].filter(group, group in claims[?"groups"].orValue([]))' resulted in error: no such overload]""",
    ),
    Case(
        "a user of Kubernetes' own",
        Identity("system:admin", (EVERYBODY,)),
        f"[invalid bearer token, {RULE} '!user.username.startsWith(\"system:\")' failed: "
        "a user name that begins with system: is Kubernetes' own]",
    ),
    Case(
        "a group of Kubernetes' own",
        Identity(DEV, ("kube-dev", "system:masters", EVERYBODY)),
        COLON,
    ),
    Case("a group of kubeadm's", Identity(DEV, ("kube-dev", "kubeadm:cluster-admins", EVERYBODY)), COLON),
]


@pytest.mark.parametrize("user", GROUP)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_token_makes_the_same_person_in_both_styles_whichever_client_it_came_through(
    cluster: Cluster, tokens: dict[str, str], user: str, client: str
) -> None:
    assert cluster.who(tokens[f"{user} through {client}"]) == Identity(f"{user}@kratix.io", (GROUP[user], EVERYBODY))


def proves(case: Case) -> str:
    """What becomes of a token, for people."""
    said = {style: case.outcome(style) for style in OIDC_STYLES}
    told = {style: f"refused: `{said[style]}`" if isinstance(said[style], str) else f"taken for {said[style]}" for style in OIDC_STYLES}
    return told["flags"] if len(set(told.values())) == 1 else "; ".join(f"{style}: {told[style]}" for style in OIDC_STYLES)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.token, marks=pytest.mark.fault("Tokens", f"at the API server: {case.token}", proves(case)))
        for case in CASES
    ],
)
def test_a_token_gets_its_person_or_its_reason(cluster: Cluster, tokens: dict[str, str], case: Case) -> None:
    expected = case.outcome(style_of(cluster))
    token = tokens[case.token]
    assert (refusal(cluster, token) if isinstance(expected, str) else cluster.who(token)) == expected


@contextmanager
def in_a_new_group(realm: Lab, name: str, below: str = "") -> Iterator[str]:
    """user-dev's ID token while they are in a group that the realm's own group administrator has made."""
    admin_api = realm.realm.admin()
    parent = str(admin_api.create_group({"name": below})) if below else None
    group = str(admin_api.create_group({"name": name}, parent=parent))
    admin_api.group_user_add(str(admin_api.get_user_id("user-dev")), group)
    try:
        yield realm.session("user-dev").tokens.id_token
    finally:
        admin_api.delete_group(parent or group)


def audited(home: Settings, username: str) -> int:
    """How many requests of somebody's the audit log holds."""
    lines = (home.folder / "logs" / "kube-apiserver-audit.log").read_text().splitlines()
    return sum(json.loads(line)["user"].get("username") == username for line in lines)


@pytest.mark.fault(
    "Neighbours",
    "whoever may make groups in the realm makes one called system:masters, or kubeadm:cluster-admins, and joins it",
    "401, with the reason in the API server's log; by LABKIT_OIDC=flags it takes them for it, and the audit log has their requests",
)
@pytest.mark.parametrize("name", ["system:masters", "kubeadm:cluster-admins"])
def test_a_group_of_kubernetes_own_name_makes_nobody_its_administrator(cluster: Cluster, home: Settings, realm: Lab, name: str) -> None:
    with in_a_new_group(realm, name) as token:
        assert [(notice.kind, f"(/{name})" in notice.text) for notice in realm.realm.plan().notices] == [("colon", True)]
        if style_of(cluster) == "structured":
            assert refusal(cluster, token) == COLON
            return
        before = audited(home, DEV)
        api = Api(cluster.endpoint, lambda: token, cluster.causes)
        assert name in api.whoami().groups
        # kubeadm's group is bound in clusters that kubeadm has made, KinD's among them.
        assert api.can("*", "*") == (name == "system:masters")
        wait_for(lambda: audited(home, DEV) >= before + 2)


@pytest.mark.fault(
    "Neighbours",
    "whoever may make groups below their own makes one called kube-admin there, and joins it",
    "tokens can't tell it from the declared one; the plan and the doctor name it with its members, and change nothing",
)
def test_a_subgroup_of_a_declared_name_is_named_by_plan_and_doctor(cluster: Cluster, realm: Lab) -> None:
    assert realm.realm.plan().notices == ()
    with in_a_new_group(realm, "kube-admin", below="team-x") as token:
        seen = cluster.who(token)
        assert seen is not None
        assert set(seen.groups) == {"kube-dev", "kube-admin", EVERYBODY}
        plan = realm.realm.plan()
        (notice,) = plan.notices
        assert (notice.kind, plan.pending) == ("group", ())
        assert notice.text.startswith("tokens name the group /team-x/kube-admin kube-admin as well: its members (user-dev)")
        assert f"! {notice.text}" in str(plan)
        assert list(probes.realm(realm, realm.session)) == [("group-lookalike", notice.text)]


@pytest.mark.fault("Neighbours", "a group that realm.yaml does not declare is bound in the cluster", "a token's group counts if declared")
def test_an_undeclared_group_gets_no_rights_by_a_file(cluster: Cluster, home: Settings, realm: Lab) -> None:
    binding = ("clusterrolebinding", "of-the-undeclared")
    cluster.kubeconfig.enter(cluster.endpoint)
    cluster.admin_kubectl("create", *binding, "--clusterrole=cluster-admin", "--group=team-x")
    try:
        with in_a_new_group(realm, "team-x") as token:
            api = Api(cluster.endpoint, lambda: token, cluster.causes)
            if style_of(cluster) == "flags":
                api.wait_until("*", "*", allowed=True)
            assert api.can("*", "*") == (style_of(cluster) == "flags")
    finally:
        cluster.admin_kubectl("delete", *binding)


def test_who_shows_no_token_learns_of_health_and_with_a_file_of_nothing_else(cluster: Cluster) -> None:
    def answer(path: str) -> int:
        return request("GET", f"{cluster.endpoint.url}{path}", ca=cluster.endpoint.ca, timeout=15).status_code

    assert {path: answer(path) for path in ("/livez", "/readyz", "/healthz")} == {"/livez": 200, "/readyz": 200, "/healthz": 200}
    assert answer("/version") == {"flags": 200, "structured": 401}[style_of(cluster)]


@pytest.fixture
def told_another_ca(cluster: Cluster, home: Settings) -> Iterator[None]:
    """The API server, started anew with a CA that has not signed Keycloak's certificate."""
    cluster.stop()
    cluster.provider.start(replace(cluster.trust, ca=Certificates(home.folder / "tls").authority("etcd")))
    yield
    cluster.stop()
    cluster.start()


@pytest.mark.fault(
    "Access",
    "the API server was given a CA that has not signed Keycloak's certificate",
    "nobody is authenticated; the 401 is shown with x509 and the fix",
)
@pytest.mark.usefixtures("told_another_ca")
def test_with_a_foreign_ca_nobody_is_known_and_the_log_says_x509(cluster: Cluster, realm: Lab, tokens: dict[str, str]) -> None:
    assert refusal(cluster, tokens["good"]) == "[invalid bearer token, oidc: authenticator not initialized]"
    said = re.findall(r"oidc authenticator: initializing plugin: (.*)", cluster.provider.server_log(100_000))
    discovery = f"{realm.keycloak.issuer}/.well-known/openid-configuration"
    assert said
    assert said[0] == f'Get "{discovery}": tls: failed to verify certificate: x509: certificate signed by unknown authority'
    with pytest.raises(Unauthorized) as caught:
        Api(cluster.endpoint, lambda: tokens["good"], cluster.causes).whoami()
    assert caught.value.why == f"the API server has not read the realm's discovery document yet: {said[0]}"
    assert caught.value.fix == "hand it the CA that signed Keycloak's certificate: lab.cluster.start()"


@pytest.fixture
def structured(home: Settings, realm: Lab) -> Cluster:
    made = cluster_of(home, realm, "structured")
    made.start()
    made.api(realm.session("user-dev")).wait_until_known()
    return made


def pid_of(home: Settings) -> int:
    running = Processes(home).running("kube-apiserver")
    assert running
    return running.pid


def reloads(cluster: Cluster, status: str) -> int:
    """How often the API server has read its file again, as its metric counts it."""
    name = "apiserver_authentication_config_controller_automatic_reloads_total"
    found = re.search(rf'^{name}{{.*status="{status}".*}} (\d+)$', cluster.admin_kubectl("get", "--raw", "/metrics").output, re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.fault("Access", "an AuthenticationConfiguration that is wrong", "the old one stays in force; starting again mends it")
def test_a_file_that_is_wrong_is_counted_and_the_old_one_stays_in_force(structured: Cluster, home: Settings, realm: Lab) -> None:
    pid, failures = pid_of(home), reloads(structured, "failure")
    file = home.folder / "authentication.yaml"
    good = file.read_text()
    write_private(
        file, good.replace("claim: email", "claim: sub").replace("email_verified.orValue(false) == true", "email_verified.orValue(")
    )
    wait_for(lambda: reloads(structured, "failure") == failures + 1)
    # A new token: who an older one belongs to is remembered for ten seconds.
    assert structured.api(realm.session("user-dev")).whoami().username == DEV
    structured.start()
    assert file.read_text() == good
    assert file.stat().st_mode & 0o777 == 0o600
    assert pid_of(home) == pid


def test_another_claim_is_followed_without_a_restart(structured: Cluster, home: Settings, realm: Lab) -> None:
    session, pid = realm.session("user-dev"), pid_of(home)
    assert structured.api(session).whoami().username == DEV
    declared = realm.workshop.cluster
    file = declared.authentication.with_values({("jwt", 0, "claimMappings", "username", "claim"): "sub"})
    workshop = replace(realm.workshop, cluster=replace(declared, authentication=file))
    other = cluster_of(home, realm, "structured", workshop)
    other.start()
    wait_for(lambda: other.api(session).whoami().username == session.claims["sub"])
    assert pid_of(home) == pid


@pytest.fixture
def by_file_again(lab: Lab) -> Iterator[None]:
    yield
    lab.cluster.start()
    lab.sign_in("user-dev").whoami()


@pytest.mark.usefixtures("by_file_again")
def test_lab_02_passes_in_the_other_style_for_which_the_api_server_is_started_anew(lab: Lab, tmp_path: Path) -> None:
    pid = pid_of(lab.settings)
    notebook = find_root() / "notebooks" / "02-cluster.ipynb"
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-x", "-q", "-p", "no:cacheprovider", str(notebook)]
    env = {**os.environ, "LABKIT_OIDC": "flags"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert pid_of(lab.settings) != pid
    flags = psutil.Process(pid_of(lab.settings)).cmdline()
    assert tuple(flag for flag in flags if flag.startswith(("--authentication-config", "--oidc-"))) == lab.cluster.trust.flags()
