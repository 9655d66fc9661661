"""The portal on real servers: who signs in, what it does in their name, and that it never does it in anybody else's."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from labkit.common.errors import (
    ClusterError,
    Forbidden,
    InvalidValues,
    KeycloakUnreachable,
    NotPermitted,
    NotSignedIn,
    PortalError,
    PortalUnreachable,
    SignInRefused,
    TaskFailed,
    TemplateUnknown,
)
from labkit.common.expectation import expect
from labkit.common.http_session import request
from labkit.common.platform_folder import OWN
from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab
from labkit.portal import config
from labkit.portal.browser import Browser
from labkit.portal.client import PortalSession
from labkit.portal.server import SOURCES
from labkit.workshop.workshop import Secret
from tests.app_config import substituted
from tests.hostile import friendly

NAMESPACE = "portal-tests"
DEV = 'User "user-dev@kratix.io" cannot'
HERE = f'in API group "" in the namespace "{NAMESPACE}"'
# What any template that uses the contract does: it hands a manifest to the action. This one may wait first.
ANY_MANIFEST = """
apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: any-manifest}
spec:
  type: service
  parameters:
    required: [manifest]
    properties: {manifest: {type: string}, seconds: {type: number, default: 0}, force: {type: boolean, default: false}}
  steps:
    - {id: wait, if: "${{ parameters.seconds > 0 }}", action: debug:wait, input: {seconds: "${{ parameters.seconds }}"}}
    - id: make
      action: ske:configure-resource
      input: {manifest: "${{ parameters.manifest }}", force: "${{ parameters.force }}"}
  output: {resourceId: "${{ steps.make.output.resourceId }}"}
"""


def quiet(_: str) -> None:
    """Takes a task's log where nobody reads it."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"not within 20 s: {what}"
        time.sleep(0.1)


def config_map(name: str, **data: str) -> str:
    """A ConfigMap as YAML (JSON is YAML)."""
    metadata = {"name": name, "namespace": NAMESPACE}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


@pytest.fixture(scope="module")
def admin(lab: Lab) -> PortalSession:
    return lab.portal.sign_in("user-admin")


@pytest.fixture(scope="module")
def dev(lab: Lab) -> PortalSession:
    return lab.portal.sign_in("user-dev")


@pytest.fixture(scope="module")
def namespace(lab: Lab) -> Iterator[str]:
    """A namespace for what the portal makes."""
    lab.cluster.admin_kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    lab.cluster.admin_kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def template(admin: PortalSession, namespace: str) -> str:
    """Our own template for a ConfigMap."""
    assert namespace
    return admin.register_template(OWN / "templates" / "configmap.yaml")


