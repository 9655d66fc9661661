"""The learner's copies of the labs, and what a new version of the labs does to them."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode, v4

from labkit.course.copies import update

AREA = "Commands"
LAB = (
    "# Lab 03\nRoles say who may do what.",
    "from labkit import Lab\n\nlab = Lab.open()",
    "A role binding binds a role to a group.\nThe exercise is yours.",
    "# Your turn: own-role\nrole = ...",
    "attempt(lab, 'own-role')",
    "That was all about roles.",
)
SOLVED = "# Your turn: own-role\nrole = lab.cluster.role('reader')"


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    """A folder of labs with one lab; work/ beside it is the learner's."""
    folder = tmp_path / "checkout" / "notebooks"
    folder.mkdir(parents=True)
    publish(folder)
    return folder


def publish(labs: Path, *cells: str, name: str = "03-rbac") -> None:
    """Write a lab, as git pull does: with cell ids that are numbers in order."""
    notebook = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    for number, text in enumerate(cells or LAB, 1):
        prose = text[0].isupper() or text.startswith("# Lab")
        cell = v4.new_markdown_cell(text) if prose else v4.new_code_cell(text)
        cell.id = f"03-{number:02}"
        notebook.cells.append(cell)
    nbformat.write(notebook, labs / f"{name}.ipynb")


def make_lab(labs: Path) -> list[str]:
    """What make lab says of the copies."""
    return list(update(labs, labs.parent / "work"))


def copy(labs: Path, name: str = "03-rbac") -> Path:
    """The learner's copy."""
    return labs.parent / "work" / f"{name}.ipynb"


def read(file: Path) -> NotebookNode:
    """A valid notebook."""
    notebook: NotebookNode = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    return notebook


def texts(file: Path) -> list[str]:
    """What a notebook's cells say."""
    return [cell.source for cell in read(file).cells]


def changed(old: str, new: str) -> tuple[str, ...]:
    """The lab with another text in place of one of its cells; without that cell if it is empty."""
    assert old in LAB
    return tuple(new if cell == old else cell for cell in LAB if new or cell != old)


def edit(file: Path, old: str, *new: str) -> None:
    """As a learner does in JupyterLab: other cells in a cell's place, all run since."""
    notebook = read(file)
    at = [cell.source for cell in notebook.cells].index(old)
    notebook.cells[at : at + 1] = [v4.new_code_cell(text) for text in new]
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.execution_count = number + 1
            cell.outputs = [v4.new_output("stream", text=f"output of {number}")]
            cell.metadata["execution"] = {"iopub.execute_input": "2026-11-27T07:00:00Z"}
    notebook.metadata["widgets"] = {"state": {}}
    nbformat.write(notebook, file)


def run_all(file: Path) -> None:
    """As a learner does who changes nothing."""
    edit(file, LAB[1], LAB[1])


def outputs(file: Path) -> dict[str, str]:
    """The cells of code that have an output, and it."""
    return {cell.source: cell.outputs[0].text for cell in read(file).cells if cell.get("outputs")}


def before(labs: Path, *, whole: bool = True) -> dict[str, list[str]]:
    """What is kept as it was, oldest first; a file that a killed copy left may not be whole."""
    files = sorted((labs.parent / "work" / "before").glob("*"), key=lambda file: (len(file.name), file.name))
    return {file.name: texts(file) if whole or file.stat().st_size else [] for file in files}


def test_a_copy_says_what_the_lab_says_and_stays_while_nothing_is_new(labs: Path) -> None:
    assert make_lab(labs) == []
    assert texts(copy(labs)) == list(LAB)
    edit(copy(labs), LAB[3], SOLVED)
    as_it_was = copy(labs).read_bytes()
    assert make_lab(labs) == []
    assert copy(labs).read_bytes() == as_it_was
    copy(labs).unlink()
    assert make_lab(labs) == []
    assert texts(copy(labs)) == list(LAB)


@pytest.mark.parametrize("ran", [False, True])
def test_the_new_version_replaces_a_copy_in_which_nothing_was_changed(labs: Path, ran: bool) -> None:
    """To have run it is no change; what was run and is the same has its output still."""
    make_lab(labs)
    if ran:
        run_all(copy(labs))
    new = changed(LAB[4], "attempt(lab, 'own-role', hints=True)")
    publish(labs, *new)
    assert make_lab(labs) == ["✔ 03-rbac.ipynb is the new version"]
    assert texts(copy(labs)) == list(new)
    assert set(outputs(copy(labs))) == ({LAB[1], LAB[3]} if ran else set())
    assert before(labs) == {}
    assert make_lab(labs) == []


