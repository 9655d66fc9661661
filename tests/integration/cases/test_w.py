"""Kind W: a default that is not needed is not asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = ["setpriv", "--reuid", "43210", "--regid", "43210", "--clear-groups", sys.executable, "-P", "-m", "labkit"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without a name")
@pytest.mark.fault("Settings", "a uid without a name and no HOME, as in a container", "LABKIT_HOME and LABKIT_CACHE are enough")
@pytest.mark.parametrize(("cache", "code"), [(True, 3), (False, 1)])
def test_without_a_home_directory_two_variables_are_enough(cache: bool, code: int) -> None:
    """B49: the home directory was asked for although LABKIT_CACHE was set."""
    import labkit

    if not all(os.access(path, os.X_OK) and path.stat().st_mode & 0o001 for path in Path(labkit.__file__).resolve().parents):
        pytest.skip("this checkout lies where another user can't read it")
    env = {"PATH": os.environ["PATH"], "LABKIT_HOME": "/tmp/labkit-of-nobody/home", "LABKIT_KEYCLOAK": "local"}  # noqa: S108 - never made
    if cache:
        env["LABKIT_CACHE"] = "/tmp/labkit-of-nobody/cache"  # noqa: S108 - never made
    done = subprocess.run([*COMMAND, "status"], capture_output=True, text=True, env=env, timeout=120, check=False, cwd="/")
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    if not cache:
        assert "export LABKIT_CACHE=" in done.stderr
