"""L: of people's own kubeconfigs only what is the lab's changes, a copy is kept, and what they say of a cluster is handed on whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from labkit.cluster.external import ExternalCluster
from labkit.cluster.kubeconfig import Kubeconfig, default_file, portable
from labkit.cluster.provider import Endpoint
from labkit.common.errors import ClusterError, PortalError
from labkit.config.settings import Settings
from labkit.portal import config
from labkit.toolchain import Toolchain
from tests import kubectl

LAB = Endpoint("local-platform", "https://localhost:6443", Path("/lab/ca.crt"), {"client-key-data": "a2V5"})
ITS_ENTRY = "  name: local-platform\n"
BLOCK = """\
# my clusters
apiVersion: v1
kind: Config
clusters:   # three of them

- name: work
  cluster:
    server: https://office:6443   # behind the VPN
users:
- {name: work, user: {username: me, password: 12:34:56}}
contexts:
  - name: work
    context: {cluster: work, user: work}
  # the last word
current-context: "work"
"""
TABS = '{\n\t"apiVersion": "v1",\n\t"kind": "Config",\n\t"users": [{"name": "a", "user": {"token": "t"}}]\n}\n'


@pytest.fixture
def ours(tmp_path: Path) -> Kubeconfig:
    kubeconfig = Kubeconfig(tmp_path / "lab" / "kubeconfig")
    kubeconfig.enter(LAB)
    return kubeconfig


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    file = tmp_path / ".kube" / "config"
    file.parent.mkdir()
    return file


@pytest.mark.fault("Commands", "`labkit kubeconfig --merge` into a file with comments", "only lines are added; mode and a copy are kept")
@pytest.mark.parametrize(
    "text",
    [BLOCK, BLOCK.replace("\n", "\r\n"), f"\ufeff{BLOCK}", BLOCK.rstrip(), f"{BLOCK}---\nkind: Other\n", "apiVersion: v1\nkind: Config\n"],
    ids=["block", "Windows", "byte order mark", "no last line end", "two documents", "nothing in it"],
)
def test_a_merge_only_adds_lines(ours: Kubeconfig, theirs: Path, text: str) -> None:
    """B51: comments, layout, line ends and mode stay, and the copy is the file as it was."""
    theirs.write_bytes(text.encode())
    theirs.chmod(0o640)
    before = kubectl.seen(theirs)
    copy = ours.merge_into(theirs)
    assert copy == theirs.with_name("config.before-labkit-1")
    assert copy.read_bytes() == text.encode()
    written = theirs.read_bytes().decode().splitlines(keepends=True)
    rest = iter(written)
    assert [line for line in text.splitlines(keepends=True) if line.strip("\r\n") not in (each.strip("\r\n") for each in rest)] == []
    assert {line[len(line.rstrip("\r\n")) :] for line in written[:-1]} <= {"\r\n" if "\r\n" in text else "\n"}
    assert theirs.stat().st_mode & 0o777 == 0o640
    after = kubectl.seen(theirs)
    for section in ("clusters", "users", "contexts"):
        assert [entry for entry in after[section] if entry["name"] != LAB.name] == (before[section] or [])
    assert ours.merge_into(theirs) is None, "there is nothing to change any more"
    assert len(list(theirs.parent.iterdir())) == 2


def test_json_with_tabs_is_taken_and_stays_json(ours: Kubeconfig, theirs: Path) -> None:
    """B51: kubectl takes it."""
    theirs.write_text(TABS)
    ours.merge_into(theirs)
    merged = json.loads(theirs.read_text())
    assert [user["name"] for user in merged["users"]] == ["a", LAB.name]
    assert theirs.read_text().startswith(TABS.rstrip("}\n").removesuffix("]"))


def test_an_entry_that_is_out_of_date_is_replaced_and_nothing_else(ours: Kubeconfig, theirs: Path) -> None:
    """B51: a token of ours is renewed in its place."""
    theirs.write_text(BLOCK)
    ours.merge_into(theirs)
    with_comment = theirs.read_text().replace(ITS_ENTRY.strip(), f"{ITS_ENTRY.strip()} # the lab's")
    theirs.write_text(with_comment)
    ours.enter(LAB, user={"token": "new"})
    copy = ours.merge_into(theirs)
    assert copy == theirs.with_name("config.before-labkit-2")
    assert theirs.read_text() == with_comment.replace("client-key-data: a2V5", "token: new")


def test_a_foreign_entry_of_our_name_is_refused(ours: Kubeconfig, theirs: Path) -> None:
    """B51: another cluster at the same address has another authority."""
    foreign = BLOCK.replace("name: work\n  cluster:", "name: local-platform\n  cluster:\n    certificate-authority-data: azNz").replace(
        "office", "localhost"
    )
    theirs.write_text(foreign)
    with pytest.raises(ClusterError, match="already has local-platform, for another cluster"):
        ours.merge_into(theirs)
    assert theirs.read_text() == foreign
    assert list(theirs.parent.iterdir()) == [theirs]


@pytest.mark.parametrize("text", ["clusters: &all [{name: a, cluster: {}}]\nusers: []\nmore: *all\n", "users: &none []\ncontexts: *none\n"])
def test_a_layout_that_would_change_more_is_refused(ours: Kubeconfig, theirs: Path, text: str) -> None:
    """B51: with an alias, an addition would stand in two places."""
    theirs.write_text(text)
    with pytest.raises(ClusterError, match="labkit can't add to") as caught:
        ours.merge_into(theirs)
    assert theirs.read_text() == text
    assert f"export KUBECONFIG={theirs}:{ours.path}" in caught.value.fix


def test_what_looks_like_a_number_stays_text_in_our_own_file(ours: Kubeconfig) -> None:
    """B51, in the other direction: kubectl reads what labkit writes as labkit wrote it."""
    tokens = ("0o17", "1e3", "12e45678", "y", "0x1F", "22:30", "2024-11-05", "=", "", "~", "a\nb", "+1", ".5", "caf\u00e9")
    for token in tokens:
        ours.enter(LAB, f"user {token!r}", {"token": token})
    seen = {user["name"]: user["user"].get("token", "") for user in kubectl.seen(ours.path)["users"]}
    assert [seen[f"user {token!r}"] for token in tokens] == list(tokens)


def read_only(theirs: Path) -> None:
    theirs.write_text(BLOCK)
    theirs.parent.chmod(0o555)


def linked(theirs: Path) -> None:
    store = theirs.parent.with_name("store")
    store.mkdir()
    (store / "config").write_text(BLOCK)
    theirs.symlink_to(store / "config")
    store.chmod(0o555)


def no_folder(theirs: Path) -> None:
    theirs.parent.rmdir()
    theirs.parent.write_text("a file")


def a_loop(theirs: Path) -> None:
    theirs.symlink_to(theirs)


@pytest.fixture
def as_somebody() -> Iterator[Path]:
    """A folder of an ordinary user's, and the test run as that user: a folder's mode keeps root from nothing."""
    folder, user = Path(tempfile.mkdtemp()), os.geteuid() or 65534
    if os.geteuid() == 0:
        os.chown(folder, user, -1)
        os.seteuid(user)
    yield folder
    os.seteuid(os.getuid())
    for each in folder.iterdir():
        each.chmod(0o700)
    shutil.rmtree(folder)


@pytest.mark.fault("Commands", "a kubeconfig of one's own that can't be written", "one sentence, and how to use both files")
@pytest.mark.parametrize("spoil", [read_only, linked, no_folder, a_loop, Path.mkdir], ids=lambda spoil: spoil.__name__)
def test_a_file_that_can_not_be_written_is_named(as_somebody: Path, spoil: Callable[[Path], None]) -> None:
    """B21: a read-only folder, a link into one, a file as the folder, a folder as the file."""
    ours, file = Kubeconfig(as_somebody / "lab" / "kubeconfig"), as_somebody / ".kube" / "config"
    ours.enter(LAB)
    file.parent.mkdir()
    spoil(file)
    with pytest.raises(ClusterError, match=r"can't be written|is not a kubeconfig") as caught:
        ours.merge_into(file)
    assert str(file.resolve() if spoil is linked else file) in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize(
    ("there", "kubeconfig", "expected"),
    [
        ((), "", ".kube/config"),
        ((), "a", "a"),
        ((), "a:b", "b"),
        (("b",), "a:b", "b"),
        (("a", "b"), "a:b", "a"),
        (("a",), ":a", "a"),
    ],
)
def test_a_merge_goes_where_kubectl_config_would_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], kubeconfig: str, expected: str
) -> None:
    """B52: the first file of KUBECONFIG that is there, else its last."""
    for name in there:
        (tmp_path / name).write_text("apiVersion: v1\nkind: Config\n")
    named = ":".join(name and str(tmp_path / name) for name in kubeconfig.split(":"))
    monkeypatch.setenv("KUBECONFIG", named)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_file() == tmp_path / expected
    (tmp_path / ".kube").mkdir()
    kubectl.run("config", "set-context", "tried")
    assert "tried" in (tmp_path / expected).read_text()


@pytest.fixture
def external(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Endpoint]:
    """What labkit takes over of a person's context, whose cluster and user have these fields."""
    toolchain = Toolchain(Settings.load().cache)

    def endpoint(cluster: dict[str, Any], user: dict[str, Any]) -> Endpoint:
        (tmp_path / "theirs").mkdir(exist_ok=True)
        whole = portable(Endpoint("their", "https://10.0.0.1:6443", tmp_path / "ca.crt", {}), {"their": user})
        whole["clusters"][0]["cluster"] |= cluster
        (tmp_path / "theirs" / "config").write_text(json.dumps(whole))
        monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{tmp_path / 'theirs' / 'config'}")
        settings = Settings.load({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_CONTEXT": "their", "LABKIT_CLUSTER": "external"})
        return ExternalCluster(settings, toolchain, cast("Any", None)).endpoint

    (tmp_path / "ca.crt").write_text("CA")
    return endpoint


def test_what_a_cluster_is_reached_by_is_handed_on_to_kubectl(external: Callable[..., Endpoint], tmp_path: Path) -> None:
    """B13: proxy-url, tls-server-name and whatever else the entry says."""
    more = {"proxy-url": "http://127.0.0.1:3128", "tls-server-name": "localhost", "disable-compression": True}
    endpoint = external(more, {"token": "t"})
    kubeconfig = Kubeconfig(tmp_path / "lab")
    kubeconfig.enter(endpoint)
    assert (kubeconfig.entry("clusters", endpoint.name) or {}).items() >= more.items()
    assert kubectl.seen(kubeconfig.path)["clusters"][0]["cluster"].items() >= more.items()


def test_the_portal_says_what_it_can_not_use(external: Callable[..., Endpoint], tmp_path: Path) -> None:
    """B13: Backstage reaches a cluster by address and authority alone."""
    settings = cast("Any", SimpleNamespace())
    with pytest.raises(PortalError, match="the portal can't reach the cluster at https://10") as caught:
        config.variables(settings, external({"tls-server-name": "localhost"}, {}), "https://issuer", tmp_path)
    assert "tls-server-name" in caught.value.why


def test_a_proxy_that_only_kubectl_knows_is_refused(external: Callable[..., Endpoint]) -> None:
    """B13: the labs ask the API server by Python too."""
    with pytest.raises(ClusterError, match="through socks5://127"):
        external({"proxy-url": "socks5://127.0.0.1:1080"}, {})


def plugin(command: str) -> dict[str, Any]:
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never"}}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (
            plugin("./get-token.sh"),
            "theirs/get-token.sh",
        ),
        (plugin("bin/get"), "theirs/bin/get"),
        (plugin("aws"), None),
        ({"tokenFile": "token"}, "theirs/token"),
        ({"tokenFile": "/var/token"}, None),
    ],
)
def test_paths_in_a_users_entry_are_those_of_its_file(
    external: Callable[..., Endpoint], tmp_path: Path, given: dict[str, Any], taken: str | None
) -> None:
    """B59: kubectl resolves a plugin's command and a token's file against the kubeconfig's folder."""
    user = external({}, given).admin
    found = user["exec"]["command"] if "exec" in user else user["tokenFile"]
    assert found == (str(tmp_path / taken) if taken else given.get("tokenFile") or "aws")
