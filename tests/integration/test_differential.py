"""Generated inputs, each given to labkit and to the real program: what they make of it has to be the same.

`make fuzz` tries ten thousand of each kind; a run's seed stands at the head of its report.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import event, example, given, note
from hypothesis import strategies as st

from labkit.cluster.kubeconfig import Kubeconfig
from labkit.cluster.provider import Endpoint
from labkit.common.errors import ClusterError
from labkit.common.kubernetes_yaml import YamlError, load
from tests.kubectl import seen

ODD = [
    *[
        "0400",
        "08",
        "0o17",
        "0x1F",
        "0b11",
        "-0b11",
        "+12",
        "1_000",
        "_1",
        "=",
        "<<",
        "y",
        "N",
        "yes",
        "On",
        "off",
        "TRUE",
        "~",
        "Null",
        "22:30",
        "12:34:56",
        "2024-11-05",
        "2024-11-05T10:00:00Z",
    ],
    *[
        "1e3",
        "1.",
        ".5",
        "-.5",
        "1e400",
        "1.10",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        ".inf",
        ".NaN",
        "0x",
    ],
    *["1_0.5", "0.0001", "1e-7", "-0", "*marked", '"a\\tb"', "'it''s'", '"\\u00e9"', "café", "😀", "a#b", "x:y", "["],
    *(
        "!!str 5",
        "!!int 5",
        "!!int x",
        "!!float 5",
        "!own 5",
        "!!binary aGk=",
        "!!bool yes",
        "!!timestamp 2024-01-01",
        "&here 5",
        "! 5",
        "! yes",
        '! "5"',
    ),
    *("a b", "a: b", "[a, b]", "{a: b, c}", "- a", "|\n      two\n      lines\n", ">-\n      two\n      lines\n"),
    *("{<<: *map, k: 1}", "{<<: [*map], a: 2}", "{a: 2, <<: *map}", "{a: 1, a: 2}", "{1.10: x, 0x10: y, yes: z}"),
]
SCALARS = st.sampled_from(ODD) | st.text("0123456789abefoxXyYnNEtT_+-.:~", min_size=1, max_size=8)
KEYS = st.sampled_from(["a", "yes", "on", "0400", "1.10", "=", "22:30", "'no'", "2024-11-05", "null"]) | st.text(
    "abxyn01", min_size=1, max_size=4
)

LAB = Endpoint("local-platform", "https://localhost:6443", Path("/lab/ca.crt"), {"client-key-data": "a2V5"})
OURS = {"server": LAB.url, "certificate-authority": str(LAB.ca)}


@contextmanager
def a_file(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config"
        file.write_bytes(text.encode())
        yield file


def of_labkit(text: str) -> Any:
    """The same, by labkit's reader."""
    try:
        return load(text)["extensions"][0]["extension"]
    except YamlError:
        return None


@example([("a", "! 5"), ("b", '! "5"'), ("c", "! ~"), ("d", "&x ! yes"), ("! no", "!\n      1.10")])
@example([("a", "&here 5"), ("b", "&here [*marked]"), ("c", "*here")])
@given(st.lists(st.tuples(KEYS, SCALARS), min_size=1, max_size=6, unique_by=lambda pair: str(load(pair[0]))))
def test_yaml_is_read_as_kubectl_reads_it(pairs: list[tuple[str, str]]) -> None:
    lines = "".join(f"    {key}: {value}\n" for key, value in pairs)
    text = f"extensions:\n- name: x\n  extension:\n    map: &map {{a: 1, b: 2}}\n    list: &marked [1, two]\n{lines}"
    note(text)
    with a_file(text) as file:
        whole = seen(file)
    event("refused" if whole is None else "read")
    right = whole and whole["extensions"][0]["extension"]
    assert json.dumps(of_labkit(text), sort_keys=True) == json.dumps(right, sort_keys=True)


@st.composite
def kubeconfigs(draw: st.DrawFn) -> str:
    """A kubeconfig in one of many layouts, with entries of the lab's names or without."""
    indent = draw(st.sampled_from(("", "  ")))
    line_end = draw(st.sampled_from(("\n", "\r\n")))
    flow = draw(st.booleans())
    names = ("work", "local-platform", "other")
    lines = draw(st.permutations(("apiVersion: v1", "kind: Config", "current-context: work  # mine", "# a comment", "preferences: {}", "")))
    for section, kind in draw(st.permutations((("clusters", "cluster"), ("users", "user"), ("contexts", "context")))):
        values = {
            "cluster": st.sampled_from((OURS, {**OURS, "tls-server-name": "x"}, {"server": "https://office:6443"}, {"server": LAB.url})),
            "user": st.sampled_from(({"token": "0123"}, {"client-key-data": "a2V5"}, {"username": "yes", "password": "1e3"}, {})),
            "context": st.sampled_from(({"cluster": "work", "user": "work"}, {"cluster": "local-platform", "user": "local-platform"})),
        }[kind]
        entries = draw(st.dictionaries(st.sampled_from(names), values, max_size=3))
        if not entries:
            lines += draw(st.sampled_from(([], [f"{section}: []"], [f"{section}: null # none"], [f"{section}:"])))
            continue
        lines.append(f"{section}:{draw(st.sampled_from(('', ' # ours', '  ')))}")
        for name, value in entries.items():
            if flow or draw(st.booleans()):
                lines.append(f"{indent}- {json.dumps({'name': name, kind: value})}{draw(st.sampled_from(('', ' # - x')))}")
            else:
                lines += [f"{indent}- name: {name}", f"{indent}  {kind}:" + " {}" * (not value)]
                lines += [f"{indent}    {key}: {json.dumps(text)}" for key, text in value.items()]
                lines += draw(
                    st.sampled_from(([], [f"{indent}  # about it"], ["", f"{indent}  extra: |", f"{indent}    a", f"{indent}    b", ""]))
                )
    return (
        draw(st.sampled_from(("", "\ufeff", f"---{line_end}"))) + line_end.join(lines) + draw(st.sampled_from(("", line_end, line_end * 2)))
    )


@given(kubeconfigs())
def test_a_merge_changes_nothing_of_others_by_kubectl_and_to_the_letter(text: str) -> None:
    note(text)
    with a_file(text) as file, tempfile.TemporaryDirectory() as folder:
        ours = Kubeconfig(Path(folder) / "kubeconfig")
        ours.enter(LAB)
        before = seen(file)
        refusal = ""
        try:
            copy = ours.merge_into(file)
        except ClusterError as error:
            refusal = error.problem.id
        event(refusal or "merged")
        if refusal:
            assert file.read_bytes() == text.encode()
            assert before is None or refusal == "kubeconfig-names-taken"
            return
        assert before is not None
        after, written = seen(file), file.read_bytes().decode()
        assert (copy.read_bytes() if copy else written.encode()) == text.encode()
        own = seen(ours.path)
    note(written)
    for section in ("clusters", "users", "contexts"):
        of_ours = [entry for entry in after[section] if entry["name"] == LAB.name]
        assert of_ours == own[section]
        others = [entry for entry in before[section] or [] if entry["name"] != LAB.name]
        assert [entry for entry in after[section] if entry["name"] != LAB.name] == others
    assert {**after, "clusters": 0, "users": 0, "contexts": 0} == {**before, "clusters": 0, "users": 0, "contexts": 0}
    if LAB.name not in re.sub(r'"cluster": "local-platform", "user": "local-platform"|(cluster|user): "local-platform"', "", text):
        rest = iter(written)
        assert all(letter in rest for letter in re.sub(r"(?m)^(\w+): (\[\]|null)", r"\1:", text))
