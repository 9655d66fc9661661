"""A lab keeps to itself: its sockets, its secrets, its folder, and other labs beside it."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.cluster.access import GATHERED, Rbac
from labkit.common.errors import Unauthorized
from labkit.common.platform_folder import OWN
from labkit.config.ports import hold, port_is_free
from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab
from tests.hostile import HOSTILE
from tests.support import given_away, made_by, neighbour_takes, on_record, secrets_in


@pytest.fixture(scope="module")
def busy_lab(lab: Lab) -> Lab:
    """A lab in which everything that makes or uses a secret was done once."""
    lab.credential("user-dev")
    lab.cluster.kubectl(lab.cluster.enter_exec("user-dev"), "auth", "whoami")
    lab.sign_in("user-dev").kubectl("get", "namespaces")
    through_portal = lab.portal.sign_in("user-admin")
    template = through_portal.register_template(OWN / "templates" / "configmap.yaml")
    through_portal.run_template(template, {"name": "made-by-a-busy-lab"})
    through_portal.proxy("DELETE", "api/v1/namespaces/default/configmaps/made-by-a-busy-lab")
    return lab


@pytest.mark.fault("Exposure", "a server that listens to the outside", "none: every socket is listed and is on loopback")
def test_every_socket_of_every_server_is_on_loopback_and_on_a_port_of_the_lab(lab: Lab) -> None:
    processes = on_record(lab.settings.folder)
    assert len(processes) >= 5
    sockets = [(p.name(), s) for p in processes for s in p.net_connections("inet") if s.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)]
    bound = [(name, ipaddress.ip_address(s.laddr.ip.removeprefix("::ffff:")), s.laddr.port) for name, s in sockets if s.laddr]
    assert [f"{name} on {address}:{port}" for name, address, port in bound if not address.is_loopback] == []
    declared = {port for name, port in lab.settings.ports.items() if not name.startswith("kind_")}
    # Another test may have started Kratix, and need not have; a room has servers of its own.
    others = {port for name, port in lab.settings.ports.items() if name in ("kratix_webhook", "room", "hub")}
    assert declared - others <= {port for _, _, port in bound}
    # Keycloak's transaction manager takes a port that it is given, to tell itself from others on this machine.
    assert [name for name, _, port in bound if port not in declared] in (["java"], [])


@pytest.mark.fault(
    "Neighbours",
    "another user listens on [::1] at a server's port, where clients of localhost ask first",
    "nobody can: it is held for as long as the server runs",
)
def test_nobody_can_listen_beside_a_server(lab: Lab) -> None:
    ports = {s.laddr.port for p in on_record(lab.settings.folder) for s in p.net_connections("tcp") if s.status == psutil.CONN_LISTEN}
    ours = ports & set(lab.settings.ports.values())
    assert len(ours) >= 6
    free = next(port for port in range(28500, 28600) if port_is_free(port))
    has_ipv6 = hold(free)
    if has_ipv6:
        has_ipv6.close()
    assert neighbour_takes({*ours, free}) == ({free} if has_ipv6 else set())


@pytest.mark.fault(
    "Neighbours",
    "DEBUG, JAVA, _JAVA_OPTIONS, NODE_OPTIONS, GOFLAGS, AWS_… in the environment, and an umask that keeps nobody out",
    "none reaches a server; the whole suite on real servers runs so",
)
def test_no_server_sees_what_is_meant_for_others(lab: Lab) -> None:
    strange = {*HOSTILE, "NETRC"} - {"no_proxy"}
    assert strange <= set(os.environ)
    seen = {process.name(): process.environ() for process in on_record(lab.settings.folder)}
    assert len(seen) >= 5
    assert {name: found for name, environ in seen.items() if (found := strange & set(environ))} == {}
    assert {environ["no_proxy"] for environ in seen.values()} == {"corp.example,localhost,127.0.0.1"}
    kept = {name: environ["TMPDIR"] for name, environ in seen.items()}
    assert {name for name, folder in kept.items() if not Path(folder).is_relative_to(lab.settings.folder)} == set()


@pytest.mark.fault("Exposure", "a secret in a log", "none: logs are searched for tokens, keys and the administrator's password")
def test_no_log_holds_a_secret(busy_lab: Lab) -> None:
    logs = list((busy_lab.settings.folder / "logs").iterdir())
    assert len(logs) >= 5
    assert given_away(logs, made_by(busy_lab)) == {}


@pytest.mark.fault("Exposure", "a secret in a command line", "none: every argv is searched")
def test_no_command_line_holds_a_secret(busy_lab: Lab) -> None:
    lines = {process.pid: " ".join(process.cmdline()) for process in on_record(busy_lab.settings.folder)}
    assert all(any(name in line for line in lines.values()) for name in ("kube-apiserver", "packages/backend"))
    assert {pid: found for pid, line in lines.items() if (found := secrets_in(line, made_by(busy_lab)))} == {}


def files_of(lab: Lab) -> list[Path]:
    return [path for path in lab.settings.folder.rglob("*") if path.is_file() and not path.is_symlink()]


@pytest.mark.fault("Exposure", "a file with a secret that others may read", "none: each has mode 0600")
def test_every_file_with_a_secret_is_its_owners_only(busy_lab: Lab) -> None:
    made = made_by(busy_lab)
    databases = [busy_lab.settings.folder / name for name in ("etcd", "keycloak/data", "portal/database")]
    small = [path for path in files_of(busy_lab) if not any(path.is_relative_to(database) for database in databases)]
    secret = {path: path.stat().st_mode & 0o777 for path in map(Path, given_away(small, made))}
    names = {str(path.relative_to(busy_lab.settings.folder)) for path in secret}
    assert {"secrets/keycloak-admin", "secrets/portal.json", "tls/ca-servers.key", "kubeconfig", "credentials/user-dev.json"} <= names
    assert {path: oct(mode) for path, mode in secret.items() if mode != 0o600} == {}


PRIVATE = (".", "run", "logs", "tls", "secrets", "credentials", "etcd", "keycloak/data", "portal", "portal/database", "portal/tasks", "tmp")


@pytest.mark.fault("Exposure", "a file of the state folder that others may change", "none: every file's mode is looked at")
def test_nobody_but_the_owner_may_change_a_file_of_the_state_folder(busy_lab: Lab) -> None:
    # What kubectl caches of the API server it leaves to its group as well; the state folder's own mode keeps everybody out.
    cached = busy_lab.settings.folder / "kubectl-cache"
    modes = {path: path.stat().st_mode & 0o777 for path in files_of(busy_lab) if not path.is_relative_to(cached)}
    assert len(modes) > 50
    assert {str(path): oct(mode) for path, mode in modes.items() if mode & 0o022} == {}


@pytest.mark.fault("Exposure", "a folder that others may look into", "none: each has mode 0700")
@pytest.mark.parametrize("folder", PRIVATE)
def test_folders_with_private_things_are_their_owners_only(busy_lab: Lab, folder: str) -> None:
    assert (busy_lab.settings.folder / folder).stat().st_mode & 0o777 == 0o700


@pytest.fixture(scope="module")
def second(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Another lab with a cluster of its own, which trusts the first one's realm."""
    home = tmp_path_factory.mktemp("second") / "home"
    facts = open_state_folder(home, environ={}, free_ports=True)
    made = Lab(replace(lab.settings, folder=home, folder_id=facts.id, ports=facts.ports))
    made.cluster.provider.start(lab.cluster.trust)
    made.cluster.kubeconfig.enter(made.cluster.endpoint)
    yield made
    made.down()


