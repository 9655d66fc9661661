"""The portal's pages in a real browser: who one is, what one makes, and what one may not.

The screenshots of this walk are kept below ``build/screenshots``.
"""

from __future__ import annotations

import http.server
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from keycloak import KeycloakAdmin
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright, expect

from labkit.cli.browsers import CHROMIUM_STORE, NssStore
from labkit.common.http_session import request
from labkit.common.platform_folder import OWN
from labkit.lab import Lab
from labkit.portal.server import Portal
from labkit.toolchain import Toolchain

from ..browsing import SCREENSHOTS, chromium, driver
from ..support import wait_for

NAMESPACE = "pages-tests"
SCHEMES: tuple[Literal["dark", "light"], ...] = ("light", "dark")
# A busy machine with two cores: nothing here takes as long when all is well.
expect.set_options(timeout=30_000)


@dataclass
class Visitor:
    """Somebody with a browser of their own: cookies and storage are shared with nobody."""

    lab: Lab
    context: BrowserContext
    page: Page
    asked: set[str] = field(default_factory=set)

    @classmethod
    def come(cls, lab: Lab, browser: Browser) -> Visitor:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", reduced_motion="reduce")
        context.set_default_timeout(30_000)
        visitor = cls(lab, context, context.new_page())
        context.on("request", lambda request: visitor.asked.add(request.url))
        return visitor

    def shoot(self, name: str, page: Page | None = None) -> None:
        (page or self.page).screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    def go(self, path: str = "/") -> None:
        self.page.goto(f"{self.lab.portal.url}{path}")

    def menu(self, name: str) -> None:
        self.page.get_by_role("navigation", name="sidebar nav").get_by_role("link", name=name).click()

    def provider(self, name: str) -> Locator:
        """A provider's button on the sign-in page."""
        return self.page.get_by_role("listitem").filter(has_text=name).get_by_role("button")

    def through_keycloak(self, opener: Locator, username: str, screenshot: str = "") -> None:
        """Press what opens Keycloak's page, and sign in there."""
        with self.page.expect_popup() as opened:
            opener.click()
        keycloak = opened.value
        keycloak.locator("#username").fill(username)
        keycloak.locator("#password").fill(self.lab.workshop.user(username).password.get_secret_value())
        if screenshot:
            self.shoot(screenshot, keycloak)
        assert keycloak.url.startswith(f"{self.lab.keycloak.url}/")
        with keycloak.expect_event("close"):
            keycloak.locator("#kc-login").click()

    def sign_in(self, username: str, screenshot: str = "") -> None:
        self.go()
        self.through_keycloak(self.provider("Sign in using Keycloak"), username, screenshot)
        expect(self.fact("In Keycloak")).to_have_text(username)

    def sign_out(self) -> None:
        self.menu("Settings")
        self.page.get_by_test_id("user-settings-menu").click()
        self.page.get_by_test_id("sign-out").click()
        expect(self.provider("Sign in using Keycloak")).to_be_visible()

    def fact(self, name: str) -> Locator:
        """What one of our cards tells under this name."""
        return self.page.locator(f"dt:text-is('{name}') + dd")

    def fill_in(self, name: str, screenshot: str = "", **data: str) -> None:
        """Fill in the form of the template ConfigMap, and have it done."""
        page = self.page
        self.menu("Create")
        title = page.get_by_role("heading", name="ConfigMap", exact=True)
        expect(title).to_be_visible()
        if screenshot:
            self.shoot(f"{screenshot}-templates")
        # Other tests may have registered templates of their own.
        page.locator(".MuiCard-root").filter(has=title).get_by_role("button", name="Choose").click()
        page.get_by_label("Name", exact=False).first.fill(name)
        page.get_by_label("Namespace").fill(NAMESPACE)
        page.get_by_role("button", name="Next").click()
        for row, (key, value) in enumerate(data.items()):
            page.get_by_role("button", name="Add Item").click()
            named = page.get_by_label("Key", exact=True).nth(row)
            expect(page.get_by_label("Value", exact=True).nth(row)).to_have_value("")
            named.fill(key)
            # The form knows the key once the field is left.
            named.blur()
            page.locator(f"[id='root_data_{key}']").fill(value)
            expect(page.get_by_label("Value", exact=True).nth(row)).to_have_value(value)
        if screenshot:
            self.shoot(f"{screenshot}-form")
        page.get_by_role("button", name="Review").click()
        page.get_by_role("button", name="Create", exact=True).click()
        page.wait_for_url("**/create/tasks/**")

    def look_at(self, name: str, kind: str = "ConfigMap") -> None:
        """Open the page of one object of the cluster."""
        self.go(f"/resource?{urlencode({'apiVersion': 'v1', 'kind': kind, 'namespace': NAMESPACE, 'name': name})}")

    def delete(self, screenshot: str = "") -> None:
        delete = self.page.get_by_role("button", name="Delete", exact=True)
        if screenshot:
            accessible(self, opens=delete)
        delete.click()
        sure = self.page.get_by_role("button", name="Delete it")
        expect(sure).to_be_visible()
        if screenshot:
            self.shoot(screenshot)
        sure.click()

    def row(self, key: str) -> Locator:
        """The value under a key in the shown object's data."""
        return self.page.get_by_role("row", name=key).get_by_role("cell")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with driver() as started:
        yield started


