"""Who can do what: the declared RBAC objects, and the API server's answers beside what the workshop expects."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from ..common.display import BAD, OK, text_table
from ..common.drawing import BAD_COLOUR, GOOD_COLOUR, QUIET_COLOUR, Drawn, box, svg, words
from ..common.errors import CheckFailed
from ..common.problems import Problem, problem
from ..workshop.workshop import Access, ClusterSpec
from .api import Api, Identity
from .kubectl import KubectlAnswer, bundle

LIST_BINDINGS = (
    'lab.cluster.admin_kubectl("get", "clusterrolebindings,rolebindings", "-A", "-o", "wide", "-l", "!kubernetes.io/bootstrapping")'
)
"""Who is bound to what, but for those bindings that every cluster has from the start."""

NAMESPACE = "default"
"""Where the questions about namespaced resources are asked."""

GATHERED = {"admin", "edit", "view"}
"""Kubernetes' own roles whose rules its controller manager gathers from others."""

_PARTS = ("rules", "subjects", "roleRef")
_PARALLEL = 8
_CELL, _ROW, _TOP, _GAP = 49, 26, 48, 16
_NAMES = 250


@dataclass(frozen=True)
class Difference:
    """An object that is not in the cluster as it is declared: which ``part`` of it differs, or nothing there when it is missing."""

    kind: str
    name: str
    part: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{f': its {self.part} are not as declared' if self.part else ' is missing'}"


class Rbac:
    """Roles and bindings, as declared; ``kubectl`` runs as the cluster's administrator."""

    def __init__(self, declared: ClusterSpec, kubectl: Callable[..., KubectlAnswer]) -> None:
        self._declared, self._kubectl = declared, kubectl

    def objects(self) -> list[dict[str, Any]]:
        """The objects of ``rbac.yaml``, as the API server takes them."""
        return list(self._declared.rbac.documents)

    def apply(self) -> KubectlAnswer:
        """Apply them with ``kubectl apply``, which says of each whether it was created, configured or unchanged.

        In a cluster that others use as well, an object of that name that is not this lab's is refused and left alone.
        A binding's role can't be changed in place (``roleRef`` is immutable), so one that names another role is replaced.
        """
        if gathered := sorted({binding.role for binding in self._declared.bindings} & GATHERED):
            # In a new cluster they are empty until a controller has gathered their rules, and whoever is bound to one may do nothing.
            # {.rules} alone would do for kubectl even while it is null.
            self._kubectl("wait", "--for=jsonpath={.rules[0].verbs}", "clusterrole", *gathered, "--timeout=55s")
        for wanted, there in self._pairs():
            if there and there.get("roleRef") != wanted.get("roleRef"):
                self._kubectl("delete", "-f", "-", stdin=bundle([wanted]))
        return self._kubectl("apply", "-f", "-", stdin=bundle(self.objects()))

    def remove(self) -> KubectlAnswer:
        """Delete them; what is gone already is no error."""
        return self._kubectl("delete", "--ignore-not-found", "-f", "-", stdin=bundle(self.objects()[::-1]))

    def differences(self) -> list[Difference]:
        """What the cluster has that differs from what is declared; empty when all is well."""
        found = []
        for wanted, there in self._pairs():
            parts = [part for part in _PARTS if part in wanted and there.get(part) != wanted[part]] if there else [""]
            found += [Difference(*kind_and_name(wanted), part) for part in parts]
        return found

    def _pairs(self) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
        """Each declared object, with the one of its kind and name in the cluster."""
        items = json.loads(self._kubectl("get", "clusterroles,clusterrolebindings,roles,rolebindings", "-A", "-o", "json").output)["items"]
        found = {kind_and_name(item): item for item in items}
        return [(wanted, found.get(kind_and_name(wanted))) for wanted in self.objects()]


def kind_and_name(found: Mapping[str, Any]) -> tuple[str, str]:
    """An object's kind, and its name, after its namespace if it is in one."""
    metadata = found["metadata"]
    return found["kind"], "/".join((*metadata.get("namespace", "").split(), metadata["name"]))


@dataclass(frozen=True)
class Answer:
    """One cell of the matrix: whether ``user`` may ``verb`` the ``resource``, and whether the workshop expects so."""

    user: str
    resource: str
    verb: str
    allowed: bool
    expected: bool

    @property
    def differs(self) -> bool:
        return self.allowed != self.expected

    def __str__(self) -> str:
        may, expected = "may" if self.allowed else "may not", "yes" if self.expected else "no"
        return f"{self.user} {may} {self.verb} {self.resource}, expected {expected}"


