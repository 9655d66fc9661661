"""Workshop folders with odd, broken and torn files: each is loaded, or refused in one clear error that names a file."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, example, given, note
from hypothesis import strategies as st

from labkit.cli.render import render
from labkit.common.errors import LabkitError
from labkit.common.kubernetes_yaml import dump, load_all
from labkit.common.platform_folder import OWN
from labkit.config.settings import Settings
from labkit.lab import Lab
from tests.support import OTHER_WORKSHOP

SECONDS = 5
"""Of processor time, which is enough for any folder."""

FOLDERS = [
    {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.suffix == ".yaml"}
    for folder in (OWN, OTHER_WORKSHOP)
]
SPACE = FOLDERS[0]["kratix/team-space.yaml"]
ODD_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, 1e300, "a" * 300, "a\nb", "\x7f", "\u2028", "\U0001f600", "", " "),
        *("~", "yes", "0x", "=", "<<", "*", "..", "/", "a/b", "${PORTAL_URL}", "${NOBODY}", "$${X}", "http://[", "http://a:99999/"),
        *("kube", "kube-dev", "/kube-dev", "groups", "password", "cluster-admin", "system:a", "2024-11-05"),
        *([], {}, [[]], [{}], {"": {}}, [None], {"a": None}, {"name": "a"}, [{"name": "a"}], [1, "a", None], {"1": 2}),
    ]
)
ODD_TEXTS = st.sampled_from(
    [
        *(
            "\t",
            "\x00",
            "\x1b",
            "\ufeff",
            "\x85",
            "\u2028",
            "\r",
            "\r\n",
            ":",
            "- ",
            "? ",
            "#",
            "%",
            "@",
            "`",
            "[",
            "]",
            "{",
            "}",
            "|",
            ">",
        ),
        *("'", '"', "\\", "~", "null", ".nan", "1e999", "${", "${X}", "$$", "${PORTAL_URL}", "${ISSUER}"),
        *("&a ", "*a", "<<: *a", "<<: {a: b}", "! ", "!!binary ", "!!int ", "!!null ", "!own ", "!<x> "),
        *("\n---\n", "\n...\n", "\n--- a\n", "%YAML 1.2\n---\n", "%TAG ! x:\n", "&a [*a]", "? [a]\n: b\n", '"\\ud83d"', '"\\x00"'),
        *("[" * 100_000, "{a: " * 3000, "9" * 5000, "- " * 3000, "a" * 70_000),
    ]
)
ENCODINGS = st.sampled_from(["utf-16", "utf-16-be", "utf-32", "utf-8-sig", "cp1252", "cp037", "utf-7"])


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(item, (*place, key))


def _edited(draw: st.DrawFn, text: str) -> str:
    """A file with other values, keys or lists."""
    documents = load_all(text)
    for _ in range(draw(st.integers(1, 3))):
        *before, last = draw(st.sampled_from([place for place in _places(documents) if place]))
        within: Any = documents
        for step in before:
            within = within[step]
        match draw(st.sampled_from(("replace", "drop", "rename", "again", "wrap", "swap"))):
            case "drop":
                del within[last]
            case "rename" if isinstance(within, dict):
                within[draw(st.sampled_from(("", "Name", "name", "x-own", "1", "\u00e9", str(last).upper())))] = within.pop(last)
            case "again" if isinstance(within, list):
                within.append(deepcopy(within[last]))
            case "wrap":
                within[last] = draw(st.sampled_from(([within[last]], {"a": within[last]}, [[within[last]]])))
            case "swap":
                within[last] = deepcopy(documents[0])
            case _:
                within[last] = deepcopy(draw(ODD_VALUES))
        if not documents:
            break
    return "---\n".join(map(dump if draw(st.booleans()) else _as_json, documents))


def _as_json(value: Any) -> str:
    return json.dumps(value) + "\n"


NOTHING = st.sampled_from([b"", b"\n", b"---\n", b"# nothing\n", b"\xef\xbb\xbf", b"null\n", b"[]\n", b"{}\n", b"a\n", b"\x00" * 9])


def _with_odd_texts(draw: st.DrawFn, text: str) -> str:
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(text)))
        text = text[:begin] + draw(ODD_TEXTS) + text[begin + draw(st.sampled_from((0, 0, 1, 5))) :]
    return text


@st.composite
def torn(draw: st.DrawFn, content: bytes) -> bytes:
    """A file that is not as it was."""
    at = draw(st.integers(0, len(content)))
    ways = {
        "values": lambda: _edited(draw, content.decode()).encode("utf-8", "surrogatepass"),
        "text": lambda: _with_odd_texts(draw, content.decode()).encode("utf-8", "surrogatepass"),
        "cut": lambda: content[:at],
        "bytes": lambda: content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at:],
        "encoding": lambda: content.decode().encode(draw(ENCODINGS), "replace"),
        "double": lambda: content * 2,
        "nothing": lambda: draw(NOTHING),
    }
    return ways[draw(st.sampled_from(["values", "values", "text", *ways]))]()


@st.composite
def folders(draw: st.DrawFn) -> dict[str, bytes]:
    """The files of a workshop folder, of which one or more are torn; those that it lacks are labkit's own."""
    whole = draw(st.sampled_from(FOLDERS))
    names = draw(st.lists(st.sampled_from(sorted(whole)), min_size=1, max_size=2, unique=True))
    return (whole if whole is not FOLDERS[0] else {}) | {name: draw(torn(whole[name])) for name in names}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings.open({"LABKIT_HOME": str(tmp_path_factory.mktemp("odd") / "home")})


def used(settings: Settings, folder: Path) -> LabkitError | None:
    """What is said against a folder by all that needs no server."""
    try:
        lab = Lab(replace(settings, workshop_folder=folder))
        lab.portal.require_agreement()
        render(lab, folder / "rendered")
        _ = lab.workshop.administrator, lab.workshop.reader
    except LabkitError as error:
        return error
    return None


@example(files={"app-config.yaml": b"[]\n"})
@example(files={"app-config.yaml": b"app: {}\napp: {}\n"})
@example(files={"app-config.yaml": b"ske: text\nauth: {providers: [keycloak]}\n"})
@example(files={"rbac.yaml": b""})
@example(files={"realm.yaml": b"[" * 100_000})
@example(files={"kratix/team-space.yaml": SPACE.replace(b"group: platform.example", b"group: {a: b}")})
@example(files={"kratix/team-space.yaml": SPACE.replace(b"type: string\n", b"type: string\n                  pattern: null\n", 1)})
@example(files={"kratix/team-space.yaml": SPACE.replace(b"properties:\n", b"properties:\n                a: 1\n", 1)})
@example(files={"kratix/team-space.yaml": b"kind: Promise\nmetadata: [a]\n"})
@given(files=folders())
def test_an_odd_folder_is_loaded_or_refused_with_the_name_of_a_file(settings: Settings, files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "workshop"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        before = time.process_time()
        error = used(settings, folder)
        assert time.process_time() - before < SECONDS
    event(error.problem.id if error else "loaded")
    if error:
        note(str(error))
        # A Promise without an API is none that can be asked, and is named itself.
        assert ".yaml" in str(error) or error.problem.id == "promise-no-api"
        assert error.fix
