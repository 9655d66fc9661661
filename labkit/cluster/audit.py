"""The API server's audit log (kubernetes.io, *Auditing*): who asked for what, when, and what was decided; never what was in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ..exchanges import Exchange
from ..settings import write_private

_MEGABYTES = 5
_CALLERS = {"kubectl": "kubectl", "OpenAPI-Generator": "labkit"}
"""By what their programs call themselves; the portal passes on what its caller does, or says nothing."""

_ACCOUNTS = ("generic-garbage-collector", "namespace-controller", "resourcequota-controller")
_BUSY = (
    *("system:anonymous", "system:apiserver", "system:kube-controller-manager"),
    *(f"system:serviceaccount:kube-system:{account}" for account in _ACCOUNTS),
)
"""The control plane's own users whose requests would bury the people's.

By name: a token may claim to be in any group, while a trust by a file takes nobody whose name begins with ``system:``.
"""

_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "users": _BUSY}, {"level": "Metadata"}],
}


class Audit:
    """The audit log of an API server that runs as a process of the home's.

    Args:
        home: The home.

    Attributes:
        policy: The file that says what is logged; it is read at a start only.
    """

    def __init__(self, home: Path) -> None:
        self.policy, self._log = home / "audit-policy.json", home / "logs" / "kube-apiserver-audit.log"

    def flags(self) -> tuple[str, ...]:
        """What has the API server keep the log; writes the policy file that they name."""
        write_private(self.policy, json.dumps(_POLICY, indent=1) + "\n")
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
