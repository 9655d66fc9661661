"""Signing in to the portal and out of it, when somebody else on this machine wants to take part."""

from __future__ import annotations

import base64
import json
import socket
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from labkit.identity.session import read_claims
from labkit.lab import Lab
from labkit.portal.client import PortalSession
from labkit.portal.server import Portal
from tests.support import wait_for


def ask_auth(portal: Portal, method: str, endpoint: str, cookies: dict[str, str], **headers: str) -> requests.Response:
    """Ask the portal's authentication as somebody who has these cookies, with no browser in between."""
    url = f"{portal.url}/api/auth/keycloak/{endpoint}?env=development&scope=openid"
    return requests.request(method, url, cookies=cookies, headers={"X-Requested-With": "XMLHttpRequest", **headers}, timeout=15)


def kept_by(session: PortalSession) -> tuple[dict[str, str], str]:
    """What the person's browser keeps: the cookies of the portal, and the key that its page has."""
    browser = session._browser
    return {str(c.name): str(c.value) for c in browser._session.cookies if c.path.startswith("/api/auth/keycloak")}, browser._key


@pytest.mark.fault(
    "Neighbours",
    "the portal's cookies in the hands of whoever listens on another port of localhost",
    "401: they renew nothing without the key that only the portal's own page has, and hold no token",
)
def test_a_cookie_that_is_replayed_renews_nothing(lab: Lab) -> None:
    cookies, key = kept_by(lab.portal.sign_in("user-admin"))
    other = lab.portal.sign_in("user-dev")
    assert f"labkit-{lab.settings.folder_id}-keycloak-refresh-token" in cookies
    assert not any("eyJ" in value for value in cookies.values())
    for wrong in ({}, {"X-Session-Key": ""}, {"X-Session-Key": "made-up"}, {"X-Session-Key": kept_by(other)[1]}):
        answer = ask_auth(lab.portal, "GET", "refresh", cookies, **wrong)
        assert (answer.status_code, "eyJ" in answer.text) == (401, False)
    assert ask_auth(lab.portal, "GET", "refresh", {}, **{"X-Session-Key": key}).status_code == 401
    assert ask_auth(lab.portal, "GET", "refresh", cookies, **{"X-Session-Key": key}).ok


@pytest.mark.fault("Neighbours", "a cookie of one portal at another, key and all", "401: each knows only what it has given out itself")
def test_a_cookie_is_worth_nothing_at_another_portal(lab: Lab, second_portal: Portal) -> None:
    cookies, key = kept_by(lab.portal.sign_in("user-admin"))
    theirs = kept_by(second_portal.sign_in("user-admin"))[0]
    assert not set(cookies) & set(theirs)
    renamed = dict(zip(sorted(theirs), (cookies[name] for name in sorted(cookies)), strict=True))
    for sent in (cookies, renamed):
        assert ask_auth(second_portal, "GET", "refresh", sent, **{"X-Session-Key": key}).status_code == 401
    assert ask_auth(lab.portal, "GET", "refresh", cookies, **{"X-Session-Key": key}).ok


def unsigned(claims: dict[str, str]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims))
    return ".".join((*parts, ""))


@pytest.mark.fault(
    "Neighbours",
    "a sign-out by somebody who knows the id of the session, or has its cookie",
    "nothing: handle and key count, and nothing else",
)
def test_nobody_else_signs_one_out(lab: Lab) -> None:
    session = lab.portal.sign_in("user-admin")
    cookies, key = kept_by(session)
    forged = unsigned({"sid": (read_claims(session.keycloak_tokens[1]) or {})["sid"]})
    prefix = f"labkit-{lab.settings.folder_id}-"
    for sent in ({"keycloak-refresh-token": forged}, {f"{prefix}keycloak-refresh-token": forged}, cookies):
        ask_auth(lab.portal, "POST", "logout", sent)
        assert session.ask("GET", "ske/session")["user"] == "user-admin"
    session.renew()
    session.sign_out()
    assert ask_auth(lab.portal, "GET", "refresh", cookies, **{"X-Session-Key": key}).status_code == 401


@pytest.mark.fault("Neighbours", "a foreign name that was made to lead to the portal (DNS rebinding)", "421, for every route")
@pytest.mark.parametrize("path", ["/", "/api/auth/guest/refresh", "/api/ske/session", "/.backstage/health/v1/readiness", "/nothing"])
def test_the_portal_answers_to_its_own_names_only(lab: Lab, path: str) -> None:
    port = urlsplit(lab.portal.url).port
    headers = {"X-Requested-With": "XMLHttpRequest"}
    for host in (f"evil.example:{port}", "evil.example", f"localhost.evil.example:{port}", "localhost:1", ""):
        answer = requests.get(f"{lab.portal.url}{path}", headers={**headers, "Host": host}, timeout=15)
        assert (answer.status_code, "token" in answer.text) == (421, False), host
    for host in (f"localhost:{port}", f"127.0.0.1:{port}"):
        assert requests.get(f"{lab.portal.url}{path}", headers={**headers, "Host": host}, timeout=15).status_code != 421


@pytest.mark.fault("Neighbours", "a WebSocket under a foreign name", "421")
def test_an_upgrade_is_asked_for_its_host_too(lab: Lab) -> None:
    with socket.create_connection(("127.0.0.1", lab.settings.ports["portal"]), timeout=15) as connection:
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
        connection.sendall(f"GET /api/kubernetes/proxy/api HTTP/1.1\r\nHost: evil.example\r\n{upgrade}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 421 ")


def forged_state(**fields: str) -> str:
    """What Backstage takes for the state of a sign-in: anybody can write one."""
    return urlencode({"nonce": "n", "env": "development", **fields}).encode().hex()


@pytest.mark.fault(
    "Neighbours",
    "a sign-in that is to lead to somebody else's page",
    "403 before Keycloak is asked; and once more where Keycloak's answer comes in, whatever is wrong with it",
)
def test_a_sign_in_leads_back_to_the_portal_only(lab: Lab) -> None:
    def asked(endpoint: str, **params: str) -> requests.Response:
        url = f"{lab.portal.url}/api/auth/keycloak/{endpoint}"
        return requests.get(url, params={"env": "development", **params}, allow_redirects=False, timeout=15)

    for elsewhere in ("https://example.org/", "http://localhost:9/", f"{lab.portal.url}@example.org/", f"{lab.portal.url}.example.org/"):
        redirect = {"flow": "redirect", "redirectUrl": elsewhere}
        for answer in (asked("start", scope="openid", **redirect), asked("handler/frame", state=forged_state(**redirect))):
            assert answer.status_code == 403
            assert "Location" not in answer.headers
            assert "leads back to" in answer.json()["error"]["message"]
    own = {"flow": "redirect", "redirectUrl": f"{lab.portal.url}/create"}
    assert asked("start", scope="openid", **own).headers["Location"].startswith(f"{lab.keycloak.issuer}/")
    assert asked("handler/frame", state=forged_state(**own)).headers["Location"].startswith(f"{lab.portal.url}/create?error=")


@pytest.mark.fault("Exposure", "an authorization code in the portal's log", "none gets there: a request is logged without its query")
def test_the_portals_log_holds_no_code(lab: Lab) -> None:
    lab.portal.sign_in("user-dev")
    log = lab.processes.log_file("portal")
    wait_for(lambda: "handler/frame" in log.read_text())
    assert "code=" not in log.read_text()
