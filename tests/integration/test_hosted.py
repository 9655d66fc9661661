"""A Keycloak that somebody else runs: looked at first, changed only as declared, and never trusted with what everybody knows."""

from __future__ import annotations

import http.server
import json
import os
import pty
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from keycloak.exceptions import KeycloakError

from labkit.cluster.local import SERVERS
from labkit.common.errors import IdentityError, KeycloakUnreachable, SettingsError, SignInRefused
from labkit.config.hosting import PUBLIC_CA
from labkit.course.steps import STEPS, examine
from labkit.course.steps.lab_05_access import NEWCOMER, newcomer
from labkit.identity.session import read_claims, sign_in
from labkit.lab import Lab
from labkit.room.pods import PodRoom
from labkit.room.seats import prepare_seat, remove_seat
from labkit.servers.certificates import Certificates
from labkit.workshop.workshop import Workshop

PASSWORD = "a-password-of-this-test"
REALM_PLAN = [sys.executable, "-P", "-m", "labkit", "realm", "plan"]
Objects = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def team(other_keycloak: Any) -> Any:
    """A realm of other people's, in which a lab may work; see `conftest.OthersRealm`."""
    realm = other_keycloak.realm_of_others("team")
    realm.add_user("looks-only", "view-users", "view-clients", "view-realm")
    realm.add_user("users-only", "manage-users")
    realm.add_user("clients-only", "manage-clients")
    realm.add_user("nobody-special")
    realm.add_robot("lab-robot", "manage-users", "manage-clients")
    return realm


@pytest.fixture(scope="module")
def before(team: Any) -> Objects:
    """What is in the realm before anything is applied to it."""
    objects: Objects = team.objects()
    return objects


