"""The doctor on a lab that is whole, and on one with each cause that it knows."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import labkit.doctor
from labkit.cluster import local
from labkit.common.errors import ServerError
from labkit.common.problems import catalogue, problem
from labkit.course.faults import FAULTS, Fault
from labkit.doctor.diagnosis import PROBES, Diagnosis
from labkit.lab import Lab
from labkit.servers._launch import session_members
from labkit.servers.machine import Machine
from tests.support import labkit as command
from tests.support import made_by, secrets_in, wait_for

Break = Callable[[Lab], object]
Mend = Callable[[Lab], object]


BY_HAND = "set-by-hand-4711"
"""The secret that somebody changes another one to."""


def diagnose(lab: Lab) -> Diagnosis:
    """What the doctor says; whatever is broken, neither its text nor its JSON may give a secret away."""
    said = labkit.doctor.diagnose(lab)
    shown = f"{said}\n{json.dumps(asdict(said), default=str)}"
    assert secrets_in(shown, {**made_by(lab), "what was set by hand": BY_HAND}) == []
    return said


def find_nothing(lab: Lab) -> None:
    """Have everybody's context in the kubeconfig, and nothing wrong."""
    for username in lab.workshop.access.expected:
        lab.sign_in(username).whoami()
    assert diagnose(lab).names == []


@pytest.fixture(scope="module")
def _whole(whole_lab: Lab) -> Iterator[None]:
    """Nothing is wrong before the first test of the doctor and after its last."""
    whole_lab.up()
    find_nothing(whole_lab)
    yield
    whole_lab.up()
    find_nothing(whole_lab)


@pytest.fixture
def whole(_whole: None, lab: Lab) -> Lab:
    """A lab in which nothing is wrong."""
    return lab


TOLD = ("wrong-issuer", "wrong-ca", "wrong-audience", "swapped-prefix")
"""The faults in how the API server is configured."""


@pytest.fixture
def sandbox(whole: Lab, fault: Fault) -> Iterator[Lab]:
    """It, for the faults in its API server's configuration; configured by flags, as the practice lab is, in which they are switched on."""
    if fault.name not in TOLD:
        yield whole
        return
    made = Lab(replace(whole.settings, oidc="flags"))
    made.cluster.start()
    yield made
    whole.cluster.start()


def test_nothing_is_found_in_a_lab_that_is_whole_and_everything_was_looked_at(whole: Lab) -> None:
    said = diagnose(whole)
    assert (said.found, said.not_looked_at) == ((), ())
    assert len(said.well) == 12 if whole.kratix.statuses() else set(PROBES) - set(said.well) == {"Kratix"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault,
            id=fault.name,
            marks=pytest.mark.fault("Doctor", fault.story, f"named `{fault.cause}`, and mended by {problem(fault.cause).fix}"),
        )
        for fault in FAULTS.values()
    ],
)
def test_a_fault_is_named_and_what_the_doctor_says_mends_it(sandbox: Lab, fault: Fault) -> None:
    try:
        fault.switch_on(sandbox)
        said = diagnose(sandbox)
        assert set(said.names) == {fault.cause}, said
        assert problem(fault.cause).fix in str(said)
    finally:
        fault.mend(sandbox)
    find_nothing(sandbox)


@pytest.mark.fault(
    "Exposure",
    "a secret in what `labkit doctor --json` prints, for an issue",
    "none, whatever is broken: each of the doctor's answers is searched",
)
def test_what_somebody_puts_into_an_issue_holds_no_secret(whole: Lab) -> None:
    # Each test here looks at what the doctor returns; this one at what the command prints.
    made = made_by(whole)
    change_client(secret=BY_HAND)(whole)
    try:
        done = command("doctor", "--json", LABKIT_HOME=str(whole.settings.folder))
        assert "client-secret" in {each["problem"]["id"] for each in json.loads(done.stdout)["found"]}
        assert secrets_in(done.stdout + done.stderr, {**made, "what was set by hand": BY_HAND}) == []
    finally:
        apply(whole)