@pytest.mark.fault(
    "Access",
    "a cluster so new that those of Kubernetes' own roles are still empty that somebody is bound to",
    "applying the RBAC objects waits until they are filled",
)
def test_in_a_new_cluster_kubernetes_own_roles_are_filled_once_somebody_is_bound_to_them(second: Lab) -> None:
    def roles() -> dict[str, Any]:
        found = second.cluster.admin_kubectl("get", "clusterroles", "-l", "kubernetes.io/bootstrapping", "-o", "json").output
        return {each["metadata"]["name"]: each for each in json.loads(found)["items"]}

    assert {name for name, each in roles().items() if "aggregationRule" in each} == GATHERED
    declared = second.workshop.cluster
    for role in sorted(GATHERED):
        text = declared.rbac.text.replace("kind: ClusterRole\n  name: cr-reader\n", f"kind: ClusterRole\n  name: {role}\n")
        assert text != declared.rbac.text
        Rbac(replace(declared, rbac=replace(declared.rbac, text=text)), second.cluster.admin_kubectl).apply()
        assert "configmaps" in str(roles()[role]["rules"])


@pytest.mark.fault("Exposure", "an administrator of one lab at another lab's cluster", "401")
def test_a_caller_of_one_lab_is_unknown_in_the_other(lab: Lab, second: Lab) -> None:
    stranger = replace(second.cluster.endpoint, name="stranger", admin=lab.cluster.endpoint.admin)
    second.cluster.kubeconfig.enter(stranger)
    with pytest.raises(Unauthorized, match="You must be logged in"):
        second.cluster.kubectl("stranger", "get", "namespaces")


@pytest.mark.fault("Servers", "a cluster is stopped and started", "its data is there")
def test_the_data_of_a_stopped_cluster_is_there_when_it_starts_again(lab: Lab, second: Lab) -> None:
    second.cluster.admin_kubectl("create", "namespace", "kept")
    assert second.cluster.stop()
    assert not second.cluster.is_running()
    second.cluster.provider.start(lab.cluster.trust)
    assert "kept" in second.cluster.admin_kubectl("get", "namespaces").output


@pytest.mark.fault("Servers", "two labs side by side", "stopping one leaves the other alone")
def test_two_labs_run_beside_each_other_and_stopping_one_leaves_the_other(lab: Lab, second: Lab) -> None:
    before = {name: lab.processes.running(name) for name in lab.processes.names()}
    second.cluster.admin_kubectl("create", "namespace", "only-in-the-second")
    assert "only-in-the-second" not in lab.cluster.admin_kubectl("get", "namespaces").output
    assert not set(second.settings.ports.values()) & set(lab.settings.ports.values())
    theirs = on_record(second.settings.folder)
    assert second.down() == ["kube-controller-manager", "kube-apiserver", "etcd"]
    assert [process for process in theirs if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert {name: lab.processes.running(name) for name in lab.processes.names()} == before
    assert lab.sign_in("user-dev").whoami().username == "user-dev@kratix.io"
