"""keycloak.tf: it reads all of realm.yaml, has the form that ``terraform fmt`` would give it, and uses arguments that the provider has.

This is less than applying it: the provider is in none of the package registries, so that no test here can run it.
What became of it when it was run, docs/terraform.md says.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from labkit.common.platform_folder import OWN
from labkit.identity.keycloak import Administrator
from labkit.identity.terraform import CA, Terraform, quoted
from labkit.workshop.fields import kinds
from labkit.workshop.workshop import Workshop
from tests.support import OTHER_WORKSHOP

FILE = OWN / "keycloak.tf"
DEFAULT = Workshop.load()
PROVIDER = {
    "keycloak_group": {"realm_id", "parent_id", "name", "description", "attributes"},
    "keycloak_role": {"realm_id", "client_id", "name", "description", "attributes"},
    "keycloak_user": {
        *("realm_id", "username", "enabled", "email", "email_verified", "first_name", "last_name", "attributes", "required_actions"),
        *("value", "temporary"),
    },
    "keycloak_user_groups": {"realm_id", "user_id", "group_ids", "exhaustive"},
    "keycloak_user_roles": {"realm_id", "user_id", "role_ids", "exhaustive"},
    "keycloak_openid_client_scope": {
        *("realm_id", "name", "description", "include_in_token_scope", "include_in_openid_provider_metadata", "gui_order"),
        "extra_config",
    },
    "keycloak_generic_protocol_mapper": {"realm_id", "client_id", "client_scope_id", "name", "protocol", "protocol_mapper", "config"},
    "keycloak_openid_client_default_scopes": {"realm_id", "client_id", "default_scopes"},
    "keycloak_openid_client_optional_scopes": {"realm_id", "client_id", "optional_scopes"},
    "keycloak_openid_client": {
        *("realm_id", "client_id", "name", "description", "enabled", "access_type", "client_authenticator_type", "client_secret"),
        *("standard_flow_enabled", "implicit_flow_enabled", "direct_access_grants_enabled", "service_accounts_enabled"),
        *("frontchannel_logout_enabled", "full_scope_allowed", "consent_required", "valid_redirect_uris", "web_origins"),
        *("root_url", "base_url", "admin_url", "backchannel_logout_session_required", "use_refresh_tokens", "extra_config"),
    },
}
"""The arguments of each resource, as the documentation of the provider's version 5.9 lists them; only those that could be of use."""


class Somewhere:
    """Stands in for a Keycloak: of a server only its address, CA and administrator are asked."""

    def __init__(self, ca: Path, administrator: Administrator) -> None:
        self.url, self.ca, self.administrator = "https://sso.example.com/auth", ca, administrator


def terraform(administrator: Administrator | None = None) -> Terraform:
    keycloak = Somewhere(Path("ca.crt"), administrator or Administrator("myrealm", user="admin"))
    return Terraform(FILE, DEFAULT.realm, keycloak)  # type: ignore[arg-type]


def resources(text: str) -> list[tuple[str, str, str]]:
    """Type, label and body of each resource."""
    return re.findall(r'^resource "(\w+)" "([\w-]+)" \{\n(.*?)^\}', text, flags=re.MULTILINE | re.DOTALL)


def test_every_argument_is_one_that_the_provider_has() -> None:
    for kind, name, body in resources(FILE.read_text()):
        used = set(re.findall(r"^ +(\w+) +=", body, flags=re.MULTILINE)) - {"for_each", "depends_on"}
        assert used - PROVIDER[kind] == set(), f"{kind}.{name}"


def test_every_resource_for_what_is_declared_is_in_the_table_beside_the_admin_api() -> None:
    there = {f"{kind}.{name}" for kind, name, _ in resources(FILE.read_text())}
    shown = {row["in keycloak.tf"].partition("[")[0] for row in terraform().two_ways().records()}
    unused = {"keycloak_group.subgroups", "keycloak_role.roles", "keycloak_user_roles.users"}
    assert shown == there - unused - {"keycloak_openid_client_optional_scopes.clients"}
    (mapper,) = [row for row in terraform().two_ways().records() if row["name"] == "kube-audience"]
    assert mapper["by the admin API"] == "POST clients/…/protocol-mappers/models"
    assert mapper["in keycloak.tf"] == 'keycloak_generic_protocol_mapper.clients["backstage-client/kube-audience"]'


@pytest.mark.fault("Exposure", "keycloak.tf and its values are shown or committed", "they hold no secret: Terraform reads realm.yaml")
def test_the_file_and_its_values_hold_no_secret() -> None:
    secrets = {user.password.get_secret_value() for user in DEFAULT.realm.users}
    secrets |= {client.secret.get_secret_value() for client in DEFAULT.realm.clients}
    shown = f"{terraform()}{terraform().values()}"
    assert [secret for secret in secrets if secret in shown] == []
    sensitive = re.findall(r'^variable "(\w+)" \{[^}]*sensitive += true', shown, flags=re.MULTILINE)
    assert sensitive == ["admin_secret"]


def test_the_values_say_where_keycloak_is_and_who_administers_it() -> None:
    assert terraform().values().splitlines() == [
        'keycloak_url = "https://sso.example.com/auth"',
        'admin_realm = "myrealm"',
        'admin_client = "admin-cli"',
        'admin_user = "admin"',
        f'ca_file = "{CA}"',
    ]
    assert "admin_user" not in terraform(Administrator("master", client="robot")).values()


TEXTS = ['${file("/etc/passwd")}', "%{ if true }", "$${a} $%{b}", 'a"b\\', "one\ntwo\t", "\b\x00é😀", "a b.c:d/e@f-g"]


