"""What a seat of a room is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.common.errors import SettingsError
from labkit.config.settings import Settings
from labkit.identity.keycloak import Keycloak
from labkit.room.seats import ADMINISTRATOR, prepare_seat, seat_environment

PORTAL = "https://room.example:8000/user/anna/portal"


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Those of the seat of Anna, whose folder is there."""
    ca, secret = tmp_path / "ca.pem", tmp_path / "secret"
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    secret.write_text("of-annas-realm-alone")
    where = "https://room.example:8000/services/keycloak"
    return seat_environment("anna", tmp_path / "anna", keycloak=where, portal=PORTAL, ca=ca, secret=secret, cache=tmp_path / "programs")


def test_a_seats_variables_lead_labkit_to_its_own_lab_and_realm(variables: dict[str, str], tmp_path: Path) -> None:
    settings = Settings.load(variables)
    assert settings.folder.is_relative_to(tmp_path / "anna")
    assert (settings.cache, settings.cluster, settings.secrets) == (tmp_path / "programs", "local", "own")
    assert settings.portal_page == PORTAL
    assert settings.hosted
    assert (settings.hosted.url, settings.hosted.realm) == ("https://room.example:8000/services/keycloak", "anna")
    assert (settings.hosted.admin_realm or settings.hosted.realm, settings.hosted.client) == ("anna", ADMINISTRATOR)


def test_no_secret_is_among_a_seats_variables(variables: dict[str, str]) -> None:
    assert "of-annas-realm-alone" not in str(variables)


@pytest.mark.parametrize("name", ["master", "", "../anna", "anna/ben", "an na"])
def test_a_seat_whose_name_no_realm_can_have_is_refused_before_keycloak_is_asked(name: str) -> None:
    with pytest.raises(SettingsError):
        prepare_seat(Unasked(), name)


class Unasked(Keycloak):
    """A Keycloak that nobody is to ask."""

    def __init__(self) -> None: ...

    ca = start = findings = unreachable = _secret = _refused = admin = None  # type: ignore[assignment]
