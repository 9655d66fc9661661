"""One lab for all integration tests, on real servers, in a state folder and on ports of their own; and a Keycloak that is not the lab's."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from keycloak import KeycloakAdmin

from labkit.common.http_session import request
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab
from labkit.portal.server import Portal
from labkit.servers.certificates import Certificates
from labkit.servers.processes import Processes, Server
from labkit.toolchain import Toolchain
from labkit.toolchain.keycloak import JAVA_OPTIONS
from tests.hostile import Hostility
from tests.programs import keycloak_for_auth
from tests.support import own_state_folder

_hostility = Hostility()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """All that is tried on real servers is tried in a hostile environment, and they are started in it."""
    _hostility.begin()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Tests elsewhere, which this process may run next, are none of its business."""
    if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
        _hostility.end()


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new state folder, named to this process and its children by LABKIT_HOME."""
    with own_state_folder(tmp_path_factory.mktemp("lab") / "home") as home:
        yield home


@pytest.fixture(scope="session")
def idle_lab(lab_folder: Path) -> Iterator[Lab]:
    """The lab of that state folder, with whatever has been started in it; stopped at the end."""
    lab = Lab.open()
    assert lab.settings.folder == lab_folder
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def keycloak_admin(idle_lab: Lab) -> Callable[[], KeycloakAdmin]:
    """A Keycloak that runs: signs in to its admin API, in realm master."""
    idle_lab.keycloak.start()
    return idle_lab.keycloak.admin


@pytest.fixture(scope="session")
def lab(idle_lab: Lab) -> Lab:
    """A lab with everything up: the realm, the cluster, the RBAC objects."""
    idle_lab.up()
    for username in idle_lab.workshop.access.expected:
        idle_lab.sign_in(username).whoami()
    return idle_lab


@pytest.fixture(scope="module")
def second_portal(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """The portal of another state folder, for the same people and the same cluster; the realm is then as declared again."""
    home = tmp_path_factory.mktemp("second-portal") / "home"
    facts = open_state_folder(home, environ={}, free_ports=True)
    settings = replace(lab.settings, folder=home, folder_id=facts.id, ports=facts.ports)
    processes = Processes(settings)
    portal = Portal(settings, lab.workshop, processes, lab.toolchain, lab.keycloak, lab.cluster)
    admin = lab.keycloak.admin()
    admin.change_current_realm(lab.workshop.realm.name)
    client = str(admin.get_client_id(lab.workshop.portal_client.client_id))
    declared = admin.get_client(client)["redirectUris"]
    # Without web origins Keycloak would make them of these.
    admin.update_client(client, {"webOrigins": [], "redirectUris": [*declared, f"{portal.url}/api/auth/keycloak/handler/frame"]})
    try:
        portal.start()
        yield portal
    finally:
        portal.stop()
        admin.update_client(client, {"webOrigins": [], "redirectUris": declared})


ADMIN_PASSWORD = "a-password-of-this-test"


class OtherKeycloak:
    """A Keycloak that is not the lab's: its paths begin with /auth, a CA of its own has certified it, and its realms belong to others."""

    def __init__(self, settings: Settings, ca: Path, password: str) -> None:
        self._settings, self._password = settings, password
        self.ca, self.url = ca, f"{settings.url('keycloak')}/auth"

    def answers(self) -> bool:
        return request("GET", f"{self.url}/realms/master/.well-known/openid-configuration", ca=self.ca, timeout=15).ok

    def root(self, realm: str) -> KeycloakAdmin:
        """The administrator of all realms, at work in one of them."""
        admin = KeycloakAdmin(
            server_url=f"{self.url}/",
            username="root",
            password=self._password,
            user_realm_name="master",
            realm_name="master",
            verify=str(self.ca),
            timeout=90,
            max_retries=0,
        )
        admin.get_realms()
        admin.change_current_realm(realm)
        return admin

    def realm_of_others(self, name: str) -> OthersRealm:
        """A new realm in which somebody has a group, two people, a client and a client scope."""
        self.root("master").create_realm({"realm": name, "enabled": True, "displayName": "The team's", "accessTokenLifespan": 240})
        realm = OthersRealm(self, name)
        admin_api = realm.admin_api
        group = str(admin_api.create_group({"name": "team-leads", "attributes": {"floor": ["3"]}}))
        for username in ("ada", "grace"):
            admin_api.group_user_add(realm.add_user(username), group)
        admin_api.create_client_scope({"name": "badge", "protocol": "openid-connect", "attributes": {"gui.order": "7"}})
        admin_api.create_client({"clientId": "team-wiki", "secret": "the-wikis-own", "redirectUris": ["https://wiki.example.com/*"]})
        realm.add_user("lab-admin", "manage-users", "manage-clients")
        return realm


