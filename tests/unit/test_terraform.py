"""keycloak.tf: what it says, in the form that ``terraform fmt`` would give it, with arguments that the provider has.

This is less than applying it: the provider is in none of the package registries, so that no test here can run it.
What became of it when it was run, docs/terraform.md says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import labkit.workshop
from labkit.identity.hcl import Block, Expression, arguments, label
from labkit.identity.keycloak import Administrator
from labkit.identity.terraform import Terraform
from labkit.workshop import Workshop

DEFAULT = Workshop.load(Path(labkit.workshop.__file__).with_name("workshop.yaml"))
PROVIDER = {
    "keycloak_group": {"realm_id", "name"},
    "keycloak_user": {"realm_id", "username", "enabled", "email", "email_verified", "first_name", "last_name", "value"},
    "keycloak_user_groups": {"realm_id", "user_id", "group_ids", "exhaustive"},
    "keycloak_openid_client_scope": {"realm_id", "name", "include_in_token_scope", "gui_order"},
    "keycloak_openid_group_membership_protocol_mapper": {"realm_id", "client_id", "client_scope_id", "name", "claim_name", "full_path"},
    "keycloak_openid_audience_protocol_mapper": {"realm_id", "client_id", "client_scope_id", "name", "included_custom_audience"},
    "keycloak_openid_client_default_scopes": {"realm_id", "client_id", "default_scopes"},
    "keycloak_openid_client": {
        *("realm_id", "client_id", "name", "enabled", "access_type", "client_secret", "valid_redirect_uris"),
        *("standard_flow_enabled", "implicit_flow_enabled", "direct_access_grants_enabled"),
    },
}
"""The arguments of each resource, as the documentation of the provider's version 5.9 lists them; only those that could be of use."""


class Somewhere:
    """Stands in for a Keycloak: of a server only its address, CA and administrator are asked."""

    def __init__(self, ca: Path, administrator: Administrator) -> None:
        self.url, self.ca, self.administrator = "https://sso.example.com/auth", ca, administrator


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    file = tmp_path / "ca.crt"
    file.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    return file


def terraform(ca: Path, workshop: Workshop = DEFAULT, administrator: Administrator | None = None) -> Terraform:
    return Terraform(workshop, Somewhere(ca, administrator or Administrator("myrealm", user="admin")))  # type: ignore[arg-type]


def resources(text: str) -> list[tuple[str, str, str]]:
    """Type, label and body of each resource."""
    return re.findall(r'^resource "(\w+)" "([\w-]+)" \{\n(.*?)^\}', text, flags=re.MULTILINE | re.DOTALL)


def test_there_is_a_resource_for_everything_declared(ca: Path) -> None:
    assert [(kind.removeprefix("keycloak_"), name) for kind, name, _ in resources(str(terraform(ca)))] == [
        ("group", "groups"),
        ("user", "users"),
        ("user_groups", "user_groups"),
        ("openid_client_scope", "groups"),
        ("openid_group_membership_protocol_mapper", "groups_groups"),
        ("openid_client", "kube"),
        ("openid_client_default_scopes", "kube"),
        ("openid_client", "backstage-client"),
        ("openid_audience_protocol_mapper", "backstage-client_kube-audience"),
        ("openid_client_default_scopes", "backstage-client"),
    ]


def test_every_argument_is_one_that_the_provider_has(ca: Path) -> None:
    for kind, name, body in resources(str(terraform(ca))):
        used = set(re.findall(r"^ +(\w+) +=", body, flags=re.MULTILINE)) - {"for_each"}
        assert used - PROVIDER[kind] == set(), f"{kind}.{name}"


def test_every_resource_named_in_the_table_beside_the_admin_api_is_in_the_file(ca: Path) -> None:
    there = {f"{kind}.{name}" for kind, name, _ in resources(str(terraform(ca)))}
    assert {row["in keycloak.tf"] for row in terraform(ca).two_ways().records()} == there


@pytest.mark.fault("Exposure", "keycloak.tf is shown or committed", "it holds no secret: those are variables, marked as sensitive")
def test_the_file_holds_no_secret_and_the_values_are_in_another(ca: Path) -> None:
    secret = re.compile("an-own-secret-[a-z-]+")
    users = tuple(u.model_copy(update={"password": type(u.password)(f"an-own-secret-{u.username}")}) for u in DEFAULT.realm.users)
    clients = tuple(c.model_copy(update={"secret": type(c.secret)(f"an-own-secret-{c.client_id}")}) for c in DEFAULT.realm.clients)
    workshop = DEFAULT.model_copy(update={"realm": DEFAULT.realm.model_copy(update={"users": users, "clients": clients})})
    made = terraform(ca, workshop)
    assert secret.findall(str(made)) == []
    assert len(secret.findall(made.secrets())) == len(users) + len(clients)
    variables = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', str(made), flags=re.MULTILINE | re.DOTALL)
    sensitive = {name for name, body in variables if re.search("sensitive += true", body)}
    assert sensitive == {"admin_secret", "user_passwords", "client_secrets"}


