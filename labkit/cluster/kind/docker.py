"""The commands ``docker`` and ``kind``, and their refusals as errors that name the fix."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ...common.display import progress
from ...common.environment import DOCKER, listed
from ...common.errors import ClusterError
from ...common.problems import recognised
from ...config.hosting import is_loopback

_SILENT_SECONDS = 60
_VIRTUAL_MACHINES = {"colima": "Colima", "lima": "Lima", ".rd": "Rancher Desktop", "orbstack": "OrbStack", "minikube": "minikube"}
"""What the endpoint or the daemon's host is called where Docker runs in a virtual machine of that program."""


def explained(program: str, said: str, **evidence: object) -> ClusterError:
    """Make an error of what a program has said; see `recognised`."""
    return ClusterError(recognised(program, said), said=last_lines(said), whole=said, **evidence)


def last_lines(said: str, count: int = 6) -> str:
    """The last lines that are not empty."""
    return "\n".join([line for line in said.splitlines() if line.strip()][-count:])


@dataclass(frozen=True)
class Daemon:
    """A Docker daemon, as it describes itself.

    Attributes:
        system: The operating system that it runs on; ``Docker Desktop`` there.
        host: The name of the machine that it runs on.
        endpoint: Where the ``docker`` command finds it: ``unix://…`` for a socket, or an address.
        cgroups: The version of its control groups: ``1`` or ``2``.
        limits: Whether it can limit a container's memory, which kubelet asks for.
        root: The folder with its images, on its machine.
    """

    version: str
    system: str
    host: str
    endpoint: str
    cgroups: str
    limits: bool
    rootless: bool
    root: Path

    @property
    def is_desktop(self) -> bool:
        """Whether it is Docker Desktop, where containers reach this machine as ``host.docker.internal``."""
        return self.system == "Docker Desktop"

    @property
    def elsewhere(self) -> str:
        """Where it runs, if that is not this machine itself, so that a container's gateway is not this machine; else empty."""
        if self.is_desktop:
            return ""
        if self.rootless:
            return "Docker runs rootless, in a network of its own"
        for mark, name in _VIRTUAL_MACHINES.items():
            if mark in self.endpoint.lower() or mark in self.host.lower():
                return f"Docker runs in a virtual machine of {name}"
        address = urlsplit(self.endpoint)
        if address.scheme not in ("unix", "") and not is_loopback(self.endpoint):
            return f"Docker runs on another machine ({address.hostname})"
        return ""


class Network(NamedTuple):
    """A bridge network; the gateway is this machine as its containers see it."""

    gateway: str
    subnet: str


class Docker:
    """Docker, by its command, which is given this many seconds to answer."""

    def __init__(self, seconds: float = 30) -> None:
        self._seconds = seconds

    def require(self) -> Daemon:
        """Insist on a Docker that answers.

        Raises:
            ClusterError: There is none, it doesn't run or answer, this user may not use it, or it is Podman by Docker's name.
        """
        said = self.run("--version")
        if not said.startswith("Docker version"):
            raise ClusterError("docker-other-program", said=said.strip())
        info = json.loads(self.run("info", "--format", "{{json .}}") or "{}")
        if not info.get("ServerVersion"):
            # Without a daemon the command of a Docker before 23 ends well all the same.
            raise explained("docker", "\n".join(info.get("ServerErrors") or ()), verb="info")
        return Daemon(
            version=info["ServerVersion"],
            system=info["OperatingSystem"],
            host=info["Name"],
            endpoint=self.run("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").strip(),
            cgroups=info.get("CgroupVersion", ""),
            limits=bool(info.get("MemoryLimit")),
            rootless="name=rootless" in (info.get("SecurityOptions") or ()),
            root=Path(info["DockerRootDir"]),
        )

    def run(self, *args: str, seconds: float = 0) -> str:
        """Run ``docker ARGS``, and return its standard output; ``seconds`` is for what takes longer than an answer."""
        seconds = seconds or self._seconds
        argv, env = ["docker", *args], listed(DOCKER)
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, env=env, stdin=subprocess.DEVNULL, check=False)
        except FileNotFoundError as error:
            raise ClusterError("docker-missing") from error
        except subprocess.TimeoutExpired as error:
            raise ClusterError("docker-silent", seconds=f"{seconds:.0f}", verb=args[0]) from error
        if done.returncode:
            raise explained("docker", done.stderr.strip(), verb=args[0])
        return done.stdout

    def containers_with(self, mount: str) -> dict[str, bool]:
        """The containers that have something mounted at that path, by name; each with whether it runs."""
        names = self.run("ps", "-a", f"--filter=volume={mount}", "--format", "{{.Names}}").split()
        found = json.loads(self.run("inspect", "--type=container", *names)) if names else []
        return {each["Name"].removeprefix("/"): bool(each["State"]["Running"]) for each in found}

    def pull(self, image: str, silent_seconds: float = _SILENT_SECONDS) -> None:
        """Fetch an image from its registry, however long it takes as long as something comes within each ``silent_seconds``.

        Raises:
            ClusterError: It can't be had, or nothing more comes.
        """
        # Only to a terminal does docker tell how far it is.
        ours, terminal = pty.openpty()
        argv, env = ["docker", "pull", image], {**listed(DOCKER), "TERM": "xterm"}
        said = ""
        with progress(f"fetching the image {image}") as shown, os.fdopen(ours, "rb", buffering=0) as output:
            try:
                pull = subprocess.Popen(argv, stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL, env=env)
            finally:
                os.close(terminal)
            try:
                while select.select([output], [], [], silent_seconds)[0]:
                    chunk = b""
                    with suppress(OSError):  # What a terminal's end is on Linux.
                        chunk = output.read(1 << 16)
                    if not chunk:
                        pull.wait()
                        break
                    said = (said + chunk.decode(errors="replace"))[-4000:]
                    shown.update(_last_words(said))
                else:
                    last = _last_words(said) or "its registry, or a firewall on the way, does not answer"
                    raise ClusterError("image-silent", image=image, seconds=f"{silent_seconds:.0f}", said=last)
            finally:
                pull.terminate()
                pull.wait()
            if pull.returncode:
                raise ClusterError("image-unavailable", image=image, said=_last_words(said))

    def has_image(self, image: str) -> bool:
        try:
            self.run("image", "inspect", "--format={{.Id}}", image)
        except ClusterError as error:
            if error.problem.id == "docker-image-missing":
                return False
            raise
        return True

    def network(self, name: str) -> Network:
        """A bridge network, made if it is missing; it outlives the clusters in it."""
        names = self.run("network", "ls", f"--filter=name=^{re.escape(name)}$", "--format", "{{.Name}}").split()
        if name not in names:
            # As kind itself would make it.
            self.run("network", "create", "-d=bridge", "-o", "com.docker.network.bridge.enable_ip_masquerade=true", name)
        found = json.loads(self.run("network", "inspect", name))[0]
        for each in found["IPAM"]["Config"] or ():
            if "." in each.get("Gateway", ""):
                return Network(each["Gateway"], each["Subnet"])
        raise ClusterError("docker-network-without-gateway", network=name)


def _last_words(said: str) -> str:
    """The last line of what a terminal was sent, without what moves its cursor."""
    return last_lines(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said), 1).strip()


def run_kind(kind: Path, *args: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run kind on Docker and in its own network, whatever a person has set for other clusters."""
    argv, env = [str(kind), *args], {**listed(DOCKER), "KIND_EXPERIMENTAL_PROVIDER": "docker"}
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=seconds, env=env, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as error:
        raise ClusterError("kind-silent", command=" ".join(args[:2]), seconds=f"{seconds:.0f}") from error
