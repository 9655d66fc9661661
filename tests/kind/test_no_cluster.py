"""What keeps a KinD cluster from being made, on a real Docker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labkit.cluster.kind.docker import Docker
from labkit.cluster.kind.node_image import NodeImage
from labkit.config.settings import Settings
from labkit.lab import Lab
from tests.integration.docker_stand_in import ANSWERS
from tests.support import labkit, own_state_folder

KIND: dict[str, Any] = {"LABKIT_CLUSTER": "kind"}
NOWHERE = "registry.invalid/kindest/node:v1.37.0"


@pytest.mark.fault("Servers", "a KinD node image that can't be had", "nothing is started, and the next `labkit up` may go without Docker")
def test_without_an_image_nothing_is_begun(docker: Docker, tmp_path: Path) -> None:
    with own_state_folder(tmp_path / "home") as folder:
        refused = labkit("up", LABKIT_KIND_IMAGE=NOWHERE, **KIND)
        assert refused.returncode == 1
        assert f"Docker has no node image {NOWHERE}" in refused.stderr
        assert "LABKIT_CLUSTER=local" in refused.stderr
        lab = Lab.open()
        assert lab.processes.names() == []
        assert not (folder / "kind").exists()
        assert lab.cluster.provider.name == "local-platform"


@pytest.mark.fault("Servers", "there is a KinD cluster platform of somebody else's", "it is never touched, neither by up nor by down")
def test_somebody_elses_cluster_is_left_alone(docker: Docker, tmp_path: Path) -> None:
    """Its node needs no Kubernetes to be somebody else's: kind goes by labels, which are those that it gave to a node of its own."""
    labels = json.loads(ANSWERS.read_text())["container"]["Config"]["Labels"]
    named = [f"--label={name}={value}" for name, value in labels.items()]
    theirs = docker.run("create", "--name=platform-control-plane", *named, NodeImage.of(Settings.load()).to_use()).strip()
    try:
        with own_state_folder(tmp_path / "home"):
            refused = labkit("up", **KIND)
            assert "a KinD cluster platform that this lab has not made" in refused.stderr
            assert Lab.open().processes.names() == []
            assert labkit("down", **KIND).returncode == 0
        assert docker.run("inspect", "--format", "{{.Id}}", "platform-control-plane").strip() == theirs
    finally:
        docker.run("rm", theirs)