@pytest.mark.parametrize(
    "new",
    [
        changed(LAB[2], "A role binding binds a role to people.\nThe exercise is yours."),
        changed(LAB[4], "attempt(lab, 'own-role', hints=True)"),
        changed(LAB[5], ""),
        ("Before you begin: sign in.", *LAB),
        (*LAB[:3], "A hint: ask the API server.", *LAB[3:]),
        (*LAB, "More on it in lab 05.", "print('done')"),
    ],
    ids=["above", "below", "removed", "first", "inserted", "last"],
)
def test_a_new_version_that_changes_other_cells_is_merged(labs: Path, new: tuple[str, ...]) -> None:
    """However the ids of cells move."""
    make_lab(labs)
    edit(copy(labs), LAB[3], SOLVED, "print('a cell of my own, to see what the role has')")
    publish(labs, *new)
    as_it_was = texts(copy(labs))
    assert make_lab(labs) == ["✔ 03-rbac.ipynb has your changes and those of the new version; your copy as it was is before/03-rbac.ipynb"]
    at = new.index(LAB[3])
    assert texts(copy(labs)) == [*new[:at], SOLVED, "print('a cell of my own, to see what the role has')", *new[at + 1 :]]
    assert outputs(copy(labs))[SOLVED] == "output of 3"
    assert before(labs) == {"03-rbac.ipynb": as_it_was}
    assert make_lab(labs) == []


@pytest.mark.fault(
    AREA, "a new version changes the cell that the learner changed", "both are in the copy, marked; the copy as it was is kept"
)
@pytest.mark.parametrize(
    ("old", "mine", "theirs"),
    [
        (LAB[3], SOLVED, "# Your turn: own-role\nrole = None  # a role that may read ConfigMaps"),
        (LAB[3], "nothing = 'alike'", "entirely('another', way=True)"),
        (LAB[3], SOLVED, ""),
        (LAB[5], "mine = 'in place of words'", "It was about roles, and about their bindings too."),
    ],
    ids=["both", "rewritten", "removed", "kind"],
)
def test_a_conflict(labs: Path, old: str, mine: str, theirs: str) -> None:
    """Nothing of either is lost, and what was run is no conflict."""
    make_lab(labs)
    edit(copy(labs), old, mine)
    publish(labs, *changed(old, theirs))
    as_it_was = texts(copy(labs))
    (said,) = make_lab(labs)
    everything = "\n".join(texts(copy(labs)))
    assert mine in everything
    assert theirs in everything
    assert "both are there" in said
    assert "<<<<<<<" in everything
    assert everything.count("<<<<<<<") == 1
    assert [cell for cell in LAB if cell != old and cell not in texts(copy(labs))] == []
    assert before(labs) == {"03-rbac.ipynb": as_it_was}
    assert make_lab(labs) == []


def test_copies_that_are_kept_keep_one_another(labs: Path) -> None:
    make_lab(labs)
    for number in range(3):
        edit(copy(labs), texts(copy(labs))[1], f"first = {number}")
        publish(labs, *LAB, f"Version {number}.")
        make_lab(labs)
    assert [cells[1] for cells in before(labs).values()] == ["first = 0", "first = 1", "first = 2"]


def test_a_copy_that_was_kept_can_be_put_back(labs: Path) -> None:
    """It is merged again, with the version that it was made of."""
    make_lab(labs)
    edit(copy(labs), LAB[3], SOLVED)
    publish(labs, *LAB, "Version 2.")
    make_lab(labs)
    first = copy(labs).read_bytes()
    (copy(labs).parent / "before" / "03-rbac.ipynb").rename(copy(labs))
    make_lab(labs)
    assert copy(labs).read_bytes() == first


@pytest.mark.fault(AREA, "a lab was removed, or has another name", "the copy is kept aside, which is said; the new name is a lab like any")
@pytest.mark.parametrize("solved", [False, True])
def test_a_lab_that_is_gone(labs: Path, solved: bool) -> None:
    """A notebook of the learner's own stays where it is, even a duplicate."""
    make_lab(labs)
    if solved:
        edit(copy(labs), LAB[3], SOLVED)
    as_it_was = texts(copy(labs))
    for own in ("03-rbac-Copy1", "my-own"):
        shutil.copy(copy(labs), copy(labs, own))
    (labs / "03-rbac.ipynb").rename(labs / "04-roles.ipynb")
    assert make_lab(labs) == ["· 03-rbac.ipynb is no longer one of the labs; your copy is before/03-rbac.ipynb"]
    assert before(labs) == {"03-rbac.ipynb": as_it_was}
    assert texts(copy(labs, "04-roles")) == list(LAB)
    assert copy(labs, "03-rbac-Copy1").exists()
    assert copy(labs, "my-own").exists()
    assert make_lab(labs) == []


