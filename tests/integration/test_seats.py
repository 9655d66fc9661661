"""Two seats of a room beside each other: each has a whole workshop, and none of what one has opens anything of the other's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from labkit.common.errors import IdentityError, SignInRefused
from labkit.common.http_session import HttpSession
from labkit.lab import Lab
from labkit.room.seats import prepare_seat
from labkit.servers.certificates import Certificates, Pair
from tests.seats import seat_in
from tests.support import on_record

SOMEBODY = 59_321
"""The number of an account that has nothing on this machine."""

NOT_ALLOWED = (requests.codes.unauthorized, requests.codes.forbidden)


@dataclass(frozen=True)
class Seats:
    """Those of a room."""

    anna: Lab
    ben: Lab


@pytest.fixture(scope="module")
def seats(idle_lab: Lab) -> Iterator[Seats]:
    """Both, with everything up, in the Keycloak of the tests' lab; where anybody may look for what is theirs."""
    idle_lab.keycloak.start()
    # Not below pytest's folder, into which nobody else may look at all.
    folder = Path(tempfile.mkdtemp(prefix="seats-"))
    folder.chmod(0o755)
    made = Seats(*(seat_in(idle_lab, folder / name, name) for name in ("anna", "ben")))
    try:
        for seat in (made.anna, made.ben):
            seat.up()
        yield made
    finally:
        for seat in (made.anna, made.ben):
            seat.down()
            idle_lab.keycloak.admin().delete_realm(seat.workshop.realm.name)
        shutil.rmtree(folder)


def test_each_seat_has_a_whole_workshop_of_its_own(seats: Seats) -> None:
    for seat in (seats.anna, seats.ben):
        assert not seat.realm.plan().pending
        assert seat.sign_in("user-admin").whoami().groups
        seat.access_matrix().verify()


def test_a_seat_is_prepared_again_as_it_is(seats: Seats, idle_lab: Lab) -> None:
    """Whoever was cut short in the middle asks again; what learners did stays."""
    secret = (seats.anna.settings.folder.parent / "secret").read_text()
    assert prepare_seat(idle_lab.keycloak, "anna") == secret
    assert not seats.anna.realm.plan().pending


def test_a_realm_that_is_no_seats_is_not_taken(idle_lab: Lab) -> None:
    idle_lab.keycloak.start()
    admin = idle_lab.keycloak.admin()
    admin.create_realm({"realm": "room", "enabled": True})
    try:
        with pytest.raises(IdentityError, match="no seat's"):
            prepare_seat(idle_lab.keycloak, "room")
        admin.change_current_realm("room")
        assert admin.get_client_id("seat") is None
    finally:
        admin.delete_realm("room")


ASKED = {
    "the other's realm": ("GET", "realms/ben", None),
    "the other's people": ("GET", "realms/ben/users", None),
    "the other's clients": ("GET", "realms/ben/clients", None),
    "a person in the other's realm": ("POST", "realms/ben/users", {"username": "mallory", "enabled": True}),
    "the other's realm to go": ("DELETE", "realms/ben", None),
    "the realm of all administrators": ("GET", "realms/master", None),
    "the people of that one": ("GET", "realms/master/users", None),
    "one realm more": ("POST", "realms", {"realm": "mallory", "enabled": True}),
    # What of its own realm would have Keycloak read files, or call others in its own name.
    "its own realm to go": ("DELETE", "realms/anna", None),
    "its realm's settings": ("PUT", "realms/anna", {"realm": "anna", "attributes": {}}),
    "another name for its realm": ("PUT", "realms/anna", {"realm": "annas"}),
    "keys from a file": (
        "POST",
        "realms/anna/components",
        {
            "name": "k",
            "providerId": "java-keystore",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": {"keystore": ["/etc/passwd"]},
        },
    ),
    "people from LDAP": (
        "POST",
        "realms/anna/components",
        {"name": "l", "providerId": "ldap", "providerType": "org.keycloak.storage.UserStorageProvider", "config": {}},
    ),
    "another identity provider": ("POST", "realms/anna/identity-provider/instances", {"alias": "x", "providerId": "oidc", "config": {}}),
    "Keycloak to connect to LDAP": (
        "POST",
        "realms/anna/testLDAPConnection",
        {"action": "testConnection", "connectionUrl": "ldap://localhost"},
    ),
}


