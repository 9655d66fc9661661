"""``labkit``: the labs' verbs for a terminal and for scripts; each is the call that a notebook makes."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from ..common.display import BAD, ending_with_the_reader, write_plainly_where_needed
from ..common.errors import LabkitError
from ..common.ownership import privately
from . import access, labs, room, servers

VERBS = (
    *(servers.setup, servers.up, servers.down, servers.status),
    *(labs.check, labs.solve, labs.reset, labs.catch_up, labs.agenda, labs.explain, labs.help_me),
    *(servers.doctor, labs.break_, labs.mend, servers.kratix, labs.run, access.trust, labs.lab),
    *(servers.realm, servers.render, servers.kubeconfig, access.credential, access.password),
    *(room.room, servers.completion),
)
"""In the order in which ``labkit --help`` has them."""

_EPILOG = """\
exit codes: 0 all is well; 1 something failed, and the message says what, why and the fix;
2 the command line is wrong; 3 (status) not everything runs; 130 interrupted.

LABKIT_HOME names the folder of the lab that is meant (default: .labkit in the checkout).
"""


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"labkit {version('labkit')}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: The arguments; the process's own when None.

    Returns:
        The exit code, as ``labkit --help`` lists them.
    """
    # CI ends a job with SIGTERM: what was begun is to be tidied up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    write_plainly_where_needed()
    with ending_with_the_reader():
        args = parse(argv)
        try:
            with privately() as args.umask:
                return args.runs(args) or 0
        except LabkitError as error:
            print(f"{BAD} {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"{BAD} interrupted", file=sys.stderr)
            return 130


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line; names may follow options too."""
    made = parser()
    args, more = made.parse_known_args(argv)
    # argparse has taken a list of names as empty when an option is before it, and leaves the names.
    if more and (not hasattr(args, "names") or any(word.startswith("-") for word in more)):
        made.error(f"unrecognized arguments: {' '.join(more)}")
    if more:
        args.names = [*args.names, *more]
    return args


def parser() -> argparse.ArgumentParser:
    """Make what reads the command line."""
    made = argparse.ArgumentParser(
        prog="labkit",
        description="One identity through a platform: Keycloak issues a token, a portal carries it, Kubernetes accepts it, RBAC judges it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action=_Version, nargs=0, help="print labkit's version")
    entered = made.add_subparsers(required=True, metavar="VERB")
    for each in VERBS:
        each.enter(entered)
    return made
