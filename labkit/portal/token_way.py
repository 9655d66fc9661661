"""The way of a person's token from Keycloak through the portal to the API server, as a sequence diagram."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.display import text_table
from ..common.drawing import Drawn, arrow, svg, words
from ..config.settings import PortalToken

_WHO = ("browser", "portal", "Keycloak", "API server")
_BROWSER, _PORTAL, _KEYCLOAK, _API = range(4)
_LANE, _ROW, _TOP = 260, 36, 34


@dataclass(frozen=True)
class _Message:
    sender: int
    receiver: int
    text: str


@dataclass(frozen=True)
class TokenWay(Drawn):
    """The messages in their order.

    Attributes:
        kept: Where the portal keeps the person's Keycloak token.
    """

    kept: PortalToken

    @property
    def messages(self) -> tuple[_Message, ...]:
        """Who says what to whom; to oneself means doing it."""
        in_memory = self.kept == "memory"
        keeps = "keeps the access token in memory, under a handle" if in_memory else "writes the access token into the claim tok"
        carried = "Backstage token with that handle" if in_memory else "Backstage token with that claim"
        return (
            _Message(_BROWSER, _PORTAL, "sign me in"),
            _Message(_PORTAL, _BROWSER, "ask Keycloak, as backstage-client"),
            _Message(_BROWSER, _KEYCLOAK, "name and password, into Keycloak's own form"),
            _Message(_KEYCLOAK, _BROWSER, "a code, good once, for the portal"),
            _Message(_BROWSER, _PORTAL, "the code"),
            _Message(_PORTAL, _KEYCLOAK, "the code and the client's secret"),
            _Message(_KEYCLOAK, _PORTAL, "ID, access and refresh token"),
            _Message(_PORTAL, _PORTAL, keeps),
            _Message(_PORTAL, _BROWSER, carried),
            _Message(_BROWSER, _PORTAL, "run this template; Backstage token"),
            _Message(_PORTAL, _PORTAL, "verifies the access token: whose, for whom, until when"),
            _Message(_PORTAL, _API, "create this ConfigMap; access token"),
            _Message(_API, _API, "signature, iss, aud, exp; email and groups; RBAC"),
            _Message(_API, _PORTAL, "201, or 403 with the person's name"),
            _Message(_PORTAL, _BROWSER, "the task's log, and how it ended"),
        )

    def __str__(self) -> str:
        rows = [(str(i), _who(message), message.text) for i, message in enumerate(self.messages, 1)]
        return "\n".join(text_table(("", "who", "what"), rows))

    def picture(self) -> str:
        width, height = _LANE * len(_WHO), _TOP + _ROW * (len(self.messages) + 1)
        parts = [_lane(i, who, height) for i, who in enumerate(_WHO)]
        parts += [_arrow(number, message) for number, message in enumerate(self.messages, 1)]
        return svg("The way of the token", f"arrows between {', '.join(_WHO)}, from above to below", width, height, *parts)


def _who(message: _Message) -> str:
    sender, receiver = _WHO[message.sender], _WHO[message.receiver]
    return sender if sender == receiver else f"{sender} → {receiver}"


def _x(lane: int) -> int:
    return _LANE * lane + _LANE // 2


def _lane(lane: int, who: str, height: int) -> str:
    name = words(_x(lane), 18, who, anchor="middle", weight="bold")
    return f'{name}<line x1="{_x(lane)}" y1="26" x2="{_x(lane)}" y2="{height}" stroke="#8c959f" stroke-dasharray="4 4"/>'


def _arrow(number: int, message: _Message) -> str:
    y, text = _TOP + _ROW * number, f"{number}. {message.text}"
    start, end = _x(message.sender), _x(message.receiver)
    if message.sender == message.receiver:
        # The last lane has no room to its right.
        return words(start - 8, y - 6, text, anchor="end") if message.sender == _API else words(start + 8, y - 6, text)
    return arrow(start, y, end, y) + words((start + end) / 2, y - 6, text, anchor="middle")
