"""The page on troubleshooting, made from the catalogue of problems: ``make docs`` writes what this module prints."""

from __future__ import annotations

from string import Template

from labkit.common.problems import catalogue

_ABOUT = """\
# Troubleshooting

This page has every problem that labkit names, in its words; ‹port› stands for a value that labkit then knows.
`make docs` writes it from `labkit/problems.yaml`.
`labkit doctor` looks for what can be wrong with a lab, from the ground up, and shows what it saw. It only reads.
In a notebook it is `from labkit.doctor import diagnose; diagnose(lab)`.
Each cause that the doctor can find is provoked in `tests/faults/test_doctor.py`.
"""

_HEADING = "| what you see | what is wrong | what mends it | name |\n| --- | --- | --- | --- |\n"


def page() -> str:
    """Write the catalogue as a page of Markdown, with a table for each area."""
    parts = [_ABOUT]
    for area, problems in catalogue().items():
        rows = (f"| {_shown(**fields)} | `{name}` |\n" for name, fields in problems.items())
        parts.append(f"## {area}\n\n{_HEADING}{''.join(rows)}")
    return "\n".join(parts)


def _shown(what: str, why: str = "", fix: str = "") -> str:
    cells = []
    for text in (what, why, fix):
        template = Template(text.strip())
        cell = template.substitute({name: f"‹{name}›" for name in template.get_identifiers()} | {"lab": "lab"})
        cells.append(cell.replace("|", "\\|").replace("\n", "<br>") or "—")
    return " | ".join(cells)


if __name__ == "__main__":
    print(page(), end="")
