"""A node image's way through an offline bundle, by a real Docker.

It is pulled by its digest from a registry of our own, saved, forgotten, and loaded.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from labkit.cluster.kind.docker import Docker
from labkit.cluster.kind.node_image import NodeImage
from labkit.common.errors import ClusterError
from labkit.toolchain import Toolchain

_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def part(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": f"application/vnd.docker.{kind}", "size": len(content), "digest": sha256(content)}


def tiny_image() -> tuple[bytes, bytes, bytes]:
    """An image of one empty file: its manifest, its config and its layer."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("tiny"))
    layer = gzip.compress(packed.getvalue(), mtime=0)
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [sha256(packed.getvalue())]}}
    about = json.dumps(config).encode()
    parts = {"config": part("container.image.v1+json", about), "layers": [part("image.rootfs.diff.tar.gzip", layer)]}
    return json.dumps({"schemaVersion": 2, "mediaType": _TYPE, **parts}).encode(), about, layer


class Registry(BaseHTTPRequestHandler):
    """What Docker asks a registry for a pull (github.com/distribution/distribution, docs/spec/api.md), for one image."""

    manifest, *_rest = tiny_image()
    blobs: ClassVar = {sha256(content): content for content in _rest}

    def do_GET(self) -> None:
        last = self.path.rpartition("/")[2]
        body = self.manifest if "/manifests/" in self.path else self.blobs.get(last, b"{}")
        self.send_response(200)
        headers = {"Content-Type": _TYPE, "Content-Length": str(len(body)), "Docker-Content-Digest": sha256(body)}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()


@pytest.fixture
def pulled() -> Iterator[str]:
    """The name, with its digest, of an image that Docker has pulled; all that it is known by is gone afterwards."""
    docker = Docker()
    try:
        docker.require()
    except ClusterError as error:
        pytest.skip(f"no KinD without Docker: {error.what}")
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        name = f"127.0.0.1:{server.server_address[1]}/node:v1@{sha256(Registry.manifest)}"
        try:
            docker.run("pull", "--quiet", name)
            yield name
        finally:
            server.shutdown()
            thread.join()
            for known in {name, NodeImage(name).to_use()}:
                if docker.has_image(known):
                    docker.run("image", "rm", known)


def test_an_image_pulled_by_digest_is_used_where_it_was_carried_to(pulled: str, tmp_path: Path) -> None:
    docker, image, tools = Docker(), NodeImage(pulled), Toolchain(tmp_path / "cache", {"PATH": ""})
    tools.pack(tmp_path / "bundle.tar.gz", image=image.save)
    assert image.to_use() == pulled, "what was there stays"
    docker.run("image", "rm", pulled)
    tools.unpack(tmp_path / "bundle.tar.gz", image.load)
    assert not docker.has_image(pulled), "Docker gives digests at a pull alone"
    assert docker.has_image(image.to_use())
    assert pulled.partition("@")[2].replace(":", "-") in image.to_use()
