"""The page of terms, made from the labs' glossary: ``make docs`` writes what this module prints."""

from __future__ import annotations

from labkit.course.glossary import glossary

_ABOUT = """\
# Glossary

The labs' terms, two sentences each.
In a terminal, `labkit explain TERM` prints one.
`make docs` writes this page from `labkit/course/glossary.yaml`.
"""


def page() -> str:
    """Write the glossary as a page of Markdown, with a heading for each term, which labs link to."""
    return "\n".join([_ABOUT, *(f"## {term}\n\n{text}" for term, text in glossary().items())])


if __name__ == "__main__":
    print(page(), end="")
