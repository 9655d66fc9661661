"""Signing in to the portal as a browser does: every redirect, form and cookie of it, over HTTP.

The way (OpenID Connect Core 1.0, section 3.1): the portal's ``start`` sends the browser to Keycloak, Keycloak shows its form, the form's
answer sends the browser back to the portal's ``handler/frame`` with a code, which the portal exchanges for tokens. Its answer is for the
page that opened the window: the Backstage token, Keycloak's tokens, and a key. The browser gets a cookie besides. Cookie and key together
renew the session by ``refresh``; the refresh token stays in the portal.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

import requests

from ..common.errors import NotSignedIn, PortalError, PortalUnreachable, SignInRefused
from ..common.exchanges import Exchange
from ..common.http_session import HttpSession, Unproxied
from ..identity.keycloak import Keycloak
from ..workshop.workshop import User
from .answers import refused
from .config import PROVIDER

if TYPE_CHECKING:
    from bs4 import Tag

_SCOPE = "openid profile email"
_TIMEOUT_SECONDS = 60
_REMEMBERED = 200
_ANSWER = re.compile(r"var authResponse = decodeURIComponent\('([^']*)'\)")
_TITLE = "#kc-page-title"
_AT_FIELD = "[id^=input-error]:not([id*=container])"
_PAGES = 10


@dataclass(frozen=True)
class SignedIn:
    """What the portal told the browser; its ``repr`` shows no token.

    Attributes:
        user_ref: Who the portal takes the person for, such as ``user:default/user-admin``.
        owns_as: The entities as which they own things.
        backstage_token: The portal's own token.
        id_token: Keycloak's ID token, for the cluster; empty for a guest.
        access_token: Keycloak's access token, which the portal itself uses; empty for a guest.
        expires: When the first of these expires, in seconds since 1970 (UTC).
    """

    user_ref: str
    owns_as: tuple[str, ...]
    backstage_token: str = field(repr=False)
    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    expires: float


class Browser:
    """One browser: its cookies, and where it signs in.

    Args:
        url: The portal's address for browsers.
        keycloak: Where it signs in.
        absent: Gives the error to raise while the portal does not run.
        server: The portal's own address, if a proxy stands before it; what is sent to ``url`` goes there.
        provider: ``guest`` signs in nowhere.

    Attributes:
        exchanges: The last of what it asked the portal and Keycloak.
    """

    def __init__(
        self, url: str, keycloak: Keycloak, absent: Callable[[], PortalUnreachable | None], server: str = "", provider: str = PROVIDER
    ) -> None:
        self._url, self._keycloak, self._absent, self._provider = url, keycloak, absent, provider
        self.exchanges: deque[Exchange] = deque(maxlen=_REMEMBERED)
        self._key = ""
        self._session = HttpSession()
        if server not in ("", url):
            self._session.mount(f"{url}/", Unproxied(url, server))

    def sign_in(self, user: User) -> SignedIn:
        """Go the whole way, and return what the page then has.

        Raises:
            PortalUnreachable: The portal does not answer.
            KeycloakUnreachable: Keycloak does not answer.
            SignInRefused: Keycloak says no.
            PortalError: The portal does not take what Keycloak said, or the way leads elsewhere than to Keycloak: no password is sent then.
        """
        start = self._auth("GET", "start", env="development", scope=_SCOPE, flow="popup", origin=_origin(self._url))
        if not start.is_redirect:
            # Asked now, since a Keycloak that is down is the likeliest cause.
            self._keycloak.discovery()
            raise refused(start, f"the portal can't begin to sign {user.username} in")
        back = self.send("GET", self._through_keycloak(user, start.headers["Location"]))
        found = _ANSWER.search(back.text)
        told = json.loads(unquote(found.group(1))) if found else {}
        if "response" not in told:
            words = told.get("error", {}).get("message") or f"it answered {back.status_code}"
            raise PortalError("portal-login-not-taken", user=user.username, words=words)
        self._key = told["response"]["profile"]["sessionKey"]
        return _signed_in(told["response"])

    def _through_keycloak(self, user: User, page: str) -> str:
        """Fill in Keycloak's pages from this one on, be it one form or one for each field, and return where it sends people then."""
        # All of Keycloak and nothing beside it: the proxy of a room has other people's servers at the same host.
        issuer = self._keycloak.issuer.partition("/realms/")[0]
        filled: dict[str, str] = {}
        left = {"username": user.username, "password": user.password.get_secret_value()}
        page = _expect_at(issuer, page, "the portal sends people to")
        for _ in range(_PAGES):
            answer = self._to_keycloak("POST" if filled else "GET", page, filled or None)
            if answer.is_redirect:
                page, filled = urljoin(page, answer.headers["Location"]), {}
                if not page.startswith(f"{issuer}/"):
                    return _expect_at(self._url, page, "Keycloak sends people back to")
                continue
            action, fields = login_form(answer.text, page, user.username, self._keycloak.issuer)
            filled = {name: left.pop(name) for name in fields if name in left}
            if not filled:
                words = _text(answer.text, ".kc-feedback-text", _TITLE) or f"it answered {answer.status_code}"
                # What is wrong with name or password stands at a field; what is wrong with the user does not.
                name = "portal-login-refused" if _text(answer.text, _AT_FIELD) else "portal-login-refused-user"
                raise SignInRefused(name, user=user.username, words=words, error="login_form")
            page = _expect_at(issuer, urljoin(page, action), "the login form is to be sent to")
        raise SignInRefused("portal-no-login-form", path=urlsplit(page).path, words=f"it showed {_PAGES} pages")

    def refresh(self) -> SignedIn:
        """What a page asks for when it is loaded, and again before a token expires.

        Raises:
            PortalUnreachable: The portal does not answer.
            NotSignedIn: There is no session that could be renewed.
        """
        answer = self._auth("GET", "refresh", env="development", scope=_SCOPE)
        if answer.status_code == requests.codes.unauthorized:
            raise NotSignedIn("portal-session-ended" if self._keycloak.is_running() else "portal-session-without-keycloak")
        if not answer.ok:
            raise refused(answer, "the portal does not renew the session")
        return _signed_in(answer.json())

    def sign_out(self) -> None:
        """End the session: the portal forgets its tokens, and Keycloak ends its session.

        Raises:
            PortalUnreachable: The portal does not answer.
            PortalError: It refuses.
        """
        answer = self._auth("POST", "logout", env="development")
        if not answer.ok:
            raise refused(answer, "the portal did not sign out")
        self._session.cookies.clear()

    def send(self, method: str, path: str, **more: Any) -> requests.Response:
        """Ask the portal for a path, or one of its addresses.

        Raises:
            PortalUnreachable: It does not answer.
        """
        return self._send("portal", method, path if path.startswith(f"{self._url}/") else self._url + path, **more)

    def note(self, server: str, answer: requests.Response, began: float) -> None:
        """Remember a request whose answer is complete by now."""
        what = f"{answer.request.method} {urlsplit(str(answer.request.url)).path}"
        times = began, time.time() - began
        self.exchanges.append(Exchange("browser", server, what, str(answer.status_code), *times, "measured by the browser, here labkit"))

    def _auth(self, method: str, endpoint: str, **params: str) -> requests.Response:
        # What only a script of the portal's own page can send: a form on a foreign page can't set a header, and does not know the key.
        headers = {"X-Requested-With": "XMLHttpRequest", "X-Session-Key": self._key}
        return self.send(method, f"/api/auth/{self._provider}/{endpoint}", headers=headers, params=params)

    def _to_keycloak(self, method: str, url: str, data: dict[str, str] | None = None) -> requests.Response:
        return self._send("Keycloak", method, url, data=data, verify=str(self._keycloak.ca))

    def _send(self, server: str, method: str, url: str, **more: Any) -> requests.Response:
        # Nothing is sent to whoever else may answer there: it has no certificate that would say who it is.
        if server == "portal" and (absent := self._absent()):
            raise absent
        began = time.time()
        try:
            answer = self._session.request(method, url, timeout=_TIMEOUT_SECONDS, allow_redirects=False, **more)
        except requests.RequestException as error:
            if server != "portal":
                raise self._keycloak.unreachable(error) from None
            silent = PortalUnreachable("portal-unreachable", url=self._url, state="it runs, but does not answer yet")
            raise self._absent() or silent from None
        if not more.get("stream"):
            # Whoever asked for a stream knows when it ends.
            self.note(server, answer, began)
        return answer


