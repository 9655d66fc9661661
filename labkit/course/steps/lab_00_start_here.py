"""Lab 00: See what the machine has, and get the programs."""

from __future__ import annotations

from collections.abc import Iterator

from ...common.display import Finding
from ...common.problems import problem
from ...lab import Lab
from ...servers import machine as limits
from .registry import add_lab

LAB = add_lab("00-start-here", "Start here")


@LAB.step("machine", "this machine can carry the lab", minutes=2)
def machine(lab: Lab) -> Iterator[Finding]:
    found = lab.machine()
    wanted = limits.MEMORY_GB if "keycloak" in lab.programs else limits.MEMORY_WITHOUT_KEYCLOAK_GB
    text = f"{found.memory_gb:.1f} GB of memory available, {wanted:g} wanted"
    yield Finding(found.memory_gb >= wanted or bool(lab.processes.names()), text, problem("memory-short").fix)
    text = f"{found.disk_gb:.0f} GB of disk free, {limits.DISK_GB:g} wanted"
    yield Finding(found.disk_gb >= limits.DISK_GB, text, "make room on the disk")


@LAB.step("programs", "every program is here, in a version that fits", minutes=3)
def programs(lab: Lab) -> Iterator[Finding]:
    for name in lab.programs:
        program = lab.toolchain.find(name)
        text = f"{name} {program.version} ({program.source})" if program else f"{name} is missing"
        yield Finding(program is not None, text, "run 00-start-here.ipynb, or labkit setup in a terminal")


programs.solution(lambda lab: lab.setup())
