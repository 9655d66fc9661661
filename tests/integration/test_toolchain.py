"""The real programs that a lab runs are what the toolchain says they are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from labkit.config.settings import Settings
from labkit.toolchain import Toolchain
from labkit.toolchain.pins import PINS

LAB_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "java", "keycloak", "node", "backstage")


@pytest.fixture(scope="module")
def cache(lab_folder: Path) -> Path:
    settings = Settings.load()
    assert settings.folder == lab_folder
    return settings.cache


def test_every_program_answers_with_the_version_it_is_listed_with(cache: Path) -> None:
    for name, program in Toolchain(cache).ensure(*LAB_PROGRAMS).items():
        answered = PINS[name].identify(program.path, os.environ, source=program.source)
        assert answered is not None
        assert answered.version == program.version
        assert PINS[name].accepts(program.version)


def test_having_programs_again_takes_no_time(cache: Path) -> None:
    tools = Toolchain(cache)
    first = tools.ensure(*LAB_PROGRAMS)
    started = time.monotonic()
    assert tools.ensure(*LAB_PROGRAMS) == first
    assert time.monotonic() - started < 1


def test_the_cached_keycloak_is_built_and_holds_no_data(cache: Path) -> None:
    keycloak = Toolchain(cache).ensure("keycloak")["keycloak"].path
    assert (keycloak / "lib" / "quarkus" / "build-system.properties").is_file()
    assert not (keycloak / "data").exists()


def test_the_cached_portal_holds_packages_and_no_source_of_ours(cache: Path) -> None:
    backstage = Toolchain(cache).ensure("backstage")["backstage"].path
    assert sorted(path.name for path in (backstage / "packages").glob("*/*")) == ["package.json", "package.json"]
    assert (backstage / "node_modules" / "better-sqlite3" / "prebuilds").is_dir()
