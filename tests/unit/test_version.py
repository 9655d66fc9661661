"""Which version labkit is, and what is packed of it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from labkit.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """It says the version that is installed, and asks nothing else."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"labkit {importlib.metadata.version('labkit')}\n"


def test_archive(tmp_path: Path) -> None:
    """What is packed for PyPI has labkit and the labs, and nothing that was made in this checkout."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)], cwd=ROOT, check=True)
    (archive,) = tmp_path.iterdir()
    with tarfile.open(archive) as packed:
        names = {name.split("/")[1] for name in packed.getnames()}
    assert names == {"labkit", "notebooks", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"}
