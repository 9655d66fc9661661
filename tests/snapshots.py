"""Everything in a cluster, to prove that what is not a lab's stayed as it was."""

from __future__ import annotations

import json
import time

from labkit.lab import Lab

BY_ITSELF = {"Event", "Lease", "Endpoints", "EndpointSlice", "ComponentStatus"}
"""Kinds that a cluster writes all the time, or, the last, makes up from a probe whenever it is asked."""

_PATIENCE_SECONDS = 60


def snapshot(lab: Lab) -> dict[str, str]:
    """Every object, by its name and uid, without the marks of having been read or counted."""
    kinds = lab.cluster.admin_kubectl("api-resources", "--verbs=list", "-o", "name").output.split()
    items = json.loads(lab.cluster.admin_kubectl("get", ",".join(kinds), "-A", "-o", "json").output)["items"]
    found = {}
    for item in items:
        if item["kind"] not in BY_ITSELF:
            metadata = item["metadata"]
            for changing in ("managedFields", "resourceVersion"):
                metadata.pop(changing, None)
            name = (item["apiVersion"], item["kind"], *(metadata.get(part, "") for part in ("namespace", "name", "uid")))
            found["/".join(name)] = json.dumps(item, sort_keys=True)
    return found


def settled(lab: Lab) -> dict[str, str]:
    """A snapshot of a new cluster, once its controllers have made what they make by themselves: when nothing changes for two seconds."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    before: dict[str, str] = {}
    while (now := snapshot(lab)) != before:
        assert time.monotonic() < deadline, "the cluster does not come to rest"
        before = now
        time.sleep(2)
    return now