BAD = {
    "empty": b"",
    "text": b"my notes",
    "cut off": b'{"cells": [{"cell_type": "code", "source": "mine',
    "no object": b"[]",
    "another version": b'{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}',
    "odd cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1, {"source": 2}]}',
    "odd metadata": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": [], "cells": []}',
    "no UTF-8": b"\xff\xfe\x00mine",
    "deep": b'{"cells": ' + b"[" * 100_000,
}


@pytest.mark.fault(AREA, "a copy is no notebook", "it is kept aside as it is, and the lab is copied again")
@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_copy_that_is_no_notebook(labs: Path, content: bytes) -> None:
    """Nothing of it is lost, and JupyterLab can open the lab again."""
    make_lab(labs)
    copy(labs).write_bytes(content)
    said = ["! 03-rbac.ipynb is the new version, which can't be merged with your copy; that is before/03-rbac.ipynb"]
    assert make_lab(labs) == said
    assert texts(copy(labs)) == list(LAB)
    assert (copy(labs).parent / "before" / "03-rbac.ipynb").read_bytes() == content
    assert make_lab(labs) == []


@pytest.mark.parametrize("solved", [False, True])
def test_a_copy_of_a_labkit_that_did_not_say_what_it_was_made_of(labs: Path, solved: bool) -> None:
    """As version 0.1.0 made them: it becomes one that does, if it is the lab; else nobody knows what the learner changed."""
    copy(labs).parent.mkdir()
    shutil.copy(labs / "03-rbac.ipynb", copy(labs))
    if solved:
        edit(copy(labs), LAB[3], SOLVED)
    (said,) = make_lab(labs)
    assert ("can't be merged" in said) is solved
    assert texts(copy(labs)) == list(LAB)
    assert (SOLVED in before(labs).get("03-rbac.ipynb", [])) is solved


@pytest.mark.parametrize("lost", ["base", "folder"])
def test_a_version_that_is_no_longer_kept(labs: Path, lost: str) -> None:
    """The learner may tidy up."""
    make_lab(labs)
    edit(copy(labs), LAB[3], SOLVED)
    if lost == "folder":
        shutil.rmtree(copy(labs).parent / ".copied")
    else:
        next((copy(labs).parent / ".copied").glob("*.ipynb")).write_text("{}")
    publish(labs, *LAB, "Version 2.")
    assert "can't be merged" in make_lab(labs)[0]
    assert SOLVED in before(labs)["03-rbac.ipynb"]


@pytest.mark.fault(AREA, "make lab is killed while it merges", "each copy is as it was or merged, and the next one does the rest")
def test_killed(labs: Path, tmp_path: Path) -> None:
    """Before each thing that it does with a file."""
    make_lab(labs)
    edit(copy(labs), LAB[3], SOLVED)
    publish(labs, *changed(LAB[3], "# Your turn: own-role\nrole = None"))
    as_it_was = texts(copy(labs))
    whole = shutil.copytree(labs.parent, tmp_path / "whole") / "notebooks"
    make_lab(whole)
    merged = texts(copy(whole))
    assert as_it_was != merged
    begun = 0
    for moment in itertools.count():
        one = shutil.copytree(labs.parent, tmp_path / str(moment)) / "notebooks"
        killed = killed_at(moment, one)
        assert texts(copy(one)) in (as_it_was, merged)
        begun += bool(before(one, whole=False))
        make_lab(one)
        assert texts(copy(one)) == merged
        assert as_it_was in before(one, whole=False).values()
        if not killed:
            break
    assert begun > 2


def killed_at(moment: int, labs: Path) -> bool:
    """Update in a process that kills itself before its so manieth use of a file or folder; whether it came to that."""
    child = os.fork()
    if not child:
        left = iter(range(moment))

        def use(event: str, _: object) -> None:
            if (event == "open" or event.startswith(("os.", "shutil."))) and next(left, None) is None:
                signal.raise_signal(signal.SIGKILL)

        sys.addaudithook(use)
        make_lab(labs)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
