"""How an API server is configured, in both styles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import yaml

from labkit.cluster.trust import Trust
from labkit.common.errors import WorkshopError
from labkit.common.platform_folder import OWN
from labkit.config.hosting import PUBLIC_CA
from labkit.config.settings import OidcStyle
from labkit.course.faults import FAULTS
from labkit.lab import Lab
from labkit.workshop.workshop import Workshop

ISSUER = "https://localhost:8443/realms/myrealm"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
GROUPS = ("kube-dev", "kube-admin")


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    file = tmp_path / "ca.crt"
    file.write_text(CERTIFICATE)
    return file


def trust(ca: Path, style: OidcStyle = "flags", folder: Path = OWN) -> Trust:
    return Trust(ISSUER, ca, Workshop.load(folder).cluster, GROUPS, style)


def test_the_flags_are_the_seeds_five(ca: Path) -> None:
    assert trust(ca).flags() == (
        f"--oidc-issuer-url={ISSUER}",
        "--oidc-client-id=kube",
        "--oidc-username-claim=email",
        "--oidc-groups-claim=groups",
        f"--oidc-ca-file={ca}",
    )


def test_group_names_stand_in_the_files_expression_as_text(ca: Path) -> None:
    told = replace(trust(ca), groups=('a"b', "it's"))
    expression = """["a\\"b", "it's"].filter(group, group in claims[?"groups"].orValue([]))"""
    assert told.groups_expression == expression
    assert yaml.safe_load(told.configuration())["jwt"][0]["claimMappings"]["groups"] == {"expression": expression}


def test_as_text_it_is_what_is_in_force(ca: Path) -> None:
    assert str(trust(ca)).splitlines() == list(trust(ca).flags())
    text = str(trust(ca, "structured"))
    assert text == (OWN / "authentication.yaml").read_text().rstrip().replace("${ISSUER}", ISSUER).replace(
        "${ISSUER_CA}", CERTIFICATE.rstrip().replace("\n", "\n        ")
    ).replace("${GROUPS}", '["kube-dev", "kube-admin"]')


def test_an_issuer_with_a_public_certificate_needs_no_authority_to_be_named(ca: Path) -> None:
    assert set(trust(ca).flags()) - set(trust(PUBLIC_CA).flags()) == {f"--oidc-ca-file={ca}"}
    (jwt,) = yaml.safe_load(trust(PUBLIC_CA).configuration())["jwt"]
    assert jwt["issuer"]["certificateAuthority"] == ""


@pytest.mark.fault("Workshop", "the cluster's files don't agree with each other or with the realm", "each is named, with file and line")
@pytest.mark.parametrize(
    ("name", "text", "by", "where", "what"),
    [
        ("oidc-flags.yaml", "client-id: kube ", "client-id: k8s ", "8: oidc-client-id", 'there is no client "k8s" (clients: kube, b'),
        ("oidc-flags.yaml", "groups-claim: groups", "groups-claim: teams", "10: oidc-groups-claim", 'there is no claim "teams" (claims: '),
        ("oidc-flags.yaml", "username-claim: email", "username-claim: sub", "9: oidc-username-claim", 'needs oidc-username-prefix: "-"'),
        (
            "oidc-flags.yaml",
            "oidc-groups-claim",
            "oidc-group-claim",
            "10: oidc-group-claim",
            "unknown key (did you mean oidc-groups-claim?)",
        ),
        ("oidc-flags.yaml", "${ISSUER_CA_FILE}", "${ISSUER_CA}", "11", "labkit knows no ${ISSUER_CA} (did you mean ISSUER?)"),
        ("authentication.yaml", "url: ${ISSUER}", "url: https://x", "11: jwt[0].issuer.url", "should be '${ISSUER}'"),
        ("authentication.yaml", "[kube]", "[kube, k8s]", "12: jwt[0].issuer.audiences", 'should be "kube" alone'),
        ("authentication.yaml", "claim: email", "claim: sub", "17: jwt[0].claimMappings.username.claim", 'should be "email", which is'),
        ("authentication.yaml", 'prefix: ""', "prefix: x", "18: jwt[0].claimMappings.username.prefix", "should be ''"),
        ("authentication.yaml", 'in claims[?"groups"]', 'in claims[?"g"]', "21: jwt[0].claimMappings.groups.expression", "does not read"),
        ("authentication.yaml", "${GROUPS}", "['a']", "21: jwt[0].claimMappings.groups.expression", "only groups that realm.yaml"),
        ("authentication.yaml", "claimMappings", "claimMapping", "10: jwt[0].claimMappings", "is missing"),
        ("kind.yaml", "containerPath: /kind/labkit/", "containerPath: /kind/", "27: nodes[0].extraMounts", "by which labkit knows its own"),
        ("kind.yaml", "listenAddress: 127.0.0.1", "listenAddress: 0.0.0.0", "41: nodes[0].extraPortMappings[0].listenAddress", "should be"),
        ("kind.yaml", "        listenAddress: 127.0.0.1\n", "", "39: nodes[0].extraPortMappings[0].listenAddress", "is missing"),
    ],
)
def test_what_does_not_agree_is_named_with_its_place(tmp_path: Path, name: str, text: str, by: str, where: str, what: str) -> None:
    own = (OWN / name).read_text()
    assert text in own
    (tmp_path / name).write_text(own.replace(text, by, 1))
    with pytest.raises(WorkshopError) as caught:
        Workshop.load(tmp_path)
    assert [line for line in caught.value.why.splitlines() if line.startswith(f"{tmp_path / name}:{where}: ") and what in line]


def test_a_name_from_another_claim_is_declared_in_both_files(tmp_path: Path, ca: Path) -> None:
    flags, file = ((OWN / name).read_text() for name in ("oidc-flags.yaml", "authentication.yaml"))
    (tmp_path / "oidc-flags.yaml").write_text(flags.replace("username-claim: email", "username-claim: sub") + "oidc-username-prefix: '-'\n")
    (tmp_path / "authentication.yaml").write_text(file.replace("claim: email", "claim: sub"))
    told = trust(ca, folder=tmp_path)
    assert "--oidc-username-prefix=-" in told.flags()
    (jwt,) = yaml.safe_load(told.configuration())["jwt"]
    assert jwt["claimMappings"]["username"] == {"claim": "sub", "prefix": ""}


@pytest.mark.parametrize("name", ["wrong-issuer", "wrong-audience", "swapped-prefix"])
def test_a_fault_of_the_practice_lab_is_configured_in_both_styles(ca: Path, name: str) -> None:
    told: list[Trust] = []
    declared = trust(ca)
    lab = SimpleNamespace(cluster=SimpleNamespace(trust=declared, provider=SimpleNamespace(start=told.append)))
    FAULTS[name].switch_on(cast("Lab", lab))
    wanted = {"wrong-issuer": f"{ISSUER}s", "wrong-audience": "kubernetes", "swapped-prefix": "oidc:"}[name]
    assert [flag for flag in told[0].flags() if flag.endswith(f"={wanted}")]
    (good,), (bad,) = (yaml.safe_load(each.configuration())["jwt"] for each in (declared, told[0]))
    assert good != bad
    assert wanted in json.dumps(bad)