@pytest.mark.fault(
    "Exposure", "a seat's administrator asks Keycloak for another seat's realm, for realm master, for more rights", "403 each time"
)
@pytest.mark.parametrize("what", ASKED)
def test_a_seats_administrator_is_that_of_its_people_and_clients_alone(seats: Seats, what: str) -> None:
    method, path, body = ASKED[what]
    assert administering(seats.anna, method, path, body).status_code in NOT_ALLOWED


def test_a_seats_administrator_gives_itself_no_more_rights(seats: Seats) -> None:
    admin = seats.anna.realm.admin()
    management, own = str(admin.get_client_id("realm-management")), str(admin.get_client_id("seat"))
    account = admin.get_client_service_account_user(own)["id"]
    rights = {role["name"]: role for role in admin.get_client_roles(management)}
    assert {"realm-admin", "manage-realm", "manage-identity-providers"} <= rights.keys()
    wanted = [rights["realm-admin"]]
    path = f"realms/anna/users/{account}/role-mappings/clients/{management}"
    assert administering(seats.anna, "POST", path, wanted).status_code in NOT_ALLOWED
    group = str(admin.create_group({"name": "more-rights"}))
    path = f"realms/anna/groups/{group}/role-mappings/clients/{management}"
    assert administering(seats.anna, "POST", path, wanted).status_code in NOT_ALLOWED
    admin.delete_group(group)
    path = f"realms/anna/roles-by-id/{rights['manage-users']['id']}/composites"
    assert administering(seats.anna, "POST", path, wanted).status_code in NOT_ALLOWED
    # A mapper that writes a role into the administrator's own token.
    role = {"role": "realm-management.realm-admin"}
    mapper = {"name": "more", "protocol": "openid-connect", "protocolMapper": "oidc-hardcoded-role-mapper", "config": role}
    administering(seats.anna, "POST", f"realms/anna/clients/{own}/protocol-mappers/models", mapper)
    assert administering(seats.anna, "DELETE", "realms/anna").status_code in NOT_ALLOWED
    assert administering(seats.anna, "DELETE", "realms/ben").status_code in NOT_ALLOWED


def test_a_seats_administrator_is_nobody_in_another_realm(seats: Seats) -> None:
    """Neither by its secret nor by its token."""
    keycloak = seats.anna.keycloak
    secret = (seats.anna.settings.folder.parent / "secret").read_text()
    for realm in ("ben", "master"):
        grant = {"grant_type": "client_credentials", "client_id": "seat", "client_secret": secret}
        answer = keycloak.post(f"{keycloak.url}/realms/{realm}/protocol/openid-connect/token", grant)
        assert answer.status_code in NOT_ALLOWED
        shown = {"Authorization": f"Bearer {token_of(seats.anna)}"}
        about = HttpSession(keycloak.ca).get(f"{keycloak.url}/realms/{realm}/protocol/openid-connect/userinfo", headers=shown, timeout=30)
        assert about.status_code in NOT_ALLOWED


@pytest.mark.fault(
    "Exposure", "tokens and the administrator's certificate of one seat at the API server of another", "401, be it for reading"
)
def test_a_seats_api_server_takes_nobody_of_another_seat(seats: Seats) -> None:
    anna, ben = seats.anna, seats.ben
    url = f"{ben.cluster.endpoint.url}/api/v1/namespaces"
    session = HttpSession(ben.cluster.endpoint.ca)
    tokens = anna.session("user-admin").tokens
    for token in (tokens.id_token, tokens.access_token, token_of(anna)):
        assert session.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code == requests.codes.unauthorized
    theirs = Certificates(anna.settings.state.tls).client("admin", user="labkit-admin", groups=("system:masters",))
    assert served(url, ben.cluster.endpoint.ca, theirs) == ""
    own = Certificates(ben.settings.state.tls).client("admin", user="labkit-admin", groups=("system:masters",))
    assert "kube-system" in served(url, ben.cluster.endpoint.ca, own)


