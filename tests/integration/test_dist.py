"""What `make dist` leaves for a release."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.hostile import friendly

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dist() -> Path:
    """The folder that `make dist` made."""
    made = subprocess.run(["make", "dist"], cwd=ROOT, env=friendly(), capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return ROOT / "dist"


def test_list_of_packages(dist: Path) -> None:
    """The SBOM names each package that the lock pins, with its version."""
    listed = json.loads((dist / "sbom.cdx.json").read_text())
    pinned = re.findall(r"^([a-z][\w.-]*)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert listed["metadata"]["component"]["name"] == "labkit"
    assert {(package["name"], package["version"]) for package in listed["components"]} == set(pinned)


def test_wheel(dist: Path, tmp_path: Path) -> None:
    """The wheel works without a checkout, except for verbs that need the labs: they say so."""
    python, folder = tmp_path / "python", tmp_path / "elsewhere"
    folder.mkdir(mode=0o700)
    venv.create(python, symlinks=True, with_pip=True)
    # The packages that labkit needs are those of this Python; labkit itself is not, since that is a .pth file of its own there.
    (packages,) = python.glob("lib/python*/site-packages")
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib"))
    (wheel,) = dist.glob("*.whl")
    env = friendly() | {"HOME": str(tmp_path)}
    for name in ("LABKIT_HOME", "PYTHONPATH"):
        env.pop(name, None)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python / "bin" / command[0], *command[1:]], cwd=folder, env=env, capture_output=True, text=True, check=False)

    installed = run("python", "-m", "pip", "install", "--no-index", "--no-deps", str(wheel))
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert str(python) in run("python", "-c", "import labkit; print(labkit.__file__)").stdout
    assert run("labkit", "--version").stdout == f"labkit {wheel.name.split('-')[1]}\n"
    assert "iss" in run("labkit", "explain", "issuer").stdout
    assert run("labkit", "lab", "--help").returncode == 0
    assert run("labkit", "render", str(tmp_path / "rendered")).returncode == 0
    assert (tmp_path / "rendered/realm.yaml").is_file()
    refused = run("labkit", "lab")
    assert refused.returncode == 1
    assert "there are no labs" in refused.stderr, refused.stderr