@pytest.mark.parametrize("name", ["wrong-audience", "swapped-prefix"])
def test_a_mistake_in_the_api_servers_file_is_named_as_well(whole: Lab, name: str) -> None:
    try:
        FAULTS[name].switch_on(whole)
        assert diagnose(whole).names == [FAULTS[name].cause]
    finally:
        FAULTS[name].mend(whole)
    find_nothing(whole)


@pytest.mark.fault(
    "Servers",
    "a changed AuthenticationConfiguration by which the issuer can't be reached",
    "the one before stays in force, starting says that the file is not followed, and the doctor names what is wrong with it",
)
@pytest.mark.parametrize("name", ["wrong-issuer", "wrong-ca"])
def test_a_file_that_leads_to_no_issuer_is_not_followed_and_named(whole: Lab, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(local, "_FOLLOW_SECONDS", 15)
    try:
        with pytest.raises(ServerError, match="does not go by"):
            FAULTS[name].switch_on(whole)
        assert whole.sign_in("user-dev").whoami().username == "user-dev@kratix.io"
        assert diagnose(whole).names == [FAULTS[name].cause]
    finally:
        FAULTS[name].mend(whole)
    find_nothing(whole)


def user(lab: Lab) -> dict[str, Any]:
    admin = lab.realm.admin()
    return dict(admin.get_user(str(admin.get_user_id("user-dev"))))


def client(lab: Lab, name: str = "kube") -> dict[str, Any]:
    admin = lab.realm.admin()
    return dict(admin.get_client(str(admin.get_client_id(name))))


def groups_scope(lab: Lab) -> dict[str, Any]:
    return next(dict(scope) for scope in lab.realm.admin().get_client_scopes() if scope["name"] == "groups")


def change_user(**fields: Any) -> Break:
    return lambda lab: lab.realm.admin().update_user(user(lab)["id"], {**user(lab), **fields})


def change_client(name: str = "kube", **fields: Any) -> Break:
    return lambda lab: lab.realm.admin().update_client(client(lab, name)["id"], {**client(lab, name), **fields})


def change_mapper(lab: Lab, owner: str) -> None:
    admin, portal = lab.realm.admin(), client(lab, "backstage-client")
    if owner == "portal":
        mapper = portal["protocolMappers"][0]
        admin.update_client_mapper(portal["id"], mapper["id"], {**mapper, "config": {**mapper["config"], "included.custom.audience": "x"}})
    else:
        scope = groups_scope(lab)
        mapper = scope["protocolMappers"][0]
        changed = {**mapper, "config": {**mapper["config"], "claim.name": "teams"}}
        admin.update_mapper_in_client_scope(scope["id"], mapper["id"], changed)


def move_user(lab: Lab) -> None:
    group = next(group["id"] for group in lab.realm.admin().get_groups() if group["name"] == "kube-admin")
    lab.realm.admin().group_user_add(user(lab)["id"], group)


def delete_group(lab: Lab) -> None:
    lab.realm.admin().delete_group(next(group["id"] for group in lab.realm.admin().get_groups() if group["name"] == "kube-dev"))


def make_lookalike(lab: Lab) -> None:
    admin_api = lab.realm.admin()
    admin_api.create_group({"name": "kube-admin"}, parent=admin_api.create_group({"name": "team-x"}))


def remove_lookalike(lab: Lab) -> None:
    lab.realm.admin().delete_group(lab.realm.admin().get_group_by_path("/team-x")["id"])


def join_undeclared(lab: Lab) -> None:
    lab.realm.admin().create_user({"username": "somebody", "groups": ["kube-dev"]})


def remove_undeclared(lab: Lab) -> None:
    lab.realm.admin().delete_user(str(lab.realm.admin().get_user_id("somebody")))


def hide_scope(lab: Lab) -> None:
    scope = groups_scope(lab)
    changed = {**scope, "attributes": {**scope["attributes"], "include.in.token.scope": "false"}}
    lab.realm.admin().update_client_scope(scope["id"], changed)


def rename_issuer(url: str) -> Break:
    def set_it(lab: Lab) -> None:
        name = lab.workshop.realm.name
        attributes = {**lab.realm.admin().get_realm(name)["attributes"], "frontendUrl": url}
        lab.realm.admin().update_realm(name, {"attributes": attributes})

    return set_it


def sign_by(algorithm: str) -> Break:
    return lambda lab: lab.realm.admin().update_realm(lab.workshop.realm.name, {"defaultSignatureAlgorithm": algorithm})


def apply(lab: Lab) -> None:
    lab.realm.apply()


def leave(_: Lab) -> None:
    """Nothing is to be mended by hand."""


IN_THE_REALM: list[tuple[str, Break, Mend]] = [
    ("realm-missing", lambda lab: lab.keycloak.admin().delete_realm(lab.workshop.realm.name), apply),
    ("realm-disabled", lambda lab: lab.keycloak.admin().update_realm(lab.workshop.realm.name, {"enabled": False}), apply),
    ("realm-renamed-issuer", rename_issuer("https://sso.example"), rename_issuer("")),
    ("signed-otherwise", sign_by("EdDSA"), sign_by("RS256")),
    ("user-missing", lambda lab: lab.realm.admin().delete_user(user(lab)["id"]), apply),
    ("user-disabled", change_user(enabled=False), apply),
    ("user-changed", change_user(firstName="Somebody"), apply),
    ("other-groups", move_user, apply),
    ("group-missing", delete_group, apply),
    ("group-lookalike", make_lookalike, remove_lookalike),
    ("undeclared-members", join_undeclared, remove_undeclared),
    (
        "group-with-colon",
        lambda lab: lab.realm.admin().create_group({"name": "system:masters"}),
        lambda lab: lab.realm.admin().delete_group(lab.realm.admin().get_group_by_path("/system:masters")["id"]),
    ),
    ("scope-missing", lambda lab: lab.realm.admin().delete_client_scope(groups_scope(lab)["id"]), apply),
    ("realm-drift", hide_scope, apply),
    ("claim-renamed", lambda lab: change_mapper(lab, "groups"), apply),
    ("portal-audience", lambda lab: change_mapper(lab, "portal"), apply),
    ("client-missing", lambda lab: lab.realm.admin().delete_client(client(lab)["id"]), apply),
    ("client-disabled", change_client(enabled=False), apply),
    ("client-secret", change_client(secret=BY_HAND), apply),
    ("direct-grants-off", change_client(directAccessGrantsEnabled=False), apply),
    ("redirect-uris", change_client("backstage-client", redirectUris=["http://localhost:1/*"]), apply),
    (
        "client-scopes",
        lambda lab: lab.realm.admin().delete_client_default_client_scope(client(lab)["id"], groups_scope(lab)["id"]),
        apply,
    ),
    (
        "password-changed",
        lambda lab: lab.realm.admin().set_user_password(user(lab)["id"], BY_HAND, temporary=False),
        lambda lab: lab.realm.admin().set_user_password(user(lab)["id"], "user-dev", temporary=False),
    ),
    ("required-action", change_user(requiredActions=["UPDATE_PASSWORD"]), change_user(requiredActions=[])),
]


@pytest.mark.parametrize(("cause", "spoil", "mend"), IN_THE_REALM, ids=[cause for cause, _, _ in IN_THE_REALM])
def test_a_cause_in_the_realm_is_named(whole: Lab, cause: str, spoil: Break, mend: Mend) -> None:
    try:
        spoil(whole)
        assert cause in diagnose(whole).names
    finally:
        mend(whole)
        # A new realm, user or client knows nothing of earlier sessions.
        for username in whole.workshop.access.expected:
            whole.sign_in(username)


def bind(name: str, role: str, group: str) -> Break:
    return lambda lab: lab.cluster.admin_kubectl("create", "clusterrolebinding", name, f"--clusterrole={role}", f"--group={group}")


def delete(kind: str, name: str) -> Break:
    return lambda lab: lab.cluster.admin_kubectl("delete", kind, name)


def replace_binding(lab: Lab) -> None:
    delete("clusterrolebinding", "kube-dev")(lab)
    bind("kube-dev", "cr-reader", "somebody")(lab)


def rbac(lab: Lab) -> None:
    lab.cluster.rbac.apply()
    lab.sign_in("user-dev").api.wait_until("list", "pods", allowed=True)


def unbind(lab: Lab) -> None:
    delete("clusterrolebinding", "too-much")(lab)
    lab.sign_in("user-dev").api.wait_until("create", "namespaces", allowed=False)


def bind_too_much(lab: Lab) -> None:
    bind("too-much", "cluster-admin", "kube-dev")(lab)
    lab.sign_in("user-dev").api.wait_until("create", "namespaces", allowed=True)


IN_THE_CLUSTER: list[tuple[str, Break, Mend]] = [
    ("controller-manager-down", lambda lab: lab.processes.stop("kube-controller-manager"), leave),
    ("api-server-down", lambda lab: lab.processes.stop("kube-apiserver", stop_seconds=1), leave),
    ("etcd-down", lambda lab: lab.processes.stop("etcd"), leave),
    ("portal-down", lambda lab: lab.portal.stop(), leave),
    ("binding-changed", replace_binding, rbac),
    ("role-missing", delete("clusterrole", "cr-reader"), rbac),
    (
        "role-changed",
        lambda lab: lab.cluster.admin_kubectl(
            "patch", "clusterrole", "cr-reader", "--type=json", '-p=[{"op": "remove", "path": "/rules/0"}]'
        ),
        rbac,
    ),
    ("more-than-expected", bind_too_much, unbind),
]


@pytest.mark.parametrize(("cause", "spoil", "mend"), IN_THE_CLUSTER, ids=[cause for cause, _, _ in IN_THE_CLUSTER])
def test_a_cause_in_the_cluster_is_named(whole: Lab, cause: str, spoil: Break, mend: Mend) -> None:
    try:
        spoil(whole)
        assert cause in diagnose(whole).names
    finally:
        mend(whole)
        # Starts what was stopped.
        whole.up()


def test_another_claim_than_declared_is_named(whole: Lab) -> None:
    trust = whole.cluster.trust
    teams = """["kube-dev"].filter(group, group in claims[?"teams"].orValue([]))"""
    file = trust.file.with_values({("jwt", 0, "claimMappings", "groups", "expression"): teams})
    whole.cluster.provider.start(replace(trust, declared=replace(trust.declared, authentication=file)))
    try:
        assert diagnose(whole).names == ["other-claims"]
    finally:
        whole.cluster.start()


def test_other_groups_than_declared_are_named(whole: Lab) -> None:
    whole.cluster.provider.start(replace(whole.cluster.trust, groups=("kube-admin",)))
    try:
        assert diagnose(whole).names == ["undeclared-groups"]
    finally:
        whole.cluster.start()


@contextmanager
def held_still(processes: list[psutil.Process]) -> Iterator[None]:
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("server", "cause"), [("keycloak", "keycloak-silent"), ("kube-apiserver", "api-server-silent"), ("portal", "portal-silent")]
)
def test_a_server_that_runs_and_gives_no_answer_is_named(whole: Lab, server: str, cause: str) -> None:
    record = json.loads((whole.settings.folder / "run" / f"{server}.json").read_text())
    with held_still(session_members(record)):
        assert cause in diagnose(whole).names