@pytest.mark.fault("Exposure", "the portal's sign-ins of one seat at the portal of another", "401; its people can't sign in there")
def test_a_seats_portal_takes_nobody_of_another_seat(seats: Seats) -> None:
    anna = seats.anna.portal.sign_in("user-admin")
    shown = {"Authorization": f"Bearer {anna._signed_in.backstage_token}", "Backstage-Kubernetes-Cluster": "local-platform"}
    for token in ("", *anna.keycloak_tokens):
        headers = {**shown, **({"Authorization": f"Bearer {token}"} if token else {})}
        for path in ("api/catalog/entities", "api/ske/session", "api/kubernetes/proxy/api/v1/namespaces"):
            answer = anna._browser._session.get(f"{seats.ben.portal.url}/{path}", headers=headers, timeout=30)
            assert answer.status_code in NOT_ALLOWED, path
    own = seats.anna.workshop.user("user-admin")
    there = seats.ben.portal.sign_in("user-admin")._browser
    there._session.cookies.clear()
    with pytest.raises(SignInRefused):
        there.sign_in(own)


@pytest.mark.fault(
    "Exposure", "another person on the machine asks every port of a seat's servers", "none serves more than the portal's empty page"
)
def test_no_port_of_a_seat_serves_who_shows_nothing(seats: Seats) -> None:
    ben = seats.ben
    ports = {s.laddr.port for p in on_record(ben.settings.folder) for s in p.net_connections("tcp") if s.status == psutil.CONN_LISTEN}
    assert len(ports) >= 5
    ca, etcd_ca = ben.cluster.endpoint.ca, ben.settings.state.tls / "ca-etcd.crt"
    anna = Certificates(seats.anna.settings.state.tls).client("kube-apiserver-etcd-client", user="kube-apiserver", authority="etcd")
    page = served(ben.portal.url, ca)
    told = {}
    for port in ports:
        answers = {
            served(f"{scheme}://localhost:{port}/{path}", trusted, shown)
            for scheme, trusted in (("https", ca), ("https", etcd_ca), ("http", ca))
            for path in ("metrics", "api/v1/namespaces", "api/catalog/entities", "v2/keys", "version", "debug/pprof/heap")
            for shown in (None, anna)
        }
        told[port] = answers - {"", page}
    assert {port: answers for port, answers in told.items() if answers} == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="another person's process is root's to start")
@pytest.mark.fault("Exposure", "another person on the machine looks for a seat's files", "none can be listed or read")
def test_no_file_of_a_seat_is_anybody_elses_to_read(seats: Seats) -> None:
    folder = seats.ben.settings.folder
    seen = subprocess.run(
        ["/usr/bin/find", str(folder.parent), "-mindepth", "1", "-readable"], user=SOMEBODY, group=SOMEBODY, extra_groups=[],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert seen.stdout.split() == []
    assert str(folder.parent) in seen.stderr


def token_of(seat: Lab) -> str:
    """The administrator's own token."""
    return str((seat.keycloak.admin().connection.token or {})["access_token"])


def administering(seat: Lab, method: str, path: str, body: object = None) -> requests.Response:
    """What Keycloak answers a seat's administrator."""
    headers = {"Authorization": f"Bearer {token_of(seat)}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body)
    return HttpSession(seat.keycloak.ca).request(method, f"{seat.keycloak.url}/admin/{path}", data=data, headers=headers, timeout=60)


def served(url: str, ca: Path, pair: Pair | None = None) -> str:
    """What a server hands out; nothing when it refuses, or does not speak with the caller at all."""
    shown = (str(pair.certificate), str(pair.key)) if pair else None
    try:
        answer = HttpSession(ca).get(url, cert=shown, allow_redirects=False, timeout=10)
    except requests.RequestException:
        return ""
    return answer.text if answer.ok else ""
