"""The labs in a real JupyterLab, as ``make lab`` opens it: on a copy, in a state folder of its own; what was seen is kept."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import nbformat
import requests
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, ViewportSize, expect

from labkit.common.ownership import make_private
from labkit.config.settings import find_root
from labkit.config.state_folder import StateFolder
from labkit.lab import Lab

from .browsing import SCREENSHOTS, chromium, driver
from .support import own_state_folder, wait_for

SHOTS = SCREENSHOTS / "labs"
RUN_SECONDS = 600
# As in the tests of the portal's pages: nothing takes as long when all is well.
expect.set_options(timeout=30_000)
SIZE: ViewportSize = {"width": 1400, "height": 1000}
TALLEST = 16_000
"""What Chromium can put into one picture."""

_NOTEBOOK = ".jp-NotebookPanel:not(.lm-mod-hidden)"
# JupyterLab gives errors and what is written to stderr the same type.
_TROUBLE = f"{_NOTEBOOK} [data-mime-type='application/vnd.jupyter.stderr']"
_UNRENDERED = ("Error displaying widget", "Error creating widget", "Loading widget", "VBox(children=", "HBox(children=")
_DONE = f"""total => document.querySelector("{_TROUBLE}") !== null
    || Array.from(document.querySelectorAll("{_NOTEBOOK} .jp-CodeCell .jp-InputPrompt"))
        .filter(p => /\\[\\d+\\]/.test(p.innerText)).length === total"""
_SETTINGS = {
    # With the browser's own preference, which a test can switch.
    "apputils-extension/themes": {"adaptive-theme": True},
    # Cells out of sight would otherwise be out of the page.
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@dataclass
class JupyterLab:
    """A JupyterLab that ``labkit lab`` has opened, and somebody's browser."""

    pid: int
    url: str
    token: str
    work: Path
    browser: BrowserContext
    complaints: list[str] = field(default_factory=list)
    page: Page | None = None

    def open(self, name: str) -> Page:
        """A lab in a page of its own; ready once its kernel is idle."""
        page = self.browser.new_page()
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"{self.url}/lab/workspaces/{name}/tree/{name}.ipynb?token={self.token}")
        await_kernel(page)
        return page

    def run_all(self, page: Page, name: str) -> None:
        """Run all cells from the menu, and wait for the last one or the first trouble."""
        start_all(page)
        await_all(page, self.work / f"{name}.ipynb")

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def run_through(self, name: str) -> None:
        """Run a lab from its first cell to its last: there may be no error, no widget that is not drawn, no complaint of the browser's."""
        page = self.page = self._next(name)
        try:
            self.run_all(page, name)
        finally:
            # Nobody looks at those of a whole run.
            if "PYTEST_XDIST_WORKER" not in os.environ:
                _shoot(page, name)
        assert trouble(page) == []
        shown = "\n".join(page.locator(f"{_NOTEBOOK} .jp-OutputArea").all_inner_texts())
        assert shown
        assert [words for words in _UNRENDERED if words in shown] == []
        assert self.complaints == []

    def _next(self, name: str) -> Page:
        """A lab beside the one before, as a learner opens it, and as JupyterLab does not have to be loaded anew for."""
        if self.page is None:
            return self.open(name)
        self.page.get_by_role("listitem", name=re.compile(rf"Name: {name}\.ipynb")).dblclick()
        expect(self.page.locator(".jp-mod-current .lm-TabBar-tabLabel")).to_have_text(f"{name}.ipynb")
        # Until then the status bar may show the lab before.
        expect(self.page.locator(f"{_NOTEBOOK} [data-status=idle]")).to_be_attached(timeout=90_000)
        await_kernel(self.page)
        return self.page


@contextmanager
def opened(folder: Path) -> Iterator[JupyterLab]:
    """What ``make lab`` starts, in a checkout that has the notebooks and docs only, with a state folder and settings of its own.

    Args:
        folder: An empty folder for all of that.
    """
    for name in ("notebooks", "docs"):
        shutil.copytree(find_root(Path(__file__)) / name, folder / name)
    token = secrets.token_urlsafe(16)
    make_private(SHOTS)
    with own_state_folder(folder / "home") as home, driver() as playwright, (folder / "log").open("w") as log:
        jupyter = StateFolder(home).jupyter
        _configure(jupyter, token)
        browser = chromium(playwright, folder)
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "labkit", "lab"],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(lambda: server.poll() is not None or _answering(jupyter / "runtime", server.pid) != "", seconds=120)
            url = _answering(jupyter / "runtime", server.pid)
            assert url, (folder / "log").read_text()[-3000:]
            context = browser.new_context(viewport=SIZE, locale="en-GB", reduced_motion="reduce")
            yield JupyterLab(server.pid, url, token, folder / "work", context)
        finally:
            browser.close()
            server.terminate()
            server.wait(timeout=60)
            Lab.open().down()


def start_all(page: Page) -> None:
    """Run all cells from the menu."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def await_all(page: Page, notebook: Path) -> None:
    """Wait for the last cell of a notebook, or the first trouble."""
    cells = nbformat.read(notebook, as_version=4).cells
    # Twice a second: by default it would be asked at every frame, and each answer has the page laid out.
    page.wait_for_function(_DONE, arg=sum(cell.cell_type == "code" for cell in cells), polling=500, timeout=1000 * RUN_SECONDS)


def trouble(page: Page) -> list[str]:
    """What went wrong in the notebook in front."""
    return page.locator(_TROUBLE).all_inner_texts()


def await_kernel(page: Page) -> None:
    """Wait until the notebook in front can be worked with."""
    expect(page.get_by_text(re.compile(r"Python 3 \(ipykernel\) \| Idle"))).to_be_visible(timeout=90_000)


def draw_all_cells(jupyter: Path) -> None:
    """Have JupyterLab, with this settings folder, keep cells that are out of sight in the page."""
    for name, settings in _SETTINGS.items():
        file = jupyter / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))


def _configure(jupyter: Path, token: str) -> None:
    draw_all_cells(jupyter)
    server = {"ServerApp": {"open_browser": False, "port": 0}, "IdentityProvider": {"token": token}}
    (jupyter / "jupyter_server_config.json").write_text(json.dumps(server))


def _answering(runtime: Path, pid: int) -> str:
    """The address of the JupyterLab that is this process, once it answers."""
    try:
        # JupyterLab may be in the middle of writing it.
        told = json.loads((runtime / f"jpserver-{pid}.json").read_text())
        url = f"http://localhost:{told['port']}"
        return url if requests.get(f"{url}/api", timeout=10).ok else ""
    except (FileNotFoundError, json.JSONDecodeError, requests.RequestException):
        return ""


def colour(page: Page, scheme: Literal["light", "dark"]) -> None:
    """Have JupyterLab in light or in dark."""
    page.emulate_media(color_scheme=scheme)
    expect(page.locator(f"body[data-jp-theme-light='{'true' if scheme == 'light' else 'false'}']")).to_be_attached()
    expect(page.locator("#jupyterlab-splash")).to_have_count(0)


def _shoot(page: Page, name: str) -> None:
    """The whole notebook, in light and in dark."""
    panel = page.locator(f"{_NOTEBOOK} .jp-WindowedPanel-outer")
    page.set_viewport_size({**SIZE, "height": min(panel.evaluate("panel => panel.scrollHeight") + 120, TALLEST)})
    panel.evaluate("panel => panel.scrollTo(0, 0)")
    for scheme in ("light", "dark"):
        colour(page, scheme)
        page.screenshot(path=SHOTS / f"{name}-{scheme}.png", animations="disabled")
    page.set_viewport_size(SIZE)
