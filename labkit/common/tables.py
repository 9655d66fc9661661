"""Read labkit's own tables, the YAML files beside its modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def table(file: Path) -> Any:
    """Read a table of labkit's own, by libyaml where PyYAML has it: ten times as fast, and every command reads some."""
    import yaml  # here, because `labkit credential` loads this module and reads no table

    return yaml.load(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
