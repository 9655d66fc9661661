"""A cluster that somebody else runs: another lab's local cluster, reached by a plain kubeconfig, stands for it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.cluster import api
from labkit.cluster.trust import Trust
from labkit.common.errors import ApiUnreachable, ClusterError, Forbidden, LabkitError, SettingsError
from labkit.common.expectation import expect
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab

from ..snapshots import settled, snapshot

CONTEXT = "theirs/admin"


class WithoutOidc(Trust):
    def flags(self) -> tuple[str, ...]:
        return ()


class WithPrefix(Trust):
    def flags(self) -> tuple[str, ...]:
        return (*super().flags(), "--oidc-username-prefix=sso:")


@pytest.fixture(scope="module")
def theirs(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Their cluster, which trusts the lab's realm and has things of its own."""
    made = Lab(new_folder(lab, tmp_path_factory.mktemp("theirs")))
    try:
        made.cluster.provider.start(lab.cluster.trust)
        made.cluster.kubeconfig.enter(made.cluster.endpoint)
        made.cluster.admin_kubectl("create", "namespace", "payroll")
        made.cluster.admin_kubectl("create", "configmap", "figures", "-n", "payroll", "--from-literal=sum=42")
        settled(made)
        yield made
    finally:
        made.down()


def new_folder(lab: Lab, folder: Path) -> Settings:
    facts = open_state_folder(folder / "home", environ={}, free_ports=True)
    return replace(lab.settings, folder=folder / "home", folder_id=facts.id, ports=facts.ports)


@pytest.fixture(scope="module")
def plain(theirs: Lab) -> dict[str, Any]:
    """A kubeconfig as a person may have it; its current context is another cluster's, where nothing answers."""
    endpoint = theirs.cluster.endpoint
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "theirs", "cluster": {"server": endpoint.url, "certificate-authority": str(endpoint.ca)}},
            {"name": "production", "cluster": {"server": "https://localhost:1"}},
        ],
        "users": [{"name": "root", "user": endpoint.admin}],
        "contexts": [
            {"name": name, "context": {"cluster": cluster, "user": "root"}}
            for name, cluster in ((CONTEXT, "theirs"), ("production", "production"))
        ],
        "current-context": "production",
    }


@pytest.fixture
def written(plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Path]:
    """Writes a kubeconfig to where KUBECONFIG says."""

    def write(config: dict[str, Any]) -> Path:
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(file))
        return file

    write(plain)
    return write


@pytest.fixture
def guest(lab: Lab, written: Callable[[dict[str, Any]], Path], tmp_path: Path) -> Lab:
    """A lab in their cluster: a state folder of its own, the lab's Keycloak, and the secrets that the realm has there."""
    made = Lab(replace(new_folder(lab, tmp_path / "guest"), cluster="external", context=CONTEXT))
    made.keycloak, made.realm = lab.keycloak, lab.realm
    made.workshop = made.cluster._workshop = lab.workshop
    made.cluster._keycloak = lab.keycloak
    return made


@pytest.mark.fault(
    "Exposure", "a lab in somebody else's cluster", "snapshots before and after are equal: its own objects go, no other changes"
)
def test_what_the_labs_make_is_labelled_found_and_removed_and_nothing_else_changes(
    guest: Lab, theirs: Lab, written: Any, plain: Any
) -> None:
    file = written(plain)
    before, config = snapshot(theirs), file.read_bytes()
    guest.cluster.start()
    guest.cluster.rbac.apply()
    admin, dev = guest.sign_in("user-admin"), guest.sign_in("user-dev")
    assert (admin.whoami().username, dev.whoami().username) == ("user-admin@kratix.io", "user-dev@kratix.io")
    dev.api.wait_until("list", "namespaces", allowed=True)
    admin.api.wait_until("create", "namespaces", allowed=True)
    created = admin.kubectl("create", "namespace", "test-ns")
    assert created.output == "namespace/test-ns created\n"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "payroll-database", "namespace": "payroll"}}
    admin.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    admin.kubectl("create", "configmap", "mine", "-n", "payroll")
    with expect(Forbidden, person=dev):
        dev.kubectl("delete", "namespace", "test-ns")
    expected = {
        *("clusterrole/cr-reader", "clusterrolebinding/kube-admin", "clusterrolebinding/kube-dev"),
        *("namespace/test-ns", "payroll/secret/payroll-database", "payroll/configmap/mine"),
    }
    assert set(guest.cluster.left()) == expected
    assert set(guest.down()) == expected
    assert guest.cluster.left() == []
    assert snapshot(theirs) == before
    assert file.read_bytes() == config


