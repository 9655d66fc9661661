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


def require_folder(folder: Path) -> None:
    """Refuse what can't lie over labkit's own folder.

    Raises:
        WorkshopError: It is a file, as it used to be; it is not there; or a file in it has nearly the name of one of labkit's.
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


def nearest(name: object, known: Collection[str]) -> str:
    """Such as `` (did you mean users?)``; nothing if no known name is close."""
    close = difflib.get_close_matches(str(name), sorted(known), 1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""
