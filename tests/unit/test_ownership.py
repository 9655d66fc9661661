"""Whose folders labkit believes, and that what it makes is nobody else's to change."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import labkit.common.ownership
import labkit.config.settings
from labkit.cli import main
from labkit.common.errors import SettingsError
from labkit.common.ownership import make_private, privately, require_own
from labkit.config.settings import FIRST_LAB, Settings, find_root, own_root
from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab
from labkit.room.seats import open_programs
from labkit.toolchain.recipe import Program
from labkit.toolchain.store import Store
from tests.support import labkit as run_labkit

NOBODY = 65534


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """What the tests make is to be others' only where they say so."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def open_umask(usual_umask: None) -> None:
    """A person who has others write to whatever they make."""
    os.umask(0)


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Have a folder be another person's. Only root can; for anybody else it is the person who becomes another one."""

    def give(folder: Path) -> None:
        if os.geteuid():
            other = os.geteuid() + 1
            monkeypatch.setattr("os.geteuid", lambda: other)
        else:
            os.chown(folder, NOBODY, NOBODY)

    return give


def checkout(folder: Path) -> Path:
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks" / FIRST_LAB).touch()
    return folder


def a_state_folder(folder: Path) -> None:
    open_state_folder(folder, environ={})


def a_cache(folder: Path) -> None:
    Store(folder)


