"""What all verbs have in common."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

Verb = Callable[[argparse.Namespace], int]
"""Does what a verb says; gives the exit code."""


def print_json(value: object) -> None:
    """A result for a script."""
    print(json.dumps(value, indent=1, default=str))
