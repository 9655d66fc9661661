"""kubectl, run as somebody: its answer as a result, or as an error that says which kind of no it was."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.display import Displayed
from ..common.environment import KUBECTL, listed
from ..common.errors import ApiUnreachable, ClusterError, Unauthorized
from ..common.kubernetes_yaml import load_all
from ..common.problems import Problem
from .refusals import forbidden

LABEL = "labkit/home"
"""Marks what a lab creates in a cluster that others use as well; nothing without it is changed there."""

_TIMEOUT_SECONDS = 60
_CREATED = re.compile(r"^(\S+/\S+) (?:created|serverside-applied)", re.MULTILINE)
_ASKABLE = re.compile(r"-(n|f|l)$|--(namespace|filename|selector|all-namespaces)\b|-A$")
_TAKES_VALUE = ("-n", "-f", "-l", "--namespace", "--filename", "--selector")


@dataclass(frozen=True)
class KubectlAnswer(Displayed):
    """A command as one would type it, and what kubectl printed to its standard output."""

    command: str
    output: str

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.output.rstrip()}"


class Kubectl:
    """kubectl with the lab's kubeconfig; the user's own configuration and caches are neither read nor written.

    Args:
        program: Gives the executable; asked at each command.
        cache: Where it keeps what it caches of the API server.
        names: The variables that it gets of the environment.
        stranger: Gives who answers in the API server's place.
    """

    def __init__(
        self,
        program: Callable[[], Path],
        kubeconfig: Path,
        cache: Path,
        names: tuple[str, ...] = KUBECTL,
        stranger: Callable[[], Problem | None] = lambda: None,
    ) -> None:
        self._program, self._kubeconfig, self._cache, self._names, self._stranger = program, kubeconfig, cache, names, stranger

    def run(self, context: str, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run ``kubectl --context CONTEXT ARGS``, with ``stdin`` for ``-f -``; a current context never matters.

        Raises:
            Forbidden: The API server's 403; ``user`` is the name in its answer.
            Unauthorized: The API server's 401, or a token that can't be renewed.
            ApiUnreachable: Nothing answers, or somebody else does.
            ClusterError: The lab has no kubeconfig yet, or anything else that made kubectl fail.
        """
        if not self._kubeconfig.exists():
            raise ClusterError("kubectl-before-start")
        # The verb goes first: of an unknown one behind its flags kubectl says only that a plugin can't have them there.
        verb = int(not "".join(args[:1]).startswith("-"))
        argv = [str(self._program()), *args[:verb], f"--kubeconfig={self._kubeconfig}", "--context", context, *args[verb:]]
        env = environment(self._cache, self._names)
        command = shlex.join(["kubectl", "--context", context, *args])
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, env=env, check=False)
        except subprocess.TimeoutExpired as error:
            raise ClusterError("kubectl-silent", command=command, seconds=_TIMEOUT_SECONDS) from error
        if done.returncode:
            if stranger := self._stranger():
                raise ApiUnreachable(stranger)
            raise _refusal(command, done.stderr.strip() or done.stdout.strip())
        return KubectlAnswer(command, done.stdout)


