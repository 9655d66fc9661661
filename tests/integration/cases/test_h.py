"""H: a name is checked by the rules of all who will bear it, and each output escapes it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keycloak import KeycloakAdmin
from kubernetes.client import RbacAuthorizationV1Api, RbacV1Subject, V1ClusterRole, V1ClusterRoleBinding, V1ObjectMeta, V1RoleRef

from labkit import Lab
from labkit.cluster.api import Api
from labkit.common.errors import ClusterError, WorkshopError
from labkit.common.names import broken_rule, name_fault, rules
from labkit.common.platform_folder import OWN
from labkit.config.settings import Settings
from labkit.identity.terraform import Terraform
from labkit.toolchain import Toolchain
from labkit.workshop.workshop import Workshop
from tests.hostile import friendly

KEYCLOAK = ("Keycloak", "RFC 6749, scope-token")
"""Whose rules Keycloak itself enforces."""

WAYS: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "user name": ("users", lambda name: {"username": name}),
    "person's name": ("users", lambda name: {"username": f"u-{uuid4()}", "lastName": name}),
    "email address": ("users", lambda name: {"username": f"u-{uuid4()}", "email": name}),
    "group name": ("groups", lambda name: {"name": name}),
    "client scope": ("client-scopes", lambda name: {"name": name, "protocol": "openid-connect"}),
    "client id": ("clients", lambda name: {"clientId": name}),
    "role name": ("roles", lambda name: {"name": name}),
}
"""By kind of name: where Keycloak takes an object of that name, and the object."""

NAMES = [
    *("ada", "ab", "a b", "a/b", "a\\b", 'a"b', "o'neil", "a:bc", "a,bc", "größe", "анна", "José", "a😀b", "a\u00a0b", "a§b", "a’b", "a`b"),
    *("a%b", "a?b", "a#b", "a;b", "{ab}", "${x}", "a*b", "a|b", "-ab", ".ab", "a..b", "ab.", "@ab", "a@b", "a~b", "a+b", "a=b", "<ab>"),
    *("Anna (Ops)", "Bob & Sally", "SMITH/DUPONT", "my scope", "system:masters", "https://a.example/app", "a" * 63, "a" * 255, "a" * 256),
]
EMAILS = [
    *("a", "@b", "a@", "a@b", "a@b.", "a@b.example", "A@b.example", "a.@b.example", "a..b@b.example", "a b@b.example", "o'neil@b.c"),
    *("a@-b.example", "a@b-.example", "a@b_c.example"),
    *(f"{'a' * 64}@b.example", f"{'a' * 65}@b.example", f"a@{'b' * 63}.example", f"a@{'b' * 64}.example"),
]


@pytest.fixture(scope="module")
def admin_api(keycloak_admin: Callable[[], KeycloakAdmin]) -> Iterator[KeycloakAdmin]:
    """The administrator, at work in a realm of this file's own."""
    admin = keycloak_admin()
    admin.create_realm({"realm": "names", "enabled": True})
    admin.change_current_realm("names")
    yield admin
    keycloak_admin().delete_realm("names")


def disagreement(admin_api: KeycloakAdmin, kind: str, name: str) -> str:
    """What Keycloak and the check say, if Keycloak refuses a name that the check takes, or takes one that "Keycloak's rule" forbids."""
    path, named = WAYS[kind]
    answer = admin_api.connection.raw_post(f"admin/realms/names/{path}", data=json.dumps(named(name)))
    if answer.status_code == HTTPStatus.CONFLICT:
        # Of another user's name, or of a name that was judged before.
        return ""
    taken, rule = answer.status_code == HTTPStatus.CREATED, broken_rule(kind, name)
    if rule and "lower case" in rule["asks"]:
        # Keycloak takes a name in capitals, and keeps it in lower case.
        rule = broken_rule(kind, name.lower())
    right = not taken or rule["whose"] not in KEYCLOAK if rule else taken
    return "" if right else f"{kind} {name!r}: {answer.status_code} {answer.text}, the check says {name_fault(kind, name) or 'nothing'}"


@pytest.mark.fault("Workshop", "a name that Keycloak refuses", "refused when the file is read, with its place and whose rule it is")
@pytest.mark.parametrize("kind", WAYS)
def test_keycloak_and_the_check_agree_on_names(admin_api: KeycloakAdmin, kind: str) -> None:
    """B27, B28, B29: what Keycloak refuses is refused in the file, and nothing else by a rule of Keycloak's."""
    names = EMAILS if kind == "email address" else NAMES
    assert [said for name in names if (said := disagreement(admin_api, kind, name))] == []