def test_a_whole_up_starts_no_cluster_and_its_people_may_what_they_should(guest: Lab) -> None:
    try:
        guest.up()
        assert guest.processes.names() == ["portal"]
        guest.access_matrix().verify()
    finally:
        guest.down()


def test_applied_again_each_object_is_unchanged(guest: Lab) -> None:
    guest.cluster.start()
    guest.cluster.rbac.apply()
    assert guest.cluster.rbac.apply().output.count("unchanged") == 3
    assert guest.cluster.rbac.differences() == []
    guest.down()


@pytest.mark.fault("Exposure", "an object of a lab's name is in the cluster already", "it is refused and left as it is")
@pytest.mark.parametrize(
    ("there", "does"),
    [
        (("clusterrole", "cr-reader", "--verb=get", "--resource=pods"), lambda lab: lab.cluster.rbac.apply()),
        (("clusterrolebinding", "kube-dev", "--clusterrole=view", "--group=others"), lambda lab: lab.cluster.rbac.apply()),
        (("clusterrolebinding", "kube-dev", "--clusterrole=view", "--group=others"), lambda lab: lab.cluster.rbac.remove()),
        (("namespace", "test-ns"), lambda lab: lab.cluster.admin_kubectl("delete", "namespace", "test-ns", "--ignore-not-found")),
        (("namespace", "test-ns"), lambda lab: lab.cluster.admin_kubectl("create", "namespace", "test-ns")),
    ],
    ids=["role", "binding", "binding at clean-up", "namespace at deletion", "namespace at creation"],
)
def test_what_is_not_the_labs_is_refused_and_left_as_it_is(
    guest: Lab, theirs: Lab, there: tuple[str, ...], does: Callable[[Lab], Any]
) -> None:
    guest.cluster.start()
    theirs.cluster.admin_kubectl("create", *there)
    before = snapshot(theirs)
    try:
        with pytest.raises(ClusterError, match="already"):
            does(guest)
        assert snapshot(theirs) == before
        assert guest.down() == []
    finally:
        theirs.cluster.admin_kubectl("delete", *there[:2])


@pytest.mark.fault(
    "Settings", "LABKIT_CONTEXT is unset or names no context", "refused, with those there are; the current one is never taken"
)
@pytest.mark.parametrize("context", ["", "theirs"])
def test_the_context_must_be_named_and_be_there(guest: Lab, context: str) -> None:
    with pytest.raises(SettingsError, match="LABKIT_CONTEXT") as caught:
        Lab(replace(guest.settings, context=context)).cluster.provider.start(guest.cluster.trust)
    assert f"has: production, {CONTEXT}" in caught.value.why


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their API server has been running for long: what it does not know now, it won't know later."""
    monkeypatch.setattr(api, "_DISCOVERY_SECONDS", 2)