def test_the_provider_signs_in_as_the_administrator_does(ca: Path) -> None:
    user, client = str(terraform(ca)), str(terraform(ca, administrator=Administrator("master", client="robot")))
    assert 'username  = "admin"' in user
    assert "password  = var.admin_secret" in user
    assert re.search(r"client_secret += var.admin_secret", client)
    assert "username" not in client.split("locals {", maxsplit=1)[0].split("provider")[2]


def canonical(text: str) -> list[str]:
    """The lines that are not as ``terraform fmt`` would have them, as far as it matters here: indentation, equals signs in columns."""
    wrong, depth, column, heredoc = [], 0, 0, False
    for line in text.splitlines():
        if heredoc:
            heredoc = line.strip() != "EOT"
            continue
        closes = line.strip()[:1] in ("}", "]")
        depth -= closes
        found = re.match(r"( *)(\S+)( +)= \S", line)
        opens = line.endswith(("{", "[", "<<-EOT"))
        if line and len(line) - len(line.lstrip()) != 2 * depth:
            wrong.append(line)
        if found and not opens:
            wrong += [line] if column and found.end(3) != column else []
            column = found.end(3)
        else:
            wrong += [line] if found and len(found[3]) != 1 else []
            column = 0
        depth += line.endswith(("{", "["))
        heredoc = line.endswith("<<-EOT")
    return wrong


@pytest.mark.parametrize("kind", ["keycloak.tf", "secrets.auto.tfvars"])
def test_it_has_the_canonical_format(ca: Path, kind: str, tmp_path: Path) -> None:
    made = terraform(ca)
    text = f"{made}\n" if kind == "keycloak.tf" else f"{made.secrets()}\n"
    assert canonical(text) == []
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not on the PATH: looked at by labkit's own rules only")
    (tmp_path / kind).write_text(text)
    done = subprocess.run([program, "fmt", "-check", "-diff", kind], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_is_text_stays_text() -> None:
    assert arguments({"a": 'say "${b}" and %{c} in C:\\'}) == r'a = "say \"$${b}\" and %%{c} in C:\\"'
    assert arguments({"a": Expression("b.c"), "some.one": True}) == 'a          = b.c\n"some.one" = true'


@pytest.mark.fault(
    "Workshop", "text in workshop.yaml that Terraform would read as its own: several lines, `${…}`, the end of a heredoc", "it stays text"
)
@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('EOT\n${file("/etc/passwd")}', r"EOT\n$${file(\"/etc/passwd\")}"),
        ("one\n  two\n", r"one\n  two\n"),
        ("%{ if true }", "%%{ if true }"),
        # In $$${ the first two might be taken for the escape, and what follows for a template.
        ("$${a} %%{b} $%{c}", r"\u0024\u0024{a} \u0025\u0025{b} \u0024\u0025{c}"),
        ("$5 100% {a} $ {b}", "$5 100% {a} $ {b}"),
        ("\t\r\b\x00\x7f\u2028é", "\\t\\r\\u0008\\u0000\\u007f\u2028é"),
    ],
)
def test_what_would_be_terraforms_own_stays_text(text: str, written: str) -> None:
    assert arguments({"a": text}) == f'a = "{written}"'
    assert arguments({"a": [text]}) == f'a = ["{written}"]'
    assert arguments({text: 1}) == f'"{written}" = 1'


def test_a_certificate_is_a_heredoc(ca: Path) -> None:
    pem = ca.read_text() * 2
    assert arguments({"a": pem}).splitlines() == ["a = <<-EOT", *(f"  {line}" for line in pem.splitlines()), "EOT"]


def test_a_first_name_of_several_lines_stays_within_its_quotes(ca: Path) -> None:
    first, *others = DEFAULT.realm.users
    users = (first.model_copy(update={"first_name": 'EOT\n  ${file("x")}\n'}), *others)
    made = str(terraform(ca, DEFAULT.model_copy(update={"realm": DEFAULT.realm.model_copy(update={"users": users})})))
    assert r'= "EOT\n  $${file(\"x\")}\n"' in made
    assert canonical(made) == []


def test_what_may_not_be_a_label_becomes_one() -> None:
    assert [label(name) for name in ("kube", "backstage-client", "a b.c", "1st")] == ["kube", "backstage-client", "a_b_c", "_1st"]


def test_longer_values_stand_apart() -> None:
    block = Block("thing", {"a": 1, "list": ["x" * 60, "y" * 60], "b": 2}, [Block("inner", {"c": False})])
    assert str(block).split("\n\n") == [
        "thing {\n  a = 1",
        f'  list = [\n    "{"x" * 60}",\n    "{"y" * 60}",\n  ]',
        "  b = 2",
        "  inner {\n    c = false\n  }\n}",
    ]
