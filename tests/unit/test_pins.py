"""The table of programs agrees with the files that pin their content."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from labkit.toolchain.builders import GoProgram, NpmPackages, Wheel
from labkit.toolchain.downloads import PINNED
from labkit.toolchain.keycloak import Keycloak
from labkit.toolchain.pins import PINS
from tests import pins

GO_PROGRAMS = [recipe for recipe in PINS.values() if isinstance(recipe, GoProgram)]
WHEELS = [recipe for recipe in PINS.values() if isinstance(recipe, Wheel)]
NPM_PACKAGES = [recipe for recipe in PINS.values() if isinstance(recipe, NpmPackages)]
BACKSTAGE, PAGES, _ = NPM_PACKAGES
KUBECTL = next(recipe for recipe in GO_PROGRAMS if recipe.name == "kubectl")
(KEYCLOAK,) = (recipe for recipe in PINS.values() if isinstance(recipe, Keycloak))


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
        ("node", "20.20.2", False),
        ("node", "22.0.0", True),
        ("node", "26.1.0", True),
    ],
)
def test_versions_are_compared_as_numbers_and_within_the_accepted_range(name: str, version: str, accepted: bool) -> None:
    assert PINS[name].accepts(version) is accepted


def test_each_go_module_has_the_tables_version_and_names_the_programs_as_its_tools() -> None:
    modules = {"etcd": "go.etcd.io/etcd/server/v3", "kubernetes": "k8s.io/kubernetes", "kind": "sigs.k8s.io/kind"}
    assert {recipe.batch for recipe in GO_PROGRAMS} == set(modules)
    for batch, module in modules.items():
        recipes = [recipe for recipe in GO_PROGRAMS if recipe.batch == batch]
        text = (recipes[0].folder / "go.mod").read_text()
        assert {f"v{recipe.version}" for recipe in recipes} == set(re.findall(rf"{module} (v\S+)", text))
        listed = re.search(r"^tool (?:\(\n(.*?)\n\)|(\S+))$", text, re.MULTILINE | re.DOTALL)
        assert listed is not None
        tools = (listed[1] or listed[2]).split()
        assert sorted(tools) == sorted(recipe.package for recipe in recipes)
        assert len({(recipe.folder, recipe.ldflags) for recipe in recipes}) == 1, "what is built in one call has one answer to all that"


def test_every_official_download_has_its_line_and_its_sha256_or_is_open() -> None:
    lines = [line.split() for line in pins.FILE.read_text().splitlines() if not line.startswith("#")]
    assert [url for _, url in lines] == list(dict.fromkeys(pins.urls())), "run make pins"
    assert [digest for digest, _ in lines if digest != "open" and not re.fullmatch("[0-9a-f]{64}", digest)] == []
    assert {url for digest, url in lines if digest != "open"} == set(PINNED)
    assert KEYCLOAK.sha256, "what Maven brings is checked by it too"


def test_kubernetes_staging_modules_are_all_of_its_own_release() -> None:
    minor_and_patch = PINS["kubectl"].version.partition(".")[2]
    replaced = re.findall(r"^replace (\S+) => (\S+) (\S+)$", (KUBECTL.folder / "go.mod").read_text(), re.MULTILINE)
    assert len(replaced) > 30
    assert {(old == new, version) for old, new, version in replaced} == {(True, f"v0.{minor_and_patch}")}


def test_the_kubeadm_of_the_tests_is_of_the_same_release() -> None:
    there = Path(__file__).parents[1] / "kubeadm" / "go.mod"
    releases = re.compile(r"^(?:require k8s.io/kubernetes \S+|replace .*)", re.MULTILINE)
    found, wanted = (releases.findall(file.read_text()) for file in (there, KUBECTL.folder / "go.mod"))
    assert found == wanted


def test_the_lowest_accepted_go_can_build_every_module() -> None:
    for recipe in GO_PROGRAMS:
        needed = re.search(r"^go (\S+)$", (recipe.folder / "go.mod").read_text(), re.MULTILINE)
        assert needed is not None
        assert needed[1].removesuffix(".0") == PINS["go"].at_least


def test_each_wheel_is_required_in_the_tables_version_with_digests_only() -> None:
    for recipe in WHEELS:
        first, *digests = recipe.requirements.read_text().replace("\\\n", "").split()
        assert first == f"{recipe.batch}=={recipe.version}"
        assert len(digests) >= 4
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", digest) for digest in digests)


def _locked(recipe: NpmPackages) -> dict[str, dict[str, Any]]:
    """A lock: what npm installs, by where it lies."""
    packages: dict[str, dict[str, Any]] = json.loads((recipe.root / "package-lock.json").read_text())["packages"]
    return packages


def _manifests(recipe: NpmPackages) -> dict[str, dict[str, Any]]:
    """The manifests that a lock is made from, by their names in it."""
    files = [recipe.root / "package.json", *sorted(recipe.root.glob("packages/*/package.json"))]
    return {file.parent.relative_to(recipe.root).as_posix().replace(".", ""): json.loads(file.read_text()) for file in files}


every_lock = pytest.mark.parametrize("recipe", NPM_PACKAGES, ids=lambda recipe: recipe.name)


def test_the_portals_locks_have_the_tables_versions() -> None:
    told = PINS["backstage"].told.removesuffix("/package.json")
    assert _locked(BACKSTAGE)[told]["version"] == PINS["backstage"].version
    assert _locked(PAGES)["node_modules/@backstage/frontend-defaults"]["version"] == PINS["pages"].version


@every_lock
def test_a_portals_lock_agrees_with_the_manifests_that_it_was_made_from(recipe: NpmPackages) -> None:
    assert len(_manifests(BACKSTAGE)) >= 3
    for where, manifest in _manifests(recipe).items():
        for kind in ("dependencies", "devDependencies"):
            assert _locked(recipe)[where].get(kind, {}) == manifest.get(kind, {})


@every_lock
def test_the_portals_dependencies_are_exact_and_every_locked_package_has_its_digest(recipe: NpmPackages) -> None:
    wanted = {version for manifest in _manifests(recipe).values() for version in manifest.get("dependencies", {}).values()}
    assert [version for version in wanted if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []
    fetched = {
        where: package
        for where, package in _locked(recipe).items()
        if "node_modules/" in where and not package.get("link") and not package.get("inBundle")
    }
    assert len(fetched) > (30 if recipe.name == "room-proxy" else 500)
    assert [where for where, package in fetched.items() if not package.get("integrity", "").startswith("sha512-")] == []


@every_lock
def test_a_portals_lock_holds_no_addresses(recipe: NpmPackages) -> None:
    assert {where: package["resolved"] for where, package in _locked(recipe).items() if "://" in package.get("resolved", "")} == {}


def test_the_lowest_accepted_node_is_what_the_portal_asks_for() -> None:
    engines = json.loads((BACKSTAGE.root / "package.json").read_text())["engines"]
    assert engines["node"] == f">={PINS['node'].at_least}"


def test_pinning_files_hold_no_addresses_and_no_folders_of_a_machine() -> None:
    files = [recipe.folder / name for recipe in GO_PROGRAMS for name in ("go.mod", "go.sum")]
    files += [recipe.requirements for recipe in WHEELS]
    for file in files:
        text = file.read_text()
        assert "://" not in text
        assert not re.search(r"=> [./]|/(home|root|tmp|work)/", text)


def test_a_cache_key_changes_with_what_shapes_a_program_and_not_with_words() -> None:
    assert dataclasses.replace(KEYCLOAK, options=("--db=postgres",)).key() != KEYCLOAK.key()
    assert dataclasses.replace(KUBECTL, ldflags="-s -w").key() != KUBECTL.key()
    assert dataclasses.replace(KEYCLOAK, takes="an hour").key() == KEYCLOAK.key()


def test_the_key_of_the_portals_packages_changes_with_its_manifests_and_not_with_its_sources(tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json", "packages/one/package.json", "packages/one/index.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    recipe = dataclasses.replace(BACKSTAGE, folder=str(tmp_path))
    before = recipe.key()
    (tmp_path / "packages/one/index.js").write_text("changed")
    assert recipe.key() == before
    (tmp_path / "packages/one/package.json").write_text('{"changed": 1}')
    assert recipe.key() != before


def test_the_key_of_the_portals_pages_changes_with_their_sources_and_not_with_what_a_build_leaves(tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json", "src/index.jsx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    recipe = dataclasses.replace(PAGES, folder=str(tmp_path))
    before = recipe.key()
    for name in ("node_modules/one/index.js", "dist/index.html"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("left by a build")
    assert recipe.key() == before
    (tmp_path / "src/index.jsx").write_text("changed")
    assert recipe.key() != before
