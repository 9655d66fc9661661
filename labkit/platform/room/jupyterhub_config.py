"""JupyterHub's configuration in a room: https://jupyterhub.readthedocs.io/en/stable/reference/config-reference.html.

The Hub runs in the room's state folder. What differs from room to room, secrets too, is in hub.json there, which labkit writes.
"""

import json
from pathlib import Path

from jupyterhub.utils import random_port
from traitlets.config import get_config

from labkit.room.seat import LABKIT
from labkit.room.service import command
from labkit.room.view import ROLE, service
from labkit.servers.certificates import Certificates

c = get_config()
room = json.loads(Path("hub.json").read_text())
realm = "services/keycloak/realms/room/protocol/openid-connect"

# Hub, proxy and seats go on without each other: labkit starts the proxy, and a Hub that is started anew finds its seats where they were.
# Hub and seats listen on sockets that nobody else can listen on in their place; seats and services come to the Hub by the proxy, by HTTPS.
c.JupyterHub.hub_bind_url = "http+unix://hub.sock"
c.Spawner.hub_connect_url = room["here"]
c.JupyterHub.bind_url = c.JupyterHub.public_url = f"{room['url']}/"
c.JupyterHub.cleanup_servers = c.JupyterHub.cleanup_proxy = False
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cookie_secret_file = "cookie-secret"  # noqa: S105 - a file's name
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = f"http+unix://{room['proxy_socket']}"
c.ConfigurableHTTPProxy.auth_token = room["proxy_token"]
c.ConfigurableHTTPProxy.extra_routes = {"/services/keycloak/": room["keycloak_url"]}

# Sign-in: by code with PKCE, in Keycloak's own pages. Who is in neither group is refused.
c.JupyterHub.authenticator_class = "generic-oauth"
c.GenericOAuthenticator.client_id = "hub"
c.GenericOAuthenticator.client_secret = room["client_secret"]
c.GenericOAuthenticator.enable_pkce = True
c.GenericOAuthenticator.login_service = "the room's Keycloak"
c.GenericOAuthenticator.auto_login = True
c.GenericOAuthenticator.oauth_callback_url = f"{room['url']}/hub/oauth_callback"
c.GenericOAuthenticator.authorize_url = f"{room['url']}/{realm}/auth"
c.GenericOAuthenticator.token_url = f"{room['here']}/{realm}/token"
c.GenericOAuthenticator.userdata_url = f"{room['here']}/{realm}/userinfo"
c.GenericOAuthenticator.logout_redirect_url = f"{room['url']}/{realm}/logout?client_id=hub"
c.GenericOAuthenticator.http_request_kwargs = {"ca_certs": room["ca"], "validate_cert": True}
c.GenericOAuthenticator.scope = ["openid", "profile", "email"]
c.GenericOAuthenticator.username_claim = "preferred_username"
# Names are parts of paths.
c.GenericOAuthenticator.username_pattern = r"^[a-z][a-z0-9-]{2,19}\Z"
c.GenericOAuthenticator.manage_groups = True
c.GenericOAuthenticator.auth_state_groups_key = "oauth_user.groups"
c.GenericOAuthenticator.allowed_groups = {"learners"}
c.GenericOAuthenticator.admin_groups = {"instructors"}

# A seat: `labkit lab` as that seat's own.
c.JupyterHub.spawner_class = "labkit.room.spawner.SeatSpawner"
c.JupyterHub.allow_named_servers = False
# The first start copies the labs and looks for the programs.
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
# Until the Hub sees that a seat has ended, its person gets the proxy's 503 in place of a page that starts it again.
c.Spawner.poll_interval = 5
c.Spawner.default_url = "/lab/tree/00-start-here.ipynb"

to_hub = {"ROOM_HUB_API": f"{room['here']}/hub/api", "SSL_CERT_FILE": room["ca"], "REQUESTS_CA_BUNDLE": room["ca"]}
c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": command("jupyterhub_idle_culler", f"--timeout={room['idle_seconds']}"),
        "environment": to_hub,
        "display": False,
    },
    {"name": "labkit", "api_token": room["api_token"], "display": False},
    # What seats say of their progress, and the page that instructors see it on; it ends this room at its time.
    service(Path("view").resolve(), random_port(), Certificates(Path(room["ca"]).parent).server("view"), *LABKIT, "room", "down")
    | {"environment": {**to_hub, "LABKIT_HOME": str(Path.cwd().parent)}},
]
c.JupyterHub.load_roles = [
    ROLE,
    {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    },
    # What `labkit room` asks: to start or stop a seat, labs in it for a rehearsal, and to tell a proxy that was started anew its routes.
    {"name": "labkit", "services": ["labkit"], "scopes": ["servers", "admin:users", "access:servers", "proxy"]},
]
