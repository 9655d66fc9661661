"""A rehearsal: seats do the labs by their solutions, as people's JupyterLab would, in a room of its own or at a Hub elsewhere."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil

from ..common.control_groups import memory_available
from ..common.display import progress
from ..common.environment import ask_loopback_directly
from ..common.errors import RoomError
from ..config.settings import Settings
from ..config.state_folder import open_state_folder
from ..course.runner import alone
from .hub import Hub
from .measuring import Measure, end_all
from .report import Machine, Rehearsal, Rehearsed
from .room import Room

_APART_SECONDS, _SPREAD_SECONDS = 5, 60
"""All open JupyterLab at once; people begin their labs one after the other, and within a minute."""

_A_DAY_SECONDS = 24 * 3600
"""JupyterLab of a seat is not used while the labs run there, and is not to be stopped for that."""


def rehearse(count: int, labs: Sequence[str]) -> Rehearsal:
    """Have that many seats do labs, all of them if none is named, in a room of their own, which is gone afterwards.

    After a failure its folder stays to be looked at, until the next rehearsal. Nothing of it runs, whatever happens.

    Raises:
        LabRunFailed: Another rehearsal is at work.
        LabkitError: The room does not start.
    """
    ask_loopback_directly()
    outer = Settings.load()
    folder = outer.state.rehearsal
    with alone(folder):
        end_all(folder)
        shutil.rmtree(folder, ignore_errors=True)
        # Beside a room of people, whose own ports and variables are not meant.
        facts = open_state_folder(folder, environ={}, free_ports=True)
        room = Room.of(outer, folder, facts)
        room.idle_seconds = _A_DAY_SECONDS
        try:
            found = _in_room(room, _names(count), labs)
        finally:
            end_all(folder)
        if found.ok:
            shutil.rmtree(folder)
        return found


def rehearse_elsewhere(hub: Hub, count: int, labs: Sequence[str]) -> Rehearsal:
    """Have that many seats of a Hub elsewhere do labs; the people are made for it, and nobody of them is left, whatever happens.

    Raises:
        RoomError: The Hub does not let the token do so.
    """
    ask_loopback_directly()
    names = _names(count)
    # What one that was killed has left.
    hub.remove(*names)
    try:
        return _rehearse(hub, names, labs, lambda: hub.remove(*names))
    finally:
        hub.remove(*names)


def _names(count: int) -> list[str]:
    return [f"rehearsal-{number + 1}" for number in range(count)]


def _in_room(room: Room, names: Sequence[str], labs: Sequence[str]) -> Rehearsal:
    total, free, folder = psutil.virtual_memory().total, memory_available(), room.settings.folder
    with progress(f"starting a room of {len(names)}"):
        # Only this process uses its seats, so nobody is kept from anything of another's.
        room.up(names, separated=False)
    measure = Measure(folder)
    measure.look()
    empty = measure.most[""]
    psutil.cpu_percent()
    with measure:
        found = _rehearse(room.hub, names, labs, lambda: end_all(folder), measure)
        busy = psutil.cpu_percent() / 100
    seats = [replace(seat, memory=measure.most[seat.name], processor=measure.processor_seconds(seat.name)) for seat in found.seats]
    return replace(found, seats=seats, machine=Machine(busy, total, free, empty, measure.most[""], measure.peak))


def _rehearse(
    hub: Hub, names: Sequence[str], labs: Sequence[str], clear: Callable[[], object], measure: Measure | None = None
) -> Rehearsal:
    """Have people whom the Hub does not know yet do labs; ``clear`` ends all of them when this is interrupted."""
    ended, began = threading.Event(), time.monotonic()
    apart = min(_APART_SECONDS, _SPREAD_SECONDS / len(names))
    # Where the seats are on this machine, one look here sees them all.
    code = f"from labkit.room.measuring import do_labs\ndo_labs({list(labs)!r}, measured={measure is None})"

    def since() -> float:
        return round(time.monotonic() - began, 1)

    def do(number: int, name: str) -> Rehearsed:
        found = Rehearsed(name, 0)
        try:
            hub.start(name)
            found = replace(found, seconds=since())
            ended.wait(number * apart)
            for line in hub.execute(name, code):
                said = json.loads(line)
                drivers = said.pop("drivers", ())
                if measure:
                    measure.drivers |= set(drivers)
                found = replace(found, **said, ended=since())
        except RoomError as error:
            found = replace(found, failure=str(error), ended=since())
        return found

    with ThreadPoolExecutor(len(names)) as pool, progress(f"{len(names)} seats do their labs"):
        try:
            seats = list(pool.map(do, range(len(names)), names))
        except BaseException:
            ended.set()
            clear()
            raise
    return Rehearsal(since(), seats)
