"""K: a Promise is taken as it is published: without an API, without a spec, with other objects beside it, with workflows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from labkit.cluster.kubectl import KubectlAnswer
from labkit.common.errors import KratixError
from labkit.common.platform_folder import OWN
from labkit.config.settings import Settings
from labkit.kratix.local import LocalKratix
from labkit.kratix.promise import Promise
from labkit.kratix.template import template
from labkit.lab import Lab

OWNER = "group:default/kube-admin"
NO_API = """\
apiVersion: platform.kratix.io/v1alpha1
kind: Promise
metadata: {name: ingress}
spec:
  dependencies: [{apiVersion: v1, kind: Namespace, metadata: {name: ingress}}]
"""
WITH_API = """\
apiVersion: platform.kratix.io/v1alpha1
kind: Promise
metadata: {name: pipelines}
spec:
  api:
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: pipelines.test.example}
    spec:
      group: test.example
      names: {kind: Pipelines, plural: pipelines}
      scope: Namespaced
      versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: SCHEMA}}]
"""
NAMESPACE = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n"

Load = Callable[[str], Promise]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def from_text(text: str) -> Promise:
        (tmp_path / "promise.yaml").write_text(text)
        return Promise.load(tmp_path / "promise.yaml")

    return from_text


def published(promise: Promise, tmp_path: Path) -> tuple[list[Any], str]:
    """What `install` hands to kubectl on a local cluster, and what it says; a stand-in for the API server takes all of it."""
    handed: list[Any] = []

    def admin_kubectl(*args: str, stdin: str = "") -> Any:
        if args[0] == "get":
            return SimpleNamespace(output=json.dumps({"status": {"conditions": [{"type": "Available", "status": "True"}]}}))
        handed.extend(json.loads(stdin)["items"])
        return KubectlAnswer("kubectl apply", "created")

    lab = Lab(Settings.load({"LABKIT_HOME": str(tmp_path / "home")}))
    assert isinstance(lab.kratix, LocalKratix)
    lab.kratix._cluster = cast("Any", SimpleNamespace(admin_kubectl=admin_kubectl))
    return handed, lab.kratix.install(promise).output


@pytest.mark.parametrize("text", [NO_API, NO_API.partition("spec:")[0]])
def test_a_promise_without_an_api_is_published_and_has_nothing_to_ask_for(load: Load, text: str, tmp_path: Path) -> None:
    """B24: cert-manager, ingress-nginx and others bring dependencies and offer nothing."""
    promise = load(text)
    assert not promise.has_api
    assert published(promise, tmp_path) == ([dict(promise.manifest)], "created")
    assert "it has no API" in str(promise)
    with pytest.raises(KratixError, match="the Promise ingress has no API, so there is nothing to ask for"):
        template(promise, OWNER)


@pytest.mark.parametrize("beyond", [", properties: {}", "", ", x-kubernetes-preserve-unknown-fields: true"])
def test_an_api_without_a_spec_asks_for_name_and_namespace_only(load: Load, beyond: str) -> None:
    """B25: a request may have no spec; one that is sent is refused."""
    promise = load(WITH_API.replace("SCHEMA", f"{{type: object{beyond}}}"))
    assert promise.table().rows == ()
    assert promise.is_published_by(promise.manifest["spec"]["api"])
    entity = template(promise, OWNER).entity["spec"]
    assert [list(page["properties"]) for page in entity["parameters"]] == [["name", "namespace"], []]
    assert "spec" not in entity["steps"][0]["input"]["manifest"], "the API server refuses a field that the schema does not have"


@pytest.mark.parametrize("text", [f"{NO_API}{NAMESPACE}", f"{NAMESPACE}---\n{NO_API}", f"{NO_API}---\n# nothing\n"])
def test_what_else_the_file_has_is_published_first(load: Load, text: str, tmp_path: Path) -> None:
    """B64: a namespace before or after it, and documents that are empty."""
    handed, _ = published(load(text), tmp_path)
    assert [each["kind"] for each in handed] == ["Namespace"] * ("kind: Namespace\nm" in text) + ["Promise"]


def test_a_list_is_its_items(load: Load) -> None:
    """B64: kubectl's List in place of documents."""
    items = [{"kind": "Namespace"}, {"kind": "Promise", "metadata": {"name": "a"}}]
    promise = load(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert (promise.name, promise.beside) == ("a", ({"kind": "Namespace"},))


def test_two_promises_in_a_file_are_refused(load: Load) -> None:
    """B64: nobody knows which one is meant."""
    with pytest.raises(KratixError, match="holds no Promise that labkit can read"):
        load(f"{NO_API}---\n{NO_API}")


def test_publishing_says_what_waits_for_pods(tmp_path: Path) -> None:
    """Beside the file: a Promise with a workflow, where no pod is started."""
    promise = Promise.load(OWN / "kratix" / "team-namespace.yaml")
    assert "requests for team-namespace are taken, and wait" in published(promise, tmp_path)[1]
    own = {**promise.manifest, "spec": {**promise.manifest["spec"], "workflows": {"promise": {"configure": [{}]}, "resource": {}}}}
    assert "the Promise team-namespace is taken, and waits" in published(Promise(own), tmp_path)[1]
    assert published(Promise.load(OWN / "kratix" / "team-space.yaml"), tmp_path)[1] == "created"
