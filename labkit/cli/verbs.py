"""``labkit``: the labs' verbs for a terminal and for scripts; each is the call that a notebook makes."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..browsers import stores
from ..cluster.provider import NOT_OURS
from ..display import OK, write_plainly_where_needed
from ..errors import LabkitError, TrustError
from ..lab import Lab
from ..ownership import privately
from ..settings import own_root
from . import jupyterlab, practice, steps
from .output import Verb, print_json, require_terminal, tell_of_kind, tell_of_neighbours

_EPILOG = """\
exit codes: 0 all is well; 1 something failed, and the message says what, why and the fix;
2 the command line is wrong; 3 (status) not everything runs; 130 interrupted.

LABKIT_HOME names the folder of the lab that is meant (default: .labkit in the checkout).
"""

_TRUST = """\
The portal sends your browser to Keycloak at {url}, and the browser warns: it does not know who vouches for that address.
That is this lab's own certificate authority, made on your machine:
  {authority}

You can
  go on in spite of the warning   for this one page (Advanced, then Proceed); the name in the address bar must be localhost
  labkit trust --add              have Chromium and Firefox on this machine trust the authority; labkit trust --remove undoes it
  import the file by hand         in the browser's settings, under Certificates, Authorities: the way for any other browser. On macOS
                                  browsers use the keychain: security add-trusted-cert -k ~/Library/Keychains/login.keychain-db FILE,
                                  undone by security remove-trusted-cert FILE

