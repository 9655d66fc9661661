"""How programs are packed for a room without network, and what is refused there.

Programs here are small shell scripts that tell a version.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit.cli import main
from labkit.common.errors import ToolchainError
from labkit.toolchain import PROGRAMS, Toolchain
from labkit.toolchain.builders import GoProgram
from labkit.toolchain.pins import PINS
from labkit.toolchain.recipe import Recipe
from tests.support import DOCKER_LINES

NAMES = tuple(name for name in PROGRAMS if name not in ("go", "kind"))
ANSWERS = {
    "etcd": "etcd Version: 3.6.4",
    "kube-apiserver": "Kubernetes v1.37.1",
    "kube-controller-manager": "Kubernetes v1.37.1",
    "kubectl": "Client Version: v1.37.1",
    "node": "v22.14.0",
}
DEFAULTS, PROXY = "node_modules/@backstage/backend-defaults", "node_modules/configurable-http-proxy"
NPM = f"""if [ "$1" = run ]; then /bin/mkdir dist && echo pages > dist/index.html; exit; fi
/bin/mkdir -p {DEFAULTS} node_modules/.bin && echo '{{"version": "0.18.0"}}' > {DEFAULTS}/package.json
/bin/mkdir {PROXY} && echo '{{"version": "5.3.0"}}' > {PROXY}/package.json
/bin/ln -s ../packages/backend node_modules/portal-backend"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def instructor(tmp_path: Path) -> Toolchain:
    """A toolchain that finds everything somewhere on its machine."""
    return instructors(tmp_path / "instructor")