def test_another_program_at_keycloaks_port_is_named_with_who_it_is(whole: Lab) -> None:
    whole.keycloak.stop()
    try:
        with socket.create_server(("127.0.0.1", whole.settings.ports["keycloak"])) as listening:
            # Closes each connection, as a program with another protocol would.
            command = [sys.executable, "-c", "import socket, sys\ns = socket.socket(fileno=0)\nwhile True: s.accept()[0].close()"]
            with subprocess.Popen(command, stdin=listening.fileno()) as other:
                try:
                    said = diagnose(whole)
                finally:
                    other.kill()
        assert said.names == ["port-taken"]
        assert "(pid " in str(said)
    finally:
        whole.keycloak.start()


def test_a_foreign_certificate_is_named(whole: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole.keycloak, "ca", whole.settings.folder / "tls" / "ca-clients.crt")
    # The API server, too, has another authority than the one that is asked about here.
    assert diagnose(whole).names == ["keycloak-certificate", "wrong-ca"]
    monkeypatch.undo()


def test_an_administrator_with_another_password_is_named(whole: Lab) -> None:
    file = whole.settings.folder / "secrets" / "keycloak-admin"
    password = file.read_text()
    file.write_text(BY_HAND)
    try:
        assert diagnose(whole).names == ["administrator-changed"]
    finally:
        file.write_text(password)


