"""Every lab in a real JupyterLab, as ``make lab`` opens it: run all, on a copy, in order, in one home; what was seen is kept.

The exercises stay untouched, as for somebody who only looks around. The screenshots are below ``build/screenshots/labs``.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
import pytest
import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from labkit.lab import Lab
from labkit.settings import find_root
from labkit.steps import LABS, the_lab

from ..browsing import SCREENSHOTS, chromium
from ..support import home_of_its_own, wait_for

SHOTS = SCREENSHOTS / "labs"
RUN_SECONDS = 600
# As in the tests of the portal's pages: nothing takes as long when all is well.
expect.set_options(timeout=30_000)
TALLEST = 16_000
"""What Chromium can put into one picture."""

# JupyterLab gives errors and what is written to stderr the same type.
_TROUBLE = "[data-mime-type='application/vnd.jupyter.stderr']"
_UNRENDERED = ("Error displaying widget", "Error creating widget", "Loading widget", "VBox(children=", "HBox(children=")
_DONE = f"""total => document.querySelector("{_TROUBLE}") !== null
    || Array.from(document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")).filter(p => /\\[\\d+\\]/.test(p.innerText)).length === total"""
_SETTINGS = {
    # With the browser's own preference, which a test can switch.
    "apputils-extension/themes": {"adaptive-theme": True},
    # Cells out of sight would otherwise be out of the page.
    "notebook-extension/tracker": {"windowingMode": "none"},
}


_WIDGETS = """\
import time
from itertools import count
from IPython.display import display
from labkit.display import Table
from labkit.errors import LabkitError
from labkit.widgets import Again, Countdown, Switcher

asked, expires = count(1), time.time() + 1

def ask():
    times = next(asked)
    if times > 2:
        raise LabkitError("asked once too often", fix="stop asking")
    return Table(("answer",), ((f"asked {times} times",),))

def renew():
    global expires
    expires = time.time() + 60

display(Again(ask, "Ask again"))
display(Switcher({"first": Table(("which",), (("the first one",),)), "second": Table(("which",), (("the second one",),))}))
display(Countdown("It", lambda: expires, renew))
"""


@dataclass
class JupyterLab:
    """A JupyterLab that ``labkit lab`` has opened, and somebody's browser."""

    pid: int
    url: str
    token: str
    work: Path
    browser: Browser
    complaints: list[str] = field(default_factory=list)

    def open(self, name: str) -> Page:
        """A lab in a page of its own; ready once its kernel is idle."""
        page = self.browser.new_page(viewport={"width": 1400, "height": 1000}, locale="en-GB", reduced_motion="reduce")
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"{self.url}/lab/workspaces/{name}/tree/{name}.ipynb?token={self.token}")
        expect(page.get_by_text(re.compile(r"Python 3 \(ipykernel\) \| Idle"))).to_be_visible(timeout=90_000)
        return page

    def run_all(self, page: Page, name: str) -> None:
        """Run all cells from the menu, and wait for the last one or the first trouble."""
        cells = nbformat.read(self.work / f"{name}.ipynb", as_version=4).cells
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_function(_DONE, arg=sum(cell.cell_type == "code" for cell in cells), timeout=1000 * RUN_SECONDS)

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """What ``make lab`` starts, in a checkout that has the notebooks only, with a home and settings of its own."""
    folder = tmp_path_factory.mktemp("jupyterlab")
    shutil.copytree(find_root(Path(__file__)) / "notebooks", folder / "notebooks")
    for name, settings in _SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    token = secrets.token_urlsafe(16)
    config = folder / "config" / "jupyter_server_config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"ServerApp": {"open_browser": False, "port": 0}}))
    own = {name: str(folder / name.lower()) for name in ("DATA_DIR", "RUNTIME_DIR")}
    own |= {"CONFIG_DIR": str(config.parent), "TOKEN": token}
    env = {**os.environ, **{f"JUPYTER_{name}": value for name, value in own.items()}}
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces")}
    shutil.rmtree(SHOTS, ignore_errors=True)
    SHOTS.mkdir(parents=True)
    with home_of_its_own(folder / "home") as home, sync_playwright() as playwright, (folder / "log").open("w") as log:
        browser = chromium(playwright, folder)
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "labkit", "lab"],
            cwd=folder,
            env={**env, "LABKIT_HOME": str(home)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(lambda: server.poll() is not None or _answering(folder / "runtime_dir", server.pid) != "", seconds=120)
            url = _answering(folder / "runtime_dir", server.pid)
            assert url, (folder / "log").read_text()[-3000:]
            yield JupyterLab(server.pid, url, token, folder / "work", browser)
        finally:
            browser.close()
            server.terminate()
            server.wait(timeout=60)
            Lab.open().down()


def _answering(runtime: Path, pid: int) -> str:
    """The address of the JupyterLab that is this process, once it answers."""
    file = runtime / f"jpserver-{pid}.json"
    if not file.exists():
        return ""
    told = json.loads(file.read_text())
    url = f"http://localhost:{told['port']}"
    try:
        return url if requests.get(f"{url}/api", timeout=10).ok else ""
    except requests.RequestException:
        return ""


@pytest.fixture(scope="module")
def passed() -> list[str]:
    """The labs that have passed so far, and those that can't be run here."""
    return []


def test_make_lab_opens_at_the_first_lab_beside_all_the_others(jupyterlab: JupyterLab) -> None:
    page = jupyterlab.browser.new_page(viewport={"width": 1400, "height": 1000}, locale="en-GB")
    page.goto(f"{jupyterlab.url}/?token={jupyterlab.token}")
    expect(page.get_by_role("heading", name="00 · Start here")).to_be_visible(timeout=90_000)
    for info in LABS:
        expect(page.get_by_role("listitem", name=re.compile(rf"Name: {info.name}\.ipynb"))).to_be_visible()
    page.screenshot(path=SHOTS / "opening.png")
    page.close()


def test_a_terminal_in_it_finds_labkit_and_a_kubectl_and_nobody_is_asked_about_news(jupyterlab: JupyterLab) -> None:
    path = psutil.Process(jupyterlab.pid).environ()["PATH"]
    assert shutil.which("labkit", path=path) == str(Path(sys.executable).with_name("labkit"))
    assert shutil.which("kubectl", path=path) == str(Lab.open().toolchain.ensure("kubectl")["kubectl"].path)
    asked = f"{jupyterlab.url}/lab/api/settings/@jupyterlab/apputils-extension:notification"
    declared = requests.get(asked, params={"token": jupyterlab.token}, timeout=30).json()["schema"]["properties"]
    assert (declared["fetchNews"]["default"], declared["checkForUpdates"]["default"]) == ("false", False)


def test_widgets_are_reached_and_used_by_the_keyboard_alone_and_show_what_goes_wrong(jupyterlab: JupyterLab) -> None:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(_WIDGETS)], metadata=kernel)
    nbformat.write(notebook, jupyterlab.work / "widgets.ipynb")
    page = jupyterlab.open("widgets")
    jupyterlab.run_all(page, "widgets")
    shown = page.locator(".jp-OutputArea")
    expect(shown).to_contain_text("asked 1 times")
    go_to(page, "Ask again")
    page.keyboard.press("Enter")
    expect(shown).to_contain_text("asked 2 times")
    page.keyboard.press("Space")
    expect(shown.get_by_role("alert")).to_have_text("✘ asked once too often\n  fix: stop asking")
    go_to(page, "second")
    page.keyboard.press("Space")
    expect(shown).to_contain_text("the second one")
    go_to(page, "Renew")
    expect(shown).to_contain_text("expired")
    page.keyboard.press("Enter")
    expect(shown).to_contain_text(re.compile(r"0 min \d\d s from now"))
    page.screenshot(path=SHOTS / "widgets.png")
    page.close()
    (jupyterlab.work / "widgets.ipynb").unlink()


