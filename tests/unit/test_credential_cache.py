"""The tokens that ``labkit credential`` keeps."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from labkit.common.platform_folder import find
from labkit.config.settings import Settings
from labkit.course.steps import STEPS
from labkit.identity.credential_cache import CredentialCache
from labkit.lab import Lab


def test_a_kept_token_counts_as_long_as_it_has_time_left_and_the_realm_is_the_same(tmp_path: Path) -> None:
    environ = {"LABKIT_HOME": str(tmp_path / "home")}
    cache = CredentialCache(Settings.open(environ))
    cache.keep("user-dev", "an ID token", "a refresh token", int(time.time()) + 20)
    assert cache.credential("user-dev") == ""
    assert cache.kept("user-dev") is not None
    cache.keep("user-dev", "an ID token", "a refresh token", int(time.time()) + 300)
    assert "an ID token" in cache.credential("user-dev")
    assert cache.credential("user-admin") == ""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "realm.yaml").write_text(find("realm.yaml").read_text() + "# another realm")
    elsewhere = {"LABKIT_KEYCLOAK_URL": "https://sso.example.com", "LABKIT_KEYCLOAK_ADMIN_SECRET": "secret"}
    for other in ({"LABKIT_WORKSHOP": str(mine)}, elsewhere):
        assert CredentialCache(Settings.open({**environ, **other})).credential("user-dev") == ""


@pytest.mark.fault("Tokens", "the realm is made anew while `labkit credential` keeps tokens of the old one", "they are forgotten with it")
def test_tokens_of_a_realm_that_is_erased_are_not_kept(tmp_path: Path) -> None:
    lab = Lab(Settings.open({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_CLUSTER": "local"}))
    lab.credentials.keep("user-dev", "an ID token", "a refresh token", int(time.time()) + 300)
    undo = STEPS["keycloak"].undo
    assert undo
    undo(lab)
    assert lab.credentials.kept("user-dev") is None
