"""The programs that only the tests need. Run as a module it gets them, before a test's own time begins to count."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from labkit.config.settings import Settings
from labkit.toolchain import Toolchain
from labkit.toolchain.pins import KEYCLOAK, KUBERNETES, PINS
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
    takes="about 4 min",
    kept_mb=75,
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
# A server's path is an option of its build, which takes half a minute.
FOR_AUTH_PIN = replace(PINS["keycloak"], recipe=replace(KEYCLOAK, options=(*KEYCLOAK.options, "--http-relative-path=/auth")))


def toolchain(cache: Path) -> Toolchain:
    """The labs' programs and kubeadm."""
    return Toolchain(cache, pins={**PINS, "kubeadm": KUBEADM_PIN})


def keycloak_for_auth(cache: Path) -> Path:
    """The labs' Keycloak once more, built for paths that begin with /auth; its folder."""
    own = Toolchain(cache).ensure("keycloak")["keycloak"].path
    tools = Toolchain(cache, {**os.environ, "KEYCLOAK_HOME": str(own)}, {**PINS, "keycloak": FOR_AUTH_PIN})
    return tools.ensure("keycloak")["keycloak"].path


if __name__ == "__main__":
    folder = Settings.load().cache
    toolchain(folder).ensure("kind", "kubeadm")
    keycloak_for_auth(folder)
