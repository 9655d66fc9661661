"""The API server's audit log (kubernetes.io, *Auditing*): who asked for what, when, and what was decided; never what was in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ..common.exchanges import Exchange

_MEGABYTES = 5
_CALLERS = {"kubectl": "kubectl", "OpenAPI-Generator": "labkit"}
"""By what their programs call themselves; the portal passes on what its caller does, or says nothing."""


class Audit:
    """The audit log of an API server that runs as a process of the lab's.

    Args:
        logs: The folder with the servers' logs.
        policy: The file that says what is logged.

    Attributes:
        policy: That file; it is read at a start only.
    """

    def __init__(self, logs: Path, policy: Path) -> None:
        self.policy, self._log = policy, logs / "kube-apiserver-audit.log"

    def flags(self) -> tuple[str, ...]:
        """What has the API server keep the log."""
        return (
            f"--audit-policy-file={self.policy}",
            f"--audit-log-path={self._log}",
            f"--audit-log-maxsize={_MEGABYTES}",
            "--audit-log-maxbackup=1",
        )

    def exchanges(self) -> list[Exchange]:
        """The requests of people, in the order of their answers."""
        return list(self._read()) if self._log.exists() else []

    def _read(self) -> Iterator[Exchange]:
        for line in self._log.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                # Being written just now.
                continue
            # A watch is told of twice: when it begins and when it ends.
            if event["stage"] != "ResponseComplete" or not _is_a_persons(event["user"]):
                continue
            began, ended = (datetime.fromisoformat(event[name]).timestamp() for name in ("requestReceivedTimestamp", "stageTimestamp"))
            what = f"{event['verb']} {event['requestURI'].partition('?')[0]}"
            reason = event.get("annotations", {}).get("authorization.k8s.io/reason", "").removeprefix("RBAC: ")
            name, status = event["user"].get("username", "nobody"), event.get("responseStatus", {}).get("code", "")
            answer = f"{status} for {name}{f', {reason}' if reason else ''}"
            agent = event.get("userAgent", "")
            caller = next((who for name, who in _CALLERS.items() if agent.startswith(name)), "portal")
            yield Exchange(caller, "API server", what, answer, began, ended - began, "the API server's audit log")


def _is_a_persons(user: dict[str, Any]) -> bool:
    """Whether a request is of somebody by their own token: the lab's components come by certificate or as a service account."""
    credential = user.get("extra", {}).get("authentication.kubernetes.io/credential-id", [""])[0]
    return not credential.startswith("X509SHA256=") and not user.get("username", "").startswith("system:serviceaccount:")
