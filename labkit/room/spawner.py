"""How the Hub starts and stops a seat: `labkit lab`, as the seat's own account, on record beside the room's servers."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

from jupyterhub.objects import Server
from jupyterhub.spawner import LocalProcessSpawner

from ..config.files import write_private
from ..servers import _launch
from .seat import LABKIT, Seat

_RECORDS = Path("run")


class SeatSpawner(LocalProcessSpawner):  # type: ignore[misc] # jupyterhub has no types
    """A seat's JupyterLab. It runs on while the Hub does not, and the next Hub knows it by its record."""

    @property
    def seat(self) -> Seat:
        """The seat of this user."""
        return Seat.of(json.loads(Path("hub.json").read_text()), self.user.name)

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """What its process does first; the Hub's name for the user is not the account's."""
        return self.seat.enter()

    def get_env(self) -> dict[str, str]:
        """The seat's variables, and those by which its JupyterLab finds the Hub; nothing else of the Hub's own."""
        of_the_hub = {name: value for name, value in super().get_env().items() if name.startswith("JUPYTERHUB_")}
        return {**self.seat.environment(), **of_the_hub, "JUPYTERHUB_SERVICE_URL": self._address}

    @LocalProcessSpawner.server.getter  # type: ignore[untyped-decorator] # jupyterhub has no types
    def server(self) -> Server | None:
        """Where its JupyterLab is; the Hub itself keeps a host and a port."""
        found: Server | None = LocalProcessSpawner.server.fget(self)
        if found:
            found.connect_url = self._address
        return found

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """No account of the user's own name is asked for."""
        return env

    def get_args(self) -> list[str]:
        """No arguments: `labkit lab` has its own."""
        return []

    async def start(self) -> str:
        """Start it, and write down which process it is."""
        self.cmd = [*LABKIT, "lab"]
        await super().start()
        facts = {"name": self._record.stem, "fingerprint": "", **_launch.marks(self.pid)}
        write_private(self._record, json.dumps(facts))
        return self._address

    async def poll(self) -> int | None:
        """None while it runs; a process that has its number by now is not it."""
        if self.proc is None and not (self._record.exists() and _launch.is_same_process(json.loads(self._record.read_text()))):
            self.clear_state()
            return 0
        status: int | None = await super().poll()
        return status

    async def stop(self, now: bool = False) -> None:
        """Stop the lab's servers, then JupyterLab; what the learner did stays."""
        await asyncio.to_thread(self.seat.down)
        await super().stop(now)
        await asyncio.to_thread(self.seat.end)
        self._record.unlink(missing_ok=True)

    @property
    def _address(self) -> str:
        # From here, as the path of a socket may have 100 characters; all of them escaped, as a host's capitals would get lost.
        path = os.path.relpath(self.seat.folder / "jupyter.sock")
        return "http+unix://" + "".join(f"%{byte:02x}" for byte in path.encode())

    @property
    def _record(self) -> Path:
        return _RECORDS / f"seat-{self.user.name}.json"
