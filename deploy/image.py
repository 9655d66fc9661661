"""Build the image by the engine that is there, and write it as an archive that docker, podman, kind and containerd take.

    image.py NAME ARCHIVE [--base packages] [OPTION OF THE ENGINE'S BUILD …]

With ``--base packages`` nothing is pulled: mmdebstrap makes the base of Debian's packages.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IGNORE = ("--ignorefile", "deploy/Containerfile.dockerignore")
# For each, how it builds, and how it writes an archive in docker's own format: kind reads no other.
ENGINES = {
    "docker": (("build",), ("save", "--output", "{archive}", "{name}")),
    "podman": (("build", "--layers"), ("save", "--format", "docker-archive", "--output", "{archive}", "{name}")),
    "buildah": (("build", "--layers"), ("push", "{name}", "docker-archive:{archive}:{name}")),
}
BASE = "localhost/labkit-base:local"
# Before version 23 docker does not mount what a build needs unless it is asked for its newer builder.
ENVIRON = {**os.environ, "DOCKER_BUILDKIT": "1"}


def run(*command: str | Path) -> None:
    """Run a command, whose output is shown, and end with its exit code if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=ENVIRON, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def answers(engine: str) -> bool:
    """Whether an engine is there; a docker whose daemon is not running, or that lacks its newer builder (buildx), is none."""
    asked = (("info",), ("build", "--help"))
    return bool(shutil.which(engine)) and not any(
        subprocess.run((engine, *words), env=ENVIRON, capture_output=True, check=False).returncode for words in asked
    )


def make_base(folder: Path, *build: str) -> None:
    """Make the base image of Debian's packages, from where this machine has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (debian,) = re.findall(r"debian:(\w+)", (ROOT / "deploy" / "Containerfile").read_text())
    system = folder / "system.tar"
    if not system.exists():
        part = folder / "part.tar"
        run("mmdebstrap", "--variant=minbase", "--include=ca-certificates", debian, part)
        part.replace(system)
    (folder / "Containerfile").write_text("FROM scratch\nADD system.tar /\n")
    run(*build, "--tag", BASE, "--file", folder / "Containerfile", folder)


def main() -> None:
    """Build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("archive", type=lambda path: Path(path).resolve())
    parser.add_argument("--base", default="", help="the image to begin with, or packages")
    args, options = parser.parse_known_args()
    engine = next(filter(answers, ENGINES), None)
    if engine is None:
        sys.exit(f"✘ none of {', '.join(ENGINES)} answers here, or can build. On Debian or Ubuntu, as root: apt install buildah")
    build, save = ENGINES[engine]
    # Docker finds what it is to ignore by itself.
    ignore = () if engine == "docker" else IGNORE
    if args.base == "packages":
        make_base(args.archive.parent / "base", engine, *build)
        args.base = BASE
    base = ("--build-arg", f"BASE={args.base}") if args.base else ()
    run(engine, *build, *ignore, *base, *options, "--tag", args.name, "--file", "deploy/Containerfile", ".")
    args.archive.unlink(missing_ok=True)
    run(engine, *(word.format(archive=args.archive, name=args.name) for word in save))
    print(f"✔ {args.name} by {engine}; {args.archive}: {args.archive.stat().st_size / 1e9:.1f} GB")


main()
