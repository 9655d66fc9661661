"""The programs that only the tests need. Run as a module it gets them, before a test's own time begins to count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from labkit.settings import Settings
from labkit.toolchain import Toolchain
from labkit.toolchain.pins import KUBERNETES, PINS
from labkit.toolchain.recipes import GoModule


@dataclass(frozen=True, kw_only=True)
class ModuleOfTests(GoModule):
    """A program that only these tests need."""

    @property
    def folder(self) -> Path:
        return Path(__file__).parent / self.name


assert KUBERNETES.official is not None
KUBEADM = ModuleOfTests(
    name="kubeadm",
    source="built from its Go module",
    doing="building",
    takes="about 4 min",
    kept_mb=75,
    needs=("go",),
    disk_gb=3,
    memory_gb=2,
    packages={"kubeadm": "k8s.io/kubernetes/cmd/kubeadm"},
    ldflags=KUBERNETES.ldflags,
    instead=KUBERNETES.instead,
    official=replace(KUBERNETES.official, systems={"kubeadm": ("linux",)}),
)
KUBEADM_PIN = replace(
    PINS["kubectl"], name="kubeadm", places=(("PATH", "kubeadm"),), ask=("version", "-o", "short"), answer=r"v(\d[\d.]*)", recipe=KUBEADM
)


def toolchain(cache: Path) -> Toolchain:
    """The labs' programs and kubeadm."""
    return Toolchain(cache, pins={**PINS, "kubeadm": KUBEADM_PIN})


if __name__ == "__main__":
    toolchain(Settings.load().cache).ensure("kind", "kubeadm")
