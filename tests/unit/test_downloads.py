"""How official downloads are had, and what is done when they can't be.

The site is a folder served on loopback, laid out like the real ones, with faults at will. The programs in it are small shell scripts
that tell a version.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import platform
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest

from labkit.common.display import Progress, progress
from labkit.common.errors import ToolchainError
from labkit.servers.certificates import Certificates, Pair
from labkit.toolchain import Program, Toolchain, downloads, store
from labkit.toolchain.downloads import PINNED
from labkit.toolchain.keycloak import Keycloak
from labkit.toolchain.pins import PINS
from labkit.toolchain.recipe import Recipe
from tests import pins

KUBECTL = b"#!/bin/sh\necho Client Version: v1.37.2\n"
(KEYCLOAK,) = (recipe for recipe in PINS.values() if isinstance(recipe, Keycloak))
ETCD_PROGRAM = b"#!/bin/sh\necho etcd Version: 3.7.3\n"
GO = """#!/bin/sh
echo "$1" >> "${0}.calls"
if [ "$1" = version ]; then echo "go version go1.26.8 linux/amd64"; exit; fi
for argument; do
  case "$previous" in -o) out="$argument" ;; esac
  previous="$argument"
done
for package; do
  case "$package" in
    go.etcd.io/*) /bin/echo '#!/bin/sh\necho etcd Version: 3.7.3' > "$out/server" ;;
    k8s.io/kubernetes/cmd/kubectl) /bin/echo '#!/bin/sh\necho Client Version: v1.37.2' > "$out/kubectl" ;;
    k8s.io/kubernetes/*) /bin/echo '#!/bin/sh\necho Kubernetes v1.37.2' > "$out/${package##*/}" ;;
  esac
