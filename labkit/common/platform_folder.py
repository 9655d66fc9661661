"""The platform folder: files in the formats of the programs that read them.

``labkit/platform`` has them all. A folder that LABKIT_WORKSHOP names lies over it: a file there replaces the file of the same name.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from .errors import WorkshopError

OWN = Path(__file__).parents[1] / "platform"
"""labkit's own platform folder."""


def find(name: str, folder: Path = OWN) -> Path:
    """The file of that name: the folder's, or labkit's own where the folder has none."""
    return folder / name if (folder / name).exists() else OWN / name


def matching(pattern: str, folder: Path = OWN) -> dict[str, Path]:
    """Find the files that match, by name: labkit's own, and the folder's in place of those or besides."""
    return {str(file.relative_to(place)): file for place in (OWN, folder) for file in sorted(place.glob(pattern))}


def text_of(file: Path) -> str:
    """Read a file of a platform folder, which is text in UTF-8 whatever this machine's locale is.

    Raises:
        WorkshopError: It can't be read, or is no such text.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "it is no text in UTF-8"
        raise WorkshopError("platform-file-unreadable", file=file, reason=why) from None


def require_folder(folder: Path) -> None:
    """Refuse what can't lie over labkit's own folder.

    Raises:
        WorkshopError: It is a file, as it used to be; it is not there; a file in it has nearly the name of one of labkit's, or is no text.
    """
    try:
        list(folder.iterdir())
    except NotADirectoryError:
        raise WorkshopError("workshop-no-folder", folder=folder, own=OWN) from None
    except OSError as error:
        raise WorkshopError("workshop-unreadable", folder=folder, reason=error.strerror or error) from None
    for part in ("", "kratix"):
        there, own = ({file.name for file in (place / part).glob("*")} for place in (folder, OWN))
        for name in sorted(there - own):
            if meant := nearest(name, own - there):
                raise WorkshopError("platform-file-misnamed", file=folder / part / name, meant=meant)
    for pattern in ("*.yaml", "*.tf", "*/*.yaml"):
        for file in folder.glob(pattern):
            text_of(file)


def nearest(name: object, known: Collection[str]) -> str:
    """Such as `` (did you mean users?)``; nothing if no known name is close."""
    close = difflib.get_close_matches(str(name), sorted(known), 1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""
