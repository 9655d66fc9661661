"""A JupyterHub, asked by its API and with a service's token: that of a room on this machine, or one elsewhere."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from ..common.errors import RoomError, why_failed
from ..common.http_session import HttpSession, request
from ..common.waiting import wait_until
from ..config.hosting import PUBLIC_CA, is_base
from .board import Board

_STOP_SECONDS = 300
_AT_ONCE = 8
_PAGES = "application/jupyterhub-pagination+json"
_path = partial(quote, safe="")


@dataclass(frozen=True)
class Hub:
    """A JupyterHub.

    Attributes:
        url: Its address, without a slash at the end.
        token: Says who asks.
        ca: The authorities that vouch for it; see `HttpSession`.
        patience: For how many seconds it may say nothing.
    """

    url: str
    token: str = field(repr=False)
    ca: Path | None = None
    patience: float = 120

    @classmethod
    def elsewhere(cls, url: str, token_file: str) -> Hub:
        """One that people reach by HTTPS; raises RoomError if it has no such address, or the file holds no token."""
        if not (is_base(url) and url.startswith("https://")):
            raise RoomError("hub-address")
        try:
            token, reason = Path(token_file).expanduser().read_text().strip(), "one word is expected"
        except (OSError, ValueError) as error:
            token, reason = "", getattr(error, "strerror", None) or "it is no text"
        if not re.fullmatch(r"[!-~]+", token):
            raise RoomError("hub-token", file=repr(token_file), reason=reason)
        return cls(url.rstrip("/"), token)

    def ask(self, method: str, path: str, *, fine: Collection[int] = (), **more: Any) -> requests.Response:
        """Ask for a path below its address, as `requests.request` does.

        Raises:
            RoomError: It does not answer, or refuses by a code that is not among the ``fine`` ones.
        """
        headers = {"Authorization": f"token {self.token}", **more.pop("headers", {})}
        try:
            answer = request(
                method, f"{self.url}/{path}", ca=self.ca, headers=headers, timeout=self.patience, allow_redirects=False, **more
            )
        except requests.RequestException as error:
            raise self._silent(error) from None
        if answer.status_code not in (200, 201, 202, 204, *fine):
            raise RoomError("hub-refuses", url=self.url, path=path, code=answer.status_code, reason=_said(answer))
        return answer

    def read(self, path: str, **more: Any) -> Any:
        """The JSON that lies at a path; raises RoomError."""
        answer = self.ask("GET", path, **more)
        try:
            return answer.json()
        except ValueError:
            raise RoomError("hub-refuses", url=self.url, path=path, code=answer.status_code, reason="that is no JSON") from None

    def board(self) -> Board:
        """What its view shows; raises RoomError."""
        return Board.read(self.read("services/view/board.json"))

    def end_at(self, ends: datetime) -> None:
        """Have its view stop all servers at a time; raises RoomError."""
        self.ask("POST", "services/view/deadline", data=f"{ends.timestamp():.0f}")

    def users(self) -> Iterator[dict[str, Any]]:
        """Everybody whom it knows, with their servers, as its API describes them."""
        start: dict[str, Any] | None = {"offset": 0}
        while start:
            page = self.read(f"hub/api/users?offset={start['offset']}", headers={"Accept": _PAGES})
            yield from page["items"]
            start = page["_pagination"]["next"]

    def start(self, name: str) -> None:
        """Start somebody's server as their sign-in does, and wait until it answers; raises RoomError if it ends instead."""
        user = f"hub/api/users/{_path(name)}"
        server = f"{user}/server"
        self.ask("POST", user, fine=(409,))
        # Why one failed at once, it tells below.
        answer = self.ask("POST", server, fine=(429, 500))
        # When too many start at once, it names a time; when there are as many as may be, it names none.
        while answer.status_code == requests.codes.too_many and "Retry-After" in answer.headers:
            time.sleep(min(float(answer.headers["Retry-After"]), self.patience))
            answer = self.ask("POST", server, fine=(429, 500))
        said = [] if answer.ok else [_said(answer)]
        if answer.status_code != requests.codes.too_many:
            with self.ask("GET", f"{server}/progress", fine=(400,), stream=True) as events:
                if not events.ok:
                    # It failed before its progress was asked for.
                    said.append(_said(events))
                try:
                    for line in filter(lambda line: line.startswith(b"data:"), events.iter_lines()):
                        event = json.loads(line.removeprefix(b"data:"))
                        if event.get("ready"):
                            return
                        said.append(event.get("message", ""))
                except requests.RequestException as error:
                    raise self._silent(error) from None
        raise RoomError("seat-not-started", name=name, said="; ".join(dict.fromkeys(said[-3:])))

    def execute(self, name: str, code: str) -> Iterator[str]:
        """Execute code in a new kernel of somebody's JupyterLab, and give each line that it prints, as soon as it is there.

        Raises:
            RoomError: It raises an error itself, its kernel ends, or the connection does.
        """
        # It comes with the kernels that we talk to here, and is slow to import.
        from jupyter_client.session import Session
        from websocket import WebSocketException, create_connection

        kernels, session, text = f"user/{_path(name)}/api/kernels", Session(), ""
        kernel = self.ask("POST", kernels, json={"name": "python3"}).json()["id"]
        asked = session.msg("execute_request", {"code": code, "silent": False, "store_history": False, "allow_stdin": False})
        authorities = HttpSession(self.ca).verify
        tls = ssl.create_default_context(cafile=authorities if isinstance(authorities, str) else str(PUBLIC_CA))
        try:
            with closing(
                create_connection(
                    f"wss{self.url.removeprefix('https')}/{kernels}/{kernel}/channels",
                    timeout=self.patience,
                    header=[f"Authorization: token {self.token}"],
                    sslopt={"context": tls},
                )
            ) as connection:
                connection.send(json.dumps({**asked, "channel": "shell", "buffers": []}, default=str))
                # It answers a ping by itself; so it is silent for long only when the seat is gone.
                while heard := connection.recv():
                    message = json.loads(heard)
                    kind, content = message["msg_type"], message["content"]
                    if kind == "status" and content["execution_state"] in ("restarting", "dead"):
                        raise RoomError("seat-lost", name=name, reason="the kernel ended: memory may be short")
                    if message["parent_header"].get("msg_id") != asked["header"]["msg_id"]:
                        continue
                    if kind == "stream" and content["name"] == "stdout":
                        *lines, text = (text + content["text"]).split("\n")
                        yield from lines
                    elif kind == "error":
                        raise RoomError("seat-lost", name=name, reason=f"{content['ename']}: {content['evalue']}")
                    elif kind == "status" and content["execution_state"] == "idle":
                        return
        except (WebSocketException, OSError) as error:
            # What follows are an answer's headers.
            raise RoomError("seat-lost", name=name, reason=str(error).partition(" -+-+- ")[0] or type(error).__name__) from None
        raise RoomError("seat-lost", name=name, reason="its JupyterLab ended")

    def stop_all(self) -> None:
        """Stop everybody's servers; raises RoomError."""
        paths = [f"{_path(user['name'])}/servers/{_path(server)}" for user in self.users() for server in user.get("servers", ())]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda path: self.ask("DELETE", f"hub/api/users/{path}", fine=(404,)), paths))

    def remove(self, *names: str) -> None:
        """Stop the servers of people who may be there, and forget them; raises RoomError."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._remove, names))

    def _remove(self, name: str) -> None:
        user = f"hub/api/users/{_path(name)}"
        self.ask("DELETE", f"{user}/server", fine=(404,))
        stays = RoomError("hub-refuses", url=self.url, path=user, code=400, reason=f"their server has not stopped within {_STOP_SECONDS} s")
        # As long as a server stops, its user can't be removed.
        wait_until(lambda: self.ask("DELETE", user, fine=(400, 404)).status_code != 400, _STOP_SECONDS, lambda _: stays, pause=1)

    def _silent(self, error: requests.RequestException) -> RoomError:
        return RoomError("hub-silent", url=self.url, reason=why_failed(error))


def _said(answer: requests.Response) -> str:
    """Why it refuses, as JupyterHub says it."""
    if answer.is_redirect:
        return "it asks to sign in: it does not know this token"
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason
