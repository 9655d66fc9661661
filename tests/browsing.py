"""A real browser for the tests that need one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from labkit.common.ownership import make_private
from labkit.config.settings import find_root

from .hostile import friendliness, friendly

SCREENSHOTS = find_root(Path(__file__)) / "build" / "screenshots"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def driver() -> Iterator[Playwright]:
    """Playwright, whose driver is a Node of its own."""
    # Else Playwright makes it, with whatever umask a test has, and a run of the labs refuses a build/ that others may write to.
    make_private(SCREENSHOTS)
    starting = sync_playwright()
    with friendliness():
        started = starting.__enter__()
    try:
        yield started
    finally:
        starting.__exit__()


def chromium(playwright: Playwright, home: Path, host: str = "") -> Browser:
    """Start Chromium with a home directory of its own; skips the test where there is none.

    Args:
        playwright: What drives it.
        home: The folder in which it keeps its profile, and looks for certificates.
        host: A name that it knows besides localhost, with the address that it leads to: "room.test 172.18.0.2".
    """
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None and not Path(playwright.chromium.executable_path).exists():
        pytest.skip("there is no Chromium: make browser")
    return playwright.chromium.launch(
        executable_path=found,
        chromium_sandbox=os.geteuid() != 0,
        # Whatever it or a page wants to know of the world outside, it can't ask.
        args=["--disable-quic", f"--host-resolver-rules={f'MAP {host}, ' if host else ''}MAP * ~NOTFOUND, EXCLUDE localhost"],
        env={**friendly(), "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)},
    )
