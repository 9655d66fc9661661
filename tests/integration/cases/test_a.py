"""A: the portal reads a manifest as kubectl reads it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from labkit.config.settings import Settings
from labkit.portal.server import SOURCES
from labkit.toolchain import Toolchain
from tests.hostile import friendly

READ = """
const { parseManifest } = require('./packages/ske/src/manifest');
const { stringify } = require('./packages/ske/src/yaml');
const read = (text) => {
    try {
        return parseManifest(text).map(({ object }) => object);
    } catch (error) {
        if (error.name !== 'InputError') throw error;
        return error.message;
    }
};
console.log(stringify(JSON.parse(require('node:fs').readFileSync(0, 'utf8')).map(read)));
"""
FUZZ = 8
HEAD = "apiVersion: t.example/v1\nkind: T\nmetadata: {name: %s}\n"

STRICTER = "twice in one place", "which JSON lacks"
"""What the portal refuses though kubectl may take it: it keeps one of two values without a word."""

Reader = Callable[[Sequence[str]], list[Any]]


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """What the portal's own reader makes of texts: their objects, or why it refuses one."""
    programs = Toolchain(Settings.load().cache).ensure("node", "backstage")
    app = tmp_path_factory.mktemp("app") / "app"
    shutil.copytree(SOURCES, app, ignore=shutil.ignore_patterns("node_modules"))
    (app / "node_modules").symlink_to(programs["backstage"].path / "node_modules")

    def read(texts: Sequence[str]) -> list[Any]:
        command = [str(programs["node"].path), "-e", READ]
        done = subprocess.run(
            command, cwd=app, env=friendly(), input=json.dumps(texts), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    return read


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """What kubectl makes of texts, each with one object: the object, or None if it refuses it. It asks no server for this."""
    program = str(Toolchain(Settings.load().cache).ensure("kubectl")["kubectl"].path)

    def read(texts: Sequence[str]) -> list[Any]:
        folder = tmp_path_factory.mktemp("manifests")
        for number, text in enumerate(texts):
            (folder / f"{number:05}.yaml").write_text(text, newline="")
        # A change that is made locally shows the object as kubectl has it; what it can't read, it names and goes on.
        command = [program, "label", "--local", "--filename", str(folder), "--output=json", "judged=yes"]
        done = subprocess.run(command, env={**friendly(), "KUBERC": "off"}, capture_output=True, text=True, timeout=120, check=False)
        decoder, at, found = json.JSONDecoder(), 0, {}
        while at < len(done.stdout):
            value, at = decoder.raw_decode(done.stdout, at)
            at += len(done.stdout[at:]) - len(done.stdout[at:].lstrip())
            found[value["metadata"]["name"]] = value
        return [found.get(f"d{number}") for number in range(len(texts))]

    return read


def compared(portal: Reader, kubectl: Reader, bodies: Sequence[str]) -> list[str]:
    """Each body, below the head of an object, of which the portal makes something else than kubectl."""
    texts = [HEAD % f"d{number}" + body for number, body in enumerate(bodies)]
    differing = []
    for text, ours, theirs in zip(texts, portal(texts), kubectl(texts), strict=True):
        refused = isinstance(ours, str)
        if refused and any(words in ours for words in STRICTER):
            continue
        if refused != (theirs is None) or (not refused and ours[0].get("spec") != theirs.get("spec")):
            shown = ours if refused else ours[0].get("spec")
            differing.append(f"{text}\nportal: {shown!r}\nkubectl: {theirs and theirs.get('spec')!r}")
    return differing


WORDS = "~ null y Y n yes No ON off true FALSE tRue .inf -.Inf .nan << = -- . .. 22:30 1:2:3 2024-01-01"
NUMBERS = "0 -0 00 08 0o17 1_000 _1 1e3 1. .5 +.5 -.5e3 9223372036854775807 9223372036854775808 18446744073709551616"
FORMS = r"[-+]?(0[xXoObB]?)?[0-9a-fA-F_]{1,20}", r"[-+]?[0-9_]{0,21}(\.[0-9_]{0,4})?([eE][-+]?[0-9]{1,3})?"
formed = st.one_of(*(st.from_regex(form, fullmatch=True) for form in FORMS)).filter(bool)
plain = st.sampled_from(f"{WORDS} {NUMBERS}".split()) | formed
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), max_size=8)
quoted = texts.map(lambda text: json.dumps(text, ensure_ascii=False)) | texts.map(lambda text: "'" + text.replace("'", "''") + "'")
scalars = plain | quoted
# A float, or what would be null, is no key.
keys = st.sampled_from(["a", "b", "c", "yes", "on", "1", "0x1F", "010", "'~'", '"1"', "22:30"])


