"""How long labkit keeps somebody waiting, beside what it could be compared with: ``make bench``, a quarter of an hour.

Prints a table for docs/, with the machine that it was measured on, and one `labkit up` as bars; all samples are in build/bench.json.
Times depend on what else the machine does, so of two that are compared both are taken in one run, and nothing fails here.
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
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from labkit.cluster.access import NAMESPACE
from labkit.cluster.kind.checks import docker_answers
from labkit.common.environment import ask_loopback_directly
from labkit.common.http_session import HttpSession
from labkit.config.settings import Settings
from labkit.config.state_folder import open_state_folder
from labkit.identity.session import sign_in
from labkit.lab import Lab
from tests.support import LABKIT, on_record, session_of

FOLDER = Path(__file__).parents[1] / "build" / "bench"
CALLS = 10
BAR = 60
DONE = re.compile(r"✔ (?P<what>.+) \((?P<seconds>[\d.]+) s\)")


class Figure(NamedTuple):
    """What is measured, what it is divided by if by anything, and the aim; in seconds, unless it says otherwise."""

    what: str
    by: str = ""
    aim: str = ""


FIGURES = {
    "P1": Figure("`labkit up`, was up before", "Keycloak's own start alone", "≤ 1.35"),
    "P1n": Figure("`labkit up`, new state folder", "Keycloak's own start alone", "≤ 1.8"),
    "P2": Figure("`make run-labs`", aim="≤ 90 s"),
    "P3": Figure("the same with an empty cache of programs", aim="Kubernetes' compile time + 180 s"),
    "P4a": Figure("`labkit realm apply`, realm without objects", "`terraform apply`", "≤ 0.3"),
    "P4p": Figure("`labkit realm plan`, nothing to do", "`terraform plan`", "≤ 0.3"),
    "P5": Figure("`kubectl auth can-i`, one by one", "the same answers of the access matrix", "≥ 20"),
    "P7": Figure("memory of everything up, GB (PSS)", aim="≤ 1.2 GB"),
    "P8": Figure("a kubectl call by `labkit credential`", "by kubectl's own `auth-provider`", "≤ 4"),
    "P9": Figure("CPU of a password's hash alone", "CPU of a whole sign-in, both sides", "≥ 0.8"),
    "K": Figure("`kind create cluster`, for comparison"),
    "C1": Figure("`labkit --help`", aim="≤ 0.25 s"),
    "C2": Figure("`labkit credential`, token kept", aim="≤ 0.35 s"),
    "C3": Figure("`labkit status`, everything up", aim="≤ 0.6 s"),
}
Samples = dict[str, tuple[float, float]]
"""By figure: what was measured and what it is divided by, or 0."""


class NotHereError(Exception):
    """A program to compare with is not on this machine."""


class Bench:
    """The state folder that is measured, and the last `labkit up` in it."""

    def __init__(self) -> None:
        self.env = {**os.environ, "LABKIT_HOME": str(FOLDER / "home"), "LABKIT_CLUSTER": "local", "LABKIT_KEYCLOAK": "local"}
        self.bars: list[tuple[str, float, float]] = []

    def seconds(self, *command: str, **env: str) -> float:
        """How long a command takes, as whoever waits for it sees it."""
        began = time.perf_counter()
        done = subprocess.run(command, env={**self.env, **env}, capture_output=True, text=True, check=False)
        # kubectl says no with 1 when it is asked whether somebody may.
        if done.returncode and "can-i" not in command:
            sys.exit(f"✘ {' '.join(command)}:\n{done.stdout}{done.stderr}")
        return time.perf_counter() - began

    def labkit(self, *args: str, **env: str) -> float:
        return self.seconds(*LABKIT, *args, **env)

    def up(self) -> float:
        """`labkit up`; keeps when each of its parts began and ended, by the lines that it prints."""
        began, self.bars = time.perf_counter(), []
        with subprocess.Popen([*LABKIT, "up"], env=self.env, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                if found := DONE.match(line):
                    ended = time.perf_counter() - began
                    self.bars.append((found["what"], max(0.0, ended - float(found["seconds"])), ended))
        if process.returncode:
            sys.exit("✘ labkit up failed")
        took = time.perf_counter() - began
        self.bars.append(("labkit up", 0.0, took))
        return took

    def new(self) -> None:
        """A state folder that was never up, on ports of its own."""
        if (FOLDER / "home").exists():
            self.labkit("down")
        shutil.rmtree(FOLDER, ignore_errors=True)
        open_state_folder(FOLDER / "home", environ={}, free_ports=True)

    @cached_property
    def lab(self) -> Lab:
        """The lab of the state folder, up, with everybody's contexts."""
        self.up()
        lab = Lab(Settings.load(self.env))
        for username in lab.workshop.access.expected:
            lab.sign_in(username)
            lab.cluster.enter_exec(username)
        return lab


