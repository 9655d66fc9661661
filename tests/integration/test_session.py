"""Signing in at a real Keycloak: what a session holds, which tokens are believed, and how it ends."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
from jwcrypto import jwk, jwt
from keycloak import KeycloakAdmin

from labkit.common.errors import IdentityError, SignInRefused, TokenInvalid, WorkshopError
from labkit.identity.session import Session, read_claims, resume, sign_in, verify
from labkit.lab import Lab
from labkit.workshop.workshop import Client, Secret, User
from tests.support import wait_for

AdminSource = Callable[[], KeycloakAdmin]


@pytest.fixture
def kube(lab: Lab) -> Client:
    return lab.workshop.client("kube")


@pytest.fixture
def user_dev(lab: Lab) -> User:
    return lab.workshop.user("user-dev")


@pytest.fixture
def session(lab: Lab, kube: Client, user_dev: User) -> Session:
    return sign_in(lab.keycloak, kube, user_dev)


@pytest.fixture
def admin_api(lab: Lab, keycloak_admin: AdminSource) -> KeycloakAdmin:
    """The admin API of the workshop's realm."""
    admin = keycloak_admin()
    admin.get_realms()
    admin.change_current_realm(lab.workshop.realm.name)
    return admin


def test_the_id_token_says_who_for_whom_and_which_groups(lab: Lab, session: Session) -> None:
    claims = session.claims
    assert (claims["iss"], claims["aud"], claims["email"]) == (lab.keycloak.issuer, "kube", "user-dev@kratix.io")
    assert claims["groups"] == ["kube-dev"]
    assert session.expires == claims["exp"] > time.time()


def test_claims_are_shown_with_times_for_a_reader(session: Session) -> None:
    text = str(session.claims)
    assert text.startswith("ID token of user-dev, made for kube")
    moment = time.strftime("%H:%M:%S", time.gmtime(session.expires))
    assert f"{session.expires} ({moment} UTC)" in text


def test_the_kube_clients_access_token_names_neither_audience_nor_subject(session: Session) -> None:
    claims = session.access_claims()
    assert (claims.get("aud"), claims.get("sub"), claims["typ"]) == (None, None, "Bearer")


def test_nothing_that_shows_a_session_shows_a_token(lab: Lab, session: Session) -> None:
    person = lab.sign_in("user-dev")
    for value in (session, session.tokens, person):
        assert "eyJ" not in f"{value!r} {value}"
        assert "user-dev" in repr(session)


@contextmanager
def refused(error: str, fix: str) -> Iterator[None]:
    with pytest.raises(SignInRefused) as caught:
        yield
    assert caught.value.error == error
    assert fix in caught.value.fix
    assert error in caught.value.why


@pytest.mark.fault(
    "Sign-in",
    "a wrong password",
    "SignInRefused with Keycloak's words; the fix: the password is reset in Keycloak, or the realm plan applied",
)
def test_a_wrong_password_is_refused(lab: Lab, kube: Client, user_dev: User) -> None:
    with refused("invalid_grant", "reset the password"):
        sign_in(lab.keycloak, kube, replace(user_dev, password=Secret("wrong")))


@pytest.mark.fault("Sign-in", "a user whom Keycloak does not know", "SignInRefused; the fix: apply the realm plan")
def test_an_unknown_user_is_refused(lab: Lab, kube: Client, user_dev: User) -> None:
    with refused("invalid_grant", "apply the realm plan if the user is missing"):
        sign_in(lab.keycloak, kube, replace(user_dev, username="nobody"))


@pytest.mark.fault("Sign-in", "a client that Keycloak does not know", "SignInRefused; the fix: apply the realm plan")
def test_an_unknown_client_is_refused(lab: Lab, kube: Client, user_dev: User) -> None:
    with refused("invalid_client", "apply the realm plan"):
        sign_in(lab.keycloak, replace(kube, client_id="nobody"), user_dev)


@pytest.mark.fault("Sign-in", "a wrong client secret", "SignInRefused; the fix: the realm plan compares it")
def test_a_wrong_client_secret_is_refused(lab: Lab, kube: Client, user_dev: User) -> None:
    with refused("unauthorized_client", "compares the client and its secret"):
        sign_in(lab.keycloak, replace(kube, secret=Secret("wrong")), user_dev)


