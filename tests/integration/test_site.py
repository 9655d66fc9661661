"""The site as a reader's browser shows it, made from this checkout by ``make docs-site``."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.browsing import SCREENSHOTS, chromium, driver
from tests.hostile import friendly

ROOT = Path(__file__).resolve().parents[2]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the site."""
    done = subprocess.run(["make", "docs-site"], cwd=ROOT, env=friendly(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=ROOT / "build/site"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with driver() as playwright, chromium(playwright, tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.mark.parametrize("width", [1366, 683, 420, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_site_in_a_browser(site: str, browser: Browser, scheme: str, width: int) -> None:
    """Pages fit the window, at 200 % (683) too, in both themes, ask no other host for anything; axe finds nothing serious on them."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index", "labs/05-access", "reading/troubleshooting"):
        page.goto(f"{site}/{name}.html", wait_until="networkidle")
        page.screenshot(path=SCREENSHOTS / "site" / f"{name.replace('/', '-')}-{width}-{scheme}.png")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if width in (1366, 320):
            # Below 720 pixels the theme has one layout.
            found = Axe().run(page).response["violations"]
            assert {rule["id"]: rule["nodes"][0]["html"] for rule in found if rule["impact"] in {"serious", "critical"}} == {}
    context.close()
    assert [url for url in asked if not url.startswith((site, "data:", "blob:"))] == []


def test_a_keyboard_sees_where_it_is_on_the_site(site: str, browser: Browser) -> None:
    """Each stop is outlined, or stands in what is; the first leads past the menu."""
    page = browser.new_page()
    page.goto(f"{site}/labs/05-access.html", wait_until="networkidle")
    outlined = "(e) => [e, e.closest('form') ?? e].some((each) => getComputedStyle(each).outlineStyle !== 'none')"
    stops: list[tuple[str, bool]] = []
    while len(stops) < 30:
        page.keyboard.press("Tab")
        here = page.locator(":focus")
        stops.append((here.evaluate("(e) => e.textContent.trim()"), here.evaluate(outlined)))
    assert stops[0][0] == "Skip to content"
    assert [text for text, shown in stops if not shown] == []
    page.close()


def test_search(site: str, browser: Browser) -> None:
    """Who types a word finds the lab that explains it."""
    page = browser.new_page()
    page.goto(f"{site}/index.html", wait_until="networkidle")
    page.keyboard.press("Control+k")
    page.keyboard.type("SelfSubjectAccessReview")
    page.locator("a[href*='labs/05-access.html']").filter(visible=True).filter(has_text="SelfSubjectAccessReview").first.wait_for()
    page.close()
