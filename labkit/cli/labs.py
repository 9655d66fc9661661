"""The verbs about the labs and their steps, the learner's own and those of the practice lab."""

from __future__ import annotations

import json
import os
import shutil
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.display import BAD, LATE_SECONDS, OK, progress
from ..common.environment import with_jupyter_of_its_own
from ..common.errors import LabkitError, ToolchainError, WorkshopError
from .command import JSON, argument, flag, no_such, open_lab, show, verb, working
from .servers import tell_of_neighbours

if TYPE_CHECKING:
    from ..course.steps import LabInfo, Step

_JUPYTER_SETTINGS = Path(__file__).with_name("jupyter_settings")
"""Settings of ours for JupyterLab, in the layout of its configuration folders: no questions, and no requests to anywhere else."""

_OPENS = """\
✔ your copy of the labs is {work}
  JupyterLab opens in your browser; if none does, open the address below.
  Ctrl-C here ends it; labkit down stops the lab's servers"""

_BROKEN = """\
  see for yourself   kubectl --kubeconfig {kubeconfig} --context {reader} get namespaces
                     or in a notebook: sandbox = Practice(lab).lab, then as in lab 07
  ask for the cause  labkit doctor --practice
  the solution       labkit mend"""


@verb()
def lab(args: Namespace) -> None:
    """Open the labs in JupyterLab. On a copy in work/, which gets what is new in the labs and keeps what you changed."""
    from ..config.hosting import SECRET_VARIABLE
    from ..config.settings import checkout
    from ..course.copies import update

    root, lab = checkout(), open_lab()
    seat = lab.settings.seat
    lab.setup()
    try:
        lab.setup(ui=True)
    except ToolchainError as error:
        print(f"{BAD} {error}\n  the labs work without these pages; labkit setup --ui tries again", file=sys.stderr)
    work = lab.settings.place / "work"
    for line in update(root / "notebooks", work):
        print(line)
    # JupyterLab shows nothing outside of the copy, and there a lab's link to ../docs leads to docs.
    for page in (root / "docs").glob("glossary.md"):
        (work / "docs").mkdir(exist_ok=True)
        shutil.copy(page, work / "docs")
    tell_of_neighbours(lab)
    print(_OPENS.format(work=work), flush=True)
    programs = Path(sys.executable).parent
    # A terminal in JupyterLab finds labkit and kubectl by their names.
    kubectl = lab.toolchain.ensure("kubectl")["kubectl"].path
    os.environ["PATH"] = os.pathsep.join((str(programs), str(kubectl.parent), os.environ.get("PATH", os.defpath)))
    if lab.settings.hosted and lab.settings.hosted.secret:
        # For the notebooks' kernels, which only JupyterLab can hand it to; there labkit takes it out again.
        os.environ[SECRET_VARIABLE] = lab.settings.hosted.secret
    os.chdir(work)
    # Its address, to open by hand, it says at any level; the rest of what it says is of use to nobody here, unless it fails.
    # Said here, they count more than what is set for all of a machine.
    settings = [f"--ServerApp.root_dir={work}", f"--ServerApp.preferred_dir={work}", "--log-level=ERROR"]
    if not seat:
        settings += ["--LabApp.default_url=/lab/tree/00-start-here.ipynb", "-y", "--LabApp.log_level=ERROR", "--ServerApp.base_url=/"]
    elif os.environ["JUPYTERHUB_SERVICE_URL"].startswith("http+unix:"):
        # In the seat's folder nobody else can listen in its place, or see the learner's cookies.
        settings.append("--ServerApp.sock=../jupyter.sock")
    if not (seat and os.environ["JUPYTERHUB_SERVICE_URL"].startswith("http:")):
        # A Hub that names an address means that of a pod, which is the seat's alone.
        settings.append("--ServerApp.ip=localhost")
    if os.geteuid() == 0:
        # Jupyter refuses to run as root unless told; in a container root is often all there is.
        settings.append("--allow-root")
    # Without it a kernel tells what its cells show to anybody on this machine who listens.
    settings.append("--KernelManager.transport_encryption=required")
    # Whoever may come to a seat's JupyterLab, and nobody else, comes through it to the seat's portal.
    address, socket = lab.settings.portal_proxied, lab.settings.portal_socket
    where = {"unix_socket": os.path.relpath(socket, work)} if socket else {"port": lab.settings.ports["portal"]}
    proxied = {address.rpartition("/")[2]: {**where, "launcher_entry": {"enabled": False}}} if address else {}
    settings.append(f"--ServerProxy.servers={proxied}")
    enabled = {"jupyter_server_proxy": bool(proxied)}
    settings.append(f"--ServerApp.jpserver_extensions={enabled}")
    # What the learner makes there is theirs to share or not.
    os.umask(args.umask)
    env = {**with_jupyter_of_its_own(lab.settings.state.jupyter), "JUPYTER_CONFIG_PATH": str(_JUPYTER_SETTINGS)}
    command = [str(programs / "jupyter"), "lab"]
    if seat:
        env |= {name: value for name, value in os.environ.items() if name.startswith("JUPYTERHUB_")}
        command = [sys.executable, "-P", "-m", "labkit.room.jupyter"]
    os.execve(command[0], [*command, *settings], env)