class OthersRealm:
    """A realm of other people's, seen by the administrator of all realms."""

    def __init__(self, keycloak: OtherKeycloak, name: str) -> None:
        self._keycloak, self.name = keycloak, name
        self.admin_api = keycloak.root(name)

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """The variables of a lab that lives in this realm, run by the realm's own administrator ``lab-admin``."""
        variables = {"URL": self._keycloak.url, "REALM": self.name, "CA": str(self._keycloak.ca)}
        variables |= {"ADMIN": "lab-admin", "ADMIN_SECRET": ADMIN_PASSWORD, **more}
        open_state_folder(home, environ={}, free_ports=True)
        return {"LABKIT_HOME": str(home), "LABKIT_KEYCLOAK": "hosted", **{f"LABKIT_KEYCLOAK_{name}": v for name, v in variables.items()}}

    def lab(self, home: Path, **more: str) -> Lab:
        return Lab(Settings.load(self.environment(home, **more)))

    def add_user(self, username: str, *roles: str) -> str:
        """Somebody new, with these roles of the realm's administration."""
        person = {"username": username, "email": f"{username}@team.example", "firstName": username, "lastName": "Test", "enabled": True}
        password = {"type": "password", "value": ADMIN_PASSWORD, "temporary": False}
        user_id = str(self.admin_api.create_user({**person, "credentials": [password]}))
        self._give(user_id, roles)
        return user_id

    def add_robot(self, client_id: str, *roles: str) -> None:
        """A client with a service account that has these roles."""
        robot = {"clientId": client_id, "secret": ADMIN_PASSWORD, "serviceAccountsEnabled": True, "standardFlowEnabled": False}
        account = self.admin_api.get_client_service_account_user(self.admin_api.create_client(robot))
        self._give(account["id"], roles)

    def _give(self, user_id: str, roles: Sequence[str]) -> None:
        if roles:
            management = str(self.admin_api.get_client_id("realm-management"))
            self.admin_api.assign_client_role(user_id, management, [self.admin_api.get_client_role(management, role) for role in roles])

    def objects(self) -> dict[str, dict[str, Any]]:
        """Everything in the realm by kind and name, as whole as the admin API tells it."""
        admin_api = self.admin_api
        users = {user["username"]: user for user in admin_api.get_users()}
        found = {
            "realm": {self.name: admin_api.get_realm(self.name)},
            "groups": {group["name"]: admin_api.get_group(group["id"]) for group in admin_api.get_groups()},
            "users": users,
            "memberships": {name: sorted(g["name"] for g in admin_api.get_user_groups(user["id"])) for name, user in users.items()},
            "credentials": {name: admin_api.get_credentials(user["id"]) for name, user in users.items()},
            "clients": {client["clientId"]: client for client in admin_api.get_clients()},
            "client scopes": {scope["name"]: scope for scope in admin_api.get_client_scopes()},
            "roles": {role["name"]: role for role in admin_api.get_realm_roles()},
        }
        return {kind: {name: _in_order(thing) for name, thing in things.items()} for kind, things in found.items()}


def _in_order(value: Any) -> Any:
    """With every list sorted: Keycloak gives them in any order."""
    if isinstance(value, dict):
        return {key: _in_order(item) for key, item in value.items()}
    return sorted(map(_in_order, value), key=str) if isinstance(value, list) else value


@pytest.fixture(scope="session")
def other_keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherKeycloak]:
    """A second Keycloak, in a state folder of its own."""
    home = tmp_path_factory.mktemp("other") / "home"
    open_state_folder(home, environ={}, free_ports=True)
    settings = Settings.load({"LABKIT_HOME": str(home)})
    java = Toolchain(settings.cache).ensure("java")["java"].path.parent.parent
    folder, built = home / "keycloak", keycloak_for_auth(settings.cache)
    shutil.copytree(built, folder, ignore=shutil.ignore_patterns("lib"))
    (folder / "lib").symlink_to(built / "lib")
    certificates, processes = Certificates(home / "tls"), Processes(settings)
    pair = certificates.server("keycloak")
    keycloak = OtherKeycloak(settings, certificates.authority("servers"), secrets.token_urlsafe(24))
    server = Server(
        name="keycloak",
        argv=(
            *(str(folder / "bin" / "kc.sh"), "start", "--optimized", "--cache=local"),
            *(f"--hostname={keycloak.url}", "--http-enabled=false", "--http-host=127.0.0.1"),
            *(f"--https-port={settings.ports['keycloak']}", f"--https-certificate-file={pair.certificate}"),
            f"--https-certificate-key-file={pair.key}",
        ),
        env={
            "JAVA_HOME": str(java),
            "JAVA_OPTS_APPEND": " ".join(JAVA_OPTIONS),
            "KC_BOOTSTRAP_ADMIN_USERNAME": "root",
            "KC_BOOTSTRAP_ADMIN_PASSWORD": keycloak._password,
        },
        ports=("keycloak",),
        ready=keycloak.answers,
        ready_seconds=180,
    )
    try:
        processes.start(server)
        yield keycloak
    finally:
        processes.stop("keycloak")
