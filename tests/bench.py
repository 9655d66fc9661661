"""How long labkit keeps somebody waiting, beside what it could be compared with: ``make bench``, half an hour.

Each row is printed as soon as it is measured, written to build/bench.json with all samples, and takes the old one's place in docs/speed.md.
One `labkit up` is drawn as bars there, and in build/bench.svg.
Times depend on what else the machine does, so of two that are compared both are taken in one run.
What is measured is in a state folder of its own, build/bench, on real servers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import redirect_stdout
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import NamedTuple
from unittest.mock import patch

import psutil

from labkit.cluster.access import NAMESPACE
from labkit.cluster.kind.checks import docker_answers
from labkit.common.drawing import GOOD_COLOUR, QUIET_COLOUR, box, svg, words
from labkit.common.environment import ask_loopback_directly
from labkit.common.http_session import HttpSession
from labkit.common.waiting import Steps, Work, together
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.identity.session import sign_in
from labkit.lab import Lab
from labkit.toolchain.keycloak import Prepared
from tests.support import LABKIT, on_record, session_of

ROOT = Path(__file__).parents[1]
FOLDER, PAGE = ROOT / "build" / "bench", ROOT / "docs" / "speed.md"
CALLS, SIGN_INS = 10, 50
BAR = 60
COMPILED = re.compile(r"✔ building [^\n]*\bkube-apiserver\b[^\n]*\(([\d.]+) s\)")


class Figure(NamedTuple):
    """What is measured, what it is divided by if by anything, and the aim; in seconds, unless it says otherwise."""

    what: str
    by: str = ""
    aim: str = ""


ALONE, BY_SCRIPT = "Keycloak's own start alone", "Keycloak's own start alone by `kc.sh`, existing database"
FIGURES = {
    "P1": Figure("`labkit up`, was up before", f"{ALONE}, existing database", "≤ 1.35"),
    "P1n": Figure("`labkit up`, new state folder", f"{ALONE}, new database", "≤ 1.8"),
    # What the aims were set by, before Keycloak's start was prepared.
    "P1k": Figure("`labkit up`, was up before", BY_SCRIPT, "≤ 1.35"),
    "P1nk": Figure("`labkit up`, new state folder", BY_SCRIPT, "≤ 1.8"),
    "P2": Figure("`make run-labs`", aim="≤ 90 s"),
    "P3": Figure("empty machine to the end of `make run-labs`, without Kubernetes' compile time", aim="≤ 180 s"),
    "P4a": Figure("`labkit realm apply`, realm without objects", "`terraform apply`", "≤ 0.3"),
    "P4p": Figure("`labkit realm plan`, nothing to do", "`terraform plan`", "≤ 0.3"),
    "P5": Figure("`kubectl auth can-i`, one by one, after one of them", "the same answers of the access matrix, after one matrix", "≥ 20"),
    "P7": Figure("memory of everything up, GB (PSS)", aim="≤ 1.2 GB"),
    "P8": Figure("a kubectl call by `labkit credential`", "by kubectl's own `auth-provider`", "≤ 4"),
    "P9": Figure(f"CPU of a password's hash alone, after {SIGN_INS} sign-ins", "CPU of a whole sign-in, both sides", "≥ 0.8"),
    "K": Figure("`kind create cluster`, for comparison"),
    "C1": Figure("`labkit --help`", aim="≤ 0.25 s"),
    "C2": Figure("`labkit credential`, token kept", aim="≤ 0.35 s"),
    "C3": Figure("`labkit status`, everything up", aim="≤ 0.6 s"),
}
Samples = dict[str, tuple[float, float]]
"""By figure: what was measured and what it is divided by, or 0."""
Bars = list[tuple[str, float, float]]
"""What was done, and from when to when, in seconds."""


class NotHereError(Exception):
    """A program to compare with is not on this machine."""


class Bench:
    """The state folder that is measured, and one `labkit up` in it."""

    def __init__(self) -> None:
        self.env = {**os.environ, "LABKIT_HOME": str(FOLDER / "home"), "LABKIT_CLUSTER": "local", "LABKIT_KEYCLOAK": "local"}
        self.bars: Bars = []

    def seconds(self, *command: str, **env: str) -> float:
        """How long a command takes, as whoever waits for it sees it."""
        began = time.perf_counter()
        run(command, {**self.env, **env})
        return time.perf_counter() - began

    def labkit(self, *args: str) -> float:
        return self.seconds(*LABKIT, *args)

    def new(self) -> None:
        """A state folder that was never up, on ports of its own."""
        self.down()
        shutil.rmtree(FOLDER, ignore_errors=True)
        open_state_folder(FOLDER / "home", environ={}, free_ports=True)

    def down(self) -> None:
        if (FOLDER / "home").exists():
            self.labkit("down")

    def open(self) -> Lab:
        return Lab(Settings.load(self.env))

    @cached_property
    def lab(self) -> Lab:
        """The lab of the state folder, up, with everybody's contexts."""
        self.labkit("up")
        lab = self.open()
        for username in lab.workshop.access.expected:
            lab.sign_in(username)
            lab.cluster.enter_exec(username)
        return lab


