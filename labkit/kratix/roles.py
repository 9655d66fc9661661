"""Finer roles around a Promise: a group that may ask for what it offers, and may publish none."""

from __future__ import annotations

from typing import Any

from .promise import PROMISE_KIND, Promise

_GROUP = "rbac.authorization.k8s.io"
_ASKING = ("get", "list", "watch", "create", "update", "patch", "delete")


def requester(promise: Promise, group: str) -> list[dict[str, Any]]:
    """The cluster role that lets somebody ask for what a Promise offers, and nothing else, and its binding to a group.

    Args:
        promise: The Promise.
        group: A group as tokens name it.
    """
    plural, _, api_group = promise.resource.partition(".")
    name = requester_name(promise)
    return [
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [{"apiGroups": [api_group], "resources": [plural], "verbs": list(_ASKING)}],
        },
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{name}-{group}"},
            "subjects": [{"kind": "Group", "name": group, "apiGroup": _GROUP}],
            "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name},
        },
    ]


def requester_name(promise: Promise) -> str:
    """The name of the role."""
    return f"{promise.name}-requester"


def expected(promise: Promise) -> dict[str, bool]:
    """What whoever has the role, and can otherwise only read, may create: the plural name with its group, and whether."""
    return {promise.resource: True, PROMISE_KIND: False, "configmaps": False}