@pytest.mark.parametrize(
    ("machine", "cause"), [(Machine("Linux", 2, 8.0, 0.01), "disk-full"), (Machine("Linux", 2, 0.01, 80.0), "memory-short")]
)
def test_what_the_machine_has_run_out_of_is_named(whole: Lab, monkeypatch: pytest.MonkeyPatch, machine: Machine, cause: str) -> None:
    # Filling this machine's disk or memory would harm whatever else runs on it.
    monkeypatch.setattr(whole, "machine", lambda: machine)
    assert diagnose(whole).names == [cause]
    monkeypatch.undo()


def test_a_portal_with_another_configuration_is_named(whole: Lab) -> None:
    file = whole.settings.folder / "portal" / "app-config.yaml"
    text = file.read_text()
    file.write_text(text.replace("title: Portal", "title: Another"))
    try:
        assert diagnose(whole).names == ["portal-stale"]
    finally:
        file.write_text(text)


@pytest.mark.fault("Doctor", "the API server's AuthenticationConfiguration is gone or damaged", "named `authentication-unreadable`")
@pytest.mark.parametrize("text", [None, "jwt: [", "jwt: {a: 1}", "jwt: [{issuer: {url: x, audiences: 7}}]"])
def test_a_file_that_the_api_server_could_not_read_again_is_named(whole: Lab, text: str | None) -> None:
    file = whole.settings.state.authentication
    before = file.read_text()
    try:
        file.unlink() if text is None else file.write_text(text)
        assert diagnose(whole).names == ["authentication-unreadable"]
    finally:
        file.write_text(before)


