"""The lab's kubeconfig, and what is copied into somebody's own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.cluster.kubeconfig import Kubeconfig, exec_user
from labkit.cluster.provider import Endpoint
from labkit.common.errors import ClusterError

LAB = Endpoint("local-platform", "https://localhost:6443", Path("/lab/ca.crt"), {"client-key-data": "a2V5"})
THEIRS = """\
apiVersion: v1
kind: Config
preferences: {colors: true}
extensions:
- name: tool
  extension: {made: 2026-01-02T03:04:05Z, number: 12, set: true}
current-context: work
clusters:
- name: work
  cluster: {server: "https://office:6443", insecure-skip-tls-verify: false, extensions: [{name: tool, extension: {a: 1}}]}
contexts:
- name: work
  context: {cluster: work, user: work, namespace: team}
users:
- name: work
  user: {token: secret, expiry: 2026-01-02T03:04:05Z}
"""

ODD = [
    (b"just words", "it is not a mapping"),
    (b"- a list", "it is not a mapping"),
    (b"a: [unfinished", "line 2, column 1: did not find expected ',' or ']'"),
    (b"a:\tb: c", "line 1"),
    (b"# caf\xe9\nclusters: []\n", "it is no YAML text in UTF-8"),
    (b"users: [{name: \x00}]", "control characters are not allowed"),
    (b"? [1]\n: a", "a key is text, and no list or mapping"),
    (b"apiVersion: v1\nkind: Pod", "apiVersion and kind are not v1 and Config"),
    (b"current-context: [a]", "current-context is not text"),
    (b"clusters: {a: 1}", "clusters is not a list"),
    (b"clusters: none", "clusters is not a list"),
    (b"clusters: [null]", "clusters[0] has no name"),
    (b"clusters: [text]", "clusters[0] has no name"),
    (b"users: [{user: {}}]", "users[0] has no name"),
    (b"clusters: [{name: [1], cluster: {}}]", "clusters[0] has no name, or one that is not text"),
    (b"contexts: [{name: 1, context: {}}]", "contexts[0] has no name, or one that is not text"),
    (b"clusters: [{name: a, cluster: text}]", "clusters[0].cluster is not a mapping"),
    (b"clusters: [{name: a, cluster: {server: [1]}}]", "clusters[0].cluster.server is not text"),
    (b"contexts: [{name: a, context: {cluster: [1]}}]", "contexts[0].context.cluster is not text"),
    (b"users: [{name: a, user: {auth-provider: oidc}}]", "users[0].user.auth-provider is not a mapping"),
    (b"users: [{name: a, user: {auth-provider: {name: oidc, config: 1}}}]", "users[0].user.auth-provider.config is not a mapping"),
    (b"users: [{name: a, user: {token: A}}, {name: a, user: {token: B}}]", 'users[1] has the name "a", as users[0] has'),
    (b"users: [{name: a, user: {token: A}}]\nusers: []", 'the key "users" is there twice'),
]


@pytest.fixture
def ours(tmp_path: Path) -> Kubeconfig:
    kubeconfig = Kubeconfig(tmp_path / "lab" / "kubeconfig")
    kubeconfig.enter(LAB)
    kubeconfig.enter(LAB, "user-dev-exec", exec_user("user-dev", {"LABKIT_HOME": str(tmp_path / "lab")}))
    return kubeconfig


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    file = tmp_path / ".kube" / "config"
    file.parent.mkdir()
    file.write_text(THEIRS)
    file.chmod(0o640)
    return file


def content(file: Path) -> dict[str, Any]:
    return dict(yaml.load(file.read_text(), Loader=yaml.BaseLoader))  # noqa: S506 - every value as the text it is


def without_ours(file: Path) -> dict[str, Any]:
    found = content(file)
    for section in ("clusters", "contexts", "users"):
        found[section] = [entry for entry in found[section] if entry["name"] == "work"]
    return found


def test_a_new_kubeconfig_is_its_owners_only(ours: Kubeconfig) -> None:
    assert ours.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in ours.path.parent.iterdir()] == ["kubeconfig"]


def test_the_administrators_context_names_cluster_and_user(ours: Kubeconfig) -> None:
    assert ours.entry("contexts", "local-platform") == {"cluster": "local-platform", "user": "local-platform"}
    assert ours.entry("clusters", "local-platform") == {"server": LAB.url, "certificate-authority": "/lab/ca.crt"}
    assert ours.entry("users", "local-platform") == LAB.admin


def test_an_exec_person_has_no_token_in_the_file(ours: Kubeconfig, tmp_path: Path) -> None:
    user = ours.entry("users", "user-dev-exec")
    assert user is not None
    assert user.keys() == {"exec"}
    assert user["exec"]["args"][-2:] == ["credential", "user-dev"]
    assert user["exec"]["env"] == [{"name": "LABKIT_HOME", "value": str(tmp_path / "lab")}]


def test_a_name_that_is_not_there_has_no_entry(ours: Kubeconfig) -> None:
    assert ours.entry("users", "nobody") is None


def test_kubectls_own_entries_and_unknown_keys_stay(theirs: Path) -> None:
    Kubeconfig(theirs).enter(LAB)
    assert without_ours(theirs) == content_of(THEIRS)
    assert Kubeconfig(theirs).contexts() == ["work", "local-platform"]


def content_of(text: str) -> dict[str, Any]:
    return dict(yaml.load(text, Loader=yaml.BaseLoader))  # noqa: S506 - every value as the text it is


def test_removing_a_person_leaves_cluster_administrator_and_others(ours: Kubeconfig) -> None:
    ours.remove("user-dev-exec", "nobody")
    assert ours.contexts() == ["local-platform"]
    assert ours.entry("users", "user-dev-exec") is None
    assert ours.entry("users", "local-platform") == LAB.admin


def test_merging_adds_the_labs_contexts_and_keeps_all_else_with_the_current_one(ours: Kubeconfig, theirs: Path) -> None:
    ours.merge_into(theirs)
    assert Kubeconfig(theirs).contexts() == ["work", *ours.contexts()]
    assert without_ours(theirs) == content_of(THEIRS)
    assert content(theirs)["current-context"] == "work"
    merged = Kubeconfig(theirs)
    for section, name in (("clusters", "local-platform"), ("users", "user-dev-exec"), ("contexts", "user-dev-exec")):
        assert merged.entry(section, name) == ours.entry(section, name)


def test_merging_twice_changes_nothing(ours: Kubeconfig, theirs: Path) -> None:
    ours.merge_into(theirs)
    once = theirs.read_text()
    ours.merge_into(theirs)
    assert theirs.read_text() == once


def test_merging_makes_the_file_when_there_is_none(ours: Kubeconfig, tmp_path: Path) -> None:
    ours.merge_into(tmp_path / "new" / "config")
    assert Kubeconfig(tmp_path / "new" / "config").contexts() == ours.contexts()
    assert "current-context" not in content(tmp_path / "new" / "config")


def test_merging_follows_a_link_and_leaves_it(ours: Kubeconfig, theirs: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(theirs)
    ours.merge_into(link)
    assert link.is_symlink()
    assert "local-platform" in Kubeconfig(theirs).contexts()


@pytest.mark.parametrize(
    ("taken", "entry"),
    [
        ("local-platform", {"clusters": ("local-platform", "cluster", {"server": "https://other:6443"})}),
        ("user-dev-exec", {"contexts": ("user-dev-exec", "context", {"cluster": "work", "user": "work"})}),
        ("user-dev-exec", {"users": ("user-dev-exec", "user", {"token": "of another cluster"})}),
    ],
    ids=["cluster", "context", "user"],
)
def test_merging_refuses_a_name_that_another_cluster_has_and_leaves_the_file(
    ours: Kubeconfig, theirs: Path, taken: str, entry: dict[str, tuple[str, str, dict[str, str]]]
) -> None:
    whole = yaml.safe_load(THEIRS)
    for section, (name, kind, value) in entry.items():
        whole[section].append({"name": name, kind: value})
    theirs.write_text(yaml.safe_dump(whole))
    before = theirs.read_text()
    with pytest.raises(ClusterError, match=f"already has {taken}, for another cluster") as caught:
        ours.merge_into(theirs)
    assert f"KUBECONFIG={ours.path}" in caught.value.fix
    assert theirs.read_text() == before


@pytest.mark.fault(
    "Commands", "`labkit kubeconfig --merge` into a file that is odd in any way", "the error says what is odd; nothing is written"
)
@pytest.mark.parametrize(("text", "odd"), ODD)
def test_a_file_that_is_no_kubeconfig_is_refused_and_left(ours: Kubeconfig, theirs: Path, text: bytes, odd: str) -> None:
    theirs.write_bytes(text)
    with pytest.raises(ClusterError, match="is not a kubeconfig") as caught:
        ours.merge_into(theirs)
    assert odd in caught.value.why
    assert "kubectl config view --kubeconfig=FILE" in caught.value.fix
    assert theirs.read_bytes() == text
    assert [file.name for file in theirs.parent.iterdir()] == [theirs.name]


def test_a_folder_in_its_place_is_refused(ours: Kubeconfig, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is not a kubeconfig") as caught:
        ours.merge_into(tmp_path)
    assert caught.value.why == "Is a directory"


def test_what_is_odd_is_reported_without_the_secrets_that_stand_there(ours: Kubeconfig, theirs: Path) -> None:
    for text in ("users: [{name: a, user: {token: !!int s3cret}}]", "users: [{name: a, user: {token: s3cret}", "users: {token: s3cret}"):
        theirs.write_text(text)
        with pytest.raises(ClusterError) as caught:
            ours.merge_into(theirs)
        assert "s3cret" not in str(caught.value)


def test_keys_beside_an_entrys_own_stay(ours: Kubeconfig, theirs: Path) -> None:
    theirs.write_text("clusters: [{name: c, cluster: {server: x}, extra: keepme}]\nusers: [{name: nobody, user: null}]\n")
    ours.merge_into(theirs)
    merged = content(theirs)
    assert merged["clusters"][0] == {"name": "c", "cluster": {"server": "x"}, "extra": "keepme"}
    assert merged["users"][0] == {"name": "nobody", "user": "null"}


@pytest.mark.fault(
    "Neighbours", "another lab's cluster at the same address is in ~/.kube/config", "it counts as another one: nothing of it is replaced"
)
@pytest.mark.parametrize("authority", [{"certificate-authority": "/other/ca.crt"}, {"certificate-authority-data": "QQ=="}, {}])
def test_a_cluster_at_the_same_address_with_another_authority_is_another_one(
    ours: Kubeconfig, theirs: Path, authority: dict[str, str]
) -> None:
    whole = yaml.safe_load(THEIRS)
    whole["clusters"].append({"name": "theirs", "cluster": {"server": LAB.url, **authority}})
    whole["contexts"].append({"name": "user-dev-exec", "context": {"cluster": "theirs", "user": "work"}})
    theirs.write_text(yaml.safe_dump(whole))
    before = theirs.read_text()
    with pytest.raises(ClusterError, match="already has user-dev-exec, for another cluster"):
        ours.merge_into(theirs)
    assert theirs.read_text() == before


def test_an_authority_is_known_by_what_it_is_wherever_it_stands(theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"A")
    ours = Kubeconfig(tmp_path / "lab" / "kubeconfig")
    ours.enter(Endpoint(LAB.name, LAB.url, tmp_path / "ca.crt", LAB.admin))
    for authority in ({"certificate-authority": "../ca.crt"}, {"certificate-authority-data": "QQ=="}):
        cluster = {"server": LAB.url, **authority}
        theirs.write_text(yaml.safe_dump({"clusters": [{"name": LAB.name, "cluster": cluster}]}))
        ours.merge_into(theirs)
        assert Kubeconfig(theirs).contexts() == [LAB.name]


def test_several_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    kubeconfig = Kubeconfig(tmp_path / "kubeconfig")
    names = [f"user-{i}" for i in range(8)]
    writers = [threading.Thread(target=kubeconfig.enter, args=(LAB, name, {})) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(kubeconfig.contexts()) == names


def test_a_lock_that_is_never_freed_is_named(ours: Kubeconfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.cluster.kubeconfig._LOCK_SECONDS", 0.1)
    lock = Path(f"{ours.path}.lock")
    lock.touch()
    with pytest.raises(ClusterError, match="has been locked") as caught:
        ours.remove("user-dev-exec")
    assert str(lock) in caught.value.fix
