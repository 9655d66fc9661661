"""What one server was asked by another, as one of them measured it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """A request and its answer.

    Attributes:
        what: Method and path; no query, as that may hold codes that are good for a sign-in.
        answer: The status, and what else the server says of its decision.
        began: When, in seconds since 1970 by this machine's clock.
        seconds: How long until the answer was complete.
        source: Where the times come from.
    """

    caller: str
    server: str
    what: str
    answer: str
    began: float
    seconds: float
    source: str

    @property
    def ended(self) -> float:
        """When the answer was complete, in seconds since 1970."""
        return self.began + self.seconds
