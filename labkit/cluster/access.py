"""Who can do what, as the API server says, held against what the workshop expects."""

from __future__ import annotations

import html
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..common.display import BAD, OK, text_table
from ..common.drawing import BAD_COLOUR, GOOD_COLOUR, QUIET_COLOUR, Drawn, box, svg, words
from ..common.errors import CheckFailed
from ..workshop.workshop import Access
from .api import Api, Identity

NAMESPACE = "default"
"""Where the questions about namespaced resources are asked."""

_PARALLEL = 8
_CELL, _ROW, _TOP, _GAP = 49, 26, 48, 16
_NAMES = 250


@dataclass(frozen=True)
class Answer:
    """One cell of the matrix: whether ``user`` may ``verb`` the ``resource``, and whether the workshop expects so."""

    user: str
    resource: str
    verb: str
    allowed: bool
    expected: bool

    def __str__(self) -> str:
        return (
            f"{self.user} {'may' if self.allowed else 'may not'} {self.verb} {self.resource}, expected {'yes' if self.expected else 'no'}"
        )


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
        return tuple(answer for answer in self.answers if answer.allowed != answer.expected)

    def verify(self) -> AccessMatrix:
        """Return the matrix if it is as expected.

        Raises:
            CheckFailed: It is not; each difference is named.
        """
        if self.differences:
            msg = f"{len(self.differences)} of {len(self.answers)} answers of the API server differ from the workshop's expectation"
            why = "\n".join(map(str, self.differences))
            raise CheckFailed(msg, why=why, fix="apply the RBAC objects again (lab 03-rbac), or correct expected in access.yaml")
        return self

    def __str__(self) -> str:
        lines = []
        for user, identity in self.identities.items():
            rows = [[resource, *map(_symbol, answers)] for resource, answers in self._rows(user).items()]
            lines += [f"{user} is {identity}", *text_table(("", *self._verbs()), rows), ""]
        good = len(self.answers) - len(self.differences)
        lines.append(f"{OK} allowed  · refused  ! not as expected   {good} of {len(self.answers)} answers as expected")
        return "\n".join(lines)

    def picture(self) -> str:
        verbs, resources = self._verbs(), tuple(dict.fromkeys(answer.resource for answer in self.answers))
        wide = _CELL * len(verbs) + _GAP
        parts = [words(1, _TOP + _ROW * i + 17, resource) for i, resource in enumerate(resources)]
        for column, (user, identity) in enumerate(self.identities.items()):
            left = _NAMES + wide * column
            parts.append(words(left, 14, f"{user} is {identity.username}", weight="bold"))
            parts += [words(left + _CELL * (i + 0.5), 38, verb, anchor="middle") for i, verb in enumerate(verbs)]
            for row, answers in enumerate(self._rows(user).values()):
                parts += [_cell(left + _CELL * i, _TOP + _ROW * row, answer) for i, answer in enumerate(answers)]
        bottom = _TOP + _ROW * len(resources)
        parts.append(words(1, bottom + 20, self._legend()))
        says = f"a row per resource, and for each person a column per verb. {self._legend()}"
        return svg("Who may do what", says, _NAMES + wide * len(self.identities), bottom + 28, *parts)

    def _legend(self) -> str:
        good = len(self.answers) - len(self.differences)
        return f"{OK} allowed   {BAD} refused   ! in a frame: not as expected   {good} of {len(self.answers)} answers as expected"

    def _verbs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(answer.verb for answer in self.answers))

    def _rows(self, user: str) -> dict[str, list[Answer]]:
        rows: dict[str, list[Answer]] = {}
        for answer in self.answers:
            if answer.user == user:
                rows.setdefault(answer.resource, []).append(answer)
        return rows


def matrix(people: Mapping[str, Api], access: Access) -> AccessMatrix:
    """Ask the API server, as each person, about every verb on every resource.

    Each is first asked who it is: an answer counts only for somebody whom the API server knows.

    Args:
        people: By user name: the API server as that person sees it.
        access: The verbs and resources to ask about, and what to expect.

    Raises:
        Unauthorized: The API server doesn't know one of them.
    """
    identities = {user: api.whoami() for user, api in people.items()}
    clients = {user: api.client() for user, api in people.items()}
    cells = [(user, resource, verb) for user in people for resource in access.resources for verb in access.verbs]

    def ask(cell: tuple[str, str, str]) -> Answer:
        user, resource, verb = cell
        allowed = people[user].can(verb, resource, NAMESPACE, clients[user])
        return Answer(user, resource, verb, allowed, verb in access.expected.get(user, ()))

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return AccessMatrix(identities, tuple(pool.map(ask, cells)))


def _symbol(answer: Answer) -> str:
    return (OK if answer.allowed else "·") + ("" if answer.allowed == answer.expected else " !")


def _cell(x: float, y: float, answer: Answer) -> str:
    differs = answer.allowed != answer.expected
    frame = box(x, y - 1, _CELL - 1, _ROW - 1, BAD_COLOUR) if differs else ""
    area = box(x + 4, y + 2, _CELL - 9, _ROW - 7, GOOD_COLOUR if answer.allowed else QUIET_COLOUR)
    sign = words(x + _CELL / 2, y + 16, f"{OK if answer.allowed else BAD}{' !' if differs else ''}", anchor="middle", colour="#fff")
    return f"<g><title>{html.escape(str(answer))}</title>{frame}{area}{sign}</g>"
