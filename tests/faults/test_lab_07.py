"""The lab of faults, under nbval and in JupyterLab; the others are in test_runner, test_labs_elsewhere and test_in_jupyterlab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.lab import Lab
from tests.jupyterlab import opened
from tests.support import given_away, own_state_folder

LAB = "07-break-and-fix"


@pytest.mark.fault("Exposure", "a secret in a log, or a token left behind, in the practice lab", "none")
def test_it_passes_under_nbval_and_after_it_nobodys_token_is_kept_and_no_log_has_a_secret(
    tmp_path: Path, run_lab: Callable[..., None]
) -> None:
    with own_state_folder(tmp_path / "home") as home:
        try:
            run_lab(LAB, home)
            Lab.open().forget_people()
        finally:
            Lab.open().down()
        practice = home / "practice"
        logs = list((practice / "logs").iterdir())
        assert len(logs) >= 4
        password = (practice / "secrets" / "keycloak-admin").read_text()
        assert given_away([*logs, practice / "kubeconfig"], {"the administrator's password": password}) == {}


def test_it_runs_through_in_jupyterlab_without_an_error(tmp_path: Path) -> None:
    with opened(tmp_path) as jupyterlab:
        jupyterlab.run_through(LAB)
