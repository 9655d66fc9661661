"""One HTML page to look through a run's executed labs."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import nbformat

from ..common.display import Table


def write_page(folder: Path, labs: Sequence[tuple[str, str, str]]) -> None:
    """Write ``index.html`` over the executed notebooks in a folder; it loads nothing from anywhere.

    Args:
        folder: Where ``NAME.ipynb`` lie; one that is missing is named in the summary alone.
        labs: For each lab its name, its result in words, and how long it took.
    """
    from nbconvert import HTMLExporter

    links = " · ".join(f'<a href="#{name}">{html.escape(name)}</a>' for name, _, _ in labs)
    cells = [nbformat.v4.new_markdown_cell(f"# The labs, as they ran\n\n{Table(('lab', 'result', 'time'), tuple(labs)).html()}\n\n{links}")]
    for name, _, _ in labs:
        executed = folder / f"{name}.ipynb"
        if executed.exists():
            cells.append(nbformat.v4.new_markdown_cell(f'<hr><a id="{name}"></a>'))
            cells += nbformat.read(executed, as_version=4).cells
    for output in (output for cell in cells for output in cell.get("outputs", ())):
        # Without a kernel there is nothing to click, so a widget stands as the text that it carries.
        output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    whole = nbformat.v4.new_notebook(cells=cells, metadata={"title": "The labs, as they ran"})
    # With these emptied the page asks no other host for scripts; nothing in it needs them.
    exporter = HTMLExporter(require_js_url="", mathjax_url="", jquery_url="", jupyter_widgets_base_url="", mermaid_js_url="")
    (folder / "index.html").write_text(exporter.from_notebook_node(whole)[0])
