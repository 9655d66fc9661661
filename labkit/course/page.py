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

# The exporter's own look has too little contrast, links that only a colour tells, and lines that a narrow window cuts off.
_LOOK = """<style>
:root { --jp-cell-prompt-not-active-opacity: 1; --jp-cell-prompt-not-active-font-color: #595959;
  --jp-mirror-editor-operator-color: #7a00cc; --jp-mirror-editor-number-color: #060; --jp-mirror-editor-comment-color: #2f6060 }
.jp-RenderedHTMLCommon a:link { text-decoration: underline }
.jp-Cell pre { white-space: pre-wrap !important; overflow-wrap: anywhere }
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th { min-width: 4.5em; overflow-wrap: anywhere }
@media (max-width: 700px) {
  .jp-Cell .jp-InputArea, .jp-Cell .jp-OutputArea-child { display: block }
  .jp-Cell .jp-InputPrompt, .jp-Cell .jp-OutputPrompt { text-align: left; width: auto }
}
</style>"""


def write_page(folder: Path, labs: Sequence[LabResult]) -> None:
    """Write ``index.html`` over the executed notebooks in a folder; it loads nothing from anywhere."""
    from nbconvert import HTMLExporter

    table = Table(("lab", "result", "time"), tuple((lab.lab, lab.state(), f"{lab.seconds:.1f} s") for lab in labs)).html()
    links = " · ".join(f'<a href="#{lab.lab}">{html.escape(lab.lab)}</a>' for lab in labs)
    cells = [nbformat.v4.new_markdown_cell(f"{_LOOK}\n\n# The labs, as they ran\n\n{table}\n\n{links}")]
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
    # In build/labs, docs are a folder further up than beside the notebooks; a lab is a part of this page.
    page = exporter.from_notebook_node(whole)[0].replace('href="../docs/', 'href="../../docs/')
    for lab in labs:
        page = page.replace(f'href="{lab.lab}.ipynb"', f'href="#{lab.lab}"')
    # The exporter has a keyboard stop at each cell, where there is nothing to press and no line to scroll.
    (folder / "index.html").write_text(page.replace(' tabindex="0"', ""))
