"""How large labkit is, for those who read it: ``make sizes``. Lines, packages, layers and imports; words in a sentence of the pages."""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp

from labkit.common.display import Table, ending_with_the_reader

LABKIT = Path("labkit")
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """Count the lines that are neither empty nor comments nor docstrings."""

    def used() -> Iterator[int]:
        begins = True
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in _NO_CODE and not (begins and token.type == tokenize.STRING):
                yield from range(token.start[0], token.end[0] + 1)
            begins = token.type in _NO_CODE

    return len(set(used()))


def arrows() -> dict[str, set[str]]:
    """Tell which of labkit's packages imports which; the package's own lazy names and ``python -m labkit`` are left out."""
    graph = grimp.build_graph("labkit")
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        names = [name.split(".")[1] for name in (module, *graph.find_modules_directly_imported_by(module)) if "." in name]
        if names and "." in module and names[0] != "__main__":
            found.setdefault(names[0], set()).update(names[1:])
    return {name: imported - {name} for name, imported in found.items()}


def sentence_words(file: Path) -> float:
    """Count the words in an average sentence of a page's or notebook's prose, without headings, tables and code."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        text = "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")
    text = re.sub(r"^```.*?^```|^<[^>]*>$|\*\*", "", text, flags=re.DOTALL | re.MULTILINE)
    prose = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", "|")))
    sentences = [sentence.split() for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", prose) if sentence.strip()]
    return sum(map(len, sentences)) / len(sentences)


def main() -> None:
    """Print the tables."""
    packages = arrows()

    @cache
    def layer(name: str) -> int:
        return 1 + max(map(layer, packages[name]), default=0)

    sizes: dict[str, list[tuple[int, int]]] = {}
    for file in LABKIT.rglob("*.py"):
        if "node_modules" not in file.parts:
            text = file.read_text(encoding="utf-8")
            sizes.setdefault(file.relative_to(LABKIT).with_suffix("").parts[0], []).append((text.count("\n"), code_lines(text)))

    def sums(of: list[tuple[int, int]]) -> tuple[str, ...]:
        return tuple(str(number) for number in (len(of), *map(sum, zip(*of, strict=True))))

    names = sorted(packages, key=lambda name: (-layer(name), name))
    rows = [(name, str(layer(name)), *sums(sizes[name]), ", ".join(sorted(packages[name]))) for name in names]
    rows.append(("all", "", *sums([size for of in sizes.values() for size in of]), ""))
    note = f"{len(packages)} packages, {max(map(layer, packages))} layers, {sum(map(len, packages.values()))} arrows"
    print(Table(("package", "layer", "modules", "lines", "of code", "imports"), tuple(rows), note=note), end="\n\n")
    pages = sorted(file for pattern in ("*.md", "docs/*.md", "notebooks/*.ipynb") for file in Path().glob(pattern))
    print(Table(("page", "words in a sentence"), tuple((str(file), f"{sentence_words(file):.1f}") for file in pages)))


if __name__ == "__main__":
    with ending_with_the_reader():
        main()
