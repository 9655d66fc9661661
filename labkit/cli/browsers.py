"""The lab's certificate authority in browsers' own certificate stores: put there on request, and taken out again.

Chromium (and Chrome) on Linux reads an NSS database in the user's home directory, Firefox one per profile; ``certutil`` of NSS edits both
(https://chromium.googlesource.com/chromium/src/+/HEAD/docs/linux/cert_management.md).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common.environment import EVERYBODY, listed
from ..common.errors import TrustError

CHROMIUM_STORE = Path(".pki/nssdb")
"""Below the user's home directory."""

_FIREFOX_PROFILES = (".mozilla/firefox/*/cert9.db", "snap/firefox/common/.mozilla/firefox/*/cert9.db")


@dataclass(frozen=True)
class NssStore:
    """The NSS database of a browser in a folder."""

    browser: str
    folder: Path

    def has(self, name: str) -> bool:
        """Whether an authority of this name is in it."""
        return (self.folder / "cert9.db").exists() and not self._certutil("-L", "-n", name).returncode

    def add(self, name: str, certificate: Path) -> None:
        """Have the browser trust an authority (PEM) for servers' certificates, and for nothing else; it replaces one of that name.

        Raises:
            TrustError: There is no certutil, or it refuses.
        """
        if not (self.folder / "cert9.db").exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._change("-N", "--empty-password")
        self.remove(name)
        self._change("-A", "-n", name, "-t", "C,,", "-i", str(certificate))

    def remove(self, name: str) -> bool:
        """Take it out again. Returns whether it was in; raises as `add` does."""
        there = self.has(name)
        if there:
            self._change("-D", "-n", name)
        return there

    def _change(self, *arguments: str) -> None:
        done = self._certutil(*arguments)
        if done.returncode:
            raise TrustError("browser-store-unchanged", browser=self.browser, folder=self.folder, reason=done.stderr)

    def _certutil(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        certutil = shutil.which("certutil")
        if certutil is None:
            raise TrustError("no-certutil")
        argv, env = [certutil, "-d", f"sql:{self.folder}", *arguments], listed(EVERYBODY)
        return subprocess.run(argv, capture_output=True, text=True, env=env, check=False, stdin=subprocess.DEVNULL, timeout=30)


def stores(home: Path) -> Iterator[NssStore]:
    """The stores below a user's home directory: Chromium's, and one for each profile of Firefox."""
    yield NssStore("Chromium", home / CHROMIUM_STORE)
    for pattern in _FIREFOX_PROFILES:
        for database in sorted(home.glob(pattern)):
            yield NssStore(f"Firefox ({database.parent.name})", database.parent)
