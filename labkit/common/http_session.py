"""HTTP as all of labkit speaks it: no ``.netrc``, no variable that comes before ``verify``; proxies and authorities on purpose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies


class HttpSession(requests.Session):
    """A session of requests that reads the environment for proxies alone.

    By itself requests would put a password of ``~/.netrc``, be it its ``default`` one, over an ``Authorization`` header.

    Args:
        ca: The authorities that servers are verified with; when left out, those of ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``, else
            the public ones.
    """

    def __init__(self, ca: Path | None = None) -> None:
        super().__init__()
        self.trust_env = False
        told = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        self.verify = str(ca) if ca else told or True

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """As requests does, with the environment's proxies for the URL."""
        return super().merge_environment_settings(url, {**get_environ_proxies(url), **(proxies or {})}, stream, verify, cert)

    def rebuild_proxies(self, prepared_request: Any, proxies: Any) -> Any:
        """After a redirect: the environment's proxies for the new URL, which may be one that is asked directly."""
        try:
            proxies = get_environ_proxies(prepared_request.url)
        except ValueError:
            # requests comes here for every redirect, also one that nobody follows, and this one names a port that is no number.
            proxies = {}
        return super().rebuild_proxies(prepared_request, proxies)  # type: ignore[no-untyped-call]


class Unproxied(HTTPAdapter):
    """Asks a server itself for what a proxy has at another address, whose path it takes away; cookies stay those of that address."""

    def __init__(self, address: str, server: str) -> None:
        super().__init__()
        self._address, self._server = address, server

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        """Send it to the server."""
        itself = request.copy()
        itself.url = self._server + str(request.url).removeprefix(self._address)
        return super().send(itself, *args, **more)


def request(method: str, url: str, *, ca: Path | None = None, **more: Any) -> requests.Response:
    """Ask once, as `requests.request` does; see `HttpSession` for ``ca``."""
    with HttpSession(ca) as session:
        return session.request(method, url, **more)