@pytest.mark.fault("Sign-in", "a disabled user", "SignInRefused; the fix: the realm plan shows and enables them, after which they get in")
def test_a_disabled_user_is_refused(lab: Lab, kube: Client, user_dev: User, admin_api: KeycloakAdmin) -> None:
    user_id = admin_api.get_user_id("user-dev")
    assert user_id is not None
    admin_api.update_user(user_id, {"enabled": False})
    try:
        with refused("invalid_grant", "enable the user"):
            sign_in(lab.keycloak, kube, user_dev)
    finally:
        lab.realm.apply()
    assert sign_in(lab.keycloak, kube, user_dev).claims["email"] == "user-dev@kratix.io"


@pytest.mark.fault("Sign-in", "an account that Keycloak calls unfinished", "SignInRefused; the fix names what an account needs")
def test_an_unfinished_account_is_refused(lab: Lab, kube: Client, user_dev: User, admin_api: KeycloakAdmin) -> None:
    user_id = admin_api.get_user_id("user-dev")
    assert user_id is not None
    admin_api.update_user(user_id, {"requiredActions": ["UPDATE_PASSWORD"]})
    try:
        with refused("invalid_grant", "a required action"):
            sign_in(lab.keycloak, kube, user_dev)
    finally:
        admin_api.update_user(user_id, {"requiredActions": []})


@pytest.fixture
def kube_changed(lab: Lab, admin_api: KeycloakAdmin) -> Iterator[Callable[..., None]]:
    """Changes fields and attributes of the client kube by hand, until the end of the test."""
    before = admin_api.get_client(str(admin_api.get_client_id("kube")))

    def change(attributes: dict[str, str] | None = None, **fields: Any) -> None:
        admin_api.update_client(before["id"], {**before, **fields, "attributes": {**before["attributes"], **(attributes or {})}})

    yield change
    admin_api.update_client(before["id"], {**before, "attributes": {**before["attributes"], "client.session.idle.timeout": ""}})
    assert not lab.realm.plan().pending


@pytest.mark.fault("Sign-in", "direct access grants are off for the client", "SignInRefused; the fix: apply the realm plan")
def test_a_client_without_direct_access_grants_is_refused(
    lab: Lab, kube: Client, user_dev: User, kube_changed: Callable[..., None]
) -> None:
    kube_changed(directAccessGrantsEnabled=False)
    with refused("unauthorized_client", "allows the client what realm.yaml declares"):
        sign_in(lab.keycloak, kube, user_dev)


@pytest.mark.fault("Sign-in", "the realm is disabled", "SignInRefused; the fix: apply the realm plan")
def test_a_disabled_realm_is_refused(lab: Lab, kube: Client, user_dev: User, admin_api: KeycloakAdmin) -> None:
    admin_api.update_realm(lab.workshop.realm.name, {"enabled": False})
    try:
        with refused("access_denied", "it enables the realm"):
            sign_in(lab.keycloak, kube, user_dev)
    finally:
        lab.realm.apply()


@pytest.mark.fault(
    "Sign-in",
    "a session idle for longer than it may be (lunch, 30 minutes; the test makes it one second)",
    "it can't be renewed; the fix: sign in again",
)
def test_a_session_that_was_idle_for_too_long_cannot_be_renewed(
    lab: Lab, kube: Client, user_dev: User, kube_changed: Callable[..., None]
) -> None:
    kube_changed({"client.session.idle.timeout": "1"})
    session = sign_in(lab.keycloak, kube, user_dev)
    ends = (read_claims(session._tokens.refresh_token) or {})["exp"]
    while time.time() <= ends + 1:
        time.sleep(0.1)
    with refused("invalid_grant", "a session without use ends after 30 minutes"):
        session.renew()
    assert sign_in(lab.keycloak, kube, user_dev).username == "user-dev"