@pytest.mark.fault(
    "Sign-in",
    "somebody else's API server does not trust the realm, or reads names in another way",
    "told, with what its administrator needs",
)
@pytest.mark.parametrize(
    ("trusts", "what"),
    [(WithoutOidc, "does not know people by tokens of"), (WithPrefix, "for sso:user-admin@kratix.io")],
    ids=["no OIDC", "prefix"],
)
def test_a_cluster_without_that_trust_is_reported_with_what_to_hand_to_its_administrator(
    guest: Lab, theirs: Lab, lab: Lab, trusts: type[Trust], what: str, impatient: None
) -> None:
    trust = lab.cluster.trust
    theirs.cluster.provider.start(trusts(trust.issuer, trust.ca, trust.declared, trust.groups, "flags"))
    try:
        with pytest.raises(ClusterError, match=what) as caught:
            guest.cluster.start()
    finally:
        theirs.cluster.provider.start(trust)
    assert "administrator" in caught.value.fix
    assert trust.configuration() in caught.value.fix
    assert all(flag in caught.value.fix for flag in trust.flags())
    assert (
        caught.value.fix.index(trust.configuration()) < caught.value.fix.index("called system:masters") < caught.value.fix.index("--oidc-i")
    )


def changed(**cluster: object) -> Callable[[dict[str, Any], Lab], None]:
    def change(config: dict[str, Any], lab: Lab) -> None:
        config["clusters"][0]["cluster"] |= cluster

    return change


def another_ca(config: dict[str, Any], lab: Lab) -> None:
    config["clusters"][0]["cluster"]["certificate-authority"] = str(lab.cluster.endpoint.ca)


def somebody_else(config: dict[str, Any], lab: Lab) -> None:
    config["users"][0]["user"] = {"token": lab.session("user-dev").tokens.id_token}


@pytest.mark.fault(
    "Settings",
    "a kubeconfig that can't be used: unverified, unreachable, another CA, too few rights, a far cluster and a near issuer",
    "each is named for what it is",
)
@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        (
            changed(**{"insecure-skip-tls-verify": True, "certificate-authority": ""}),
            ClusterError,
            "does not verify its API server's certificate",
        ),
        (changed(server="https://localhost:1"), ApiUnreachable, "nothing answers at https://localhost:1"),
        (another_ca, ApiUnreachable, "can't be verified with the CA in context"),
        (somebody_else, ClusterError, "may not do everything in its cluster"),
        (changed(server="https://cluster.example:6443"), ClusterError, "can't reach the issuer https://localhost"),
    ],
    ids=["unverified", "unreachable", "another CA", "too few rights", "not on this machine"],
)
def test_a_context_that_cannot_be_used_is_named_for_what_it_is(
    guest: Lab, lab: Lab, plain: Any, written: Any, change: Callable[[Any, Lab], None], error: type[LabkitError], what: str
) -> None:
    config = json.loads(json.dumps(plain))
    change(config, lab)
    written(config)
    with pytest.raises(error, match=what) as caught:
        guest.cluster.start()
    assert caught.value.fix


@pytest.fixture
def proxy(theirs: Lab) -> Iterator[str]:
    """A proxy of a company's: it alone knows where their API server is, whatever address one asks it for."""

    class ToTheirs(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            with socket.create_connection(("127.0.0.1", theirs.settings.ports["kubernetes"])) as server:
                self.send_response(200)
                self.end_headers()
                answers = threading.Thread(target=self._copy, args=(server, self.connection), daemon=True)
                answers.start()
                self._copy(self.connection, server)
                answers.join(10)

        @staticmethod
        def _copy(source: socket.socket, to: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    to.sendall(data)
                to.shutdown(socket.SHUT_WR)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), ToTheirs) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_proxy_and_another_name_in_the_certificate_are_taken_over(guest: Lab, plain: Any, written: Any, proxy: str) -> None:
    """B13: kubectl and the kubernetes package reach the cluster as its kubeconfig says."""
    config = json.loads(json.dumps(plain))
    address = {"server": "https://127.0.0.9:1", "proxy-url": proxy, "tls-server-name": "localhost"}
    config["clusters"][0]["cluster"] |= address
    written(config)
    guest.cluster.start()
    try:
        assert guest.sign_in("user-dev").whoami().username == "user-dev@kratix.io"
        assert "payroll" in guest.cluster.admin_kubectl("get", "namespaces").output
    finally:
        guest.down()
