"""A machine that runs out of something while a lab starts: what is said then, and that nothing is left behind."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab
from tests.support import belonging_to


def up(home: Path, *before: str, limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """``labkit up`` in another lab; ``before`` is put in front of the command line."""
    argv = [*before, sys.executable, "-P", "-m", "labkit", "up"]
    env = {**os.environ, "LABKIT_HOME": str(home)}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, check=False, preexec_fn=limit)


def on_a_small_disk(home: Path, size: str) -> list[str]:
    """What to put in front of a command so that it, and it alone, sees an empty file system of that size at ``home``."""
    home.mkdir(mode=0o700)
    mounted = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        f'mount -t tmpfs -o mode=700,size={size} labkit "$0" && exec "$@"',
        str(home),
    ]
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody but root mount a file system, and a full disk can't be had otherwise")
    return mounted


@pytest.mark.usefixtures("lab")
class TestShortage:
    @pytest.mark.fault("Settings", "the disk fills up while the state folder is made", "the error names the file and says to make room")
    def test_a_disk_without_room_for_the_state_folder_is_reported(self, tmp_path: Path) -> None:
        done = up(tmp_path / "home", *on_a_small_disk(tmp_path / "home", "12k"))
        assert done.returncode == 1, done.stdout + done.stderr
        assert "can't be written\n  why: No space left on device\n  fix: make room on the disk that holds it" in done.stderr

    @pytest.mark.fault(
        "Servers", "the disk is full when a server starts", "the error says so, whatever the server itself makes of it; none is left"
    )
    def test_a_server_that_fails_on_a_full_disk_is_reported_with_the_disk(self, tmp_path: Path) -> None:
        done = up(tmp_path / "home", *on_a_small_disk(tmp_path / "home", "2m"))
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"why: the disk that holds {tmp_path / 'home'} is full" in done.stderr
        assert "fix: make room on it, or set LABKIT_HOME to a folder on another disk" in done.stderr
        assert belonging_to(tmp_path / "home") == []

    @pytest.mark.fault(
        "Servers", "a server gets too little memory to start", "the error says so and ends with the server's own words; none is left"
    )
    def test_a_server_that_gets_too_little_memory_is_reported_with_its_words(self, tmp_path: Path) -> None:
        open_state_folder(tmp_path / "home", environ={}, free_ports=True)
        gigabyte = 1 << 30
        done = up(tmp_path / "home", limit=lambda: resource.setrlimit(resource.RLIMIT_AS, (gigabyte, gigabyte)))
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(r"(keycloak|etcd|portal) ended .+\n  why: it did not get the memory that it asked for\n", done.stderr)
        assert "fix: close other programs" in done.stderr
        assert belonging_to(tmp_path / "home") == []


@pytest.mark.fault(
    "Settings", "the state folder is of another labkit's format", "it is refused and left as it is; the error says what to do with it"
)
def test_a_state_folder_of_another_format_is_refused_by_every_verb(lab: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "home.json").write_text('{"format": 0}')
    done = up(home)
    assert done.returncode == 1
    assert "was made by another version of labkit\n  why: its format is 0" in done.stderr
    assert [file.name for file in home.iterdir() if file.suffix != ".lock"] == ["home.json"]
    assert lab.cluster.is_running()