@pytest.mark.fault("Sign-in", "a refresh token that was revoked (RFC 7009)", "the session can't be renewed; the fix: sign in again")
def test_a_session_whose_refresh_token_was_revoked_cannot_be_renewed(lab: Lab, kube: Client, session: Session) -> None:
    fields = {"client_id": kube.client_id, "client_secret": kube.secret.get_secret_value(), "token": session.tokens.refresh_token}
    assert lab.keycloak.post(f"{lab.keycloak.issuer}/protocol/openid-connect/revoke", fields).ok
    with refused("invalid_grant", "sign in again"):
        session.renew()


@pytest.mark.fault("Sign-in", "all tokens until a moment were revoked (not before)", "the session can't be renewed; the fix: sign in again")
def test_a_session_from_before_a_revocation_of_all_cannot_be_renewed(lab: Lab, session: Session, admin_api: KeycloakAdmin) -> None:
    admin_api.update_realm(lab.workshop.realm.name, {"notBefore": int(time.time()) + 1})
    try:
        with refused("invalid_grant", "revoked all tokens"):
            session.renew()
    finally:
        admin_api.update_realm(lab.workshop.realm.name, {"notBefore": 0})


@pytest.mark.fault(
    "Sign-in", "the user is disabled while signed in", "the session can't be renewed; the fix: enable the user, sign in again"
)
def test_a_session_of_a_user_who_was_disabled_cannot_be_renewed(lab: Lab, session: Session, admin_api: KeycloakAdmin) -> None:
    admin_api.update_user(str(admin_api.get_user_id("user-dev")), {"enabled": False})
    try:
        with refused("invalid_grant", "enable the user"):
            session.renew()
    finally:
        lab.realm.apply()


@pytest.mark.parametrize("step", [-600, 600])
@pytest.mark.fault(
    "Clock",
    "Keycloak's clock and the one here differ by ten minutes (the test moves its own)",
    "signing in says by how much; the fix: set the clock",
)
def test_clocks_that_differ_are_reported_at_sign_in(
    lab: Lab, kube: Client, user_dev: User, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    now = time.time
    # Both run on this machine, whose clock a test may not set.
    monkeypatch.setattr("labkit.identity.session.time.time", lambda: now() + step)
    with pytest.raises(TokenInvalid, match=r"Keycloak's clock and the one here are (600|599|601) s apart") as caught:
        sign_in(lab.keycloak, kube, user_dev)
    assert "set its clock" in caught.value.fix


@pytest.mark.fault(
    "Keycloak", "a Frontend URL gives the realm another issuer", "signing in is refused with both issuers; the fix: clear it"
)
def test_a_realm_that_names_another_issuer_is_not_taken(lab: Lab, kube: Client, user_dev: User, admin_api: KeycloakAdmin) -> None:
    name = lab.workshop.realm.name
    attributes = admin_api.get_realm(name)["attributes"]
    admin_api.update_realm(name, {"attributes": {**attributes, "frontendUrl": "https://sso.example"}})
    try:
        with pytest.raises(IdentityError, match=rf"another issuer than the lab's: https://sso.example/realms/{name}") as caught:
            sign_in(lab.keycloak, kube, user_dev)
    finally:
        admin_api.update_realm(name, {"attributes": {**attributes, "frontendUrl": ""}})
    assert lab.keycloak.issuer in caught.value.why
    assert "Frontend URL" in caught.value.fix
    assert sign_in(lab.keycloak, kube, user_dev).claims["iss"] == lab.keycloak.issuer


def test_a_user_whom_the_workshop_does_not_declare_is_never_asked_for(lab: Lab) -> None:
    with pytest.raises(WorkshopError, match="user-dev, backstage, user-admin"):
        lab.sign_in("nobody")


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def decoded(token: str, part: int) -> dict[str, Any]:
    text = token.split(".")[part]
    return dict(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))


def foreign(token: str) -> str:
    """The same header and claims, key id included, signed by a key that is not the realm's."""
    made = jwt.JWT(header=decoded(token, 0), claims=decoded(token, 1))
    made.make_signed_token(jwk.JWK.generate(kty="RSA", size=2048))
    return str(made.serialize())


