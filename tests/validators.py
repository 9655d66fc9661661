"""The two judges of a form, as Backstage's backend and its pages have them."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from labkit.config.settings import Settings
from labkit.toolchain import Toolchain
from tests.hostile import friendly


@cache
def _command() -> tuple[str, ...]:
    programs = Toolchain(Settings.load().cache).ensure("node", "backstage")
    return str(programs["node"].path), str(Path(__file__).with_suffix(".js")), str(programs["backstage"].path / "node_modules")


def refusals(*pairs: tuple[dict[str, Any], Any]) -> list[list[str]]:
    """What is wrong with each schema or its value, by the judges that say so; empty where both take it."""
    asked = json.dumps([{"schema": schema, "value": value} for schema, value in pairs])
    done = subprocess.run(_command(), input=asked, env=friendly(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [[f"{judge}: {wrong}" for judge, wrong in answer.items() if wrong] for answer in json.loads(done.stdout)]