@pytest.fixture(scope="module")
def browser(lab: Lab, playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, which trusts the lab's authority because it is in the store of the browser's own home directory."""
    if shutil.which("certutil") is None:
        pytest.skip("there is no certutil to tell Chromium of the lab's authority: make browser")
    home = tmp_path_factory.mktemp("browser")
    NssStore("Chromium", home / CHROMIUM_STORE).add("lab", lab.keycloak.ca)
    launched = chromium(playwright, home)
    for earlier in SCREENSHOTS.glob("*.png"):
        earlier.unlink()
    yield launched
    launched.close()


@pytest.fixture(scope="module")
def portal(lab: Lab) -> Iterator[Lab]:
    """The portal with its pages, our templates, and a namespace to make things in."""
    assert lab.toolchain.find("pages"), "the portal's pages are not built: labkit setup --ui"
    lab.cluster.admin_kubectl("create", "namespace", NAMESPACE)
    admin = lab.portal.sign_in("user-admin")
    for template in ("configmap.yaml", "reader.yaml"):
        admin.register_template(OWN / "templates" / template)
    admin.sign_out()
    yield lab
    lab.cluster.admin_kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def come(portal: Lab, browser: Browser) -> Iterator[Callable[[], Visitor]]:
    """Lets people come, who leave again; none of them has asked anything of anybody but this machine."""
    visitors: list[Visitor] = []

    def one() -> Visitor:
        visitors.append(Visitor.come(portal, browser))
        return visitors[-1]

    yield one
    for visitor in visitors:
        visitor.context.close()
    asked = {urlsplit(url) for visitor in visitors for url in visitor.asked}
    assert asked
    assert {url.hostname for url in asked if url.scheme not in ("data", "blob")} == {"localhost"}


def accessible(visitor: Visitor, opens: Locator | None = None) -> None:
    """Axe finds nothing wrong with what is ours on the page, in light and in dark: our cards, or the dialog that a button opens."""
    for scheme in SCHEMES:
        # The page is drawn anew, without its dialog.
        visitor.page.emulate_media(color_scheme=scheme)
        expect(visitor.page.locator(f"body[data-theme-mode={scheme}]")).to_be_visible()
        expect(visitor.page.locator(".bui-Container").locator("dt, [role=status], [role=alert]").first).to_be_visible()
        if opens:
            opens.click()
            expect(visitor.page.get_by_role("dialog")).to_be_visible()
        found = Axe().run(visitor.page, context={"include": [["[role=dialog]" if opens else ".bui-Container"]]})
        assert found.violations_count == 0, found.generate_report()
        if opens:
            visitor.page.keyboard.press("Escape")
    visitor.page.emulate_media(color_scheme="light")


def test_the_administrator_makes_changes_and_deletes_a_config_map(come: Callable[[], Visitor]) -> None:
    visitor = come()
    page = visitor.page
    visitor.go()
    expect(visitor.provider("Enter as a Guest User")).to_be_visible()
    visitor.shoot("01-sign-in")
    visitor.sign_in("user-admin", "02-keycloak")
    expect(visitor.fact("Groups")).to_have_text("kube-admin")
    expect(visitor.fact("Token valid until")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d; it is renewed"))
    expect(visitor.fact("In the portal")).to_have_text("user:default/user-admin")
    visitor.shoot("03-admin-you")
    accessible(visitor)

    visitor.menu("Settings")
    page.get_by_role("link", name="user-admin").first.hover()
    visitor.shoot("04-admin-settings")
    page.get_by_role("link", name="user-admin").first.click()
    expect(page.get_by_role("heading", name="user-admin")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/catalog/default/user/user-admin"))

    visitor.fill_in("mine", "05-admin", colour="blue", size="large")
    see = page.get_by_role("link", name="See it in the cluster")
    expect(page.get_by_text(f"configmaps/{NAMESPACE}/mine").first).to_be_visible()
    expect(see).to_be_visible()
    visitor.shoot("06-admin-task")
    see.click()
    expect(visitor.row("colour")).to_have_text("blue")
    visitor.shoot("07-admin-resource")
    accessible(visitor)

    watcher = visitor.context.new_page()
    watcher.goto(page.url)
    visitor.fill_in("mine", colour="red")
    # Nobody touches this one: it follows by itself.
    expect(watcher.get_by_role("row", name="colour").get_by_role("cell")).to_have_text("red")
    expect(watcher.get_by_role("row", name="size")).to_have_count(0)

    see.click()
    expect(visitor.row("colour")).to_have_text("red")
    visitor.delete("08-admin-delete")
    expect(page.get_by_role("status")).to_contain_text("Deleted")
    visitor.shoot("09-admin-deleted")
    accessible(visitor)
    expect(watcher.get_by_role("status")).to_contain_text('configmaps "mine" not found')

    visitor.sign_out()
    visitor.go()
    expect(visitor.provider("Sign in using Keycloak")).to_be_visible()


def press(page: Page, name: str, key: str = "Enter") -> None:
    """Press Tab until what is called so has the focus, and shows it; then a key."""
    called = "(e) => [e.ariaLabel, e.title, e.innerText, e.id].some((each) => each?.trim().toUpperCase() === NAME)"

    def has_focus() -> bool:
        page.keyboard.press("Tab")
        return bool(page.evaluate(f"({called.replace('NAME', repr(name.upper()))})(document.activeElement)"))

    # By time, and not by a number of keys: a page draws itself more than once when it is loaded.
    wait_for(has_focus)
    if page.evaluate("document.activeElement.tagName") != "INPUT":
        look = page.evaluate("(({outlineStyle, boxShadow}) => [outlineStyle, boxShadow])(getComputedStyle(document.activeElement))")
        assert look != ["none", "none"], name
    page.keyboard.press(key)


def test_who_has_a_keyboard_alone_signs_in_fills_in_the_form_and_is_refused(portal: Lab, come: Callable[[], Visitor]) -> None:
    visitor = come()
    page = visitor.page
    visitor.go()
    expect(visitor.provider("Sign in using Keycloak")).to_be_visible()
    with page.expect_popup() as opened:
        press(page, "Sign in")
    expect(opened.value.locator("#username")).to_be_focused()
    opened.value.keyboard.type("user-dev")
    opened.value.keyboard.press("Tab")
    opened.value.keyboard.type(portal.workshop.user("user-dev").password.get_secret_value())
    with opened.value.expect_event("close"):
        opened.value.keyboard.press("Enter")
    expect(visitor.fact("In Keycloak")).to_have_text("user-dev")
    page.set_viewport_size({"width": 320, "height": 900})
    # The menu moves below the page a moment later.
    beyond = "[...document.querySelectorAll('.bui-Container :is(a, dd)')].filter((e) => e.getBoundingClientRect().right > innerWidth)"
    page.wait_for_function(f"{beyond}.length == 0")
    page.set_viewport_size({"width": 1280, "height": 900})
    press(page, "Create something")
    # The cards are not in a certain order where other tests have registered templates of their own.
    expect(page.get_by_role("heading", name="ConfigMap", exact=True)).to_be_visible()
    visitor.go("/create/templates/default/configmap")
    expect(page.locator("#root_name")).to_be_focused()
    page.keyboard.type("by-keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(NAMESPACE)
    press(page, "Next")
    expect(page.get_by_role("button", name="Add Item")).to_be_visible()
    press(page, "Review")
    expect(page.get_by_role("button", name="Create", exact=True)).to_be_visible()
    # A link of the menu has that name as well.
    press(page, "Back", "Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/create/tasks/**")
    expect(page.get_by_text("403 Forbidden").first).to_be_visible()


def test_a_button_may_have_the_focus_as_soon_as_it_is_there(portal: Lab, come: Callable[[], Visitor]) -> None:
    """As of who presses Tab while the page is drawn."""
    visitor = come()
    focus = "() => document.querySelector('button')?.focus()"
    visitor.page.add_init_script(f"new MutationObserver({focus}).observe(document, {{childList: true, subtree: true}})")
    visitor.go()
    expect(visitor.provider("Sign in using Keycloak")).to_be_focused()


def test_two_people_at_once_are_each_themselves_and_a_refusal_bears_the_name_of_who_asked(portal: Lab, come: Callable[[], Visitor]) -> None:
    admin, dev = come(), come()
    admin.sign_in("user-admin")
    dev.sign_in("user-dev")
    for visitor, name, group in ((admin, "user-admin", "kube-admin"), (dev, "user-dev", "kube-dev")):
        visitor.go()
        expect(visitor.fact("In Keycloak")).to_have_text(name)
        expect(visitor.fact("Groups")).to_have_text(group)

    admin.fill_in("theirs", colour="blue")
    expect(admin.page.get_by_role("link", name="See it in the cluster")).to_be_visible()
    dev.fill_in("theirs", "10-dev", colour="red")
    refusal = 'User "user-dev@kratix.io" cannot patch resource "configmaps"'
    expect(dev.page.get_by_text("403 Forbidden").first).to_be_visible()
    expect(dev.page.locator("body")).to_contain_text(refusal)
    dev.shoot("11-dev-task")

    dev.look_at("theirs")
    expect(dev.row("colour")).to_have_text("blue")
    dev.delete()
    alert = dev.page.get_by_role("alert")
    expect(alert).to_contain_text("403 Forbidden: the API server knows you and says no")
    expect(alert).to_contain_text('User "user-dev@kratix.io" cannot delete resource "configmaps"')
    expect(alert).to_contain_text("It bears the name user-dev@kratix.io")
    dev.shoot("12-dev-delete")
    accessible(dev)
    expect(dev.row("colour")).to_have_text("blue")

    admin.look_at("theirs")
    admin.delete()
    expect(admin.page.get_by_role("status")).to_contain_text("Deleted")
    expect(dev.page.get_by_role("status")).to_contain_text("Not there")


def test_a_guest_learns_what_is_missing_and_makes_nothing(portal: Lab, come: Callable[[], Visitor]) -> None:
    visitor = come()
    visitor.go()
    visitor.provider("Enter as a Guest User").click()
    expect(visitor.fact("In the portal")).to_have_text("user:development/guest")
    expect(visitor.page.get_by_role("status")).to_contain_text("There is no Keycloak token of yours here")
    visitor.shoot("13-guest-you")
    accessible(visitor)

    assert visitor.page.get_by_role("link", name=re.compile("^Create")).count() == 0
    visitor.menu("Catalog")
    visitor.go("/catalog?filters[kind]=template")
    expect(visitor.page.get_by_role("link", name="ConfigMap", exact=True)).to_be_visible()
    visitor.shoot("14-guest-catalog")
    visitor.page.get_by_role("link", name="ConfigMap", exact=True).click()
    expect(visitor.page.get_by_role("heading", name="ConfigMap", exact=True)).to_be_visible()
    # The card is an error where it holds a link to a form that is not there.
    expect(visitor.page.get_by_text("About", exact=True)).to_be_visible()
    for address in ("/create/templates/default/configmap", "/create", "/nowhere"):
        visitor.go(address)
        expect(visitor.page.get_by_role("heading", name="404: there is no such page for you")).to_be_visible()
        expect(visitor.page.get_by_role("button", name="Sign in anew")).to_be_visible()
    visitor.shoot("15-guest-nowhere")
    accessible(visitor)
    visitor.page.get_by_role("link", name="See the catalog").click()
    expect(visitor.page.get_by_role("heading", name="Catalog", exact=True, level=1)).to_be_visible()

    visitor.look_at("kube-root-ca.crt")
    expect(visitor.page.get_by_role("status")).to_contain_text("the portal acts with nobody else's")
    visitor.shoot("16-guest-resource")
    visitor.page.get_by_role("button", name="Sign in anew").click()
    expect(visitor.provider("Sign in using Keycloak")).to_be_visible()


def test_a_tasks_page_has_a_title_before_its_template_is_known(come: Callable[[], Visitor]) -> None:
    visitor = come()
    visitor.sign_in("user-dev")
    visitor.context.route("**/api/scaffolder/v2/tasks/*", lambda route: route.abort())
    visitor.go("/create/tasks/00000000-0000-4000-8000-000000000000")
    expect(visitor.page.get_by_role("heading", name="Task", exact=True)).to_be_visible()


def test_a_token_is_renewed_while_a_page_is_open_and_a_session_that_has_ended_is_begun_anew(
    portal: Lab, come: Callable[[], Visitor], keycloak_admin: Callable[[], KeycloakAdmin]
) -> None:
    visitor = come()
    visitor.page.clock.install()
    visitor.sign_in("user-dev")
    # Tokens live for five minutes, and the page believes its clock.
    with visitor.page.expect_response(lambda response: "/api/auth/keycloak/refresh" in response.url) as renewal:
        visitor.page.clock.fast_forward("04:00")
    assert renewal.value.ok
    expect(visitor.fact("In Keycloak")).to_have_text("user-dev")

    realm = keycloak_admin()
    realm.change_current_realm(portal.workshop.realm.name)
    user_id = str(realm.get_user_id("user-dev"))
    realm.user_logout(user_id)
    with visitor.page.expect_response(lambda response: "/api/auth/keycloak/refresh" in response.url) as refused:
        visitor.page.clock.fast_forward("04:00")
    assert refused.value.status == 401
    anew = visitor.page.get_by_role("button", name="Log in", exact=True)
    expect(anew).to_be_visible()
    visitor.shoot("17-session-ended")
    visitor.through_keycloak(anew, "user-dev")
    expect(anew).to_have_count(0)
    expect(visitor.fact("In Keycloak")).to_have_text("user-dev")

    realm.user_logout(user_id)
    visitor.page.reload()
    expect(visitor.provider("Sign in using Keycloak")).to_be_visible()


def test_the_platforms_page_shows_the_cluster_as_its_reader_may_see_it(portal: Lab, come: Callable[[], Visitor]) -> None:
    portal.cluster.admin_kubectl("create", "deployment", "drawn", "--image=none", "--replicas=0", "-n", NAMESPACE)
    portal.cluster.admin_kubectl("label", "deployment", "drawn", "kratix.io/managed-by=backstage", "-n", NAMESPACE)
    visitor = come()
    visitor.sign_in("user-dev")
    visitor.go("/catalog/default/component/platform/kubernetes")
    cluster = visitor.page.get_by_role("button", name=portal.cluster.endpoint.name)
    cluster.click()
    expect(visitor.page.get_by_text("drawn").first).to_be_visible()
    visitor.shoot("18-dev-platform")


def test_a_browser_that_was_not_told_of_the_labs_authority_refuses_keycloaks_page(
    portal: Lab, playwright: Playwright, browser: Browser, tmp_path: Path
) -> None:
    assert browser
    other = chromium(playwright, tmp_path)
    try:
        with pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
            other.new_page().goto(portal.keycloak.url)
    finally:
        other.close()


def test_without_its_pages_the_portal_says_how_to_get_them_and_works(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    find = Toolchain.find
    with monkeypatch.context() as patch:
        patch.setattr(Toolchain, "find", lambda self, name: None if name == "pages" else find(self, name))
        lab.portal.start()
        front = request("GET", lab.portal.url, timeout=10)
        assert front.headers["Content-Type"].startswith("text/html")
        assert ".venv/bin/labkit setup --ui" in front.text
        assert request("GET", f"{lab.portal.url}/catalog", timeout=10).status_code == 404
        assert lab.portal.sign_in("user-dev").whoami().username == "user-dev@kratix.io"
    lab.portal.start()
    assert "labkit setup" not in request("GET", lab.portal.url, timeout=10).text
    notices = request("GET", f"{lab.portal.url}/third-party-notices.txt", timeout=10).text
    assert re.search(r"^react-dom \d", notices, re.MULTILINE)
    assert "Apache License" in notices


class Listener(http.server.ThreadingHTTPServer):
    """Somebody else's server on another port of localhost, which writes down what browsers bring it."""

    def __init__(self) -> None:
        listener = self
        self.paths: list[str] = []
        self.cookies: dict[str, str] = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.paths.append(self.path)
                listener.cookies |= {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("Cookie", "")).items()}
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server_port}"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.fault(
    "Neighbours",
    "a browser that is led to another port of localhost, which gets the portal's cookies",
    "what they hold renews nothing: 401",
)
def test_what_a_browser_brings_to_another_port_is_worth_nothing_there(portal: Lab, come: Callable[[], Visitor], listener: Listener) -> None:
    visitor = come()
    visitor.sign_in("user-admin")
    visitor.page.goto(f"{listener.url}/api/auth/keycloak/x")
    assert f"labkit-{portal.settings.folder_id}-keycloak-refresh-token" in listener.cookies
    assert not any("eyJ" in value for value in listener.cookies.values())
    # Its own page has no key, be it in the same browser.
    assert visitor.page.evaluate("localStorage.length") == 0
    url = f"{portal.portal.url}/api/auth/keycloak/refresh?env=development"
    replayed = request("GET", url, cookies=listener.cookies, headers={"X-Requested-With": "XMLHttpRequest"}, timeout=15)
    assert replayed.status_code == 401
    visitor.go()
    expect(visitor.fact("In Keycloak")).to_have_text("user-admin")


