"""Bundles: the programs of one machine in a file, for others like it that have no network.

A bundle is a gzipped tar. Its first member, ``manifest.json``, names the kind of machine, the programs, and every file with its size
and SHA-256; the files lie below a folder per program, named as in the cache, and a program is one of them. A container image may be
with them, as ``docker save`` writes it. Python's packages are with them for the Makefile, which takes them out before there is a labkit.
The digests prove that a bundle arrived whole, and not who made it: it holds programs, so it is to be had from somebody one trusts.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import platform
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..common.display import Progress
from ..common.errors import ToolchainError
from .downloads import digest
from .recipe import Program

_MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1 << 26
_FORMAT = 4
_IMAGE = "image/docker.tar"
_PACKAGES = "python"
_LEVEL = 3
_MACHINE = f"{platform.system()} {platform.machine()}"


@dataclass(frozen=True)
class Packed(Program):
    """A program in a bundle; its path is the one below its folder, which is called ``slot`` here and in the cache."""

    slot: str


@dataclass(frozen=True)
class Image:
    """A container image beside the programs: the name that it is asked for by, and what ``docker save`` wrote."""

    name: str
    file: Path


class _Format(BaseModel):
    """What every format's manifest says."""

    format: int


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Manifest(_Format):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    machine: str
    programs: tuple[Packed, ...]
    image: Annotated[str, Field(pattern="^([A-Za-z0-9][A-Za-z0-9._/:@-]*)?$")]
    files: dict[str, _File]


