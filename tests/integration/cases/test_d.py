"""Kind D: what is excepted from a proxy in either spelling stays excepted in both, and a star means everything."""

from __future__ import annotations

import os

import pytest
from requests.utils import get_environ_proxies

from labkit.common.environment import ask_loopback_directly


@pytest.mark.parametrize("spelling", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(
    ("excepted", "url", "is_asked_directly"),
    [
        (".corp.example.com,10.0.0.0/8", "https://sso.corp.example.com", True),
        (".corp.example.com,10.0.0.0/8", "https://10.1.2.3:6443", True),
        (".corp.example.com", "https://localhost:8443", True),
        (".corp.example.com", "https://elsewhere.example", False),
        ("*", "https://elsewhere.example", True),
        (" * ", "https://localhost:8443", True),
    ],
)
def test_an_exception_holds_in_both_spellings(
    monkeypatch: pytest.MonkeyPatch, spelling: str, excepted: str, url: str, is_asked_directly: bool
) -> None:
    """B03, B50: adding localhost to one spelling must not make what the other one excepts go through the proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # so that what is written there now is removed at the end
        monkeypatch.delenv(name)
    monkeypatch.setenv(spelling, excepted)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    ask_loopback_directly()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"]
    assert (get_environ_proxies(url).get("https") is None) == is_asked_directly