def starts(bench: Bench) -> Samples:
    """A new state folder, the same again, and Keycloak alone in each; at the end an `up` of which each step is looked at."""
    bench.new()
    alone_new = keycloak_alone(bench.open())
    bench.new()
    new = bench.labkit("up")
    bench.down()
    again = bench.labkit("up")
    bench.down()
    lab = bench.open()
    alone = keycloak_alone(lab)
    with patch.object(Prepared, "classes", FOLDER / "none"):
        by_script = keycloak_alone(lab)
    bench.bars = steps_of_up(lab)
    bench.down()
    return {"P1": (again, alone), "P1n": (new, alone_new), "P1k": (again, by_script), "P1nk": (new, by_script)}


def keycloak_alone(lab: Lab) -> float:
    began = time.perf_counter()
    with redirect_stdout(sys.stderr):
        lab.keycloak.start()
    took = time.perf_counter() - began
    lab.keycloak.stop()
    return took


def steps_of_up(lab: Lab) -> Bars:
    """Do `up` in this process, and tell when each of its steps went on."""
    began, bars = time.perf_counter(), []

    def looked_at(name: str, do: Callable[[], object]) -> Work[None]:
        begins = time.perf_counter() - began
        if isinstance(work := do(), Generator):
            yield from work
        bars.append((name, begins, time.perf_counter() - began))

    def doing(steps: Steps) -> None:
        together({name: (needs, partial(looked_at, name, do)) for name, (needs, do) in steps.items()})

    with patch("labkit.lab.together", doing), redirect_stdout(sys.stderr):
        lab.up()
    return sorted(bars, key=lambda bar: bar[1:])


def labs(bench: Bench) -> Samples:
    return {"P2": (bench.labkit("run"), 0)}


