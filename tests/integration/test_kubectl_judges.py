"""What kubectl takes for a kubeconfig, held against what labkit takes for one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from labkit.cluster.kubeconfig import Kubeconfig
from labkit.cluster.provider import Endpoint
from labkit.common.errors import ClusterError
from tests.kubectl import run, seen
from tests.unit.test_kubeconfig import ODD, THEIRS

GOOD = [
    THEIRS.encode(),
    b"",
    b"{}",
    b'{"clusters": [], "users": [{"name": "a", "user": {"token": "0123"}}], "contexts": null}',
    b"\xef\xbb\xbfclusters: []",
    b"kind: Config\nclusters: [{name: c, cluster: null}, {name: d}]",
    b"users: [{name: '123', user: {token: '0123'}}, {name: b, user: {token: 2026-01-02, username: 12:30:45, password: 1:30.5}}]",
    b"extensions: [{name: x, extension: {a: 0123, b: 0x1F, c: 1_000, d: 1e3, e: 1.10, f: on, g: 08, h: ~, i: 9007199254740993}}]",
    b"users:\n- {name: a, user: &all {token: t}}\n- {name: b, user: *all}\n",
]


@pytest.fixture
def ours(tmp_path: Path) -> Kubeconfig:
    kubeconfig = Kubeconfig(tmp_path / "lab" / "kubeconfig")
    kubeconfig.enter(Endpoint("local-platform", "https://localhost:6443", Path("/lab/ca.crt"), {"client-key-data": "a2V5"}))
    return kubeconfig


@pytest.mark.parametrize("text", [text for text, _ in ODD] + GOOD)
def test_what_kubectl_refuses_is_refused_and_what_is_taken_loses_nothing_in_kubectls_eyes(
    ours: Kubeconfig, tmp_path: Path, text: bytes
) -> None:
    file = tmp_path / "config"
    file.write_bytes(text)
    before = seen(file)
    try:
        ours.merge_into(file)
    except ClusterError:
        assert file.read_bytes() == text
        assert text not in GOOD
        return
    assert before is not None
    after = seen(file)
    for section in ("clusters", "users", "contexts"):
        assert [entry for entry in after[section] or [] if entry["name"] != "local-platform"] == (before[section] or [])
        assert "local-platform" in {entry["name"] for entry in after[section]}
    assert [after.get(key) for key in ("current-context", "extensions")] == [before.get(key) for key in ("current-context", "extensions")]


def test_two_users_of_one_name_are_refused_by_kubectl_too(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("users: [{name: a, user: {token: A}}, {name: a, user: {token: B}}]")
    assert seen(tmp_path / "config") is None


def test_kubectl_has_labkit_as_a_plugin() -> None:
    """Wherever this environment's programs are on the search path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert str(Path(sys.executable).parent / "kubectl-labkit") in run("plugin", "list", PATH=path).stdout
    done = run("labkit", "realm", "--help", PATH=path)
    assert (done.returncode, done.stdout.startswith("usage: labkit realm")) == (0, True), done.stderr