def pairs(items: dict[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in items.items())


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists, maps = st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)
    return lists.map(lambda items: f"[{', '.join(items)}]") | maps.map(lambda items: f"{{{pairs(items)}}}")


values = st.recursive(scalars, grown, max_leaves=6)
bodies = st.one_of(
    values.map(lambda value: f"spec: {value}\n"),
    st.tuples(values, values).map(lambda pair: f"x: &x {pair[0]}\nspec: [*x, {pair[1]}, *x]\n"),
    st.tuples(values, values).map(lambda pair: f"x: &x {{a: {pair[0]}, b: 1}}\nspec: {{c: 1, a: {pair[1]}, <<: *x}}\n"),
    st.tuples(values, values).map(lambda pair: f"spec:\n  <<: [{{a: {pair[0]}}}, {{a: {pair[1]}, b: 010}}]\n  c: on\n"),
    st.tuples(scalars, texts).map(lambda pair: f"spec:\r\n  - {pair[0]} # {pair[1]}\r\n  - a: |-\r\n      {pair[1]}\r\n"),
)


CASES = {
    "B01: a file mode": "spec: {a: 0400, b: 0644, c: 0o755}\n",
    "B14: words for true and false": "spec: [yes, no, on, off, Yes, y, N, TRUE]\n",
    "B37: 64 bits": "spec: [1234567890123456789, 9007199254740993, -9223372036854775808]\n",
    "B38: a merged map": "x: &c {port: 8080, code: 010}\nspec:\n  <<: *c\n  z: 2\n",
    "B62: 120 aliases": "x: &v text\nspec: [" + ", ".join(["*v"] * 120) + "]\n",
    "a merge after a key": "x: &c {a: 1}\nspec: {a: 2, <<: *c}\n",
    "keys that are no text": "spec: {yes: 1, 010: 2, 0x1F: 3}\n",
    "an alias in another": "x: &a [1]\ny: &b [*a, *a]\nspec: [*b, *b]\n",
    "an anchor twice": "x: &a 1\ny: &a 2\nspec: *a\n",
    "tabs after a key": "spec:\ta\n",
    "an equals sign alone": "spec:\n- =\n- '!='\n",
    "a dash alone in a flow list": "spec: [-, [-], {-: -}, {-}, &x -, *x]\n",
    "a dash and a space in one": "spec: [- ]\n",
    "a dash before a value in one": "spec: {a: - b}\n",
}


def test_documents_that_people_had(portal: Reader, kubectl: Reader) -> None:
    """B01, B14, B37, B38, B62: the portal has what kubectl has."""
    assert not compared(portal, kubectl, list(CASES.values()))


def test_documents_that_were_put_together_on_windows(portal: Reader) -> None:
    """B39: a byte order mark before a later document is no part of it."""
    mark = "\ufeff"
    text = f"{mark}{HEAD % 'a'}---\r\n{mark}{HEAD % 'b'}---\n{HEAD % 'c'}{mark}---\n{HEAD % 'd'}"
    assert [found["metadata"]["name"] for found in portal([text])[0]] == ["a", "b", "c", "d"]


@pytest.mark.fault("Access", "a manifest whose aliases stand for too much", "it is refused in seconds, before it is written out")
def test_a_document_that_grows_without_end_is_refused(portal: Reader) -> None:
    """B62: what the aliases stand for counts, not how many they are."""
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert "with each alias written out" in portal([f"{HEAD % 'a'}l0: &l0 x\n{levels}"])[0]


# Only those that differ are shown, so that nothing has to be made smaller.
@settings(max_examples=FUZZ, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], print_blob=True)
@given(st.lists(bodies, min_size=40, max_size=60))
def test_what_the_portal_makes_of_a_document_is_what_kubectl_makes_of_it(portal: Reader, kubectl: Reader, bodies: list[str]) -> None:
    differing = compared(portal, kubectl, bodies)
    assert not differing, "\n\n".join(differing)
