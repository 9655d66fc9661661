"""B: YAML that people bring is read in Python as kubectl reads it; kubectl is the judge."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from labkit.common.errors import PortalError
from labkit.common.kubernetes_yaml import YamlError, dump, load, load_all
from labkit.common.platform_folder import OWN
from labkit.kratix.promise import Promise
from labkit.kratix.template import template
from labkit.portal.answers import read_template
from tests.kubectl import seen

SPACE = (OWN / "kratix" / "team-space.yaml").read_text()
WORDS = (
    *("=", "2024-11-05", "2024-11-05T10:00:00Z", "22:30", "1:30.5", "0400", "08", "0o17", "0x1F", "1_000", "1e3", "1.10", "yes", "n"),
    *("Off", "~", "", "9007199254740993", "18446744073709551616", "1e400", "!!str 5", "!own 5", "!!binary aGk=", ".5", "-0b11", "'yes'"),
)


def by_kubectl(text: str) -> Any:
    """A mapping as kubectl sees it: as an extension of a kubeconfig."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config"
        inner = "".join(f"    {line}\n" for line in text.splitlines())
        file.write_text(f"extensions:\n- name: x\n  extension:\n{inner}")
        found = seen(file)
    return found and found["extensions"][0]["extension"]


def promise(tmp_path: Path, *edits: tuple[str, str]) -> Promise:
    text = SPACE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "promise.yaml").write_text(text)
    return Promise.load(tmp_path / "promise.yaml")


def test_every_kind_of_scalar_is_what_kubectl_takes_it_for() -> None:
    """B06, B07, B08: and its siblings, all of YAML 1.1's, as values and as keys."""
    values = "\n".join(f"v{number}: {word}" for number, word in enumerate(WORDS))
    # Each in a mapping of its own: of two keys that become one, kubectl takes either.
    words = [word for word in WORDS if word not in ("~", "", "18446744073709551616")]
    keys = "\n".join(f"k{number}:\n  {word}: 0" for number, word in enumerate(words))
    for text in (values, keys):
        assert json.dumps(load(text), sort_keys=True) == json.dumps(by_kubectl(text), sort_keys=True)


def test_an_equals_sign_is_text(tmp_path: Path) -> None:
    """B06: Prometheus' CRDs list it among an enum's values."""
    plain = "spec:\n  dependencies: [{kind: Probe, operators: [=, '!=', =~]}]\n"
    assert promise(tmp_path, ("spec:\n", plain)).manifest["spec"]["dependencies"][0]["operators"] == ["=", "!=", "=~"]


def test_a_date_is_text_and_can_be_published(tmp_path: Path) -> None:
    """B07: in a Promise, and in a template."""
    read = promise(tmp_path, ("  labels:\n", "  annotations: {released: 2024-11-05}\n  labels:\n"))
    assert json.loads(json.dumps(read.manifest))["metadata"]["annotations"] == {"released": "2024-11-05"}
    form = {"properties": {"day": {"type": "string", "default": "DAY"}}}
    entity = {"kind": "Template", "metadata": {"name": "a"}, "spec": {"parameters": form}}
    (tmp_path / "template.yaml").write_text(dump(entity).replace("DAY", "2024-01-01"))
    assert '"default": "2024-01-01"' in json.dumps(read_template(tmp_path / "template.yaml"))


@pytest.mark.parametrize(("written", "right"), [("22:30", "22:30"), ("0400", 256), ("on", True), ("1e3", 1000)])
def test_a_default_is_what_kubectl_applies(tmp_path: Path, written: str, right: Any) -> None:
    """B08: a time of day has no base of sixty."""
    read = promise(tmp_path, ("default: 4Gi", f"default: {written}"))
    assert read.schema["properties"]["memory"]["default"] == right


def test_a_property_called_yes_is_called_true_everywhere(tmp_path: Path) -> None:
    """B73: keys are text, as kubectl makes them."""
    names = (("internet", "yes"), ("cpus", "1.10"))
    read = promise(tmp_path, *((f"{' ' * 20}{name}:", f"{' ' * 20}{word}:") for name, word in names))
    made = template(read, "group:default/kube-admin").entity["spec"]["parameters"][1]["properties"]["spec"]["properties"]
    assert {"true", "1.1"} <= made.keys() == read.schema["properties"].keys()
    assert made["true"]["title"] == "true"
    assert read.is_published_by(json.loads(json.dumps(read.manifest["spec"]["api"])))


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("\ufeffa: 1\n---\n\ufeffb: 2\n", [{"a": 1}, {"b": 2}]),
        ('{\n\t"a": "\\ud83d\\ude00\\/"\n}\n', [{"a": "\U0001f600/"}]),
        ('{"a": 1.0, "b": 1e2}', [{"a": 1, "b": 100}]),
        ("---\n# nothing\n---\na: 1\n...\n", [{"a": 1}]),
        ("a: &a {x: 1}\nb: {<<: *a, z: 2}\n", [{"a": {"x": 1}, "b": {"x": 1, "z": 2}}]),
        ("a: 1\na: 2\n", [{"a": 2}]),
    ],
)
def test_documents_come_as_kubectl_takes_them(text: str, documents: list[Any]) -> None:
    """B39, B51: marks of Windows, JSON with tabs and its escapes, empty documents, merges."""
    assert load_all(text) == documents
    assert load_all(text.encode()) == documents


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "? [1]\n: 2",
        "~: 1",
        "a: .inf",
        "a: [",
        "a: !!int x",
        "a: \x07",
        "a: {<<: 5}",
        "[" * 5000,
        "a: " + "[" * 1000 + "]" * 1000,
    ],
    ids=range(10),
)
def test_what_has_no_meaning_is_one_error(text: str) -> None:
    """B06: never another exception, whatever stands there."""
    try:
        load_all(text)
    except YamlError:
        return
    json.dumps(load_all(text))


def test_aliases_that_stand_for_more_than_any_memory_holds_are_refused() -> None:
    """B62: many uses of an anchor are fine, and a billion are not."""
    many = "v: &v {a: 1}\n" + "".join(f"k{number}: *v\n" for number in range(500))
    assert len(load(many)) == 501
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(YamlError, match="stand for too much"):
        load(laughs)


def test_a_file_that_is_no_template_is_named(tmp_path: Path) -> None:
    """B07: the error is labkit's own."""
    (tmp_path / "t.yaml").write_text("a: *none\n")
    with pytest.raises(PortalError, match=r"t\.yaml"):
        read_template(tmp_path / "t.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 2000, "{a: " * 1000, "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 900))])
def test_what_is_nested_too_deeply_is_refused_before_the_stack_ends(text: str) -> None:
    """B: a hundred thousand brackets ended Python itself."""
    with pytest.raises(YamlError, match="nested too deeply"):
        load(f"a0: &a0 1\n{text}" if text.startswith("a1") else text)
