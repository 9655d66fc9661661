"""G: the portal can do with a manifest what kubectl can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.common.errors import Forbidden, PortalError
from labkit.lab import Lab
from labkit.portal.client import PortalSession

NAMESPACE = "cases-g"
PASTE = """
apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: paste}
spec:
  type: test
  parameters: {required: [manifest], properties: {manifest: {type: string}}}
  steps: [{id: make, action: "ske:configure-resource", input: {manifest: "${{ parameters.manifest }}"}}]
  output: {resourceId: "${{ steps.make.output.resourceId }}"}
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.g.example}
spec:
  group: g.example
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - name: alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"""

Put = Callable[..., list[str]]


@pytest.fixture(scope="module")
def admin(lab: Lab) -> PortalSession:
    return lab.portal.sign_in("user-admin")


@pytest.fixture(scope="module")
def put(lab: Lab, admin: PortalSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Put]:
    """Hands a manifest to the portal, and returns the ids of what was made."""
    file = tmp_path_factory.mktemp("paste") / "paste.yaml"
    file.write_text(PASTE)
    template = admin.register_template(file)
    lab.cluster.admin_kubectl("create", "namespace", NAMESPACE)

    def put(manifest: str, who: PortalSession = admin) -> list[str]:
        done = who.run_template(template, {"manifest": manifest}, say=lambda _: None)
        return str(done.output["resourceId"]).split(", ")

    yield put
    lab.cluster.admin_kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    lab.cluster.admin_kubectl("delete", "crd", "widgets.g.example", "--ignore-not-found", "--wait=false")


def config_map(name: str, data: str = "{}") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\ndata: {data}\n"


@pytest.mark.parametrize("kind", ["List", "ConfigMapList"])
def test_what_has_items_is_flattened(put: Put, kind: str) -> None:
    """B11: a List, or a list of one kind that does not repeat it."""
    own = "apiVersion: v1, kind: ConfigMap, " if kind == "List" else ""
    items = ", ".join(f"{{{own}metadata: {{name: {kind.lower()}-{n}, namespace: {NAMESPACE}}}, data: {{port: 0{n}0}}}}" for n in (1, 2))
    made = put(f"apiVersion: v1\nkind: {kind}\nmetadata: {{resourceVersion: ''}}\nitems: [{items}]\n")
    assert made == [f"configmaps/{NAMESPACE}/{kind.lower()}-{n}" for n in (1, 2)]


def test_who_may_change_one_object_and_create_none_changes_it(lab: Lab, put: Put, admin: PortalSession) -> None:
    """B12: get and patch are enough for an object that is there; for another the refusal is the API server's for create."""
    put(config_map("shared", "{a: one}"))
    kubectl = lab.cluster.admin_kubectl
    kubectl("create", "role", "edit", "--verb=get,patch", "--resource=configmaps", "--resource-name=shared", "-n", NAMESPACE)
    kubectl("create", "rolebinding", "edit", "--role=edit", "--group=kube-dev", "-n", NAMESPACE)
    dev = lab.portal.sign_in("user-dev")
    assert put(config_map("shared", "{a: two}"), dev) == [f"configmaps/{NAMESPACE}/shared"]
    assert admin.resource("ConfigMap", "shared", namespace=NAMESPACE)["data"] == {"a": "two"}
    with pytest.raises(Forbidden, match='cannot create resource "configmaps"'):
        put(config_map("another"), dev)


@pytest.mark.parametrize("run", ["first", "second"])
def test_a_manifest_brings_the_kind_of_its_own_object(put: Put, admin: PortalSession, run: str) -> None:
    """B36, B61, B01, B37: a CRD and its object in one manifest, with a version that isn't called v-something."""
    spec = "{mode: 0400, on: yes, id: 1234567890123456789}"
    widget = f"apiVersion: g.example/alpha1\nkind: Widget\nmetadata: {{name: w, namespace: {NAMESPACE}}}\nspec: {spec}\n"
    assert put(f"{widget}---{CRD}") == [
        f"widgets.g.example/{NAMESPACE}/w",
        "customresourcedefinitions.apiextensions.k8s.io/widgets.g.example",
    ]
    found: Any = admin.resource("Widget", "w", "g.example/alpha1", NAMESPACE)["spec"]
    assert found == {"mode": 256, "true": True, "id": 1234567890123456789}


def test_a_namespace_may_stand_after_what_lies_in_it(lab: Lab, put: Put) -> None:
    """B36, a relative: what others need is made first."""
    name = f"{NAMESPACE}-new"
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
    try:
        assert put(f"{config_map('a').replace(NAMESPACE, name)}---\n{namespace}") == [f"configmaps/{name}/a", f"namespaces/{name}"]
    finally:
        lab.cluster.admin_kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def test_a_name_that_the_api_server_makes_is_put_out(put: Put) -> None:
    """B40: each run makes another object, and its id is the output."""
    text = config_map("x").replace("name: x", "generateName: tool-")
    first, second = put(text)[0], put(text)[0]
    assert first != second
    assert all(made.startswith(f"configmaps/{NAMESPACE}/tool-") for made in (first, second))


def test_a_template_with_files_beside_it_is_not_registered(admin: PortalSession, tmp_path: Path) -> None:
    """B54: what lies beside a template's own file is not taken, and registering says so."""
    for text in ("./skeleton", "skeleton", "../skeleton"):
        file = tmp_path / "skeleton.yaml"
        step = f"{{id: fetch, action: 'fetch:template', input: {{url: {text}}}}}"
        file.write_text(PASTE.replace("steps: [", f"steps: [{step}, ").replace("name: paste", "name: skeleton"))
        with pytest.raises(PortalError, match="takes the one file") as caught:
            admin.register_template(file)
        assert text in caught.value.why