@pytest.fixture(scope="module")
def any_manifest(admin: PortalSession, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A template of somebody else's."""
    assert namespace
    file = tmp_path_factory.mktemp("templates") / "any.yaml"
    file.write_text(ANY_MANIFEST)
    return admin.register_template(file)


def data_of(lab: Lab, name: str) -> dict[str, str]:
    told = lab.cluster.admin_kubectl("get", "configmap", name, "-n", NAMESPACE, "-o", "json").output
    return dict(json.loads(told)["data"])


@pytest.mark.parametrize("username", ["user-admin", "user-dev"])
def test_whoever_signs_in_is_the_same_person_to_portal_keycloak_and_cluster(lab: Lab, username: str) -> None:
    session, declared = lab.portal.sign_in(username), lab.workshop.user(username)
    known, seen = session.known(), session.whoami()
    assert known.user_ref == f"user:default/{username}"
    assert known.owns_as == (f"user:default/{username}", *(f"group:default/{group}" for group in declared.groups))
    assert known.groups == declared.groups
    assert (seen.username, set(seen.groups)) == (declared.email, {*declared.groups, "system:authenticated"})
    assert "eyJ" not in repr(session)


def test_the_catalogs_groups_have_the_realms_members(admin: PortalSession) -> None:
    groups = {
        group["metadata"]["name"]: {relation["targetRef"] for relation in group["relations"] if relation["type"] == "hasMember"}
        for group in admin.catalog("group").entities
    }
    assert groups == {"kube-dev": {"user:default/user-dev", "user:default/backstage"}, "kube-admin": {"user:default/user-admin"}}


def test_a_wrong_password_is_refused_by_keycloaks_form_in_its_words(lab: Lab) -> None:
    browser = Browser(lab.portal.url, lab.keycloak, lab.portal.absent)
    user = replace(lab.workshop.user("user-dev"), password=Secret("a guess"))
    with pytest.raises(SignInRefused, match="Keycloak did not sign user-dev in") as caught:
        browser.sign_in(user)
    assert caught.value.why == "Invalid username or password."
    assert "a guess" not in str(caught.value)


def test_the_administrator_creates_updates_and_deletes_through_the_portal(lab: Lab, admin: PortalSession, template: str) -> None:
    values = {"name": "mine", "namespace": NAMESPACE, "data": {"colour": "blue", "size": "large"}}
    said: list[str] = []
    made = admin.run_template(template, values, say=said.append)
    assert made.output["resourceId"] == f"configmaps/{NAMESPACE}/mine"
    assert any(f"created configmaps/{NAMESPACE}/mine" in line for line in said)
    seen = lab.sign_in("user-admin").kubectl("get", "configmap", "mine", "-n", NAMESPACE).output.splitlines()[1].split()
    assert seen[:2] == ["mine", "2"]
    admin.run_template(template, {**values, "data": {"colour": "red"}}, say=quiet)
    assert data_of(lab, "mine") == {"colour": "red"}
    assert admin.resource("ConfigMap", "mine", namespace=NAMESPACE)["data"] == {"colour": "red"}
    admin.delete_resource("ConfigMap", "mine", namespace=NAMESPACE)
    with pytest.raises(PortalError) as gone:
        admin.resource("ConfigMap", "mine", namespace=NAMESPACE)
    assert 'configmaps "mine" not found' in gone.value.why


def test_the_developers_create_update_and_delete_are_each_the_api_servers_403(
    lab: Lab, admin: PortalSession, dev: PortalSession, template: str
) -> None:
    admin.run_template(template, {"name": "theirs", "namespace": NAMESPACE, "data": {"colour": "blue"}}, say=quiet)
    new, old = {"name": "new", "namespace": NAMESPACE}, {"name": "theirs", "namespace": NAMESPACE, "data": {"colour": "red"}}
    asked: list[tuple[str, Callable[[], object]]] = [
        (f"configmaps is forbidden: {DEV} create", lambda: dev.run_template(template, new, say=quiet)),
        (f'configmaps "theirs" is forbidden: {DEV} patch', lambda: dev.run_template(template, old, say=quiet)),
        (f'configmaps "theirs" is forbidden: {DEV} delete', lambda: dev.delete_resource("ConfigMap", "theirs", namespace=NAMESPACE)),
    ]
    for words, ask in asked:
        with pytest.raises(Forbidden) as caught:
            ask()
        assert caught.value.what == f'{words} resource "configmaps" {HERE}'
        assert caught.value.user == "user-dev@kratix.io"
    with expect(Forbidden, person=dev):
        dev.proxy("POST", f"api/v1/namespaces/{NAMESPACE}/configmaps", json.loads(config_map("proxied")))
    assert data_of(lab, "theirs") == {"colour": "blue"}
    assert dev.resource("ConfigMap", "theirs", namespace=NAMESPACE)["data"] == {"colour": "blue"}


def test_a_guest_reads_the_catalog_and_no_more(lab: Lab, template: str) -> None:
    guest = lab.portal.guest()
    assert template in guest.catalog("template").refs
    assert guest.known().groups == ()
    with pytest.raises(NotPermitted):
        guest.run_template(template, {"name": "x"}, say=quiet)
    with pytest.raises(NotPermitted):
        guest.register_template(OWN / "templates" / "reader.yaml")
    with pytest.raises(NotSignedIn, match="no token"):
        guest.resource("ConfigMap", "kube-root-ca.crt", namespace="default")
    with pytest.raises(NotSignedIn):
        guest.delete_resource("ConfigMap", "kube-root-ca.crt", namespace="default")
    with pytest.raises((NotPermitted, NotSignedIn)):
        guest.whoami()


def test_nobody_at_all_gets_nothing(lab: Lab) -> None:
    for path in ("catalog/entities", "scaffolder/v2/tasks", "ske/session", "ske/resource?kind=ConfigMap&name=x&apiVersion=v1"):
        assert request("GET", f"{lab.portal.url}/api/{path}", timeout=10).status_code == 401, path


def test_an_unknown_template_is_named_with_those_there_are(admin: PortalSession, template: str) -> None:
    with pytest.raises(TemplateUnknown, match="no template template:default/nothing") as caught:
        admin.run_template("template:default/nothing", {})
    assert template in caught.value.why


def test_values_that_a_form_does_not_take_are_listed(admin: PortalSession, template: str) -> None:
    with pytest.raises(InvalidValues) as caught:
        admin.run_template(template, {"name": "Not_A_Label", "namespace": "Nor_This"})
    assert len(caught.value.problems) == 2
    assert any("name does not match" in problem for problem in caught.value.problems)
    with pytest.raises(InvalidValues, match="does not take these values"):
        admin.run_template(template, {"name": "x" * 64})


def test_a_file_that_is_no_valid_template_is_refused_with_the_catalogs_words(admin: PortalSession, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata: {name: broken}\nspec: {type: service}\n")
    with pytest.raises(PortalError) as caught:
        admin.register_template(file)
    assert "steps" in caught.value.why


def test_a_template_with_several_kinds_of_objects_is_no_special_case(admin: PortalSession, namespace: str) -> None:
    reader = admin.register_template(OWN / "templates" / "reader.yaml")
    made = admin.run_template(reader, {"name": "hello", "namespace": namespace}, say=quiet)
    assert made.output["resourceId"].split(", ") == [
        f"configmaps/{namespace}/hello",
        f"serviceaccounts/{namespace}/hello",
        f"roles.rbac.authorization.k8s.io/{namespace}/hello",
        f"rolebindings.rbac.authorization.k8s.io/{namespace}/hello",
    ]
    assert admin.resource("Role", "hello", "rbac.authorization.k8s.io/v1", namespace)["rules"][0]["resourceNames"] == ["hello"]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: tabs\n", "Tabs are not allowed .*Indent with spaces"),
        (config_map("x").replace("ConfigMap", "ConfigMop"), "knows no kind ConfigMop"),
        (config_map("x").replace('"v1"', '"example.test/v1"'), "knows no apiVersion example.test/v1"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", "name"),
        (config_map("x").replace(NAMESPACE, "nowhere"), "the namespace nowhere does not exist"),
        (config_map("big", data="x" * 1_100_000), "Too long|too large|limit"),
        ("", "empty|no document|holds no"),
        (f"{config_map('first')}\n---\nkind: ConfigMap\n", "apiVersion"),
    ],
    ids=["tabs", "kind", "api version", "name", "namespace", "1 MB", "empty", "second document"],
)
def test_a_manifest_that_can_not_be_done_is_refused_and_nothing_is_done(
    lab: Lab, admin: PortalSession, any_manifest: str, manifest: str, said: str
) -> None:
    before = lab.cluster.admin_kubectl("get", "configmaps", "-A", "-o", "name").output
    with pytest.raises(TaskFailed) as caught:
        admin.run_template(any_manifest, {"manifest": manifest}, say=quiet)
    assert re.search(said, caught.value.why), caught.value.why
    assert len(caught.value.why) < 3000
    assert lab.cluster.admin_kubectl("get", "configmaps", "-A", "-o", "name").output == before


def test_several_documents_of_which_one_is_forbidden_tell_what_was_done(lab: Lab, dev: PortalSession, any_manifest: str) -> None:
    role = ("role", "portal-maker", "-n", NAMESPACE)
    lab.cluster.admin_kubectl("create", *role, "--verb=create", "--resource=configmaps")
    lab.cluster.admin_kubectl("create", "rolebinding", "portal-maker", "-n", NAMESPACE, "--role=portal-maker", "--group=kube-dev")
    secret = config_map("second").replace("ConfigMap", "Secret")
    try:
        api = lab.sign_in("user-dev").api
        wait_until(lambda: api.can("create", "configmaps", NAMESPACE), "RBAC follows")
        with pytest.raises(Forbidden) as caught:
            dev.run_template(any_manifest, {"manifest": f"{config_map('first')}\n---\n{secret}"}, say=quiet)
    finally:
        lab.cluster.admin_kubectl("delete", "rolebinding", "portal-maker", "-n", NAMESPACE)
        lab.cluster.admin_kubectl("delete", *role)
    assert caught.value.what == f'secrets is forbidden: {DEV} create resource "secrets" {HERE}'
    assert f"Done before: created configmaps/{NAMESPACE}/first" in caught.value.why
    assert "/first" in lab.cluster.admin_kubectl("get", "configmap", "first", "-n", NAMESPACE, "-o", "name").output


def test_a_field_that_another_manager_has_set_is_named_and_taken_only_by_force(lab: Lab, admin: PortalSession, any_manifest: str) -> None:
    apply = ("apply", "--server-side", "--field-manager=somebody", "-f", "-")
    lab.cluster.kubectl(lab.cluster.endpoint.name, *apply, stdin=config_map("shared", colour="blue", size="large"))
    asked = {"manifest": config_map("shared", colour="red")}
    with pytest.raises(TaskFailed) as caught:
        admin.run_template(any_manifest, asked, say=quiet)
    assert ".data.colour is set by somebody" in caught.value.why
    assert data_of(lab, "shared") == {"colour": "blue", "size": "large"}
    admin.run_template(any_manifest, {**asked, "force": True}, say=quiet)
    assert data_of(lab, "shared") == {"colour": "red", "size": "large"}


def test_the_proxy_hands_on_what_the_api_server_says(admin: PortalSession, dev: PortalSession) -> None:
    assert dev.proxy("GET", "api/v1/namespaces")["kind"] == "NamespaceList"
    with pytest.raises(ClusterError) as caught:
        admin.proxy("GET", "api/v1/namespaces/nowhere")
    assert (caught.value.what, caught.value.why) == ("the API server answered 404", 'namespaces "nowhere" not found')


def test_a_portal_that_does_not_run_is_said_with_how_to_start_it(lab: Lab, tmp_path: Path) -> None:
    ports = open_state_folder(tmp_path / "home", environ={}, free_ports=True).ports
    other = Lab(replace(lab.settings, folder=tmp_path / "home", ports=ports))
    with pytest.raises(PortalUnreachable, match=f"nothing answers at {other.portal.url}") as caught:
        other.portal.sign_in("user-dev")
    assert caught.value.why == "it is not running"
    assert "labkit up" in caught.value.fix
    with pytest.raises(KeycloakUnreachable):
        other.portal.start()


@pytest.fixture
def site(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A site with a template, which the portal may read from: the address of the template."""
    (tmp_path / "t.yaml").write_text(ANY_MANIFEST.replace("any-manifest", "by-url"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"localhost:{server.server_port}"
        readable = tmp_path / lab.portal.app_config.name
        readable.write_text(lab.portal.app_config.read_text().replace("allow: []", f"allow: [{{host: '{host}'}}]"))
        with monkeypatch.context() as patch:
            patch.setattr(lab.portal, "app_config", readable)
            lab.portal.start()
            yield f"http://{host}/t.yaml"
        server.shutdown()
    lab.portal.start()


def test_a_template_is_registered_by_its_address_by_a_publisher(lab: Lab, site: str) -> None:
    for session in (lab.portal.guest(), lab.portal.sign_in("user-dev")):
        with pytest.raises(NotPermitted):
            session.register_template(site)
    admin = lab.portal.sign_in("user-admin")
    ref = admin.register_template(site)
    assert admin.register_template(site) == ref == "template:default/by-url"
    assert admin.run_template(ref, {"manifest": config_map("by-url")}, say=quiet).output["resourceId"] == f"configmaps/{NAMESPACE}/by-url"
    with pytest.raises(PortalError, match="can't do this"):
        admin.register_template(site.replace("t.yaml", "missing.yaml"))


READ = """
const { ConfigSources } = require('@backstage/config-loader');
ConfigSources.toConfig(ConfigSources.default({ argv: process.argv, watch: false })).then((config) => {
    console.log(JSON.stringify(config.get()));
    config.close();
});
"""


@pytest.mark.parametrize("unset", [(), ("PORTAL_PAGES", "PORTAL_OWNER_LABEL", "PORTAL_USER_TOKEN", "CLUSTER_NAME")])
def test_backstage_reads_its_configuration_as_the_unit_tests_do(lab: Lab, unset: tuple[str, ...]) -> None:
    server = lab.portal._server()
    node, _, _, *options = server.argv
    optional = {"PORTAL_PAGES": "/pages", "PORTAL_OWNER_LABEL": "labkit/home=4711", "PORTAL_USER_TOKEN": "claim"}
    secrets = {config.SESSION_SECRET: "a", config.CLIENT_SECRET: "b"}
    env = {name: value for name, value in {**server.env, **optional, **secrets}.items() if name not in unset}
    command = [node, "-e", READ, "--", *options]
    done = subprocess.run(command, cwd=server.cwd, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == substituted(yaml.safe_load(lab.portal.app_config.read_text()), env)


def test_the_portals_own_tests_pass_with_the_toolchains_node(lab: Lab, tmp_path: Path) -> None:
    programs = lab.toolchain.ensure("node", "backstage")
    app = tmp_path / "app"
    shutil.copytree(SOURCES, app, ignore=shutil.ignore_patterns("node_modules"))
    (app / "node_modules").symlink_to(programs["backstage"].path / "node_modules")
    command = [str(programs["node"].path), "--test"]
    done = subprocess.run(command, cwd=app, env=friendly(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"^. tests [1-9]", done.stdout, re.MULTILINE)
