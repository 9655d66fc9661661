"""Who can do what, as the API server says, held against what the workshop expects."""

from __future__ import annotations

import html
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..display import BAD, OK, Displayed, text_table
from ..errors import CheckFailed
from ..workshop import Access
from .api import Api, Identity

NAMESPACE = "default"
"""Where the questions about namespaced resources are asked."""

_PARALLEL = 8
_CELL = 54
_ROW = 26


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
class AccessMatrix(Displayed):
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
            why = "\n".join(str(answer) for answer in self.differences[:12])
            raise CheckFailed(msg, why=why, fix="apply the RBAC objects again (lab 03-rbac), or correct access.expected in workshop.yaml")
        return self

    def __str__(self) -> str:
        lines = []
        for user, identity in self.identities.items():
            rows = [[resource, *map(_symbol, answers)] for resource, answers in self._rows(user).items()]
            lines += [f"{user} is {identity}", *text_table(("", *self._verbs()), rows), ""]
        good = len(self.answers) - len(self.differences)
        lines.append(f"{OK} allowed  · refused  ! not as expected   {good} of {len(self.answers)} answers as expected")
        return "\n".join(lines)

    def html(self) -> str:
        verbs = self._verbs()
        width = 330 + _CELL * len(verbs)
        parts, y = [], 0
        for user, identity in self.identities.items():
            parts.append(f'<text x="4" y="{y + 18}" font-weight="bold">{html.escape(f"{user} is {identity}")}</text>')
            y += _ROW
            parts += [_svg_text(330 + _CELL * i + _CELL / 2, y + 16, verb) for i, verb in enumerate(verbs)]
            for resource, answers in self._rows(user).items():
                y += _ROW
                parts.append(f'<text x="4" y="{y + 17}">{html.escape(resource)}</text>')
                parts += [_svg_cell(330 + _CELL * i, y, answer) for i, answer in enumerate(answers)]
            y += 2 * _ROW
        picture = (
            f'<svg role="img" aria-label="access matrix" viewBox="0 0 {width} {y}" width="{width}" '
            f'font-family="sans-serif" font-size="13" fill="currentColor">{"".join(parts)}</svg>'
        )
        return f"{picture}<details><summary>as text</summary><pre>{html.escape(str(self))}</pre></details>"

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


def _svg_text(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle">{html.escape(text)}</text>'


def _svg_cell(x: int, y: int, answer: Answer) -> str:
    colour = "#1a7f37" if answer.allowed else "#8c959f"
    frame = ' stroke="#cf222e" stroke-width="3"' if answer.allowed != answer.expected else ""
    box = f'<rect x="{x + 2}" y="{y + 1}" width="{_CELL - 4}" height="{_ROW - 3}" rx="4" fill="{colour}"{frame}/>'
    mark = f'<text x="{x + _CELL / 2}" y="{y + 17}" text-anchor="middle" fill="#fff">{OK if answer.allowed else BAD}</text>'
    return f"<g><title>{html.escape(str(answer))}</title>{box}{mark}</g>"
