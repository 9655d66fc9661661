"""The Keycloak server: taken over, private, verified, and what is said while it is down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from keycloak import KeycloakAdmin

from labkit.common.errors import IdentityError, KeycloakUnreachable, Unauthorized
from labkit.common.http_session import request
from labkit.lab import Lab
from labkit.servers.processes import Processes, Running


@pytest.fixture
def running(lab: Lab) -> Running:
    found = lab.processes.running("keycloak")
    assert found is not None
    return found


def test_starting_it_again_takes_over_the_one_that_runs(lab: Lab, running: Running) -> None:
    assert Lab.open().keycloak.start() == running


def test_its_certificate_is_good_for_the_labs_authority_only(lab: Lab) -> None:
    assert lab.keycloak.get(lab.keycloak.url).ok
    with pytest.raises(requests.exceptions.SSLError):
        request("GET", lab.keycloak.url, ca=lab.settings.folder / "tls" / "ca-clients.crt", timeout=15)


@pytest.mark.fault(
    "Keycloak",
    "a certificate that the lab's CA did not sign",
    "KeycloakUnreachable says so instead of calling the server down; nothing is sent",
)
def test_a_client_with_another_authority_does_not_get_through(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.keycloak, "ca", lab.settings.folder / "tls" / "ca-clients.crt")
    for ask in (lab.keycloak.discovery, lab.keycloak.admin, lambda: lab.session("user-dev"), lab.realm.plan):
        with pytest.raises(KeycloakUnreachable) as caught:
            ask()
        assert caught.value.why == "the certificate that is shown there can't be verified with the lab's CA"
        assert "labkit status" in caught.value.fix


@pytest.mark.fault("Keycloak", "REQUESTS_CA_BUNDLE or its like name another CA", "the lab's own CA is used all the same")
def test_a_bundle_in_the_environment_does_not_stand_in_for_the_labs_authority(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(variable, str(lab.settings.folder / "tls" / "ca-clients.crt"))
    assert lab.keycloak.discovery()["issuer"] == lab.keycloak.issuer
    assert lab.keycloak.admin().get_realms()
    assert lab.sign_in("user-dev").claims["iss"] == lab.keycloak.issuer


def test_the_administrators_password_is_random_and_its_owners_only(lab: Lab) -> None:
    file = lab.settings.folder / "secrets" / "keycloak-admin"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text()) >= 32


@pytest.mark.fault("Keycloak", "the administrator's password was changed by hand", "the error names the file with the right one")
def test_another_password_is_refused_with_the_file_that_holds_the_right_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.keycloak, "_secret", lambda: "wrong")
    with pytest.raises(IdentityError, match="does not accept the lab's administrator") as caught:
        lab.keycloak.admin()
    assert str(lab.settings.folder / "secrets" / "keycloak-admin") in caught.value.fix


@pytest.mark.fault("Keycloak", "the realm is not there yet", "the error names the lab that makes it")
def test_a_realm_that_is_missing_is_named_with_the_lab_that_makes_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.keycloak, "realm_url", f"{lab.keycloak.url}/realms/not-made-yet")
    with pytest.raises(IdentityError, match=r"no realm at .*/realms/not-made-yet") as caught:
        lab.keycloak.discovery()
    assert "404" in caught.value.why
    assert "01-keycloak" in caught.value.fix


def test_what_it_writes_lies_in_the_state_folder_and_what_it_only_reads_in_the_cache(lab: Lab) -> None:
    folder = lab.settings.folder / "keycloak"
    assert (folder / "data" / "h2").is_dir()
    assert (folder / "lib").resolve().is_relative_to(lab.settings.cache.resolve())
    written = [path for path in (folder / "lib").resolve().parent.rglob("*") if path.name in ("h2", "transaction-logs")]
    assert written == []


@pytest.fixture(scope="class")
def stopped(lab: Lab, keycloak_admin: Callable[[], KeycloakAdmin]) -> Iterator[Processes]:
    """Keycloak is down, with a realm made by hand in its database and a credential of user-dev in the cache."""
    keycloak_admin().create_realm({"realm": "made-by-hand", "enabled": True})
    lab.credential("user-dev")
    cache = credentials_of(lab, "backstage")
    cache.unlink(missing_ok=True)
    lab.sign_in("user-dev")
    assert lab.keycloak.stop()
    yield lab.processes
    lab.keycloak.start()


def credentials_of(lab: Lab, username: str) -> Path:
    return lab.settings.folder / "credentials" / f"{username}.json"


@pytest.mark.usefixtures("stopped")
class TestWhileStopped:
    @pytest.mark.fault(
        "Keycloak", "it does not run, or can't be reached", "KeycloakUnreachable says that it does not run; the fix: labkit up"
    )
    def test_whoever_asks_learns_that_it_does_not_run_and_how_to_start_it(self, lab: Lab) -> None:
        for ask in (lab.keycloak.discovery, lab.keycloak.admin, lambda: lab.sign_in("user-dev")):
            with pytest.raises(KeycloakUnreachable, match="not running") as caught:
                ask()
            assert "labkit up" in caught.value.fix

    @pytest.mark.fault("Keycloak", "it is down while kubectl asks labkit credential", "a cached token that still holds is handed over")
    def test_a_cached_credential_is_handed_over_all_the_same(self, lab: Lab) -> None:
        kept = json.loads(credentials_of(lab, "user-dev").read_text())
        assert json.loads(lab.credential("user-dev"))["status"]["token"] == kept["id_token"]

    def test_a_credential_that_is_not_cached_needs_it(self, lab: Lab) -> None:
        with pytest.raises(KeycloakUnreachable):
            lab.credential("backstage")
        assert not credentials_of(lab, "backstage").exists()

    @pytest.mark.fault("Keycloak", "it is down while the cluster runs", "tokens that were handed out go on working until they expire")
    def test_the_cluster_still_runs_and_still_knows_the_realms_keys(self, lab: Lab) -> None:
        assert lab.cluster.is_running()
        assert "user-dev@kratix.io" in lab.cluster.kubectl("user-dev", "auth", "whoami").output

    @pytest.mark.fault(
        "Access",
        "an API server that has not read the realm's discovery document yet",
        "its 401 is shown with the reason in its log; it authenticates people within seconds of Keycloak's return",
    )
    def test_an_api_server_that_starts_without_it_is_reported_with_what_it_waits_for(self, lab: Lab) -> None:
        lab.cluster.stop()
        lab.cluster.provider.start(lab.cluster.trust)
        with pytest.raises(Unauthorized, match="You must be logged in") as caught:
            lab.cluster.kubectl("user-dev", "get", "namespaces")
        assert caught.value.why.startswith("the API server has not read the realm's discovery document yet: Get ")
        assert caught.value.why.endswith("connect: connection refused")
        assert caught.value.fix == "start Keycloak: lab.keycloak.start(); the API server tries again every ten seconds"
        assert not caught.value.lasting


def test_after_its_return_the_api_server_knows_people_again(lab: Lab) -> None:
    assert lab.sign_in("user-dev").whoami().username == "user-dev@kratix.io"


def test_after_a_restart_realms_and_administrator_are_as_before(lab: Lab, keycloak_admin: Callable[[], KeycloakAdmin]) -> None:
    admin = keycloak_admin()
    assert {"made-by-hand", lab.workshop.realm.name} <= {realm["realm"] for realm in admin.get_realms()}
    admin.delete_realm("made-by-hand")
    assert not lab.realm.plan().pending
