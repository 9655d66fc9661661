"""The ``docker`` command, as far as a KinD cluster is looked after with it, and its refusals as errors that name the fix."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any

from ..environment import DOCKER, listed
from ..errors import ClusterError

INSTEAD = "do without Docker: LABKIT_CLUSTER=local"


@dataclass(frozen=True)
class Network:
    """A network of Docker's: its name, and the IPv4 subnet and gateway; the gateway is this machine as its containers see it."""

    name: str
    subnet: str
    gateway: str


class Docker:
    """Docker, by its command.

    Args:
        seconds: How long it may take to answer, unless a command is given more.
    """

    def __init__(self, seconds: float = 30) -> None:
        self._seconds = seconds

    def require(self) -> bool:
        """Insist on a Docker that a KinD cluster can be made in; returns whether it is Docker Desktop.

        Raises:
            ClusterError: There is none, it doesn't run or answer, this user may not use it, or it is Podman by Docker's name.
        """
        said = self.run("--version")
        if not said.startswith("Docker version"):
            why = "labkit reads networks, mounts and logs as Docker gives them"
            msg = f"the command docker is not Docker here but says: {said.strip()}"
            raise ClusterError(msg, why=why, fix=INSTEAD)
        return self.run("info", "--format", "{{.OperatingSystem}}").strip() == "Docker Desktop"

    def run(self, *args: str, seconds: float = 0) -> str:
        """Run ``docker ARGS``; returns its standard output. ``seconds`` is for what takes longer than an answer.

        Raises:
            ClusterError: It failed.
        """
        seconds = seconds or self._seconds
        argv, env = ["docker", *args], listed(DOCKER)
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, env=env, stdin=subprocess.DEVNULL, check=False)
        except FileNotFoundError as error:
            msg = "there is no docker command on PATH"
            raise ClusterError(msg, fix=f"install Docker (docs.docker.com/engine/install), or\n{INSTEAD}") from error
        except subprocess.TimeoutExpired as error:
            msg = f"Docker gave no answer within {seconds:.0f} s"
            raise ClusterError(msg, why=f"docker {args[0]} still waited", fix=f"restart Docker, or\n{INSTEAD}") from error
        # Without a daemon, `docker info` may still end with 0.
        if done.returncode or (args[0] == "info" and not done.stdout.strip()):
            raise _refusal(args[0], done.stderr.strip())
        return done.stdout

    def inspect(self, *names: str) -> list[dict[str, Any]]:
        """What Docker knows of these containers."""
        return list(json.loads(self.run("inspect", "--type=container", *names))) if names else []

    def has_image(self, image: str) -> bool:
        """Whether Docker has an image of that name.

        Raises:
            ClusterError: Docker can't be asked.
        """
        try:
            self.run("image", "inspect", "--format={{.Id}}", image)
        except ClusterError as error:
            if "no such image" in error.why.lower():
                return False
            raise
        return True

    def network(self, name: str) -> Network:
        """A bridge network, made if it is missing; it outlives the clusters in it.

        Raises:
            ClusterError: It has no IPv4 gateway.
        """
        names = self.run("network", "ls", f"--filter=name=^{re.escape(name)}$", "--format", "{{.Name}}").split()
        if name not in names:
            # As kind itself would make it.
            self.run("network", "create", "-d=bridge", "-o", "com.docker.network.bridge.enable_ip_masquerade=true", name)
        found = json.loads(self.run("network", "inspect", name))[0]
        for each in found["IPAM"]["Config"] or ():
            if "." in each.get("Gateway", ""):
                return Network(name, each["Subnet"], each["Gateway"])
        msg = f"Docker's network {name} has no IPv4 gateway"
        raise ClusterError(
            msg, why="a node reaches Keycloak on this machine by it", fix=f"docker network rm {name} and try again, or\n{INSTEAD}"
        )

    def read(self, container: str, path: str) -> str:
        """A file in a running container."""
        return self.run("exec", container, "cat", path)


def kind_environment() -> dict[str, str]:
    """An environment for kind: it is to use Docker and its own network, whatever a person has set for other clusters."""
    return {**listed(DOCKER), "KIND_EXPERIMENTAL_PROVIDER": "docker"}


def _refusal(verb: str, said: str) -> ClusterError:
    if re.search("permission denied", said, re.IGNORECASE):
        fix = f"join the group that may (sudo usermod -aG docker $USER), then log in again, or\n{INSTEAD}"
        return ClusterError("this user may not talk to Docker", why=said, fix=fix)
    if re.search("cannot connect|daemon running|failed to connect to the docker API", said, re.IGNORECASE):
        fix = f"start Docker (sudo systemctl start docker, or Docker Desktop), or\n{INSTEAD}"
        return ClusterError("Docker does not run", why=said, fix=fix)
    return ClusterError(f"docker {verb} failed", why=said)
