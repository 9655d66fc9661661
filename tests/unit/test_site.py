"""The pages of the site: which they are, where their links lead, and what must not be on them."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.site import faults, write_pages

CODE = "print(realm)\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a README, two docs, a lab and a module."""
    root = tmp_path / "checkout"
    written = {
        "README.md": "# Labs\n\n[docs/a.md](docs/a.md#part) [one](notebooks/01-one.ipynb) [code](labkit/x.py) [all](labkit) [out](https://a.example/)\n",
        "docs/a.md": "# A\n\n## Part\n\n[Back](../README.md), [there](#part), [lost](gone.md)\n",
        "labkit/x.py": CODE,
    }
    for name, text in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    _save(root / "notebooks" / "01-one.ipynb")
    return root


def _save(file: Path, *outputs: nbformat.NotebookNode) -> None:
    """Save a lab of a title and a cell with these outputs."""
    cell = nbformat.v4.new_code_cell(CODE, outputs=list(outputs))
    title = nbformat.v4.new_markdown_cell("# 01 · One\n\n[On](../docs/a.md)")
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[title, cell]), file)


def _shown(**data: str) -> nbformat.NotebookNode:
    shown: nbformat.NotebookNode = nbformat.v4.new_output("execute_result", data={f"text/{kind}": text for kind, text in data.items()})
    return shown


def _lab(root: Path) -> str:
    """The lab's page."""
    write_pages(root, root / "pages")
    return (root / "pages/labs/01-one.md").read_text()


def test_links(root: Path) -> None:
    """A link leads to the page of what it led to; a file that is no page is there as text, a folder is only named."""
    assert "[On](../reading/a.md)" in _lab(root)
    links = "[docs/a.md](reading/a.md#part) [one](labs/01-one.md) [code](sources/labkit/x.py.txt) all [out](https://a.example/)"
    assert links in (root / "pages/index.md").read_text()
    assert (root / "pages/sources/labkit/x.py.txt").read_text() == CODE
    assert "[Back](../index.md), [there](#part), [lost](gone.md)" in (root / "pages/reading/a.md").read_text()


def test_lab_that_was_not_run(root: Path) -> None:
    """Its page has code and says that there are no outputs."""
    page = _lab(root)
    assert "Without outputs" in page
    assert f"````python\n{CODE}" in page


def test_lab_that_was_run(root: Path) -> None:
    """Its page has the outputs, HTML as it is and text as text, without a terminal's colours."""
    printed = nbformat.v4.new_output("stream", text="\x1b[31m<b>\n\n    two\x1b[0m\n")
    link = "<a href='01-one.ipynb'>01</a>"
    _save(root / "build/labs/01-one.ipynb", printed, _shown(plain="no", html=f"<table>\n\n{link}</table>"), _shown(plain="1 < 2"))
    page = _lab(root)
    assert "As it ran" in page
    assert "<pre>&lt;b&gt;&#10;&#10;    two</pre>" in page
    assert "<table>&#10;&#10;<a href='01-one.html'>01</a></table>" in page
    assert "<pre>1 &lt; 2</pre>" in page


def test_widget(root: Path) -> None:
    """A result that has buttons in a notebook stands as its text."""
    shown = _shown(html="<b>84 of 84</b>")
    shown["data"]["application/vnd.jupyter.widget-view+json"] = {"model_id": "1"}
    _save(root / "build/labs/01-one.ipynb", shown)
    assert "<b>84 of 84</b>" in _lab(root)
    assert "model_id" not in _lab(root)


@pytest.mark.fault("Exposure", "an executed lab holds a token, a key or a secret of its state folder", "no site is made of it")
@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrIn0.sig",
        "-----BEGIN EC PRIVATE KEY-----",
        "the-folders-own-password-1",
        "deep-in-a-file-of-json-2",
    ],
)
def test_secret(root: Path, secret: str) -> None:
    """No page is written where one holds a token, a key, or what the run's state folder keeps as a secret."""
    folder = root / "build/run-home/secrets"
    folder.mkdir(parents=True)
    (folder / "keycloak-admin").write_text("the-folders-own-password-1\n")
    (folder / "own.json").write_text('{"user-dev": "deep-in-a-file-of-json-2"}')
    _save(root / "build/labs/01-one.ipynb", _shown(plain=f"x {secret}"))
    with pytest.raises(SystemExit, match=r"labs/01-one\.md"):
        _lab(root)
    assert not (root / "pages").exists()


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ('<script src="https://cdn.example/a.js"></script>', "loads https://cdn.example/a.js"),
        ('<link rel="stylesheet" href="//fonts.example/css">', "loads //fonts.example/css"),
        ('<img src="http://pictures.example/a.png">', "loads http://pictures.example/a.png"),
        ("<style>@import 'https://fonts.example/b'</style>", "loads https://fonts.example/b"),
        ('<a href="gone.html">gone</a>', "gone.html leads nowhere"),
        ('<a href="#gone">gone</a>', "#gone has no such place"),
        ('<a href="https://a.example/">a link loads nothing</a><a id="x" href="#x">x</a><img src="data:,">', None),
    ],
)
def test_faults(tmp_path: Path, page: str, fault: str | None) -> None:
    """A site that loads something from elsewhere, or has a link that leads nowhere, is named with page and address."""
    (tmp_path / "index.html").write_text(page)
    assert list(faults(tmp_path)) == ([f"{tmp_path / 'index.html'}: {fault}"] if fault else [])