def test_clocks_that_differ_are_named(whole: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.identity.session._CLOCK_SECONDS", -1)
    # Both run on this machine, whose clock a test may not set: here no difference at all is allowed.
    assert set(diagnose(whole).names) == {"clocks-differ"}
    monkeypatch.undo()


def test_a_context_of_another_realm_is_named(whole: Lab) -> None:
    file = whole.cluster.kubeconfig.path
    text = file.read_text()
    token = whole.keycloak.admin().connection.token
    assert token is not None
    file.write_text(text.replace(whole.cluster.kubeconfig.id_token("user-dev"), token["access_token"]))
    try:
        assert diagnose(whole).names == ["context-stale"]
    finally:
        file.write_text(text)


def kill_kratix(lab: Lab) -> None:
    record = json.loads((lab.settings.folder / "run" / "kratix.json").read_text())
    processes = session_members(record)
    next(process for process in processes if process.name() == "manager").kill()
    psutil.wait_procs(processes, timeout=20)


def ask_for_a_space(lab: Lab, **labels: str) -> None:
    request = lab.kratix.team_space.request("of-a-test", team="blue")
    request["metadata"]["labels"] = labels
    lab.cluster.admin_kubectl("apply", "-f", "-", stdin=json.dumps(request))
    wait_for(lambda: any("Paused" in request.pending for request in lab.kratix.requests(lab.kratix.team_space)))


def require_another(lab: Lab) -> None:
    promise = lab.kratix.team_space
    requiring = {**promise.manifest, "spec": {**promise.manifest["spec"], "requiredPromises": [{"name": "nowhere"}]}}
    lab.cluster.admin_kubectl("apply", "-f", "-", stdin=json.dumps(requiring))
    wait_for(lambda: bool(lab.kratix.unavailable(promise)))


def mend_promise(lab: Lab) -> None:
    lab.kratix.install(lab.kratix.team_space)


def start_kratix(lab: Lab) -> None:
    lab.kratix.start()


WITH_KRATIX: list[tuple[str, Break, Mend]] = [
    ("kratix-down", kill_kratix, start_kratix),
    (
        "kratix-webhook",
        delete("validatingwebhookconfiguration", "kratix-platform-validating-webhook-configuration"),
        start_kratix,
    ),
    ("kratix-promise-waits", require_another, mend_promise),
    (
        "kratix-request-pending",
        lambda lab: ask_for_a_space(lab, **{"kratix.io/paused": "true"}),
        lambda lab: lab.cluster.admin_kubectl("delete", lab.kratix.team_space.resource, "--all"),
    ),
    # Last, as it takes along all that the kind holds.
    ("kratix-crd-missing", delete("crd", "workplacements.platform.kratix.io"), start_kratix),
]


@pytest.fixture(scope="module")
def with_kratix(_whole: None, whole_lab: Lab) -> Iterator[None]:
    if whole_lab.kratix.lacking:
        pytest.skip(f"not run, because {whole_lab.kratix.lacking}")
    whole_lab.kratix.start()
    whole_lab.kratix.install(whole_lab.kratix.team_space)
    yield
    whole_lab.kratix.start()
    whole_lab.kratix.remove(whole_lab.kratix.team_space)
    whole_lab.kratix.stop()


@pytest.mark.usefixtures("with_kratix")
@pytest.mark.parametrize(("cause", "spoil", "mend"), WITH_KRATIX, ids=[cause for cause, _, _ in WITH_KRATIX])
def test_a_cause_in_kratix_is_named(whole: Lab, cause: str, spoil: Break, mend: Mend) -> None:
    try:
        spoil(whole)
        assert diagnose(whole).names == [cause]
    finally:
        mend(whole)
    assert diagnose(whole).names == []


UNPROVOKED = {"sign-in-refused", "no-discovery", "not-taken", "other-name", "less-than-expected"}
"""What is only named when no deeper cause is found, and so can't be provoked but by one that the doctor does not know yet."""


def test_every_cause_but_the_last_resorts_is_provoked_here() -> None:
    provoked = {cause for cause, _, _ in (*IN_THE_REALM, *IN_THE_CLUSTER, *WITH_KRATIX)} | {fault.cause for fault in FAULTS.values()}
    one_by_one = {
        "other-claims",
        "undeclared-groups",
        "authentication-unreadable",
        "keycloak-silent",
        "api-server-silent",
        "keycloak-certificate",
    }
    one_by_one |= {"administrator-changed", "disk-full", "memory-short", "clocks-differ", "context-stale", "portal-silent", "portal-stale"}
    doctor = "".join(file.read_text() for file in Path(labkit.doctor.__file__).parent.iterdir() if file.is_file())
    found = {name for area in catalogue().values() for name in area if re.search(rf"[ \"]{name}[\"\n]", doctor)}
    assert found - provoked - one_by_one == UNPROVOKED
