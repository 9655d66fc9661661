"""The page over the executed notebooks of a headless run."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from ..common.display import Table

if TYPE_CHECKING:
    from .runner import LabResult


def write_page(folder: Path, labs: Sequence[LabResult]) -> None:
    """Write ``index.html`` over the executed notebooks in a folder; it loads nothing from anywhere."""
    from nbconvert import HTMLExporter

    table = Table(("lab", "result", "time"), tuple((lab.lab, lab.state(), f"{lab.seconds:.1f} s") for lab in labs)).html()
    links = " · ".join(f'<a href="#{lab.lab}">{html.escape(lab.lab)}</a>' for lab in labs)
    cells = [nbformat.v4.new_markdown_cell(f"# The labs, as they ran\n\n{table}\n\n{links}")]
    for lab in labs:
        executed = folder / f"{lab.lab}.ipynb"
        if executed.exists():
            cells.append(nbformat.v4.new_markdown_cell(f'<hr><a id="{lab.lab}"></a>'))
            cells += nbformat.read(executed, as_version=4).cells
    for output in (output for cell in cells for output in cell.get("outputs", ())):
        # Without a kernel there is nothing to click, so a widget stands as the text that it carries.
        output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    whole = nbformat.v4.new_notebook(cells=cells, metadata={"title": "The labs, as they ran"})
    # With these emptied the page asks no other host for scripts; nothing in it needs them.
    exporter = HTMLExporter(require_js_url="", mathjax_url="", jquery_url="", jupyter_widgets_base_url="", mermaid_js_url="")
    # In build/labs, docs are a folder further up than beside the notebooks.
    (folder / "index.html").write_text(exporter.from_notebook_node(whole)[0].replace('href="../docs/', 'href="../../docs/'))
