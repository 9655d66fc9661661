"""The image of KinD's nodes: by which name Docker has it, and how it goes along in an offline bundle.

Docker knows an image by a digest only from a pull: saving and loading lose it (github.com/moby/moby/issues/22011). An image's id can't
stand for it either, as Docker's two image stores give the same image different ones (github.com/moby/moby/issues/48401).
So an image that is asked for by its digest is carried under a name that holds the digest, and that nobody else gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...common.display import progress
from ...common.errors import ClusterError
from ...config.settings import Settings
from ...toolchain.pins import KIND_NODE_IMAGE
from .docker import Docker

if TYPE_CHECKING:
    from ...toolchain.bundle import Image

_FILE_SECONDS = 900


class NodeImage:
    """The node image that a lab asks for, by the name ``REPOSITORY:TAG`` or ``REPOSITORY:TAG@sha256:…``."""

    def __init__(self, name: str, docker: Docker | None = None) -> None:
        self.name, self._docker = name, docker or Docker()

    @classmethod
    def of(cls, settings: Settings, docker: Docker | None = None) -> NodeImage:
        """The one that the settings name, or else labkit's pinned one."""
        return cls(settings.kind_image or KIND_NODE_IMAGE, docker)

    def to_use(self) -> str:
        """The name by which Docker has it; the one that is asked for, to be pulled, when it has it by none."""
        carried = _carried(self.name)
        return carried if not self._docker.has_image(self.name) and self._docker.has_image(carried) else self.name

    def fetch(self) -> None:
        """Have Docker pull it unless Docker has it."""
        if self._docker.has_image(self.to_use()):
            return
        try:
            self._docker.pull(self.name)
        except ClusterError as error:
            tagged = self.name.partition("@")[0]
            raise ClusterError("node-image-missing", tagged=tagged, image=self.name, reason=error.why or error.what) from None

    def save(self, folder: Path) -> Image | None:
        """Write it to a file in a folder; one that Docker doesn't have is left out, which is said."""
        try:
            self._docker.require()
            name, carried = self.to_use(), _carried(self.name)
            lacking = "" if self._docker.has_image(name) else f"Docker does not have it (docker pull {self.name})"
        except ClusterError as error:
            lacking = error.what
        if lacking:
            print(f"  the node image {self.name} is left out of the bundle: {lacking}", flush=True)
            return None
        file = folder / "node.tar"
        with progress(f"saving the node image {self.name}"):
            if name != carried:
                self._docker.run("tag", name, carried)
            try:
                self._docker.run("save", f"--output={file}", carried, seconds=_FILE_SECONDS)
            finally:
                if name != carried:
                    self._docker.run("image", "rm", carried)
        from ...toolchain.bundle import Image

        return Image(self.name, file)

    def load(self, image: Image) -> None:
        """Have Docker take the image that came with a bundle; where no Docker answers it is passed over, which is said."""
        try:
            self._docker.require()
        except ClusterError as error:
            pass_over(image, error.what)
            return
        with progress(f"loading the node image {image.name} into Docker"):
            self._docker.run("load", "--quiet", f"--input={image.file}", seconds=_FILE_SECONDS)
            if not self._docker.has_image(_carried(image.name)):
                raise ClusterError("node-image-not-loaded", image=image.name)
        if image.name != self.name:
            print(f"  this lab asks for another node image, {self.name}", flush=True)
            print(f"  to use the bundle's: export LABKIT_KIND_IMAGE={image.name}", flush=True)


def pass_over(image: Image, why: str = "this lab's cluster is not in KinD") -> None:
    """Say that the image that came with a bundle was not taken, and how to take it later."""
    print(f"  the bundle's node image {image.name} is passed over: {why}", flush=True)
    print("  to take it later: LABKIT_CLUSTER=kind labkit setup --offline-bundle FILE", flush=True)


def _carried(name: str) -> str:
    """The name under which an image is saved; no site can have it, so that nothing is ever pulled by it (RFC 2606)."""
    _, by_digest, digest = name.partition("@")
    return f"labkit.invalid/kind-node:{digest.replace(':', '-')}" if by_digest else name
