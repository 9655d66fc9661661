"""Every lab in a real JupyterLab, as ``make lab`` opens it: run all, on a copy, in order, in one state folder; what was seen is kept.

The exercises stay untouched, as for somebody who only looks around. The screenshots are below ``build/screenshots/labs``.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
import requests
import zmq
from playwright.sync_api import Page, expect

from labkit.config.state_folder import StateFolder
from labkit.course.steps import LABS, the_lab
from labkit.lab import Lab

from ..jupyterlab import SHOTS, JupyterLab, opened
from ..support import QUICK_LABS

_WIDGETS = """\
import time
from itertools import count
from IPython.display import display
from labkit.common.display import Table
from labkit.common.errors import LabkitError
from labkit.common.problems import Problem
from labkit.common.widgets import Again, Countdown, Switcher

asked, expires = count(1), time.time() + 1

def ask():
    times = next(asked)
    if times > 2:
        raise LabkitError(Problem("asked-too-often", "asked once too often", fix="stop asking"))
    return Table(("answer",), ((f"asked {times} times",),))

def renew():
    global expires
    expires = time.time() + 60

display(Again(ask, "Ask again"))
display(Switcher({"first": Table(("which",), (("the first one",),)), "second": Table(("which",), (("the second one",),))}))
display(Countdown("It", lambda: expires, renew))
"""


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """One for all of these tests."""
    shutil.rmtree(SHOTS, ignore_errors=True)
    with opened(tmp_path_factory.mktemp("jupyterlab")) as jupyterlab:
        yield jupyterlab


@pytest.fixture(scope="module")
def passed() -> list[str]:
    """The labs that have passed so far, and those that can't be run here."""
    return []


def test_make_lab_opens_at_the_first_lab_beside_all_the_others(jupyterlab: JupyterLab) -> None:
    page = jupyterlab.browser.new_page()
    page.goto(f"{jupyterlab.url}/?token={jupyterlab.token}")
    expect(page.get_by_role("heading", name="00 · Start here")).to_be_visible(timeout=90_000)
    for info in LABS:
        expect(page.get_by_role("listitem", name=re.compile(rf"Name: {info.name}\.ipynb"))).to_be_visible()
    page.screenshot(path=SHOTS / "opening.png")
    page.close()


def test_a_term_leads_to_its_place_in_the_glossary(jupyterlab: JupyterLab) -> None:
    page = jupyterlab.open("01-keycloak")
    page.get_by_role("link", name="password grant").click()
    expect(page.locator(".jp-MarkdownViewer").get_by_role("heading", name="password grant")).to_be_in_viewport()
    page.screenshot(path=SHOTS / "glossary.png")
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


@pytest.mark.fault("Exposure", "another person on the machine listens at a kernel's port while cells run", "nothing is heard")
def test_nobody_else_hears_what_a_cell_shows(jupyterlab: JupyterLab) -> None:
    page = jupyterlab.open("00-start-here")
    connections = (StateFolder(Path(psutil.Process(jupyterlab.pid).environ()["LABKIT_HOME"])).jupyter / "runtime").glob("kernel-*.json")
    ports = {json.loads(file.read_text())["iopub_port"] for file in connections}
    assert ports
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.subscribe(b"")
        listener.rcvtimeo = 10_000
        for port in ports:
            listener.connect(f"tcp://127.0.0.1:{port}")
        # A kernel says that it is busy, and whatever its cells show.
        page.locator(".jp-CodeCell").first.click()
        page.keyboard.press("Control+Enter")
        expect(page.locator(".jp-OutputArea-output").first).to_be_visible(timeout=60_000)
        with pytest.raises(zmq.Again):
            listener.recv_multipart()
    page.close()


def go_to(page: Page, button: str) -> None:
    """Press Tab until the button of that name has the focus."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText").strip() == button:
            return
    pytest.fail(f"Tab does not lead to {button}")


@pytest.mark.parametrize("name", QUICK_LABS)
def test_a_lab_runs_through_in_jupyterlab_without_an_error_or_a_widget_that_is_not_drawn(
    name: str, jupyterlab: JupyterLab, passed: list[str]
) -> None:
    before = QUICK_LABS[: len(passed)]
    assert passed == before, f"not tried: {before[-1]} has not passed"
    if lacks := the_lab(name).lacks(Lab.open()):
        passed.append(name)
        pytest.skip(f"{name} not run, because {lacks}")
    jupyterlab.run_through(name)
    passed.append(name)
