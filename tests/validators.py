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
def _judges() -> subprocess.Popen[str]:
    """Start both, for as long as this process runs: loading them takes longer than most answers."""
    programs = Toolchain(Settings.load().cache).ensure("node", "backstage")
    command = (programs["node"].path, Path(__file__).with_suffix(".js"), programs["backstage"].path / "node_modules")
    return subprocess.Popen(command, env=friendly(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def refusals(*pairs: tuple[dict[str, Any], Any]) -> list[list[str]]:
    """What is wrong with each schema or its value, by the judges that say so; empty where both take it."""
    judges = _judges()
    assert judges.stdin
    assert judges.stdout
    print(json.dumps([{"schema": schema, "value": value} for schema, value in pairs]), file=judges.stdin, flush=True)
    answers = judges.stdout.readline()
    assert answers, f"the judges ended with {judges.wait(60)}"
    return [[f"{judge}: {wrong}" for judge, wrong in answer.items() if wrong] for answer in json.loads(answers)]