def a_checkout(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        own_root()


def modes(folder: Path) -> dict[str, int]:
    found = (path for path in (folder, *folder.rglob("*")))
    return {str(path.relative_to(folder.parent)): stat.S_IMODE(path.stat().st_mode) for path in found}


KINDS = pytest.mark.parametrize("use", [a_state_folder, a_cache, a_checkout])


@pytest.mark.fault(
    "Neighbours",
    "the state folder, the cache, or a checkout that was found above the current folder belongs to somebody else",
    "it is refused, with whose it is and the command that takes another",
)
@KINDS
def test_somebody_elses_is_refused(tmp_path: Path, give_away: Callable[[Path], None], use: Callable[[Path], None]) -> None:
    folder = checkout(tmp_path / "theirs")
    give_away(folder)
    with pytest.raises(SettingsError, match=rf"^{folder} belongs to .+, and not to ") as caught:
        use(folder)
    assert "acts as you" in caught.value.why
    assert caught.value.fix.startswith(("export LABKIT_HOME=~/", "export LABKIT_CACHE=~/", "work on a copy of your own: cp -R "))
    assert [path.name for path in folder.iterdir()] == ["notebooks"]


@pytest.fixture
def tmp_for_all() -> Iterator[Path]:
    """A folder like /tmp: everybody may put things there. pytest's own are their owner's only."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
@pytest.mark.fault(
    "Neighbours",
    "another account plants a state folder, a cache or notebooks in /tmp, where somebody works",
    "nothing of it is read or run: the command ends with whose it is",
)
def test_what_another_account_plants_where_one_works_is_not_touched(tmp_for_all: Path) -> None:
    plant = "umask 0; mkdir home cache notebooks && touch notebooks/00-start-here.ipynb home/kubeconfig && cd home && echo '{}' >home.json"
    somebody_else = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    subprocess.run([*somebody_else, "sh", "-c", plant], cwd=tmp_for_all, check=True)
    mine = tmp_for_all / "mine"
    mine.mkdir()
    for command, environ, said in (
        ("kubeconfig", {"LABKIT_HOME": str(tmp_for_all / "home")}, f"{tmp_for_all / 'home'} belongs to "),
        ("setup", {"LABKIT_HOME": str(mine / "home"), "LABKIT_CACHE": str(tmp_for_all / "cache")}, f"{tmp_for_all / 'cache'} belongs to "),
        ("run", {}, f"others than {pwd.getpwuid(0).pw_name} may write to {tmp_for_all}"),
    ):
        done = run_labkit(command, cwd=mine, **environ)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert sorted(path.name for path in mine.iterdir()) == ["home"]
    assert [path.stat().st_uid for path in (tmp_for_all / "home").iterdir()] == [NOBODY, NOBODY]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
@pytest.mark.fault("Neighbours", "root has made a cache for all", "its programs are used, and nothing is made there but by root")
def test_programs_that_root_made_for_all_are_used_and_left_as_they_are(tmp_for_all: Path) -> None:
    tmp_for_all.chmod(0o755)
    cache = tmp_for_all / "cache"
    with Store(cache).making("tool") as work:
        (work / "tool").write_text("#!/bin/sh")
        (work / "tool").chmod(0o700)
        Store(cache).put("tool-1", work, Program("tool", "1", work / "tool", "made here"))
    Store(cache).log("tool")
    open_programs(cache)
    # As when a private cache is copied into an open one.
    (cache / "programs" / "tool-1" / "tool").chmod(0o700)
    open_programs(cache)
    try:
        os.seteuid(NOBODY)
        found = Store(cache).get("tool-1")
        assert found
        assert os.access(found.path, os.R_OK | os.X_OK, effective_ids=True)
        with pytest.raises(SettingsError, match="belongs to"), Store(cache).making("tool"):
            pass
        # A state folder of root's is nobody else's to use.
        with pytest.raises(SettingsError, match="belongs to"):
            require_own(cache, "keys", "")
        assert not os.access(cache / "logs", os.R_OK | os.X_OK, effective_ids=True)
        assert not any(os.access(path, os.W_OK, effective_ids=True) for path in (cache, *cache.rglob("*")))
    finally:
        os.seteuid(0)


@pytest.mark.fault("Neighbours", "one of these may be written to by others", "it is refused, with the command that mends it")
@KINDS
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_what_others_may_write_to_is_refused_until_the_fix_is_run(tmp_path: Path, use: Callable[[Path], None], mode: int) -> None:
    folder = checkout(tmp_path / "my own")
    use(folder)
    folder.chmod(mode)
    with pytest.raises(SettingsError, match="may write to") as caught:
        use(folder)
    _, command = caught.value.fix.splitlines()[0].split("then: ")
    subprocess.run(command, shell=True, check=True)  # noqa: S602 - as a person would
    use(folder)


@pytest.mark.fault("Neighbours", "others may write to the notebooks of a checkout that is one's own", "it is refused as well")
def test_the_notebooks_count_as_the_checkout_does(tmp_path: Path) -> None:
    (checkout(tmp_path) / "notebooks").chmod(0o777)
    with pytest.raises(SettingsError, match=r"may write to .*/notebooks"):
        a_checkout(tmp_path / "notebooks")


@pytest.mark.fault(
    "Neighbours",
    "others may write to a folder above one of these, and so put another in its place",
    "it is refused, unless only owners may rename there, as in /tmp",
)
@KINDS
def test_what_lies_where_others_may_rename_it_is_refused(tmp_path: Path, use: Callable[[Path], None]) -> None:
    folder = checkout(tmp_path / "shared" / "deeper" / "mine")
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(SettingsError, match="others may put another folder in the place of") as caught:
        use(folder)
    assert caught.value.what.endswith(str(folder))
    assert caught.value.fix == f"chmod go-w {tmp_path / 'shared'}"
    (tmp_path / "shared").chmod(0o1777)
    use(folder)


def test_what_lies_below_a_folder_of_somebody_elses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs" / "mine").mkdir(parents=True)
    if os.geteuid():
        monkeypatch.setattr(labkit.common.ownership, "_is_trusted_above", lambda _: False)
    else:
        os.chown(tmp_path / "theirs", NOBODY, NOBODY)
    with pytest.raises(SettingsError, match="may put another folder in the place of") as caught:
        require_own(tmp_path / "theirs" / "mine", "keys", "export LABKIT_HOME=~/labkit-home")
    assert caught.value.fix == "export LABKIT_HOME=~/labkit-home"


def test_the_checkout_of_this_very_code_needs_no_look_nor_does_what_is_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, give_away: Callable[[Path], None]
) -> None:
    root = checkout(tmp_path / "mounted" / "checkout")
    root.chmod(0o777)
    root.parent.chmod(0o777)
    monkeypatch.setattr(labkit.common.ownership, "CODE", root)
    monkeypatch.setattr(labkit.config.settings, "CODE", root)
    a_checkout(root)
    a_state_folder(root / ".labkit")
    give_away(root)
    a_checkout(root)


def test_the_home_directory_needs_no_look_so_that_the_fix_always_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, give_away: Callable[[Path], None]
) -> None:
    """A container's may belong to another uid, and a volume's to root and a group."""
    monkeypatch.setenv("HOME", str(tmp_path / "volume" / "me"))
    home = tmp_path / "volume" / "me" / "labkit-home"
    home.mkdir(parents=True)
    for above in (home.parent, home.parent.parent):
        above.chmod(0o2775)
        if os.geteuid() == 0:
            give_away(above)
    a_state_folder(home)


def test_in_somebody_elses_checkout_a_lab_that_is_named_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubectl, and with it `labkit credential`, may be called in any folder."""
    root = checkout(tmp_path / "theirs")
    root.chmod(0o777)
    monkeypatch.chdir(root)
    assert Settings.load({"LABKIT_HOME": str(tmp_path / "home")}).root == find_root() == root
    with pytest.raises(SettingsError, match="may write to"):
        Settings.load({})
    assert not (root / ".labkit").exists()


@pytest.mark.parametrize(
    ("name", "members", "good"),
    [("me", [], True), ("me", ["me"], True), ("me", ["me", "you"], False), ("staff", [], False), ("staff", ["me"], False)],
)
def test_a_group_may_write_when_it_is_the_persons_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, members: list[str], good: bool
) -> None:
    """With a umask of 002 a checkout is its group's to write to, and that group is the person."""
    tmp_path.chmod(0o770)
    gid = tmp_path.stat().st_gid
    person = pwd.struct_passwd(("me", "x", os.geteuid(), gid, "", "/", "/bin/sh"))
    monkeypatch.setattr("pwd.getpwuid", lambda _: person)
    monkeypatch.setattr("grp.getgrgid", lambda _: grp.struct_group((name, "x", gid, members)))
    if good:
        require_own(tmp_path, "keys", "")
    else:
        with pytest.raises(SettingsError, match="others than me may write"):
            require_own(tmp_path, "keys", "")


