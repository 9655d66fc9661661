"""The nodes of a lab's KinD cluster, looked into."""

from __future__ import annotations

from typing import Any

from ...common.errors import ClusterError
from ...common.kubernetes_yaml import load
from .checks import no_node
from .docker import Docker
from .files import KindFiles

_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_LOGS = "/var/log/pods/kube-system_kube-apiserver-*/kube-apiserver"


class Nodes:
    """The containers that have something mounted at the lab's mark.

    kind's success proves little: the flags may have been dropped, the CA not mounted, Keycloak out of reach. So everything is read back.
    """

    def __init__(self, docker: Docker, mark: str) -> None:
        self._docker, self._mark = docker, mark

    def all(self) -> dict[str, bool]:
        """The nodes by name, each with whether it runs."""
        return self._docker.containers_with(self._mark)

    def log(self, lines: int) -> str:
        """The last lines of the API server's log."""
        return self._exec("sh", "-c", f"tail -qn {lines} $(ls -tr {_LOGS}/*.log)")

    def pod(self) -> dict[str, Any]:
        """The API server's pod, as its manifest specifies it."""
        return dict(load(self._exec("cat", _MANIFEST))["spec"])

    def can_be_taken_over(self, files: KindFiles) -> bool:
        """Whether there is one that is as it is to be; a stopped one is started for that."""
        nodes = self.all()
        for name, runs in nodes.items():
            if not runs:
                self._docker.run("start", name)
        return bool(nodes) and self.fault(files) is None

    def fault(self, files: KindFiles) -> ClusterError | None:
        """Read back the API server's configuration, and from which file."""
        try:
            found = self._exec("cat", str(files.read_by_server))
        except ClusterError:
            found = ""
        if found != files.texts[files.read_by_server.name]:
            return ClusterError("kind-file-not-mounted", file=files.read_by_server)
        try:
            pod = self.pod()
        except ClusterError as error:
            return ClusterError("kind-no-api-server", reason=error.why)
        missing = [flag for flag in files.flags if flag not in pod["containers"][0]["command"]]
        if missing:
            return ClusterError("kind-flags-dropped", flags=" ".join(missing))
        if {"ip": files.localhost, "hostnames": ["localhost"]} not in pod.get("hostAliases", ()):
            return ClusterError("kind-localhost-not-led")
        return None

    def delete(self) -> bool:
        """Delete them; returns whether there were any."""
        nodes = self.all()
        if nodes:
            self._docker.run("rm", "-f", "-v", *nodes, seconds=120)
        return bool(nodes)

    def _exec(self, *command: str) -> str:
        for name in self.all():
            return self._docker.run("exec", name, *command)
        raise no_node()
