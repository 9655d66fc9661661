"""A template's task: what it says while it runs, and how it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..common.display import Displayed
from ..common.errors import LabkitError, TaskFailed
from .refusals import the_clusters

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class TaskResult(Displayed):
    """A task that came to a good end.

    Attributes:
        task: Its id.
        template: The template's reference.
        log: What it said, a line each.
        output: What the template puts out, such as ``resourceId``.
    """

    task: str
    template: str
    log: tuple[str, ...]
    output: Mapping[str, Any]

    def __str__(self) -> str:
        made = self.output.get("resourceId")
        return f"{self.template} is done{f': {made}' if made else ''}"


def follow(lines: Iterable[str], task: str, template: str, say: Callable[[str], None]) -> TaskResult:
    """Read a task's stream of events to its end.

    Args:
        lines: Its lines (server-sent events, as HTML's standard has them).
        task: The task's id.
        template: The template's reference.
        say: Told each line of the task's log.

    Raises:
        Forbidden: The API server forbade what the task tried.
        TaskFailed: It failed otherwise, or the stream broke off.
    """
    log: list[str] = []
    for event in events(lines):
        body = event["body"]
        message = _without_stack(_COLOUR.sub("", str(body.get("message", ""))))
        if event["type"] != "completion":
            log.append(message)
            say(message)
        elif body.get("error"):
            raise failure(template, body["error"], tuple(log))
        else:
            return TaskResult(task, template, tuple(log), body.get("output") or {})
    msg = f"the portal fell silent before {template} was done"
    raise TaskFailed(msg, tuple(log), fix="look whether it still runs: labkit status; then see what was made, and run the template again")


def events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The events' data, each a JSON object with ``type`` and ``body``; what else the stream holds is passed over."""
    for line in lines:
        if line.startswith("data:"):
            yield dict(json.loads(line.removeprefix("data:")))


def _without_stack(message: str) -> str:
    return "\n".join(line for line in message.rstrip().splitlines() if not line.startswith("    at "))


def failure(template: str, error: Mapping[str, Any], log: tuple[str, ...]) -> LabkitError:
    """The error for a failed task: the API server's 403 as such, everything else with the task's own words."""
    message = str(error.get("message", ""))
    if refusal := the_clusters(message):
        return refusal
    return TaskFailed(
        f"{template} failed", log, why=message or str(error.get("name", "")), fix="mend what it names, and run the template again"
    )
