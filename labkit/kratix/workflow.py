"""A workflow's container for KinD: built on this machine, loaded into the cluster's node. Not yet run: see `labkit.kratix.released`."""

from __future__ import annotations

from pathlib import Path

from ..cluster.kind.docker import Docker
from ..common.display import progress
from ..common.errors import KratixError
from ..toolchain import Toolchain
from .promise import Promise
from .released.images import load

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
        refusal = load(image, tools.ensure("kind")["kind"].path)
    if refusal:
        msg = f"kind can't load {image}"
        raise KratixError(msg, why=refusal, fix="see whether the cluster runs: labkit status")
    return image
