"""What RBAC answers people of the exercises, who need not have signed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...cluster.rbac import LIST_BINDINGS
from ...common.display import Finding, shown
from ...identity.session import Claims
from ...lab import Lab

AUDITORS = Claims("somebody in the group kube-audit", {"email": "user-audit@example.com", "groups": ["kube-audit"]})


def answers(lab: Lab, who: Claims, wanted: Sequence[tuple[str, str, str, bool]]) -> Iterator[Finding]:
    """RBAC's answers for somebody, held against those that are wanted: verb, resource, namespace (empty for all), allowed or not."""
    for verb, resource, namespace, allowed in wanted:
        may = lab.cluster.may(who, verb, resource, namespace)
        place = f" in {namespace}" if namespace else ""
        names = f"{who['email']} and the groups {shown(who.get('groups'))}"
        wrong = f"no rule allows it to {names}" if allowed else f"a rule allows it to one of {names}"
        yield Finding(
            may == allowed,
            f"{who['email']} {'may' if may else 'may not'} {verb} {resource.partition('.')[0]}{place}",
            f"{wrong}: {LIST_BINDINGS}",
        )
