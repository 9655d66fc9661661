"""What is the lab's in a cluster that others use as well: what it creates bears a label with the home's id, and nothing else is changed."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from ..common.errors import ClusterError
from .kubectl import Kubectl, KubectlAnswer

LABEL = "labkit/home"
_CHANGING = ("apply", "replace", "delete")
_CREATED = re.compile(r"^(\S+/\S+) (?:created|serverside-applied)", re.MULTILINE)
_ASKABLE = re.compile(r"-(n|f|l)$|--(namespace|filename|selector|all-namespaces)\b|-A$")
_TAKES_VALUE = ("-n", "-f", "-l", "--namespace", "--filename", "--selector")


class Belongings:
    """The objects of one home.

    Args:
        kubectl: To ask and to label with.
        context: The administrator's context.
        home_id: The label's value.
    """

    def __init__(self, kubectl: Kubectl, context: str, home_id: str) -> None:
        self._kubectl, self._context, self._home_id = kubectl, context, home_id

    def run(self, context: str, *args: str, stdin: str = "") -> KubectlAnswer:
        """Run kubectl as `Kubectl.run` does, but look first at the objects that it would change, and label those that it creates.

        That holds for ``create``, ``apply``, ``replace`` and ``delete``, which are what the labs change a cluster with.

        Raises:
            ClusterError: It would change an object that is not this home's; nothing was changed.
        """
        verb = args[0] if args else ""
        if verb in _CHANGING:
            self._refuse_others(args[1:], stdin)
        written = self._labelled(stdin) if stdin and verb in ("create", "apply", "replace") else stdin
        answer = self._kubectl.run(context, *args, stdin=written)
        if verb == "create" and not stdin:
            for name in _CREATED.findall(answer.output):
                self._kubectl.run(self._context, "label", name, f"{LABEL}={self._home_id}", *_namespace(args))
        return answer

    def left(self) -> list[str]:
        """The objects that are there, as ``kind/name`` with the namespace, if any, before it."""
        return [_name(found) for found in self._find()]

    def remove(self) -> list[str]:
        """Delete them; returns what `left` would have."""
        found = self._find()
        if found:
            bare = [{"apiVersion": f["apiVersion"], "kind": f["kind"], "metadata": _place(f["metadata"])} for f in found]
            bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": bare})
            self._kubectl.run(self._context, "delete", "--ignore-not-found", "-f", "-", stdin=bundle)
        return [_name(each) for each in found]

    def _find(self) -> list[dict[str, Any]]:
        kinds = self._kubectl.run(self._context, "api-resources", "--verbs=list,delete", "-o", "name").output.split()
        answer = self._kubectl.run(self._context, "get", ",".join(kinds), "-A", "-l", f"{LABEL}={self._home_id}", "-o", "json")
        # Some kinds are in two API groups, and their objects then twice in the answer.
        return list({item["metadata"]["uid"]: item for item in json.loads(answer.output)["items"]}.values())

    def _refuse_others(self, args: tuple[str, ...], stdin: str) -> None:
        for found in self._meant(args, stdin):
            label = found["metadata"].get("labels", {}).get(LABEL)
            if label != self._home_id:
                msg = f"{_name(found)} is in the cluster already and is not this lab's; it is left as it is"
                why = f"it belongs to another lab, whose home has the id {label}" if label else f"it has no label {LABEL}={self._home_id}"
                fix = "use a cluster in which that name is free, or ask whom it belongs to; if that is you: kubectl delete it yourself"
                raise ClusterError(msg, why=why, fix=fix)

    def _meant(self, args: tuple[str, ...], stdin: str) -> list[dict[str, Any]]:
        """The objects that a command is about, as far as they exist, by `kubectl get` with those of its arguments that name them."""
        answer = self._kubectl.run(self._context, "get", *_naming(args), "--ignore-not-found", "-o", "json", stdin=stdin)
        if not answer.output.strip():
            return []
        found = json.loads(answer.output)
        return list(found["items"]) if "items" in found else [found]

    def _labelled(self, manifests: str) -> str:
        """The manifests with the label, as a list in JSON."""
        documents = [document for document in yaml.safe_load_all(manifests) if document]
        items = [item for document in documents for item in (document["items"] if document.get("kind") == "List" else [document])]
        for item in items:
            item["metadata"] = {**item["metadata"], "labels": {**item["metadata"].get("labels", {}), LABEL: self._home_id}}
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _naming(args: tuple[str, ...]) -> list[str]:
    kept, follows = [], False
    for arg in args:
        if follows or not arg.startswith("-") or _ASKABLE.match(arg) or arg == "-":
            kept.append(arg)
        follows = arg in _TAKES_VALUE
    return kept


def _namespace(args: tuple[str, ...]) -> list[str]:
    for one, other in zip(args, (*args[1:], ""), strict=True):
        if one in ("-n", "--namespace"):
            return [one, other]
        if one.startswith(("--namespace=", "-n=")):
            return [one]
    return []


def _place(metadata: dict[str, Any]) -> dict[str, str]:
    return {key: metadata[key] for key in ("name", "namespace") if key in metadata}


def _name(found: dict[str, Any]) -> str:
    return "/".join((*_place(found["metadata"]).get("namespace", "").split(), found["kind"].lower(), found["metadata"]["name"]))
