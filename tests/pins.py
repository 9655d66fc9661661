"""Pins what is downloaded from the projects' own sites. Run as a module (`make pins`) it writes `labkit/toolchain/official.txt` anew.

Each file is downloaded and its SHA-256 taken. One that can't be reached keeps the digest that it has, or stays open; one that changed since
it was pinned, at an address that names its version, keeps the old digest and is reported. labkit downloads nothing that is pinned nowhere.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

from labkit.common.display import progress
from labkit.common.errors import ToolchainError
from labkit.common.problems import Problem
from labkit.kratix.released import MANIFESTS
from labkit.toolchain import downloads
from labkit.toolchain.downloads import HERE, PINNED
from labkit.toolchain.pins import PINS
from labkit.toolchain.recipe import MACHINES

from .programs import KUBEADM

FILE = HERE / "official.txt"
HEAD = """\
# The SHA-256 of each file that is downloaded from its project's own site, written by `make pins`.
# What is open could not be had where that ran: such a program is not downloaded, and built instead.
"""


def urls() -> Iterator[str]:
    """The address of everything that is pinned by its digest alone."""
    for recipe in (*PINS.values(), KUBEADM):
        yield from (recipe.url(*kind) for kind in itertools.product(recipe.systems, MACHINES.values()))
    yield from (manifest.url for manifest in MANIFESTS if "/releases/" in manifest.url)


def main() -> int:
    """Pin what can be had, and say what can't; returns whether something is open or has changed."""
    lines, problems = [HEAD], 0
    for url in dict.fromkeys(urls()):
        pinned = PINNED.get(url)
        try:
            with progress(url) as shown:
                found = downloads.sha256(url, shown)
                if pinned not in (None, found):
                    msg = f"it has the SHA-256 {found}, and {pinned} when it was pinned: find out why before you change it by hand"
                    raise ToolchainError(Problem("pin-changed", msg))
        except ToolchainError as error:
            print(f"  {error}; stays {pinned or 'open'}", flush=True)
            found, problems = pinned or "open", problems + 1
        lines.append(f"{found}  {url}\n")
    FILE.write_text("".join(lines))
    return int(problems > 0)


if __name__ == "__main__":
    sys.exit(main())
