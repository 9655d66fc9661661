"""A room on a real Kubernetes: a KinD node of its own, JupyterHub's Helm chart, our image and values."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser

from labkit.cluster.kind.docker import Docker, run_kind
from labkit.common.errors import ClusterError
from labkit.config.settings import Settings, find_root
from labkit.toolchain import Toolchain

from ..rooms import trusting

HOST, SPACE, RELEASE = "room.test", "room", "room"
NODE = os.environ.get("KIND_CLUSTER_NAME", "labkit-room")
"""kind's own variable: a node of that name that is there, with the image in it, is used and left."""

DEPLOY = find_root(Path(__file__)) / "deploy"
_PATIENCE = "600s"
_VOLUMES = 10


@dataclass(frozen=True)
class Cluster:
    """A room in a cluster of one node."""

    folder: Path
    programs: dict[str, Path]
    docker: Docker
    chart: str

    url = f"https://{HOST}"

    @property
    def ca(self) -> Path:
        """Whom people trust."""
        return self.folder / "ca.crt"

    @property
    def node(self) -> str:
        """The name of the node's container."""
        return f"{NODE}-control-plane"

    @property
    def ip(self) -> str:
        """The node's address, at which the room answers."""
        return self.docker.run("inspect", "--format", "{{.NetworkSettings.Networks.kind.IPAddress}}", self.node).strip()

    def run(self, program: str, *args: str, given: str = "", seconds: float = 1200) -> str:
        """What a program says of the cluster; it has to succeed."""
        env = {**os.environ, "KUBECONFIG": str(self.folder / "kubeconfig"), "HELM_CACHE_HOME": str(self.folder / "helm")}
        argv = [str(self.programs[program]), *args]
        done = subprocess.run(argv, input=given, capture_output=True, text=True, env=env, timeout=seconds, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def kubectl(self, *args: str, given: str = "") -> str:
        """What kubectl says in the room's namespace."""
        return self.run("kubectl", "--namespace", SPACE, *args, given=given)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Have these objects."""
        self.kubectl("apply", "--filename=-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def listed(self, kind: str, *args: str) -> dict[str, dict[str, Any]]:
        """Objects of a kind, by their names."""
        return {each["metadata"]["name"]: each for each in json.loads(self.kubectl("get", kind, "--output=json", *args))["items"]}

    def in_seat(self, name: str, *command: str, given: str = "") -> str:
        """What a command says in somebody's pod."""
        return self.kubectl("exec", "--stdin", f"jupyter-{name}", "--container=notebook", "--", *command, given=given)

    def seats(self) -> dict[str, str]:
        """The pods of seats that are not about to end, each with its id."""
        pods = self.listed("pods", "--selector=component=singleuser-server")
        return {name: pod["metadata"]["uid"] for name, pod in pods.items() if "deletionTimestamp" not in pod["metadata"]}

    def install(self, **values: Any) -> None:
        """Install the chart by deploy/z2jh.yaml, or change what is installed; ``values`` are given as ``hub__resources={…}``."""
        # A room on one small machine asks for little CPU, and is reached at its node.
        cpu = {"hub__resources__requests__cpu": "100m", "proxy__chp__resources__requests__cpu": "50m", "singleuser__cpu__guarantee": 0.05}
        at = {"proxy__service__type": "ClusterIP", "proxy__service__externalIPs": [self.ip]}
        told = [f"--set-json={name.replace('__', '.')}={json.dumps(value)}" for name, value in (cpu | at | values).items()]
        where = ("--namespace", SPACE, "--values", str(DEPLOY / "z2jh.yaml"), "--wait", f"--timeout={_PATIENCE}")
        self.run("helm", "upgrade", "--install", RELEASE, self.chart, *where, *told)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A node that has the image; skipped, with the reason, where that can't be."""
    docker, chart, image, helm = Docker(), os.environ.get("CHART", ""), os.environ.get("IMAGE", ""), shutil.which("helm")
    try:
        docker.require()
    except ClusterError as error:
        pytest.skip(f"no KinD without Docker: {error.what}")
    if not (helm and chart and image):
        pytest.skip("it takes helm, and make test-cluster CHART=(JupyterHub's chart, as helm names it) IMAGE=(what make image made)")
    found = Toolchain(Settings.load().cache).ensure("kind", "kubectl")
    programs, folder = {**{name: each.path for name, each in found.items()}, "helm": Path(helm)}, tmp_path_factory.mktemp("cluster")
    config, there = folder / "kubeconfig", NODE in run_kind(programs["kind"], "get", "clusters").stdout.split()
    named = [f"--image={name}"] if (name := Settings.load().kind_image) else []
    try:
        if there:
            run_kind(programs["kind"], "export", "kubeconfig", "--name", NODE, "--kubeconfig", str(config)).check_returncode()
        else:
            made = run_kind(programs["kind"], "create", "cluster", "--name", NODE, "--kubeconfig", str(config), *named, seconds=600)
            assert made.returncode == 0, made.stderr
            loaded = run_kind(programs["kind"], "load", "image-archive", image, "--name", NODE, seconds=3000)
            assert loaded.returncode == 0, loaded.stderr
        yield Cluster(folder, programs, docker, chart)
    finally:
        if not there:
            run_kind(programs["kind"], "delete", "cluster", "--name", NODE, seconds=300)


@pytest.fixture(scope="session")
def room(cluster: Cluster) -> Cluster:
    """A room that is installed as docs/kubernetes.md says, in a namespace whose pods are held to `restricted`."""
    # One is enough for a node, and all that the recipe's kube-proxy can lead to.
    cluster.run("kubectl", "--namespace=kube-system", "scale", "deployment/coredns", "--replicas=1")
    levels = {f"pod-security.kubernetes.io/{how}": "restricted" for how in ("enforce", "warn")}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": levels}})
    cluster.apply(*_volumes(cluster))
    _certificates(cluster.folder)
    told = {"url": cluster.url, "keycloak-admin": secrets.token_urlsafe(), "client-secret": secrets.token_urlsafe()}
    files = {name: (cluster.folder / name).read_text() for name in ("tls.crt", "tls.key", "ca.crt")}
    for name, values in (("labkit", told), ("labkit-tls", files)):
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
    cluster.apply(*_keycloak())
    cluster.install()
    # The first upgrade restarts the proxy too: the chart makes up its token twice.
    cluster.install()
    cluster.kubectl("rollout", "status", "deployment/keycloak", f"--timeout={_PATIENCE}")
    return cluster


@pytest.fixture(scope="session")
def browser(room: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, which trusts the room and finds it."""
    with trusting(room, tmp_path_factory.mktemp("browser"), f"{HOST} {room.ip}") as browser:
        yield browser


def _keycloak() -> Iterator[dict[str, Any]]:
    """deploy/keycloak.yaml, asking for as little CPU as this machine may have left."""
    for each in yaml.safe_load_all((DEPLOY / "keycloak.yaml").read_text()):
        if each["kind"] == "Deployment":
            each["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "100m"
        yield each


def _volumes(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Volumes for a node whose storage class makes none by itself, as a provisioner would make them."""
    (standard,) = cluster.listed("storageclasses").values()
    if standard["provisioner"] != "kubernetes.io/no-provisioner":
        return
    cluster.kubectl(
        "annotate", "--overwrite", "storageclass", standard["metadata"]["name"], "storageclass.kubernetes.io/is-default-class=true"
    )
    for number in range(_VOLUMES):
        path = f"/var/volumes/{number}"
        # As many provisioners do, KinD's own among them.
        cluster.docker.run("exec", cluster.node, "mkdir", "--parents", "--mode=777", path)
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [cluster.node]}
        spec = {
            "storageClassName": standard["metadata"]["name"],
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOnce"],
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        }
        yield {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"volume-{number}"}, "spec": spec}


def _certificates(folder: Path) -> None:
    """An authority, and the room's certificate by it."""
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    names = ",".join(f"DNS:{name}" for name in (HOST, "keycloak", "hub"))
    leaf = ("-CA", "ca.crt", "-CAkey", "ca.key", "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE")
    for command in (
        (*new, "-subj", "/CN=authority of a test", "-keyout", "ca.key", "-out", "ca.crt"),
        (*new, "-subj", f"/CN={HOST}", "-keyout", "tls.key", "-out", "tls.crt", *leaf),
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
