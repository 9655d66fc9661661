"""How KinD's node image goes along in an offline bundle.

A script stands in for Docker: it keeps names in a file, and loses digests as Docker does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.cluster.kind.node_image import NodeImage, pass_over
from labkit.common.errors import ClusterError, ToolchainError
from labkit.toolchain import Toolchain
from tests.support import DOCKER_LINES
from tests.unit.test_bundle import repacked

DIGEST = "sha256:" + "0" * 64
BY_DIGEST = f"kindest/node:v1.37.0@{DIGEST}"
CARRIED = f"labkit.invalid/kind-node:sha256-{'0' * 64}"
BY_TAG = "example.org:5000/node:v1"

DOCKER = (
    f"""#!/bin/sh
case $1 in
{DOCKER_LINES}
esac
"""
    """
case "$1 $2" in
  --version*|"info "*|"context "*) ;;
  "image inspect") grep -qx "$4" "NAMES" || { echo "Error response from daemon: No such image: $4" >&2; exit 1; };;
  "image rm") grep -vx "$3" "NAMES" > "NAMES.new"; mv "NAMES.new" "NAMES";;
  "tag "*) echo "$3" >> "NAMES";;
  "save "*) echo "$3" > "${2#--output=}";;
  "load "*) grep -v @ "${3#--input=}" >> "NAMES";;
  *) echo "the stand-in knows no $*" >&2; exit 1;;
esac
"""
)


class Machine:
    """A machine with a Docker that has images by these names."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *images: str) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        folder.mkdir()
        self.names = folder / "names"
        self.names.write_text("".join(f"{image}\n" for image in images))
        self.docker(DOCKER.replace("NAMES", str(self.names)))
        self.tools = Toolchain(folder / "cache", {"PATH": ""})

    def docker(self, text: str) -> None:
        (self.folder / "docker").write_text(text)
        (self.folder / "docker").chmod(0o755)

    def image(self, name: str) -> NodeImage:
        """The image for a lab on this machine, which is where things happen from now on."""
        self._monkeypatch.setenv("PATH", f"{self.folder}:/usr/bin:/bin")
        return NodeImage(name)

    @property
    def images(self) -> list[str]:
        return self.names.read_text().split()


@pytest.fixture
def student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path / "student", monkeypatch)


def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """A bundle made where Docker has an image by this name, and by no other afterwards."""
    machine = Machine(tmp_path / "instructor", monkeypatch, name)
    machine.tools.pack(tmp_path / "labs.tar.gz", image=machine.image(name).save)
    assert machine.images == [name]
    return tmp_path / "labs.tar.gz"