def promoted(token: str) -> str:
    """The realm's own signature under another group."""
    header, _, signature = token.split(".")
    return f"{header}.{encoded({**decoded(token, 1), 'groups': ['kube-admin']})}.{signature}"


def unsigned(token: str) -> str:
    return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(decoded(token, 1))}."


def signed_with_a_shared_secret(token: str) -> str:
    made = jwt.JWT(header={"alg": "HS256", "kid": decoded(token, 0)["kid"]}, claims=decoded(token, 1))
    made.make_signed_token(jwk.JWK.from_password("kube-client-secret-kube-client-secret"))
    return str(made.serialize())


@pytest.mark.fault(
    "Tokens",
    "a token that is tampered with, signed by a foreign key or a shared secret, unsigned, or none",
    "labkit does not believe it, and shows it nowhere",
)
@pytest.mark.parametrize("forge", [foreign, promoted, unsigned, signed_with_a_shared_secret, lambda _: "eyJ.no.token", lambda _: ""])
def test_a_forged_token_is_not_believed_and_not_shown(lab: Lab, session: Session, forge: Callable[[str], str]) -> None:
    token = session.tokens.id_token
    assert verify(lab.keycloak, token, audience="kube")["email"] == "user-dev@kratix.io"
    with pytest.raises(TokenInvalid) as caught:
        verify(lab.keycloak, forge(token), audience="kube")
    assert "eyJ" not in str(caught.value)


@pytest.mark.fault("Tokens", "an access or refresh token in place of an ID token", "labkit does not believe it")
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_only_an_id_token_names_the_client_as_audience(lab: Lab, session: Session, kind: str) -> None:
    with pytest.raises(TokenInvalid):
        verify(lab.keycloak, getattr(session.tokens, kind), audience="kube")


@pytest.mark.fault("Tokens", "a token for another client", "labkit does not believe it")
def test_a_token_for_another_client_is_not_believed(lab: Lab, session: Session) -> None:
    with pytest.raises(TokenInvalid):
        verify(lab.keycloak, session.tokens.id_token, audience="backstage-client")


@pytest.mark.fault("Tokens", "a token of another realm", "labkit does not believe it")
def test_a_token_of_another_realm_is_not_believed(lab: Lab, keycloak_admin: AdminSource) -> None:
    connection = keycloak_admin().connection
    assert connection.token is not None
    token = connection.token["access_token"]
    assert decoded(token, 1)["iss"].endswith("/realms/master")
    with pytest.raises(TokenInvalid):
        verify(lab.keycloak, token, audience=None)


