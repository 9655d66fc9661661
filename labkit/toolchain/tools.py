"""Running other ecosystems' tools (go, mvn, pip, kc.sh): logged, told as progress, and ended with whoever runs them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..common.display import Progress
from ..common.environment import EVERYBODY, listed
from ..common.errors import ToolchainError

_ANSWER_SECONDS = 8.0
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
        progress: Where it is said what goes on.
        needs: The path of each program that the recipe needs.
        given: What a program is to be made of, by its name, where one was found or downloaded; see `Recipe.used_as_is`.
    """

    environ: Mapping[str, str]
    work: Path
    log: Path
    progress: Progress
    needs: Mapping[str, Path]
    given: Mapping[str, Path]

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
        say: Callable[[str], str] = str,
    ) -> None:
        """Run a tool to its end.

        Args:
            argv: The tool and its arguments.
            cwd: Where it runs, if not in the work folder.
            names: The variables that it gets of the environment; see `labkit.common.environment`.
            environ: Variables to set.
            say: Makes the progress detail from a line of output; its beginning is shown.

        Raises:
            ToolchainError: It failed; ``why`` holds its last lines of output.
        """
        temporary = self.work / "tmp"
        temporary.mkdir(exist_ok=True)
        env = {**listed(names, self.environ), "TMPDIR": str(temporary), **(environ or {})}
        leash = (sys.executable, "-I", "-S", Path(__file__).with_name("leash.py"))
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        with self.log.open("a", encoding="utf-8") as log:
            process = _start(*leash, *argv, env=env, cwd=cwd or self.work, stdin=subprocess.PIPE)
            try:
                assert process.stdout is not None  # noqa: S101
                for coloured in process.stdout:
                    line = _COLOUR.sub("", coloured).rstrip()
                    log.write(f"{line}\n")
                    if line:
                        tail.append(line)
                        self.progress.update(say(line)[:_DETAIL_WIDTH])
                code = process.wait()
            finally:
                _end(process)
        if code:
            msg = f"{Path(argv[0]).name} failed with exit code {code}"
            raise ToolchainError(msg, why="\n".join(tail), fix=f"read {self.log} and try again")


def answer(*argv: str | Path, env: Mapping[str, str]) -> str:
    """Return what a program prints within a few seconds, on both streams; nothing if it takes longer, and it is ended then."""
    try:
        process = _start(*argv, env=env)
    except OSError:
        return ""
    try:
        return process.communicate(timeout=_ANSWER_SECONDS)[0]
    except subprocess.TimeoutExpired:
        return ""
    finally:
        # Closed only once everything was read: a child that holds the stream open counts as unfinished too.
        if process.stdout is not None and not process.stdout.closed:
            _kill_group(process)
            process.stdout.close()


def _start(*argv: str | Path, env: Mapping[str, str], cwd: Path | None = None, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
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


def _end(process: subprocess.Popen[str]) -> None:
    """Let go of the leash, which ends the tool, and insist when that takes too long."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        _kill_group(process)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
