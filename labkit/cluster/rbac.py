"""The workshop's RBAC objects: which group may do what."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..workshop.workshop import ClusterSpec
from .kubectl import KubectlAnswer

LIST_BINDINGS = "kubectl get clusterrolebindings,rolebindings -A -o wide -l '!kubernetes.io/bootstrapping'"
"""Who is bound to what, but for those bindings that every cluster has from the start."""


class Rbac:
    """Cluster roles and bindings, as declared.

    Args:
        declared: The workshop's cluster section.
        run: Runs kubectl in a context.
        context: The administrator's context.
    """

    def __init__(self, declared: ClusterSpec, run: Callable[..., KubectlAnswer], context: str) -> None:
        self._declared, self._run, self._context = declared, run, context

    def objects(self) -> list[dict[str, Any]]:
        """The objects of ``rbac.yaml``, as the API server takes them."""
        return list(self._declared.rbac.documents)

    def apply(self) -> KubectlAnswer:
        """Apply them with ``kubectl apply``, which says of each whether it was created, configured or unchanged.

        In a cluster that others use as well, an object of that name that is not this lab's is refused and left alone.
        A binding's role can't be changed in place (``roleRef`` is immutable), so one that names another role is replaced.
        """
        # In a new cluster these are empty until a controller has gathered their rules, and whoever is bound to one may do nothing.
        # {.rules} alone would do for kubectl even while it is null.
        gathered = [f"clusterrole/{name}" for name in ("admin", "edit", "view")]
        self._run(self._context, "wait", "--for=jsonpath={.rules[0].verbs}", *gathered, "--timeout=30s")
        for name in self._bound_elsewhere():
            self._run(self._context, "delete", "clusterrolebinding", name)
        bundle = {"apiVersion": "v1", "kind": "List", "items": self.objects()}
        return self._run(self._context, "apply", "-f", "-", stdin=json.dumps(bundle))

    def remove(self) -> KubectlAnswer:
        """Delete them; what is gone already is no error."""
        names = [f"{wanted['kind'].lower()}/{wanted['metadata']['name']}" for wanted in reversed(self.objects())]
        return self._run(self._context, "delete", "--ignore-not-found", *names)

    def differences(self) -> list[str]:
        """What the cluster has that differs from what is declared, one sentence each; empty when all is well."""
        found = self._found()
        problems = []
        for wanted in self.objects():
            name = f"{wanted['kind']} {wanted['metadata']['name']}"
            there = found.get((wanted["kind"], wanted["metadata"]["name"]))
            if there is None:
                problems.append(f"{name} is missing")
                continue
            parts = [part for part in ("rules", "subjects", "roleRef") if part in wanted and there.get(part) != wanted[part]]
            problems.extend(f"{name}: its {part} are not as declared" for part in parts)
        return problems

    def _bound_elsewhere(self) -> list[str]:
        found = self._found()
        bindings = [wanted for wanted in self.objects() if "roleRef" in wanted]
        there = [(wanted, found.get((wanted["kind"], wanted["metadata"]["name"]))) for wanted in bindings]
        return [wanted["metadata"]["name"] for wanted, now in there if now is not None and now["roleRef"] != wanted["roleRef"]]

    def _found(self) -> dict[tuple[str, str], dict[str, Any]]:
        answer = self._run(self._context, "get", "clusterroles,clusterrolebindings", "-o", "json")
        return {(item["kind"], item["metadata"]["name"]): item for item in json.loads(answer.output)["items"]}