SIGNS = st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]) | st.sampled_from(" .-_@/:'\"\\&()%;,*")
ANY_NAME = st.text(SIGNS, min_size=1, max_size=12).filter(lambda name: name == name.strip())
GROUPS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", fullmatch=True)


@pytest.mark.parametrize("kind", WAYS)
@given(name=ANY_NAME)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
def test_keycloak_and_the_check_agree_on_any_name(admin_api: KeycloakAdmin, kind: str, name: str) -> None:
    """B27 to B29: names that nobody thought of."""
    assert disagreement(admin_api, kind, name) == ""


VALID = """
const { KubernetesValidatorFunctions: rules } = require('@backstage/catalog-model');
const names = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(names.map((name) => [rules.isValidObjectName(name), rules.isValidNamespace(name)])));
"""


@given(names=st.lists(ANY_NAME | GROUPS, min_size=200, max_size=200))
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
def test_the_portals_catalog_and_the_check_agree_on_names(names: list[str]) -> None:
    """B31, a relative: what the catalog takes as the name and the namespace of a template, and nothing else."""
    programs, asked = Toolchain(Settings.load().cache).ensure("node", "backstage"), [*NAMES, "My Template", "a--b", *names]
    command, folder = [str(programs["node"].path), "-e", VALID], programs["backstage"].path
    done = subprocess.run(command, cwd=folder, env=friendly(), input=json.dumps(asked), capture_output=True, check=True, text=True)
    checked = [[broken_rule("catalog name", name) is None, broken_rule("namespace", name) is None] for name in asked]
    assert dict(zip(asked, checked, strict=True)) == dict(zip(asked, json.loads(done.stdout), strict=True))


OBJECTS = [
    *(
        "cr-reader",
        "Team Blue",
        "a:b",
        "größe",
        "a b",
        "-a",
        ".",
        "..",
        "...",
        "a..b",
        "a/b",
        "a%b",
        "%2e",
        "a\\b",
        'a"b',
        "a" * 253,
        "a" * 500,
    ),
    *("a?b", "a#b", "a;b", "a=b", "a@b", "{ab}", "${x}", "a😀"),
]


def of_the_api_server(admin: Api, name: str) -> str:
    """What the API server and the check say, if they differ about the name of a cluster role; nothing is made."""
    role = V1ClusterRole(metadata=V1ObjectMeta(name=name))
    refused = ""
    try:
        admin.ask(lambda client: RbacAuthorizationV1Api(client).create_cluster_role(role, dry_run="All"))
    except ClusterError as error:
        refused = error.why
    taken = not refused or "already exists" in refused
    assert taken or "is invalid" in refused, refused
    rule = broken_rule("cluster object", name)
    # It lets itself be overwritten: those names are taken by it, and nobody else should have them.
    right = taken if not rule or "its own names" in rule["asks"] else not taken
    return "" if right else f"{name!r}: {refused or 'taken'}, the check says {rule}"


@pytest.fixture(scope="module")
def cluster_admin(lab: Lab) -> Api:
    """The API server, as somebody sees it who may do everything."""
    person = lab.sign_in("user-admin")
    person.whoami()
    return person.api


def test_the_api_server_and_the_check_agree_on_names(cluster_admin: Api) -> None:
    """B47: names of roles and bindings."""
    assert [said for name in OBJECTS if (said := of_the_api_server(cluster_admin, name))] == []


@given(name=ANY_NAME)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
def test_the_api_server_and_the_check_agree_on_any_name(cluster_admin: Api, name: str) -> None:
    """B47: names that nobody thought of."""
    assert of_the_api_server(cluster_admin, name) == ""


