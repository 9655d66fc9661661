"""What the tools receive is what they received while labkit built it in Python: ``golden/cluster.yaml`` was written by that code.

Each difference is meant, and named where it is made up for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.cluster.access import GATHERED, Rbac
from labkit.cluster.kind.files import KindFiles
from labkit.cluster.kubectl import KubectlAnswer
from labkit.cluster.local import SERVERS, LocalCluster
from labkit.cluster.trust import Trust
from labkit.common.platform_folder import OWN
from labkit.config.hosting import PUBLIC_CA
from labkit.config.settings import OidcStyle, Settings
from labkit.config.state_folder import PORTS
from labkit.servers.processes import Processes
from labkit.toolchain import Toolchain
from labkit.workshop.files import PATCH, read
from labkit.workshop.workshop import Workshop

GOLDEN: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "golden" / "cluster.yaml").read_text())
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
GATEWAY = "172.18.0.1"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        root=tmp_path, folder=Path("/home/lab"), folder_id="ID", cache=tmp_path, workshop_folder=tmp_path, ports=PORTS, kind_image="node:1"
    )


def trust(tmp_path: Path, case: str) -> Trust:
    """The trust of a case: its style, and whether Keycloak is on this machine or has a public certificate."""
    style, _, where = case.partition(" ")
    ca = tmp_path / "ca.crt"
    ca.write_text(CERTIFICATE)
    told: OidcStyle = "flags" if style == "flags" else "structured"
    issuer = "https://localhost:8443/realms/myrealm" if where == "local" else "https://sso.example.com/realms/myrealm"
    return Trust(issuer, ca if where == "local" else PUBLIC_CA, Workshop.load().cluster, ("kube-dev", "kube-admin"), told)


def loaded(config: str) -> dict[str, Any]:
    """A config for kind, with mounts by where they are in the node."""
    read: dict[str, Any] = yaml.safe_load(config)
    read["kubeadmConfigPatches"] = [yaml.safe_load(patch) for patch in read["kubeadmConfigPatches"]]
    (node,) = read["nodes"]
    node["extraMounts"] = {mount.pop("containerPath"): mount | {"hostPath": str(Path(mount["hostPath"]))} for mount in node["extraMounts"]}
    return read


def golden(kind: str, case: str, folder: Path, folder_id: str) -> dict[str, Any]:
    """What kind received, and what it receives besides: both files that an API server may read are mounted, and kubeadm always patches."""
    expected = loaded(yaml.safe_dump({**GOLDEN[kind][case], "kubeadmConfigPatches": map_to_text(GOLDEN[kind][case])}))
    mark = f"/kind/labkit/{folder_id}"
    expected["kubeadmConfigPatches"][1:] = [{"kind": "InitConfiguration", "patches": {"directory": mark}}]
    (node,) = expected["nodes"]
    # Was named otherwise in a config for doing it by hand.
    node["extraMounts"].pop("/kind/kubeadm-patches", None)
    node["extraMounts"][mark] = {"hostPath": str(folder / "kubeadm-patches"), "readOnly": True}
    for name in ("authentication.yaml", "issuer-ca.crt"):
        node["extraMounts"].setdefault(f"/etc/kubernetes/pki/{name}", {"hostPath": str(folder / name), "readOnly": True})
    return expected


def map_to_text(config: dict[str, Any]) -> list[str]:
    return [yaml.safe_dump(patch) for patch in config["kubeadmConfigPatches"]]


@pytest.mark.parametrize("case", GOLDEN["authentication"])
def test_the_api_server_gets_the_same_file(tmp_path: Path, case: str) -> None:
    found, expected = yaml.safe_load(trust(tmp_path, case).configuration()), GOLDEN["authentication"][case]
    # Empty was not there, which is the same to Kubernetes.
    expected["jwt"][0]["issuer"].setdefault("certificateAuthority", "")
    assert found == expected


@pytest.mark.parametrize("case", GOLDEN["flags"])
def test_the_api_server_gets_the_same_flags(tmp_path: Path, case: str) -> None:
    assert [flag.replace(f"{tmp_path}/", "") for flag in trust(tmp_path, case).flags()] == GOLDEN["flags"][case]


def test_the_api_server_gets_the_same_audit_policy() -> None:
    assert read("audit-policy.yaml", {}).data == GOLDEN["audit"]


def test_the_control_plane_gets_the_same_command_lines(tmp_path: Path, settings: Settings) -> None:
    cluster = LocalCluster(replace(settings, folder=tmp_path), Processes(settings), Toolchain(tmp_path))
    programs, told = dict.fromkeys(SERVERS, Path("program")), trust(tmp_path, "flags local")
    servers = {
        "etcd": cluster._etcd(programs),
        "kube-apiserver flags": cluster._api_server(programs, told),
        "kube-apiserver structured": cluster._api_server(programs, replace(told, style="structured")),
        "kube-controller-manager": cluster._controller_manager(programs),
    }
    for case, server in servers.items():
        flags = [flag.replace(str(tmp_path), "HOME").replace(str(OWN), "PLATFORM") for flag in server.argv[1:]]
        assert flags == GOLDEN["control plane"][case]


@pytest.mark.parametrize("case", GOLDEN["kind"])
def test_kind_gets_the_same_config(tmp_path: Path, settings: Settings, case: str) -> None:
    found = loaded(KindFiles(trust(tmp_path, case), settings, GATEWAY, settings.state.kind, settings.folder_id).config)
    assert found == golden("kind", case, Path("/home/lab/kind"), "ID")


@pytest.mark.parametrize("case", GOLDEN["by hand"])
def test_kind_gets_the_same_config_by_hand(tmp_path: Path, settings: Settings, case: str) -> None:
    expected = golden("by hand", case, Path(), "by-hand")
    # Were left to kind.
    expected["nodes"][0] |= {"image": "node:1", "labels": {"labkit/home": "by-hand"}}
    assert loaded(KindFiles(trust(tmp_path, case), settings).config) == expected


@pytest.mark.parametrize("case", GOLDEN["patch"])
def test_kubeadm_gets_the_same_patch(tmp_path: Path, settings: Settings, case: str) -> None:
    """Where no patch was needed it says of localhost what localhost means anyway."""
    nothing_new = {"spec": {"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["localhost"]}]}}
    found = yaml.safe_load(KindFiles(trust(tmp_path, f"structured {case}"), settings, GATEWAY).texts[PATCH])
    assert found == (GOLDEN["patch"][case] or nothing_new)


def test_another_comment_makes_no_other_kind_cluster(tmp_path: Path, settings: Settings) -> None:
    files = KindFiles(trust(tmp_path, "structured local"), settings, GATEWAY, tmp_path / "kind")
    assert files.write()
    declared = files.trust.declared
    kind = replace(declared.kind, text=f"# More.\n{declared.kind.text}")
    assert not replace(files, trust=replace(files.trust, declared=replace(declared, kind=kind))).write()
    assert (files.folder / "kind.yaml").read_text().startswith("# More.\n")


@pytest.mark.parametrize("role", ["cr-reader", *sorted(GATHERED)])
def test_only_a_role_of_kubernetes_own_that_somebody_is_bound_to_is_waited_for(role: str) -> None:
    asked: list[tuple[str, ...]] = []

    def kubectl(*args: str, stdin: str = "") -> KubectlAnswer:
        asked.append(args)
        return KubectlAnswer(stdin, '{"items": []}')

    cluster = Workshop.load().cluster
    text = cluster.rbac.text.replace("kind: ClusterRole\n  name: cr-reader\n", f"kind: ClusterRole\n  name: {role}\n")
    Rbac(replace(cluster, rbac=replace(cluster.rbac, text=text)), kubectl).apply()
    waited = [args[2:-1] for args in asked if args[0] == "wait"]
    assert waited == ([("clusterrole", role)] if role in GATHERED else [])
