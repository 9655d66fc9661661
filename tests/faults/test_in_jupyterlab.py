"""The lab of faults in a real JupyterLab; the other labs are in tests/notebooks/test_in_jupyterlab.py."""

from __future__ import annotations

from pathlib import Path

from tests.jupyterlab import opened


def test_lab_07_runs_through_in_jupyterlab_without_an_error(tmp_path: Path) -> None:
    with opened(tmp_path) as jupyterlab:
        jupyterlab.run_through("07-break-and-fix")
