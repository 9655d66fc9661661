"""This person's other state folders: each keeps its ports for as long as it exists, whether or not its servers run.

Two people share no list, as it would be a file that both may write. Of another person's folders only what listens counts: of two labs that
start for the first time at the same moment, one may be refused, by an error that names the variable for another port.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..common.ownership import make_private
from .files import write_private


@contextmanager
def neighbours(folder: Path, facts: str) -> Iterator[list[Path]]:
    """Enter a state folder in the person's list, and hold the list meanwhile, so that no two choose ports at the same moment.

    Gives the other folders of the list that are still there. None where a person has no folder to keep such a list in: then only what
    listens just now is in the way.

    Args:
        folder: The state folder.
        facts: The name of the file that makes a folder one.
    """
    with ExitStack() as held:
        try:
            others = _entered(held, folder, facts)
        except (OSError, RuntimeError, NotImplementedError):
            # No home directory, or one that can't be written or locked.
            others = []
        yield others


def _entered(held: ExitStack, folder: Path, facts: str) -> list[Path]:
    import platformdirs
    from filelock import FileLock

    file = Path(platformdirs.user_state_dir("labkit", appauthor=False)) / "state-folders"
    make_private(file.parent)
    held.enter_context(FileLock(file.with_suffix(".lock"), mode=0o600))
    listed = [Path(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    others = [other for other in listed if other != folder and (other / facts).exists()]
    if [*others, folder] != listed:
        write_private(file, "".join(f"{each}\n" for each in (*others, folder)))
    return others
