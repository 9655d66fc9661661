"""What is found out about this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

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
