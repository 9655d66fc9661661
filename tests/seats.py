"""What the servers of a room's seats take, beside those of a lab of one's own: ``make seats``, some minutes on real servers.

Memory is what a process has for itself and its share of what several have together (PSS), so it can be added up.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from labkit.common.environment import ask_loopback_directly
from labkit.config.files import write_private
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.lab import Lab
from labkit.room.seats import prepare_seat, seat_environment
from tests.support import session_of

FOLDER = Path(__file__).parents[1] / "build" / "seats"
SERVERS = ("keycloak", "etcd", "kube-apiserver", "kube-controller-manager")


def seat_in(room: Lab, folder: Path, name: str) -> Lab:
    """A seat in a room whose Keycloak is that of a lab; all that is the seat's is in the folder."""
    keycloak, secret = room.keycloak, folder / "secret"
    write_private(secret, prepare_seat(keycloak, name))
    variables = seat_environment(name, folder, keycloak=keycloak.url, portal="", ca=keycloak.ca, secret=secret, cache=room.settings.cache)
    open_state_folder(Path(variables["LABKIT_HOME"]), environ={}, free_ports=True)
    return Lab(Settings.open(variables))


def main(count: int) -> None:
    """Print the table for a room of that many seats."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    ask_loopback_directly()
    open_state_folder(FOLDER / "room", environ={}, free_ports=True)
    with ExitStack() as stack:
        room = Lab(Settings.open({"LABKIT_HOME": str(FOLDER / "room"), "LABKIT_CLUSTER": "local", "LABKIT_KEYCLOAK": "local"}))
        stack.callback(room.down)
        room.up()
        alone = taken(room)
        room.portal.stop()
        room.cluster.provider.stop()
        seats = [seat_in(room, FOLDER / f"seat-{number}", f"seat-{number}") for number in range(count)]
        for seat in seats:
            stack.callback(seat.down)
            seat.up()
        every = sum(map(taken, (room, *seats)), Counter[str]())
    print(f"\n| MB | a lab of one's own | a seat of {count} |\n| --- | --- | --- |")
    rows = {name: (name,) for name in (*SERVERS, "portal")} | {"until lab 05": SERVERS, "with the portal": (*SERVERS, "portal")}
    for row, names in rows.items():
        print(f"| {row} | {total(alone, names):.0f} | {total(every, names) / count:.0f} |")


def taken(lab: Lab) -> Counter[str]:
    """The memory of each server of a lab that runs, in MB."""
    folder, servers = lab.settings.folder, lab.processes.names()
    return Counter({name: sum(process.memory_full_info().pss for process in session_of(folder, name)) // 10**6 for name in servers})


def total(memory: Mapping[str, int], names: tuple[str, ...]) -> int:
    """That of some servers together."""
    return sum(memory[name] for name in names)


if __name__ == "__main__":
    main(int(sys.argv[1]))
