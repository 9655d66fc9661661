"""kubectl as the judge of what a file says."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from labkit.config.settings import Settings
from labkit.toolchain import Toolchain


@cache
def _program() -> str:
    return str(Toolchain(Settings.load().cache).ensure("kubectl")["kubectl"].path)


def run(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """kubectl, without a server."""
    env = {**os.environ, "KUBERC": "off", **variables}
    return subprocess.run([_program(), *args], env=env, capture_output=True, text=True, timeout=60, check=False)


def seen(file: Path) -> Any:
    """What kubectl sees in a kubeconfig, tokens included; None when it refuses the file."""
    done = run("config", "view", "--raw", "--output=json", f"--kubeconfig={file}")
    return None if done.returncode else json.loads(done.stdout)
