"""How Keycloak is made."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.utils import CryptographyDeprecationWarning

from ..common.environment import MAVEN
from ..common.errors import ToolchainError
from .recipes import Recipe
from .tools import Tools

_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


@dataclass(frozen=True, kw_only=True)
class KeycloakDistribution(Recipe):
    """Keycloak's distribution, downloaded, fetched by Maven or copied from ``KEYCLOAK_HOME``, and built once with our options.

    Attributes:
        plugin: The Maven plugin's goal that copies an artifact.
        artifact: The distribution's coordinates.
        sha256: Its digest; the official download is the same file.
        options: Options of ``kc.sh build``; a server started with ``--optimized`` takes them as they were here.
    """

    doing = "fetching and building"
    needs = ("java",)
    used_as_is = False

    source: str = "Maven artifact"
    plugin: str
    artifact: str
    sha256: str
    options: tuple[str, ...]

    def state(self, found: Path) -> str:
        """Ten hexadecimal digits that change when what would be copied of it changes: names, sizes and dates."""
        state = hashlib.sha256(str(found).encode())
        for folder, folders, files in os.walk(found):
            skipped = _left_behind(found, folder)
            folders[:] = sorted(set(folders) - skipped)
            for name in sorted(set(files) - skipped):
                facts = Path(folder, name).lstat()
                state.update(f"{folder}/{name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
        return state.hexdigest()[:10]

    def require(self, environ: Mapping[str, str]) -> None:
        """Refuse to go on without Maven.

        Raises:
            ToolchainError: It is not on PATH, so Keycloak can't be fetched.
        """
        _maven(environ)

    def build(self, names: Sequence[str], tools: Tools) -> dict[str, Path]:
        """Copy the person's own Keycloak or unpack an archive, and build that."""
        (name,) = names
        given = tools.given.get(name)
        folder = self._copy(given, tools) if given and given.is_dir() else self._unpack(given or self._fetch(tools), tools)
        tools.run(folder / "bin" / "kc.sh", "build", *self.options, environ=_java_home(tools))
        return {name: folder.replace(tools.made(name) / name)}

    def _ingredients(self) -> tuple[str, ...]:
        return (self.sha256, *self.options)

    def _copy(self, home: Path, tools: Tools) -> Path:
        """Copy the person's own Keycloak, which is not to be changed.

        Its data and its own server's settings stay behind: the lab says all its settings itself.
        """
        tools.progress.update(f"copying {home}")
        try:
            return shutil.copytree(home, tools.work / "copy", ignore=lambda folder, _names: _left_behind(home, folder))
        except (OSError, shutil.Error) as error:
            msg = f"Keycloak in {home} can't be copied"
            raise ToolchainError(msg, why=str(error), fix="make it readable, or unset KEYCLOAK_HOME") from error

    def _fetch(self, tools: Tools) -> Path:
        """Fetch the archive by Maven, and check its digest."""
        tools.run(
            # With -C a file that is not as its repository's checksum has it ends the run; of the plugin itself no digest is pinned.
            *(_maven(tools.environ), "-B", "-C", self.plugin, f"-Dartifact={self.artifact}", f"-DoutputDirectory={tools.work / 'out'}"),
            f"-Dmaven.repo.local={tools.work / 'repository'}",
            names=MAVEN,
            environ=_maven_environ(tools),
        )
        (archive,) = (tools.work / "out").iterdir()
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.sha256:
            msg = f"{archive.name} is not the archive that labkit knows"
            raise ToolchainError(msg, why=f"its SHA-256 is {digest}, pinned is {self.sha256}")
        return archive

    def _unpack(self, archive: Path, tools: Tools) -> Path:
        tools.progress.update("unpacking")
        try:
            with tarfile.open(archive) as tar:
                _require_plain(tar)
                # Python before 3.11.4 has no filter.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(tools.work / "unpacked")  # noqa: S202
        except (OSError, tarfile.TarError) as error:
            msg = f"{archive.name} can't be unpacked"
            raise ToolchainError(msg, why=str(error)) from error
        (unpacked,) = (tools.work / "unpacked").iterdir()
        return unpacked


def _left_behind(home: Path, folder: str) -> set[str]:
    """What is not copied of a folder of the person's Keycloak."""
    return {"data"} if Path(folder) == home else {"keycloak.conf"} if Path(folder) == home / "conf" else set()


def _require_plain(tar: tarfile.TarFile) -> None:
    for member in tar:
        path = Path(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            msg = f"{member.name} is no plain file in a folder of its own"
            raise tarfile.TarError(msg)


def _maven(environ: Mapping[str, str]) -> Path:
    maven = shutil.which("mvn", path=environ.get("PATH", ""))
    if maven is None:
        msg = "there is no Maven to fetch it with"
        raise ToolchainError(msg)
    return Path(maven)


def _java_home(tools: Tools) -> dict[str, str]:
    return {"JAVA_HOME": str(tools.needs["java"].parent.parent)}


def _maven_environ(tools: Tools) -> dict[str, str]:
    """What Maven needs to run and to trust what this machine trusts.

    The machine's own Java is best, old as it may be: its trust store knows a company's certificate authority.
    """
    if tools.environ.get("JAVA_HOME") or shutil.which("java", path=tools.environ.get("PATH", "")):
        return {}
    environ = _java_home(tools)
    bundle = next((tools.environ[name] for name in _CA_VARIABLES if tools.environ.get(name)), None)
    if bundle is not None:
        store = tools.work / "trusted.p12"
        store.write_bytes(_java_trust_store(Path(bundle)))
        options = (tools.environ.get("MAVEN_OPTS", ""), f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStoreType=PKCS12")
        environ["MAVEN_OPTS"] = " ".join(options).strip()
    return environ


def _java_trust_store(bundle: Path) -> bytes:
    with warnings.catch_warnings():
        # Systems' bundles hold old authorities with a serial number that is no longer allowed.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        found = x509.load_pem_x509_certificates(bundle.read_bytes())
    return pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(one, None) for one in found], serialization.NoEncryption())