def instructors(machine: Path) -> Toolchain:
    for name, answer in ANSWERS.items():
        script(machine / "bin" / name, f"echo {answer}")
    script(machine / "bin" / "npm", NPM)
    told = f"echo '    java.home = {machine}/jdk'; echo '    java.version = 21.0.4'"
    script(machine / "jdk" / "bin" / "java", f'case "$*" in *RunScript*) : > tables.mv.db;; *) {told};; esac')
    (machine / "jdk" / "lib").mkdir()
    (machine / "jdk" / "lib" / "modules").write_text("modules")
    (machine / "jdk" / "lib" / "not-installed").symlink_to("../src.zip")
    (machine / "jdk" / "lib" / "cacerts").symlink_to(machine / "etc-cacerts")
    (machine / "etc-cacerts").write_text("authorities")
    (machine / "bin" / "java").symlink_to(machine / "jdk" / "bin" / "java")
    script(machine / "keycloak" / "bin" / "kc.sh", "echo 'Using JAVA_RUN_OPTS: -Dsome=1 -cp run.jar Main'")
    (machine / "keycloak" / "lib" / "lib" / "main").mkdir(parents=True)
    (machine / "keycloak" / "lib" / "lib" / "main" / "com.h2database.h2-2.jar").touch()
    (machine / "keycloak" / "version.txt").write_text("Keycloak - Version 26.7.0\n")
    tools = Toolchain(machine / "cache", {"PATH": str(machine / "bin"), "KEYCLOAK_HOME": str(machine / "keycloak")})
    tools.ensure(*NAMES)
    return tools


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of all programs; packing takes most of a second, so tests get copies."""
    folder = tmp_path_factory.mktemp("packed")
    instructors(folder / "instructor").pack(folder / "labs.tar.gz", *NAMES)
    return folder / "labs.tar.gz"


@pytest.fixture
def bundle(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(packed, tmp_path))


def student(tmp_path: Path, **pins: Recipe) -> Toolchain:
    """A toolchain on an empty machine without anything to fetch or to build with."""
    return Toolchain(tmp_path / "student", {"PATH": str(tmp_path / "nothing")}, {**PINS, **pins})


def test_a_bundle_brings_every_program_to_a_machine_that_has_nothing(bundle: Path, tmp_path: Path) -> None:
    tools = student(tmp_path)
    tools.unpack(bundle)
    had = tools.ensure(*NAMES)
    assert {name: (program.version, program.source) for name, program in had.items()} == {
        "etcd": ("3.6.4", "labs.tar.gz: PATH"),
        "kube-apiserver": ("1.37.1", "labs.tar.gz: PATH"),
        "kube-controller-manager": ("1.37.1", "labs.tar.gz: PATH"),
        "kubectl": ("1.37.1", "labs.tar.gz: PATH"),
        "keycloak": ("26.7.0", "labs.tar.gz: copied from KEYCLOAK_HOME and built"),
        # Made anew from the two that it is made of: it is large, and good for one Java only.
        "keycloak-start": ("26.7.0", "made by starting Keycloak once"),
        "java": ("21.0.4", "labs.tar.gz: PATH"),
        "node": ("22.14.0", "labs.tar.gz: PATH"),
        "backstage": ("0.18.0", "labs.tar.gz: the locked npm packages"),
        "pages": ("0.5.6", "labs.tar.gz: built here, with the locked npm packages"),
        "room-proxy": ("5.3.0", "labs.tar.gz: the locked npm packages"),
    }
    assert all(program.path.is_relative_to(tmp_path / "student") for program in had.values())
    assert all(os.access(had[name].path, os.X_OK) for name in (*ANSWERS, "java"))
    home = had["java"].path.parent.parent
    assert (home / "lib" / "modules").read_text() == "modules"
    assert (home / "lib" / "cacerts").read_text() == "authorities"
    assert not (home / "lib" / "cacerts").is_symlink()
    assert (had["keycloak"].path / "bin" / "kc.sh").is_file()
    assert (had["backstage"].path / "node_modules" / "portal-backend" / "package.json").is_file()
    assert sorted(path.name for path in had["pages"].path.iterdir()) == ["dist", "package.json"]
    assert [path.name for path in (tmp_path / "student" / "programs").glob(".*")] == []


def test_a_machine_that_started_from_a_bundle_can_pack_the_next(bundle: Path, tmp_path: Path) -> None:
    tools = student(tmp_path)
    tools.unpack(bundle)
    tools.pack(tmp_path / "next.tar", *NAMES)
    other = Toolchain(tmp_path / "other", {"PATH": ""})
    other.unpack(tmp_path / "next.tar")
    assert other.ensure("kubectl")["kubectl"].source == "next.tar: labs.tar.gz: PATH"


def test_a_program_that_is_in_the_cache_already_stays(bundle: Path, tmp_path: Path) -> None:
    tools = student(tmp_path)
    tools.unpack(bundle)
    kubectl = tools.ensure("kubectl")["kubectl"].path
    inode = kubectl.stat().st_ino
    tools.unpack(bundle)
    assert kubectl.stat().st_ino == inode


def as_it_is(name: str, content: bytes) -> tuple[str, bytes]:
    return name, content


def repacked(bundle: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], *more: tuple[str, bytes, bytes]) -> None:
    """Write the bundle again, each member as ``change`` has it: its name and content, or nothing to leave it out.

    ``more`` are members to add: each one's name, type and content.
    """
    with tarfile.open(bundle) as tar:
        members = [(member, file.read()) for member in tar if (file := tar.extractfile(member))]
    with tarfile.open(bundle, "w:gz") as tar:
        for member, content in members:
            changed = change(member.name, content)
            if changed is not None:
                member.name, member.size = changed[0], len(changed[1])
                tar.addfile(member, io.BytesIO(changed[1]))
        for name, kind, content in more:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "elsewhere"
            tar.addfile(member, io.BytesIO(content))


def manifest(**facts: Any) -> Callable[[str, bytes], tuple[str, bytes]]:
    """Have the manifest say something else: a value, or what a function makes of the one that is there."""

    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name != "manifest.json":
            return name, content
        said = json.loads(content)
        return name, json.dumps(said | {key: to(said[key]) if callable(to) else to for key, to in facts.items()}).encode()

    return change


def listed(name: str) -> Callable[[str, bytes], tuple[str, bytes]]:
    """Have the manifest list one more file."""
    return manifest(files=lambda files: files | {name: {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()}})


def at(path: str) -> Callable[[str, bytes], tuple[str, bytes]]:
    """Have the manifest say that etcd lies elsewhere in its folder."""
    return manifest(programs=lambda programs: [one | ({"path": path} if one["name"] == "etcd" else {}) for one in programs])


SLOT = PINS["etcd"].slot()


def refused(tools: Toolchain, bundle: Path) -> ToolchainError:
    with pytest.raises(ToolchainError) as caught:
        tools.unpack(bundle)
    assert {name for name in NAMES if tools.find(name)} == set(), "nothing of it is trusted"
    assert "labkit setup --offline-bundle FILE" in caught.value.fix
    return caught.value


@pytest.mark.fault("Programs", "an offline bundle in which anything was changed", "it is refused whole")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda name, content: (name, content.replace(b"Version: v1.37.1", b"Version: v1.37.9")), "kubectl is not as the manifest has it"),
        (lambda name, content: None if name.endswith("/etcd") else (name, content), "1 files of its manifest are missing, such as etcd-"),
        (lambda name, content: (name.replace("/etcd", "/../../../escaped"), content), "escaped is not in its manifest"),
        (lambda name, content: (name.replace("/etcd", "/another"), content), "another is not in its manifest"),
        (lambda name, content: (name, content[:-1] if name.endswith("/etcd") else content), "etcd is not as the manifest has it"),
        (lambda name, content: None if name == "manifest.json" else (name, content), "it does not begin with a manifest.json"),
        (lambda name, content: (name, b"{" if name == "manifest.json" else content), "its manifest.json is malformed"),
        (lambda name, content: (name, b"[" * 100_000 if name == "manifest.json" else content), "its manifest.json is malformed"),
        (manifest(files={}), "the program etcd-"),
        (manifest(programs=[{"name": "etcd"}]), "its manifest.json is malformed"),
        (manifest(image="kindest/node:v1"), "the image kindest/node:v1 is none of its files"),
        (manifest(image="--all"), "its manifest.json is malformed: image"),
    ],
)
def test_a_bundle_with_anything_changed_is_refused_whole(
    bundle: Path, tmp_path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], why: str
) -> None:
    repacked(bundle, change)
    error = refused(student(tmp_path), bundle)
    assert error.what == f"{bundle} is no bundle of labkit's, or did not arrive whole"
    assert why in error.why
    assert list(tmp_path.rglob("escaped")) == []


@pytest.mark.fault("Programs", "an offline bundle that points out of its own folders", "it is refused whole")
@pytest.mark.parametrize(
    ("change", "more", "why"),
    [
        (at("../../../../../../../../../../../bin/true"), (), "/bin/true is none of its files"),
        (at("/bin/true"), (), f"the program {SLOT}//bin/true is none of its files"),
        (at("absent"), (), f"the program {SLOT}/absent is none of its files"),
        (at("."), (), f"the program {SLOT}/. is none of its files"),
        (listed(f"{SLOT}/../../../../escaped"), (), "escaped is no plain file in the folder of a program"),
        (listed("/etcd"), (), "/etcd is no plain file in the folder of a program"),
        (listed("image/docker.tar"), (), "image/docker.tar is no plain file in the folder of a program"),
        (listed("another-slot/file"), (), "another-slot/file is no plain file in the folder of a program"),
        (listed(f"{SLOT}/etcd/below"), (), f"{SLOT}/etcd is both a file and a folder"),
        (listed(f"{SLOT}/link"), ((f"{SLOT}/link", tarfile.SYMTYPE, b""),), "link is not as the manifest has it"),
        (as_it_is, ((f"{SLOT}/link", tarfile.SYMTYPE, b""),), "link is not in its manifest"),
        (as_it_is, ((f"{SLOT}/etcd", tarfile.REGTYPE, b"another"),), "etcd is not in its manifest, or is there twice"),
        (listed(f"{SLOT}/nul\0/file"), (), "embedded null byte"),
        (as_it_is, (("manifest.json", tarfile.REGTYPE, b"{}"),), "manifest.json is not in its manifest, or is there twice"),
    ],
)
def test_a_bundle_that_points_out_of_its_own_folders_is_refused_whole(
    bundle: Path,
    tmp_path: Path,
    change: Callable[[str, bytes], tuple[str, bytes] | None],
    more: tuple[tuple[str, bytes, bytes], ...],
    why: str,
) -> None:
    repacked(bundle, change, *more)
    error = refused(student(tmp_path), bundle)
    assert error.what == f"{bundle} is no bundle of labkit's, or did not arrive whole"
    assert why in error.why


@pytest.mark.fault("Programs", "an offline bundle with more in it than it says", "it is refused before that is written")
def test_a_member_larger_than_the_manifest_says_is_never_written(bundle: Path, tmp_path: Path) -> None:
    repacked(bundle, lambda name, content: (name, content + b"\0" * (32 << 20) if name.endswith("/etcd") else content))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, limits[1]))
    try:
        error = refused(student(tmp_path), bundle)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.why == f"{SLOT}/etcd is not as the manifest has it"


@pytest.mark.fault("Programs", "an offline bundle that is larger than the disk has room", "it is refused before anything is written")
def test_a_bundle_larger_than_the_disk_is_refused_first(bundle: Path, tmp_path: Path) -> None:
    repacked(bundle, manifest(files=lambda files: {name: file | {"size": 10**15} for name, file in files.items()}))
    with pytest.raises(ToolchainError, match="can't be unpacked") as caught:
        student(tmp_path).unpack(bundle)
    assert "are free at" in caught.value.why
    assert caught.value.fix.startswith("make room")


def test_a_bundle_that_cannot_be_read_is_not_answered_with_make_room(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="can't be unpacked") as caught:
        student(tmp_path).unpack(tmp_path / "absent.tar.gz")
    assert "No such file or directory" in caught.value.why
    assert "room" not in caught.value.fix


def test_what_is_unpacked_is_writable_for_its_owner_alone_whatever_the_umask(bundle: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        student(tmp_path).unpack(bundle)
    finally:
        os.umask(before)
    unpacked = [path for slot in (tmp_path / "student" / "programs").iterdir() if slot.is_dir() for path in (slot, *slot.rglob("*"))]
    assert len(unpacked) > 20
    assert [path for path in unpacked if path.stat().st_mode & 0o7022] == []


@pytest.mark.fault("Programs", "an offline bundle that was cut off", "it is refused whole")
@pytest.mark.parametrize("kept", [0, 0.1, 0.5, 0.9])
def test_a_bundle_that_was_cut_off_or_is_no_archive_is_refused(bundle: Path, tmp_path: Path, kept: float) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content[: int(len(content) * kept)] or b"no archive at all")
    assert refused(student(tmp_path), bundle).what == f"{bundle} is no bundle of labkit's, or did not arrive whole"


@pytest.mark.fault("Programs", "an offline bundle of another kind of machine", "it is refused, with both kinds named")
def test_a_bundle_of_another_kind_of_machine_is_refused(bundle: Path, tmp_path: Path) -> None:
    repacked(bundle, manifest(machine="Plan9 sparc"))
    error = refused(student(tmp_path), bundle)
    assert error.what == f"{bundle} holds programs for another kind of machine"
    assert error.why == f"they are for Plan9 sparc, this machine is {platform.system()} {platform.machine()}"


@pytest.mark.fault("Programs", "an offline bundle of another version of labkit", "it is refused, with what differs")
def test_a_bundle_of_other_pins_is_refused_with_what_differs(bundle: Path, tmp_path: Path) -> None:
    kubectl = PINS["kubectl"]
    assert isinstance(kubectl, GoProgram)
    other = dataclasses.replace(kubectl, version="1.37.9", ldflags="-s")
    tools = student(tmp_path, kubectl=other)
    error = refused(tools, bundle)
    assert error.what == f"{bundle} holds programs of another version of labkit"
    assert error.why == f"kubectl-1.37.2-{kubectl.key()}, where this labkit has kubectl-1.37.9-{other.key()}"


@pytest.mark.fault("Programs", "an offline bundle of another version of labkit", "it is refused, with what differs")
def test_a_bundle_of_another_format_is_refused_with_both_named(bundle: Path, tmp_path: Path) -> None:
    repacked(bundle, manifest(format=1, files={"etcd": "digest"}))
    error = refused(student(tmp_path), bundle)
    assert error.what == f"{bundle} holds programs of another version of labkit"
    assert error.why == "its format is 1, this labkit's is 4"


@pytest.mark.fault("Programs", "a program of a bundle that does not run here", "it is named, and not kept")
def test_a_program_of_a_bundle_that_does_not_work_here_is_named(instructor: Toolchain, bundle: Path, tmp_path: Path) -> None:
    kubectl = instructor.ensure("kubectl")["kubectl"].path
    picky = f'case "$0" in {kubectl}) echo Client Version: v1.37.1 ;; *) echo no such library; exit 127 ;; esac'
    script(kubectl, picky)
    bundle.unlink()
    instructor.pack(bundle, "kubectl")
    with pytest.raises(ToolchainError, match=r"kubectl \(labs\.tar\.gz: PATH\) does not work here"):
        student(tmp_path).unpack(bundle)


@pytest.mark.fault("Programs", "an offline bundle that can't be written", "the error says why; nothing is left behind")
def test_a_bundle_that_cannot_be_written_leaves_nothing_behind(instructor: Toolchain, tmp_path: Path) -> None:
    folder = tmp_path / "usb-stick"
    with pytest.raises(ToolchainError, match="can't be made") as caught:
        instructor.pack(folder / "labs.tar.gz", *NAMES)
    assert "No such file or directory" in caught.value.why
    folder.mkdir()
    (folder / "labs.tar.gz").mkdir()
    with pytest.raises(ToolchainError, match="can't be made"):
        instructor.pack(folder / "labs.tar.gz", *NAMES)
    assert [path.name for path in folder.iterdir()] == ["labs.tar.gz"]


def test_a_missing_program_cannot_be_packed(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError):
        student(tmp_path).pack(tmp_path / "labs.tar.gz", "kubectl")
    assert not (tmp_path / "labs.tar.gz").exists()


def work_on(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process's labkit find what the instructor's machine has."""
    monkeypatch.setenv("LABKIT_HOME", str(machine / "home"))
    monkeypatch.setenv("LABKIT_CACHE", str(machine / "cache"))
    monkeypatch.setenv("KEYCLOAK_HOME", str(machine / "keycloak"))
    monkeypatch.setenv("PATH", str(machine / "bin"))
    # Python's packages take a minute; a test of its own has small ones.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for variable in ("KUBEBUILDER_ASSETS", "JAVA_HOME"):
        monkeypatch.delenv(variable, raising=False)