def pack(file: Path, programs: Mapping[str, tuple[Program, Path]], packages: Path, image: Image | None, shown: Progress) -> None:
    """Write a bundle: to a temporary name, then renamed.

    ``programs`` has for each slot its program, and the folder that goes along with it; the program itself if it stands alone.
    ``packages`` is a folder of wheels for this Python.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        of = f"{_PACKAGES}/{sys.version_info.major}.{sys.version_info.minor}"
        packed, sources = [], {f"{of}/{wheel.name}": wheel for wheel in _files(packages)}
        for slot, (program, whole) in programs.items():
            base = whole.parent if whole.is_file() else whole
            packed.append(Packed(**{**asdict(program), "path": program.path.relative_to(base), "slot": slot}))
            sources.update({f"{slot}/{source.relative_to(base).as_posix()}": source for source in _files(whole)})
        if image is not None:
            sources[_IMAGE] = image.file
        files = {member: _File(size=source.stat().st_size, sha256=digest(source)) for member, source in sources.items()}
        asked_for = "" if image is None else image.name
        manifest = _Manifest(format=_FORMAT, machine=_MACHINE, programs=tuple(packed), image=asked_for, files=files)
        # What links point to goes in, as they may lead out of the folder.
        with tarfile.open(part, "w:gz", compresslevel=_LEVEL, dereference=True) as tar:
            text = manifest.model_dump_json(indent=1).encode()
            about = tarfile.TarInfo(_MANIFEST)
            about.size = len(text)
            tar.addfile(about, io.BytesIO(text))
            for member, source in sources.items():
                shown.update(member)
                tar.add(source, member, recursive=False, filter=_nobodys)
        part.replace(file)
    except OSError as error:
        raise ToolchainError("bundle-not-made", file=file, reason=error) from error
    finally:
        part.unlink(missing_ok=True)


def unpack(file: Path, work: Path, slots: Mapping[str, str], shown: Progress) -> tuple[tuple[Packed, ...], Image | None]:
    """Unpack a bundle whole, and check that it is meant for this machine and this labkit and that every file is as it was packed.

    Programs and image are below the folder ``work`` then; ``slots`` has this labkit's for each program.
    """
    try:
        with tarfile.open(file, "r:gz") as tar:
            manifest = _manifest(file, tar, slots)
            needed, free = sum(one.size for one in manifest.files.values()), shutil.disk_usage(work).free
            if needed > free:
                reason = f"its files take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at {work.parent}"
                raise ToolchainError("bundle-no-room", file=file, reason=reason)
            for folder in sorted({folder for name in manifest.files for folder in PurePosixPath(name).parents}):
                (work / folder).mkdir(mode=0o700, exist_ok=True)
            missing = dict(manifest.files)
            # The first member was the manifest.
            for member in itertools.islice(tar, 1, None):
                shown.update(member.name)
                wanted = missing.pop(member.name, None)
                _insist(wanted is not None, f"{member.name} is not in its manifest, or is there twice")
                content = tar.extractfile(member) if member.isfile() else None
                whole = (
                    content and wanted and member.size == wanted.size and _copy(content, work / member.name, member.mode) == wanted.sha256
                )
                _insist(whole, f"{member.name} is not as the manifest has it")
            _insist(not missing, f"{len(missing)} files of its manifest are missing, such as {next(iter(missing), '')}")
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        # What the system refuses has a number, what is wrong with the file has none.
        number = getattr(error, "errno", None)
        name = "bundle-no-room" if number in (errno.ENOSPC, errno.EDQUOT) else "bundle-not-unpacked" if number else "bundle-damaged"
        raise ToolchainError(name, file=file, reason=error) from error
    return manifest.programs, Image(manifest.image, work / _IMAGE) if manifest.image else None


def _manifest(file: Path, tar: tarfile.TarFile, slots: Mapping[str, str]) -> _Manifest:
    """Read the manifest; a ValueError says what is wrong with it."""
    first = tar.next()
    plain = first is not None and first.name == _MANIFEST and first.isfile() and first.size <= _MANIFEST_BYTES
    content = tar.extractfile(first) if first is not None and plain else None
    text = content.read() if content else b""
    _insist(content, f"it does not begin with a {_MANIFEST}")
    try:
        of = _Format.model_validate_json(text).format
        if of != _FORMAT:
            raise ToolchainError("bundle-other-version", file=file, differs=f"its format is {of}, this labkit's is {_FORMAT}")
        manifest = _Manifest.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        msg = f"its {_MANIFEST} is malformed: {where} {error.errors()[0]['msg']}"
        raise ValueError(msg) from None
    if manifest.machine != _MACHINE:
        raise ToolchainError("bundle-other-machine", file=file, theirs=manifest.machine, own=_MACHINE)
    known = ((one.slot, slots.get(one.name)) for one in manifest.programs)
    others = [f"{slot}, where this labkit has {own or 'none'}" for slot, own in known if slot != own]
    if others:
        raise ToolchainError("bundle-other-version", file=file, differs="\n".join(others))
    _require_in_place(manifest)
    return manifest


def _require_in_place(manifest: _Manifest) -> None:
    """Refuse a manifest with a file or a program that is not in the folder of a program."""
    slots = {_PACKAGES, *(program.slot for program in manifest.programs)}
    own = [name for name in manifest.files if not (name == _IMAGE and manifest.image)]
    for name in own:
        path = PurePosixPath(name)
        plain = str(path) == name and ".." not in path.parts and len(path.parts) > 1 and path.parts[0] in slots
        _insist(plain, f"{name} is no plain file in the folder of a program")
    folders = {str(parent) for name in own for parent in PurePosixPath(name).parents}
    for name in manifest.files:
        _insist(name not in folders, f"{name} is both a file and a folder")
    there = {*manifest.files, *folders}
    for program in manifest.programs:
        member = f"{program.slot}/{program.path}"
        _insist(member in there, f"the program {member} is none of its files")
    _insist(not manifest.image or _IMAGE in manifest.files, f"the image {manifest.image} is none of its files")


def _insist(holds: object, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _copy(content: IO[bytes], target: Path, mode: int) -> str:
    """Write a file that only its owner may read, whatever the umask, and return its SHA-256."""
    with target.open("wb") as out:
        shutil.copyfileobj(content, out, 1 << 20)
    target.chmod(0o700 if mode & 0o100 else 0o600)
    return digest(target)


def _files(whole: Path) -> Iterator[Path]:
    if whole.is_file():
        yield whole
    for folder, folders, files in os.walk(whole, followlinks=True):
        folders.sort()
        # A distribution's Java has links to parts that are not installed.
        yield from (file for name in sorted(files) if (file := Path(folder, name)).is_file())


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
