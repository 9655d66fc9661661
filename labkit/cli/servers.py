"""The verbs about programs and servers: setup, up, down, status, doctor, kratix."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from ..cluster.provider import NOT_OURS
from ..common.display import OK
from ..lab import Lab
from .output import print_json, tell_of_kind, tell_of_neighbours


def setup(args: argparse.Namespace) -> int:
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


def up(_: argparse.Namespace) -> int:
    lab = Lab.open()
    new = lab.settings.cluster == "local" and not lab.settings.state.etcd.exists()
    lab.up()
    print(lab.status())
    tell_of_neighbours(lab)
    if new:
        tell_of_kind()
    print(f'\n{OK} up. A terminal of yours uses it with: export KUBECONFIG="{lab.cluster.kubeconfig.path}"')
    return 0


def down(_: argparse.Namespace) -> int:
    lab = Lab.open()
    stopped = lab.down()
    print(f"{OK} stopped {', '.join(stopped)}" if stopped else f"{OK} nothing of {lab.settings.home} was running")
    return 0


def status(args: argparse.Namespace) -> int:
    lab = Lab.open()
    table = lab.status()
    if args.json:
        print_json({"home": str(lab.settings.home), "servers": table.records()})
    else:
        print(table)
    return 0 if all(row[1] in ("runs", "hosted", NOT_OURS) for row in table.rows) else 3


def doctor(args: argparse.Namespace) -> int:
    from ..course.practice import Practice
    from ..doctor import diagnose

    lab = Lab.open()
    diagnosis = Practice(lab).doctor() if args.practice else diagnose(lab)
    if args.json:
        print_json(asdict(diagnosis))
    else:
        print(diagnosis)
    return 1 if diagnosis.found else 0


def kratix(args: argparse.Namespace) -> int:
    kratix = Lab.open().kratix
    if args.action == "up":
        kratix.start()
    elif args.action == "down":
        print(f"{OK} stopped Kratix" if kratix.stop() else f"{OK} Kratix was not running")
        return 0
    print(kratix.status())
    return 0 if kratix.is_running() else 3
