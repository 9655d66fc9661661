"""Running other ecosystems' tools (go, mvn, pip, kc.sh): logged, told as progress, and ended with whoever runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.display import Progress
from ..common.environment import EVERYBODY, listed
from ..common.errors import ToolchainError

if TYPE_CHECKING:
    from .recipe import Program

_ANSWER_SECONDS = 30.0
"""A Java that others leave a twentieth of a core takes four to say its version."""

_TAIL_LINES = 20
_DETAIL_WIDTH = 70
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Tools:
    """Runs tools for one piece of work.

    Attributes:
        environ: Where the variables are taken from that each gets by name.
        work: A temporary folder; they run in it and keep their temporary files below it.
        log: The file that keeps their output.
        stdin: A pipe; when it is closed, they are ended.
        needs: The programs that the recipe needs.
        given: What a program is to be made of, by its name, where one was found or downloaded; see `Recipe.used_as_is`.
    """

    environ: Mapping[str, str]
    work: Path
    log: Path
    progress: Progress
    stdin: int
    needs: Mapping[str, Program]
    given: Mapping[str, Program]

    def made(self, name: str) -> Path:
        """The folder for a program that is made here: it goes into the cache, and nothing else does."""
        folder = self.work / "made" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(
        self,
        *argv: str | Path,
        cwd: Path | None = None,
        names: tuple[str, ...] = EVERYBODY,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Run a tool to its end.

        Args:
            cwd: Where it runs, if not in the work folder.
            names: The variables that it gets of the environment; see `labkit.common.environment`.

        Raises:
            ToolchainError: It failed; ``why`` holds its last lines of output.
        """
        temporary = self.work / "tmp"
        temporary.mkdir(exist_ok=True)
        env = {**listed(names, self.environ), "TMPDIR": str(temporary), **(environ or {})}
        watchdog = (sys.executable, "-I", "-S", Path(__file__).with_name("watchdog.py"))
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        with (
            self.log.open("a", encoding="utf-8") as log,
            _started(*watchdog, *argv, env=env, cwd=cwd or self.work, stdin=self.stdin) as process,
        ):
            try:
                for coloured in process.stdout or ():
                    line = _COLOUR.sub("", coloured).rstrip()
                    log.write(f"{line}\n")
                    if line:
                        tail.append(line)
                        self.progress.update(line[:_DETAIL_WIDTH])
            except BaseException:
                # Popen's own exit waits for the tool, and does not end it.
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            raise ToolchainError("tool-failed", tool=Path(argv[0]).name, code=process.returncode, tail="\n".join(tail), log=self.log)


def answer(*argv: str | Path, env: Mapping[str, str]) -> str:
    """Return what a program prints within a few seconds, on both streams; nothing if it takes longer, and it is ended then."""
    try:
        with _started(*argv, env=env) as process:
            try:
                return process.communicate(timeout=_ANSWER_SECONDS)[0]
            finally:
                # Closed only once everything was read: a child that holds the stream open counts as unfinished too.
                if process.stdout and not process.stdout.closed:
                    os.killpg(process.pid, signal.SIGKILL)
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _started(*argv: str | Path, env: Mapping[str, str], cwd: Path | None = None, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Start a program that leads a process group; its lines come from both streams."""
    return subprocess.Popen(
        argv,
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
