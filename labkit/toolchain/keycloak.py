"""How Keycloak is made: downloaded, fetched by Maven, or copied from the person's own; then built, and prepared for its start."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import tarfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.utils import CryptographyDeprecationWarning

from ..common.environment import EVERYBODY, MAVEN, listed
from ..common.errors import ToolchainError
from . import downloads
from .recipe import Program, Recipe
from .tools import Tools, answer

JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:-UseG1GC", "-XX:+UseSerialGC", "-XX:-UsePerfData")
"""What Java is given after `kc.sh`'s options. A lab is used for minutes: compiling less halves the time to start.

Collecting garbage by one thread takes 90 MB less.
"""

_MAIN = "org.keycloak.quarkus.runtime.KeycloakMain"
_TABLES = ".mv.db"
_TABLES_ALONE = "SCRIPT NODATA TO 'all.sql'; SCRIPT DROP TO 'notes.sql' TABLE DATABASECHANGELOG, DATABASECHANGELOGLOCK, MIGRATION_MODEL"
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


@dataclass(frozen=True, kw_only=True)
class Keycloak(Recipe):
    """Keycloak's distribution, built once with our options; the Maven artifact is the same file as the download."""

    needs = ("java",)
    used_as_is = False

    doing: str = "fetching and building"
    plugin: str
    artifact: str
    options: tuple[str, ...]

    @property
    def sha256(self) -> str:
        return downloads.PINNED.get(self.url(), "")

    def slot(self, found: Program | None = None) -> str:
        """For what is made of the person's own Keycloak, it changes with what would be copied of that: names, sizes and dates."""
        if found is None:
            return super().slot()
        state = hashlib.sha256(str(found.path).encode())
        for folder, folders, files in os.walk(found.path):
            skipped = _left_behind(found.path, folder)
            folders[:] = sorted(set(folders) - skipped)
            for name in sorted(set(files) - skipped):
                facts = Path(folder, name).lstat()
                state.update(f"{folder}/{name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
        return f"{self.name}-{found.version}-{self.key()}-{state.hexdigest()[:10]}"

    def ingredients(self) -> Sequence[str]:
        return (self.sha256, *self.options)

    def build(self, _batch: Sequence[Recipe], tools: Tools) -> dict[str, Path]:
        """Copy the person's own Keycloak or unpack an archive, and build that."""
        given = tools.given[self.name].path if self.name in tools.given else self._fetch(tools)
        folder = _copy(given, tools) if given.is_dir() else _unpack(given, tools)
        tools.run(folder / "bin" / "kc.sh", "build", *self.options, environ=_java_home(tools))
        return {self.name: folder.replace(tools.made(self.name) / self.name)}

    def _fetch(self, tools: Tools) -> Path:
        """Fetch the archive by Maven, and check its digest."""
        maven = shutil.which("mvn", path=tools.environ.get("PATH", ""))
        if maven is None:
            raise ToolchainError("no-maven")
        tools.run(
            # With -C a file that is not as its repository's checksum has it ends the run; of the plugin itself no digest is pinned.
            *(maven, "-B", "-C", self.plugin, f"-Dartifact={self.artifact}", f"-DoutputDirectory={tools.work / 'out'}"),
            f"-Dmaven.repo.local={tools.work / 'repository'}",
            names=MAVEN,
            environ=_maven_environ(tools),
        )
        (archive,) = (tools.work / "out").iterdir()
        digest = downloads.digest(archive)
        if digest != self.sha256:
            raise ToolchainError("archive-other-digest", file=archive.name, digest=digest, pinned=self.sha256)
        return archive


@dataclass(frozen=True, kw_only=True)
class KeycloakStart(Recipe):
    """What a built Keycloak starts from: a database that has its tables already, and its classes as Java has them in memory.

    Quarkus' own class loader keeps classes out of Java's archive (JEP 514), so they are loaded from a plain class path.
    Java itself passes over an archive that is not of its own making; one that makes none (before 25) leaves `kc.sh`'s way.
    """

    needs = ("java", "keycloak")
    made_of = needs
    packed = False

    doing: str = "preparing"

    def ingredients(self) -> Sequence[str]:
        return (*JAVA_OPTIONS, _MAIN, _TABLES_ALONE)

    def build(self, _batch: Sequence[Recipe], tools: Tools) -> dict[str, Path]:
        """Start Keycloak once, without serving anybody, and keep what it has loaded and the tables that it has made.

        No row but its notes on tables and versions is kept: realms, keys and people are each state folder's own.
        """
        java, home, made = tools.needs["java"].path, tools.needs["keycloak"].path, tools.made(self.name) / self.name
        prepared, folder = Prepared(made), tools.work / "started"
        for each in (folder, made):
            each.mkdir()
        for name in ("conf", "lib", "providers", "themes"):
            (folder / name).symlink_to(home / name)
        shutil.copy(home / self.told, made)
        options = (*_script_options(home, tools), *JAVA_OPTIONS, "-cp", os.pathsep.join(map(str, _class_path(home))))
        prepared.options.write_text("".join(f"{json.dumps(option, ensure_ascii=False)}\n" for option in options))
        recording = ("-XX:+IgnoreUnrecognizedVMOptions", f"-XX:AOTCacheOutput={prepared.classes}")
        tools.run(java, *recording, *prepared.arguments(folder), "export", "--optimized", f"--dir={folder / 'realms'}")
        (h2,) = (home / "lib" / "lib" / "main").glob("com.h2database.h2-*.jar")
        for database, script in (("data/h2/keycloakdb", _TABLES_ALONE), ("tables", "RUNSCRIPT FROM 'all.sql'; RUNSCRIPT FROM 'notes.sql'")):
            (folder / "now.sql").write_text(script)
            tools.run(
                *(java, "-cp", h2, "org.h2.tools.RunScript"),
                *("-url", f"jdbc:h2:./{database}", "-user", "", "-password", "", "-script", "now.sql"),
                cwd=folder,
            )
        tables = folder / "tables.mv.db"
        tables.replace(made / f"{downloads.digest(tables)}{_TABLES}")
        return {self.name: made}


@dataclass(frozen=True)
class Prepared:
    """What `KeycloakStart` has left in a folder."""

    folder: Path

    @property
    def options(self) -> Path:
        """Java's options, class path included, as a file that Java reads."""
        return self.folder / "java.args"

    @property
    def classes(self) -> Path:
        """Java's archive of classes; not there for a Java that makes none."""
        return self.folder / "classes.aot"

    def arguments(self, home: Path) -> tuple[str, ...]:
        """What Java is given to run Keycloak in a folder of its own, up to Keycloak's arguments."""
        return (f"@{self.options}", f"-Dkc.home.dir={home}", f"-Djboss.server.config.dir={home / 'conf'}", _MAIN)

    def tables(self) -> Path | None:
        """The database; nothing if it is not as it was made, which its name tells."""
        return next((file for file in self.folder.glob(f"*{_TABLES}") if file.name == f"{downloads.digest(file)}{_TABLES}"), None)


def _script_options(home: Path, tools: Tools) -> list[str]:
    """What `kc.sh` gives Java, as it says itself, without what depends on its place."""
    said = answer(home / "bin" / "kc.sh", env={**listed(EVERYBODY, tools.environ), "JAVA": "true", "PRINT_ENV": "true"})
    _, found, options = said.partition("Using JAVA_RUN_OPTS: ")
    if not found:
        raise ToolchainError("keycloak-options-hidden", script=home / "bin" / "kc.sh")
    words = shlex.split(options)
    return [word for word in words[: words.index("-cp")] if not word.startswith("-Dkc.")]


def _class_path(home: Path) -> list[Path]:
    """Keycloak's jars, in the order of Quarkus' own class loader."""
    lib = home / "lib"
    first = (lib / "quarkus" / "transformed-bytecode.jar", lib / "quarkus" / "generated-bytecode.jar", lib / "app" / "keycloak.jar")
    folders = (lib / "lib" / "boot", lib / "lib" / "main", home / "providers")
    return [*first, *(jar for folder in folders for jar in sorted(folder.glob("*.jar")))]


def _copy(home: Path, tools: Tools) -> Path:
    """Copy the person's own Keycloak, which is not to be changed.

    Its data and its own server's settings stay behind: the lab says all its settings itself.
    """
    tools.progress.update(f"copying {home}")
    try:
        return shutil.copytree(home, tools.work / "copy", ignore=lambda folder, _names: _left_behind(home, folder))
    except (OSError, shutil.Error) as error:
        raise ToolchainError("keycloak-not-copied", folder=home, reason=error) from error


def _left_behind(home: Path, folder: str) -> set[str]:
    """What is not copied of a folder of the person's Keycloak."""
    return {"data"} if Path(folder) == home else {"keycloak.conf"} if Path(folder) == home / "conf" else set()


def _unpack(archive: Path, tools: Tools) -> Path:
    tools.progress.update("unpacking")
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.name.startswith("/") or ".." in Path(member.name).parts or not (member.isfile() or member.isdir()):
                    msg = f"{member.name} is no plain file in a folder of its own"
                    raise tarfile.TarError(msg)
            # Python before 3.11.4 has no filter.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(tools.work / "unpacked")  # noqa: S202
    except (OSError, tarfile.TarError) as error:
        raise ToolchainError("archive-not-unpacked", file=archive.name, reason=error) from error
    (unpacked,) = (tools.work / "unpacked").iterdir()
    return unpacked


def _java_home(tools: Tools) -> dict[str, str]:
    return {"JAVA_HOME": str(tools.needs["java"].path.parent.parent)}


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
