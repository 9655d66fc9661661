"""Official downloads: over TLS from the project's own site, and taken only with the SHA-256 that is pinned here.

So a site can't change a file unseen. Of what is not pinned nothing is downloaded: a digest that the site itself publishes proves that
the file arrived whole, and not who made it. TLS trusts the authorities that this machine trusts; proxies and ``REQUESTS_CA_BUNDLE``
are as requests takes them from the environment.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
import queue
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from ..common.display import Progress
from ..common.errors import ToolchainError
from ..common.http_session import HttpSession

HERE = Path(__file__).parent
_ANSWER_SECONDS = 5.0
_SILENCE_SECONDS = 15.0
_CHUNK_BYTES = 1 << 18
_given_up: dict[str, str] = {}
_GO_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}

PINNED: Mapping[str, str] = {
    url: digest
    for digest, url in (line.split() for line in (HERE / "official.txt").read_text().splitlines() if not line.startswith("#"))
    if digest != "open"
}
"""The SHA-256 of each official download, by its address; what is still open is left out."""


@dataclass(frozen=True, kw_only=True)
class Official:
    """What a project publishes ready to use, at an address of its own.

    In the paths ``{name}`` stands for the program, ``{system}`` and ``{machine}`` for this machine's kind as Go calls it, and ``{packed}``
    for ``zip`` on macOS and ``tar.gz`` elsewhere.

    Attributes:
        site: The address that the paths are below.
        systems: The programs that are published, each with the systems it is published for.
        file: The path of the program, or of an archive.
        member: The program's path in the archive; empty when it is the whole file that is wanted.
        pinned: The SHA-256 of what is at an address.
    """

    site: str
    systems: Mapping[str, tuple[str, ...]]
    file: str
    member: str = ""
    pinned: Mapping[str, str] = field(default_factory=lambda: PINNED)

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        return f"downloaded from {self.host}"

    @property
    def host(self) -> str:
        """Who is asked, for people."""
        return urlsplit(self.site).netloc

    def has(self, name: str) -> bool:
        """Whether the program is published for this system."""
        return platform.system().lower() in self.systems.get(name, ())

    def sha256(self, name: str) -> str:
        """The SHA-256 of what is published for this machine; empty if it is not pinned."""
        return self.pinned.get(self.url(name), "")

    def url(self, name: str) -> str:
        """The address of what is published for this machine."""
        return f"{self.site}/{self.path(self.file, name)}"

    def urls(self) -> Iterator[str]:
        """The addresses for every program, on every system and kind of machine; some may be the same."""
        for name, systems in self.systems.items():
            for kind in itertools.product(systems, _GO_MACHINES.values()):
                yield f"{self.site}/{self.path(self.file, name, kind)}"

    def path(self, template: str, name: str, kind: tuple[str, str] | None = None) -> str:
        """One of the paths for a program, on this machine or on another system and kind of machine."""
        machine = platform.machine()
        system, machine = kind or (platform.system().lower(), _GO_MACHINES.get(machine, machine))
        return template.format(name=name, system=system, machine=machine, packed="zip" if system == "darwin" else "tar.gz")

    def fetch(self, name: str, folder: Path, shown: Progress) -> Path:
        """Download a program, or the archive that is wanted whole, into a folder that holds nothing else afterwards.

        A host that does not begin to answer within five seconds, or falls silent later, is not asked again by this process.

        Args:
            name: The program.
            folder: Made if it is missing; a temporary one, as it holds something half-made until this returns.
            shown: Told how much has arrived.

        Returns:
            The file, named like the program; executable if it is the program itself.

        Raises:
            ToolchainError: It can't be had from there, or is not what is pinned; ``what`` says why in a line.
        """
        url, wanted = self.url(name), self.sha256(name)
        if not wanted:
            msg = f"no SHA-256 of {name} is pinned (make pins)"
            raise ToolchainError(msg)
        part, program = folder / "part", folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            arrived = _stream(url, part, name, shown)
            if arrived != wanted:
                msg = f"{url} arrived with the SHA-256 {arrived} instead of {wanted}"
                raise ToolchainError(msg)
            if self.member:
                _take_out(part, self.path(self.member, name), program)
                part.unlink()
            else:
                part.replace(program)
            program.chmod(0o755)
        except OSError as error:
            msg = f"{name} from {self.host} can't be written: {error.strerror or error}"
            raise ToolchainError(msg) from error
        return program


def sha256(url: str, shown: Progress) -> str:
    """The SHA-256 of what is at an address now; nothing of it is kept.

    Raises:
        ToolchainError: It can't be had from there; ``what`` says why in a line.
    """
    return _stream(url, Path(os.devnull), url.rpartition("/")[2], shown)


class _SystemTrust(HTTPAdapter):
    """Trusts what this machine trusts too, such as a company's own authority, and not only the list that requests brings."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=ssl.create_default_context())

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=ssl.create_default_context())


