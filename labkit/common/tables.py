"""Read labkit's own tables, the YAML files beside its modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def table(file: Path) -> Any:
    """Read a table of labkit's own."""
    from .kubernetes_yaml import load  # here, because `labkit credential` loads this module and reads no table

    return load(file.read_bytes())
