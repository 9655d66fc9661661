"""The last lab: take it all away again."""

from __future__ import annotations

from collections.abc import Iterator

from ...common.display import Finding, shown
from ...lab import Lab
from .registry import add_lab

LAB = add_lab("99-clean-up", "Clean up")


@LAB.step("stopped", "nothing of this lab runs any more", minutes=5)
def stopped(lab: Lab) -> Iterator[Finding]:
    for server in lab.status().servers:
        yield Finding(not server.runs, f"{server.name}: {server.text}", "lab.down()")
    objects = lab.cluster.left()
    if lab.cluster.provider.shared:
        yield Finding(not objects, f"this lab's objects in {lab.cluster.provider.name}: {shown(objects)}", "lab.down()")
    left = lab.people_on_disk()
    yield Finding(not left, f"people's contexts and kept tokens: {shown(left)}", "lab.forget_people()")


@stopped.solution
def _(lab: Lab) -> None:
    if lab.kratix.is_running():
        lab.kratix.remove(lab.kratix.team_space)
    if lab.cluster.is_running():
        lab.cluster.remove_objects()
    lab.forget_people()
    lab.down()