@given(name=GROUPS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
def test_a_group_that_the_check_takes_is_the_same_in_a_binding_and_for_the_api_server(lab: Lab, cluster_admin: Api, name: str) -> None:
    """B17, B31: the API server has it from the file word for word, so that the binding that names it applies."""
    trust = replace(lab.cluster.trust, groups=(name,))
    told = yaml.safe_load(trust.configuration())["jwt"][0]["claimMappings"]["groups"]["expression"]
    assert json.loads(told[: told.index("]") + 1]) == [name]
    subject = RbacV1Subject(kind="Group", name=name, api_group="rbac.authorization.k8s.io")
    role = V1RoleRef(kind="ClusterRole", name="view", api_group="rbac.authorization.k8s.io")
    body = V1ClusterRoleBinding(metadata=V1ObjectMeta(name="of-a-group"), subjects=[subject], role_ref=role)
    made = cluster_admin.ask(lambda client: RbacAuthorizationV1Api(client).create_cluster_role_binding(body, dry_run="All"))
    assert made.subjects[0].name == name


def edited(folder: Path, file: str, edit: Callable[[Any], None]) -> list[str]:
    """What is said about a workshop folder with an edited file, a line per problem, without the file's name and the line."""
    documents = list(yaml.safe_load_all((OWN / file).read_text()))
    edit(documents if len(documents) > 1 else documents[0])
    # By way of JSON, so that what is there twice is written twice: these files take no alias.
    (folder / file).write_text(yaml.safe_dump_all(json.loads(json.dumps(documents))))
    with pytest.raises(WorkshopError) as refused:
        Workshop.load(folder)
    lines = [re.fullmatch(rf"{re.escape(str(folder / file))}:[1-9]\d*: (.*)", line) for line in refused.value.why.splitlines()]
    return [line[1] for line in lines if line]


@pytest.mark.parametrize(
    ("case", "at", "key", "name", "whose"),
    [
        ("B17", ("groups", 0), "name", "system:masters", "Kubernetes"),
        ("B31", ("groups", 0), "name", "platform/dev", "Keycloak's paths"),
        ("B31", ("groups", 0), "name", "Team Blue", "Backstage"),
        ("B31", ("groups", 0), "name", "a" * 64, "Backstage"),
        ("B31", ("users", 0), "username", "anna@example.com", "Backstage"),
        ("B31", ("users", 0), "username", "-help", "Backstage"),
        ("B27", ("users", 0), "username", "o'neil", "Keycloak"),
        ("B27", ("users", 0), "username", "local-platform", "the kubeconfig"),
        ("B28", ("users", 0), "firstName", "Anna (Ops)", "Keycloak"),
        ("B28", ("users", 0), "lastName", "a" * 256, "Keycloak"),
        ("B28", ("users", 0), "email", f"{'a' * 65}@b.example", "Keycloak"),
        ("B29", ("clientScopes", 0), "name", "größe", "RFC 6749, scope-token"),
        ("B30", ("clients", 0), "clientId", "a" * 256, "Keycloak"),
        ("B30", ("clients", 0), "clientId", "a\nb", "terminals and logs"),
        ("B30", ("clients", 1, "protocolMappers", 0), "name", "a" * 256, "Keycloak"),
    ],
)
def test_a_name_in_realm_yaml_is_refused_with_its_place_and_whose_rule_it_is(
    tmp_path: Path, case: str, at: tuple[str | int, ...], key: str, name: str, whose: str
) -> None:
    """B17, B27, B28, B29, B30, B31: at load."""
    del case

    def edit(realm: Any) -> None:
        for step in at:
            realm = realm[step]
        realm[key] = name

    (first, *_) = edited(tmp_path, "realm.yaml", edit)
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)[1:]
    assert first.startswith(f"{place}.{key}: ")
    assert f" for {whose}: " in first


@pytest.mark.parametrize("name", ["system:node", "kubeadm:get-nodes", "a/b", "x%", "..", "cluster-admin"])
@pytest.mark.parametrize("at", [0, 1], ids=["role", "binding"])
def test_a_role_or_binding_named_as_kubernetes_own_is_refused(tmp_path: Path, at: int, name: str) -> None:
    """B47: what applying would overwrite and removing would delete, and what can stand in no address."""
    (first, *_) = edited(tmp_path, "rbac.yaml", lambda objects: objects[at]["metadata"].update(name=name))
    assert first.startswith(f"[{at}].metadata.name: ")
    assert "Kubernetes" in first


def test_two_groups_that_backstage_takes_for_one_are_refused(tmp_path: Path) -> None:
    """B31: an entity's name has no capitals in a reference."""
    found = edited(tmp_path, "realm.yaml", lambda realm: realm["groups"].append({"name": "Kube-Dev"}))
    assert found == ['groups[2].name: "kube-dev" is there twice, first as groups[0].name']


def test_a_user_named_as_anothers_context_is_refused(tmp_path: Path) -> None:
    """B27: of the two contexts of one user, the second ends in -exec."""

    def edit(realm: Any) -> None:
        realm["users"].append({**realm["users"][0], "username": "user-dev-exec", "email": "e@kratix.io"})

    assert [said.partition(": ")[0] for said in edited(tmp_path, "realm.yaml", edit)] == ["users[3].username"]


