"""Bundles: the programs of one machine in a file, for others like it that have no network.

A bundle is a gzipped tar. Its first member, ``manifest.json``, names the kind of machine, the programs, and every file with its size
and SHA-256; the files lie below a folder per program, named as in the cache, and a program is one of them. A container image may be
with them, as ``docker save`` writes it. The digests prove that a bundle arrived whole, and not who made it: it holds programs, so it
is to be had from somebody one trusts.
"""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import platform
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..common.display import Progress
from ..common.errors import ToolchainError
from .programs import Program

_MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1 << 26
_FORMAT = 3
_IMAGE = "image/docker.tar"
_LEVEL = 3
_FIX = "have a bundle made by this version of labkit on a machine like this one: labkit setup --offline-bundle FILE"


@dataclass(frozen=True)
class Packed(Program):
    """A program in a bundle; its path is the one below its folder.

    Attributes:
        slot: The name of its folder, here and in the cache.
    """

    slot: str


@dataclass(frozen=True)
class Image:
    """A container image beside the programs.

    Attributes:
        name: What it is asked for by.
        file: What ``docker save`` wrote.
    """

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


def pack(file: Path, programs: Mapping[str, tuple[Program, Path]], image: Image | None, shown: Progress) -> None:
    """Write a bundle: to a temporary name, then renamed.

    Args:
        file: The bundle.
        programs: Each slot with its program, and the folder that goes along with it; the program itself if it stands alone.
        image: The container image that goes along.
        shown: Told what is packed.

    Raises:
        ToolchainError: Something can't be read or written.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        sources = {f"{slot}/{below}": source for slot, (_, whole) in programs.items() for below, source in _files(whole)}
        if image is not None:
            sources[_IMAGE] = image.file
        packed = tuple(
            Packed(program.name, program.version, _below(program.path, whole), program.source, slot)
            for slot, (program, whole) in programs.items()
        )
        files = {member: _File(size=source.stat().st_size, sha256=_digest(source)) for member, source in sources.items()}
        asked_for = "" if image is None else image.name
        manifest = _Manifest(format=_FORMAT, machine=_this_machine(), programs=packed, image=asked_for, files=files)
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
        msg = f"the bundle {file} can't be made"
        raise ToolchainError(
            msg, why=str(error), fix="name a file in a folder that you may write to, on a disk with a few GB of room"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def unpack(file: Path, work: Path, slots: Mapping[str, str], shown: Progress) -> tuple[list[tuple[Packed, Path]], Image | None]:
    """Unpack a bundle whole, and check that it is meant for this machine and this labkit and that every file is as it was packed.

    Args:
        file: The bundle.
        work: A temporary folder.
        slots: The slot that this labkit has for each program.
        shown: Told what is unpacked.

    Returns:
        The programs, each with its folder below ``work``; and the container image that goes along, in a file below it.

    Raises:
        ToolchainError: It is no such bundle, or a file in it is missing or changed.
    """
    try:
        with tarfile.open(file, "r:gz") as tar:
            manifest = _manifest(file, tar, slots)
            needed, free = sum(one.size for one in manifest.files.values()), shutil.disk_usage(work).free
            if needed > free:
                raise _no_room(file, f"its files take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at {work.parent}")
            for folder in sorted({folder for name in manifest.files for folder in PurePosixPath(name).parents}):
                (work / folder).mkdir(mode=0o700, exist_ok=True)
            missing = dict(manifest.files)
            # The first member was the manifest.
            for member in itertools.islice(tar, 1, None):
                shown.update(member.name)
                wanted = missing.pop(member.name, None)
                if wanted is None:
                    raise _spoilt(file, f"{member.name} is not in its manifest, or is there twice")
                content = tar.extractfile(member) if member.isfile() else None
                if content is None or member.size != wanted.size or _copy(content, work / member.name, member.mode) != wanted.sha256:
                    raise _spoilt(file, f"{member.name} is not as the manifest has it")
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        # What the system refuses has a number, what is wrong with the file has none.
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(file, str(error)) from error
        if number:
            msg = f"{file} can't be unpacked"
            raise ToolchainError(msg, why=str(error), fix="mend what that says, then run it again") from error
        raise _spoilt(file, str(error)) from error
    if missing:
        raise _spoilt(file, f"{len(missing)} files of its manifest are missing, such as {next(iter(missing))}")
    image = Image(manifest.image, work / _IMAGE) if manifest.image else None
    return [(program, work / program.slot) for program in manifest.programs], image


def _manifest(file: Path, tar: tarfile.TarFile, slots: Mapping[str, str]) -> _Manifest:
    first = tar.next()
    plain = first is not None and first.name == _MANIFEST and first.isfile() and first.size <= _MANIFEST_BYTES
    content = tar.extractfile(first) if first is not None and plain else None
    if content is None:
        raise _spoilt(file, f"it does not begin with a {_MANIFEST}")
    text = content.read()
    try:
        of = _Format.model_validate_json(text).format
        if of != _FORMAT:
            raise _of_another_version(file, f"its format is {of}, this labkit's is {_FORMAT}")
        manifest = _Manifest.model_validate_json(text)
    except ValidationError as error:
        first_error = error.errors()[0]
        where = ".".join(map(str, first_error["loc"]))
        raise _spoilt(file, f"its {_MANIFEST} is malformed: {where} {first_error['msg']}") from None
    if manifest.machine != _this_machine():
        msg = f"{file} holds programs for another kind of machine"
        raise ToolchainError(msg, why=f"they are for {manifest.machine}, this machine is {_this_machine()}", fix=_FIX)
    others = [
        f"{one.slot}, where this labkit has {slots.get(one.name, 'none')}" for one in manifest.programs if one.slot != slots.get(one.name)
    ]
    if others:
        raise _of_another_version(file, "\n".join(others))
    for problem in _misplaced(manifest):
        raise _spoilt(file, problem)
    return manifest


def _misplaced(manifest: _Manifest) -> Iterator[str]:
    """What is wrong with where the manifest has its files and programs."""
    slots = {program.slot for program in manifest.programs}
    folders = set[str]()
    for name in manifest.files:
        path = PurePosixPath(name)
        if name == _IMAGE and manifest.image:
            continue
        if str(path) != name or ".." in path.parts or len(path.parts) < 2 or path.parts[0] not in slots:
            yield f"{name} is no plain file in the folder of a program"
        folders.update(map(str, path.parents))
    yield from (f"{name} is both a file and a folder" for name in manifest.files if name in folders)
    for program in manifest.programs:
        member = f"{program.slot}/{program.path}"
        if member not in manifest.files and member not in folders:
            yield f"the program {member} is none of its files"
    if manifest.image and _IMAGE not in manifest.files:
        yield f"the image {manifest.image} is none of its files"


def _copy(content: IO[bytes], target: Path, mode: int) -> str:
    """Write a file that only its owner may read, whatever the umask, and return its SHA-256."""
    with target.open("wb") as out:
        shutil.copyfileobj(content, out, 1 << 20)
    target.chmod(0o700 if mode & 0o100 else 0o600)
    return _digest(target)


def _no_room(file: Path, why: str) -> ToolchainError:
    msg = f"{file} can't be unpacked"
    return ToolchainError(msg, why=why, fix="make room, or set LABKIT_CACHE to a folder on a larger disk")


def _of_another_version(file: Path, why: str) -> ToolchainError:
    msg = f"{file} holds programs of another version of labkit"
    return ToolchainError(msg, why=why, fix=_FIX)


def _spoilt(file: Path, why: str) -> ToolchainError:
    msg = f"{file} is no bundle of labkit's, or did not arrive whole"
    return ToolchainError(msg, why=why, fix="copy it again, or have a new one made: labkit setup --offline-bundle FILE")


def _files(whole: Path) -> Iterator[tuple[str, Path]]:
    if whole.is_file():
        yield whole.name, whole
        return
    for folder, folders, files in os.walk(whole, followlinks=True):
        folders.sort()
        for name in sorted(files):
            # A distribution's Java has links to parts that are not installed.
            if Path(folder, name).is_file():
                yield Path(folder, name).relative_to(whole).as_posix(), Path(folder, name)


def _below(path: Path, whole: Path) -> Path:
    return Path(path.name) if path == whole else path.relative_to(whole)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _this_machine() -> str:
    return f"{platform.system()} {platform.machine()}"
