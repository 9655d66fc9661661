"""Keycloak's access log: who asked for what, when, and how long it took to answer."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from ..common.exchanges import Exchange

OPTIONS = (
    "--http-access-log-enabled=true",
    # A file of its own, since the last lines of Keycloak's log are what an error shows.
    "--http-access-log-file-enabled=true",
    # %R is the path without its query, which holds codes.
    "--http-access-log-pattern=%{time,yyyy-MM-dd'T'HH:mm:ss.SSSZ} %D %m %R %s %{i,User-Agent}",
)
"""Options of ``kc.sh start``."""

ENVIRONMENT = {"QUARKUS_HTTP_RECORD_REQUEST_START_TIME": "true"}
"""Without it the log has no durations (%D)."""

_FILE = Path("log/keycloak-http-access.log")
_LINE = re.compile(r"(?P<ended>\S+) (?P<ms>\d+) (?P<method>[A-Z]+) (?P<path>/realms/\S+) (?P<status>\d+) (?P<agent>.*)")
_CALLERS = {"openid-client": "portal", "node": "portal", "jose": "portal", "Go-http-client": "API server"}


def exchanges(data: Path) -> list[Exchange]:
    """What the portal and the API server have asked, in the order of the answers.

    Args:
        data: Keycloak's data folder.
    """
    try:
        lines = (data / _FILE).read_text().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in filter(None, map(_LINE.fullmatch, lines)):
        caller = next((who for agent, who in _CALLERS.items() if line["agent"].startswith(agent)), "")
        if caller:
            seconds = int(line["ms"]) / 1000
            began = datetime.strptime(line["ended"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp() - seconds
            what = f"{line['method']} {line['path']}"
            found.append(Exchange(caller, "Keycloak", what, line["status"], began, seconds, "Keycloak's access log"))
    return found