def login_form(page: str, url: str, username: str, issuer: str) -> tuple[str, list[str]]:
    """Where Keycloak's login form is to be sent, and the fields that it has.

    Raises:
        SignInRefused: The page is another one; ``why`` is what it says. Keycloak asks for something, or shows an error.
    """
    if form := _first(page, "form#kc-form-login[action]"):
        return str(form["action"]), [str(field["name"]) for field in form.select("input[name]")]
    path, words = urlsplit(url).path, _text(page, "#kc-error-message", _TITLE)
    actions = parse_qs(urlsplit(url).query).get("execution", []) if path.endswith("/required-action") else []
    if actions or _first(page, "form"):
        asked = ", ".join((words, *actions))
        raise SignInRefused("portal-login-asks", user=username, words=asked, account=f"{issuer}/account", error="login_form")
    raise SignInRefused("portal-no-login-form", path=path, words=words)


def _origin(url: str) -> str:
    scheme, host, *_ = urlsplit(url)
    return f"{scheme}://{host}"


def _expect_at(origin: str, url: str, who: str) -> str:
    """The address, if it is one of this origin; ``who`` named it."""
    # As text: what comes before the slash, programs read in different ways.
    if not url.startswith(f"{origin}/"):
        raise PortalError("portal-login-elsewhere", who=who, url=url.partition("?")[0], origin=origin)
    return url


def _signed_in(told: dict[str, Any]) -> SignedIn:
    identity, provider = told["backstageIdentity"], told.get("providerInfo") or {}
    lives = [seconds for part in (identity, provider) if (seconds := part.get("expiresInSeconds"))]
    return SignedIn(
        user_ref=identity["identity"]["userEntityRef"],
        owns_as=tuple(identity["identity"]["ownershipEntityRefs"]),
        backstage_token=identity["token"],
        id_token=provider.get("idToken") or "",
        access_token=provider.get("accessToken") or "",
        expires=time.time() + min(lives, default=0),
    )


def _text(page: str, *selectors: str) -> str:
    """The text of the first of these elements that a page has, in one line; empty if it has none."""
    found = _first(page, *selectors)
    return " ".join(found.get_text(" ").split()) if found else ""


def _first(page: str, *selectors: str) -> Tag | None:
    # Slow to import.
    from bs4 import BeautifulSoup

    parsed = BeautifulSoup(page, "html.parser")
    return next((found for selector in selectors if (found := parsed.select_one(selector))), None)