def test_setup_packs_a_bundle_that_is_not_there_and_starts_from_one_that_is(
    instructor: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, machine = tmp_path / "carried.tar.gz", tmp_path / "instructor"
    work_on(machine, monkeypatch)
    assert main(["setup", "--ui", "--offline-bundle", str(file)]) == 0
    assert file.is_file()
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "student"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("KEYCLOAK_HOME")
    before = file.stat().st_mtime_ns
    capsys.readouterr()
    assert main(["setup", "--offline-bundle", str(file), "--json"]) == 0
    rows = {row["program"]: row["from"] for row in json.loads(capsys.readouterr().out)}
    assert {name for name in NAMES if not rows[name].startswith("carried.tar.gz: ")} == {"keycloak-start"}
    assert file.stat().st_mtime_ns == before


def test_for_kind_setup_packs_the_node_image_too_and_gives_it_to_docker_where_kind_is_asked_for(
    instructor: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, machine, calls = tmp_path / "carried.tar.gz", tmp_path / "instructor", tmp_path / "calls"
    script(machine / "bin" / "kind", "[ $1 = get ] || echo kind v0.33.0 go1.25.5 linux/amd64")
    answers = f'case $1 in\n{DOCKER_LINES}\nsave) echo image > "${{2#--output=}}";;\nesac'
    script(machine / "bin" / "docker", f'echo "$1" >> {calls}; {answers}')
    work_on(machine, monkeypatch)
    monkeypatch.setenv("LABKIT_CLUSTER", "kind")
    assert main(["setup", "--offline-bundle", str(file)]) == 0
    assert "save" in calls.read_text()
    assert main(["setup", "--offline-bundle", str(file)]) == 0
    assert calls.read_text().split().count("load") == 1
    monkeypatch.setenv("LABKIT_CLUSTER", "local")
    capsys.readouterr()
    assert main(["setup", "--offline-bundle", str(file)]) == 0
    assert "is passed over: this lab's cluster is not in KinD" in capsys.readouterr().out
    assert calls.read_text().split().count("load") == 1


BACKEND = """
import pathlib, sys, zipfile

def main():
    pathlib.Path("calls").write_text(" ".join(sys.argv[1:]))

def build_editable(folder, config_settings=None, metadata_directory=None):
    write(pathlib.Path(folder, "labkit-0-py3-none-any.whl"), "labkit-0", {})
    return "labkit-0-py3-none-any.whl"

def write(file, name, content):
    about = f"Metadata-Version: 2.1\\nName: {name[:-2]}\\nVersion: 0\\n"
    info = {"METADATA": about, "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n", "RECORD": ""}
    info["entry_points.txt"] = "[console_scripts]\\nlabkit = backend:main\\n"
    with zipfile.ZipFile(file, "w") as wheel:
        for path, text in {**content, **{f"{name}.dist-info/{key}": value for key, value in info.items()}}.items():
            wheel.writestr(path, text)
"""
"""What builds labkit in a checkout that has only the Makefile; it is the one package that is pinned there, too."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one pinned package, which lies in ``index`` beside it."""
    folder, index = tmp_path / "a checkout", tmp_path / "index"
    folder.mkdir()
    index.mkdir()
    wheel = index / "backend-0-py3-none-any.whl"
    written: dict[str, Any] = {}
    exec(BACKEND, written)  # noqa: S102 - the text above
    written["write"](wheel, "backend-0", {"backend.py": BACKEND})
    shutil.copy(Path(__file__).parents[2] / "Makefile", folder)
    (folder / "requirements.lock").write_text(f"backend==0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    (folder / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "backend"\n')
    return folder


def set_up(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Make set-up where nothing can be fetched."""
    env = {"PATH": os.environ["PATH"], "HOME": str(checkout), "PIP_INDEX_URL": "https://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    return subprocess.run(["make", "setup", *arguments], cwd=checkout, env=env, capture_output=True, text=True, check=False)


def test_a_bundle_is_all_that_a_checkout_without_network_needs(
    instructor: Toolchain, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's packages come out of it by make, the programs by labkit."""
    file = tmp_path / "a bundle.tar.gz"
    environ = {"PATH": str(tmp_path / "instructor" / "bin"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}
    Toolchain(tmp_path / "instructor" / "cache", environ).pack(file, "kubectl", lock=checkout / "requirements.lock")
    done = set_up(checkout, f"BUNDLE={file}", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / "calls").read_text() == f"setup --offline-bundle {file}"
    assert not (checkout / ".venv" / "python").exists()
    tools = student(tmp_path)
    tools.unpack(file)
    assert tools.ensure("kubectl")["kubectl"].source == "a bundle.tar.gz: PATH"


@pytest.mark.fault("Programs", "Python's packages can't be downloaded for an offline bundle", "it is made without them, which is said")
def test_packages_that_are_left_out(instructor: Toolchain, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set-up from that bundle names what it lacks, and leaves no environment that looks ready."""
    file = tmp_path / "labs.tar.gz"
    environ = {"PATH": str(tmp_path / "instructor" / "bin"), "PIP_NO_INDEX": "1"}
    Toolchain(tmp_path / "instructor" / "cache", environ).pack(file, "kubectl", lock=checkout / "requirements.lock")
    assert "Python's packages are left out of the bundle" in capsys.readouterr().out
    done = set_up(checkout, f"BUNDLE={file}", f"PYTHON={sys.executable}")
    assert done.returncode != 0
    assert f"✘ {file} has no packages for Python 3." in done.stdout
    assert not list((checkout / ".venv").glob("ready-*"))
