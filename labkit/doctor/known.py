"""The causes that the doctor knows, as ``known.yaml`` has them: what one sees, what is wrong, what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Known:
    """A cause: its name, such as ``full-group-path``, what one sees before asking, what is wrong, and what mends it."""

    name: str
    symptom: str
    cause: str
    fix: str


AREAS: dict[str, list[Known]] = {
    area: [Known(name, **told) for name, told in causes.items()]
    for area, causes in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).items()
}
"""The causes, by what they are in."""

KNOWN = {known.name: known for causes in AREAS.values() for known in causes}

_ABOUT = """\
# Troubleshooting

`labkit doctor` (in a notebook: `from labkit.doctor import diagnose; diagnose(lab)`) looks for all of these, from the ground up,
and shows what it saw. It only reads.
This page is written by `make docs` from the doctor's own table; each cause is provoked in `tests/faults/test_doctor.py`.
"""


def page() -> str:
    """Write the causes as a page of Markdown, ``docs/troubleshooting.md``."""
    parts = [_ABOUT]
    for area, causes in AREAS.items():
        rows = (f"| {known.symptom} | {known.cause} | {known.fix} | `{known.name}` |\n" for known in causes)
        parts.append(f"## {area}\n\n| what you see | what is wrong | what mends it | name |\n| --- | --- | --- | --- |\n{''.join(rows)}")
    return "\n".join(parts)
