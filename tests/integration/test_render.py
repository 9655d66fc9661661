"""``labkit render``: files for whoever goes on without labkit. What they say holds on the lab's own servers."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.cli.render import render, renderings
from labkit.common.errors import LabkitError
from labkit.config.settings import OidcStyle
from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab
from tests.app_config import substituted


@pytest.fixture(scope="module")
def folder(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("render") / "by-hand"
    render(lab, made)
    return made


def written_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def kubectl(lab: Lab, folder: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """kubectl with a copy of the rendered kubeconfig and nothing of the lab's."""
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(folder / "kubeconfig", kubeconfig)
    program = lab.toolchain.ensure("kubectl")["kubectl"].path
    env = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_each_file_says_what_it_is_and_those_with_secrets_are_their_owners_only(lab: Lab, folder: Path) -> None:
    assert written_in(folder) == {each.file for each in renderings(lab.settings.workshop_folder)}
    for each in renderings(lab.settings.workshop_folder):
        first, second, *_ = (folder / each.file).read_text().splitlines()
        assert (first, second) == (f"# Written by labkit render: {each.what}.", f"# {each.use}.")
        assert (folder / each.file).stat().st_mode & 0o777 == (0o600 if each.secret else 0o644)


def test_only_the_files_for_it_hold_secrets(lab: Lab, folder: Path) -> None:
    realm = lab.workshop.realm
    secrets = {client.secret.get_secret_value() for client in realm.clients}
    with_secrets = {
        each.file for each in renderings(lab.settings.workshop_folder) for secret in secrets if secret in (folder / each.file).read_text()
    }
    assert with_secrets == {each.file for each in renderings(lab.settings.workshop_folder) if each.secret}


def test_the_rbac_file_is_what_the_cluster_has(lab: Lab, folder: Path) -> None:
    assert list(yaml.safe_load_all((folder / "rbac.yaml").read_text())) == lab.cluster.rbac.objects()
    unchanged = lab.cluster.admin_kubectl("diff", "-f", str(folder / "rbac.yaml"))
    assert unchanged.output == ""


def test_the_authentication_file_names_the_labs_issuer_and_its_authority(lab: Lab, folder: Path) -> None:
    (jwt,) = yaml.safe_load((folder / "authentication.yaml").read_text())["jwt"]
    assert jwt["issuer"]["url"] == lab.keycloak.issuer
    assert jwt["issuer"]["certificateAuthority"] == lab.keycloak.ca.read_text()
    text = (folder / "oidc-flags.yaml").read_text()
    assert yaml.safe_load(text)["oidc-issuer-url"] == lab.keycloak.issuer
    assert str(lab.settings.folder) not in text


def test_the_portals_files_are_the_labs_own_portals(lab: Lab, folder: Path) -> None:
    given = subprocess.run(["sh", "-c", "set -a; . ./portal.env; env -0"], cwd=folder, env={}, capture_output=True, text=True, check=True)
    variables = dict(line.split("=", 1) for line in given.stdout.split("\0") if line)
    rendered = substituted(yaml.safe_load((folder / "app-config.yaml").read_text()), variables)
    own = {**lab.portal._variables(), "PORTAL_FOLDER": "."}
    own.pop("PORTAL_PAGES", None)
    assert rendered == substituted(yaml.safe_load(lab.portal.app_config.read_text()), own)
    assert rendered["catalog"]["locations"][0]["target"] == "./people.yaml"
    assert {file.name for file in (folder / "templates").iterdir()} == {"configmap.yaml", "reader.yaml"}


@pytest.mark.fault(
    "Neighbours",
    "somebody else on the machine reads command lines, and what `labkit render` wrote",
    "no token is in either: kubectl asks for it",
)
def test_a_context_from_the_file_is_somebody_and_no_token_is_handled_by_hand(lab: Lab, folder: Path, kubectl: Any) -> None:
    """In an environment that knows nothing of the lab."""
    seen = kubectl("--context", "user-dev", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert seen.stdout == "user-dev@kratix.io", seen.stderr
    (user, *_) = yaml.safe_load((folder / "kubeconfig").read_text())["users"]
    assert list(user["user"]) == ["exec"]
    assert [file for file in written_in(folder) if "set-credentials" in (folder / file).read_text()] == []


def test_the_ca_file_can_be_read_with_its_heading(lab: Lab, folder: Path) -> None:
    (found,) = ssl.create_default_context(cafile=folder / "issuer-ca.crt").get_ca_certs()
    assert "labkit lab CA (servers)" in str(found["subject"])


@pytest.mark.parametrize(("style", "file"), [("structured", "authentication.yaml"), ("flags", "issuer-ca.crt")])
def test_before_there_is_a_kind_cluster_all_is_written_that_one_can_be_made_by(
    lab: Lab, tmp_path: Path, style: OidcStyle, file: str
) -> None:
    open_state_folder(tmp_path / "home", environ={}, free_ports=True)
    told = render(Lab(replace(lab.settings, folder=tmp_path / "home", cluster="kind", oidc=style)), tmp_path / "by-hand")
    written = written_in(tmp_path / "by-hand")
    assert {each.file for each in renderings(lab.settings.workshop_folder)} - written == {"kubeconfig", "portal.env"}
    assert str(told).count("not yet written: this state folder has no cluster platform yet") == 2
    config = yaml.safe_load((tmp_path / "by-hand" / "kind.yaml").read_text())
    mounted = {str(Path(mount["hostPath"])) for mount in config["nodes"][0]["extraMounts"]}
    assert mounted == {"authentication.yaml", "issuer-ca.crt", "kubeadm-patches"}
    assert any(file in patch for patch in config["kubeadmConfigPatches"])
    assert mounted < {part for name in written for part in (name, str(Path(name).parent))}


def test_a_second_time_replaces_what_the_first_wrote(lab: Lab, folder: Path) -> None:
    (folder / "rbac.yaml").write_text((folder / "rbac.yaml").read_text() + "# changed by hand\n")
    (folder / "notes.txt").write_text("mine")
    render(lab, folder)
    assert "changed by hand" not in (folder / "rbac.yaml").read_text()
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").unlink()


@pytest.mark.fault("Commands", "labkit render into a folder with files of somebody else's", "they are named, and nothing is written")
def test_somebody_elses_file_is_never_replaced(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "rbac.yaml").write_text("kind: Mine\n")
    with pytest.raises(LabkitError, match=r"rbac\.yaml"):
        render(lab, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["rbac.yaml"]
    assert (tmp_path / "rbac.yaml").read_text() == "kind: Mine\n"
