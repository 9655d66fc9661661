"""Kind N: one probe for a port, a port for one lab of a person's, addresses that are given and never guessed."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from labkit import Lab
from labkit.cluster.api import Api
from labkit.common.errors import LabkitError, PortInUse, SettingsError
from labkit.common.problems import Problem
from labkit.config import state_folder
from labkit.config.ports import port_is_free
from labkit.config.settings import Settings
from labkit.config.state_folder import KNOWN_BY_HEART, PORTS, open_state_folder
from labkit.doctor import diagnose
from labkit.doctor.probes import portal
from labkit.servers.certificates import AUTHORITIES, Certificates
from labkit.servers.processes import Processes, Server
from tests.support import labkit

LISTEN = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); print('up', flush=True); s.accept()"


pytestmark = pytest.mark.usefixtures("free_defaults")


def a_state_folder(home: Path, **environ: str) -> dict[str, int]:
    return dict(open_state_folder(home, environ=environ).ports)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() if file.is_file() else b"" for file in folder.rglob("*")}


@contextmanager
def listening(address: str, port: int) -> Iterator[None]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family):
        yield


@pytest.mark.parametrize(("address", "is_in_the_way"), [("127.0.0.2", False), ("127.0.0.1", True), ("0.0.0.0", True), ("::1", True)])  # noqa: S104
def test_what_is_chosen_as_free_can_be_had(tmp_path: Path, address: str, is_in_the_way: bool) -> None:
    """B15: a listener at another address was no conflict for the choice and one for the start."""
    default = state_folder.PORTS["keycloak"]
    with listening(address, default):
        ports = a_state_folder(tmp_path / "home")
        assert (ports["keycloak"] != default) == is_in_the_way
        settings = Settings(tmp_path, tmp_path / "home", "id", tmp_path, tmp_path, ports)
        port = ports["keycloak"]
        argv = (sys.executable, "-I", "-c", LISTEN, str(port))
        processes = Processes(settings)
        processes.start(Server("listener", argv, ("keycloak",), lambda: "up" in processes.log_tail("listener")))
        processes.stop("listener")


def test_auto_is_no_cluster_any_more(tmp_path: Path) -> None:
    """B35: `auto` chose KinD where it can't work; now nothing chooses it but the person."""
    with pytest.raises(SettingsError, match="LABKIT_CLUSTER is 'auto'"):
        Settings.load({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_CLUSTER": "auto"})
    assert Settings.load({"LABKIT_HOME": str(tmp_path / "home")}).cluster == "local"


@pytest.mark.fault("Settings", "a verb that only looks is given a LABKIT_*_PORT", "it looks there, and the lab keeps the port that it has")
@pytest.mark.parametrize("verb", ["status", "kubeconfig", "check", "doctor", "realm plan", "kratix status"])
def test_a_port_given_to_a_verb_that_looks_is_not_kept(tmp_path: Path, verb: str) -> None:
    """N: the port given to `labkit status` was written down for good."""
    home = tmp_path / "home"
    open_state_folder(home, environ={}, free_ports=True)
    # As the first start of the servers left them.
    certificates = Certificates(home / "tls")
    for authority in AUTHORITIES:
        certificates.authority(authority)
    certificates.client("admin", user="labkit-admin", groups=("system:masters",))
    before = content(home)
    labkit(*verb.split(), LABKIT_HOME=str(home), LABKIT_CLUSTER="local", LABKIT_KEYCLOAK="local", LABKIT_PORTAL_PORT="47999")
    assert content(home) == before


@pytest.mark.fault("Settings", "two new state folders are made at the same moment", "each has ports of its own")
def test_folders_that_are_made_at_one_moment_share_no_port(tmp_path: Path) -> None:
    """Two labs: only who listens just now was looked at."""
    imports = "import sys, pathlib; from labkit.config.state_folder import open_state_folder"
    make = f"{imports}; input(); open_state_folder(pathlib.Path(sys.argv[1]), environ={{}})"
    makers = [subprocess.Popen([sys.executable, "-c", make, str(tmp_path / f"{i}")], stdin=subprocess.PIPE, text=True) for i in range(4)]
    for maker in makers:
        maker.communicate("now\n", timeout=120)
    ports = [port for i in range(4) for port in json.loads((tmp_path / f"{i}" / "home.json").read_text())["ports"].values()]
    assert len(set(ports)) == 4 * len(PORTS)


@pytest.mark.fault("Settings", "a state folder is made while another one's servers are down", "it leaves the other its ports")
def test_the_ports_of_a_lab_that_is_down_stay_its_own_as_long_as_its_folder_is_there(tmp_path: Path) -> None:
    """Two labs: a folder made while another is down got its ports."""
    first, second = a_state_folder(tmp_path / "first"), a_state_folder(tmp_path / "second")
    assert first == state_folder.PORTS
    assert not set(first.values()) & set(second.values())
    shutil.rmtree(tmp_path / "first")
    assert a_state_folder(tmp_path / "third") == first
    assert a_state_folder(tmp_path / "second") == second


def test_a_person_without_a_place_for_the_list_has_a_lab_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two labs: no list of folders can be kept where nothing can be written but the state folder."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert a_state_folder(tmp_path / "home") == state_folder.PORTS


@pytest.mark.fault("Settings", "a port that nobody knows by heart is taken when its server starts", "another one is chosen")
def test_only_ports_that_people_know_stick(tmp_path: Path) -> None:
    """Two labs: etcd's port was named as taken, one variable and one failed start at a time."""
    before = a_state_folder(tmp_path / "home")
    settings = Settings(tmp_path, tmp_path / "home", "id", tmp_path, tmp_path, dict(before))
    with listening("127.0.0.1", before["etcd"]), listening("127.0.0.1", before["kubernetes"]):
        settings.starting(*PORTS)
    assert {name for name in PORTS if settings.ports[name] != before[name]} == {"etcd"}
    assert "etcd" not in KNOWN_BY_HEART
    assert a_state_folder(tmp_path / "home") == settings.ports
    assert port_is_free(settings.ports["etcd"])


@pytest.mark.fault("Neighbours", "another lab's server has the port of this one's", "the error names that lab's folder, and how to stop it")
def test_a_port_that_another_lab_has_is_said_to_be_that_labs(tmp_path: Path) -> None:
    """Two labs: "java (pid …)" says nothing to a person with two labs."""
    port = a_state_folder(tmp_path / "first lab")["portal"]
    ports = a_state_folder(tmp_path / "second", LABKIT_PORTAL_PORT=str(port))
    settings = [Settings(tmp_path, tmp_path / name, "id", tmp_path, tmp_path, ports) for name in ("first lab", "second")]
    first, second = map(Processes, settings)
    argv = (sys.executable, "-I", "-c", LISTEN, str(port))
    server = Server("portal", argv, ("portal",), lambda: "up" in first.log_tail("portal"))
    below = replace(server, cwd=tmp_path / "first lab" / "portal")
    (tmp_path / "first lab" / "portal").mkdir()
    for each in (server, below):
        first.start(each)
        with pytest.raises(PortInUse, match=f"is in use by the lab of {tmp_path / 'first lab'}") as caught:
            second.start(server)
        assert f"LABKIT_HOME='{tmp_path / 'first lab'}' labkit down" in caught.value.fix
        first.stop("portal")


def of_the_same_ports(ports: Mapping[str, int], home: Path) -> Lab:
    """A lab of another state folder, of which nothing runs and the portal ran before."""
    environ = {f"LABKIT_{name.upper()}_PORT": str(ports[name]) for name in ("keycloak", "kubernetes", "portal")}
    twin = Lab(Settings.open({"LABKIT_HOME": str(home), "LABKIT_CLUSTER": "local", **environ}))
    twin.cluster.kubeconfig.enter(twin.cluster.endpoint)
    twin.settings.state.logs.mkdir(mode=0o700)
    twin.processes.log_file("portal").touch()
    return twin


ASKED: dict[str, Callable[[Lab], object]] = {
    "Keycloak": lambda lab: lab.keycloak.discovery(),
    "its token endpoint": lambda lab: lab.session("user-dev"),
    "its admin API": lambda lab: lab.realm.plan(),
    "kubectl": lambda lab: lab.cluster.admin_kubectl("get", "namespaces"),
    "the API server": lambda lab: Api(lab.cluster.endpoint, lambda: "no token", lab.cluster.causes).whoami(),
    "the portal, as a guest": lambda lab: lab.portal.guest(),
    "the portal": lambda lab: lab.portal.sign_in("user-dev"),
}


@pytest.mark.fault(
    "Neighbours",
    "another lab's Keycloak, API server or portal answers at this lab's address",
    "each error, check and the doctor say whose it is; nobody's certificate is blamed, and the portal there gets no request",
)
def test_what_another_lab_answers_is_not_taken_for_ones_own(lab: Lab, tmp_path: Path) -> None:
    """Two labs: `check 06` asked the other's portal and blamed its own certificate."""
    twin, theirs = of_the_same_ports(lab.settings.ports, tmp_path / "twin"), f"is in use by the lab of {lab.settings.folder}"
    for who, ask in ASKED.items():
        with pytest.raises(LabkitError, match=theirs) as caught:
            ask(twin)
        assert f"LABKIT_HOME={lab.settings.folder} labkit down" in caught.value.fix, who
    said = diagnose(twin)
    assert said.names == ["port-of-another-lab", "etcd-down", "port-of-another-lab", "controller-manager-down"]
    # With Keycloak down it is not looked at.
    assert [cause.id for cause, _ in portal(twin, twin.session) if isinstance(cause, Problem)] == ["port-of-another-lab"]
    done = labkit("check", "06", LABKIT_HOME=str(twin.settings.folder))
    assert f"port {lab.settings.ports['portal']}, which portal needs, {theirs}" in done.stdout
    assert "certificate" not in done.stdout


class SaysYes(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - one server at a time

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - its name

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("with_tls", [True, False], ids=["another CA", "no TLS"])
def test_what_another_program_answers_is_not_taken_for_ones_own(tmp_path: Path, with_tls: bool) -> None:
    """Two labs, a relative: a program that is no lab's."""
    SaysYes.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SaysYes) as other:
        if with_tls:
            pair, context = Certificates(tmp_path / "tls").server("other"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            other.socket = context.wrap_socket(other.socket, server_side=True)
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        for name, asked in (("keycloak", ASKED["Keycloak"]), ("kubernetes", ASKED["the API server"]), ("portal", ASKED["the portal"])):
            ports = {**dict(zip(PORTS, state_folder._free_block(()), strict=True)), name: other.server_port}
            twin = of_the_same_ports(ports, tmp_path / name)
            with pytest.raises(LabkitError, match=rf"port {other.server_port}, which .* needs, is in use by .* \(pid {os.getpid()}\)"):
                asked(twin)
        other.shutdown()
    assert SaysYes.asked == []


@pytest.mark.fault(
    "Commands", "labkit run while another one is at work in the checkout", "it says who, and leaves the other its state folder"
)
def test_a_second_run_says_who_runs(tmp_path: Path) -> None:
    """Two labs: the second run emptied the state folder of the first one."""
    (tmp_path / "notebooks").mkdir(mode=0o700)
    (tmp_path / "notebooks" / "00-start-here.ipynb").touch()
    home = tmp_path / "build" / "run-home"
    code = "import sys, pathlib; from labkit.course.runner import alone\n"
    code += "with alone(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    input()"
    with subprocess.Popen([sys.executable, "-c", code, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        home.mkdir()
        (home / "of-the-first").touch()
        done = labkit("run", cwd=tmp_path)
        first.communicate("\n", timeout=60)
    assert done.returncode == 1
    assert "another labkit run is at work" in done.stderr
    assert f"process {first.pid}, since " in done.stderr
    assert (home / "of-the-first").exists()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="makes a network without a route")
def test_without_a_default_route_the_api_server_starts(idle_lab: object) -> None:
    """N: "no default routes found": the API server looked for the address to advertise."""
    from labkit.cluster.local import LocalCluster
    from labkit.lab import Lab

    assert isinstance(idle_lab, Lab)
    provider = idle_lab.cluster.provider
    assert isinstance(provider, LocalCluster)
    program = idle_lab.toolchain.ensure("kube-apiserver")["kube-apiserver"].path
    server = provider._api_server({"kube-apiserver": program}, idle_lab.cluster.trust)
    before = set(psutil.Process().children(recursive=True))
    # Nothing listens at etcd's port: as far as asking there it comes only with an address.
    with subprocess.Popen(["unshare", "--net", *server.argv], stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        said = ""
        while "Error while dialing" not in said and (line := started.stderr.readline()):
            said += line
        started.kill()
    assert "Error while dialing" in said
    assert "no default routes" not in said
    assert "AdvertiseAddress" not in said
    assert set(psutil.Process().children(recursive=True)) <= before
