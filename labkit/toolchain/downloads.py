"""Official downloads: over TLS from the project's own site, and taken only with the SHA-256 that is pinned here.

So a site can't change a file unseen. Of what is not pinned nothing is downloaded: a digest that the site itself publishes proves that
the file arrived whole, and not who made it. TLS trusts the authorities that this machine trusts; proxies and ``REQUESTS_CA_BUNDLE``
are as requests takes them from the environment.
"""

from __future__ import annotations

import hashlib
import os
import queue
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from ..common.display import Progress
from ..common.errors import ToolchainError, first_cause, why_failed
from ..common.http_session import HttpSession
from ..common.problems import Problem, problem

HERE = Path(__file__).parent
_ANSWER_SECONDS = 5.0
_SILENCE_SECONDS = 15.0
_CHUNK_BYTES = 1 << 18
_given_up: dict[str, Problem] = {}

PINNED: Mapping[str, str] = {
    url: digest
    for digest, url in (line.split() for line in (HERE / "official.txt").read_text().splitlines() if not line.startswith("#"))
    if digest != "open"
}
"""The SHA-256 of each official download, by its address; what is still open is left out."""


def fetch(url: str, member: str, program: Path, shown: Progress) -> Path:
    """Download a program, or the archive that is wanted whole, into a folder that holds nothing else afterwards.

    A host that does not begin to answer within five seconds, or falls silent later, is not asked again by this process.

    Args:
        member: The program's path in the archive that is there; empty when the whole file is wanted.
        program: Where it goes. Its folder, which is made if it is missing, holds something half-made until this returns.

    Raises:
        ToolchainError: It can't be had from there, or is not what is pinned; ``what`` says why in a line.
    """
    name, wanted, part = program.name, PINNED.get(url), program.with_name("part")
    if not wanted:
        raise ToolchainError("download-not-pinned", name=name)
    try:
        program.parent.mkdir(parents=True, exist_ok=True)
        arrived = _stream(url, part, name, shown)
        if arrived != wanted:
            raise ToolchainError("download-other-digest", url=url, arrived=arrived, wanted=wanted)
        if member:
            program.write_bytes(_taken_out(part, member))
            part.unlink()
        else:
            part.replace(program)
        program.chmod(0o755)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ToolchainError("download-lacks-member", name=name, member=member, reason=error) from error
    except OSError as error:
        reason = error.strerror or error
        raise ToolchainError("download-not-written", name=name, host=urlsplit(url).netloc, reason=reason) from error
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


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _stream(url: str, target: Path, name: str, shown: Progress) -> str:
    """Write to a file as it arrives, and return the SHA-256 of what did."""
    sha, megabytes = hashlib.sha256(), 0.0
    try:
        with HttpSession() as session, _open(session, url) as response, target.open("wb") as file:
            if shown.ended:
                # Where nothing arrives, nobody would look whether all is to end.
                threading.Thread(target=_cut_off, args=(response, shown.ended), daemon=True).start()
            total = int(response.headers.get("Content-Length", 0)) / 1e6
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                sha.update(chunk)
                megabytes += len(chunk) / 1e6
                of = f" of {total:.0f} MB, {megabytes / total:.0%}" if total else " MB"
                shown.update(f"{name}, {megabytes:.0f}{of}")
    except (requests.RequestException, HTTPError) as error:
        shown.update("broken off")
        if isinstance(first_cause(error), TimeoutError):
            raise _give_up(url, f"silent for {_SILENCE_SECONDS:g} s in the middle of a download") from error
        raise ToolchainError("download-broke-off", url=url, reason=why_failed(error)) from error
    return sha.hexdigest()


def _cut_off(response: requests.Response, ended: threading.Event) -> None:
    ended.wait()
    # It may have arrived long ago.
    with suppress(OSError, ValueError, RuntimeError):
        response.raw.shutdown()


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
        raise _give_up(url, f"no answer within {_ANSWER_SECONDS:g} s") from None
    if isinstance(answer, Exception):
        raise _give_up(url, why_failed(answer)) from answer
    if answer.status_code != requests.codes.ok:
        raise ToolchainError("download-refused", url=url, status=answer.status_code)
    return answer


def _give_up(url: str, cause: str) -> ToolchainError:
    host = urlsplit(url).netloc
    _given_up[host] = problem("download-unreachable", host=host, reason=cause)
    return ToolchainError(_given_up[host])


def _taken_out(archive: Path, member: str) -> bytes:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            return zipped.read(member)
    with tarfile.open(archive) as tar:
        file = tar.extractfile(member)
        return file.read() if file else b""
