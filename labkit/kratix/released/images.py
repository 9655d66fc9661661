"""The container images that Kratix needs in KinD's node: found there, put there or pulled there, before anything is applied."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import yaml

from ...cluster.kind.checks import NAME, no_node, node_names
from ...cluster.kind.docker import Docker, run_kind
from ...common.display import progress
from ...common.errors import ClusterError, KratixError

_LOAD_SECONDS = 600
_PULL_SECONDS = 300


def named_in(text: str) -> list[str]:
    """The images that a manifest has run: each container's, and those that Kratix's ConfigMaps and variables name by ``…_IMG``.

    Args:
        text: YAML documents.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    # Every scalar as text: the safe loader fails at a bare "=", which CRDs have.
    documents = yaml.load_all(text, yaml.BaseLoader)
    return [image for document in documents for image in _images(document)]


def require(wanted: Iterable[str], kind: Path, docker: Docker) -> None:
    """Have these images in KinD's node: those that Docker has are loaded, the others pulled by the node as its kubelet would, all at once.

    Args:
        wanted: The images, as manifests name them; one may be named more than once.
        kind: The program kind.
        docker: Docker.

    Raises:
        ClusterError: Docker or the node does not answer.
        KratixError: Some can't be had, each with the reason.
    """
    nodes = node_names(kind)
    if not nodes:
        raise no_node()
    node = nodes[0]
    images = list(dict.fromkeys(wanted))
    with progress(f"looking for {len(images)} images in KinD's node; what it lacks is fetched"):
        there = docker.run("exec", node, "ctr", "--namespace=k8s.io", "images", "ls", "-q").split()
        lacking = [image for image in images if full_name(image) not in there]
        with ThreadPoolExecutor() as pool:
            reasons = dict(zip(lacking, pool.map(partial(_bring, node=node, kind=kind, docker=docker), lacking), strict=True))
    missing = {image: why for image, why in reasons.items() if why}
    if missing:
        msg = f"KinD's node lacks {len(missing)} of the {len(images)} images that Kratix needs, and they can't be had; nothing was applied"
        raise KratixError(msg, why="\n".join(f"{image}: {why}" for image, why in missing.items()), fix=_fix(list(missing), kind))


def load(image: str, kind: Path) -> str:
    """Load an image of Docker's into KinD's node; returns what kind says against it, which is nothing when it is loaded."""
    try:
        done = run_kind(kind, "load", "docker-image", image, f"--name={NAME}", seconds=_LOAD_SECONDS)
    except ClusterError as error:
        return error.what
    return done.stderr.strip() or "kind gives no reason" if done.returncode else ""


def full_name(image: str) -> str:
    """An image's name as containerd keeps it: with the registry, and with a tag or a digest.

    Names are completed as Docker does it (github.com/distribution/reference, ``ParseDockerRef``).
    """
    name, at, digest = image.partition("@")
    first, slash, _ = name.partition("/")
    if not (slash and (re.search("[.:]", first) or first == "localhost")):
        name = f"docker.io/{name}" if slash else f"docker.io/library/{name}"
    folder, _, last = name.rpartition("/")
    if at:
        # Where both are given, the digest alone counts.
        return f"{folder}/{last.partition(':')[0]}@{digest}"
    return name if ":" in last else f"{name}:latest"


def _images(part: object) -> Iterator[str]:
    match part:
        case list():
            for each in part:
                yield from _images(each)
        case dict():
            # Not what cert-manager's --acme-http01-solver-image names: no certificate here comes by ACME.
            if isinstance(part.get("name"), str) and isinstance(part.get("image"), str):
                yield part["image"]
            if str(part.get("name")).endswith("_IMG") and isinstance(part.get("value"), str):
                yield part["value"]
            for key, value in part.items():
                if key.endswith("_IMG") and isinstance(value, str):
                    yield value
                yield from _images(value)


def _bring(image: str, *, node: str, kind: Path, docker: Docker) -> str:
    """Have an image in the node; returns why that can't be done."""
    reasons = []
    # By its digest the node would not know what kind loads.
    if "@" not in image and docker.has_image(image):
        refusal = load(image, kind)
        if not refusal:
            return ""
        reasons.append(f"kind can't load it: {refusal.splitlines()[-1]}")
    try:
        # The limit is kept within the node: what is killed out here goes on in there.
        docker.run("exec", node, "timeout", str(_PULL_SECONDS), "crictl", "pull", image, seconds=_PULL_SECONDS + 10)
    except ClusterError as error:
        reasons.append(error.why.splitlines()[-1] if error.why else f"it did not come within {_PULL_SECONDS} s")
    else:
        return ""
    return "; ".join(reasons)


def _fix(images: Sequence[str], kind: Path) -> str:
    reach = "let this machine reach the registries"
    # What is saved by its digest arrives without a name.
    names = " ".join(image for image in images if "@" not in image)
    if not names:
        return reach
    return "\n".join(
        (
            f"{reach}; or carry the images here:",
            f"where they can be had: for image in {names}; do docker pull $image; done",
            f"docker save --output kratix.tar {names}  (by Docker 28 or newer: with --platform=linux/amd64 or linux/arm64)",
            f"then here: {kind} load image-archive kratix.tar --name {NAME}",
            "labkit kratix up",
            "What has moved to another registry is pulled from there, and given the name that is asked for by docker tag",
        )
    )
