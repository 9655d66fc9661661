"""Asking the probes, each as soon as what it stands on is known to be well, and what they found."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from ..common.display import BAD, OK, Displayed
from ..common.errors import LabkitError
from ..common.problems import Problem, problem
from ..lab import Lab
from . import probes

Probe = Callable[[Lab, probes.SignIn], probes.Causes]

PROBES: dict[str, tuple[Probe, tuple[str, ...]]] = {
    "this machine": (probes.machine, ()),
    "Keycloak": (probes.keycloak, ()),
    "the realm": (probes.realm, ("Keycloak",)),
    "signing in": (probes.people, ("Keycloak", "the realm")),
    "the cluster's servers": (probes.servers, ()),
    "how the API server is configured": (probes.trust, ("the cluster's servers",)),
    "who the API server takes people for": (probes.identities, ("signing in", "how the API server is configured")),
    "the RBAC objects": (probes.rbac, ("the cluster's servers",)),
    "what people may do": (probes.access, ("who the API server takes people for", "the RBAC objects")),
    "the portal": (probes.portal, ("Keycloak", "the realm")),
    "Kratix": (probes.kratix, ("the cluster's servers",)),
    "kubectl's contexts": (probes.contexts, ("who the API server takes people for",)),
}
"""By name the probe, and those before it that must have found nothing for it to say anything of its own."""


@dataclass(frozen=True)
class Found:
    """A cause that was found, with what was seen."""

    problem: Problem
    evidence: str

    def __str__(self) -> str:
        evidence, fix = (text.replace("\n", "\n       ") for text in (self.evidence, self.problem.fix))
        return f"{BAD} {self.problem.id}: {self.problem.why}\n  seen: {evidence}\n  fix: {fix}"


@dataclass(frozen=True)
class Diagnosis(Displayed):
    """What the doctor says: the causes that were found, the deepest first, what is well, and what could not be judged because of them.

    A portal or a Kratix that was never started is no part of the lab, and in none of the three.
    """

    found: tuple[Found, ...]
    well: tuple[str, ...]
    not_looked_at: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [found.problem.id for found in self.found]

    def __str__(self) -> str:
        lines = [str(found) for found in self.found]
        # Beside something that is wrong, what is well takes one line.
        lines += [f"{OK} well: {', '.join(self.well)}"] if self.found and self.well else [f"{OK} {name}" for name in self.well]
        if self.not_looked_at:
            lines.append(f"· not looked at before that is mended: {', '.join(self.not_looked_at)}")
        return "\n".join(lines)


def diagnose(lab: Lab, called: str = "lab") -> Diagnosis:
    """Look for what is wrong with a lab, which a notebook calls by that name, from the ground up; only read.

    What stands on something broken is not looked at: its symptoms would be the broken thing's.
    """
    sign_in = cache(lab.session)
    looked: dict[str, Future[list[Found] | None]] = {}

    def look(name: str, probe: Probe, needs: tuple[str, ...]) -> list[Found] | None:
        if any(looked[need].result() != [] for need in needs):
            return None
        causes: list[Found] = []
        try:
            for cause, evidence in probe(lab, sign_in):
                causes.append(Found(problem(cause, lab=called) if isinstance(cause, str) else cause, evidence))
        except LabkitError as error:
            causes.append(Found(*probes.in_its_own_words(error)))
        return causes

    with ThreadPoolExecutor(len(PROBES)) as pool:
        for name, probe in PROBES.items():
            looked[name] = pool.submit(look, name, *probe)
    for name in [name for name, each in looked.items() if isinstance(each.exception(), probes.NotThere)]:
        del looked[name]
    found = {name: each.result() for name, each in looked.items()}
    return Diagnosis(
        found=tuple(each for causes in found.values() for each in causes or ()),
        well=tuple(name for name, causes in found.items() if causes == []),
        not_looked_at=tuple(name for name, causes in found.items() if causes is None),
    )