def cold(_: Bench) -> Samples:
    """A clone of what is committed here, and a person whose folder is empty."""
    folder = FOLDER / "cold"
    shutil.rmtree(folder, ignore_errors=True)
    (home := folder / "person").mkdir(parents=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LABKIT_", "XDG_", "VIRTUAL_ENV"))}
    began = time.perf_counter()
    run(("git", "clone", "--quiet", str(ROOT), str(folder / "clone")), env)
    said = run(("make", "-C", str(folder / "clone"), "run-labs"), {**env, "HOME": str(home)})
    whole, compiled = time.perf_counter() - began, COMPILED.search(said)
    # Go leaves its modules read-only.
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
    shutil.rmtree(folder)
    return {"P3": (whole - (float(compiled[1]) if compiled else 0), 0)}


def realm(bench: Bench) -> Samples:
    """Both tools on a realm of this name without anything of the workshop's."""
    if not shutil.which("terraform"):
        raise NotHereError("Terraform is not here")
    lab, folder = bench.lab, FOLDER / "terraform"
    secret = {"TF_VAR_admin_secret": lab.settings.state.keycloak_admin.read_text()}
    shutil.rmtree(folder, ignore_errors=True)
    bench.labkit("render", str(folder))
    keycloak, name = lab.keycloak.admin(), lab.workshop.realm.name
    terraform = next(folder.rglob("keycloak.tf")).parent
    inputs = ("terraform", f"-chdir={terraform}")
    if "dev_overrides" not in Path(os.environ.get("TF_CLI_CONFIG_FILE", os.devnull)).read_text():
        bench.seconds(*inputs, "init")
    found = {}
    for tool, apply, plan in (
        ("labkit", (*LABKIT, "realm", "apply"), (*LABKIT, "realm", "plan")),
        ("terraform", (*inputs, "apply", "-auto-approve"), (*inputs, "plan")),
    ):
        keycloak.delete_realm(name)
        keycloak.create_realm({"realm": name, "enabled": True})
        found[tool] = bench.seconds(*apply, **secret), bench.seconds(*plan, **secret)
    lab.realm.apply()
    return {row: (found["labkit"][i], found["terraform"][i]) for i, row in enumerate(("P4a", "P4p"))}


def access(bench: Bench) -> Samples:
    lab = bench.lab
    # The first loads the library; the first kubectl learns what the API server has.
    lab.access_matrix()
    bench.seconds(*kubectl(lab), "auth", "can-i", "--context", lab.workshop.reader.username, "get", "pods")
    began = time.perf_counter()
    answers = lab.access_matrix().verify().answers
    ours = time.perf_counter() - began
    asked = [("--context", each.user, "auth", "can-i", each.verb, each.resource, "-n", NAMESPACE) for each in answers]
    return {"P5": (sum(bench.seconds(*kubectl(lab), *each) for each in asked), ours)}


def memory(bench: Bench) -> Samples:
    return {"P7": (sum(process.memory_full_info().pss for process in on_record(bench.lab.settings.folder)) / 1e9, 0)}


def calls(bench: Bench) -> Samples:
    user = bench.lab.workshop.reader.username
    # The first may have to sign in.
    whoami(bench, f"{user}-exec")
    exec_plugin, own = (sum(whoami(bench, context) for _ in range(CALLS)) / CALLS for context in (f"{user}-exec", user))
    return {"P8": (exec_plugin, own)}


def sign_ins(bench: Bench) -> Samples:
    """The hash is what a sign-in by password takes Keycloak more than one by refresh token."""
    lab, client, user = bench.lab, bench.lab.workshop.api_client, bench.lab.workshop.reader
    servers = session_of(lab.settings.folder, "keycloak")
    session, url = HttpSession(lab.keycloak.ca), f"{lab.keycloak.realm_url}/protocol/openid-connect/token"
    by_client = {"client_id": client.client_id, "client_secret": client.secret.get_secret_value(), "scope": "openid"}
    refresh = {"grant_type": "refresh_token", "refresh_token": lab.session(user.username).tokens.refresh_token}
    password = {"grant_type": "password", "username": user.username, "password": user.password.get_secret_value()}

    def cpu(call: Callable[[], object], *also: psutil.Process) -> float:
        def spent() -> float:
            return sum(sum(process.cpu_times()[:2]) for process in (*servers, *also))

        before = spent()
        for _ in range(SIGN_INS):
            call()
        return (spent() - before) / SIGN_INS

    # Java compiles what it is asked again and again.
    cpu(lambda: sign_in(lab.keycloak, client, user))
    whole = cpu(lambda: sign_in(lab.keycloak, client, user), psutil.Process())
    by_password, by_token = (cpu(partial(session.post, url, {**by_client, **grant})) for grant in (password, refresh))
    return {"P9": (by_password - by_token, whole)}


def commands(bench: Bench) -> Samples:
    user = bench.lab.workshop.reader.username
    whoami(bench, f"{user}-exec")
    ours = (("C1", ("--help",)), ("C2", ("credential", user)), ("C3", ("status",)))
    return {row: (bench.labkit(*args), 0) for row, args in ours}


def kind(bench: Bench) -> Samples:
    if not docker_answers():
        raise NotHereError("Docker does not run here")
    command, own = str(bench.lab.toolchain.ensure("kind")["kind"].path), ("--name", "bench", "--kubeconfig", str(FOLDER / "kind"))
    took = bench.seconds(command, "create", "cluster", *own)
    bench.seconds(command, "delete", "cluster", *own)
    return {"K": (took, 0)}


MEASURES: dict[Callable[[Bench], Samples], str] = {
    # Beside nothing else that is up.
    labs: "P2",
    starts: "P1 P1n P1k P1nk",
    access: "P5",
    memory: "P7",
    calls: "P8",
    sign_ins: "P9",
    commands: "C1 C2 C3",
    # With keys that are new to everybody: after whatever needs a token.
    realm: "P4a P4p",
    kind: "K",
    cold: "P3",
}


def kubectl(lab: Lab) -> tuple[str, ...]:
    return str(lab.toolchain.ensure("kubectl")["kubectl"].path), "--kubeconfig", str(lab.cluster.kubeconfig.path)


def whoami(bench: Bench, context: str) -> float:
    return bench.seconds(*kubectl(bench.lab), "--context", context, "auth", "whoami")


def run(command: tuple[str, ...], env: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    # kubectl says no with 1 when it is asked whether somebody may.
    if done.returncode and "can-i" not in command:
        done.check_returncode()
    return done.stdout


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    memory = psutil.virtual_memory().total / 2**30
    return f"Measured on {os.cpu_count()} CPUs ({model}) with {memory:.0f} GiB of memory and {platform.system()}."


def bars_as_text(bars: Bars) -> Iterator[str]:
    """A line for each part: when it ran, as a bar on a common scale, and its seconds."""
    scale, wide = BAR / max(end for *_, end in bars), max(len(what) for what, *_ in bars)
    for what, begin, end in bars:
        left, width = min(BAR - 1, round(begin * scale)), max(1, round((end - begin) * scale))
        yield f"{what:{wide}}  {' ' * left}{'█' * width}{' ' * (BAR - left - width)}  {begin:5.1f} – {end:.1f} s"


def bars_as_picture(bars: Bars) -> str:
    scale, row, left = 600 / max(end for *_, end in bars), 22, 190
    parts = []
    for i, (what, begin, end) in enumerate(bars):
        x, y = left + begin * scale, row * i
        parts += [words(1, y + 15, what), box(x, y + 2, max(2, (end - begin) * scale), row - 4, GOOD_COLOUR)]
        parts.append(words(left + 610, y + 15, f"{begin:.1f} – {end:.1f} s", colour=QUIET_COLOUR))
    return svg("One labkit up", "a bar for each step, from when to when it went on", left + 720, row * len(bars), *parts)


def spread(samples: list[float]) -> str:
    digits = 2 if median(samples) < 10 else 1
    return f"{median(samples):.{digits}f} ({min(samples):.{digits}f}–{max(samples):.{digits}f})"


def line(row: str, samples: list[tuple[float, float]], load: float) -> str:
    figure, (ours, others) = FIGURES[row], map(list, zip(*samples, strict=True))
    ratio = f"**{spread([a / b for a, b in samples])}**" if all(others) else ""
    cells = [figure.what, spread(ours), f"{figure.by}: {spread(others)}" if ratio else "", ratio, figure.aim]
    return f"| {' | '.join([row, *cells, str(len(samples)), f'{load:.1f}'])} |"


def written(page: str, lines: Mapping[str, str], bars: Bars) -> str:
    """A page whose rows of these names, and whose bars if there are new ones, give place to these."""
    places = {rf"^\| {row} \|.*$": text for row, text in lines.items()} | {r"^Measured on .*$": machine()}
    if bars:
        places |= {r"(?s:(?<=^```text\n).*?)(?=^```$)": "\n".join([*bars_as_text(bars), ""])}
    for place, text in places.items():
        page = re.sub(place, text.replace("\\", r"\\"), page, flags=re.MULTILINE)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(FIGURES)}; all but P3, unless it is named")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    ask_loopback_directly()
    bench, wanted, failed = Bench(), set(args.rows or FIGURES.keys() - {"P3"}), False
    result: dict[str, dict[str, object]] = {}
    print(f"{machine()}\nMedians of {args.runs} runs (least–most), in seconds; load is that of the last minute before.\n")
    print("| # | measured | | divided by | ratio | aim | runs | load |\n| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    bench.new()
    try:
        for measure, rows in MEASURES.items():
            if not wanted & set(rows.split()):
                continue
            load = os.getloadavg()[0]
            try:
                samples = [measure(bench) for _ in range(1 if measure is cold else args.runs)]
            except NotHereError as error:
                print(f"{rows}: {error}", file=sys.stderr, flush=True)
                continue
            except subprocess.CalledProcessError as error:
                print(f"{rows}: {error}\n{error.stdout}", file=sys.stderr, flush=True)
                failed = True
                continue
            lines = {row: line(row, [each[row] for each in samples], load) for row in samples[0]}
            print(*lines.values(), sep="\n", flush=True)
            result |= {row: {"load": load, "samples": [each[row] for each in samples]} for row in lines}
            (FOLDER.parent / "bench.json").write_text(json.dumps({"machine": machine(), "up": bench.bars, "rows": result}, indent=1) + "\n")
            PAGE.write_text(written(PAGE.read_text(), lines, bench.bars))
    finally:
        bench.down()
    if bench.bars:
        print("\nOne `labkit up`:\n", *bars_as_text(bench.bars), sep="\n")
        (FOLDER.parent / "bench.svg").write_text(bars_as_picture(bench.bars))
    sys.exit(failed)


if __name__ == "__main__":
    main()