@dataclass(frozen=True)
class AccessMatrix(Drawn):
    """The answers for several people.

    Attributes:
        identities: By user: who the API server takes them for.
        answers: Every cell, by user, then resource, then verb.
    """

    identities: Mapping[str, Identity]
    answers: tuple[Answer, ...]

    @property
    def differences(self) -> tuple[Answer, ...]:
        """The cells in which the API server's answer isn't the expected one."""
        return tuple(answer for answer in self.answers if answer.differs)

    def verify(self) -> AccessMatrix:
        """Return the matrix if it is as expected; else raise CheckFailed, which names each difference."""
        if self.differences:
            raise CheckFailed(self._problem())
        return self

    def fix(self) -> str:
        """What to do about the differences: another thing for a right too many than for one too few."""
        return self._problem().fix

    def _problem(self) -> Problem:
        wrong = self.differences
        too_many, too_few = problem("access-too-many", list_bindings=LIST_BINDINGS).fix, problem("access-too-few").fix
        ways = "\n".join(dict.fromkeys(too_many if answer.allowed else too_few for answer in wrong))
        differences = "\n".join(map(str, wrong))
        return problem("access-differs", count=len(wrong), total=len(self.answers), differences=differences, ways=ways)

    def __str__(self) -> str:
        lines = []
        for user, identity in self.identities.items():
            rows = [
                [resource, *((OK if each.allowed else "·") + (" !" if each.differs else "") for each in row)]
                for resource, row in self._rows(user).items()
            ]
            lines += [f"{user} is {identity}", *text_table(("", *self._verbs()), rows), ""]
        return "\n".join([*lines, f"{OK} allowed  · refused  ! not as expected   {self._count()}"])

    def picture(self) -> str:
        verbs, resources = self._verbs(), list(dict.fromkeys(answer.resource for answer in self.answers))
        legend = f"{OK} allowed   {BAD} refused   ! in a frame: not as expected   {self._count()}"
        wide = _CELL * len(verbs) + _GAP
        parts = [words(1, _TOP + _ROW * i + 17, resource) for i, resource in enumerate(resources)]
        for column, (user, identity) in enumerate(self.identities.items()):
            left = _NAMES + wide * column
            parts.append(words(left, 14, f"{user} is {identity.username}", weight="bold"))
            parts += [words(left + _CELL * (i + 0.5), 38, verb, anchor="middle") for i, verb in enumerate(verbs)]
            for row, answers in enumerate(self._rows(user).values()):
                parts += [_cell(left + _CELL * i, _TOP + _ROW * row, answer) for i, answer in enumerate(answers)]
        bottom = _TOP + _ROW * len(resources)
        parts.append(words(1, bottom + 20, legend))
        says = f"a row per resource, and for each person a column per verb. {legend}"
        return svg("Who may do what", says, _NAMES + wide * len(self.identities), bottom + 28, *parts)

    def _count(self) -> str:
        return f"{len(self.answers) - len(self.differences)} of {len(self.answers)} answers as expected"

    def _verbs(self) -> list[str]:
        return list(dict.fromkeys(answer.verb for answer in self.answers))

    def _rows(self, user: str) -> dict[str, list[Answer]]:
        theirs = (answer for answer in self.answers if answer.user == user)
        return {resource: list(row) for resource, row in groupby(theirs, attrgetter("resource"))}


def matrix(enter: Callable[[str], Api], access: Access) -> AccessMatrix:
    """Ask the API server, as each person, about every verb on every resource; ``enter`` signs one of them in.

    Each is first asked who they are: an answer counts only for somebody whom the API server knows.

    Raises:
        Unauthorized: The API server doesn't know one of them.
    """
    cells = [(user, resource, verb) for user in access.expected for resource in access.resources for verb in access.verbs]

    def ask(cell: tuple[str, str, str]) -> Answer:
        user, resource, verb = cell
        allowed = people[user].can(verb, resource, NAMESPACE)
        return Answer(user, resource, verb, allowed, verb in access.expected.get(user, ()))

    with ThreadPoolExecutor(_PARALLEL) as pool:
        people = dict(zip(access.expected, pool.map(enter, access.expected), strict=True))
        identities = dict(zip(people, pool.map(Api.whoami, people.values()), strict=True))
        return AccessMatrix(identities, tuple(pool.map(ask, cells)))


def _cell(x: float, y: float, answer: Answer) -> str:
    frame = box(x, y - 1, _CELL - 1, _ROW - 1, BAD_COLOUR) if answer.differs else ""
    area = box(x + 4, y + 2, _CELL - 9, _ROW - 7, GOOD_COLOUR if answer.allowed else QUIET_COLOUR)
    sign = words(x + _CELL / 2, y + 16, f"{OK if answer.allowed else BAD}{' !' if answer.differs else ''}", anchor="middle", colour="#fff")
    return f"<g><title>{html.escape(str(answer))}</title>{frame}{area}{sign}</g>"
