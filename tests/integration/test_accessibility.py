"""The page over the executed labs, for somebody who sees little, uses a keyboard alone, or has colours of their own; no server runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from labkit.cluster.access import AccessMatrix, Answer
from labkit.cluster.api import Identity
from labkit.common.display import Displayed, Finding, Findings, Table
from labkit.common.widgets import Again, Switcher
from labkit.course.page import write_page
from labkit.course.pictures.chain import Link, TrustChain
from labkit.course.questions import question
from labkit.course.runner import LabResult
from labkit.course.steps import LABS
from labkit.course.steps.doing import CheckReport
from labkit.lab import Lab
from labkit.portal.token_way import TokenWay
from tests.browsing import SCREENSHOTS, chromium, driver
from tests.hostile import friendly
from tests.support import labkit

ROOT = Path(__file__).resolve().parents[2]
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_ANSWERS = (Answer("dev", "secrets", "get", True, False), Answer("dev", "secrets", "create", False, False))
_WIDE = Table(("", "what a cell says"), (("one", "word " * 30), ("two", "x" * 200)), "A table", "and a note")
OUTPUTS: list[Displayed] = [
    _WIDE,
    Findings("What was looked at", (Finding(True, "one"), Finding(False, "two", "do this"))),
    CheckReport("An exercise", (Finding(False, "not done"),), "auditor", "a hint"),
    AccessMatrix({"dev": Identity("dev@b.example", ("kube-dev",))}, _ANSWERS),
    TokenWay("memory", "portal"),
    TrustChain(
        (Link("Keycloak", True, "answers", (("issuer", "https://localhost"),), "keys"), Link("Portal", False, "is silent", (("a", "b"),)))
    ),
    question("01-keycloak"),
    Again(lambda: _WIDE),
    Switcher({"first": _WIDE, "second": _WIDE}),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page over two labs, with an output of each kind below their code."""
    folder, labs = tmp_path_factory.mktemp("labs"), []
    for info in (LABS[1], LABS[6]):
        notebook = nbformat.read(ROOT / "notebooks" / f"{info.name}.ipynb", as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for number, cell in enumerate(code):
            shown = OUTPUTS[number % len(OUTPUTS)]
            cell.execution_count = number
            cell.outputs = [
                nbformat.v4.new_output("stream", text="1 of 1\n" + "a-long-path/" * 30),
                nbformat.v4.new_output("execute_result", shown._repr_mimebundle_(), execution_count=number),
            ]
        nbformat.write(notebook, folder / f"{info.name}.ipynb")
        labs.append(LabResult(info.name, ok=True))
    write_page(folder, labs)
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with driver() as playwright, chromium(playwright, tmp_path_factory.mktemp("browser")) as started:
        yield started


def opened(browser: Browser, address: str, width: int = 1366, **settings: object) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, **settings)  # type: ignore[arg-type]
    page.goto(address)
    return page


def test_axe_finds_nothing_that_wcag_asks_for(browser: Browser, address: str) -> None:
    found = Axe().run(opened(browser, address), options={"runOnly": WCAG}).response["violations"]
    assert {rule["id"]: [node["html"][:200] for node in rule["nodes"]][:3] for rule in found} == {}


@pytest.mark.parametrize("width", [683, 320])
def test_at_200_percent_and_in_a_narrow_window_nothing_is_cut_off(browser: Browser, address: str, width: int) -> None:
    """A window of 683 is one of 1366 at 200 %, 320 one of 1280 at 400 %. A wide table may be scrolled, and a keyboard does that."""
    page = opened(browser, address, width)
    page.screenshot(path=SCREENSHOTS / f"labs-page-{width}.png", full_page=True)
    beyond = "(e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('svg')"
    assert page.evaluate(f"[...document.querySelectorAll('body *')].filter({beyond}).map((e) => e.outerHTML.slice(0, 200))") == []


def test_a_keyboard_reaches_what_can_be_pressed_and_nothing_else_and_shows_where_it_is(browser: Browser, address: str) -> None:
    page = opened(browser, address)
    pressable = "[...document.querySelectorAll('a[href], summary')].filter((e) => e.checkVisibility({visibilityProperty: true}))"
    there = page.evaluate(f"{pressable}.map((e) => e.outerHTML)")
    met = []
    for _ in there:
        page.keyboard.press("Tab")
        html, outline = page.evaluate("[document.activeElement.outerHTML, getComputedStyle(document.activeElement).outlineStyle]")
        assert outline != "none", html
        met.append(html)
    assert met == there
    folded = page.locator("details").first
    folded.locator("summary").focus()
    page.keyboard.press("Enter")
    assert folded.get_attribute("open") is not None
    page.locator("a[href='#06-portal']").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('06-portal').getBoundingClientRect().top") < 900


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_colours_of_the_readers_own_pictures_still_tell(browser: Browser, address: str, scheme: str) -> None:
    """The system's colours replace the page's: words take them, and a mark keeps another colour than the area that it is on."""
    page = opened(browser, address, forced_colors="active", color_scheme=scheme)
    page.screenshot(path=SCREENSHOTS / f"labs-page-forced-{scheme}.png", full_page=True)
    fills = "[...document.querySelectorAll('svg g')].map((g) => [...g.querySelectorAll('rect, text')].map((e) => getComputedStyle(e).fill))"
    marks = page.evaluate(fills)
    assert marks
    assert [each for each in marks if each[-1] == each[-2]] == []
    drawn = page.evaluate("[...document.querySelectorAll('svg text[fill=currentColor]')].map((e) => getComputedStyle(e).fill)")
    assert set(drawn) == {page.evaluate("getComputedStyle(document.body).color")}
    assert set(drawn) == {{"light": "rgb(0, 0, 0)", "dark": "rgb(255, 255, 255)"}[scheme]}


def test_lab_01_can_be_done_in_a_terminal(idle_lab: Lab, tmp_path: Path) -> None:
    """As docs/accessibility.md says: the lab as text, its code in IPython, its checks by labkit."""
    programs = str(Path(sys.executable).parent)
    convert = [f"{programs}/jupyter", "nbconvert", "--to", "markdown", "--output-dir", str(tmp_path), "notebooks/01-keycloak.ipynb"]
    subprocess.run(convert, cwd=ROOT, env=friendly(), check=True, capture_output=True)
    cells = re.findall(r"^```python\n(.*?)^```", (tmp_path / "01-keycloak.md").read_text(), re.DOTALL | re.MULTILINE)
    assert cells
    script = tmp_path / "typed.py"
    script.write_text("".join(f"get_ipython().run_cell({cell!r}).raise_error()\n" for cell in cells))
    command = [f"{programs}/ipython", "--simple-prompt", "--colors=nocolor", "--no-banner", str(script)]
    env = {**friendly(), "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "✔ " in done.stdout, done.stdout + done.stderr
    assert "<table" not in done.stdout
    checked = labkit("check", "01")
    assert checked.returncode == 0, checked.stdout
    assert "hint" in labkit("check", "auditor").stdout
