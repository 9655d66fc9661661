"""The pages that ``make docs-site`` makes a site of: README, docs and the labs, as they ran if they did.

Zensical reads a folder of Markdown. This module writes that folder, and checks the site that came out.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from os.path import normpath, relpath
from pathlib import Path
from shutil import rmtree
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup
from nbconvert.filters import strip_ansi

from .support import secrets_in

_PROJECT = ("CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "CHANGELOG.md")
_IN_CSS = re.compile(r"""(?:@import\s|url\()\s*["']?((?:https?:)?//[^"')]+)""")
_EXECUTED = '!!! note "As it ran"\n\n    The outputs are those of a run of `make run-labs` on real servers.\n\n'
_SOURCE = '!!! note "Without outputs"\n\n    This lab was not run before this site was made. Its outputs appear when you run it.\n\n'


def write_pages(root: Path, pages: Path) -> None:
    """Write the pages of a checkout into a folder, emptied first.

    Raises:
        SystemExit: A page holds a secret; the message names page and kind.
    """
    # Zensical's menu has folders by name.
    names = {root / "README.md": "index.md"}
    names |= {file: f"labs/{file.stem}.md" for file in sorted((root / "notebooks").glob("*.ipynb"))}
    names |= {file: f"reading/{file.name}" for file in sorted((root / "docs").glob("*.md"))}
    names |= {root / name: f"repository/{name.lower()}" for name in _PROJECT if (root / name).exists()}
    texts = {file: _lab(root, file) if file.suffix == ".ipynb" else file.read_text("utf-8") for file in names}
    rmtree(pages, ignore_errors=True)
    # Some are JSON or a kubeconfig: what is long and has a digit is no name in it.
    kept = " ".join(file.read_text("utf-8") for file in (root / "build/run-home/secrets").glob("*") if file.is_file())
    secrets = {f"secret {number}": word for number, word in enumerate(re.findall(r"(?=[\w-]*\d)[\w-]{24,}", kept))}
    if found := {names[file]: kinds for file, text in texts.items() if (kinds := secrets_in(text, secrets))}:
        sys.exit(f"✘ no site is made, because pages would hold secrets: {found}")
    for file, text in texts.items():
        _write(pages / names[file], _linked(text, file, root, pages, names))
    for look in ("site.css", "site.js"):
        _write(pages / look, Path(__file__).with_name(look).read_text("utf-8"))


def _lab(root: Path, file: Path) -> str:
    """A lab as Markdown, with the outputs of its last run if there was one."""
    executed = root / "build/labs" / file.name
    notebook = nbformat.read(executed if executed.exists() else file, as_version=4)
    title, *cells = notebook.cells
    parts = [f"{title.source}\n\n", _EXECUTED if executed.exists() else _SOURCE]
    for cell in cells:
        code = cell.cell_type == "code"
        parts.append(f"````python\n{cell.source}\n````\n\n" if code else f"{cell.source}\n\n")
        parts += [f'<div class="output" role="group" aria-label="Output">{shown}</div>\n\n' for shown in _outputs(cell.get("outputs", ()))]
    return "".join(parts)


def _outputs(outputs: list[nbformat.NotebookNode]) -> Iterator[str]:
    """Outputs as HTML of one line each, which Markdown leaves alone."""
    for output in outputs:
        data = output.get("data", {})
        text = output.get("text") or data.get("text/plain") or "\n".join(output.get("traceback", ()))
        yield (data.get("text/html") or f"<pre>{html.escape(strip_ansi(text).rstrip())}</pre>").replace("\n", "&#10;")


def _linked(text: str, file: Path, root: Path, pages: Path, names: dict[Path, str]) -> str:
    """Have links lead to the pages of the site; a linked file that is none is copied as text, and a folder is only named."""
    here = names[file]

    def link(found: re.Match[str]) -> str:
        path, mark, anchor = found["to"].partition("#")
        target = Path(normpath(file.parent / path))
        if not path or "://" in path or not target.exists():
            return found[0]
        if target.is_dir():
            return found["text"] or found[0]
        picture = target.suffix in {".png", ".svg", ".webp"}
        name = names.get(target) or f"sources/{target.relative_to(root)}{'' if picture else '.txt'}"
        if target not in names:
            (pages / name).parent.mkdir(parents=True, exist_ok=True)
            (pages / name).write_bytes(target.read_bytes())
        to = relpath(name, Path(here).parent)
        # Zensical itself sees no further than Markdown.
        to = to if found["text"] else re.sub(r"\.md$", ".html", to)
        return found[0].replace(f"{found['open']}{found['to']}", f"{found['open']}{to}{mark}{anchor}")

    return re.sub(r"""(?:\[(?P<text>[^\]\n]+)\](?=\()|(?:href|src|srcset)=)(?P<open>[("'])(?P<to>[^)\s"']+)["')]""", link, text)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


def faults(site: Path) -> Iterator[str]:
    """Say what is wrong with a site: what it loads from elsewhere, and links within it that lead nowhere."""
    parsed = {file: BeautifulSoup(file.read_bytes(), "html.parser") for file in site.rglob("*.html")}
    anchors = {file: {tag["id"] for tag in page.select("[id]")} for file, page in parsed.items()}
    for file, page in parsed.items():
        for tag in page.select("[src], link[href], a[href]"):
            to = urlsplit(str(tag.get("src") or tag["href"]))
            loads = tag.name != "a" and tag.get("rel") not in (["canonical"], ["edit"])
            if to.scheme or to.netloc:
                if loads and to.scheme != "data":
                    yield f"{file}: loads {to.geturl()}"
            elif not (target := Path(normpath(file.parent / unquote(to.path))) if to.path else file).exists():
                yield f"{file}: {to.geturl()} leads nowhere"
            elif to.fragment and to.fragment not in anchors.get(target, {to.fragment}):
                yield f"{file}: {to.geturl()} has no such place"
    for file in (*parsed, *site.rglob("*.css")):
        yield from (f"{file}: loads {url}" for url in _IN_CSS.findall(file.read_text("utf-8")))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write_pages(Path.cwd(), Path("build/site-pages"))
    else:
        sys.exit("\n".join(f"✘ {line}" for line in faults(Path("build/site"))) or 0)
