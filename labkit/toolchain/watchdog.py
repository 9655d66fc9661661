"""Run a tool that must not outlive whoever started it.

Run as a script, leading a process group of its own. Standard input is a pipe that the starter keeps open: when it is
closed, be it on purpose or because the starter was killed, the tool is ended with all of its children.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

_GRACE_SECONDS = 3


def main(*argv: str) -> int:
    """Run ``argv`` to its end and return its exit code."""
    tool = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    # Set after the start, so that only this process outlives the signal that it sends to the group.
    signal.signal(signal.SIGTERM, lambda *_: None)
    while tool.poll() is None:
        let_go, _, _ = select.select([sys.stdin], [], [], 0.1)
        if let_go:
            os.killpg(0, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                tool.wait(_GRACE_SECONDS)
            os.killpg(0, signal.SIGKILL)
    return tool.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
