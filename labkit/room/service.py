"""A service of the Hub's: a module that ends with the Hub, which leaves its services behind when it is killed."""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time

_POLL_SECONDS = 1


def command(module: str, *arguments: str) -> list[str]:
    """The command by which the Hub runs a module, with its arguments, as a service."""
    return [sys.executable, "-P", "-m", "labkit.room.service", module, *arguments]


def _end_with(hub: int) -> None:
    # Also when nobody takes note of its end: what it started has another parent then.
    while os.getppid() == hub:
        time.sleep(_POLL_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _, *sys.argv = sys.argv
    # The Hub names its own socket, which only JupyterHub's own client knows to ask.
    os.environ["JUPYTERHUB_API_URL"] = os.environ.get("ROOM_HUB_API", os.environ["JUPYTERHUB_API_URL"])
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