def test_groups_with_paths_are_refused_for_the_claim_that_the_api_server_reads(tmp_path: Path) -> None:
    """B22: bindings name groups without paths."""

    def full(realm: Any, claim: str) -> None:
        realm["clientScopes"][0]["protocolMappers"][0]["config"].update({"full.path": "true", "claim.name": claim})

    (said,) = edited(tmp_path, "realm.yaml", lambda realm: full(realm, "groups"))
    assert said.startswith('clientScopes[0].protocolMappers[0].config.full.path: should be "false"')
    # Another application may read them in a claim of its own.
    assert not [said for said in edited(tmp_path, "realm.yaml", lambda realm: full(realm, "paths")) if "full.path" in said]


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    """B28: YAML can write what no file and no request can hold."""
    (tmp_path / "realm.yaml").write_text((OWN / "realm.yaml").read_text().replace("lastName: user-dev", 'lastName: "\\ud83d"'))
    with pytest.raises(WorkshopError) as refused:
        Workshop.load(tmp_path)
    assert "line 28, column 18: found invalid Unicode character escape code" in refused.value.why


ODD_IDS = ["team.a", "team_a", 'portal "blue"', "${x}", "%{if}", "back\\slash", "https://a.example/app", "größe 😀", "a'b"]


def test_terraform_takes_any_client_id_as_a_key(tmp_path: Path) -> None:
    """B30: keycloak.tf names its resources by for_each, whose keys may be any text: no two become one, and none has to be escaped."""
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not on the PATH")
    realm = {"realm": "r", "clients": [{"clientId": name, "protocolMappers": [{"name": name}]} for name in ODD_IDS]}
    (tmp_path / "realm.yaml").write_text(yaml.safe_dump(realm))
    (block,) = re.findall(r"^locals \{\n  file .*?^\}\n", (OWN / "keycloak.tf").read_text(), flags=re.MULTILINE | re.DOTALL)
    resources = "".join(
        f'resource "terraform_data" "{name}" {{\n  for_each = local.{name}\n  input = each.key\n}}\n'
        for name in ("clients", "client_mappers")
    )
    (tmp_path / "main.tf").write_text(block + resources)
    for words in (["init"], ["apply", "-auto-approve"]):
        subprocess.run([program, *words, "-no-color"], cwd=tmp_path, capture_output=True, text=True, check=True)
    shown = subprocess.run([program, "show", "-json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    made = json.loads(shown.stdout)["values"]["root_module"]["resources"]
    assert sorted(each["index"] for each in made if each["name"] == "clients") == sorted(ODD_IDS)
    assert sorted(each["index"] for each in made if each["name"] == "client_mappers") == sorted(f"{name}/{name}" for name in ODD_IDS)


def test_two_mappers_that_terraform_would_take_for_one_are_refused(tmp_path: Path) -> None:
    """B30: the client a with the mapper b/c, and the client a/b with the mapper c."""

    def edit(realm: Any) -> None:
        kube, mapper = realm["clients"][0], realm["clients"][1]["protocolMappers"][0]
        realm["clients"] += [
            {**kube, "clientId": name, "protocolMappers": [{**mapper, "name": own}]} for name, own in (("a", "b/c"), ("a/b", "c"))
        ]

    (said,) = edited(tmp_path, "realm.yaml", edit)
    assert said == 'clients[3].protocolMappers[0].name: "a/b/c" is there twice, first as clients[2].protocolMappers[0].name'


def test_each_rule_is_whole() -> None:
    """Every rule says whose it is, what is good and what it asks for, and its pattern is one."""
    for rule in (rule for of_kind in rules().values() for rule in of_kind):
        assert rule.keys() == {"whose", "good", "asks"}
        assert all(isinstance(text, str) and text for text in rule.values())
        re.compile(rule["good"])


def test_a_terraform_address_is_one_that_terraform_reads_back() -> None:
    """B30: the table of both ways shows addresses to be pasted into `terraform state show`."""
    realm = Workshop.load().realm.with_values({("clients", 0, "clientId"): 'portal "blue" ${x}'})
    rows = Terraform(OWN / "keycloak.tf", realm, cast("Any", None)).two_ways().records()
    shown = {row["in keycloak.tf"] for row in rows if row["name"] == 'portal "blue" ${x}'}
    key = r'"portal \U00000022blue\U00000022 \U00000024\U0000007bx\U0000007d"'
    assert f"keycloak_openid_client.clients[{key}]" in shown
