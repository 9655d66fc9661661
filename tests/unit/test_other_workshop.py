"""What the labs ask of a workshop by role, in one that has other names throughout, and where one thing alone is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from labkit.cli.render import render
from labkit.cluster.access import kind_and_name
from labkit.common.errors import IdentityError, WorkshopError
from labkit.common.platform_folder import OWN
from labkit.config.settings import Settings
from labkit.identity.session import Claims
from labkit.lab import Lab
from labkit.portal import config
from labkit.workshop.workshop import Binding, Workshop
from tests.support import OTHER_WORKSHOP

FILES = ("realm.yaml", "rbac.yaml", "access.yaml", "oidc-flags.yaml", "authentication.yaml", "app-config.yaml")


def renamed(folder: Path, **names: str) -> Path:
    """The shipped workshop with other names: in each file, word for word."""
    folder.mkdir()
    for name in FILES:
        text = (OWN / name).read_text()
        for old, new in names.items():
            text = text.replace(old.replace("_", "-"), new)
        (folder / name).write_text(text)
    return folder


def lab_of(workshop: Path, home: Path) -> Lab:
    variables = {"LABKIT_HOME": str(home), "LABKIT_WORKSHOP": str(workshop), "LABKIT_CLUSTER": "local", "LABKIT_SECRETS": "demo"}
    return Lab(Settings.open(variables))


def test_the_shipped_workshops_people_and_clients_are_found_by_role() -> None:
    workshop = Workshop.load()
    assert (workshop.administrator.username, workshop.reader.username) == ("user-admin", "user-dev")
    assert (workshop.api_client.client_id, workshop.portal_client.client_id) == ("kube", "backstage-client")
    assert workshop.reading == Binding("kube-dev", "kube-dev", "cr-reader")


def test_those_of_another_workshop_are_found_by_role() -> None:
    workshop = Workshop.load(OTHER_WORKSHOP)
    assert (workshop.administrator.username, workshop.reader.username) == ("greta", "otto")
    assert (workshop.api_client.client_id, workshop.portal_client.client_id) == ("harbour-cluster", "harbour-portal")
    assert workshop.reading == Binding("on-watch", "onduty", "lookout")
    assert workshop.realm.path("onduty") == "/ops/onduty"
    assert config.publishers(workshop) == ["captains"]


CHANGES: dict[str, tuple[dict[str, str], Callable[[Workshop], object], object]] = {
    "user names": (
        {"username: user_dev": "username: olga", "user_dev: [get": "olga: [get"},
        lambda w: (w.reader.username, w.reader.email),
        ("olga", "user-dev@kratix.io"),
    ),
    "emails": ({"user_dev@kratix.io": "olga@example.org"}, lambda w: w.reader.email, "olga@example.org"),
    "groups": ({"kube_dev": "crew"}, lambda w: (w.reader.groups, w.reading.group), (("crew",), "crew")),
    "roles": ({"cr_reader": "lookout"}, lambda w: w.reading.role, "lookout"),
    "the cluster's client": (
        {"clientId: kube\n": "clientId: k8s\n", "audience: kube\n": "audience: k8s\n", "audience: kube ": "audience: k8s "}
        | {"[kube]": "[k8s]", "client_id: kube": "client-id: k8s"},
        lambda w: w.api_client.client_id,
        "k8s",
    ),
    "the portal's client": ({"backstage_client": "web"}, lambda w: w.portal_client.client_id, "web"),
    "the claim of groups": (
        {
            "claim.name: groups": "claim.name: roles",
            '"groups"': '"roles"',
            "claim: groups": "claim: roles",
            "Claim: groups": "Claim: roles",
        },
        lambda w: w.cluster.oidc.groups_claim,
        "roles",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_thing_alone_may_have_another_name(tmp_path: Path, change: str) -> None:
    names, ask, expected = CHANGES[change]
    folder = renamed(tmp_path / "workshop", **names)
    lab = lab_of(folder, tmp_path / "home")
    assert ask(lab.workshop) == expected
    lab.portal.require_agreement()


def test_what_is_rendered_has_the_workshops_own_names(tmp_path: Path) -> None:
    lab = lab_of(OTHER_WORKSHOP, tmp_path / "home")
    render(lab, tmp_path / "by-hand")
    shipped = ("user-dev", "user-admin", "kube-dev", "kube-admin", "backstage-client", "myrealm", "cr-reader")
    files = [file for file in (tmp_path / "by-hand").rglob("*") if file.is_file() and file.name != "team-namespace.yaml"]
    assert {file.name: [name for name in shipped if name in file.read_text()] for file in files} == {file.name: [] for file in files}
    assert "that of harbour-portal" in (tmp_path / "by-hand" / "portal.env").read_text()
    (subject,) = list(yaml.safe_load_all((tmp_path / "by-hand" / "kratix" / "requester.yaml").read_text()))[1]["subjects"]
    assert subject["name"] == "onduty"


@pytest.mark.fault(
    "Workshop",
    "the portal's client has another name in realm.yaml than in app-config.yaml",
    "`labkit up` starts nothing, and names the line and the client that would do",
)
def test_nothing_is_started_for_a_portal_that_would_not_start(tmp_path: Path) -> None:
    folder = renamed(tmp_path / "workshop", backstage_client="web")
    (folder / "app-config.yaml").unlink()
    with pytest.raises(WorkshopError) as caught:
        lab_of(folder, tmp_path / "home").up()
    assert '"backstage-client" is not the portal\'s client (web)' in caught.value.why


@pytest.mark.fault("Workshop", "nobody in access.yaml is the administrator or the reader whom a lab needs", "the lab says whom it needs")
@pytest.mark.parametrize(("line", "role"), [("  user-admin:", "administrator"), ("  user-dev:", "reader")])
def test_a_workshop_that_lacks_somebody_says_whom(tmp_path: Path, line: str, role: str) -> None:
    kept = [each for each in (OWN / "access.yaml").read_text().splitlines() if not each.startswith(line)]
    (tmp_path / "access.yaml").write_text("\n".join(kept))
    workshop = Workshop.load(tmp_path)
    with pytest.raises(WorkshopError, match=f"has no {role}"):
        getattr(workshop, role)


@pytest.mark.fault("Workshop", "the reader of the workshop is not to read Secrets, which lab 03 shows", "the lab says whom it needs")
def test_a_workshop_whose_reader_reads_no_secrets_says_so(tmp_path: Path) -> None:
    (tmp_path / "access.yaml").write_text((OWN / "access.yaml").read_text().replace("secrets", "events"))
    workshop = Workshop.load(tmp_path)
    assert workshop.reader_of("events") == workshop.reader
    with pytest.raises(WorkshopError, match="has no reader of secrets"):
        workshop.reader_of("secrets")


@pytest.mark.fault(
    "Tokens", "a token lacks the claim that is to be the user name", "what asks RBAC about it names the claim, and what gives it"
)
def test_claims_without_a_user_name_are_an_error_of_their_own(tmp_path: Path) -> None:
    lab = lab_of(OTHER_WORKSHOP, tmp_path / "home")
    with pytest.raises(IdentityError, match='it has no claim "preferred_username"') as caught:
        lab.cluster.identity(Claims("somebody", {"email": "a@b.example"}))
    assert "the scope profile brings preferred_username" in caught.value.fix


def test_an_object_in_a_namespace_is_another_than_its_namesake() -> None:
    objects = Workshop.load(OTHER_WORKSHOP).cluster.rbac.documents
    assert ("Role", "kube-public/builder") in map(kind_and_name, objects)
    assert not any(each.everything for each in Workshop.load(OTHER_WORKSHOP).cluster.bindings if each.namespace)
