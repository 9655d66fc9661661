"""What a name must be, for all who will bear or read it."""

from __future__ import annotations

import re


def name_fault(value: str) -> str:
    """What is wrong with a name, nothing if it may be one."""
    if not value.strip():
        return "is empty"
    return f'"{value}" begins or ends with a space' if value != value.strip() else ""


def realm_name_fault(value: str) -> str:
    """What is wrong with a realm's name, nothing if it may be one."""
    if name_fault(value):
        return name_fault(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        return f'"{value}" can\'t stand in an address: use letters, digits, ".", "_" and "-"'
    return '"master" is the realm that Keycloak keeps for its own administrators' if value == "master" else ""
