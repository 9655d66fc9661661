"""Rooms of the tests: with people who come to them in a browser, all at once."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from labkit.cli.browsers import CHROMIUM_STORE, NssStore
from labkit.config.state_folder import open_state_folder
from labkit.room.room import Room

from .browsing import chromium, driver
from .support import labkit, own_state_folder

PATIENCE = 120_000


@contextmanager
def room_of(folder: Path, *names: str) -> Iterator[Room]:
    """A room for these people, whose seats are this process's user's."""
    with own_state_folder(folder / "home") as home:
        open_state_folder(home / "room", environ={}, free_ports=True)
        try:
            done = labkit("room", "up", *names, "--seats-are-not-separated")
            assert done.returncode == 0, done.stderr
            yield Room.open()
        finally:
            labkit("room", "down")


class Address(Protocol):
    """Where a room is, and what people who come there have to know."""

    @property
    def url(self) -> str:
        """What they open."""

    @property
    def ca(self) -> Path:
        """Whom they trust."""


@contextmanager
def trusting(room: Address, home: Path, host: str = "") -> Iterator[Browser]:
    """Chromium, which trusts the room's authority, and finds a ``host`` as `chromium` has it."""
    if shutil.which("certutil") is None:
        pytest.skip("there is no certutil to tell Chromium of the room's authority: make browser")
    NssStore("Chromium", home / CHROMIUM_STORE).add("room", room.ca)
    # What Playwright asks by itself, in a page's name, it asks by Node.
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("NODE_EXTRA_CA_CERTS", str(room.ca))
        launched = chromium(stack.enter_context(driver()), home, host)
        yield launched
        launched.close()


def come(browser: Browser, room: Room, *names: str) -> list[BrowserContext]:
    """People come with their cards, at once, and choose passwords of their own at Keycloak."""
    return come_with(json.loads(room.people.passwords.read_text()), browser, room, *names)


def come_with(cards: Mapping[str, str], browser: Browser, room: Address, *names: str) -> list[BrowserContext]:
    """As `come`, where the cards are given."""
    pages = {name: browser.new_context().new_page() for name in names}
    for page in pages.values():
        page.set_default_timeout(PATIENCE)
        page.goto(f"{room.url}/hub/login")
    for name, page in pages.items():
        page.locator("#username").fill(name)
        page.locator("#password").fill(cards[name])
        page.locator("#kc-login").click(no_wait_after=True)
    for name, page in pages.items():
        for field in ("#password-new", "#password-confirm"):
            page.locator(field).fill(f"{name}-chose-this-1")
        page.locator("[type=submit]").click(no_wait_after=True)
    for page in pages.values():
        page.wait_for_url(re.compile(rf"^{room.url}/(hub|user)/.*"))
        page.context.set_default_timeout(PATIENCE)
        page.close()
    return [page.context for page in pages.values()]


def start_seat(who: BrowserContext, room: Address, name: str) -> Page:
    """JupyterLab of somebody's seat, which is started if need be."""
    page = who.new_page()
    page.goto(f"{room.url}/hub/spawn", wait_until="commit")
    page.wait_for_url(f"{room.url}/user/{name}/lab/**", timeout=PATIENCE)
    return page
