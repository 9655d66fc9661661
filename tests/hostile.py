"""An environment in which nothing is meant for the lab: what a person has set for other programs, and an umask that keeps nobody out.

Whatever labkit starts has to do without it. The tests' own tools, which are no part of the product, are spared it here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HOSTILE = {
    "DEBUG": "true",
    "JAVA": "/bin/false",
    "_JAVA_OPTIONS": "-Xmx16m",
    "NODE_OPTIONS": "--bad",
    "GOFLAGS": "-bad",
    "no_proxy": "corp.example",
    "AWS_ACCESS_KEY_ID": "x",
    "PYTHONIOENCODING": "ascii",
}


class Hostility:
    """The environment of this process, made hostile and friendly again."""

    def __init__(self) -> None:
        self._patch: pytest.MonkeyPatch | None = None
        self._umask = 0
        self._folder = tempfile.TemporaryDirectory(prefix="hostile")

    def begin(self) -> None:
        """Set everything, unless it is set already."""
        if self._patch is not None:
            return
        netrc = Path(self._folder.name) / "netrc"
        netrc.write_text("default login me password corp\n")
        netrc.chmod(0o600)
        self._patch = pytest.MonkeyPatch()
        for name, value in {**HOSTILE, "NETRC": str(netrc)}.items():
            self._patch.setenv(name, value)
        self._umask = os.umask(0)

    def end(self) -> None:
        """Have everything as it was."""
        if self._patch is not None:
            self._patch.undo()
            self._patch = None
            os.umask(self._umask)


def friendly() -> dict[str, str]:
    """This process's environment without what is hostile in it, for a tool of the tests' own."""
    return {name: value for name, value in os.environ.items() if name not in HOSTILE and name != "NETRC"}


@contextmanager
def friendliness() -> Iterator[None]:
    """For a tool that takes this process's environment as it is when it is started."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*HOSTILE, "NETRC"):
            patch.delenv(name, raising=False)
        yield
