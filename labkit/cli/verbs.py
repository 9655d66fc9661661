"""``labkit``: the labs' verbs for a terminal and for scripts; each is the call that a notebook makes.

This module is their table and no more. What a verb runs is named as ``module:function`` of this package and imported when it is run,
so that ``labkit --help`` and ``labkit credential`` wait for nothing that they don't use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ..common.display import write_plainly_where_needed
from ..common.errors import LabkitError
from ..common.ownership import privately

_EPILOG = """\
exit codes: 0 all is well; 1 something failed, and the message says what, why and the fix;
2 the command line is wrong; 3 (status) not everything runs; 130 interrupted.

LABKIT_HOME names the folder of the lab that is meant (default: .labkit in the checkout).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: The arguments; the process's own when None.

    Returns:
        The exit code, as ``labkit --help`` lists them.
    """
    write_plainly_where_needed()
    args = parser().parse_args(argv)
    module, function = args.runs.split(":")
    try:
        with privately() as args.umask:
            return int(getattr(import_module(f".{module}", __package__), function)(args))
    except LabkitError as error:
        print(f"✘ {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("✘ interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line; after parsing, what the verb runs is in ``runs``."""
    whole = argparse.ArgumentParser(
        prog="labkit",
        description="One identity through a platform: Keycloak issues a token, a portal carries it, Kubernetes accepts it, RBAC judges it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = whole.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, runs: str, text: str, more: str = "", *, as_json: bool = False) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}".strip())
        added.set_defaults(runs=runs)
        if as_json:
            added.add_argument("--json", action="store_true", help="print the result as JSON")
        return added

    added = verb(
        "setup", "servers:setup", "find, fetch or build the programs", "Takes minutes the first time, a second afterwards.", as_json=True
    )
    added.add_argument(
        "--offline-bundle",
        type=Path,
        metavar="FILE",
        help="for a room without network. If there is no FILE, set-up goes on as usual and then packs the programs into it; if there is "
        "one, made on a machine of this kind by this version, set-up unpacks it first and so fetches nothing. With LABKIT_CLUSTER=kind "
        "the image of KinD's nodes goes along, out of Docker and into it. Python's own packages (.venv) are not in it",
    )
    added.add_argument("--ui", action="store_true", help="build the portal's pages too, for a browser")
    verb(
        "up",
        "servers:up",
        "start the servers and do labs 01 to 03",
        "Keycloak with the realm, the cluster, RBAC, the portal; safe to repeat.",
    )
    verb(
        "down",
        "servers:down",
        "stop this home's servers",
        "Their data stays, a KinD cluster is deleted, and what the labs made in a cluster of somebody else's is removed. "
        "Servers and clusters of other homes are never touched.",
    )
    verb("status", "servers:status", "show this home's servers", "Exit code 0 when all run, 3 when not.", as_json=True)
    added = verb("check", "steps:check", "check what the labs leave behind", "Reads the real servers and changes nothing.", as_json=True)
    added.add_argument(
        "lab",
        nargs="?",
        default="",
        help="a lab such as 01-keycloak or 01, or a step such as realm; if left out all but exercises, the clean-up and what can't be run "
        "here",
    )
    added = verb("solve", "steps:solve", "do a lab or a step for you, and check it", "Exercises too: try them yourself first.")
    added.add_argument("what", metavar="LAB|STEP", help="a lab such as 03-rbac or 03, or a step such as read-configmaps or 01.realm")
    added = verb("reset", "steps:reset", "take away what a lab leaves behind", "What earlier labs left stays; safe to repeat.")
    added.add_argument("lab", metavar="LAB", help="such as 03-rbac or 03")
    added = verb("catch-up", "steps:catch_up", "do all that comes before a lab", "For whoever comes late; exercises are left to you.")
    added.add_argument("lab", metavar="LAB", help="the lab to begin with, such as 03-rbac or 03")
    verb(
        "agenda",
        "steps:agenda",
        "list labs and steps with their minutes",
        "With the seconds that the last labkit run took, if there was one.",
    )
    verb(
        "doctor",
        "servers:doctor",
        "look for what is wrong, and say what mends it",
        "Only reads. Exit code 0 when nothing was found, else 1.",
        as_json=True,
    ).add_argument("--practice", action="store_true", help="look at the practice lab instead of your own")
    added = verb(
        "break",
        "practice:break_",
        "break the practice lab, as lab 07 does",
        "It lies within this home, runs beside your own lab, which is left alone, and is started if need be. One fault at a time.",
    )
    added.add_argument("fault", nargs="?", default="", metavar="NAME", help="a fault; if left out they are listed, with the one that is on")
    verb(
        "mend",
        "practice:mend",
        "mend the fault that is on in the practice lab",
        "The solution: try it yourself first, by what the doctor says.",
    )
    added = verb(
        "kratix",
        "servers:kratix",
        "run Kratix in the cluster, or stop it",
        "For lab 08; the servers must be up. On a local cluster LABKIT_KRATIX_SOURCE names a checkout of Kratix with its controller built. "
        "status exits with 3 when it does not run.",
    )
    added.add_argument("action", choices=("up", "down", "status"))
    added = verb("run", "steps:run", "run the labs headless", "In an empty home of their own; results go to build/labs/.", as_json=True)
    added.add_argument("labs", nargs="*", metavar="LAB", help="labs such as 01-keycloak, in the workshop's order; all if left out")
    added = verb(
        "trust",
        "configuration:trust",
        "have your browsers trust this lab's certificates",
        "Without an option it says what that means and changes nothing.",
    )
    way = added.add_mutually_exclusive_group()
    way.add_argument("--add", action="store_true", help="put the lab's certificate authority into the stores of Chromium and Firefox")
    way.add_argument("--remove", action="store_true", help="take it out again")
    verb("lab", "jupyterlab:lab", "open the labs in JupyterLab", "On a copy in work/, made once and never overwritten.")
    added = verb(
        "realm",
        "configuration:realm",
        "plan, apply or write down the realm",
        "apply is what lab 01 does; terraform prints the same as a keycloak.tf.",
    )
    added.add_argument("action", choices=("plan", "apply", "terraform"))
    added = verb(
        "render",
        "configuration:render",
        "write the labs' configuration as files",
        "For doing by hand, or elsewhere, what the labs do by calls.",
    )
    added.add_argument("folder", type=Path, metavar="DIR", help="where to; only what an earlier call wrote there is replaced")
    added = verb(
        "kubeconfig", "configuration:kubeconfig", "name the lab's kubeconfig", 'For a terminal: export KUBECONFIG="$(labkit kubeconfig)"'
    )
    added.add_argument("--merge", action="store_true", help="copy its contexts into ~/.kube/config, whose own entries stay")
    added = verb(
        "credential",
        "people:credential",
        "print a user's ExecCredential",
        "For kubectl, which runs this as an exec plugin; it holds a token.",
    )
    added.add_argument("user", metavar="USER", help="a user of the workshop, such as user-dev")
    added = verb(
        "password",
        "people:password",
        "show a user's password, for signing in by browser",
        "To a terminal only: never into a notebook, a file or a pipe, where it would be kept.",
    )
    added.add_argument("user", metavar="USER", help="a user of the workshop, such as user-admin")
    return whole
