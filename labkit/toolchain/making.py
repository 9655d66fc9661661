"""Three of the ways in which programs are made: by Go from modules, from Keycloak's distribution, from a Python wheel; `npm` is the fourth.

Each leaves one whole folder per program below ``tools.work / "made"`` and returns the programs' paths in them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.utils import CryptographyDeprecationWarning

from ..environment import GO, MAVEN, PIP
from ..errors import ToolchainError
from .looking import Program
from .recipes import GoModule, KeycloakDistribution, Wheel
from .tools import Tools

_LINK_BYTES = 3e9
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


def build_go(recipe: GoModule, names: Sequence[str], go: Path, tools: Tools) -> dict[str, Path]:
    """Build programs in one call of Go, so that what they share is compiled once.

    Go's caches of modules and of compiled packages are private to this build: together they take gigabytes.

    Raises:
        ToolchainError: Go failed.
    """
    out = tools.work / "out"
    out.mkdir()
    # Each linker takes up to 3 GB, and Go would run as many of them at once as there are processors.
    at_once = max(1, min(os.cpu_count() or 1, int(psutil.virtual_memory().available / _LINK_BYTES)))
    tools.run(
        *(go, "build", "-v", "-p", str(at_once), "-mod=readonly", "-modcacherw", "-buildvcs=false", "-trimpath"),
        *("-ldflags", recipe.ldflags, "-o", f"{out}{os.sep}", *(recipe.packages[name] for name in names)),
        cwd=recipe.folder,
        names=GO,
        environ={
            "GOCACHE": str(tools.work / "cache"),
            "GOPATH": str(tools.work / "go"),
            "GOMODCACHE": str(tools.work / "go" / "mod"),
            "GOTMPDIR": str(tools.work / "tmp"),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
        },
        say=_go_counter(),
    )
    made = {}
    for name in names:
        made[name] = tools.work / "made" / name / name
        made[name].parent.mkdir(parents=True)
        (out / _go_name(recipe.packages[name])).replace(made[name])
    return made


def require_maven(recipe: KeycloakDistribution, environ: Mapping[str, str], passed_over: Sequence[str]) -> Path:
    """Maven's command.

    Raises:
        ToolchainError: It is not on PATH, so Keycloak can't be fetched.
    """
    maven = shutil.which("mvn", path=environ.get("PATH", ""))
    if maven is None:
        msg = "there is no Maven to fetch it with"
        raise ToolchainError(msg, why="\n".join(passed_over), fix=recipe.instead)
    return Path(maven)


def fetch_keycloak(recipe: KeycloakDistribution, java: Program, tools: Tools) -> Path:
    """Fetch Keycloak's archive by Maven, and check its digest.

    Raises:
        ToolchainError: Maven is missing or failed, or the archive is not the one that is pinned.
    """
    maven = require_maven(recipe, tools.environ, ())
    tools.run(
        # With -C a file that is not as its repository's checksum has it ends the run; of the plugin itself no digest is pinned.
        *(maven, "-B", "-C", recipe.plugin, f"-Dartifact={recipe.artifact}", f"-DoutputDirectory={tools.work / 'out'}"),
        f"-Dmaven.repo.local={tools.work / 'repository'}",
        names=MAVEN,
        environ=_maven_environ(java, tools),
    )
    (archive,) = (tools.work / "out").iterdir()
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != recipe.sha256:
        msg = f"{archive.name} is not the archive that labkit knows"
        raise ToolchainError(msg, why=f"its SHA-256 is {digest}, pinned is {recipe.sha256}", fix=recipe.instead)
    return archive


def unpack_keycloak(recipe: KeycloakDistribution, archive: Path, java: Program, tools: Tools) -> Path:
    """Unpack Keycloak's archive and build what is in it.

    Raises:
        ToolchainError: It is no such archive, or the build failed.
    """
    tools.progress.update("unpacking")
    try:
        with tarfile.open(archive) as tar:
            _require_plain(tar)
            # Python before 3.11.4 has no filter.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(tools.work / "unpacked")  # noqa: S202
    except (OSError, tarfile.TarError) as error:
        msg = f"{archive.name} can't be unpacked"
        raise ToolchainError(msg, why=str(error), fix=recipe.instead) from error
    (unpacked,) = (tools.work / "unpacked").iterdir()
    return _build_keycloak(recipe, unpacked, java, tools)


def copy_keycloak(recipe: KeycloakDistribution, home: Path, java: Program, tools: Tools) -> Path:
    """Copy the person's own Keycloak, which is not to be changed, and build the copy.

    Its data and its own server's settings stay behind: the lab says all its settings itself.

    Raises:
        ToolchainError: It can't be copied, or the build failed.
    """
    tools.progress.update(f"copying {home}")
    copy = tools.work / "copy"
    try:
        shutil.copytree(home, copy, ignore=_left_behind(home))
    except (OSError, shutil.Error) as error:
        msg = f"Keycloak in {home} can't be copied"
        raise ToolchainError(msg, why=str(error), fix="make it readable, or unset KEYCLOAK_HOME") from error
    return _build_keycloak(recipe, copy, java, tools)


def keycloak_state(home: Path) -> str:
    """Ten hexadecimal digits that change when what `copy_keycloak` would copy changes: names, sizes and dates."""
    skip = _left_behind(home)
    state = hashlib.sha256(str(home).encode())
    for folder, folders, files in os.walk(home):
        skipped = skip(folder, [*folders, *files])
        folders[:] = sorted(set(folders) - skipped)
        for name in sorted(set(files) - skipped):
            facts = Path(folder, name).lstat()
            state.update(f"{folder}/{name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return state.hexdigest()[:10]


def install_wheel(recipe: Wheel, name: str, tools: Tools) -> Path:
    """Install a wheel by pip, with the person's own settings for indexes and proxies, into a folder of its own.

    Raises:
        ToolchainError: pip failed or is missing.
    """
    folder = tools.work / "made" / name
    tools.run(
        *(sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-user"),
        *("--no-compile", "--progress-bar=off", "--disable-pip-version-check", "--target", folder, "-r", recipe.requirements),
        names=PIP,
    )
    return folder / recipe.executable


def _require_plain(tar: tarfile.TarFile) -> None:
    for member in tar:
        path = Path(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            msg = f"{member.name} is no plain file in a folder of its own"
            raise tarfile.TarError(msg)


def _maven_environ(java: Program, tools: Tools) -> dict[str, str]:
    """What Maven needs to run and to trust what this machine trusts.

    The machine's own Java is best, old as it may be: its trust store knows a company's certificate authority.
    """
    if tools.environ.get("JAVA_HOME") or shutil.which("java", path=tools.environ.get("PATH", "")):
        return {}
    environ = {"JAVA_HOME": str(java.path.parent.parent)}
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


def _build_keycloak(recipe: KeycloakDistribution, folder: Path, java: Program, tools: Tools) -> Path:
    tools.run(
        folder / "bin" / "kc.sh",
        "build",
        *recipe.options,
        environ={"JAVA_HOME": str(java.path.parent.parent)},
    )
    made = tools.work / "made" / "keycloak" / "keycloak"
    made.parent.mkdir(parents=True)
    return folder.replace(made)


def _left_behind(home: Path) -> Callable[[str, list[str]], set[str]]:
    def skip(folder: str, _names: list[str]) -> set[str]:
        return {"data"} if Path(folder) == home else {"keycloak.conf"} if Path(folder) == home / "conf" else set()

    return skip


def _go_name(package: str) -> str:
    """What Go calls the program of a package: its last part, a major version aside (``go help packages``)."""
    *_, parent, last = package.split("/")
    return parent if last[0] == "v" and last[1:].isdecimal() else last


def _go_counter() -> Callable[[str], str]:
    modules = packages = 0

    def say(line: str) -> str:
        nonlocal modules, packages
        if line.startswith("go: downloading "):
            modules += 1
        elif not line.startswith("go: "):
            packages += 1
        return f"{packages} packages compiled" if packages else f"{modules} modules fetched"

    return say
