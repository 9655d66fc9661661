"""Browsers' certificate stores: real ones, in a home directory of the test's own, looked into with NSS's own tool."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from labkit.cli.browsers import CHROMIUM_STORE, NssStore, stores
from labkit.common.errors import TrustError
from labkit.servers.certificates import Certificates

NAME = "labkit lab CA test"


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return Certificates(tmp_path / "tls").authority("servers")


@pytest.fixture
def store(tmp_path: Path) -> NssStore:
    if shutil.which("certutil") is None:
        pytest.skip("there is no certutil: make browser")
    return next(stores(tmp_path))


def listed(store: NssStore) -> str:
    return subprocess.run(["certutil", "-L", "-d", f"sql:{store.folder}"], capture_output=True, text=True, check=True).stdout


def test_an_authority_is_trusted_for_servers_only_and_gone_when_removed(store: NssStore, authority: Path) -> None:
    store.add(NAME, authority)
    assert f"{NAME:<61}C,," in listed(store)
    assert store.has(NAME)
    assert store.remove(NAME)
    assert NAME not in listed(store)
    assert not store.has(NAME)
    assert not store.remove(NAME)


def test_a_new_authority_of_the_same_name_takes_the_old_ones_place(store: NssStore, authority: Path, tmp_path: Path) -> None:
    store.add(NAME, authority)
    store.add(NAME, Certificates(tmp_path / "other").authority("servers"))
    assert listed(store).count(NAME) == 1


def test_a_store_that_was_there_keeps_what_else_is_in_it(store: NssStore, authority: Path, tmp_path: Path) -> None:
    store.add("somebody's", Certificates(tmp_path / "other").authority("servers"))
    store.add(NAME, authority)
    store.remove(NAME)
    assert "somebody's" in listed(store)


def test_what_is_no_certificate_is_refused_with_certutils_words(store: NssStore, tmp_path: Path) -> None:
    (tmp_path / "no.crt").write_text("no certificate")
    with pytest.raises(TrustError, match="store of Chromium can't be changed") as caught:
        store.add(NAME, tmp_path / "no.crt")
    assert "certutil" in caught.value.why


def test_the_stores_are_chromiums_and_one_for_each_profile_of_firefox(tmp_path: Path) -> None:
    profile = tmp_path / ".mozilla/firefox/abc.default"
    profile.mkdir(parents=True)
    assert [store.folder for store in stores(tmp_path)] == [tmp_path / CHROMIUM_STORE]
    (profile / "cert9.db").touch()
    assert [store.browser for store in stores(tmp_path)] == ["Chromium", "Firefox (abc.default)"]


def test_without_certutil_it_is_said_what_to_install(authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrustError, match="no certutil") as caught:
        next(stores(tmp_path)).add(NAME, authority)
    assert "libnss3-tools" in caught.value.fix
