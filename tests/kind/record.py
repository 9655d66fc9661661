"""What the real Docker answers about a KinD node, for its stand-in in tests/integration to say the same."""

from __future__ import annotations

import json
from typing import Any

from labkit.cluster.kind.docker import Docker
from labkit.common.errors import ClusterError

INFO = (
    "CgroupDriver",
    "CgroupVersion",
    "DockerRootDir",
    "Driver",
    "DriverStatus",
    "MemoryLimit",
    "Name",
    "OperatingSystem",
    "SecurityOptions",
)
NOWHERE = "registry.invalid/nowhere:1"


def record(docker: Docker, node: str) -> dict[str, Any]:
    """Ask a Docker whatever the product asks, with what differs from machine to machine left out."""
    info = json.loads(docker.run("info", "--format", "{{json .}}"))
    (container,) = json.loads(docker.run("inspect", "--type=container", node))
    (network,) = json.loads(docker.run("network", "inspect", "kind"))
    return {
        "info": {name: info[name] for name in ("ServerVersion", *INFO)} | {"Name": "host"},
        "context": "unix:///var/run/docker.sock",
        "container": {
            "Name": container["Name"],
            "State": {name: container["State"][name] for name in ("Status", "Running", "Paused", "Restarting", "Dead")},
            "Mounts": [mount | {"Source": ""} for mount in container["Mounts"] if mount["Type"] == "bind"][:1],
            "Config": {"Labels": container["Config"]["Labels"]},
        },
        "network": {"Name": network["Name"], "Driver": network["Driver"], "IPAM": network["IPAM"]},
        "refusals": {
            "image inspect": refusal(docker, "image", "inspect", NOWHERE),
            "inspect": refusal(docker, "inspect", "--type=container", "nobody"),
        },
    }


def refusal(docker: Docker, *args: str) -> str:
    """What it says when it refuses."""
    try:
        docker.run(*args)
    except ClusterError as error:
        return error.why
    msg = f"docker {' '.join(args)} was not refused"
    raise AssertionError(msg)


def shape(value: Any) -> Any:
    """What kind of answer it is: names and types, not what differs from machine to machine."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value).__name__
