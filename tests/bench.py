"""How long a command of labkit's keeps somebody waiting: ``make bench``. No server is needed and none is started.

Figures depend on the machine and on what else it does, so nothing fails here; what the commands load is tested in tests/unit/test_lazy.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from labkit.common.display import Table
from labkit.config.settings import Settings
from labkit.identity.credential_cache import CredentialCache

RUNS = 9
LABKIT = ("-P", "-m", "labkit")
COMMANDS = (
    ("python, for comparison", ("-c", "pass"), ""),
    ("labkit --help", (*LABKIT, "--help"), "0.25"),
    ("labkit credential, token kept", (*LABKIT, "credential", "user-dev"), "0.35"),
    ("labkit status, nothing runs", (*LABKIT, "status"), "0.60"),
)
"""What is run, how, and how many seconds it should take at most on a machine with nothing else to do."""


def seconds(arguments: tuple[str, ...], env: dict[str, str]) -> float:
    """How long one run takes, as whoever waits for it sees it."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def main() -> None:
    """Run each command several times, in turn, and print the least and the median."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = {"LABKIT_HOME": str(Path(folder, "home")), "LABKIT_CLUSTER": "local", "LABKIT_KEYCLOAK": "local"}
        CredentialCache(Settings.open(chosen)).keep("user-dev", "an ID token", "a refresh token", int(time.time()) + 3600)
        env = {**os.environ, **chosen}
        # The first round reads files that the others find in memory.
        rounds = [[seconds(arguments, env) for _, arguments, _ in COMMANDS] for _ in range(RUNS + 1)][1:]
    rows = (
        (name, f"{min(times):.2f}", f"{median(times):.2f}", aim)
        for (name, _, aim), times in zip(COMMANDS, zip(*rounds, strict=True), strict=True)
    )
    print(Table(("command", "least, s", "median, s", "aim, s"), tuple(rows), note=f"{RUNS} runs of each, in turn"))


if __name__ == "__main__":
    main()