@verb(
    argument(
        "lab",
        nargs="?",
        default="",
        help="a lab such as 01-keycloak or 01, or a step such as realm; if left out all but exercises, the clean-up and what can't be run "
        "here",
    ),
    JSON,
)
def check(args: Namespace) -> int:
    """Check what the labs leave behind. Reads the real servers and changes nothing."""
    from ..course.steps import LABS, attempt, examine, overview

    wanted = _meant(args.lab)[1] if args.lab else []
    lab = open_lab(to_look=True)
    if not args.lab:
        here = [info for info in LABS[:-1] if not info.lacks(lab)]
        wanted = [step for info in here for step in info.steps if not step.exercise]
    # Some steps hold before one has begun: to look at them here is not to have done them.
    done = {name for _, names in overview(lab).rows for name in names}
    with working(args, "asking the real servers"):
        reports = [attempt(lab, step.name) if step.exercise else examine(lab, step.name) for step in wanted]
    found = [{"lab": s.lab, "ok": report.ok, **asdict(report)} for s, report in zip(wanted, reports, strict=True)]
    lines = []
    for step, report in zip(wanted, reports, strict=True):
        not_begun = report.ok and step.holds_before and step.name not in done
        line = report.headline() if report.ok else str(report)
        lines.append(f"·{line.removeprefix(OK)}: not done by that, as {step.holds_before}" if not_begun else line)
    show(args, "\n".join(lines), found)
    return 0 if all(report.ok for s, report in zip(wanted, reports, strict=True) if not s.exercise or args.lab in (s.name, s.path)) else 1


@verb(argument("what", metavar="LAB|STEP", help="a lab such as 03-rbac or 03, or a step such as read-configmaps or 01.realm"))
def solve(args: Namespace) -> int:
    """Do a lab or a step for you, and check it. Exercises too: try them yourself first; one that is half-done is begun anew."""
    from ..course.steps import insist_on_what_is_needed, solve

    info, steps = _meant(args.what)
    lab = open_lab()
    insist_on_what_is_needed(lab, info)
    for step in steps:
        report = solve(lab, step)
        print(report.headline() if report.ok else report, flush=True)
        if not report.ok:
            return 1
    return 0


@verb(argument("lab", metavar="LAB", help="such as 03-rbac or 03"))
def reset(args: Namespace) -> None:
    """Take away what a lab leaves behind. What earlier labs left stays; safe to repeat."""
    from ..course.steps import reset_lab

    info = named(args.lab)
    undone = reset_lab(open_lab(), info)
    print(f"{OK} {info.name}: taken back: {', '.join(undone) or 'nothing, it leaves nothing behind'}")
    if any(step.exercise for step in info.steps):
        print("  of exercises that is what their solutions make; what you gave names of your own stays")


@verb(argument("lab", metavar="LAB", help="the lab to begin with, such as 03-rbac or 03"))
def catch_up(args: Namespace) -> int:
    """Do all that comes before a lab. For whoever comes late; exercises are left to you."""
    from ..course.steps import catch_up

    info = named(args.lab)
    reports = catch_up(open_lab(), info)
    print("\n".join(report.headline() if report.ok else str(report) for report in reports))
    ok = all(report.ok for report in reports)
    print(f"{OK} begin with {info.name}.ipynb" if ok else f"{BAD} not everything before {info.name} is as it should be")
    return 0 if ok else 1