@pytest.mark.fault("Workshop", "a name that Terraform would read as its own: `${…}`, a quote, several lines", "it stays text")
@pytest.mark.parametrize("text", TEXTS)
def test_what_would_be_terraforms_own_stays_text(text: str) -> None:
    inside = quoted(text)[1:-1]
    assert re.fullmatch(r"([A-Za-z0-9 ._:/@-]|\\U[0-9a-f]{8})*", inside)
    assert re.sub(r"\\U([0-9a-f]{8})", lambda found: chr(int(found[1], 16)), inside) == text


def test_every_field_that_labkit_knows_is_read_or_refused_by_the_file() -> None:
    """The lists in ``local.read`` are of fields that there are."""
    listed = dict(re.findall(r'^ +"?([\w.]+)"? += \{ items = .*?, fields = (\[.*?\])', FILE.read_text(), flags=re.MULTILINE))
    kind_of = {"realm": "realm", "groups": "group", "subGroups": "group", "roles.realm": "role", "users": "user", "clients": "client"}
    for name, kind in {**kind_of, "clientScopes": "scope"}.items():
        assert set(json.loads(listed[name])) - {"parent"} <= kinds()[kind].managed.keys(), name


MORE = {
    "clientScopes": [{"name": "extra", "protocol": "openid-connect", "attributes": {"a": "1", "gui.order": "2"}, "protocolMappers": []}],
    "groups": [{"name": "a", "subGroups": [{"name": "b"}, {"name": "c", "attributes": {"x": ["1", "2"]}}]}, {"name": "d"}],
    "clients": [],
    "users": [{"username": "ada", "groups": ["/a/b"], "attributes": {"x": ["${1}"]}}],
}


def evaluated(folder: Path, realm: object) -> subprocess.CompletedProcess[str]:
    """What Terraform makes of the file's locals: its resources need the provider, its locals don't."""
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not on the PATH")
    blocks = re.findall(r"^(?:locals|output \"realm\") \{\n.*?^\}\n", FILE.read_text(), flags=re.MULTILINE | re.DOTALL)
    names = ("groups", "subgroups", "scope_mappers", "client_mappers", "users", "unread")
    seen = "".join(f'output "{name}" {{\n  value = local.{name}\n}}\n' for name in names)
    (folder / "main.tf").write_text("".join(blocks) + seen)
    (folder / "realm.yaml").write_text(yaml.safe_dump(realm))
    return subprocess.run([program, "apply", "-auto-approve", "-no-color"], cwd=folder, capture_output=True, text=True, check=False)


def outputs(folder: Path) -> dict[str, object]:
    done = subprocess.run(["terraform", "output", "-json"], cwd=folder, capture_output=True, text=True, check=True)
    return {name: output["value"] for name, output in json.loads(done.stdout).items()}


def test_terraform_finds_every_object_of_the_realm_in_the_file(tmp_path: Path) -> None:
    done = evaluated(tmp_path, DEFAULT.realm.representation)
    assert done.returncode == 0, done.stderr
    found = outputs(tmp_path)
    assert {name: list(found[name]) for name in ("groups", "subgroups", "scope_mappers", "client_mappers", "users")} == {  # type: ignore[call-overload]
        "groups": ["/kube-admin", "/kube-dev"],
        "subgroups": [],
        "scope_mappers": ["groups/groups"],
        "client_mappers": ["backstage-client/kube-audience"],
        "users": ["backstage", "user-admin", "user-dev"],
    }


def test_terraform_finds_every_object_of_another_workshops_realm(tmp_path: Path) -> None:
    realm = Workshop.load(OTHER_WORKSHOP).realm
    done = evaluated(tmp_path, realm.representation)
    assert done.returncode == 0, done.stderr
    found = outputs(tmp_path)
    assert {name: list(found[name]) for name in ("groups", "subgroups", "scope_mappers", "client_mappers", "unread")} == {  # type: ignore[call-overload]
        "groups": ["/builders", "/captains", "/everybody", "/ops"],
        "subgroups": ["/ops/onduty"],
        "scope_mappers": ["teams/the teams of a person"],
        "client_mappers": ["harbour-portal/for the cluster"],
        "unread": [],
    }
    assert list(found["users"]) == sorted(user.username for user in realm.users)  # type: ignore[call-overload]


def test_terraform_finds_what_the_workshop_does_not_use(tmp_path: Path) -> None:
    done = evaluated(tmp_path, {"realm": "r", "enabled": True, **MORE})
    assert done.returncode == 0, done.stderr
    found = outputs(tmp_path)
    assert list(found["subgroups"]) == ["/a/b", "/a/c"]  # type: ignore[call-overload]
    assert found["users"]["ada"]["attributes"] == {"x": ["${1}"]}  # type: ignore[index]


@pytest.mark.fault("Workshop", "realm.yaml has a field that keycloak.tf does not read", "Terraform names it and applies nothing")
def test_terraform_names_a_field_that_the_file_does_not_read(tmp_path: Path) -> None:
    client = {"clientId": "c", "notBefore": 1}
    done = evaluated(tmp_path, {"realm": "r", "enabled": True, "displayName": "R", "clients": [client]})
    assert done.returncode != 0
    assert "keycloak.tf does not read clients.notBefore, realm.displayName" in re.sub(r"[\s│]+", " ", done.stderr)


def test_it_has_the_canonical_format() -> None:
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not on the PATH")
    done = subprocess.run([program, "fmt", "-check", "-diff", FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
