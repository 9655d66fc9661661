"""The option of `make test-kind RECORD=1`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write what Docker answers into the file that its stand-in answers from")
