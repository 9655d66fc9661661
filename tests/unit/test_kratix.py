"""Kratix without a server: a Promise's file, the form that it makes, what a request's status means, where Kratix comes from."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from labkit.cluster.external import ExternalCluster
from labkit.cluster.kind.provider import KindCluster
from labkit.common.errors import ClusterError, KratixError, KratixUnavailable, WorkshopError
from labkit.common.platform_folder import OWN
from labkit.config.settings import Settings
from labkit.kratix import local
from labkit.kratix.kratix import NAMESPACE
from labkit.kratix.local import PARTS, require_source, webhooks
from labkit.kratix.promise import Promise, RequestStatus, wait_until_taken
from labkit.kratix.released import MANIFESTS, Manifest, ReleasedKratix, named_in
from labkit.kratix.template import template
from labkit.lab import Lab

OWNER = "group:default/kube-admin"


@pytest.fixture
def promise() -> Promise:
    return Promise.load(OWN / "kratix" / "team-space.yaml")


def with_spec(schema: dict[str, Any]) -> Promise:
    """A Promise whose API's ``spec`` has this schema."""
    crd = {
        "spec": {
            "group": "test.example",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [
                {"name": "v1", "storage": False, "schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "string"}}}}},
                {"name": "v2", "storage": True, "schema": {"openAPIV3Schema": {"properties": {"spec": schema}}}},
            ],
        }
    }
    return Promise({"metadata": {"name": "thing"}, "spec": {"api": crd}})


def form_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The form of a ``spec`` with this schema."""
    pages = template(with_spec(schema), OWNER).entity["spec"]["parameters"]
    return dict(pages[1]["properties"]["spec"])


def test_a_promise_tells_its_kind_its_resource_and_its_stored_version() -> None:
    promise = with_spec({"type": "object", "properties": {"size": {"type": "integer"}}})
    assert (promise.kind, promise.resource, promise.api_version) == ("Thing", "things.test.example", "test.example/v2")
    assert promise.request("mine", size=3) == {
        "apiVersion": "test.example/v2",
        "kind": "Thing",
        "metadata": {"name": "mine", "namespace": "default"},
        "spec": {"size": 3},
    }


@pytest.mark.parametrize("text", ["", "kind: Promise", "{metadata: {name: none}, spec: {}}", "[1", "a: b: c"])
def test_a_file_without_a_promise_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "promise.yaml"
    file.write_text(text)
    with pytest.raises(KratixError, match=r"promise\.yaml holds no Promise that labkit can read"):
        Promise.load(file)


def test_a_workshop_folder_may_hold_a_promise_and_a_template_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "workshop" / "kratix"
    folder.mkdir(parents=True)
    for name, own, ours in (("team-space.yaml", "default: 2\n", "default: 3\n"), ("template.yaml", "tags: [kratix]", "tags: [ours]")):
        text = (OWN / "kratix" / name).read_text()
        assert own in text
        (folder / name).write_text(text.replace(own, ours))
    lab = Lab(Settings.load({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_WORKSHOP": str(folder.parent)}))
    assert lab.kratix.promise_file == folder / "team-space.yaml"
    made = lab.kratix.template(lab.kratix.team_space).entity
    assert made["metadata"]["tags"] == ["ours"]
    assert made["spec"]["parameters"][1]["properties"]["spec"]["properties"]["cpus"]["default"] == 3
    (folder / "requestor.yaml").write_text("")
    with pytest.raises(WorkshopError, match=r"requestor\.yaml replaces no file of labkit's \(did you mean requester\.yaml\?\)"):
        Lab(lab.settings)


def test_the_controllers_rights_name_it_as_labkit_does() -> None:
    """The file names the user of the certificate, the account and its namespace, which the code names too."""
    namespace, role, *bindings = yaml.safe_load_all(Path(local.__file__).with_suffix(".yaml").read_text())
    assert namespace["metadata"]["name"] == NAMESPACE
    subjects = [binding["subjects"][0] for binding in bindings]
    assert [subject["name"] for subject in subjects if subject["kind"] == "User"] == [local._USER]
    accounts = {f"system:serviceaccount:{s['namespace']}:{s['name']}" for s in subjects if s["kind"] == "ServiceAccount"}
    assert accounts == {local._ACTS_AS} == {f"system:serviceaccount:{NAMESPACE}:{name}" for name in role["rules"][0]["resourceNames"]}


def test_what_a_promise_takes_is_shown_with_types_and_defaults(promise: Promise) -> None:
    rows = {row[0]: row[1:4] for row in promise.table().rows}
    assert rows["team"] == ("string", "yes", "")
    assert rows["environment"] == ("dev or test or prod", "", "dev")
    assert rows["memory"] == ("integer or string", "", "4Gi")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a+$", "minLength": 1, "maxLength": 9, "description": "what it is"},
        {"type": "string", "enum": ["a", "b"], "default": "a"},
        {"type": "integer", "minimum": 1, "maximum": 5, "multipleOf": 2, "default": 2},
        {"type": "boolean", "default": False},
        {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1, "maxItems": 5, "uniqueItems": True},
        {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 3},
    ],
)
def test_what_a_form_can_say_it_says_word_for_word(schema: dict[str, Any]) -> None:
    promise = with_spec({"type": "object", "required": ["field"], "properties": {"field": schema}})
    made = template(promise, OWNER)
    spec = made.entity["spec"]["parameters"][1]["properties"]["spec"]
    assert spec["properties"]["field"] == {**schema, "title": "field"}
    assert ("required" in spec) == ("default" not in schema), "the API server fills in a default before it judges"
    assert made.left_out == ()


@pytest.mark.parametrize(
    ("schema", "form", "left_out"),
    [
        (
            {"x-kubernetes-int-or-string": True, "default": 5},
            {"type": "string", "default": "5"},
            ("spec.field", "x-kubernetes-int-or-string", "asked for as text"),
        ),
        ({"type": "integer", "format": "int64"}, {"type": "integer"}, ("spec.field", "format: int64", "no check of its own")),
        (
            {"type": "string", "x-kubernetes-validations": [{"rule": "self != 'a'", "message": "not a"}]},
            {"type": "string"},
            ("spec.field", "x-kubernetes-validations", "not a"),
        ),
        (
            {"type": "string", "x-kubernetes-validations": [{"rule": "self != 'a'"}]},
            {"type": "string"},
            ("spec.field", "x-kubernetes-validations", "self != 'a'"),
        ),
        ({"type": "string", "nullable": True}, {"type": "string"}, ("spec.field", "nullable", "not in the form")),
        (
            {"x-kubernetes-preserve-unknown-fields": True},
            {"type": "object", "additionalProperties": True},
            ("spec.field", "x-kubernetes-preserve-unknown-fields", "asked for as keys and values"),
        ),
        ({"type": "string", "oneOf": [{"pattern": "a"}]}, {"type": "string"}, ("spec.field", "oneOf", "not in the form")),
    ],
)
def test_what_a_form_can_not_say_is_left_out_and_told_with_its_field(
    schema: dict[str, Any], form: dict[str, Any], left_out: tuple[str, str, str]
) -> None:
    made = template(with_spec({"type": "object", "properties": {"field": schema}}), OWNER)
    assert made.entity["spec"]["parameters"][1]["properties"]["spec"]["properties"]["field"] == {**form, "title": "field"}
    assert made.left_out == (left_out,)
    assert left_out[0] in str(made)


def test_what_lies_deeper_is_shown_with_its_whole_way() -> None:
    inner = {"type": "object", "properties": {"port": {"type": "integer", "format": "int32"}}}
    schema = {
        "type": "object",
        "properties": {
            "rules": {"type": "array", "items": inner},
            "by_name": {"type": "object", "additionalProperties": inner},
        },
    }
    fields = [field for field, _, _ in template(with_spec(schema), OWNER).left_out]
    assert fields == ["spec.rules[].port", "spec.by_name.*.port"]


def test_a_field_that_is_called_like_a_word_of_schemas_is_a_field() -> None:
    assert form_of({"type": "object", "properties": {"nullable": {"type": "string"}}})["properties"] == {
        "nullable": {"type": "string", "title": "nullable"}
    }


def test_the_templates_file_is_one_template_with_our_action_and_its_owner(promise: Promise, tmp_path: Path) -> None:
    written = yaml.safe_load(template(promise, OWNER).write(tmp_path).read_text())
    assert (written["kind"], written["metadata"]["name"], written["spec"]["owner"]) == ("Template", "team-space", OWNER)
    assert [step["action"] for step in written["spec"]["steps"]] == ["ske:configure-resource"]
    assert yaml.safe_load(written["spec"]["steps"][0]["input"]["manifest"].replace("${{", '"').replace("}}", '"').replace('"default"', ""))


@pytest.mark.parametrize(
    ("status", "pending"),
    [
        ({}, "Kratix has said nothing of it yet"),
        ({"promiseVersion": "v1", "observedGeneration": 1}, "Kratix has said nothing of it yet"),
        ({"promiseVersion": "v1", "observedGeneration": 2}, ""),
        ({"observedGeneration": 2}, ""),
        (
            {
                "promiseVersion": "v1",
                "observedGeneration": 2,
                "conditions": [{"type": "Reconciled", "status": "Unknown", "reason": "PausedReconciliation", "message": "Paused"}],
            },
            "Reconciled: Paused",
        ),
        (
            {"promiseVersion": "v1", "observedGeneration": 2, "conditions": [{"type": "Reconciled", "status": "True"}]},
            "",
        ),
    ],
)
def test_a_request_is_taken_when_kratix_has_seen_its_latest_form_and_waits_for_nothing(status: dict[str, Any], pending: str) -> None:
    found = {"kind": "Thing", "metadata": {"name": "mine", "namespace": "default", "generation": 2}, "spec": {"size": 3}, "status": status}
    request = RequestStatus.of(found)
    assert request.pending == pending
    assert "Thing default/mine" in str(request)


def test_waiting_for_a_request_ends_with_kratixs_own_reason() -> None:
    paused = {"type": "Reconciled", "status": "Unknown", "message": "Paused"}
    found = {"kind": "Thing", "metadata": {"name": "mine", "generation": 1}, "status": {"conditions": [paused]}}
    with pytest.raises(KratixError, match="still pending after 0 s") as failure:
        wait_until_taken(lambda: found, seconds=0)
    assert failure.value.why == "Reconciled: Paused"


def test_whoever_may_ask_may_do_nothing_else(promise: Promise, tmp_path: Path) -> None:
    lab = Lab(Settings.load({"LABKIT_HOME": str(tmp_path / "home")}))
    role, binding = lab.kratix.requester(promise, "kube-dev").documents
    assert [(rule["apiGroups"], rule["resources"]) for rule in role["rules"]] == [(["platform.example"], ["teamspaces"])]
    assert (binding["subjects"][0]["name"], binding["roleRef"]["name"]) == ("kube-dev", role["metadata"]["name"])


def test_without_a_checkout_the_refusal_is_two_lines_with_the_ways_out() -> None:
    with pytest.raises(KratixUnavailable) as refused:
        require_source(None)
    what, fix = str(refused.value).splitlines()
    assert "its controller is published as a container image" in what
    assert "LABKIT_KRATIX_SOURCE" in fix
    assert "LABKIT_CLUSTER=kind" in fix


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that has what labkit looks for in a checkout."""
    for path in PARTS.values():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    (tmp_path / "bin/manager").chmod(0o755)
    return tmp_path


@pytest.mark.fault("Settings", "LABKIT_KRATIX_SOURCE names a checkout that lacks something", "refused with what it lacks")
@pytest.mark.parametrize(("what", "path"), PARTS.items())
def test_a_checkout_that_lacks_something_is_refused_with_what_it_lacks(what: str, path: str, checkout: Path) -> None:
    (checkout / path).unlink()
    with pytest.raises(KratixUnavailable, match=rf"lacks its {what} \({path}\)\n"):
        require_source(checkout)


def test_a_controller_that_is_no_program_is_refused(checkout: Path) -> None:
    (checkout / "bin/manager").chmod(0o644)
    with pytest.raises(KratixUnavailable, match="bin/manager is no program"):
        require_source(checkout)


@pytest.mark.fault("Settings", "a system that gives a user no network of their own", "Kratix is refused, as it would listen to the outside")
def test_where_no_network_can_be_made_kratix_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Pretended: this system's own answer can't be changed by a test.
    monkeypatch.setattr(local, "_networks_can_be_made", lambda: False)
    with pytest.raises(KratixUnavailable, match="can't be kept on loopback here"):
        require_source(checkout)


def test_the_webhooks_ask_at_the_given_address_and_verify_it(checkout: Path) -> None:
    service = {"service": {"name": "webhook-service", "namespace": "system", "path": "/mutate"}}
    shipped = {"kind": "MutatingWebhookConfiguration", "metadata": {"name": "shipped"}, "webhooks": [{"clientConfig": service}]}
    (checkout / "config/webhook/manifests.yaml").write_text(yaml.safe_dump(shipped))
    (made,) = webhooks(checkout, "https://localhost:1234", "Q0E=")
    assert made["webhooks"][0]["clientConfig"] == {"url": "https://localhost:1234/mutate", "caBundle": "Q0E="}


def test_the_source_is_a_setting(tmp_path: Path) -> None:
    home = {"LABKIT_HOME": str(tmp_path / "home")}
    assert Settings.load(home).kratix_source is None
    assert Settings.load({**home, "LABKIT_KRATIX_SOURCE": ""}).kratix_source is None
    assert Settings.load({**home, "LABKIT_KRATIX_SOURCE": str(tmp_path)}).kratix_source == tmp_path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of a site of our own that has one manifest."""
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


MANIFEST = "kind: ConfigMap\n"
DIGEST = hashlib.sha256(MANIFEST.encode()).hexdigest()


@pytest.mark.parametrize("digest", [DIGEST, ""])
def test_a_manifest_that_is_what_it_should_be_is_taken(site: str, digest: str) -> None:
    assert Manifest("it", f"{site}/manifest.yaml", "kind: ConfigMap", digest).fetch() == MANIFEST


@pytest.mark.fault("Programs", "a manifest of Kratix's that is not what was pinned", "refused, and nothing of it is applied")
@pytest.mark.parametrize(
    ("path", "holds", "digest", "said"),
    [
        ("manifest.yaml", "kind: ConfigMap", "0" * 64, f"its SHA-256 is {DIGEST}, pinned is {'0' * 64}"),
        ("manifest.yaml", "kind: Deployment", "", "it has no line 'kind: Deployment'"),
        ("nothing.yaml", "kind: ConfigMap", "", "404"),
    ],
)
def test_a_manifest_that_is_not_what_it_should_be_is_refused(site: str, path: str, holds: str, digest: str, said: str) -> None:
    with pytest.raises(KratixError) as refused:
        Manifest("it", f"{site}/{path}", holds, digest).fetch()
    assert said in refused.value.why


def test_all_that_lies_in_a_repository_is_pinned_by_commit_and_digest() -> None:
    for manifest in MANIFESTS:
        assert manifest.url.startswith("https://")
        assert re.fullmatch("[0-9a-f]{64}", manifest.sha256) or re.search(r"/releases/download/v[\d.]+/", manifest.url), manifest.what


PODS = """\
kind: Deployment
spec:
  template:
    spec:
      initContainers: [{name: first, image: there:1}]
      containers:
      - name: manager
        image: example.org/pulled@sha256:00
        env: [{name: ADAPTER_IMG, value: carried:1}, {name: WC_IMG, valueFrom: {configMapKeyRef: {name: images, key: WC_IMG}}}]
---
kind: CustomResourceDefinition
properties: {containers: {items: {properties: {name: {type: string}, image: {type: string, enum: [a, =]}}}}}
---
kind: ConfigMap
data: {WC_IMG: gone:1, LOGO: logo.png}
---
"""
ALL_OF_THEM = ["there:1", "example.org/pulled@sha256:00", "carried:1", "gone:1"]


def test_a_manifests_images_are_its_containers_and_what_kratix_is_configured_to_run() -> None:
    assert named_in(PODS) == ALL_OF_THEM


NODES = ('[ "$1" != get ] || { echo platform-control-plane; exit; }',)
"""What kind says of its nodes."""


class OnKind:
    """Kratix from a manifest of our own, on a KinD cluster whose programs are scripts: each writes what it was asked into ``calls``.

    The node has ``there:1``, Docker has ``carried:1``, and of the rest nothing can be pulled but ``example.org/pulled``.
    """

    def __init__(self, folder: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.folder = folder / "calls", folder
        self.calls.touch()
        (folder / "manifest.yaml").write_text(PODS)
        self.program("kind", *NODES)
        self.program(
            "docker",
            'case "$*" in',
            '*"crictl inspecti -q there:1") ;;',
            '"image inspect"*carried:1) echo sha256:01;;',
            '"image inspect"*) echo "Error response from daemon: No such image: it" >&2; exit 1;;',
            '*"crictl pull example.org/pulled"*) ;;',
            '*) printf "a line of no use\\ndial tcp: no such host\\n" >&2; exit 1;;',
            "esac",
        )
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        self.manifest = Manifest("it", f"{site}/manifest.yaml", "kind: Deployment")

    def program(self, name: str, *lines: str) -> Path:
        path = self.folder / name
        path.write_text("\n".join(("#!/bin/sh", f'echo "{name} $*" >> "{self.calls}"', *lines)))
        path.chmod(0o755)
        return path

    def kratix(self, *manifests: Manifest, provider: type[object] = KindCluster) -> ReleasedKratix:
        def kubectl(*args: str, stdin: str = "") -> SimpleNamespace:
            if args[0] == "apply":
                with self.calls.open("a") as calls:
                    calls.write(f"apply {len(stdin)}\n")
            return SimpleNamespace(output="")

        cluster = SimpleNamespace(provider=provider.__new__(provider), admin_kubectl=kubectl)
        tools = SimpleNamespace(ensure=lambda name: {name: SimpleNamespace(path=self.folder / name)})
        settings, unused = Settings.load({"LABKIT_HOME": str(self.folder / "home")}), cast("Any", None)
        return ReleasedKratix(settings, unused, cast("Any", cluster), cast("Any", tools), manifests or (self.manifest,))

    def called(self, word: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if word in line]


@pytest.fixture
def on_kind(tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> OnKind:
    return OnKind(tmp_path, site, monkeypatch)


@pytest.mark.fault("Programs", "images of Kratix's that KinD can't have", "all are named with the reason, before anything is applied")
def test_without_its_images_nothing_of_kratix_is_applied(on_kind: OnKind) -> None:
    with pytest.raises(KratixError, match=r"lacks 1 of the 4 images that Kratix needs.*nothing was applied") as refused:
        on_kind.kratix().start()
    assert refused.value.why == "gone:1: dial tcp: no such host"
    assert f"{on_kind.folder / 'kind'} load image-archive kratix.tar --name platform" in refused.value.fix
    assert on_kind.called("apply") == []


def test_without_a_node_there_is_one_clear_error(on_kind: OnKind) -> None:
    on_kind.program("kind")
    with pytest.raises(ClusterError, match="there is no node of the cluster platform") as caught:
        on_kind.kratix().start()
    assert caught.value.fix == "labkit up"
    assert on_kind.called("apply") == []


def test_images_are_loaded_from_docker_or_pulled_by_the_node_before_the_first_manifest(on_kind: OnKind) -> None:
    (on_kind.folder / "manifest.yaml").write_text(PODS.replace("gone:1", "there:1"))
    on_kind.kratix().start()
    assert on_kind.called("kind load") == ["kind load docker-image carried:1 --name=platform"]
    pulled = "docker exec platform-control-plane timeout 300 crictl pull example.org/pulled@sha256:00"
    assert on_kind.called("crictl pull") == [pulled]
    assert on_kind.calls.read_text().splitlines()[-1].startswith("apply ")


def test_what_kind_can_not_load_is_pulled_by_the_node(on_kind: OnKind) -> None:
    on_kind.program("kind", *NODES, 'printf "ERROR: failed\\nctr: content digest sha256:00: not found\\n" >&2; exit 1')
    with pytest.raises(KratixError) as refused:
        on_kind.kratix().start()
    why = "carried:1: kind can't load it: ctr: content digest sha256:00: not found; dial tcp: no such host"
    assert why in refused.value.why.splitlines()


@pytest.mark.fault("Programs", "an image of Kratix's whose registry is silent", "it is given up within the node, with the limit")
def test_an_image_that_does_not_come_is_given_up(on_kind: OnKind) -> None:
    text = (on_kind.folder / "docker").read_text()
    (on_kind.folder / "docker").write_text(text.replace('*"crictl pull example.org/pulled"*) ;;', "*pull*) exit 124;;"))
    with pytest.raises(KratixError) as refused:
        on_kind.kratix().start()
    silent = ("example.org/pulled@sha256:00", "gone:1")
    assert refused.value.why.splitlines() == [f"{image}: it did not come within 300 s" for image in silent]
    assert "docker save --output kratix.tar gone:1 " in refused.value.fix, "what is saved by its digest arrives without a name"


@pytest.mark.fault("Programs", "a manifest of Kratix's that is not what was pinned", "refused, and nothing of it is applied")
@pytest.mark.parametrize("holds", ["kind: Nothing", "kind: Secret"])
def test_one_manifest_that_is_not_what_it_should_be_keeps_all_from_being_applied(holds: str, on_kind: OnKind) -> None:
    (on_kind.folder / "other.yaml").write_text("kind: Secret\n}")
    other = Manifest("another", on_kind.manifest.url.replace("manifest", "other"), holds)
    with pytest.raises(KratixError, match=r"other\.yaml is not another"):
        on_kind.kratix(on_kind.manifest, other).start()
    assert on_kind.calls.read_text() == ""


def test_in_a_cluster_of_others_images_are_its_own_affair(on_kind: OnKind) -> None:
    on_kind.kratix(provider=ExternalCluster).start()
    assert [line.split()[0] for line in on_kind.calls.read_text().splitlines()] == ["apply"]


def test_the_promise_for_kind_is_one_and_its_container_is_ours() -> None:
    promise = Promise.load(OWN / "kratix" / "team-namespace.yaml")
    assert promise.kind == "TeamNamespace"
    assert template(promise, OWNER).left_out == ()
