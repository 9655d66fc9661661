"""A workflow's container for KinD: built on this machine, loaded into the cluster's node. Not yet run: see `labkit.kratix.released`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..cluster.docker import Docker, kind_environment
from ..cluster.kind import NAME
from ..display import progress
from ..errors import KratixError
from ..toolchain import Toolchain
from .promise import Promise

_BUILD_SECONDS = 600


def load_image(promise: Promise, folder: Path, tools: Toolchain, docker: Docker | None = None) -> str:
    """Build the image that a Promise's workflow runs, and load it into the KinD cluster.

    Args:
        promise: The Promise; its workflow has one container.
        folder: The folder with the ``Dockerfile``.
        tools: Where kind comes from.
        docker: Docker.

    Returns:
        The image.

    Raises:
        ClusterError: Docker can't be used, or can't build it.
        KratixError: kind can't load it.
    """
    (pipeline,) = promise.manifest["spec"]["workflows"]["resource"]["configure"]
    (container,) = pipeline["spec"]["containers"]
    image = str(container["image"])
    with progress(f"building {image} and loading it into KinD"):
        (docker or Docker()).run("build", "--tag", image, str(folder), seconds=_BUILD_SECONDS)
        kind = str(tools.ensure("kind")["kind"].path)
        done = subprocess.run(
            [kind, "load", "docker-image", image, "--name", NAME],
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            env=kind_environment(),
            check=False,
        )
    if done.returncode:
        msg = f"kind can't load {image}"
        raise KratixError(msg, why=done.stderr, fix="see whether the cluster runs: labkit status")
    return image