def test_a_user_without_a_name_is_shown_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that is run as some uid."""
    monkeypatch.setattr("os.geteuid", lambda: 4_000_000)
    tmp_path.chmod(0o770)
    with pytest.raises(SettingsError, match="and not to user 4000000"):
        require_own(tmp_path, "keys", "")


@pytest.mark.fault("Neighbours", "a umask that leaves new files to everybody (000)", "state folder and cache stay the person's alone")
@pytest.mark.usefixtures("open_umask")
def test_what_labkit_makes_is_ones_own_whatever_the_umask(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "cache")
    with store.making("x") as work:
        made = work / "made" / "kubectl"
        made.mkdir(parents=True)
        (made / "kubectl").write_text("#!/bin/sh\n")
        (made / "kubectl").chmod(0o755)
        subprocess.run(["sh", "-c", "mkdir lib; touch lib/module"], cwd=made, check=True)
        store.put("kubectl-1", made, Program("kubectl", "1", made / "kubectl", "a test"))
    store.log("x")
    open_state_folder(tmp_path / "new" / "home", environ={}, free_ports=True)
    found = modes(tmp_path / "new")
    assert {found[name] for name in ("new", "new/cache", "new/cache/programs", "new/cache/logs", "new/home")} == {0o700}
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o022} == {}
    assert os.umask(0) == 0


@pytest.mark.usefixtures("open_umask")
def test_what_threads_make_at_once_is_private_until_the_last_is_done() -> None:
    first, second = privately(), privately()
    assert (first.__enter__(), second.__enter__()) == (0, 0)
    first.__exit__(None, None, None)
    assert os.umask(0o077) == 0o077
    second.__exit__(None, None, None)
    assert os.umask(0) == 0


@pytest.mark.usefixtures("open_umask")
def test_folders_above_that_are_missing_are_made_as_private(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "b" / "c")
    assert modes(tmp_path / "a") == dict.fromkeys(("a", "a/b", "a/b/c"), 0o700)


@pytest.mark.usefixtures("open_umask")
def test_the_copy_of_the_labs_is_private_and_the_learner_keeps_their_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_private(tmp_path / "checkout")
    root = tmp_path / "checkout"
    shutil.copytree(find_root() / "notebooks", root / "notebooks", copy_function=shutil.copy)
    monkeypatch.chdir(root)
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    # A stand-in, so that no machine has to build the real one for this.
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text("#!/bin/sh\necho Client Version: v1.37.2\n")
    kubectl.chmod(0o755)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("PATH", f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(Lab, "setup", lambda *_, **__: None)
    seen = []

    def execve(*_: object) -> None:
        seen.append(os.umask(0))
        raise KeyboardInterrupt

    monkeypatch.setattr("os.execve", execve)
    main(["lab"])
    assert seen == [0]
    assert modes(root / "work")["work"] == 0o700