def starts(bench: Bench) -> Samples:
    """A new state folder, the same again, and Keycloak alone in it."""
    bench.new()
    new = bench.up()
    bench.labkit("down")
    again = bench.up()
    bench.labkit("down")
    lab = Lab(Settings.load(bench.env))
    began = time.perf_counter()
    lab.keycloak.start()
    alone = time.perf_counter() - began
    lab.keycloak.stop()
    return {"P1": (again, alone), "P1n": (new, alone)}


def labs(bench: Bench) -> Samples:
    return {"P2": (bench.labkit("run"), 0)}


def cold(bench: Bench) -> Samples:
    shutil.rmtree(FOLDER / "cache", ignore_errors=True)
    return {"P3": (bench.labkit("run", LABKIT_CACHE=str(FOLDER / "cache")), 0)}


def realm(bench: Bench) -> Samples:
    """Both tools on a realm of this name without anything of the workshop's."""
    if not shutil.which("terraform"):
        raise NotHereError("terraform")
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

        call()
        before = spent()
        for _ in range(CALLS):
            call()
        return (spent() - before) / CALLS

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
        raise NotHereError("a running Docker")
    command, own = str(bench.lab.toolchain.ensure("kind")["kind"].path), ("--name", "bench", "--kubeconfig", str(FOLDER / "kind"))
    took = bench.seconds(command, "create", "cluster", *own)
    bench.seconds(command, "delete", "cluster", *own)
    return {"K": (took, 0)}


MEASURES: dict[Callable[[Bench], Samples], str] = {
    starts: "P1 P1n",
    labs: "P2",
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


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} CPUs ({model}), {memory:.0f} GiB of memory, {platform.system()}, load {load:.1f} when it began"


def gantt(bars: list[tuple[str, float, float]]) -> Iterator[str]:
    """A line for each part of one `labkit up`: when it ran, as a bar on a common scale, and its seconds."""
    scale, wide = BAR / max(end for *_, end in bars), max(len(what) for what, *_ in bars)
    for what, begin, end in bars:
        left, width = round(begin * scale), max(1, round((end - begin) * scale))
        yield f"{what:{wide}}  {' ' * left}{'█' * width}{' ' * (BAR - left - width)}  {begin:5.1f} – {end:.1f} s"


def spread(samples: list[float]) -> str:
    digits = 2 if median(samples) < 10 else 1
    return f"{median(samples):.{digits}f} ({min(samples):.{digits}f}–{max(samples):.{digits}f})"


def line(row: str, samples: list[tuple[float, float]], missing: str) -> str:
    figure = FIGURES[row]
    if not samples:
        cells = [figure.what, f"{missing} is not here" if missing else "not asked for", "", "", figure.aim]
    else:
        ours, others = zip(*samples, strict=True)
        ratio = f"**{spread([a / b for a, b in samples])}**" if all(others) else ""
        cells = [figure.what, spread(list(ours)), f"{figure.by}: {spread(list(others))}" if ratio else "", ratio, figure.aim]
    return f"| {' | '.join([row, *cells])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(FIGURES)}; all but P3, unless it is named")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    ask_loopback_directly()
    bench, about, samples, missing = Bench(), machine(), {row: [] for row in FIGURES}, {}  # type: ignore[var-annotated]
    wanted = set(args.rows or FIGURES.keys() - {"P3"})
    bench.new()
    try:
        for measure, rows in MEASURES.items():
            for _ in range(args.runs if wanted & set(rows.split()) else 0):
                try:
                    for row, sample in measure(bench).items():
                        samples[row].append(sample)
                    print(f"… {rows}", file=sys.stderr, flush=True)
                except NotHereError as error:
                    missing |= dict.fromkeys(rows.split(), str(error))
    finally:
        bench.labkit("down")
    result = {"machine": about, "up": bench.bars, "samples": samples}
    (FOLDER.parent / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"Measured on {about}: medians of {args.runs} runs (least–most), in seconds.\n")
    print("| # | measured | | divided by | ratio | aim |\n| --- | --- | --- | --- | --- | --- |")
    print(*(line(row, samples[row], missing.get(row, "")) for row in FIGURES), sep="\n")
    print("\nOne `labkit up`:\n", *gantt(bench.bars), sep="\n")


if __name__ == "__main__":
    main()
