"""Bundles: the programs of one machine in a file, for others like it that have no network.

A bundle is a gzipped tar. Its first member, ``manifest.json``, names the kind of machine, the programs, and every file with its
SHA-256; the files lie below a folder per program, named as in the cache. The digests prove that a bundle arrived whole, and not who
made it: it holds programs, so it is to be had from somebody one trusts.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from ..display import Progress
from ..errors import ToolchainError
from .looking import Program

_MANIFEST = "manifest.json"
_FORMAT = 1
_LEVEL = 3


@dataclass(frozen=True)
class Packed:
    """A program in a bundle.

    Attributes:
        slot: The name of its folder, here and in the cache.
        name: The program's name.
        version: The version that it tells.
        path: Its path below that folder.
        source: Where it came from, for people.
    """

    slot: str
    name: str
    version: str
    path: str
    source: str


def pack(file: Path, programs: Mapping[str, tuple[Program, Path]], shown: Progress) -> None:
    """Write a bundle: to a temporary name, then renamed.

    Args:
        file: The bundle.
        programs: Each slot with its program, and the folder that goes along with it; the program itself if it stands alone.
        shown: Told what is packed.

    Raises:
        ToolchainError: Something can't be read or written.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        sources = {f"{slot}/{below}": source for slot, (_, whole) in programs.items() for below, source in _files(whole)}
        packed = [
            Packed(slot, program.name, program.version, _below(program.path, whole), program.source)
            for slot, (program, whole) in programs.items()
        ]
        manifest = {
            "format": _FORMAT,
            "machine": _this_machine(),
            "programs": [asdict(one) for one in packed],
            "files": {member: _digest(source) for member, source in sources.items()},
        }
        # What links point to goes in, as they may lead out of the folder.
        with tarfile.open(part, "w:gz", compresslevel=_LEVEL, dereference=True) as tar:
            text = json.dumps(manifest, indent=1).encode()
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
            msg, why=str(error), fix="name a file in a folder that you may write to, on a disk with a GB of room"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def unpack(file: Path, work: Path, slots: Mapping[str, str], shown: Progress) -> list[tuple[Packed, Path]]:
    """Unpack a bundle whole, and check that it is meant for this machine and this labkit and that every file is as it was packed.

    Args:
        file: The bundle.
        work: A temporary folder.
        slots: The slot that this labkit has for each program.
        shown: Told what is unpacked.

    Returns:
        The programs, each with its folder below ``work``.

    Raises:
        ToolchainError: It is no such bundle, or a file in it is missing or changed.
    """
    try:
        with tarfile.open(file) as tar:
            programs, digests = _manifest(file, tar, slots)
            for member in tar:
                if member.name == _MANIFEST:
                    continue
                shown.update(member.name)
                content = tar.extractfile(member) if member.isfile() else None
                if content is None or PurePosixPath(member.name).is_absolute() or ".." in PurePosixPath(member.name).parts:
                    raise _spoilt(file, f"{member.name} is no plain file in a folder of its own")
                target = work / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    shutil.copyfileobj(content, out, 1 << 20)
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
                if _digest(target) != digests.pop(member.name, ""):
                    raise _spoilt(file, f"{member.name} is not as the manifest has it")
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        # A full disk has a number, what is wrong with the file has none.
        if getattr(error, "errno", None):
            msg = f"{file} can't be unpacked"
            raise ToolchainError(msg, why=str(error), fix="make room, or set LABKIT_CACHE to a folder on a larger disk") from error
        raise _spoilt(file, str(error)) from error
    if digests:
        raise _spoilt(file, f"{len(digests)} files of its manifest are missing, such as {next(iter(digests))}")
    return [(program, work / program.slot) for program in programs]


def _manifest(file: Path, tar: tarfile.TarFile, slots: Mapping[str, str]) -> tuple[list[Packed], dict[str, str]]:
    first = tar.next()
    content = tar.extractfile(first) if first is not None and first.name == _MANIFEST else None
    try:
        manifest = json.loads(content.read()) if content else {}
        if manifest.get("format") != _FORMAT:
            raise _spoilt(file, f"it has no {_MANIFEST} of format {_FORMAT}")
        programs, digests = [Packed(**one) for one in manifest["programs"]], dict(manifest["files"])
        machine = str(manifest["machine"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _spoilt(file, f"its {_MANIFEST} is malformed: {error}") from error
    fix = "have a bundle made by this version of labkit on a machine like this one: labkit setup --offline-bundle FILE"
    if machine != _this_machine():
        msg = f"{file} holds programs for another kind of machine"
        raise ToolchainError(msg, why=f"they are for {machine}, this machine is {_this_machine()}", fix=fix)
    others = [f"{one.slot}, where this labkit has {slots.get(one.name, 'none')}" for one in programs if one.slot != slots.get(one.name)]
    if others:
        msg = f"{file} holds programs of another version of labkit"
        raise ToolchainError(msg, why="\n".join(others), fix=fix)
    return programs, digests


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


def _below(path: Path, whole: Path) -> str:
    return path.name if path == whole else path.relative_to(whole).as_posix()


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _this_machine() -> str:
    return f"{platform.system()} {platform.machine()}"
