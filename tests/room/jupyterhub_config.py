"""The configuration of the Hub of the view's tests: anybody signs in by a name, and a seat's server is a script beside this file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from jupyterhub.proxy import Proxy
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from labkit.room.view import ROLE, service
from labkit.servers.certificates import Certificates

FOLDER, PORT, HUB_PORT, VIEW_PORT = Path(os.environ["ROOM_FOLDER"]), *map(int, os.environ["ROOM_PORTS"].split())
CERTIFICATES = Certificates(FOLDER / "tls")
CA = CERTIFICATES.authority("servers")


class InHub(Proxy):  # type: ignore[misc] # jupyterhub has no types
    """A proxy within the Hub's own process, as a room's own proxy is tried elsewhere."""

    routes: dict[str, dict[str, Any]] = {}  # noqa: RUF012 # of the one proxy that there is

    async def start(self) -> None:
        pair = CERTIFICATES.server("proxy")
        tls = {"certfile": str(pair.certificate), "keyfile": str(pair.key)}
        HTTPServer(Application([("(.*)", Forward)]), ssl_options=tls).listen(PORT, "127.0.0.1")

    async def stop(self) -> None:
        pass

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        self.routes[self.validate_routespec(routespec)] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec: str) -> None:
        self.routes.pop(self.validate_routespec(routespec), None)

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        return dict(self.routes)


class Forward(RequestHandler):
    async def prepare(self) -> None:
        target = next(
            InHub.routes[path]["target"] for path in sorted(InHub.routes, key=len, reverse=True) if self.request.path.startswith(path)
        )
        asked = HTTPRequest(
            "/".join(target.split("/")[:3]) + (self.request.uri or "/"),
            self.request.method or "GET",
            self.request.headers,
            self.request.body or None,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            decompress_response=False,
            ca_certs=str(CA),
        )
        answer = await AsyncHTTPClient().fetch(asked, raise_error=False)
        self.set_status(answer.code)
        self.clear_header("Content-Type")
        for name, value in answer.headers.get_all():
            if name not in {"Content-Length", "Transfer-Encoding", "Connection"}:
                self.add_header(name, value)
        await self.finish(answer.body if answer.code not in {204, 304} else None)

    def compute_etag(self) -> None:
        """Leave the answer as it is."""


c: Any = get_config()  # type: ignore[name-defined] # noqa: F821
c.JupyterHub.proxy_class = InHub
c.JupyterHub.bind_url = f"https://localhost:{PORT}"
c.JupyterHub.hub_port = HUB_PORT
c.JupyterHub.db_url = f"sqlite:///{FOLDER}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{FOLDER}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"teacher"}
c.JupyterHub.services = [
    service(FOLDER / "view", VIEW_PORT, CERTIFICATES.server("view")),
    {"name": "labkit", "api_token": (FOLDER / "labkit-token").read_text()},
]
c.JupyterHub.load_roles = [ROLE, {"name": "labkit", "services": ["labkit"], "scopes": ["access:services!service=view"]}]
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = f"{FOLDER}/{{username}}"
c.Spawner.cmd = [sys.executable, "-P", str(Path(__file__).with_name("seat.py"))]
c.Spawner.environment = {
    "LABKIT_CLUSTER": "local",
    "LABKIT_KEYCLOAK": "local",
    "LABKIT_KEYCLOAK_CA": str(CA),
    "LABKIT_ROOM_VIEW": f"https://localhost:{PORT}/services/view/",
}
