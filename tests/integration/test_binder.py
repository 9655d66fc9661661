"""What Binder does with a checkout: packages, then ``postBuild``, then a lab."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

from tests.hostile import friendly

ROOT = Path(__file__).resolve().parents[2]


def test_binder(tmp_path: Path) -> None:
    """In a bare folder the steps of environment.yml and postBuild leave a labkit that has its programs and can begin."""
    folder, python = tmp_path / "checkout", tmp_path / "python"
    for name in subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    venv.create(python, symlinks=True)
    # The packages that environment.yml names are those of this Python; labkit itself is not, since that is a .pth file of its own there.
    (packages,) = python.glob("lib/python*/site-packages")
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib"))
    env = friendly() | {"PATH": f"{python / 'bin'}:{friendly()['PATH']}"}
    env.pop("LABKIT_HOME", None)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    installed = run("python", "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--ignore-installed", "--editable", ".")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    built = run("./postBuild")
    assert built.returncode == 0, built.stdout + built.stderr
    assert str(folder) in run("python", "-c", "import labkit; print(labkit.__file__)").stdout
    assert "kube-apiserver" in built.stdout
    assert run("labkit", "status").returncode == 3
