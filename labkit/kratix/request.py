"""A request for what a Promise offers, and how far Kratix is with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..common.display import Table, Tabular, progress, shown
from ..common.errors import KratixError
from ..common.waiting import wait_until

_WAIT_SECONDS = 60


@dataclass(frozen=True)
class RequestStatus(Tabular):
    """A request as it is now.

    Attributes:
        name: Its kind, namespace and name.
        spec: What was asked for, with the API's defaults filled in.
        seen: Whether Kratix has seen it as it is now.
        version: The version of the Promise that it was taken by; empty where Kratix names none, as of 2024.
        waits_for: What Kratix says that it waits for, a sentence each.
    """

    name: str
    spec: Mapping[str, Any]
    seen: bool
    version: str
    waits_for: tuple[str, ...]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> RequestStatus:
        """From the object as the API server, or the portal, gives it."""
        metadata, status = found["metadata"], found.get("status") or {}
        seen = status.get("observedGeneration") == metadata.get("generation")
        waits_for = tuple(
            f"{condition['type']}: {condition.get('message') or condition.get('reason', '')}"
            for condition in status.get("conditions", ())
            if condition["status"] != "True"
        )
        name = f"{found['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        return cls(name, found.get("spec") or {}, seen, str(status.get("promiseVersion", "")), waits_for)

    @property
    def taken(self) -> bool:
        """Whether Kratix has taken it as it is now, and waits for nothing more."""
        return not self.pending

    @property
    def pending(self) -> str:
        """Why Kratix is not done with it; empty when it is."""
        return "; ".join(self.waits_for) or ("" if self.seen else "Kratix has said nothing of it yet")

    def table(self) -> Table:
        """What was asked for, a row per value, below how far it is."""
        state = (
            f"pending: {self.pending}" if self.pending else f"taken{f' by version {self.version} of its Promise' if self.version else ''}"
        )
        return Table(
            ("asked for", "value"), tuple((name, shown(value)) for name, value in self.spec.items()), title=f"{self.name}, {state}"
        )


def wait_until_taken(read: Callable[[], Mapping[str, Any]], seconds: float = _WAIT_SECONDS) -> RequestStatus:
    """Watch a request until Kratix has taken it, saying what it says meanwhile.

    Args:
        read: Reads the request, as the person who waits.
        seconds: How long.

    Raises:
        KratixError: It is still pending then; the reason is Kratix's own.
    """
    with progress("waiting for Kratix to take the request") as work:

        def taken() -> RequestStatus:
            now = RequestStatus.of(read())
            if now.pending:
                work.update(now.pending)
                msg = f"{now.name} is still pending after {seconds:.0f} s"
                raise KratixError(msg, why=now.pending, fix="see what keeps it: labkit doctor")
            return now

        return wait_until(taken, seconds, passing=lambda error: isinstance(error, KratixError))