def go_to(page: Page, button: str) -> None:
    """Press Tab until the button of that name has the focus."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText").strip() == button:
            return
    pytest.fail(f"Tab does not lead to {button}")


SHOWN = [info.name for info in LABS if info.name != "07-break-and-fix"]
"""Lab 07 takes minutes, most of them for servers that start; nbval and the headless run go through it, and it has no widgets."""


@pytest.mark.parametrize("name", SHOWN)
def test_a_lab_runs_through_in_jupyterlab_without_an_error_or_a_widget_that_is_not_drawn(
    name: str, jupyterlab: JupyterLab, passed: list[str]
) -> None:
    before = SHOWN[: len(passed)]
    assert passed == before, f"not tried: {before[-1]} has not passed"
    if lacks := the_lab(name).lacks(Lab.open()):
        passed.append(name)
        pytest.skip(f"{name} not run, because {lacks}")
    page = jupyterlab.open(name)
    try:
        jupyterlab.run_all(page, name)
    finally:
        shoot(page, name)
    assert page.locator(_TROUBLE).all_inner_texts() == []
    shown = "\n".join(page.locator(".jp-OutputArea").all_inner_texts())
    assert [words for words in _UNRENDERED if words in shown] == []
    assert jupyterlab.complaints == []
    page.close()
    passed.append(name)


def shoot(page: Page, name: str) -> None:
    """The whole notebook, in light and in dark."""
    panel = page.locator(".jp-WindowedPanel-outer")
    page.set_viewport_size({"width": 1400, "height": min(panel.evaluate("panel => panel.scrollHeight") + 120, TALLEST)})
    panel.evaluate("panel => panel.scrollTo(0, 0)")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(f"body[data-jp-theme-light='{'true' if scheme == 'light' else 'false'}']")).to_be_attached()
        page.screenshot(path=SHOTS / f"{name}-{scheme}.png", animations="disabled")
