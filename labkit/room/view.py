"""The instructor's view: a service of JupyterHub's. Seats send it how far they are; instructors look at one page, and say when a room ends.

Run with FOLDER CERTIFICATE KEY, and with the variables that the Hub gives a service. What a seat said last is a
file below FOLDER, written before the seat is answered. Who looks needs the Hub's scope ``access:services!service=view``, a seat its token.
At the room's end it stops all servers of the Hub's, or runs the command that further arguments name.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler, authenticated

from ..common.display import BAD
from ..common.environment import SERVER, listed
from ..servers.certificates import Pair
from .board import Board
from .deadline import keep_deadline, set_deadline
from .hub import Hub
from .kept import Seats
from .service import command

ROLE = {"name": "view", "scopes": ["list:users", "read:users", "read:servers", "delete:servers"], "services": ["view"]}
"""What the view may ask the Hub: who has a seat, who works there, and to stop them all."""

_HERE = Path(__file__).parent
_MOST_BYTES = 64 * 1024
_HUB_SECONDS, _STOP_SECONDS = 5, 60
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def service(folder: Path, port: int, pair: Pair, *end: str) -> dict[str, Any]:
    """Describe the view to the Hub, as a service that the Hub starts, and starts again when it ends.

    Args:
        folder: Where it keeps what seats say.
        port: Where it listens, on loopback.
        pair: Its certificate: a seat's process that listens in its place gets no token.
        end: The command that ends the room, if there is more to end than the Hub's servers.
    """
    itself = command("labkit.room.view", str(folder), str(pair.certificate), str(pair.key), *end)
    return {"name": "view", "url": f"https://localhost:{port}", "command": itself, "oauth_no_confirm": True}


class _Handler(HubOAuthenticated, RequestHandler):  # type: ignore[misc] # jupyterhub has no types
    # Said here, as JupyterHub lets in everybody where its environment names none.
    hub_scopes = frozenset({"access:services", "access:services!service=view"})

    def initialize(self, seats: Seats) -> None:
        self._seats = seats

    def set_default_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.set_header(name, value)


class _Page(_Handler):
    @authenticated
    def get(self) -> None:
        # Without it JupyterHub takes a script's request for one of another page's.
        self.write((_HERE / "view.html").read_text().replace("${XSRF}", html.escape(self.xsrf_token.decode())))


class _Script(_Handler):
    @authenticated
    def get(self) -> None:
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.write((_HERE / "view.js").read_text())


class _Board(_Handler):
    @authenticated
    async def get(self, form: str) -> None:
        board = await asyncio.to_thread(self._seats.board)
        if form == ".json":
            self.write(board.value())
        elif form == ".csv":
            self.set_header("Content-Type", "text/csv; charset=utf-8")
            self.set_header("Content-Disposition", "attachment; filename=room.csv")
            self.write(board.csv())
        else:
            self.write("".join(_fragment(board)))


class _Seat(_Handler):
    def check_hub_user(self, model: dict[str, Any]) -> dict[str, Any]:
        """Take any user for a seat of its own, by a token alone: a page elsewhere could send the cookie too."""
        if model.get("kind") != "user" or not getattr(self, "_token_authenticated", False):
            raise HTTPError(403)
        return model

    def post(self) -> None:
        user = self.current_user
        if user is None:
            raise HTTPError(403)
        try:
            said = json.loads(self.request.body)
        except (ValueError, RecursionError):
            raise HTTPError(400) from None
        self._seats.keep(user["name"], said)
        self.set_status(204)


class _Deadline(_Handler):
    @authenticated
    def post(self) -> None:
        try:
            set_deadline(self._seats.folder, float(self.request.body))
        except ValueError:
            raise HTTPError(400) from None
        self.set_status(204)


def _fragment(board: Board) -> Iterator[str]:
    yield f"<p id='asking'>{html.escape(board.news())}</p><h2>Seats</h2>"
    for table in (board.table().html(), "<h2>Every step</h2>", board.steps().html()):
        yield table.replace(BAD, f"<b class='bad'>{BAD}</b>")


def application(seats: Seats, prefix: str, token: str) -> Application:
    """Make the web application; ``prefix`` is its path, with a slash at both ends."""
    pages = (("", _Page), ("view[.]js", _Script), ("board([.](?:json|csv))?", _Board), ("seat", _Seat), ("deadline", _Deadline))
    routes = [(f"{prefix}{path}", handler, {"seats": seats}) for path, handler in pages]
    # The same after a restart, so that nobody has to sign in again.
    secret = hashlib.sha256(f"cookies of {token}".encode()).digest()
    return Application([*routes, (f"{prefix}oauth_callback", HubOAuthCallbackHandler)], cookie_secret=secret)


async def _serve(folder: str, certificate: str, key: str, *end: str) -> None:
    url, prefix, api, token = (os.environ[f"JUPYTERHUB_{name}"] for name in ("SERVICE_URL", "SERVICE_PREFIX", "API_URL", "API_TOKEN"))
    hub = Hub(api.removesuffix("/hub/api"), token, patience=_HUB_SECONDS)
    pages = application(Seats(Path(folder), hub), prefix, token)
    server = HTTPServer(pages, max_body_size=_MOST_BYTES, ssl_options={"certfile": certificate, "keyfile": key})
    place = urlsplit(url)
    # In a pod, whose network policy says who comes, its address is the Service's.
    server.listen(place.port or 0, "127.0.0.1" if place.hostname == "localhost" else "")
    await keep_deadline(Path(folder), partial(_start, end) if end else replace(hub, patience=_STOP_SECONDS).stop_all)


def _start(command: Sequence[str]) -> None:
    # In a session of its own, as the Hub and this process are among what it stops.
    subprocess.Popen(command, env=listed((*SERVER, "LABKIT_*")), start_new_session=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