The authority can vouch for localhost and loopback addresses alone, so with its key nobody could pose as any other site to you; and the
key never leaves the lab's folder. The system's own store (for curl and the like) needs no change: whatever labkit runs is told.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: The arguments; the process's own when None.

    Returns:
        The exit code, as ``labkit --help`` lists them.
    """
    write_plainly_where_needed()
    args = _parser().parse_args(argv)
    try:
        with privately() as args.umask:
            return int(args.verb(args))
    except LabkitError as error:
        print(f"✘ {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("✘ interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="labkit",
        description="One identity through a platform: Keycloak issues a token, a portal carries it, Kubernetes accepts it, RBAC judges it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, function: Verb, text: str, more: str = "", *, as_json: bool = False) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}".strip())
        added.set_defaults(verb=function)
        if as_json:
            added.add_argument("--json", action="store_true", help="print the result as JSON")
        return added

    added = verb("setup", _setup, "find, fetch or build the programs", "Takes minutes the first time, a second afterwards.", as_json=True)
    added.add_argument(
        "--offline-bundle",
        type=Path,
        metavar="FILE",
        help="for a room without network. If there is no FILE, set-up goes on as usual and then packs the programs into it; if there is "
        "one, made on a machine of this kind by this version, set-up unpacks it first and so fetches nothing. With LABKIT_CLUSTER=kind "
        "the image of KinD's nodes goes along, out of Docker and into it. Python's own packages (.venv) are not in it",
    )
    added.add_argument("--ui", action="store_true", help="build the portal's pages too, for a browser")
    verb("up", _up, "start the servers and do labs 01 to 03", "Keycloak with the realm, the cluster, RBAC, the portal; safe to repeat.")
    verb(
        "down",
        _down,
        "stop this home's servers",
        "Their data stays, a KinD cluster is deleted, and what the labs made in a cluster of somebody else's is removed. "
        "Servers and clusters of other homes are never touched.",
    )
    verb("status", _status, "show this home's servers", "Exit code 0 when all run, 3 when not.", as_json=True)
    steps.add_verbs(verb)
    verb(
        "doctor",
        _doctor,
        "look for what is wrong, and say what mends it",
        "Only reads. Exit code 0 when nothing was found, else 1.",
        as_json=True,
    ).add_argument("--practice", action="store_true", help="look at the practice lab instead of your own")
    practice.add_verbs(verb)
    added = verb(
        "kratix",
        _kratix,
        "run Kratix in the cluster, or stop it",
        "For lab 08; the servers must be up. On a local cluster LABKIT_KRATIX_SOURCE names a checkout of Kratix with its controller built. "
        "status exits with 3 when it does not run.",
    )
    added.add_argument("action", choices=("up", "down", "status"))
    added = verb("run", _run, "run the labs headless", "In an empty home of their own; results go to build/labs/.", as_json=True)
    added.add_argument("labs", nargs="*", metavar="LAB", help="labs such as 01-keycloak, in the workshop's order; all if left out")
    added = verb(
        "trust",
        _trust,
        "have your browsers trust this lab's certificates",
        "Without an option it says what that means and changes nothing.",
    )
    way = added.add_mutually_exclusive_group()
    way.add_argument("--add", action="store_true", help="put the lab's certificate authority into the stores of Chromium and Firefox")
    way.add_argument("--remove", action="store_true", help="take it out again")
    jupyterlab.add_verbs(verb)
    added = verb(
        "realm", _realm, "plan, apply or write down the realm", "apply is what lab 01 does; terraform prints the same as a keycloak.tf."
    )
    added.add_argument("action", choices=("plan", "apply", "terraform"))
    added = verb("render", _render, "write the labs' configuration as files", "For doing by hand, or elsewhere, what the labs do by calls.")
    added.add_argument("folder", type=Path, metavar="DIR", help="where to; only what an earlier call wrote there is replaced")
    added = verb("kubeconfig", _kubeconfig, "name the lab's kubeconfig", 'For a terminal: export KUBECONFIG="$(labkit kubeconfig)"')
    added.add_argument("--merge", action="store_true", help="copy its contexts into ~/.kube/config, whose own entries stay")
    added = verb(
        "credential", _credential, "print a user's ExecCredential", "For kubectl, which runs this as an exec plugin; it holds a token."
    )
    added.add_argument("user", metavar="USER", help="a user of the workshop, such as user-dev")
    added = verb(
        "password",
        _password,
        "show a user's password, for signing in by browser",
        "To a terminal only: never into a notebook, a file or a pipe, where it would be kept.",
    )
    added.add_argument("user", metavar="USER", help="a user of the workshop, such as user-admin")
    return parser


def _setup(args: argparse.Namespace) -> int:
    lab = Lab.open()
    if not args.json:
        lab.setup(args.offline_bundle, ui=args.ui)
        print(lab.toolchain.status())
        return 0
    # What the work says of itself goes where it doesn't mix with the result.
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        lab.setup(args.offline_bundle, ui=args.ui)
    finally:
        sys.stdout = out
    print_json(lab.toolchain.status().records())
    return 0


def _up(_: argparse.Namespace) -> int:
    lab = Lab.open()
    new = lab.settings.cluster == "local" and not (lab.settings.home / "etcd").exists()
    lab.up()
    print(lab.status())
    tell_of_neighbours(lab)
    if new:
        tell_of_kind()
    print(f'\n{OK} up. A terminal of yours uses it with: export KUBECONFIG="{lab.cluster.kubeconfig.path}"')
    return 0


def _down(_: argparse.Namespace) -> int:
    lab = Lab.open()
    stopped = lab.down()
    print(f"{OK} stopped {', '.join(stopped)}" if stopped else f"{OK} nothing of {lab.settings.home} was running")
    return 0


def _status(args: argparse.Namespace) -> int:
    lab = Lab.open()
    table = lab.status()
    if args.json:
        print_json({"home": str(lab.settings.home), "servers": table.records()})
    else:
        print(table)
    return 0 if all(row[1] in ("runs", "hosted", NOT_OURS) for row in table.rows) else 3


def _doctor(args: argparse.Namespace) -> int:
    from ..doctor import diagnose
    from ..practice import Practice

    lab = Lab.open()
    diagnosis = Practice(lab).doctor() if args.practice else diagnose(lab)
    if args.json:
        print_json(asdict(diagnosis))
    else:
        print(diagnosis)
    return 1 if diagnosis.found else 0


def _kratix(args: argparse.Namespace) -> int:
    kratix = Lab.open().kratix
    if args.action == "up":
        kratix.start()
    elif args.action == "down":
        print(f"{OK} stopped Kratix" if kratix.stop() else f"{OK} Kratix was not running")
        return 0
    print(kratix.status())
    return 0 if kratix.is_running() else 3


def _run(args: argparse.Namespace) -> int:
    from ..runner import run
    from ..steps import LABS

    unknown = set(args.labs) - {info.name for info in LABS}
    if unknown:
        print(f"✘ no such lab: {', '.join(sorted(unknown))}; there are: {', '.join(info.name for info in LABS)}", file=sys.stderr)
        return 2
    # CI ends a job with SIGTERM; that is to stop the servers as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    output = own_root() / "build" / "labs"
    result = run(args.labs, output)
    if args.json:
        print_json(asdict(result))
    else:
        page = output / "index.html"
        shown = page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page
        print(f"{result.headline()}; look through them: {shown}")
    return 0


def _trust(args: argparse.Namespace) -> int:
    lab = Lab.open()
    name, authority = f"labkit lab CA {lab.settings.home_id[:8]}", lab.keycloak.ca
    if lab.settings.hosted and not args.remove:
        msg = f"the certificate of {lab.keycloak.url} is not this lab's to vouch for"
        why = "that Keycloak is a hosted one, and the authority behind it could vouch for any other site as well"
        raise TrustError(msg, why=why, fix="ask those who run it, if your browser warns of it")
    for store in stores(Path.home()):
        if args.add:
            store.add(name, authority)
            print(f"{OK} {store.browser} now trusts {name}; restart it if it runs")
        elif args.remove:
            print(f"{OK} {store.browser} {'no longer trusts' if store.remove(name) else 'did not know'} {name}")
    if not args.add and not args.remove:
        print(_TRUST.format(url=lab.keycloak.url, authority=authority))
    return 0


def _realm(args: argparse.Namespace) -> int:
    lab = Lab.open()
    if args.action == "terraform":
        print(lab.terraform())
        return 0
    if args.action == "apply":
        print(lab.keycloak.start(), lab.realm.apply(), sep="\n\n")
    else:
        print(*lab.keycloak.findings(), sep="\n", end="\n\n")
        print(lab.realm.plan())
    return 0


def _render(args: argparse.Namespace) -> int:
    from ..render import render

    print(render(Lab.open(), args.folder))
    return 0


def _kubeconfig(args: argparse.Namespace) -> int:
    kubeconfig = Lab.open().cluster.kubeconfig
    if not kubeconfig.path.exists():
        print("✘ the lab has no kubeconfig yet\n  fix: labkit up", file=sys.stderr)
        return 1
    if args.merge:
        target = Path("~/.kube/config").expanduser()
        print(f"{OK} {target} now has the contexts {', '.join(kubeconfig.merge_into(target))}; its current context is as it was")
    else:
        print(kubeconfig.path)
    return 0


def _credential(args: argparse.Namespace) -> int:
    print(Lab.open().credential(args.user))
    return 0


def _password(args: argparse.Namespace) -> int:
    user = Lab.open().workshop.user(args.user)
    require_terminal()
    print(user.password.get_secret_value())
    return 0
