"""The programs that only the tests need. Run as a module it gets them, before a test's own time begins to count."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from labkit.config.settings import Settings
from labkit.toolchain import Toolchain
from labkit.toolchain.builders import GoProgram
from labkit.toolchain.keycloak import Keycloak
from labkit.toolchain.pins import PINS

assert isinstance(PINS["kubectl"], GoProgram)
KUBEADM = replace(
    PINS["kubectl"],
    name="kubeadm",
    batch="kubeadm",
    places={"PATH": "kubeadm"},
    ask=("version", "-o", "short"),
    answer=r"v(\d[\d.]*)",
    package="k8s.io/kubernetes/cmd/kubeadm",
    modules=Path(__file__).parent,
    takes="about 4 min",
    kept_mb=75,
    disk_gb=3,
    memory_gb=2,
    systems=("linux",),
)
assert isinstance(PINS["keycloak"], Keycloak)
# A server's path is an option of its build, which takes half a minute.
FOR_AUTH = replace(PINS["keycloak"], options=(*PINS["keycloak"].options, "--http-relative-path=/auth"))


def toolchain(cache: Path) -> Toolchain:
    """The labs' programs and kubeadm."""
    return Toolchain(cache, pins={**PINS, "kubeadm": KUBEADM})


def keycloak_for_auth(cache: Path) -> Path:
    """The labs' Keycloak once more, built for paths that begin with /auth; its folder."""
    own = Toolchain(cache).ensure("keycloak")["keycloak"].path
    tools = Toolchain(cache, {**os.environ, "KEYCLOAK_HOME": str(own)}, {**PINS, "keycloak": FOR_AUTH})
    return tools.ensure("keycloak")["keycloak"].path


if __name__ == "__main__":
    folder = Settings.load().cache
    toolchain(folder).ensure("kind", "kubeadm")
    keycloak_for_auth(folder)
