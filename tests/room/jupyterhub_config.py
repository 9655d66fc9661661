"""The configuration of the Hub of the view's tests: anybody signs in by a name, and a seat's server is a script beside this file."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from labkit.config.settings import Settings
from labkit.room.view import ROLE, service
from labkit.servers.certificates import Certificates
from labkit.toolchain import Toolchain

FOLDER, PORT, HUB_PORT, VIEW_PORT, PROXY_PORT = Path(os.environ["ROOM_FOLDER"]), *map(int, os.environ["ROOM_PORTS"].split())
CERTIFICATES = Certificates(FOLDER / "tls")
CA = CERTIFICATES.authority("servers")
PAIR, PROGRAMS = CERTIFICATES.server("proxy"), Toolchain(Settings.load().cache).ensure("node", "room-proxy")
PROXY = PROGRAMS["room-proxy"].path / "node_modules/configurable-http-proxy/bin/configurable-http-proxy"


async def have_room_for_one(spawner: Any) -> None:
    """In a rehearsal only the first seat starts; the others fail as soon as one of the three has had to wait."""
    name = spawner.user.name
    if name.startswith("rehearsal") and name != "rehearsal-1":
        while "throttling" not in (FOLDER / "log").read_text():  # noqa: ASYNC110 (a file cannot be awaited)
            await asyncio.sleep(0.1)
        raise RuntimeError("there is no room for one more")


c: Any = get_config()  # type: ignore[name-defined] # noqa: F821
# As it comes: what a room adds to it is tried elsewhere.
c.ConfigurableHTTPProxy.command = [str(PROGRAMS["node"].path), str(PROXY)]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{PROXY_PORT}"
c.JupyterHub.ssl_cert, c.JupyterHub.ssl_key = str(PAIR.certificate), str(PAIR.key)
c.JupyterHub.bind_url = f"https://localhost:{PORT}"
c.JupyterHub.hub_port = HUB_PORT
c.JupyterHub.db_url = f"sqlite:///{FOLDER}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{FOLDER}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"teacher"}
SCOPES = {"labkit": ["access:services!service=view"], "rehearsal": ["admin:users", "servers", "access:servers"]}
c.JupyterHub.services = [
    service(FOLDER / "view", VIEW_PORT, CERTIFICATES.server("view")),
    *({"name": name, "api_token": (FOLDER / f"{name}-token").read_text()} for name in SCOPES),
]
c.JupyterHub.load_roles = [ROLE, *({"name": name, "services": [name], "scopes": scopes} for name, scopes in SCOPES.items())]
# The third server that starts at a time has to wait.
c.JupyterHub.concurrent_spawn_limit = 2
c.JupyterHub.spawn_throttle_retry_range = (1, 2)
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = f"{FOLDER}/{{username}}"
c.Spawner.pre_spawn_hook = have_room_for_one
c.Spawner.cmd = [sys.executable, "-P", str(Path(__file__).with_name("seat.py"))]
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
c.Spawner.environment = {
    "LABKIT_CACHE": str(Settings.load().cache),
    "LABKIT_CLUSTER": "local",
    "LABKIT_KEYCLOAK": "local",
    "LABKIT_KEYCLOAK_CA": str(CA),
    "LABKIT_ROOM_VIEW": f"https://localhost:{PORT}/services/view/",
}
