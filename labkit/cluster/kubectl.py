"""kubectl, run as somebody, with its answer as a result or an error that says which kind of no it was."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..common.display import Displayed
from ..common.environment import KUBECTL, listed
from ..common.errors import ClusterError, Unauthorized
from .refusals import forbidden, unreachable

_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class KubectlAnswer(Displayed):
    """What kubectl printed.

    Attributes:
        command: The command as one would type it.
        output: Its standard output.
    """

    command: str
    output: str

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.output.rstrip()}"


class Kubectl:
    """kubectl with the lab's kubeconfig; the user's own configuration and caches are neither read nor written.

    Args:
        program: Gives the executable; asked at the first command.
        kubeconfig: The lab's kubeconfig.
        cache: Where it keeps what it caches of the API server.
        names: The variables that it gets of the environment.
    """

    def __init__(self, program: Callable[[], Path], kubeconfig: Path, cache: Path, names: tuple[str, ...] = KUBECTL) -> None:
        self._program, self._kubeconfig, self._cache, self._names = program, kubeconfig, cache, names

    def run(self, context: str, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run ``kubectl --context CONTEXT ARGS``.

        Args:
            context: Whose context; always named, so that a current context elsewhere never matters.
            args: The arguments, each as it is: no shell is involved.
            stdin: What it reads for ``-f -``.

        Raises:
            Forbidden: The API server's 403; ``user`` is the name in its answer.
            Unauthorized: The API server's 401, or a token that can't be renewed.
            ApiUnreachable: Nothing answers.
            ClusterError: The lab has no kubeconfig yet, or anything else that made kubectl fail.
        """
        if not self._kubeconfig.exists():
            msg = "this lab's cluster has not been started yet"
            raise ClusterError(msg, fix="lab.cluster.start(), as in 02-cluster.ipynb; or labkit up")
        argv = [str(self._program()), f"--kubeconfig={self._kubeconfig}", "--context", context, *args]
        env = environment(self._cache, self._names)
        command = shlex.join(["kubectl", "--context", context, *args])
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, env=env, check=False)
        except subprocess.TimeoutExpired as error:
            msg = f"{command} gave no answer within {_TIMEOUT_SECONDS} s"
            raise ClusterError(msg, fix="see whether the servers are well: labkit status") from error
        if done.returncode:
            raise _error(command, done.stderr.strip() or done.stdout.strip())
        return KubectlAnswer(command, done.stdout)


def environment(cache: Path, names: tuple[str, ...]) -> dict[str, str]:
    """An environment for kubectl, with these variables of this process's and what it caches in that folder."""
    return {**listed(names), "KUBECACHEDIR": str(cache), "KUBERC": "off"}


def _error(command: str, said: str) -> ClusterError:
    what = f"$ {command}\n{said}"
    if re.search(r"^Error from server \(Forbidden\):", said, re.MULTILINE):
        return forbidden(what, said, None)
    if re.search(r"You must be logged in to the server|failed to refresh token", said):
        fix = "sign in again; a 401 says that the API server doesn't take the token, and its log says why: labkit status"
        return Unauthorized(what, fix=fix)
    if "failed calling webhook" in said:
        return ClusterError(what, fix="start what the API server asks there: labkit doctor says what it is")
    if re.search(r"connection refused|was refused|no such host|i/o timeout", said):
        return unreachable(what)
    return ClusterError(what)
