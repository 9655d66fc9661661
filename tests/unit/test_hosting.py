"""A hosted Keycloak's variables: what they are taken for, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.common.errors import SettingsError
from labkit.common.platform_folder import OWN
from labkit.config.hosting import PUBLIC_CA, Hosted, hosted_from
from labkit.identity.hosted import HostedKeycloak
from labkit.workshop.workshop import Workshop

URL = "https://sso.example.com/auth"
SECRET = "an-administrators-password"


def read(**variables: str) -> Hosted | None:
    return hosted_from({f"LABKIT_KEYCLOAK{name}": value for name, value in variables.items()})


def hosted(**variables: str) -> Hosted:
    found = read(_URL=URL, **variables)
    assert found is not None
    return found


def refused(**variables: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        read(**variables)
    return caught.value


@pytest.mark.parametrize(("kind", "url", "expected"), [("", "", False), ("auto", "", False), ("", URL, True), ("local", URL, False)])
def test_auto_is_hosted_when_an_address_is_given(kind: str, url: str, expected: bool) -> None:
    found = hosted_from({"LABKIT_KEYCLOAK": kind, "LABKIT_KEYCLOAK_URL": url})
    assert (found is not None) is expected


@pytest.mark.fault("Settings", "LABKIT_KEYCLOAK is hosted and no address is given", "the error names the variable for it")
def test_hosted_without_an_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="LABKIT_KEYCLOAK_URL is not set"):
        hosted_from({"LABKIT_KEYCLOAK": "hosted"})


def test_another_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="'cloud'") as caught:
        hosted_from({"LABKIT_KEYCLOAK": "cloud"})
    assert "auto, local or hosted" in caught.value.fix


@pytest.mark.fault("Exposure", "a hosted Keycloak's address is http", "it is refused before a password is sent")
@pytest.mark.parametrize("url", ["http://sso.example.com", "http://localhost:8080/auth"])
def test_an_address_without_tls_is_refused(url: str) -> None:
    error = refused(_URL=url)
    assert "does not begin with https://" in error.what
    assert "passwords and tokens would pass for all to read" in error.why


@pytest.mark.parametrize(
    "url",
    ["sso.example.com", "https://", f"{URL}/realms/team", f"{URL}/admin/master/console/", f"{URL}?a=b", "https://[::1", "https://a:0"],
)
def test_what_is_no_base_url_is_refused_with_an_example(url: str) -> None:
    assert "https://sso.example.com/auth" in refused(_URL=url).fix


@pytest.mark.fault("Settings", "a hosted Keycloak's address holds a password", "it is refused, and not shown")
def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    error = refused(_URL=f"https://root:{SECRET}@sso.example.com")
    assert SECRET not in str(error)


def test_a_slash_at_the_end_makes_no_difference() -> None:
    found = read(_URL=f"{URL}/")
    assert found is not None
    assert found.url == hosted().url == URL


def test_the_administrator_is_a_user_in_the_realm_unless_a_client_is_named() -> None:
    assert (hosted().user, hosted().client, hosted().admin_realm) == ("admin", "", "")
    robot = hosted(_ADMIN_CLIENT="robot", _ADMIN_REALM="master")
    assert (robot.user, robot.client, robot.admin_realm) == ("", "robot", "master")
    assert "unset one of them" in refused(_URL=URL, _ADMIN="me", _ADMIN_CLIENT="robot").fix


@pytest.mark.fault("Settings", "a hosted realm's name is master", "refused: that realm is Keycloak's own administrators'")
@pytest.mark.parametrize("name", ["master", "my realm", "a/b"])
def test_a_realm_that_the_workshop_may_not_have_is_refused(name: str) -> None:
    """B70: a space in it too, which Keycloak itself would take."""
    assert "LABKIT_KEYCLOAK_REALM is unusable" in refused(_URL=URL, _REALM=name).what


@pytest.mark.fault(
    "Settings", "the CA file for a hosted Keycloak is missing, or holds no certificate", "the error names the file and the variable"
)
def test_a_ca_file_is_looked_at_before_it_is_used(tmp_path: Path) -> None:
    assert hosted().ca == PUBLIC_CA
    assert "LABKIT_KEYCLOAK_CA" in refused(_URL=URL, _CA=str(tmp_path / "missing.pem")).fix
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    assert "holds no certificate" in refused(_URL=URL, _CA=str(tmp_path / "key.pem")).what


def test_another_process_is_led_to_the_same_place_from_any_folder_and_told_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    found = hosted(_CA="ca.pem", _REALM="team", _ADMIN_SECRET=SECRET, _PORT="8443")
    assert found.secret == SECRET
    assert SECRET not in repr(found)
    assert found.variables == {"LABKIT_KEYCLOAK_URL": URL, "LABKIT_KEYCLOAK_REALM": "team", "LABKIT_KEYCLOAK_CA": str(tmp_path / "ca.pem")}
    assert SECRET not in str(dict(found.variables))


@pytest.mark.parametrize(("code", "problem"), [(401, "hosted-not-let-in"), (404, "hosted-no-realm"), (503, "hosted-not-ready")])
def test_an_administrator_is_not_blamed_for_a_keycloak_that_is_not_ready(code: int, problem: str) -> None:
    keycloak = HostedKeycloak(hosted(_ADMIN="admin", _ADMIN_SECRET=SECRET), Workshop.load(OWN))
    assert keycloak._refused(code, "no reason given").problem.id == problem
