"""The verbs about programs, servers and configuration files."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.display import OK
from ..common.errors import LabkitError, SettingsError, WorkshopError
from .command import JSON, argument, flag, open_lab, show, verb, working

if TYPE_CHECKING:
    from ..lab import Lab

_NEIGHBOURS = """
! other people's processes run on this machine: {people} (by their accounts' numbers and login shells).
  This lab's passwords are the published ones: whoever has an account here can be anybody in its realm, its cluster and its portal.
  For passwords that only you know: LABKIT_SECRETS=own labkit up"""

_KIND = """
Docker answers here, so KinD is one word away: labkit down, then LABKIT_CLUSTER=kind labkit up; lab 02 says what is different there"""


@verb(
    argument(
        "--offline-bundle",
        type=Path,
        metavar="FILE",
        help="for a room without network. If there is no FILE, set-up goes on as usual and then packs the programs into it; if there is "
        "one, made on a machine of this kind by this version, set-up unpacks it first and so fetches nothing. With LABKIT_CLUSTER=kind "
        "the image of KinD's nodes goes along, out of Docker and into it. Python's packages are in it too: where there is no .venv yet, "
        "make setup BUNDLE=FILE takes them and the programs",
    ),
    flag("--ui", "build the portal's pages too, for a browser"),
    JSON,
)
def setup(args: Namespace) -> None:
    """Find, fetch or build the programs. Takes minutes the first time, a second afterwards."""
    lab = open_lab()
    # What the work says of itself doesn't mix with a result for a script.
    with redirect_stdout(sys.stderr if args.json else sys.stdout):
        lab.setup(args.offline_bundle, ui=args.ui)
    programs = lab.toolchain.status()
    show(args, programs, programs.records())


@verb()
def up(_: Namespace) -> None:
    """Start the servers and do labs 01 to 03. Keycloak with the realm, the cluster, RBAC, the portal; safe to repeat."""
    from ..cluster.kind.checks import docker_answers

    lab = open_lab()
    new = lab.settings.cluster == "local" and not lab.settings.state.etcd.exists()
    lab.up()
    lab.cluster.enter_everybody()
    print(lab.status())
    tell_of_neighbours(lab)
    if new and docker_answers():
        print(_KIND)
    print(f'\n{OK} up. A terminal of yours uses it with: export KUBECONFIG="{lab.cluster.kubeconfig.path}"')


@verb()
def down(_: Namespace) -> None:
    """Stop this lab's servers.

    Their data stays, a KinD cluster is deleted, and what the labs made in a cluster of somebody else's is removed.
    Servers and clusters of other state folders are never touched.
    """
    try:
        lab = open_lab(to_look=True)
        # Without an id its facts may have been removed while it ran.
        stopped = lab.down() if lab.settings.folder_id else _stop_on_record()
    except (SettingsError, WorkshopError):
        print(f"{OK} stopped {', '.join(_stop_on_record()) or 'nothing'} by the records of processes", flush=True)
        raise
    print(f"{OK} stopped {', '.join(stopped)}" if stopped else f"{OK} nothing of {lab.settings.folder} was running", flush=True)
    lab.processes.require_records()


@verb(JSON)
def status(args: Namespace) -> int:
    """Show this lab's servers. Exit code 0 when all run, 3 when not."""
    with working(args, "asking each server"):
        found = open_lab(to_look=True).status()
    show(args, found, {"home": str(found.folder), "servers": found.table().records()})
    return 0 if found.is_up else 3


@verb(flag("--practice", "look at the practice lab instead of your own"), JSON)
def doctor(args: Namespace) -> int:
    """Look for what is wrong, and say what mends it. Only reads. Exit code 0 when nothing was found, else 1."""
    from ..course.practice import Practice
    from ..course.steps.progress import note_doctor
    from ..doctor import diagnose

    lab = open_lab(to_look=True)
    with working(args, "looking at everything, some seconds"):
        diagnosis = Practice(lab).doctor() if args.practice else diagnose(lab)
    if not args.practice:
        note_doctor(lab, diagnosis.names)
    show(args, diagnosis, asdict(diagnosis))
    return 1 if diagnosis.found else 0


