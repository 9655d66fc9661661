"""What an API server is told, in both styles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.cluster.trust import Trust
from labkit.hosting import PUBLIC_CA
from labkit.settings import OidcStyle
from labkit.workshop import Oidc

ISSUER = "https://localhost:8443/realms/myrealm"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    file = tmp_path / "ca.crt"
    file.write_text(CERTIFICATE)
    return file


GROUPS = ("kube-dev", "kube-admin")


def trust(ca: Path, *, username_claim: str = "email", groups_claim: str = "groups", style: OidcStyle = "flags") -> Trust:
    return Trust(ISSUER, ca, Oidc(client_id="kube", username_claim=username_claim, groups_claim=groups_claim), GROUPS, style)


def jwt_of(told: Trust) -> dict[str, Any]:
    (jwt,) = yaml.safe_load(told.configuration())["jwt"]
    return dict(jwt)


def test_the_flags_are_the_seeds_five(ca: Path) -> None:
    assert trust(ca).flags() == (
        f"--oidc-issuer-url={ISSUER}",
        "--oidc-client-id=kube",
        "--oidc-username-claim=email",
        "--oidc-groups-claim=groups",
        f"--oidc-ca-file={ca}",
    )


def test_the_file_says_the_same_with_the_certificate_in_it(ca: Path) -> None:
    jwt = jwt_of(trust(ca))
    assert jwt["issuer"] == {"url": ISSUER, "audiences": ["kube"], "certificateAuthority": CERTIFICATE}
    groups = """["kube-dev", "kube-admin"].filter(group, group in claims[?"groups"].orValue([]))"""
    assert jwt["claimMappings"] == {"username": {"claim": "email", "prefix": ""}, "groups": {"expression": groups}}


def test_what_is_declared_stands_in_the_files_expressions_as_text(ca: Path) -> None:
    told = replace(trust(ca, groups_claim='te"am'), groups=('a"b',))
    assert told.groups_expression == """["a\\"b"].filter(group, group in claims[?"te\\"am"].orValue([]))"""


def test_a_name_from_another_claim_gets_no_prefix_in_either_style_and_needs_no_verified_email(ca: Path) -> None:
    told = trust(ca, username_claim="sub")
    assert "--oidc-username-prefix=-" in told.flags()
    assert jwt_of(told)["claimMappings"]["username"] == {"claim": "sub", "prefix": ""}
    assert [rule["message"][:20] for rule in jwt_of(told)["claimValidationRules"]] == ["a group with a colon"]


def test_as_text_it_is_what_is_in_force(ca: Path) -> None:
    assert str(trust(ca)).splitlines() == list(trust(ca).flags())
    text = str(trust(ca, style="structured"))
    assert text.startswith("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n")
    assert "    certificateAuthority: |\n      -----BEGIN CERTIFICATE-----\n      MIIB\n" in text


def test_an_issuer_with_a_public_certificate_needs_no_authority_to_be_named(ca: Path) -> None:
    assert set(trust(ca).flags()) - set(trust(PUBLIC_CA).flags()) == {f"--oidc-ca-file={ca}"}
    assert set(jwt_of(trust(ca))["issuer"]) - set(jwt_of(trust(PUBLIC_CA))["issuer"]) == {"certificateAuthority"}