@pytest.mark.fault(
    "Neighbours", "a link that leads a signed-in browser through the portal's sign-in to somebody else's page", "403, and it stays"
)
def test_a_sign_in_leads_a_browser_to_nobody_elses_page(portal: Lab, come: Callable[[], Visitor], listener: Listener) -> None:
    visitor = come()
    visitor.sign_in("user-dev")
    ways = {
        "start": {"scope": "openid", "flow": "redirect", "redirectUrl": listener.url},
        "handler/frame": {
            "state": urlencode({"nonce": "n", "env": "development", "flow": "redirect", "redirectUrl": listener.url}).encode().hex()
        },
    }
    for endpoint, params in ways.items():
        visitor.go(f"/api/auth/keycloak/{endpoint}?{urlencode({'env': 'development', **params})}")
        expect(visitor.page.locator("body")).to_contain_text("leads back to")
        assert visitor.page.url.startswith(portal.portal.url)
    assert listener.paths == []


@pytest.mark.fault("Neighbours", "two portals of one person in one browser", "each keeps its own, also when one signs out")
def test_two_portals_in_one_browser_do_not_sign_each_other_out(portal: Lab, second_portal: Portal, come: Callable[[], Visitor]) -> None:
    visitor = come()
    visitor.sign_in("user-admin")
    # Keycloak would take the same person for granted.
    visitor.context.clear_cookies(path=re.compile("^/realms/"))
    second = copy(portal)
    second.portal = second_portal
    other = Visitor(second, visitor.context, visitor.context.new_page())
    other.sign_in("user-dev")
    for one, name in ((visitor, "user-admin"), (other, "user-dev")):
        one.go()
        expect(one.fact("In Keycloak")).to_have_text(name)
    other.sign_out()
    visitor.go()
    expect(visitor.fact("In Keycloak")).to_have_text("user-admin")


def test_after_a_restart_of_the_portal_a_page_asks_to_sign_in_and_does_not_go_on_asking(portal: Lab, come: Callable[[], Visitor]) -> None:
    visitor = come()
    visitor.sign_in("user-dev")
    portal.portal.stop()
    portal.portal.start()
    renewals: list[int] = []
    visitor.page.on("response", lambda response: renewals.append(response.status) if "/keycloak/refresh" in response.url else None)
    visitor.page.reload()
    expect(visitor.provider("Sign in using Keycloak")).to_be_visible()
    visitor.page.wait_for_load_state("networkidle")
    assert set(renewals) == {401}
    assert len(renewals) <= 2
    # In Keycloak the session goes on, so no password is asked for.
    visitor.provider("Sign in using Keycloak").click()
    expect(visitor.fact("In Keycloak")).to_have_text("user-dev")