@pytest.mark.fault("Tokens", "a token that has expired (the test moves its clock)", "labkit does not believe it")
def test_an_expired_token_is_not_believed(lab: Lab, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    token, now = session.tokens.id_token, time.time()
    # Waiting until a real token expires takes minutes.
    monkeypatch.setattr("jwcrypto.jwt.time.time", lambda: now + 600)
    with pytest.raises(TokenInvalid, match="Expired"):
        verify(lab.keycloak, token, audience="kube")


def test_renewing_gives_new_tokens_of_the_same_session(session: Session) -> None:
    before, sid = session.tokens, session.claims["sid"]
    session.renew()
    assert session.tokens.id_token != before.id_token
    assert session.claims["sid"] == sid


def test_tokens_are_renewed_before_they_expire(lab: Lab, kube: Client, user_dev: User, admin_api: KeycloakAdmin) -> None:
    client_id = str(admin_api.get_client_id("kube"))
    declared = admin_api.get_client(client_id)
    admin_api.update_client(client_id, {**declared, "attributes": {**declared["attributes"], "access.token.lifespan": "20"}})
    try:
        session = sign_in(lab.keycloak, kube, user_dev)
        first = session._tokens
        assert session.tokens != first
    finally:
        admin_api.update_client(client_id, {**declared, "attributes": {**declared["attributes"], "access.token.lifespan": ""}})
    session.renew()
    assert session.tokens is session.tokens
    assert not lab.realm.plan().pending


def test_a_session_is_resumed_with_its_refresh_token(lab: Lab, kube: Client, session: Session) -> None:
    resumed = resume(lab.keycloak, kube, "user-dev", session.tokens.refresh_token)
    assert resumed.claims["sid"] == session.claims["sid"]


@pytest.fixture
def one_use_only(lab: Lab, admin_api: KeycloakAdmin) -> Iterator[None]:
    """B66: a realm that takes a refresh token once (*Revoke Refresh Token*)."""
    admin_api.update_realm(lab.workshop.realm.name, {"revokeRefreshToken": True, "refreshTokenMaxReuse": 0})
    yield
    admin_api.update_realm(lab.workshop.realm.name, {"revokeRefreshToken": False})


ONE_USE_ONLY = "a realm takes each refresh token once only, and several need a new token at the same moment"


@pytest.mark.fault("Sign-in", ONE_USE_ONLY, "threads that share a session: one renews, and all go on")
@pytest.mark.usefixtures("one_use_only")
def test_of_several_threads_one_renews_the_session(lab: Lab, session: Session) -> None:
    before, start = session.tokens, threading.Barrier(8)
    session._tokens = replace(before, claims={**before.claims, "exp": 0})

    def ask(_: int) -> str:
        start.wait(timeout=30)
        return session.tokens.id_token

    with ThreadPoolExecutor(8) as pool:
        (token,) = set(pool.map(ask, range(8)))
    assert token != before.id_token
    session.renew()
    assert lab.cluster.api(session).whoami().username.endswith("user-dev@kratix.io")


def whoami(lab: Lab, username: str) -> list[str]:
    """The command by which somebody asks who they are, in a terminal of their own."""
    kubectl, context = lab.toolchain.ensure("kubectl")["kubectl"].path, lab.cluster.enter_exec(username)
    return [str(kubectl), f"--kubeconfig={lab.cluster.kubeconfig.path}", "--context", context, "auth", "whoami"]


def cached(lab: Lab, **change: object) -> dict[str, Any]:
    """What `labkit credential` keeps of user-dev, with these changes."""
    lab.credential("user-dev")
    file = lab.settings.folder / "credentials" / "user-dev.json"
    kept = dict(json.loads(file.read_text()))
    file.write_text(json.dumps({**kept, **change}))
    return kept


def hold_the_lock(lab: Lab) -> subprocess.Popen[str]:
    """Another process that is about to get tokens, for ever."""
    hold = "import sys, time, filelock\nwith filelock.FileLock(sys.argv[1]): print('held', flush=True); time.sleep(600)"
    holder = subprocess.Popen([sys.executable, "-c", hold, lab.settings.folder / "credentials.lock"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def waits_for_the_lock(kubectl: subprocess.Popen[str]) -> bool:
    """Whether kubectl's `labkit credential` has come to the lock, where it only sleeps and asks again, 20 times a second."""
    with suppress(psutil.Error):
        for child in psutil.Process(kubectl.pid).children():
            slept, used = child.num_ctx_switches().voluntary, child.cpu_times().user
            with suppress(psutil.TimeoutExpired):
                child.wait(timeout=0.5)
            return child.num_ctx_switches().voluntary - slept >= 5 and child.cpu_times().user - used < 0.1
    return False


@pytest.mark.fault("Sign-in", ONE_USE_ONLY, "parallel kubectl: one `labkit credential` renews, and nobody has to sign in anew")
@pytest.mark.usefixtures("one_use_only")
def test_of_several_kubectl_one_renews_what_is_cached(lab: Lab, admin_api: KeycloakAdmin) -> None:
    kept, user_id = cached(lab, expires=0), str(admin_api.get_user_id("user-dev"))
    before = {each["id"] for each in admin_api.get_sessions(user_id)}
    command = whoami(lab, "user-dev")
    with hold_the_lock(lab) as holder:
        try:
            runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(8)]
            wait_for(lambda: all(map(waits_for_the_lock, runs)), seconds=50)
        finally:
            holder.kill()
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert [text for text in said if "user-dev@kratix.io" not in text] == []
    assert {each["id"] for each in admin_api.get_sessions(user_id)} <= before
    now = cached(lab)
    assert now["id_token"] != kept["id_token"]
    assert decoded(now["id_token"], 1)["sid"] == decoded(kept["id_token"], 1)["sid"]


@pytest.mark.fault("Sign-in", "kill -9 of a `labkit credential` that is getting tokens", "the next one goes on at once")
def test_a_killed_credential_leaves_no_lock_behind(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = cached(lab, expires=0)
    monkeypatch.setattr("labkit.identity.credential._LOCK_SECONDS", 1)
    with hold_the_lock(lab) as holder:
        try:
            with pytest.raises(IdentityError, match="another process has been getting tokens for 1 s") as caught:
                lab.credential("user-dev")
        finally:
            holder.kill()
    assert "credentials.lock" in caught.value.fix
    assert json.loads(lab.credential("user-dev"))["status"]["token"] != kept["id_token"]


@pytest.mark.fault("Sign-in", "a cached token is good, while another process gets tokens or Keycloak is down", "it is handed over at once")
def test_a_cached_token_that_is_good_needs_neither_lock_nor_network(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = cached(lab)

    def asked(*_: object) -> NoReturn:
        pytest.fail("a request was made")

    with hold_the_lock(lab) as holder:
        monkeypatch.setattr(lab.keycloak, "_send", asked)
        try:
            assert json.loads(lab.credential("user-dev"))["status"]["token"] == kept["id_token"]
        finally:
            holder.kill()


@pytest.fixture
def alice(lab: Lab, admin_api: KeycloakAdmin, tmp_path: Path) -> Iterator[Lab]:
    """The lab by a workshop folder of one's own, in which there is an alice."""
    realm = lab.workshop.realm.representation
    person = {**realm["users"][0], "username": "alice", "email": "alice@example.com", "firstName": "Alice", "lastName": "A"}
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "realm.yaml").write_text(json.dumps({**realm, "users": [*realm["users"], person]}))
    mine = Lab(replace(lab.settings, workshop_folder=folder))
    mine.realm.apply()
    yield mine
    mine.cluster.kubeconfig.remove("alice-exec")
    admin_api.delete_user(str(admin_api.get_user_id("alice")))


@pytest.mark.fault(
    "Settings",
    "kubectl is called where nothing, or something else, is known of LABKIT_WORKSHOP and the like",
    "its context leads to the lab",
)
@pytest.mark.parametrize("elsewhere", [{}, {"LABKIT_WORKSHOP": "/gone", "LABKIT_HOME": "/gone", "LABKIT_KEYCLOAK_URL": "https://gone"}])
def test_an_exec_context_needs_none_of_the_labs_variables(alice: Lab, tmp_path: Path, elsewhere: dict[str, str]) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **elsewhere}
    done = subprocess.run(whoami(alice, "alice"), env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "alice@example.com" in done.stdout, done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name not in (".kube", "mine")] == []


@pytest.mark.fault("Sign-in", "a session that was signed out", "it can't be resumed; the fix: sign in again")
def test_signing_out_ends_the_session_in_keycloak(lab: Lab, kube: Client, session: Session) -> None:
    kept = session.tokens
    session.sign_out()
    with refused("invalid_grant", "sign in again"):
        resume(lab.keycloak, kube, "user-dev", kept.refresh_token)
    with pytest.raises(SignInRefused, match="has signed out") as caught:
        _ = session.tokens
    assert 'lab.sign_in("user-dev")' in caught.value.fix
    assert "signed out" in repr(session)


def test_an_id_token_stays_good_after_its_session_ended(lab: Lab, session: Session) -> None:
    token = session.tokens.id_token
    session.sign_out()
    assert verify(lab.keycloak, token, audience="kube")["email"] == "user-dev@kratix.io"


@pytest.mark.fault("Sign-in", "a session that an administrator ended", "it can't be renewed; the fix: sign in again")
def test_a_session_that_an_administrator_ended_cannot_be_renewed(session: Session, admin_api: KeycloakAdmin) -> None:
    user_id = admin_api.get_user_id("user-dev")
    assert user_id is not None
    admin_api.user_logout(user_id)
    with refused("invalid_grant", "sign in again"):
        session.renew()
