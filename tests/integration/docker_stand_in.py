"""Stands in for the ``docker`` command where there is no Docker: real kind and real kubeadm make their files through it, and what kubeadm
tells the API server is then really run, with a real etcd. It proves patches, mounts, ports and flags; it proves nothing about a node's
network, its kubelet or its pods. A "container" is a folder here, ``STAND_IN``, which also holds what the test asks to go wrong.

What it says was said by a real Docker: ``docker_answers.json``, which ``make test-kind`` compares with the Docker that it runs on.

Run as a script, it is the command.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

GATEWAY, SUBNET = "127.0.0.2", "127.0.0.0/8"
PKI = "/etc/kubernetes/pki"
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
READY_SECONDS = 60
ANSWERS = Path(__file__).with_name("docker_answers.json")


def answers() -> dict[str, Any]:
    """What a real Docker answered."""
    return dict(json.loads(ANSWERS.read_text()))


class Node:
    """The one "container" that there can be."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "kubeadm"
        self.programs: dict[str, str] = json.loads((folder / "programs.json").read_text())

    @property
    def args(self) -> list[str]:
        """The arguments of ``docker run``; empty while there is no container."""
        file = self.folder / "run.json"
        return list(json.loads(file.read_text())) if file.exists() else []

    @property
    def name(self) -> str:
        return self.args[self.args.index("--name") + 1]

    @property
    def mounts(self) -> dict[str, str]:
        """Paths in the node, and what lies there."""
        pairs = [arg.removeprefix("--volume=").split(":") for arg in self.args if arg.startswith("--volume=")]
        return {pair[1]: pair[0] for pair in pairs if len(pair) > 1}

    @property
    def labels(self) -> dict[str, str]:
        """The container's labels, as kind gives them."""
        flags = pairwise(self.args)
        return dict(value.split("=", 1) for flag, value in flags if flag == "--label")

    @property
    def inspected(self) -> dict[str, Any]:
        """The container as ``docker inspect`` shows it."""
        shown: dict[str, Any] = answers()["container"]
        runs = bool(self.pids())
        shown["Name"], shown["Config"]["Labels"] = f"/{self.name}", self.labels
        shown["State"] |= {"Running": runs, "Status": "running" if runs else "exited"}
        shown["Mounts"] = [shown["Mounts"][0] | {"Source": here, "Destination": inside} for inside, here in self.mounts.items()]
        return shown

    def matches(self, wanted: str) -> bool:
        """Whether a filter of ``docker ps`` lets the container through."""
        by, _, value = wanted.partition("=")
        if by == "volume":
            return value in self.mounts
        if by != "label":
            refuse(f"the stand-in for docker knows no filter {wanted}")
        name, _, text = value.partition("=")
        return name in self.labels and self.labels[name] == (text or self.labels[name])

    @property
    def port(self) -> str:
        """Where the API server's port is on this machine."""
        published = [arg.removeprefix("--publish=").removesuffix("/TCP") for arg in self.args if arg.startswith("--publish=")]
        return next(each for each in published if each.endswith(":6443")).split(":")[1]

    def pids(self) -> list[int]:
        file = self.folder / "pids.json"
        return list(json.loads(file.read_text())) if file.exists() else []

    def outside(self, text: str) -> str:
        """A text with the node's paths as this machine's."""
        for inside, here in self.mounts.items():
            text = text.replace(inside, here)
        return text.replace(PKI, str(self.out))

    def init(self) -> int:
        """What ``kubeadm init`` does, as far as an API server needs it."""
        config = self.folder / "kubeadm.conf"
        written = (self.folder / "written.conf").read_text()
        for inside, here in self.mounts.items():
            # Where kubeadm itself reads; paths that it only hands on to the API server stay the node's.
            written = written.replace(f"directory: {inside}", f"directory: {here}")
        config.write_text(written)
        environ = {**os.environ, "KUBEADM_INIT_DRYRUN_DIR": str(self.out)}
        for phase in (("certs", "all"), ("kubeconfig", "super-admin"), ("control-plane", "apiserver")):
            command = [self.programs["kubeadm"], "init", "phase", *phase, f"--config={config}", "--dry-run"]
            done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
            if done.returncode:
                print(done.stdout, done.stderr)
                return done.returncode
        return self.start()

    def start(self) -> int:
        """Run etcd, and the API server with the static pod's own command; what is the node's in it is made this machine's."""
        if (self.folder / "files-only").exists():
            return 0
        client, peer = (f"127.0.0.1:{free_port()}" for _ in range(2))
        etcd = self.out / "etcd"
        servers = [
            self.run(
                "etcd",
                *(f"--data-dir={self.folder / 'data'}", "--log-level=warn", "--unsafe-no-fsync"),
                *(f"--listen-client-urls=https://{client}", f"--advertise-client-urls=https://{client}"),
                *(
                    f"--listen-peer-urls=http://{peer}",
                    f"--initial-advertise-peer-urls=http://{peer}",
                    f"--initial-cluster=default=http://{peer}",
                ),
                *(f"--cert-file={etcd / 'server.crt'}", f"--key-file={etcd / 'server.key'}"),
                *("--client-cert-auth", f"--trusted-ca-file={etcd / 'ca.crt'}"),
            )
        ]
        import yaml  # It and the next take longest to load, and most calls need neither.

        program, *flags = yaml.safe_load((self.out / "kube-apiserver.yaml").read_text())["spec"]["containers"][0]["command"]
        moved = {"--etcd-servers": f"https://{client}", "--secure-port": self.port}
        flags = [f"{name}={moved.get(name, value)}" for name, _, value in (flag.partition("=") for flag in flags)]
        servers.append(self.run(program, *map(self.outside, flags), "--bind-address=127.0.0.1"))
        (self.folder / "pids.json").write_text(json.dumps([server.pid for server in servers]))
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready():
            if servers[-1].poll() is not None or time.monotonic() > deadline:
                print((self.folder / f"{program}.log").read_text()[-1000:], file=sys.stderr)
                return 1
            time.sleep(0.2)
        return 0

    def ready(self) -> bool:
        import ssl
        import urllib.request

        context = ssl.create_default_context(cafile=str(self.out / "ca.crt"))
        with suppress(OSError), urllib.request.urlopen(f"https://127.0.0.1:{self.port}/readyz", context=context, timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def run(self, name: str, *args: str) -> subprocess.Popen[bytes]:
        argv = [self.programs[name], *args]
        with (self.folder / f"{name}.log").open("a") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(self) -> None:
        """End what `start` started, by pid."""
        for pid in reversed(self.pids()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        (self.folder / "pids.json").unlink(missing_ok=True)

    def read(self, path: str) -> str | None:
        """A file in the node."""
        if path == "/kind/version":
            return "v1.37.2"
        if path == MANIFEST:
            return (self.out / "kube-apiserver.yaml").read_text()
        if path == "/etc/kubernetes/admin.conf":
            import yaml

            config: dict[str, Any] = yaml.safe_load((self.out / "super-admin.conf").read_text())
            config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
            return json.dumps(config)
        if path in self.mounts:
            return Path(self.mounts[path]).read_text()
        return None if path.startswith(PKI) else "{}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(text: str) -> NoReturn:
    print(text)
    sys.exit(0)


def refuse(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(1)


def info(form: str) -> str:
    told: dict[str, Any] = answers()["info"]
    if form == "{{json .}}":
        return json.dumps(told)
    return told["Driver"] if form == "'{{.Driver}}'" else json.dumps(told.get(form.strip("'{} ").removeprefix("json ."), told))


def ps(node: Node, *args: str) -> str:
    if not node.args:
        return ""
    joined = " ".join(args).replace("--filter=", "--filter ").split()
    wanted = [value for flag, value in pairwise(joined) if flag == "--filter"]
    return node.name if all(map(node.matches, wanted)) else ""


def image(folder: Path, *args: str) -> str:
    if (folder / "no-image").exists():
        refuse(answers()["refusals"]["image inspect"])
    return "sha256:0"


def network(folder: Path, verb: str, *rest: str) -> str:
    made = folder / "network"
    if verb == "create":
        made.touch()
    if verb == "inspect":
        shown: dict[str, Any] = answers()["network"]
        for config in shown["IPAM"]["Config"]:
            if "." in config["Subnet"]:
                config |= {"Subnet": SUBNET, "Gateway": GATEWAY}
        return json.dumps([shown])
    return "kind" if made.exists() else ""


def inspect(node: Node, *args: str) -> str:
    asked = " ".join(args)
    if "--type=image" in args:
        return image(node.folder)
    if "--type=container" in args:
        return json.dumps([node.inspected])
    if "role" in asked:
        return next(value for name, value in node.labels.items() if name.endswith("role"))
    return "172.18.0.2,fc00::2" if "IPAddress" in asked else f"127.0.0.1\t{node.port}" if "6443/tcp" in asked and "Ports" in asked else ""


def execute(node: Node, *args: str) -> NoReturn:
    command = [arg for arg in args if arg not in ("--privileged", "-i")][1:]
    match command:
        case ["cat", path]:
            text = node.read(path)
            if text is None:
                refuse(f"cat: {path}: No such file or directory")
            print(text, end="")
            sys.exit(0)
        case ["cp", "/dev/stdin", path]:
            written = sys.stdin.read()
            if path == "/kind/kubeadm.conf":
                (node.folder / "written.conf").write_text(written)
        case ["kubeadm", "init", *_]:
            sys.exit(node.init())
        case ["sh", "-c", line] if line.startswith("tail"):
            answer((node.folder / "kube-apiserver.log").read_text())
    sys.exit(0)


def main(*args: str) -> NoReturn:  # noqa: PLR0912 - one case for each command
    folder = Path(os.environ["STAND_IN"])
    node = Node(folder)
    with (folder / "calls").open("a") as calls:
        calls.write(" ".join(args)[:400].replace("\n", " ") + "\n")
    fault = folder / f"fault-{args[0]}"
    if fault.exists():
        refuse(fault.read_text())
    match args:
        case ["--version" | "-v"]:
            answer("Docker version 28.2.2, build stand-in")
        case ["info", *_]:
            answer(info(args[-1]))
        case ["context", "inspect", *_]:
            answer(answers()["context"])
        case ["image", "inspect", *rest]:
            answer(image(folder, *rest))
        case ["ps", *rest]:
            print(ps(node, *rest), end="")
        case ["network", verb, *rest]:
            answer(network(folder, verb, *rest))
        case ["inspect", *rest]:
            answer(inspect(node, *rest))
        case ["run", *_]:
            (folder / "run.json").write_text(json.dumps(args))
            answer("deadbeef")
        case ["logs", *_]:
            answer("Reached target Multi-User System.")
        case ["start", *_]:
            node.start()
        case ["stop", *_]:
            node.stop()
        case ["rm", *_]:
            node.stop()
            for file in (*folder.glob("*.log"), folder / "run.json"):
                file.unlink()
        case ["exec", *rest]:
            execute(node, *rest)
        case _:
            refuse(f"the stand-in for docker knows no {args}")
    sys.exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
