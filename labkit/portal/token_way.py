"""The way of a person's token from Keycloak through the portal to the API server, as a sequence diagram."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.display import text_table
from ..common.drawing import Drawn, arrow, svg, words
from ..config.settings import PortalToken

_WHO = ("browser", "portal", "Keycloak", "API server")
_LANE, _ROW, _TOP = 260, 36, 34
_KEEPING = {
    "memory": ("keeps the access token in memory, under a handle", "Backstage token with that handle"),
    "claim": ("writes the access token into the claim tok", "Backstage token with that claim"),
}


@dataclass(frozen=True)
class TokenWay(Drawn):
    """The messages in their order.

    Attributes:
        kept: Where the portal keeps the person's Keycloak token.
        client_id: The portal's client.
    """

    kept: PortalToken
    client_id: str

    @property
    def messages(self) -> tuple[tuple[str, str], ...]:
        """Who says what to whom, such as ``("browser → portal", "sign me in")``; one name alone does it."""
        keeps, carried = _KEEPING[self.kept]
        return (
            ("browser → portal", "sign me in"),
            ("portal → browser", f"ask Keycloak, as {self.client_id}"),
            ("browser → Keycloak", "name and password, into Keycloak's own form"),
            ("Keycloak → browser", "a code, good once, for the portal"),
            ("browser → portal", "the code"),
            ("portal → Keycloak", "the code and the client's secret"),
            ("Keycloak → portal", "ID, access and refresh token"),
            ("portal", keeps),
            ("portal → browser", carried),
            ("browser → portal", "run this template; Backstage token"),
            ("portal", "verifies the access token: whose, for whom, until when"),
            ("portal → API server", "create this ConfigMap; access token"),
            ("API server", "signature, iss, aud, exp; user name and groups; RBAC"),
            ("API server → portal", "201, or 403 with the person's name"),
            ("portal → browser", "the task's log, and how it ended"),
        )

    def __str__(self) -> str:
        return "\n".join(text_table(("", "who", "what"), [(str(i), *message) for i, message in enumerate(self.messages, 1)]))

    def picture(self) -> str:
        width, height = _LANE * len(_WHO), _TOP + _ROW * (len(self.messages) + 1)
        parts = [_lane(who, height) for who in _WHO]
        parts += [_arrow(number, who, text) for number, (who, text) in enumerate(self.messages, 1)]
        return svg("The way of the token", f"arrows between {', '.join(_WHO)}, from above to below", width, height, *parts)


def _x(who: str) -> int:
    return _LANE * _WHO.index(who) + _LANE // 2


def _lane(who: str, height: int) -> str:
    x, name = _x(who), words(_x(who), 18, who, anchor="middle", weight="bold")
    return f'{name}<line x1="{x}" y1="26" x2="{x}" y2="{height}" stroke="#8c959f" stroke-dasharray="4 4"/>'


def _arrow(number: int, who: str, text: str) -> str:
    y, text = _TOP + _ROW * number, f"{number}. {text}"
    start, *end = (_x(name) for name in who.split(" → "))
    if not end:
        # The last lane has no room to its right.
        return words(start - 8, y - 6, text, anchor="end") if who == _WHO[-1] else words(start + 8, y - 6, text)
    return arrow(start, y, end[0], y) + words((start + end[0]) / 2, y - 6, text, anchor="middle")
