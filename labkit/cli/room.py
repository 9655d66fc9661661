"""The verb about a room full of people."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.display import BAD, OK
from ..common.errors import RoomError
from .command import JSON, argument, flag, no_such, show, verb, working
from .labs import named

if TYPE_CHECKING:
    from ..room.hub import Hub
    from ..room.pods import PodRoom
    from ..room.room import Room

_NEXT = """\
{ok} up at {url}
  people and their one-time passwords   {passwords}
  the same as cards to print            {cards}
  how far each seat is                  {url}/services/view/, or labkit room view
  what people's browsers have to trust  {trust}
  end it                                labkit room down"""


_ELSEWHERE = ("view", "deadline", "rehearse")
_PEOPLE = ("add", "remove")


@verb(
    argument("action", choices=("up", "down", "status", "add", "remove", "deadline", "view", "rehearse")),
    argument(
        "names",
        nargs="*",
        metavar="N|NAME|TIME",
        help="up and add: people, or how many (learner-1 and so on); remove: who leaves; deadline: when the room ends, such as 16:30; "
        "rehearse: how many seats, and which labs (all if left out)",
    ),
    argument(
        "--address", default="", help="up: this machine's name or number for people on other machines; without, nobody else reaches it"
    ),
    argument(
        "--certificate",
        default="",
        metavar="FILE",
        help="up: a certificate for that address (PEM, followed by those that vouch for it), in place of one of the room's own authority",
    ),
    argument("--key", default="", metavar="FILE", help="up: the certificate's key"),
    argument("--hub", default="", metavar="URL", help="view, deadline, rehearse: the address of a JupyterHub elsewhere; with --token-file"),
    argument("--token-file", default="", metavar="FILE", help="the file that holds the token of a service of that Hub's"),
    flag("--seats-are-not-separated", "up: all seats run as you, so whoever has one can read and change the others; for colleagues"),
    JSON,
)
def room(args: Namespace) -> int:
    """Run a room: JupyterHub for several people, each with labs of their own. up is safe to repeat, and mends what has ended."""
    from ..room.limits import lacking
    from ..room.pods import PodRoom
    from ..room.room import Room
    from ..servers.certificates import Pair

    # A Hub's pod has the people alone; the cluster has all else.
    in_pod = "LABKIT_ROOM_URL" in os.environ and not args.hub
    if in_pod and args.action not in _PEOPLE:
        no_such("action in a cluster's Hub", args.action, _PEOPLE)
    if args.action in _ELSEWHERE:
        return _elsewhere(args)
    if args.hub:
        no_such("action for a Hub elsewhere", args.action, _ELSEWHERE)
    names = [f"learner-{i + 1}" for text in args.names[:1] if text.isdecimal() for i in range(int(text))] or args.names
    if args.action in _PEOPLE:
        where = PodRoom() if in_pod else Room.open()
        (_add if args.action == "add" else _remove)(names, where)
        return 0
    if bool(args.certificate) != bool(args.key):
        raise RoomError("certificate-without-key")
    given = Pair(Path(args.certificate).absolute(), Path(args.key).absolute()) if args.key else None
    opened = Room.open(args.address, given, to_look=args.action in ("status", "down"))
    if args.action == "up":
        opened.up(names, separated=not args.seats_are_not_separated)
        people = opened.people
        if not args.seats_are_not_separated and (lack := lacking()):
            print(f"! {RoomError(lack)}")
        print(
            opened.status(),
            _NEXT.format(ok=OK, url=opened.url, passwords=people.passwords, cards=people.cards, trust=_trust(opened)),
            sep="\n",
        )
    elif args.action == "down":
        print(f"{OK} stopped {', '.join(opened.down()) or 'nothing: no room was running'}")
    else:
        status = opened.status()
        trust = f"people come to {opened.url}, and their browsers have to trust {_trust(opened)}" if status.is_up else ""
        show(args, f"{status}\n{trust}", {"home": str(status.folder), "url": opened.url, **asdict(status)})
        return 0 if status.is_up else 3
    return 0


def _add(names: list[str], where: Room | PodRoom) -> None:
    print(f"{OK} added {', '.join(where.add(names)) or 'nobody new'}; their passwords: {where.people.passwords}")


def _remove(names: list[str], where: Room | PodRoom) -> None:
    there = where.people.names()
    for name in names if set(names) <= set(there) else no_such("person", ", ".join(names), there):
        print(f"{OK} {name} can't sign in any more; what was theirs stays: {where.remove(name)}")


def _elsewhere(args: Namespace) -> int:
    """What can be done for a Hub elsewhere too."""
    from ..room.deadline import next_time
    from ..room.hub import Hub
    from ..room.room import Room

    hub = Hub.elsewhere(args.hub, args.token_file) if args.hub else None
    if args.action == "rehearse":
        return _rehearse(args, hub)
    if args.action == "deadline":
        ends = next_time(" ".join(args.names), datetime.now())
        (hub or Room.open()).end_at(ends)
        print(f"{OK} the room ends at {ends:%A %H:%M}; what people did stays")
    else:
        show(args, found := (hub or Room.open(to_look=True)).board(), found.value())
    return 0


def _trust(opened: Room) -> str:
    if opened.given:
        return f"who vouches for {opened.given.certificate}: a public authority they do trust"
    return f"{opened.ca} (give them this file, to import as an authority for websites)"


def _rehearse(args: Namespace, hub: Hub | None) -> int:
    from ..room.rehearsal import rehearse, rehearse_elsewhere

    count, *labs = args.names or [""]
    if not count.isdecimal() or not int(count):
        print(f"{BAD} say how many seats, such as labkit room rehearse 8", file=sys.stderr)
        return 2
    chosen = [named(lab).name for lab in labs]
    with working(args, f"rehearsing with {count} seats"):
        found = rehearse_elsewhere(hub, int(count), chosen) if hub else rehearse(int(count), chosen)
    show(args, found, found.value())
    return 0 if found.ok else 1