class OwnedObjects:
    """The objects that one lab has made in a cluster, by its owner label, as the user of ``context`` sees them."""

    def __init__(self, kubectl: Callable[..., KubectlAnswer], context: str, folder_id: str) -> None:
        self._kubectl, self._context, self._home_id = kubectl, context, folder_id

    def run(self, context: str, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run kubectl, but look first at the objects that it would change, and label those that it creates.

        That holds for ``create``, ``apply``, ``replace`` and ``delete``, which are what the labs change a cluster with.

        Raises:
            ClusterError: It would change an object that is not this lab's; nothing was changed.
        """
        verb = args[0] if args else ""
        if verb in ("apply", "replace", "delete"):
            self._refuse_others(args[1:], stdin)
        written = self._labelled(stdin) if stdin and verb in ("create", "apply", "replace") else stdin
        answer = self._kubectl(context, *args, stdin=written)
        if verb == "create" and not stdin:
            for name in _CREATED.findall(answer.output):
                self._kubectl(self._context, "label", name, f"{LABEL}={self._home_id}", *_namespace(args))
        return answer

    def names(self) -> list[str]:
        """The objects that are there, as ``kind/name`` with the namespace, if any, before it."""
        return [_name(found) for found in self._find()]

    def remove(self) -> list[str]:
        """Delete them; returns what `names` would have."""
        found = self._find()
        if found:
            bare = [{"apiVersion": f["apiVersion"], "kind": f["kind"], "metadata": _place(f["metadata"])} for f in found]
            self._kubectl(self._context, "delete", "--ignore-not-found", "-f", "-", stdin=bundle(bare))
        return [_name(each) for each in found]

    def _find(self) -> list[dict[str, Any]]:
        kinds = self._kubectl(self._context, "api-resources", "--verbs=list,delete", "-o", "name").output.split()
        answer = self._kubectl(self._context, "get", ",".join(kinds), "-A", "-l", f"{LABEL}={self._home_id}", "-o", "json")
        # Some kinds are in two API groups, and their objects then twice in the answer.
        return list({item["metadata"]["uid"]: item for item in json.loads(answer.output)["items"]}.values())

    def _refuse_others(self, args: tuple[str, ...], stdin: str) -> None:
        """Look at the objects that a command is about, by `kubectl get` with those of its arguments that name them."""
        output = self._kubectl(self._context, "get", *_naming(args), "--ignore-not-found", "-o", "json", stdin=stdin).output
        found = json.loads(output) if output.strip() else {"items": []}
        for each in found.get("items", [found]):
            label = each["metadata"].get("labels", {}).get(LABEL)
            if label != self._home_id:
                name = "object-of-another-lab" if label else "object-not-ours"
                raise ClusterError(name, object=_name(each), owner=label, label=f"{LABEL}={self._home_id}")

    def _labelled(self, manifests: str) -> str:
        documents = load_all(manifests)
        items = [item for document in documents for item in (document["items"] if document.get("kind") == "List" else [document])]
        for item in items:
            item["metadata"] = {**item["metadata"], "labels": {**item["metadata"].get("labels", {}), LABEL: self._home_id}}
        return bundle(items)


def bundle(objects: Sequence[Mapping[str, Any]]) -> str:
    """Objects as text for ``-f -``."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def environment(cache: Path, names: tuple[str, ...]) -> dict[str, str]:
    """An environment for kubectl, with these variables of this process's and what it caches in that folder."""
    return {**listed(names), "KUBECACHEDIR": str(cache), "KUBERC": "off"}


def _refusal(command: str, said: str) -> ClusterError:
    answer = f"$ {command}\n{said}"
    if re.search(r"^Error from server \(Forbidden\):", said, re.MULTILINE):
        return forbidden(answer, said)
    if re.search(r"You must be logged in to the server|failed to refresh token", said):
        return Unauthorized("kubectl-401", answer=answer)
    if "failed calling webhook" in said:
        return ClusterError("kubectl-webhook", answer=answer)
    if re.search(r"connection refused|was refused|no such host|i/o timeout", said):
        return ApiUnreachable("kubectl-unreachable", answer=answer)
    return ClusterError("kubectl-failed", answer=answer)


def _naming(args: tuple[str, ...]) -> Iterator[str]:
    follows = False
    for arg in args:
        if follows or not arg.startswith("-") or _ASKABLE.match(arg) or arg == "-":
            yield arg
        follows = arg in _TAKES_VALUE


def _namespace(args: tuple[str, ...]) -> tuple[str, ...]:
    for i, arg in enumerate(args):
        if arg in ("-n", "--namespace"):
            return args[i : i + 2]
        if arg.startswith(("--namespace=", "-n=")):
            return (arg,)
    return ()


def _place(metadata: dict[str, Any]) -> dict[str, str]:
    return {key: metadata[key] for key in ("name", "namespace") if key in metadata}


def _name(found: dict[str, Any]) -> str:
    return "/".join((*found["metadata"].get("namespace", "").split(), found["kind"].lower(), found["metadata"]["name"]))
