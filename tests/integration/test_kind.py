"""A cluster in KinD, as far as it can be proven without Docker; see docker_stand_in.py for what is real here and what is not."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from labkit.cli.render import render
from labkit.cluster.api import Api, Identity
from labkit.cluster.cluster import Cluster
from labkit.cluster.kind.checks import look
from labkit.cluster.kind.files import CONFIG, KindFiles
from labkit.cluster.provider import Endpoint
from labkit.common.errors import ClusterError, PortInUse
from labkit.config.settings import OIDC_STYLES, OidcStyle, Settings
from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab
from labkit.servers.processes import Processes

from ..programs import toolchain
from .docker_stand_in import GATEWAY, MANIFEST

HERE = Path(__file__).parent
NODE = "platform-control-plane"


@dataclass
class StandIn:
    """The stand-in for Docker: its folder."""

    folder: Path

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def run_args(self) -> list[str]:
        return list(json.loads((self.folder / "run.json").read_text()))


@pytest.fixture(scope="module")
def stand_in(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """On PATH as ``docker``, with real programs behind it."""
    folder = tmp_path_factory.mktemp("docker")
    programs = toolchain(lab.settings.cache).ensure("etcd", "kube-apiserver", "kubeadm")
    (folder / "programs.json").write_text(json.dumps({name: str(program.path) for name, program in programs.items()}))
    command = folder / "bin" / "docker"
    command.parent.mkdir()
    # In the file, as no variable of a test's reaches Docker.
    command.write_text(f'#!/bin/sh\nexport STAND_IN="{folder}"\nexec "{sys.executable}" "{HERE / "docker_stand_in.py"}" "$@"\n')
    command.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
        yield StandIn(folder)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The person's own kubeconfig, which kind would write to by default."""
    file = tmp_path_factory.mktemp("person") / "config"
    file.write_text("apiVersion: v1\nkind: Config\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(file))
        yield file


@pytest.fixture(scope="module")
def home(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return another(lab, tmp_path_factory.mktemp("kind"))


@pytest.fixture(scope="module")
def make(lab: Lab, home: Settings, stand_in: StandIn, kubeconfig: Path) -> Iterator[Callable[..., Cluster]]:
    """Makes the lab's cluster, which trusts the lab's realm, in a style."""

    def made(style: OidcStyle = "flags", home: Settings = home) -> Cluster:
        settings = replace(home, oidc=style)
        return Cluster(settings, lab.workshop, Processes(settings), lab.toolchain, lab.keycloak)

    yield made
    made().leave()


@pytest.fixture(scope="module", params=OIDC_STYLES)
def cluster(request: pytest.FixtureRequest, make: Callable[..., Cluster]) -> Cluster:
    """It, started, in one style after the other."""
    started = make(request.param)
    started.start()
    return started


def test_the_api_server_that_kind_and_kubeadm_configure_knows_both_people(cluster: Cluster, lab: Lab) -> None:
    for username in ("user-admin", "user-dev"):
        session = lab.session(username)
        found = cluster.api(session).wait_until_known()
        assert found == Identity(f"{username}@kratix.io", (*session.claims["groups"], "system:authenticated"))
    assert cluster.endpoint.name == "kind-platform"
    assert cluster.who(lab.session("user-dev").tokens.access_token) is None


def test_the_administrators_context_is_kinds_own_and_the_persons_kubeconfig_is_left_alone(cluster: Cluster, kubeconfig: Path) -> None:
    answer = cluster.kubectl("kind-platform", "auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}")
    assert "system:masters" in answer.output
    assert kubeconfig.read_text() == "apiVersion: v1\nkind: Config\n"


@pytest.mark.fault("Exposure", "a KinD cluster's ports open to the outside, as they are by kind's default", "they are on loopback")
def test_the_seeds_three_ports_are_mapped_and_on_loopback(cluster: Cluster, home: Settings, stand_in: StandIn) -> None:
    published = [arg.removeprefix("--publish=") for arg in stand_in.run_args() if arg.startswith("--publish=")]
    seeds = {f"127.0.0.1:{home.ports[f'kind_{inside}']}:{inside}/TCP" for inside in (31337, 31340, 31333)}
    assert seeds < set(published)
    assert all(each.startswith("127.0.0.1:") for each in published)


def test_starting_it_again_takes_it_over_and_starts_a_stopped_node(cluster: Cluster, stand_in: StandIn) -> None:
    before = stand_in.run_args(), len([call for call in stand_in.calls() if call.startswith("run ")])
    cluster.start()
    docker("stop", NODE)
    assert not cluster.is_running()
    cluster.start()
    assert cluster.is_running()
    assert (stand_in.run_args(), len([call for call in stand_in.calls() if call.startswith("run ")])) == before


def test_what_was_looked_at_to_prepare_is_not_looked_at_again_by_the_next_start(cluster: Cluster, stand_in: StandIn) -> None:
    def asked(does: Callable[[], object]) -> int:
        before = len(stand_in.calls())
        does()
        return len([call for call in stand_in.calls()[before:] if call.startswith("info ")])

    assert [asked(does) for does in (cluster.prepare, cluster.start, cluster.start)] == [1, 0, 1]


@pytest.mark.fault("Servers", "a KinD node looks for Keycloak at localhost, which is the node", "a relay at its gateway leads to Keycloak")
def test_keycloak_is_behind_the_networks_gateway_with_its_own_certificate(cluster: Cluster, lab: Lab) -> None:
    issuer = urlsplit(lab.keycloak.issuer)
    context = ssl.create_default_context(cafile=str(lab.keycloak.ca))
    with (
        socket.create_connection((GATEWAY, issuer.port or 0), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(f"GET {issuer.path} HTTP/1.0\r\nHost: localhost:{issuer.port}\r\n\r\n".encode())
        assert tls.recv(12) == b"HTTP/1.0 200"


@pytest.mark.fault("Servers", "there is a KinD cluster platform of somebody else's", "it is never touched, neither by up nor by down")
def test_somebody_elses_cluster_of_that_name_is_left_alone(
    cluster: Cluster, make: Callable[..., Cluster], lab: Lab, tmp_path: Path, stand_in: StandIn
) -> None:
    theirs = make(home=another(lab, tmp_path))
    before = stand_in.run_args()
    with pytest.raises(ClusterError, match="has not made; it is left as it is") as caught:
        theirs.start()
    assert "LABKIT_CLUSTER=local" in caught.value.fix
    assert theirs.provider.stop() is False
    assert stand_in.run_args() == before
    assert cluster.is_running()


def test_a_lab_goes_on_with_its_kind_cluster_and_others_are_local(cluster: Cluster, home: Settings, lab: Lab, tmp_path: Path) -> None:
    assert cluster.is_running()
    assert Settings.load({"LABKIT_HOME": str(home.folder)}).cluster == "kind"
    assert Settings.load({"LABKIT_HOME": str(another(lab, tmp_path).folder)}).cluster == "local"


def test_what_lab_02_shows_of_kind_is_its_api_servers_configuration(cluster: Cluster, home: Settings) -> None:
    rows = KindFiles(cluster.trust, home).beside(cluster.provider.flags()).rows
    assert rows
    assert all(here == there for _, here, there in rows)


def test_a_look_changes_nothing_and_names_somebody_elses_cluster(
    cluster: Cluster, home: Settings, lab: Lab, tmp_path: Path, stand_in: StandIn
) -> None:
    before = stand_in.run_args()
    kind = lab.toolchain.ensure("kind")["kind"].path
    assert look(home, lab.keycloak.issuer, kind).ok
    theirs = look(another(lab, tmp_path), lab.keycloak.issuer, kind)
    assert "has not made" in theirs.why()
    assert "kind delete cluster --name platform" in theirs.fix()
    assert stand_in.run_args() == before
    assert cluster.is_running()


def another(lab: Lab, folder: Path) -> Settings:
    """The settings of another lab, which wants a KinD cluster too."""
    facts = open_state_folder(folder / "other", environ={}, free_ports=True)
    # Named, as the Docker that the stand-in answers like has cgroup v1.
    return replace(
        lab.settings, folder=folder / "other", folder_id=facts.id, ports=facts.ports, cluster="kind", kind_image="registry.example/node:v1"
    )


def docker(*args: str) -> str:
    return subprocess.run(["docker", *args], check=True, capture_output=True, text=True).stdout


Altered = Callable[[Callable[[dict[str, Any]], Any]], Cluster]


@pytest.fixture
def altered(monkeypatch: pytest.MonkeyPatch, make: Callable[..., Cluster], stand_in: StandIn) -> Iterator[Altered]:
    """The cluster from a config that was changed before kind gets it. kubeadm's files are made, and no server is run with them."""

    def change(by: Callable[[dict[str, Any]], Any]) -> Cluster:
        texts = vars(KindFiles)["texts"].fget

        def changed(self: KindFiles) -> dict[str, str]:
            made: dict[str, str] = texts(self)
            config = yaml.safe_load(made[CONFIG])
            by(config)
            return {**made, CONFIG: yaml.safe_dump(config, sort_keys=False)}

        monkeypatch.setattr(KindFiles, "texts", property(changed))
        return make()

    make().leave()
    files_only = stand_in.folder / "files-only"
    files_only.touch()
    yield change
    files_only.unlink()
    make().leave()


def in_version(version: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        config["kubeadmConfigPatches"][0] = f"apiVersion: kubeadm.k8s.io/{version}\n" + config["kubeadmConfigPatches"][0]

    return change


@pytest.mark.fault(
    "Servers", "kubeadm drops the OIDC flags without a word (a form of another version)", "they are read back, and their absence told"
)
@pytest.mark.parametrize("version", ["v1beta3", "v1beta4"])
def test_flags_that_kubeadm_drops_in_silence_are_noticed(altered: Altered, home: Settings, version: str) -> None:
    with pytest.raises(ClusterError, match="has no issuer to trust") as caught:
        altered(in_version(version)).start()
    assert "--oidc-issuer-url=https://localhost" in caught.value.why
    assert "kind 0.32" in caught.value.fix
    assert Settings.load({"LABKIT_HOME": str(home.folder)}).cluster == "local"


@pytest.mark.fault("Servers", "the CA is not mounted into the KinD node", "the file is read back, and its absence told")
def test_a_ca_that_was_not_mounted_is_noticed(altered: Altered) -> None:
    with pytest.raises(ClusterError, match=r"the node has no .*issuer-ca") as caught:
        altered(lambda config: config["nodes"][0]["extraMounts"].pop()).start()
    assert "labkit down" in caught.value.fix


@pytest.mark.fault("Servers", "kubeadm does not apply the alias for localhost", "the pod is read back, and it is reported")
def test_an_alias_that_was_not_applied_is_noticed(altered: Altered) -> None:
    with pytest.raises(ClusterError, match="would look for Keycloak in the node itself"):
        altered(lambda config: config["kubeadmConfigPatches"].pop()).start()


@pytest.mark.fault("Servers", "a KinD node is given another CA than Keycloak's", "the API server's log is read, and x509 explained")
def test_a_ca_that_did_not_sign_keycloaks_certificate_is_named_from_the_log(make: Callable[..., Cluster], lab: Lab) -> None:
    made = make()
    with pytest.raises(ClusterError, match="does not trust Keycloak's certificate") as caught:
        made.provider.start(replace(made.trust, ca=lab.settings.folder / "tls" / "ca-etcd.crt"))
    assert "x509" in caught.value.why


def test_leaving_deletes_the_labs_cluster_and_stops_the_relay(make: Callable[..., Cluster], home: Settings, stand_in: StandIn) -> None:
    make().start()
    assert Settings.load({"LABKIT_HOME": str(home.folder)}).cluster == "kind"
    assert make().leave() == ["kind-platform"]
    assert Settings.load({"LABKIT_HOME": str(home.folder)}).cluster == "local"
    assert not (stand_in.folder / "run.json").exists()
    assert Processes(home).names() == []
    assert make().leave() == []


@pytest.mark.parametrize("style", OIDC_STYLES)
def test_by_hand_kind_makes_the_same_api_server_from_the_rendered_files(
    lab: Lab, stand_in: StandIn, kubeconfig: Path, tmp_path: Path, style: OidcStyle
) -> None:
    render(Lab(replace(lab.settings, oidc=style)), tmp_path)
    patch = tmp_path / "kubeadm-patches" / "kube-apiserver+strategic.yaml"
    patch.write_text(patch.read_text().replace("GATEWAY", GATEWAY))
    kind = str(lab.toolchain.ensure("kind")["kind"].path)
    named = ("--name=platform", f"--kubeconfig={tmp_path / 'admin'}")
    made = subprocess.run(
        [kind, "create", "cluster", *named, "--config=kind.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    try:
        pod = yaml.safe_load(docker("exec", NODE, "cat", MANIFEST))["spec"]
        written = yaml.safe_load((tmp_path / "admin").read_text())["clusters"][0]["cluster"]
        ca = tmp_path / "cluster-ca"
        ca.write_bytes(base64.b64decode(written["certificate-authority-data"]))
        session = lab.session("user-dev")
        api = Api(Endpoint("by-hand", written["server"], ca, {}), lambda: session.tokens.id_token, lab.cluster.causes)
        assert api.wait_until_known().username == "user-dev@kratix.io"
        command = pod["containers"][0]["command"]
        assert any(flag.startswith("--authentication-config=") for flag in command) == (style == "structured")
    finally:
        docker("rm", "-f", "-v", NODE)
    assert pod["hostAliases"] == [{"ip": GATEWAY, "hostnames": ["localhost"]}]
    assert not any(str(lab.settings.folder) in line for line in (tmp_path / "kind.yaml").read_text().splitlines())


@pytest.mark.fault("Programs", "a machine with cgroup v1", "it is refused before anything is started, unless another node image is named")
def test_cgroup_v1_is_refused_for_the_pinned_image(make: Callable[..., Cluster], home: Settings) -> None:
    with pytest.raises(ClusterError, match="cgroup v1") as caught:
        make(home=replace(home, kind_image="")).prepare()
    assert "LABKIT_KIND_IMAGE" in caught.value.fix


@pytest.mark.fault("Servers", "the node image can't be had", "nothing is started, and the state folder is as it was")
def test_without_an_image_nothing_is_begun(make: Callable[..., Cluster], lab: Lab, tmp_path: Path, stand_in: StandIn) -> None:
    make().leave()
    new, missing, fault = another(lab, tmp_path), stand_in.folder / "no-image", stand_in.folder / "fault-pull"
    missing.touch()
    fault.write_text('Error response from daemon: Get "https://registry.example/v2/": no such host')
    before = sorted(new.folder.rglob("*"))
    try:
        with pytest.raises(ClusterError, match="has no node image registry") as caught:
            make(home=new).start()
    finally:
        missing.unlink()
        fault.unlink()
    assert "no such host" in caught.value.why
    assert [each for each in sorted(new.folder.rglob("*")) if each not in before] == [new.folder / "servers.lock"][:0]
    assert Processes(new).names() == []


@pytest.mark.fault("Servers", "kind fails half-way", "its node, the relay and what was written are taken away again")
def test_what_fails_half_way_is_taken_away(make: Callable[..., Cluster], lab: Lab, tmp_path: Path, stand_in: StandIn) -> None:
    make().leave()
    new, fault = another(lab, tmp_path), stand_in.folder / "fault-logs"
    fault.write_text("no logs")
    try:
        with pytest.raises(ClusterError, match="kind could not make the cluster"):
            make(home=new).start()
    finally:
        fault.unlink()
    assert not (new.folder / "kind").exists()
    assert Processes(new).names() == []
    assert not (stand_in.folder / "run.json").exists()


@pytest.mark.fault("Servers", "Docker goes away under a KinD cluster", "status and down say so, and the rest is stopped")
def test_a_docker_that_has_gone_away_is_reported(make: Callable[..., Cluster], home: Settings, stand_in: StandIn) -> None:
    cluster = make()
    cluster.start()
    fault = stand_in.folder / "fault-ps"
    fault.write_text("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
    try:
        assert [each.text for each in cluster.provider.statuses()] == ["runs", "Docker does not run"]
        with pytest.raises(ClusterError, match="can't be deleted: Docker does not run") as caught:
            cluster.leave()
    finally:
        fault.unlink()
    assert "labkit down again" in caught.value.fix
    assert Processes(home).names() == []
    assert cluster.leave() == ["kind-platform"]


@pytest.mark.fault("Servers", "an http:// issuer for a KinD cluster", "refused before Docker is asked for anything")
def test_an_http_issuer_is_refused_before_anything_is_done(make: Callable[..., Cluster], stand_in: StandIn) -> None:
    before = stand_in.calls()
    made = make()
    with pytest.raises(ClusterError, match="is not https"):
        made.provider.start(replace(made.trust, issuer="http://localhost:8080/realms/myrealm"))
    assert stand_in.calls() == before


@pytest.mark.fault("Servers", "a port of the KinD cluster is taken", "its holder is named before kind starts, and how to move the port")
def test_a_taken_port_is_named_before_kind_starts(altered: Altered, home: Settings, stand_in: StandIn) -> None:
    port = home.ports["kind_31340"]
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUse, match=f"port {port}, which the KinD cluster") as caught:
        altered(lambda _: None).start()
    assert "LABKIT_KIND_31340_PORT" in caught.value.fix
    assert not (stand_in.folder / "run.json").exists()
