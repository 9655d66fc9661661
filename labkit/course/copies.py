"""A learner's copies of the labs, and how a new version of a lab gets into them.

A copy names in its metadata the version that it was made of, which is kept beside the copies. So one rename replaces both, and an update
that is killed leaves each copy as it was or updated.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import nbformat
from filelock import FileLock
from nbformat import NotebookNode

from ..common.display import OK
from ..config.files import write_private

_VERSION = "labkit"
_MARKED = "<<<<<<<"


def update(notebooks: Path, work: Path) -> Iterator[str]:
    """Copy the labs, and merge a new version of one into the copy that the learner changed, three ways and cell by cell.

    A copy that is merged, that can't be, or whose lab is gone, is kept as it was in the folder ``before``.

    Args:
        notebooks: The folder of the labs.
        work: The folder of the copies.

    Yields:
        A line for each copy that was there and is not as it was.
    """
    kept = work / ".copied"
    kept.mkdir(parents=True, exist_ok=True)
    with FileLock(kept / "lock"):
        labs = {lab.name: _version(lab, kept) for lab in sorted(notebooks.glob("*.ipynb"))}
        for name, new in labs.items():
            yield from _update(work / name, kept, new)
        for copy in sorted(set(work.glob("*.ipynb")) - {work / name for name in labs}):
            # What else is there is the learner's own, also the duplicate of a copy.
            if _made_of(copy).rpartition("-")[0] == copy.stem:
                yield f"· {copy.name} is no longer one of the labs; your copy is {_shown(copy.rename(_free(copy)))}"


def _update(copy: Path, kept: Path, new: NotebookNode) -> Iterator[str]:
    if not copy.exists():
        _write(copy, new)
    elif _made_of(copy) != new.metadata[_VERSION]:
        try:
            yours = _read(copy)
            base = yours if _bare(yours) == _bare(new) else _read(kept / f"{_made_of(copy)}.ipynb")
            merged = _merge(base, yours, new)
        except Exception:  # noqa: BLE001 - a file that is no notebook fails in many ways, and so does nbdime
            aside = copy.rename(_free(copy))
            _write(copy, new)
            yield f"! {copy.name} is the new version, which can't be merged with your copy; that is {_shown(aside)}"
            return
        if _bare(yours) in (_bare(base), _bare(new)):
            _write(copy, merged)
            yield f"{OK} {copy.name} is the new version"
            return
        before = _free(copy)
        shutil.copyfile(copy, before)
        _write(copy, merged)
        shown = f"your copy as it was is {_shown(before)}"
        if any(_MARKED in cell.source for cell in merged.cells):
            yield f"! {copy.name}: you and the new version changed the same; both are there (look for {_MARKED}, local is yours); {shown}"
        else:
            yield f"{OK} {copy.name} has your changes and those of the new version; {shown}"


def _merge(base: NotebookNode, yours: NotebookNode, new: NotebookNode) -> NotebookNode:
    """Merge by what cells say; a cell that says the same as one of the learner's is that one, with its outputs."""
    merged = _bare(new)
    if _bare(yours) not in (_bare(base), merged):
        # Imported on use: it takes seconds.
        from nbdime.merging import merge_notebooks, strategies

        # Its own would start git, or else write a cell's last line twice.
        strategies.merge_render = _both
        merged, _ = merge_notebooks(_bare(base), _bare(yours), merged)
    whole = defaultdict(list)
    for cell in reversed([*yours.cells, *new.cells]):
        whole[cell.cell_type, cell.source].append(cell)
    cells = [(whole[cell.cell_type, cell.source] or [cell]).pop() for cell in merged.cells]
    taken: set[str] = set()
    for cell in cells:
        # A new cell may have the id that one of the learner's has, and what nbdime made has none.
        if cell.get("id") in {None, *taken}:
            cell["id"] = uuid.uuid4().hex[:8]
        taken.add(cell["id"])
    notebook: NotebookNode = nbformat.v4.new_notebook(cells=cells, metadata={**yours.metadata, _VERSION: new.metadata[_VERSION]})
    return notebook


def _both(base: str, yours: str, new: str, strategy: object = None) -> tuple[str, int]:
    del base, strategy
    return f"{_MARKED} local\n{yours}\n=======\n{new}\n>>>>>>> remote", 1


def _bare(notebook: NotebookNode) -> NotebookNode:
    """What is merged: kinds and texts of cells. Their ids are numbers in order, so after an insertion each has the next one's."""
    # These two a cell of code must have.
    more: dict[str, dict[str, object]] = {"code": {"outputs": [], "execution_count": None}}
    cells = [{"cell_type": c.cell_type, "source": c.source, "metadata": {}, **more.get(c.cell_type, {})} for c in notebook.cells]
    bare: NotebookNode = nbformat.from_dict({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells})
    return bare


def _version(lab: Path, kept: Path) -> NotebookNode:
    """Read a lab as it is to be copied, and keep this version of it."""
    text = lab.read_text()
    name = f"{lab.stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    write_private(kept / f"{name}.ipynb", text)
    notebook: NotebookNode = nbformat.reads(text, as_version=4)
    notebook.metadata[_VERSION] = name
    return notebook


def _made_of(copy: Path) -> str:
    """The version that a copy was made of; empty if it does not say."""
    try:
        return str(_read(copy).metadata.get(_VERSION, ""))
    except Exception:  # noqa: BLE001 - as above
        return ""


def _read(file: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.reads(file.read_text(), as_version=4)
    nbformat.validate(notebook)
    return notebook


def _write(copy: Path, notebook: NotebookNode) -> None:
    write_private(copy, nbformat.writes(notebook) + "\n", 0o644)


def _free(copy: Path) -> Path:
    folder = copy.parent / "before"
    folder.mkdir(exist_ok=True)
    places = (folder / f"{copy.stem}{end}{copy.suffix}" for end in itertools.chain([""], map("-{}".format, itertools.count(2))))
    return next(place for place in places if not place.exists())


def _shown(before: Path) -> str:
    return f"{before.parent.name}/{before.name}"