done
/bin/chmod +x "$out"/*
"""


class Site(ThreadingHTTPServer):
    """A folder served over HTTP, with faults by path."""

    def __init__(self, folder: Path, tls: Pair | None = None) -> None:
        self.folder, self.asked, self.faults, self.pinned = folder, list[str](), dict[str, str](), dict[str, str]()
        self.reached, self.released = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.address = f"http{'s' if tls else ''}://127.0.0.1:{self.server_port}"
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.certificate, tls.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def host(self) -> str:
        return self.address.partition("//")[2]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def put(self, path: str, content: bytes) -> str:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content)
        return path

    def publish(self, name: str, content: bytes) -> str:
        """Lay a file out where the recipe has it, and pin it; returns its path."""
        path = self.put(path_of(name), content)
        self.pinned[f"{self.address}/{path}"] = hashlib.sha256(content).hexdigest()
        return path


class Handler(SimpleHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.server.asked.append(path)
        match self.server.faults.get(path):
            case None:
                super().do_GET()
            case "404":
                self.send_error(404)
            case "hanging":
                self.server.reached.set()
                self.server.released.wait(30)
            case "truncated" | "silent" as fault:
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                self.wfile.write(b"x" * 1000)
                self.wfile.flush()
                self.server.reached.set()
                if fault == "silent":
                    self.server.released.wait(30)
            case "gate":
                self.server.reached.set()
                self.server.released.wait(30)
                super().do_GET()
            case elsewhere:
                self.send_response(302)
                self.send_header("Location", elsewhere)
                self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with Site(tmp_path / "site") as serving:
        monkeypatch.setattr(downloads, "PINNED", serving.pinned)
        yield serving


def path_of(name: str) -> str:
    """Where below its project's site a program is published."""
    return urlsplit(PINS[name].url()).path.lstrip("/")


def at(address: str, recipe: Recipe) -> Recipe:
    """The recipe with its download from this address."""
    return dataclasses.replace(recipe, download=recipe.download.replace(f"https://{recipe.host}", address))


class Machine:
    """A cache, a PATH with nothing but a Go on it, and a site."""

    def __init__(self, folder: Path, address: str) -> None:
        self.cache, self.bin = folder / "cache", folder / "bin"
        self.pins = {name: at(address, recipe) if recipe.download else recipe for name, recipe in PINS.items()}
        self.environ = {"PATH": str(self.bin)}
        self.bin.mkdir()
        self.program("go", GO)

    def program(self, path: str, text: str) -> Path:
        file = self.bin / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def ensure(self, *names: str) -> dict[str, Program]:
        return Toolchain(self.cache, self.environ, self.pins).ensure(*names)

    def built(self) -> int:
        calls = self.bin / "go.calls"
        return calls.read_text().split().count("build") if calls.exists() else 0

    def kept(self) -> list[str]:
        """The cache's folders, temporary ones included."""
        return sorted(path.name.rpartition("-")[0] for path in (self.cache / "programs").iterdir() if path.is_dir())


@pytest.fixture
def machine(tmp_path: Path, site: Site) -> Machine:
    return Machine(tmp_path, site.address)


def archive(content: bytes) -> bytes:
    """etcd's archive for this system, with the program among other things."""
    member, packed = f"{Path(path_of('etcd')).name.removesuffix('.zip').removesuffix('.tar.gz')}/etcd", io.BytesIO()
    if platform.system() == "Darwin":
        with zipfile.ZipFile(packed, "w") as zipped:
            zipped.writestr(member, content)
    else:
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name in (f"{member}ctl", member):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def test_addresses_are_those_of_the_projects_for_each_kind_of_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"))
    found = {}
    for system, machine in kinds:
        monkeypatch.setattr(platform, "system", lambda system=system: system)
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        for name in ("kubectl", "kube-apiserver", "etcd", "keycloak"):
            if PINS[name].is_published:
                found[system, machine, name] = PINS[name].url()
    etcd = "https://github.com/etcd-io/etcd/releases/download/v3.7.3/etcd-v3.7.3"
    keycloak = f"https://github.com/keycloak/keycloak/releases/download/{KEYCLOAK.version}/keycloak-{KEYCLOAK.version}.tar.gz"
    assert found == {
        ("Linux", "x86_64", "kubectl"): "https://dl.k8s.io/v1.37.2/bin/linux/amd64/kubectl",
        ("Linux", "x86_64", "kube-apiserver"): "https://dl.k8s.io/v1.37.2/bin/linux/amd64/kube-apiserver",
        ("Linux", "x86_64", "etcd"): f"{etcd}-linux-amd64.tar.gz",
        ("Linux", "x86_64", "keycloak"): keycloak,
        ("Linux", "aarch64", "kubectl"): "https://dl.k8s.io/v1.37.2/bin/linux/arm64/kubectl",
        ("Linux", "aarch64", "kube-apiserver"): "https://dl.k8s.io/v1.37.2/bin/linux/arm64/kube-apiserver",
        ("Linux", "aarch64", "etcd"): f"{etcd}-linux-arm64.tar.gz",
        ("Linux", "aarch64", "keycloak"): keycloak,
        ("Darwin", "arm64", "kubectl"): "https://dl.k8s.io/v1.37.2/bin/darwin/arm64/kubectl",
        ("Darwin", "arm64", "etcd"): f"{etcd}-darwin-arm64.zip",
        ("Darwin", "arm64", "keycloak"): keycloak,
    }


def test_a_zip_is_opened_too_as_etcd_for_macos_comes_in_one(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    site.publish("etcd", archive(ETCD_PROGRAM))
    program = at(site.address, PINS["etcd"]).fetch(tmp_path / "out", Shown())
    assert program.read_bytes() == ETCD_PROGRAM
    assert list((tmp_path / "out").iterdir()) == [program]


class Shown(Progress):
    """Progress that remembers all that it was given."""

    def __init__(self) -> None:
        super().__init__("downloading")
        self.said: list[str] = []

    def update(self, detail: str) -> None:
        self.said.append(detail)


def test_a_download_says_its_megabytes_and_percent_and_leaves_the_program_alone_in_its_folder(tmp_path: Path, site: Site) -> None:
    content = KUBECTL + b"#" * 2_000_000
    shown = Shown()
    site.publish("kubectl", content)
    program = at(site.address, PINS["kubectl"]).fetch(tmp_path / "out", shown)
    assert shown.said[-1] == "kubectl, 2 of 2 MB, 100%"
    assert len(shown.said) > 3
    assert program.read_bytes() == content
    assert os.access(program, os.X_OK)
    assert list((tmp_path / "out").iterdir()) == [program]


def test_published_programs_are_downloaded_and_not_built_and_cached_afterwards(
    machine: Machine, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.publish("kubectl", KUBECTL)
    site.publish("etcd", archive(ETCD_PROGRAM))
    had = machine.ensure("kubectl", "etcd")
    assert {(p.version, p.source) for p in had.values()} == {
        ("1.37.2", f"downloaded from {site.host}"),
        ("3.7.3", f"downloaded from {site.host}"),
    }
    assert capsys.readouterr().out.count(f" from {site.host} (") == 2
    assert machine.kept() == ["etcd-3.7.3", "kubectl-1.37.2"]
    asked = list(site.asked)
    assert machine.ensure("kubectl", "etcd") == had
    assert (site.asked, machine.built()) == (asked, 0)


FILE = path_of("kubectl")


def pinned_at(address: str, name: str) -> dict[str, str]:
    """A pin for a program that the site does not have."""
    return {at(address, PINS[name]).url(): "0" * 64}


@pytest.mark.fault(
    "Programs",
    "a download that is cut off, has another digest, is missing (404) or is not the program",
    "it is thrown away, the reason is said, and the program is built instead",
)
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({FILE: "404"}, f"{{site}}/{FILE} answers 404"),
        ({FILE: "truncated"}, f"{{site}}/{FILE} broke off: "),
        ({FILE: "/another"}, f"{{site}}/{FILE} arrived with the SHA-256 "),
        ({FILE: "/other"}, "kubectl (downloaded from {host}) does not work here"),
    ],
)
def test_what_does_not_arrive_whole_is_built_instead_and_the_reason_is_said(
    machine: Machine, site: Site, capsys: pytest.CaptureFixture[str], fault: dict[str, str], why: str
) -> None:
    other = b"#!/bin/sh\necho Client Version: v1.0.0\n"
    site.publish("kubectl", other if "/other" in fault.values() else KUBECTL)
    site.put("other", other)
    site.put("another", KUBECTL + b"# changed\n")
    site.faults |= fault
    kubectl = machine.ensure("kubectl")["kubectl"]
    assert (kubectl.version, kubectl.source) == ("1.37.2", "built from its Go module")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("✘ downloading kubectl from ")
    assert lines[1].startswith(f"  {why.format(site=site.address, host=site.host)}")
    assert lines[1].endswith("; instead: built from its Go module")
    assert machine.kept() == ["kubectl-1.37.2"]


def with_its_digest(site: Site, content: bytes) -> None:
    """Publish kubectl as its project does, with the site's own digest beside it."""
    site.put(FILE, content)
    site.put(f"{FILE}.sha256", f"{hashlib.sha256(content).hexdigest()}\n".encode())


@pytest.mark.fault(
    "Programs", "a download site that has changed a file, and its own digest too", "it is refused, and the program is built instead"
)
def test_a_pinned_file_that_changed_is_refused_although_the_sites_own_digest_agrees(
    machine: Machine, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.publish("kubectl", KUBECTL)
    with_its_digest(site, KUBECTL + b"# and something else\n")
    assert machine.ensure("kubectl")["kubectl"].source == "built from its Go module"
    assert f"instead of {hashlib.sha256(KUBECTL).hexdigest()}; instead: built" in capsys.readouterr().out


@pytest.mark.fault("Programs", "a program whose SHA-256 is not pinned", "it is not downloaded, whatever digest its site has; it is built")
def test_what_is_not_pinned_is_not_downloaded(machine: Machine, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    with_its_digest(site, KUBECTL)
    rows = Toolchain(machine.cache, machine.environ, machine.pins).status().records()
    assert [row["from"] for row in rows if row["program"] == "kubectl"] == ["missing: built from its Go module"]
    assert machine.ensure("kubectl")["kubectl"].source == "built from its Go module"
    assert "  no SHA-256 of kubectl is pinned (make pins); instead: built from its Go module\n" in capsys.readouterr().out
    assert site.asked == []


def test_only_what_was_refused_is_built(machine: Machine, site: Site) -> None:
    site.publish("kubectl", KUBECTL)
    had = machine.ensure("kubectl", "kube-apiserver")
    assert had["kubectl"].source.startswith("downloaded from ")
    assert had["kube-apiserver"].source == "built from its Go module"


@pytest.mark.fault("Programs", "a download site that hangs, or falls silent midway", "it is given up, and not asked again by that process")
@pytest.mark.parametrize(
    ("fault", "limit", "why"),
    [
        ("hanging", "_ANSWER_SECONDS", "no answer within 0.5 s"),
        ("silent", "_SILENCE_SECONDS", "silent for 0.5 s in the middle of a download"),
    ],
)
def test_a_host_that_hangs_is_given_up_and_not_asked_again(
    machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: str, limit: str, why: str
) -> None:
    monkeypatch.setattr(downloads, limit, 0.5)
    for name in ("kubectl", "kube-apiserver"):
        site.faults[site.publish(name, KUBECTL)] = fault
    site.pinned |= pinned_at(site.address, "etcd")
    machine.ensure("kubectl", "kube-apiserver")
    machine.ensure("etcd")
    assert site.reached.wait(20)
    assert site.asked == [FILE]
    assert capsys.readouterr().out.count(f"  {site.host} can't be reached: {why}; instead: built from its Go module\n") == 2


@pytest.mark.fault("Programs", "a download site that can't be reached", "it is given up within seconds")
def test_a_host_that_nobody_answers_at_is_given_up_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{nobody.getsockname()[1]}"
        started = time.monotonic()
        machine = Machine(tmp_path, f"http://{host}")
        monkeypatch.setattr(downloads, "PINNED", pinned_at(f"http://{host}", "kubectl"))
        assert machine.ensure("kubectl")["kubectl"].source == "built from its Go module"
        assert time.monotonic() - started < 5
    assert f"  {host} can't be reached: Connection refused; instead: " in capsys.readouterr().out


@pytest.mark.fault("Programs", "a name server that does not answer", "it is given up within seconds")
def test_a_name_that_is_looked_up_for_ever_is_given_up_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up is held by hand, as a name server that says nothing can't be provoked."""
    held = threading.Event()

    def look_up(*_: object, **__: object) -> None:
        held.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(downloads, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(downloads, "PINNED", pinned_at("http://held.test", "kubectl"))
    machine = Machine(tmp_path, "http://held.test")
    started = time.monotonic()
    try:
        assert machine.ensure("kubectl")["kubectl"].source == "built from its Go module"
        assert time.monotonic() - started < 5
    finally:
        held.set()


@pytest.mark.fault("Programs", "no network, and nothing found", "one error with each source's reason and every way out")
def test_with_no_source_at_all_the_error_says_each_reason_and_every_way_out(machine: Machine, site: Site) -> None:
    site.pinned |= pinned_at(site.address, "etcd")
    machine.program("go", GO.replace("for package;", "echo no module proxy; exit 1\nfor package;"))
    with pytest.raises(ToolchainError) as caught:
        machine.ensure("etcd")
    assert f"{next(iter(site.pinned))} answers 404\nno module proxy" in caught.value.why
    assert caught.value.what == "etcd can't be had: go failed with exit code 1"
    assert caught.value.fix.splitlines() == [
        f"read {machine.cache / 'logs' / 'etcd.log'} and try again, or",
        "put etcd on PATH, or the folder that holds it in KUBEBUILDER_ASSETS, or",
        "name your network's module proxy in GOPROXY, or",
        "start from a bundle that somebody with network made (labkit setup --offline-bundle FILE)",
    ]


def test_what_building_needs_is_not_fetched_for_a_download_and_its_failure_names_the_programs_ways_out(
    machine: Machine, site: Site
) -> None:
    (machine.bin / "go").unlink()
    machine.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    site.publish("kubectl", KUBECTL)
    site.pinned |= pinned_at(site.address, "etcd")
    assert machine.ensure("kubectl")["kubectl"].version == "1.37.2"
    with pytest.raises(ToolchainError, match="etcd can't be had: go can't be had: python failed with exit code 1") as caught:
        machine.ensure("etcd")
    assert "answers 404" in caught.value.why
    assert "install Go" in caught.value.fix
    assert "KUBEBUILDER_ASSETS" in caught.value.fix


@pytest.fixture
def tls_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, Path]]:
    """A site with TLS and one program, and the authority that vouches for it."""
    certificates = Certificates(tmp_path / "tls")
    with Site(tmp_path / "tls-site", certificates.server("site")) as serving:
        serving.publish("kubectl", KUBECTL)
        monkeypatch.setattr(downloads, "PINNED", serving.pinned)
        yield serving, certificates.authority("servers")


@pytest.mark.fault("Programs", "a download site with a certificate of an unknown authority", "nothing is taken from it")
def test_a_site_with_a_certificate_of_an_unknown_authority_is_not_trusted(
    tmp_path: Path, tls_site: tuple[Site, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, tls_site[0].address)
    assert machine.ensure("kubectl")["kubectl"].source == "built from its Go module"
    assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_companys_authority_is_trusted_as_the_system_or_requests_knows_it(
    tmp_path: Path, tls_site: tuple[Site, Path], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for other in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(other, raising=False)
    serving, authority = tls_site
    monkeypatch.setenv(variable, str(authority))
    machine = Machine(tmp_path, serving.address)
    assert machine.ensure("kubectl")["kubectl"].source == f"downloaded from {serving.host}"


@pytest.mark.fault("Programs", "a download site that redirects to plain HTTP", "it is not followed")
def test_a_redirection_away_from_tls_is_not_followed(
    tmp_path: Path, tls_site: tuple[Site, Path], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, authority = tls_site
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    serving.faults[FILE] = f"{site.address}/{site.publish('kubectl', KUBECTL)}"
    machine = Machine(tmp_path, serving.address)
    assert machine.ensure("kubectl")["kubectl"].source == "built from its Go module"
    assert site.asked == []


def keycloak_archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in (
            ("bin/kc.sh", '#!/bin/sh\n/bin/echo "$@" > "${0%/bin/kc.sh}/built"\n'),
            ("version.txt", f"Keycloak - Version {KEYCLOAK.version}\n"),
        ):
            info = tarfile.TarInfo(f"keycloak-{KEYCLOAK.version}/{name}")
            info.size, info.mode = len(text), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def with_java(machine: Machine) -> None:
    home = machine.bin.parent / "jdk"
    java = machine.program(str(home / "bin" / "java"), f"#!/bin/sh\necho '    java.home = {home}'; echo '    java.version = 21.0.4'\n")
    machine.environ["JAVA_HOME"] = str(java.parent.parent)


def test_keycloak_needs_no_maven_when_its_pinned_archive_can_be_downloaded(machine: Machine, site: Site) -> None:
    with_java(machine)
    site.publish("keycloak", keycloak_archive())
    keycloak = machine.ensure("keycloak")["keycloak"]
    assert (keycloak.version, keycloak.source) == (KEYCLOAK.version, f"downloaded from {site.host}")
    assert (keycloak.path / "built").read_text() == f"build {' '.join(KEYCLOAK.options)}\n"


@pytest.mark.fault("Programs", "a Keycloak archive that is not the pinned one", "it is refused, and the next source asked")
def test_a_keycloak_archive_that_is_not_the_pinned_one_is_refused_and_maven_is_asked_for(machine: Machine, site: Site) -> None:
    with_java(machine)
    path = site.publish("keycloak", keycloak_archive())
    wanted = site.pinned[f"{site.address}/{path}"] = PINNED[KEYCLOAK.url()]
    with pytest.raises(ToolchainError, match="keycloak can't be had: there is no Maven to fetch it with") as caught:
        machine.ensure("keycloak")
    assert f"instead of {wanted}" in caught.value.why
    assert machine.kept() == []


@pytest.mark.fault("Programs", "two set-ups at once", "the second waits; everything is downloaded once")
def test_two_set_ups_at_once_download_once(machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()

    def spy(text: str) -> AbstractContextManager[Progress]:
        assert text == "waiting for another set-up that makes kubernetes"
        waits.set()
        return progress(text)

    monkeypatch.setattr(store, "progress", spy)
    # The one that holds the download is to wait for the other, and not to give the site up.
    monkeypatch.setattr(downloads, "_ANSWER_SECONDS", 20)
    site.faults[site.publish("kubectl", KUBECTL)] = "gate"
    results: list[dict[str, Program]] = []
    both = [threading.Thread(target=lambda: results.append(machine.ensure("kubectl"))) for _ in range(2)]
    for thread in both:
        thread.start()
    said = waits.wait(20)
    site.released.set()
    for thread in both:
        thread.join(timeout=30)
    assert said
    assert site.asked == [FILE]
    assert len(results) == 2
    assert results[0] == results[1]


@pytest.mark.fault("Programs", "a download that is interrupted, also by kill -9", "nothing of it is trusted later; the next set-up works")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_leaves_nothing_that_is_trusted(machine: Machine, site: Site, ending: signal.Signals) -> None:
    site.faults[site.publish("kubectl", KUBECTL)] = "silent"
    script = """
import dataclasses, json, pathlib, sys
from labkit.toolchain import Toolchain, downloads
from labkit.toolchain.pins import PINS
downloads.PINNED, downloads._SILENCE_SECONDS = json.loads(sys.argv[3]), 600
kubectl = dataclasses.replace(PINS["kubectl"], download=sys.argv[2])
Toolchain(pathlib.Path(sys.argv[1]), pins={**PINS, "kubectl": kubectl}).ensure("kubectl")
"""
    setup = subprocess.Popen(
        [sys.executable, "-c", script, str(machine.cache), machine.pins["kubectl"].url(), json.dumps(site.pinned)],
        env={**machine.environ, "PYTHONPATH": str(Path(downloads.__file__).parents[2])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert site.reached.wait(20)
        setup.send_signal(ending)
        # Not only once the site counts as silent.
        setup.wait(timeout=120)
    finally:
        setup.kill()
    assert Toolchain(machine.cache, machine.environ, machine.pins).find("kubectl") is None
    site.faults.clear()
    assert machine.ensure("kubectl")["kubectl"].source.startswith("downloaded from ")
    assert machine.kept() == ["kubectl-1.37.2"]


@pytest.mark.fault(
    "Programs", "a site that can't be reached, or has changed a file, while it is pinned anew", "what was pinned stays; it is said"
)
def test_pinning_takes_what_can_be_had_and_keeps_the_rest(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new, same, changed, absent, away = (f"{site.address}/{name}" for name in ("new", "same", "changed", "absent", "away"))
    digest = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("new", "same", "changed")}
    for name in digest:
        site.put(name, name.encode())
    monkeypatch.setattr(pins, "FILE", tmp_path / "official.txt")
    monkeypatch.setattr(pins, "PINNED", {same: digest["same"], changed: "1" * 64, away: "2" * 64})
    monkeypatch.setattr(pins, "urls", lambda: iter((new, same, changed, absent, away, new)))
    assert pins.main() == 1
    lines = [line for line in (tmp_path / "official.txt").read_text().splitlines() if not line.startswith("#")]
    assert [tuple(line.split()) for line in lines] == [
        (digest["new"], new),
        (digest["same"], same),
        ("1" * 64, changed),
        ("open", absent),
        ("2" * 64, away),
    ]
    said = capsys.readouterr().out
    assert f"  it has the SHA-256 {digest['changed']}, and {'1' * 64} when it was pinned: " in said
    assert f"  {absent} answers 404; stays open\n" in said
    assert f"  {away} answers 404; stays {'2' * 64}\n" in said
    assert said.count("✘") == 3
