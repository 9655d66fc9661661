"""What the tools receive is what they received while labkit built it in Python: ``golden/cluster.yaml`` was written by that code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.cluster import audit, kind_config
from labkit.cluster.trust import Trust
from labkit.hosting import PUBLIC_CA
from labkit.settings import PORTS, OidcStyle, Settings
from labkit.workshop import Oidc

GOLDEN: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "golden" / "cluster.yaml").read_text())
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
GATEWAY = "172.18.0.1"
OIDC = Oidc.model_validate({"oidc-client-id": "kube", "oidc-username-claim": "email", "oidc-groups-claim": "groups"})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        root=tmp_path, home=Path("/home/lab"), home_id="ID", cache=tmp_path, workshop_folder=tmp_path, ports=PORTS, kind_image="node:1"
    )


def trust(tmp_path: Path, case: str) -> Trust:
    """The trust of a case: its style, and whether Keycloak is on this machine or has a public certificate."""
    style, _, where = case.partition(" ")
    ca = tmp_path / "ca.crt"
    ca.write_text(CERTIFICATE)
    told: OidcStyle = "flags" if style == "flags" else "structured"
    issuer = "https://localhost:8443/realms/myrealm" if where == "local" else "https://sso.example.com/realms/myrealm"
    return Trust(issuer, ca if where == "local" else PUBLIC_CA, OIDC, ("kube-dev", "kube-admin"), told)


def loaded(config: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(config)
    return {**read, "kubeadmConfigPatches": [yaml.safe_load(patch) for patch in read["kubeadmConfigPatches"]]}


@pytest.mark.parametrize("case", GOLDEN["authentication"])
def test_the_api_server_gets_the_same_file(tmp_path: Path, case: str) -> None:
    assert yaml.safe_load(trust(tmp_path, case).configuration()) == GOLDEN["authentication"][case]


@pytest.mark.parametrize("case", GOLDEN["flags"])
def test_the_api_server_gets_the_same_flags(tmp_path: Path, case: str) -> None:
    assert [flag.replace(f"{tmp_path}/", "") for flag in trust(tmp_path, case).flags()] == GOLDEN["flags"][case]


def test_the_api_server_gets_the_same_audit_policy() -> None:
    assert {**GOLDEN["audit"], "rules": [{"level": "None", "users": audit._BUSY}, GOLDEN["audit"]["rules"][1]]} == audit._POLICY


@pytest.mark.parametrize("case", GOLDEN["kind"])
def test_kind_gets_the_same_config(tmp_path: Path, settings: Settings, case: str) -> None:
    alias = GATEWAY if case.endswith("local") else ""
    assert loaded(kind_config.KindConfig(settings).text(trust(tmp_path, case), alias)) == GOLDEN["kind"][case]


@pytest.mark.parametrize("case", GOLDEN["by hand"])
def test_kind_gets_the_same_config_by_hand(tmp_path: Path, case: str) -> None:
    assert loaded(kind_config.by_hand(trust(tmp_path, case), PORTS)) == GOLDEN["by hand"][case]


@pytest.mark.parametrize(("alias", "case"), [(GATEWAY, "local"), ("", "public")])
def test_kubeadm_gets_the_same_patch(alias: str, case: str) -> None:
    assert yaml.safe_load(kind_config.pod_patch(alias)) == GOLDEN["patch"][case]
