"""One request on its way through portal, Keycloak and API server, as each of them measured it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ...common.display import Table, Tabular, shown
from ...common.errors import ClusterError, PortalError
from ...common.exchanges import Exchange
from ...lab import Lab
from ...portal.client import PortalSession

_BAR = 24
_EARLY_SECONDS, _LATE_SECONDS = 0.002, 0.02
"""How far what is measured within a request may reach out of it: one log tells whole milliseconds, and writes a moment after the answer."""


@dataclass(frozen=True)
class Timeline(Tabular):
    """What was asked of whom, in the order of its beginning.

    Attributes:
        username: Who signed in.
        rows: The exchanges; those that the browser did not make lie within one that it made.
        outcome: What became of the request.
        unseen: The servers whose own times can't be had here.
    """

    username: str
    rows: tuple[Exchange, ...]
    outcome: str
    unseen: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """From the first question to the last answer."""
        return max(row.ended for row in self.rows) - self._start

    @property
    def _start(self) -> float:
        return min(row.began for row in self.rows)

    def table(self) -> Table:
        """A row per exchange, with a bar from its beginning to its end."""
        columns = ("at ms", "took ms", "when", "who asks whom", "what", "answer")
        rows = tuple(
            (f"{1000 * (row.began - self._start):.0f}", f"{1000 * row.seconds:.0f}", self._bar(row), _who(row), row.what, row.answer)
            for row in self.rows
        )
        title = f"{self.username} signs in to the portal, asks, and signs out: {self.seconds:.2f} s"
        return Table(columns, rows, title, "\n".join([f"outcome: {self.outcome}", *self._notes()]))

    def _bar(self, row: Exchange) -> str:
        scale = _BAR / max(self.seconds, 0.001)
        length = max(1, round(scale * row.seconds))
        before = min(_BAR - length, round(scale * (row.began - self._start)))
        return "▱" * before + "▰" * length + "▱" * (_BAR - before - length)

    def _notes(self) -> list[str]:
        sources = dict.fromkeys(row.source for row in self.rows)
        notes = [f"Times: {'; '.join(sources)}. What a row of the browser's has left is the portal's own work."]
        if self.unseen:
            notes.append(f"Not to be had here: the times of {shown(self.unseen)}, whose logs are not this lab's.")
        return notes


def timeline(lab: Lab, username: str, ask: Callable[[PortalSession], object]) -> Timeline:
    """Sign a user of the workshop in to the portal, have them ask for something, sign them out, and gather what all that took where.

    A refusal is a result. Requests of others who use the same portal at the very same moment would show as well.
    """
    portal = lab.portal.sign_in(username)
    try:
        ask(portal)
        outcome = "granted"
    except (ClusterError, PortalError) as refusal:
        outcome = f"refused: {refusal.what}"
    finally:
        portal.sign_out()
    own, seen_by = portal.exchanges, {"Keycloak": lab.keycloak.exchanges(), "the API server": lab.cluster.provider.exchanges()}
    others = within(own, [each for found in seen_by.values() for each in found])
    rows = tuple(sorted((*own, *others), key=lambda row: (row.began, -row.seconds)))
    return Timeline(username, rows, outcome, tuple(name for name, found in seen_by.items() if not found))


def within(own: Collection[Exchange], others: Collection[Exchange]) -> list[Exchange]:
    """Those exchanges of others that happened while the portal had one of the browser's own to answer."""
    spans = [(each.began - _EARLY_SECONDS, each.ended + _LATE_SECONDS) for each in own if each.server == "portal"]
    theirs = [each for each in others if each.caller in ("portal", "API server")]
    return [each for each in theirs if any(begin <= each.began and each.ended <= end for begin, end in spans)]


def _who(row: Exchange) -> str:
    return f"{'' if row.caller == 'browser' else '  · '}{row.caller} → {row.server}"