@verb(argument("action", choices=("up", "down", "status")))
def kratix(args: Namespace) -> int:
    """Run Kratix in the cluster, or stop it.

    For lab 08; the servers must be up. On a local cluster LABKIT_KRATIX_SOURCE names a checkout of Kratix with its controller built.
    status exits with 3 when it does not run.
    """
    kratix = open_lab(to_look=args.action == "status").kratix
    if args.action == "down":
        print(f"{OK} stopped Kratix" if kratix.stop() else f"{OK} Kratix was not running")
        return 0
    if args.action == "up":
        kratix.start()
    print(kratix.status())
    return 0 if kratix.is_running() else 3


@verb(
    argument("action", choices=("plan", "apply", "terraform")),
    flag("--detailed-exitcode", "plan ends with 2 when applying would change something, as Terraform's does"),
)
def realm(args: Namespace) -> int:
    """Plan, apply or write down the realm. apply is what lab 01 does; terraform prints the same as a keycloak.tf."""
    lab = open_lab(to_look=args.action == "plan")
    if args.action == "terraform":
        print(lab.terraform())
    elif args.action == "apply":
        print(lab.keycloak.start(), lab.realm.apply(), sep="\n\n")
    else:
        print(*lab.keycloak.findings(), sep="\n", end="\n\n")
        plan = lab.realm.plan()
        print(plan)
        return 2 if args.detailed_exitcode and plan.pending else 0
    return 0


@verb(argument("folder", type=Path, metavar="DIR", help="where to; only what an earlier call wrote there is replaced"))
def render(args: Namespace) -> None:
    """Write the labs' configuration as files. For doing by hand, or elsewhere, what the labs do by calls."""
    from .render import render

    print(render(open_lab(), args.folder))


@verb(flag("--merge", "add its contexts to your own kubeconfig, whose own entries stay: the first of KUBECONFIG, else ~/.kube/config"))
def kubeconfig(args: Namespace) -> None:
    """Name the lab's kubeconfig. For a terminal: export KUBECONFIG="$(labkit kubeconfig)"."""
    kubeconfig = open_lab(to_look=True).cluster.kubeconfig
    if not kubeconfig.path.exists():
        raise LabkitError("no-kubeconfig-yet")
    if args.merge:
        from ..cluster.kubeconfig import default_file

        target = default_file()
        copy = kubeconfig.merge_into(target)
        named = ", which KUBECONFIG names," if os.environ.get("KUBECONFIG") else ""
        print(f"{OK} {target}{named} now has the contexts {', '.join(kubeconfig.contexts())}; its current context is as it was")
        if copy:
            print(f"  the file as it was before: {copy}")
    else:
        print(kubeconfig.path)


@verb(argument("shell", choices=("bash", "zsh", "fish")))
def completion(args: Namespace) -> None:
    """Print what completes labkit's verbs and options in a shell. In .bashrc: eval "$(labkit completion bash)"."""
    import shtab

    from .verbs import parser

    print(shtab.complete(parser(), args.shell))


def _stop_on_record() -> list[str]:
    """Stop the servers of a lab that can't be opened, and of its practice lab, by the records of their processes, and name them."""
    from dataclasses import replace

    from ..config.settings import Settings
    from ..servers.processes import Processes

    settings = Settings.to_stop()
    homes = [home for home in (settings.state.practice, settings.folder) if (home / settings.state.run.name).is_dir()]
    return [name for home in homes for name in Processes(replace(settings, folder=home)).stop_all()]


def tell_of_neighbours(lab: Lab) -> None:
    """Say who else is on this machine, if the lab has the secrets that everybody knows."""
    from ..servers.machine import other_people

    people = other_people() if lab.secrets == "demo" else []
    if people:
        print(_NEIGHBOURS.format(people=", ".join(people)))