def _stream(url: str, target: Path, name: str, shown: Progress) -> str:
    """Write to a file as it arrives, and return the SHA-256 of what did."""
    digest, megabytes = hashlib.sha256(), 0.0
    try:
        with HttpSession() as session, _open(session, url) as response, target.open("wb") as file:
            total = int(response.headers.get("Content-Length", 0)) / 1e6
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                megabytes += len(chunk) / 1e6
                of = f" of {total:.0f} MB, {megabytes / total:.0%}" if total else " MB"
                shown.update(f"{name}, {megabytes:.0f}{of}")
    except (requests.RequestException, HTTPError) as error:
        raise _broken_off(url, error) from error
    return digest.hexdigest()


def _open(session: requests.Session, url: str) -> requests.Response:
    host = urlsplit(url).netloc
    if host in _given_up:
        raise ToolchainError(_given_up[host])
    # Whatever begins with TLS goes on with TLS: there is nothing to follow a redirection to plain HTTP with.
    session.adapters.clear()
    session.mount(f"{urlsplit(url).scheme}://", _SystemTrust())
    answers: queue.SimpleQueue[requests.Response | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            headers = {"Accept-Encoding": "identity"}
            answers.put(session.get(url, stream=True, timeout=(_ANSWER_SECONDS, _SILENCE_SECONDS), headers=headers))
        except (requests.RequestException, HTTPError, OSError) as error:
            answers.put(error)

    # Asked in a thread, as looking up the host's name knows no timeout, and each of its addresses has one of its own.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=_ANSWER_SECONDS)
    except queue.Empty:
        raise _give_up(host, f"no answer within {_ANSWER_SECONDS:g} s") from None
    if isinstance(answer, Exception):
        raise _give_up(host, _cause(_root(answer))) from answer
    if answer.status_code != requests.codes.ok:
        msg = f"{url} answers {answer.status_code}"
        raise ToolchainError(msg)
    return answer


def _give_up(host: str, cause: str) -> ToolchainError:
    _given_up[host] = f"{host} can't be reached: {cause}"
    return ToolchainError(_given_up[host])


def _broken_off(url: str, error: Exception) -> ToolchainError:
    root = _root(error)
    if isinstance(root, TimeoutError):
        return _give_up(urlsplit(url).netloc, f"silent for {_SILENCE_SECONDS:g} s in the middle of a download")
    return ToolchainError(f"{url} broke off: {_cause(root)}")


def _root(error: BaseException) -> BaseException:
    """What began it: requests and urllib3 wrap an error several times, and the innermost says it best."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error


def _cause(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def _take_out(archive: Path, member: str, target: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                target.write_bytes(zipped.read(member))
        else:
            with tarfile.open(archive) as tar:
                file = tar.extractfile(member)
                target.write_bytes(file.read() if file else b"")
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        msg = f"{target.name}'s archive holds no {member}: {error}"
        raise ToolchainError(msg) from error
