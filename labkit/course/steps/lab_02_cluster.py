"""Lab 02: Whom the API server believes."""

from __future__ import annotations

from collections.abc import Iterator

from ...common.display import Finding
from ...lab import Lab
from .registry import add_lab

LAB = add_lab("02-cluster", "Kubernetes: whom the API server believes", needs="realm")


@LAB.step("cluster", "the API server knows people by their tokens", minutes=20)
def cluster(lab: Lab) -> Iterator[Finding]:
    runs = lab.cluster.is_running()
    yield Finding(runs, f"the cluster runs at {lab.cluster.endpoint.url}", "lab.cluster.start()")
    if not runs:
        return
    for username in lab.workshop.access.expected:
        seen, declared = lab.cluster.api(lab.session(username)).wait_until_known(), lab.workshop.user(username)
        as_declared = seen.username == declared.email and set(seen.groups) == {*declared.groups, "system:authenticated"}
        yield Finding(as_declared, f"it takes {username} for {seen}", "compare the token's claims with lab.cluster.trust")


cluster.solution(lambda lab: lab.cluster.start())
cluster.reset(lambda lab: lab.cluster.erase())
