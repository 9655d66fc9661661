"""What is found out about this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from labkit.common.control_groups import killed, own_groups
from labkit.room import limits
from labkit.servers.machine import Machine, look


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_the_one_above(tmp_path: Path) -> None:
    found = look(tmp_path / "not" / "yet")
    assert abs(found.disk_gb - shutil.disk_usage(tmp_path).free / 1e9) < 1
    assert found.cores >= 1
    assert found.memory_gb > 0


def test_a_machine_is_shown_with_its_units() -> None:
    text = str(Machine("Linux x86_64", 2, 7.25, 101.4))
    assert "Linux x86_64" in text
    assert "7.2 GB" in text
    assert "101 GB" in text


_LIMITED = """
import os, sys
from pathlib import Path
from labkit.common.control_groups import killed, own_groups
from labkit.servers.machine import look
for file in sys.argv[1:]:
    Path(file).write_text(str(os.getpid()))
taken = bytearray(100 * 2**20)
print(look(Path("/")).memory_gb, killed(own_groups()[:1]))
"""


@pytest.mark.fault("Servers", "a container, a pod or a seat may have less memory than its machine has", "that counts as what is available")
def test_the_memory_available_is_what_the_kernel_lets_one_have(monkeypatch: pytest.MonkeyPatch) -> None:
    if lack := limits.lacking():
        pytest.skip(lack.why)
    most = 400 * 2**20
    monkeypatch.setattr(limits, "MOST", {name: most for name in limits.MOST if "memory" in name})
    group = limits.Limits(f"labkit-test-{os.getpid()}")
    try:
        command = [sys.executable, "-P", "-c", _LIMITED, *map(str, group.make())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        left, ended = done.stdout.split()
        assert 0 < float(left) < (most - 100 * 2**20) / 1e9, done.stderr
        assert ended == "0"
    finally:
        group.end()


def test_limits_of_memory_are_those_of_version_2_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a folder that stands for the kernel's; the test before this one asks the kernel, whichever version it has."""
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [SimpleNamespace(mountpoint=str(tmp_path), fstype="cgroup2", opts="rw")])
    files = {"memory.max": "max", "memory.current": "3", "memory.stat": "inactive_file 2", "cgroup.controllers": "cpu memory"}
    for name, text in {**files, "memory.events": "oom 3\noom_kill 2\n"}.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert own_groups()[-1] == tmp_path
    assert look(tmp_path).memory_gb > 0.1
    (tmp_path / "memory.max").write_text("50000001\n")
    assert look(tmp_path).memory_gb == 0.05
    assert killed(own_groups()) == 2