@verb(one_of=(flag("--done", "take that back"), flag("--show", "print all that the instructor's view gets, and do nothing")))
def help_me(args: Namespace) -> None:
    """Ask the instructor of a room for help. The instructor sees it, and what the doctor finds in your lab."""
    from ..course.steps.helping import ask_for_help
    from ..course.steps.progress import snapshot
    from ..course.steps.sending import in_a_room

    lab = open_lab(to_look=args.show)
    if args.show:
        print(json.dumps(snapshot(lab), indent=1))
        return
    if not in_a_room():
        raise LabkitError("no-room")
    with progress("telling the instructor", after=LATE_SECONDS):
        ask_for_help(lab, wanted=not args.done)
    print(f"{OK} taken back" if args.done else f"{OK} the instructor sees that you ask for help; to take it back: labkit help-me --done")


@verb()
def agenda(_: Namespace) -> None:
    """List labs and steps with their minutes. With the seconds that the last labkit run took, if there was one."""
    from ..config.settings import Settings
    from ..course.steps import agenda

    print(agenda(Settings.load().place / "build" / "labs" / "summary.json"))


@verb(argument("term", nargs="*", help="a term such as audience or ID token, or how it begins; if left out all are listed"))
def explain(args: Namespace) -> None:
    """Explain a term of the labs in two sentences."""
    from ..course.glossary import glossary, meant

    word, terms = " ".join(args.term), glossary()
    found = meant(word)
    if not word:
        print("\n".join(found))
    elif len(found) == 1 and found[0].casefold().startswith(word.casefold()):
        print(f"{found[0]}\n\n{terms[found[0]]}", end="")
    else:
        no_such("term", word, found or terms)


@verb(argument("labs", nargs="*", metavar="LAB", help="labs such as 01-keycloak or 01, in the workshop's order; all if left out"), JSON)
def run(args: Namespace) -> None:
    """Run the labs headless, in an empty state folder of their own; results go to build/labs/, in a room that of the seat."""
    from ..config.settings import Settings, checkout
    from ..course.runner import run

    names = [named(name).name for name in args.labs]
    checkout()
    output = Settings.load().place / "build" / "labs"
    result = run(names, output)
    page = output / "index.html"
    shown = page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page
    show(args, f"{result.headline()}; look through them: {shown}", asdict(result))


@verb(argument("fault", nargs="?", default="", metavar="NAME", help="a fault; if left out they are listed, with the one that is on"))
def break_(args: Namespace) -> None:
    """Break the practice lab, as lab 07 does.

    It lies within this state folder, runs beside your own lab, which is left alone, and is started if need be. One fault at a time.
    """
    from ..course.faults import FAULTS
    from ..course.practice import Practice

    practice = Practice(open_lab())
    if not args.fault:
        print(practice.faults())
        return
    if args.fault not in FAULTS:
        no_such("fault", args.fault, FAULTS)
    if not practice.is_up():
        practice.start()
    practice.switch_on(args.fault)
    print(_BROKEN.format(kubeconfig=practice.lab.cluster.kubeconfig.path, reader=practice.lab.workshop.reader.username))


@verb()
def mend(_: Namespace) -> None:
    """Mend the fault that is on in the practice lab. The solution: try it yourself first, by what the doctor says."""
    from ..course.practice import Practice

    fault = Practice(open_lab()).mend()
    print(f"{OK} mended: {fault}" if fault else f"{OK} no fault is on")


def named(name: str, or_step: str = "") -> LabInfo:
    """The lab of that name or number; ``or_step`` is what was typed where a step may stand as well."""
    from ..course.steps import LABS, near, the_lab

    try:
        return the_lab(name)
    except WorkshopError:
        labs = [info.name for info in LABS]
        if or_step:
            no_such("lab or step", or_step, (*labs, f"and the steps {', '.join(near(or_step)) or 'of labkit agenda'}"))
        no_such("lab", name, labs)


def _meant(what: str) -> tuple[LabInfo, list[Step]]:
    """The steps that are meant by a lab, by a step's name, or by both, as in 03.own-namespace; and their lab."""
    from ..course.steps import STEPS

    lab_name, _, step_name = (STEPS[what].path if what in STEPS else what).partition(".")
    info = named(lab_name, what)
    steps = [step for step in info.steps if step_name in ("", step.name)]
    return (info, steps) if steps else no_such("step", what, (step.path for step in info.steps))