@pytest.mark.fault(
    "Programs", "a node image that is asked for by digest, and carried, which loses the digest", "it is known by a name that holds it"
)
@pytest.mark.parametrize(("name", "carried"), [(BY_DIGEST, CARRIED), (BY_TAG, BY_TAG)])
def test_an_image_arrives_and_is_used_though_docker_loses_its_digest(
    name: str, carried: str, tmp_path: Path, student: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = packed(tmp_path, monkeypatch, name)
    image = student.image(name)
    assert image.to_use() == name, "what nobody has is to be pulled"
    student.tools.unpack(file, image.load)
    assert (student.images, image.to_use()) == ([carried], carried)
    assert "LABKIT_KIND_IMAGE" not in capsys.readouterr().out
    assert list((tmp_path / "student/cache/programs").glob(".making*")) == []


def test_what_docker_has_by_the_digest_itself_is_used_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Machine(tmp_path / "machine", monkeypatch, CARRIED, BY_DIGEST).image(BY_DIGEST).to_use() == BY_DIGEST


def test_where_an_image_was_carried_to_the_next_bundle_can_be_made(
    tmp_path: Path, student: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    student.tools.unpack(packed(tmp_path, monkeypatch, BY_DIGEST), student.image(BY_DIGEST).load)
    student.tools.pack(tmp_path / "next.tar.gz", image=student.image(BY_DIGEST).save)
    assert student.images == [CARRIED], "and it stays"
    other = Machine(tmp_path / "other", monkeypatch)
    other.tools.unpack(tmp_path / "next.tar.gz", other.image(BY_DIGEST).load)
    assert other.images == [CARRIED]


def test_who_asks_for_another_image_learns_how_to_use_the_bundles(
    tmp_path: Path, student: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    student.tools.unpack(packed(tmp_path, monkeypatch, BY_TAG), student.image(BY_DIGEST).load)
    assert f"export LABKIT_KIND_IMAGE={BY_TAG}" in capsys.readouterr().out


@pytest.mark.fault(
    "Programs", "a bundle with a node image, where no Docker answers", "its programs are taken; how to take the image later is said"
)
def test_without_docker_the_image_is_passed_over(
    tmp_path: Path, student: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = packed(tmp_path, monkeypatch, BY_TAG)
    student.docker("#!/bin/sh\nexit 1\n")
    for take in (student.image(BY_TAG).load, pass_over):
        student.tools.unpack(file, take)
        said = capsys.readouterr().out
        assert f"node image {BY_TAG} is passed over" in said
        assert "LABKIT_CLUSTER=kind labkit setup --offline-bundle FILE" in said
    assert student.images == []


@pytest.mark.fault("Programs", "a bundle for KinD, where Docker has no node image or does not answer", "it is made without, which is said")
def test_an_image_that_is_not_there_is_left_out(
    tmp_path: Path, student: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    student.tools.pack(tmp_path / "one.tar.gz", image=student.image(BY_DIGEST).save)
    assert f"{BY_DIGEST} is left out of the bundle: Docker does not have it (docker pull {BY_DIGEST})" in capsys.readouterr().out
    student.docker("#!/bin/sh\nexit 1\n")
    student.tools.pack(tmp_path / "two.tar.gz", image=student.image(BY_DIGEST).save)
    assert "is left out of the bundle: docker --version failed" in capsys.readouterr().out
    for name in ("one", "two"):
        student.tools.unpack(tmp_path / f"{name}.tar.gz", lambda image: pytest.fail(image.name))


@pytest.mark.fault("Programs", "an offline bundle in which anything was changed", "it is refused whole")
def test_an_image_that_was_changed_is_never_loaded(tmp_path: Path, student: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(tmp_path, monkeypatch, BY_TAG)
    repacked(file, lambda name, content: (name, content.replace(b":v1", b":v2") if name.startswith("image/") else content))
    with pytest.raises(ToolchainError) as refused:
        student.tools.unpack(file, student.image(BY_TAG).load)
    assert refused.value.why == "image/docker.tar is not as the manifest has it"
    assert student.images == []


def test_an_archive_of_another_image_is_not_taken_for_it(tmp_path: Path, student: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    instructor = Machine(tmp_path / "instructor", monkeypatch, BY_TAG)
    instructor.docker((instructor.folder / "docker").read_text().replace('echo "$3" >', "echo another:v1 >"))
    instructor.tools.pack(tmp_path / "labs.tar.gz", image=instructor.image(BY_TAG).save)
    with pytest.raises(ClusterError, match=f"is not the node image {BY_TAG}"):
        student.tools.unpack(tmp_path / "labs.tar.gz", student.image(BY_TAG).load)


@pytest.mark.fault("Programs", "a node image that can't be saved", "no bundle is left, and no name in Docker")
def test_what_can_not_be_saved_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path / "machine", monkeypatch, BY_DIGEST)
    text = (machine.folder / "docker").read_text()
    machine.docker(text.replace('echo "$3" > "${2#--output=}"', 'echo "no space left on device" >&2; exit 1'))
    with pytest.raises(ClusterError, match="docker save failed") as refused:
        machine.tools.pack(tmp_path / "labs.tar.gz", image=machine.image(BY_DIGEST).save)
    assert refused.value.why == "no space left on device"
    assert machine.images == [BY_DIGEST]
    assert not (tmp_path / "labs.tar.gz").exists()
