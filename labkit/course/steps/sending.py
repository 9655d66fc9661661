"""What a seat of a room sends to the instructor's view: the whole of what is kept of its progress, each time anew.

So nothing is lost with a process that ends, and what could not be sent goes with the next change or the next heartbeat.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_HEARTBEAT_SECONDS, _PATIENCE_SECONDS = 60, 5
_order = threading.Lock()
_heart = threading.Thread()


def in_a_room() -> bool:
    """Whether there is a view to send to."""
    return bool(os.environ.get("LABKIT_ROOM_VIEW") and os.environ.get("JUPYTERHUB_API_TOKEN"))


def send(read: Callable[[], Mapping[str, object]]) -> threading.Thread | None:
    """Send what ``read`` gives, in a thread: nobody waits for it, and nobody fails with it."""
    if not in_a_room():
        return None
    thread = threading.Thread(target=_post, args=(read,))
    thread.start()
    return thread


def keep_sending(read: Callable[[], Mapping[str, object]]) -> None:
    """Send what ``read`` gives once a minute, as long as this process lives."""
    global _heart  # noqa: PLW0603 - one for each process

    def beat() -> None:
        while True:
            time.sleep(_HEARTBEAT_SECONDS)
            _post(read)

    if in_a_room() and not _heart.is_alive():
        _heart = threading.Thread(target=beat, daemon=True)
        _heart.start()


def _post(read: Callable[[], Mapping[str, object]]) -> None:
    from requests import RequestException

    from ...common.http_session import request

    # The room's Keycloak is reached through the same server of the Hub's.
    url, token, ca = (os.environ.get(name, "") for name in ("LABKIT_ROOM_VIEW", "JUPYTERHUB_API_TOKEN", "LABKIT_KEYCLOAK_CA"))
    with _order, suppress(RequestException, OSError):
        headers = {"Authorization": f"token {token}"}
        request(
            "POST",
            f"{url}seat",
            ca=Path(ca) if ca else None,
            headers=headers,
            json=read(),
            timeout=_PATIENCE_SECONDS,
            allow_redirects=False,
        )