@pytest.fixture(scope="module")
def hosted(team: Any, before: Objects, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab whose realm has been applied to the other Keycloak by the realm's own limited administrator."""
    assert before
    lab: Lab = team.lab(tmp_path_factory.mktemp("hosted") / "home")
    lab.keycloak.start()
    lab.realm.apply()
    return lab


def declared_names(workshop: Workshop) -> dict[str, set[str]]:
    realm = workshop.realm
    users = {user.username for user in realm.users}
    return {
        "groups": set(realm.groups),
        **dict.fromkeys(("users", "memberships", "credentials"), users),
        "clients": {client.client_id for client in realm.clients},
        "client scopes": {scope["name"] for scope in realm.representation["clientScopes"]},
    }


def of_others(objects: Objects, workshop: Workshop) -> Objects:
    ours = declared_names(workshop)
    return {kind: {name: o for name, o in named.items() if name not in ours.get(kind, set())} for kind, named in objects.items()}


def refusal(ask: Callable[[], object]) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        ask()
    return caught.value


def test_the_look_finds_all_that_the_work_needs_and_changes_nothing(team: Any, before: Objects, tmp_path: Path) -> None:
    found = team.lab(tmp_path / "home").keycloak.start()
    assert found.ok
    told = str(found)
    assert f"its issuer is {team.environment(tmp_path / 'home')['LABKIT_KEYCLOAK_URL']}/realms/team" in told
    assert "it may change groups and users (manage-users)" in told
    assert "it may change clients, client scopes and mappers (manage-clients)" in told
    assert "the plan for it: 15 to create, 0 to change, 1 as declared" in told
    assert team.objects() == before


USERS_MISSING = "give the user {} of the realm team the role manage-users of the client realm-management"
CLIENTS_MISSING = "give the user {} of the realm team the role manage-clients of the client realm-management"


@pytest.mark.fault(
    "Keycloak",
    "a hosted one whose administrator may not do all of the work",
    "before anything is changed, each missing right is named with the role that gives it",
)
@pytest.mark.parametrize(
    ("username", "why", "fixes"),
    [
        ("nobody-special", ("may not read groups and users", "may not read clients"), (USERS_MISSING, CLIENTS_MISSING)),
        ("users-only", ("may not read clients",), (CLIENTS_MISSING,)),
        ("clients-only", ("may not read groups and users",), (USERS_MISSING,)),
        ("looks-only", ("8 of them are to be made", "7 of them are to be made"), (USERS_MISSING, CLIENTS_MISSING)),
    ],
)
def test_each_missing_right_is_named_with_the_role_that_gives_it(
    team: Any, before: Objects, tmp_path: Path, username: str, why: tuple[str, ...], fixes: tuple[str, ...]
) -> None:
    error = refusal(team.lab(tmp_path / "home", ADMIN=username).keycloak.start)
    assert len(error.why.splitlines()) == len(why)
    assert [part for part, line in zip(why, error.why.splitlines(), strict=True) if part not in line] == []
    assert error.fix.splitlines() == [fix.format(username) for fix in fixes]
    assert team.objects() == before


def test_to_look_is_enough_once_all_is_as_declared(team: Any, hosted: Lab) -> None:
    told = str(team.lab(hosted.settings.folder, ADMIN="looks-only").keycloak.start())
    assert "it may read groups and users, which is enough: they are as declared" in told
    assert "it may read clients, client scopes and mappers, which is enough: they are as declared" in told


def test_a_client_with_a_service_account_administers_as_well_as_a_user(team: Any, tmp_path: Path) -> None:
    found = team.lab(tmp_path / "home", ADMIN="", ADMIN_CLIENT="lab-robot").keycloak.start()
    assert "it lets in the client lab-robot of the realm team" in str(found)
    assert "it may change groups and users (manage-users)" in str(found)


@pytest.mark.fault(
    "Keycloak",
    "a hosted one without the realm that is named",
    "the look says so, and who could make it",
)
def test_a_wrong_realm_is_named(team: Any, tmp_path: Path) -> None:
    error = refusal(team.lab(tmp_path / "home", REALM="no-such-realm").keycloak.start)
    assert "there is no realm no-such-realm" in error.why
    assert "LABKIT_KEYCLOAK_REALM" in error.fix
    from_elsewhere = refusal(team.lab(tmp_path / "home", REALM="no-such-realm", ADMIN_REALM="team").keycloak.start)
    assert "may not make it" in from_elsewhere.why


def test_a_wrong_path_is_taken_for_a_realm_that_is_not_there(team: Any, tmp_path: Path) -> None:
    url = team.environment(tmp_path / "home")["LABKIT_KEYCLOAK_URL"].removesuffix("/auth")
    error = refusal(team.lab(tmp_path / "home", URL=url).keycloak.start)
    assert "there is no realm team" in error.why
    assert "some end with /auth" in error.fix


@pytest.mark.fault(
    "Keycloak", "a hosted one's certificate is of a CA that was not named", "nothing is sent; the error names the CA file in use"
)
def test_a_wrong_authority_is_named_and_nothing_is_sent(team: Any, tmp_path: Path) -> None:
    for ca in (PUBLIC_CA, Certificates(tmp_path / "tls").authority("servers")):
        lab = team.lab(tmp_path / "home", CA=str(ca))
        for ask in (lab.keycloak.start, lab.keycloak.admin, lab.realm.plan, lambda lab=lab: lab.session("user-dev")):
            error = refusal(ask)
            assert f"no authority in {ca} vouches for it" in str(error)
            assert "LABKIT_KEYCLOAK_CA" in error.fix


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Sends everybody on to another address, and notes what was asked."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.command)
        self.send_response(308)
        self.send_header("Location", "http://sso.example.com/")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.mark.fault("Exposure", "a hosted Keycloak's address sends one on to another", "it is not followed, and no password is sent there")
def test_an_address_that_sends_one_on_is_not_followed(team: Any, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    pair, ca = certificates.server("elsewhere"), certificates.authority("servers")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        error = refusal(team.lab(tmp_path / "home", URL=f"https://localhost:{server.server_port}", CA=str(ca)).keycloak.start)
        server.shutdown()
    assert "it sends one on to http://sso.example.com/" in error.why
    assert "LABKIT_KEYCLOAK_URL" in error.fix
    assert Elsewhere.asked == ["GET"]


@pytest.mark.fault(
    "Keycloak", "nothing answers where a hosted one should be", "KeycloakUnreachable names the address; nothing is started in its place"
)
def test_nothing_is_started_in_place_of_one_that_does_not_answer(team: Any, tmp_path: Path) -> None:
    lab = team.lab(tmp_path / "home", URL="https://localhost:1/auth")
    assert not lab.keycloak.is_running()
    assert "nothing answers at https://localhost:1/auth" in refusal(lab.keycloak.start).why
    with pytest.raises(KeycloakUnreachable):
        lab.keycloak.discovery()
    assert lab.processes.names() == []


@pytest.mark.fault(
    "Keycloak", "a wrong password or secret for a hosted one's administrator", "the error says who was not let in, and shows no secret"
)
@pytest.mark.parametrize("who", [{"ADMIN": "lab-admin"}, {"ADMIN": "", "ADMIN_CLIENT": "lab-robot"}])
def test_wrong_credentials_are_named_without_being_shown(team: Any, tmp_path: Path, who: dict[str, str]) -> None:
    error = refusal(team.lab(tmp_path / "home", ADMIN_SECRET="not-the-right-one", **who).keycloak.start)
    assert "does not let in the" in error.why
    assert "LABKIT_KEYCLOAK_ADMIN_SECRET" in error.fix
    assert "not-the-right-one" not in f"{error}{error!r}"


def test_the_password_may_lie_in_a_file(team: Any, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    assert team.lab(tmp_path / "home", ADMIN_SECRET="", ADMIN_SECRET_FILE=str(file)).keycloak.start().ok


def test_a_person_at_a_terminal_is_asked_for_the_password_and_it_is_not_shown(team: Any, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, **team.environment(tmp_path / "home", ADMIN_SECRET="")}
    command = [sys.executable, "-P", "-m", "labkit", "realm", "plan"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=env, text=True, start_new_session=True
    ) as asking:
        asked = b""
        while b": " not in asked:
            asked += os.read(ours, 1000)
        os.write(ours, f"{PASSWORD}\n".encode())
        told, _ = asking.communicate(timeout=120)
    os.close(theirs)
    assert "password of the user lab-admin of the realm team" in asked.decode()
    assert asking.returncode == 0
    assert PASSWORD not in told + os.read(ours, 10_000).decode()
    os.close(ours)


@pytest.mark.fault(
    "Keycloak", "nobody to ask for the password of a hosted one's administrator", "the error says which variable can name a file with it"
)
def test_without_a_terminal_the_file_is_named_as_the_way(team: Any, tmp_path: Path) -> None:
    env = {**os.environ, **team.environment(tmp_path / "home", ADMIN_SECRET="")}
    done = subprocess.run(REALM_PLAN, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == 1
    assert "LABKIT_KEYCLOAK_ADMIN_SECRET_FILE" in done.stderr


@pytest.mark.fault(
    "Realm", "a realm in which others have groups, people, clients and client scopes", "all that is theirs stays as it was, to the field"
)
def test_other_peoples_objects_stay_as_they_were_and_ours_are_beside_them(team: Any, before: Objects, hosted: Lab) -> None:
    after = team.objects()
    assert of_others(after, hosted.workshop) == before
    missing = {kind: names - set(after[kind]) for kind, names in declared_names(hosted.workshop).items()}
    assert {kind: names for kind, names in missing.items() if names} == {}
    assert not hosted.realm.plan().pending


@pytest.mark.fault(
    "Neighbours",
    "a hosted realm has a group kube-admin already, with people in it",
    "the look names them, as who gets its rights in the cluster, before anything is applied",
)
def test_the_members_of_a_group_that_is_taken_over_are_named_before(other_keycloak: Any, tmp_path: Path) -> None:
    realm = other_keycloak.realm_of_others("taken-over")
    ada = realm.admin_api.get_user_id("ada")
    realm.admin_api.group_user_add(ada, realm.admin_api.create_group({"name": "kube-admin"}))
    lab = realm.lab(tmp_path / "home")
    before = realm.objects()
    told = str(lab.keycloak.start())
    assert "left as it is: the group kube-admin has members that are not declared, who have its rights: ada" in told
    assert realm.objects() == before


def test_no_program_is_asked_for_that_only_a_keycloak_here_would_need(hosted: Lab, idle_lab: Lab) -> None:
    assert set(idle_lab.programs) - set(hosted.programs) == {"java", "keycloak", "keycloak-start"}
    seen = str(examine(hosted, "programs"))
    assert "kubectl" in seen
    assert "keycloak 26" not in seen


def test_a_whole_up_starts_all_but_keycloak_and_its_people_may_what_they_should(hosted: Lab) -> None:
    try:
        hosted.up()
        assert hosted.processes.names() == [*SERVERS, "portal"]
        assert hosted.status().is_up
        hosted.access_matrix().verify()
    finally:
        hosted.down()


def test_stopping_everything_leaves_it_running_and_the_realm_there(team: Any, hosted: Lab) -> None:
    assert not hosted.keycloak.stop()
    assert hosted.down() == []
    assert hosted.keycloak.is_running()
    assert "team" in {realm["realm"] for realm in team.admin_api.get_realms()}
    keycloak = hosted.status().table().records()[0]
    assert keycloak == {"server": "keycloak", "state": "hosted", "pid": "", "address": hosted.keycloak.url, "log": ""}


def test_the_issuer_is_what_discovery_says_even_when_it_is_not_where_one_asked(team: Any, hosted: Lab) -> None:
    whole = team.admin_api.get_realm("team")
    frontend = hosted.keycloak.url.replace("localhost", "127.0.0.1")
    attributes = {**whole["attributes"], "frontendUrl": frontend}
    try:
        team.admin_api.update_realm("team", {**whole, "attributes": attributes})
        lab = Lab(hosted.settings)
        assert lab.keycloak.issuer == f"{frontend}/realms/team"
        assert lab.session("user-dev").claims["iss"] == lab.keycloak.issuer
        assert lab.cluster.trust.issuer == lab.keycloak.issuer
    finally:
        team.admin_api.update_realm("team", {**whole, "attributes": {**whole["attributes"], "frontendUrl": ""}})


@pytest.mark.fault(
    "Exposure",
    "the workshop's demo passwords and client secrets in a Keycloak that others can reach",
    "they are not used there: each lab makes its own, and shows none of them",
)
def test_passwords_and_client_secrets_there_are_the_labs_own_and_shown_nowhere(team: Any, hosted: Lab) -> None:
    demo = Workshop.load(hosted.settings.workshop_folder)
    for user in demo.realm.users:
        assert hosted.session(user.username).username == user.username
        with pytest.raises(SignInRefused, match=user.username):
            sign_in(hosted.keycloak, hosted.workshop.client("kube"), user)
    file = hosted.settings.folder / "secrets" / "own.json"
    assert file.stat().st_mode & 0o777 == 0o600
    (kept,) = json.loads(file.read_text()).values()
    own = {*kept["users"].values(), *kept["clients"].values()}
    public = {user.password.get_secret_value() for user in demo.realm.users} | {c.secret.get_secret_value() for c in demo.realm.clients}
    assert len(own) == len(public) == 5
    assert own & public == set()
    shown = "".join(map(str, (hosted.realm.plan(), hosted.terraform(), hosted.workshop, hosted.settings, hosted.keycloak.start())))
    assert [secret for secret in own | {PASSWORD} if secret in shown] == []


def test_kubectls_plugin_is_led_to_the_same_realm_by_what_the_kubeconfig_says(team: Any, hosted: Lab) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("LABKIT_")}
    command = [sys.executable, "-P", "-m", "labkit", "credential", "user-dev"]
    done = subprocess.run(command, capture_output=True, text=True, env={**plain, **hosted.settings.variables()}, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (read_claims(json.loads(done.stdout)["status"]["token"]) or {})["iss"] == hosted.keycloak.issuer


@pytest.mark.fault(
    "Exposure", "labkit trust --add with a hosted Keycloak", "refused: its authority is not the lab's, and may vouch for any site"
)
def test_browsers_are_not_told_to_trust_somebody_elses_authority(hosted: Lab, team: Any, tmp_path: Path) -> None:
    env = {**os.environ, **team.environment(hosted.settings.folder), "HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-m", "labkit", "trust", "--add"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert done.returncode == 1
    assert "not this lab's to vouch for" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_second_look_finds_the_same_secrets_and_another_lab_has_others(team: Any, hosted: Lab, tmp_path: Path) -> None:
    assert Lab(hosted.settings).workshop == hosted.workshop
    other = team.lab(tmp_path / "home").workshop
    assert other.client("kube").secret != hosted.workshop.client("kube").secret
    elsewhere = team.lab(tmp_path / "home", URL="https://sso.example.com").workshop
    assert elsewhere.client("kube").secret != other.client("kube").secret


@pytest.mark.fault(
    "Sign-in",
    "a hosted realm had that user before, with a password of their own",
    "the refusal says that the workshop's counts for a new user only; the right one can be written into the lab's file",
)
def test_a_password_that_was_there_before_can_be_written_into_the_file(team: Any, hosted: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = team.lab(home)
    file = home / "secrets" / "own.json"
    kept = json.loads(file.read_text())
    (place,) = kept
    theirs = json.loads((hosted.settings.folder / "secrets" / "own.json").read_text())[place]
    file.write_text(json.dumps({place: {**kept[place], "clients": theirs["clients"]}}))
    with pytest.raises(SignInRefused) as caught:
        team.lab(home).session("user-dev")
    assert "only counts for a new user" in caught.value.fix
    file.write_text(json.dumps({place: theirs}))
    assert team.lab(home).session("user-dev").username == "user-dev"
    assert first.workshop != team.lab(home).workshop


@pytest.mark.fault(
    "Exposure", "labkit reset of an exercise in a hosted realm", "refused: what bears that name there may be somebody else's"
)
@pytest.mark.parametrize("exercise", ["auditor", "team-claim", "refused-client", "newcomer"])
def test_no_exercise_is_taken_back_by_deleting_there(team: Any, hosted: Lab, exercise: str) -> None:
    before, undo = team.objects(), STEPS[exercise].undo
    assert undo is not None
    with pytest.raises(IdentityError, match="labkit deletes nothing there"):
        undo(hosted)
    assert team.objects() == before


@pytest.mark.fault("Exposure", "a hosted realm has a person of the name that lab 05 gives to a newcomer", "they are left as they are")
def test_a_person_of_the_newcomers_name_is_left_as_they_are(team: Any, hosted: Lab) -> None:
    theirs = team.add_user(NEWCOMER)
    before = team.objects()
    try:
        with pytest.raises(IdentityError, match="somebody else"):
            newcomer(hosted)
        assert team.objects() == before
    finally:
        team.admin_api.delete_user(theirs)


@pytest.mark.fault(
    "Exposure",
    "what makes a room's realms in somebody's Keycloak may do nothing else there",
    "that is enough; others' are closed",
)
def test_a_room_on_kubernetes_needs_no_more_than_to_make_realms(
    other_keycloak: Any, team: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/kubernetes.md says it, of the Keycloak that somebody has already."""
    root = other_keycloak.root("master")
    flows = dict.fromkeys(("standardFlowEnabled", "directAccessGrantsEnabled", "implicitFlowEnabled"), False)
    rooms = {"clientId": "rooms", "publicClient": False, "serviceAccountsEnabled": True, "secret": PASSWORD, **flows}
    client = root.create_client({**rooms, "attributes": {"client.use.lightweight.access.token.enabled": "true"}})
    account = root.get_client_service_account_user(client)["id"]
    root.assign_realm_roles(account, [root.get_realm_role("create-realm")])
    given = {"REALM": "room", "ADMIN": "", "ADMIN_REALM": "master", "ADMIN_CLIENT": "rooms", "ADMIN_SECRET": PASSWORD}
    environment = team.environment(tmp_path / "hub", **given)
    for name, value in {**environment, "LABKIT_ROOM_URL": "https://labs.example.org", "OAUTH_CLIENT_SECRET": "of-the-hub"}.items():
        monkeypatch.setenv(name, value)
    try:
        room = PodRoom()
        assert set(room.add(["anna"])) == {"anna", "instructor"}
        assert room.add(["anna"]) == []
        secret = prepare_seat(room.keycloak, "anna")
        assert prepare_seat(room.keycloak, "anna") == secret
        admin = room.keycloak.admin()
        assert {realm["realm"] for realm in admin.get_realms()} == {"room", "anna"}
        for others in ("team", "master"):
            admin.change_current_realm(others)
            with pytest.raises(KeycloakError) as caught:
                admin.get_users()
            assert caught.value.response_code == 403
        seat = team.lab(tmp_path / "seat", REALM="anna", ADMIN="", ADMIN_CLIENT="seat", ADMIN_SECRET=secret)
        seat.realm.apply()
        assert seat.session("user-dev").claims["iss"] == f"{other_keycloak.url}/realms/anna"
        remove_seat(room.keycloak, "anna")
        room.remove("anna")
        assert [user["username"] for user in other_keycloak.root("room").get_users()] == ["instructor"]
    finally:
        root = other_keycloak.root("master")
        root.delete_client(client)
        for realm in {"room", "anna"} & {realm["realm"] for realm in root.get_realms()}:
            root.delete_realm(realm)


@pytest.mark.fault("Neighbours", "somebody guesses passwords in a realm that labkit made in a hosted Keycloak", "Keycloak makes them wait")
def test_an_administrator_of_all_realms_may_have_the_realm_made(other_keycloak: Any, team: Any, tmp_path: Path) -> None:
    root = {"ADMIN": "root", "ADMIN_SECRET": other_keycloak._password, "ADMIN_REALM": "master"}
    lab = team.lab(tmp_path / "home", REALM="made-by-the-lab", **root)
    told = str(lab.keycloak.start())
    assert "it is Keycloak 26." in told
    assert "the realm made-by-the-lab is not there yet, and the user root of the realm master may make it" in told
    lab.realm.apply()
    assert other_keycloak.root("made-by-the-lab").get_realm("made-by-the-lab")["bruteForceProtected"] is True
    assert not lab.realm.plan().pending
    assert lab.keycloak.start().ok
    assert lab.session("user-dev").claims["iss"] == lab.keycloak.issuer


def test_a_secret_file_that_is_missing_is_named(team: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no-such-file"):
        team.lab(tmp_path / "home", ADMIN_SECRET="", ADMIN_SECRET_FILE=str(tmp_path / "no-such-file")).keycloak.admin()
