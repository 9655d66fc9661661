"""The labs' steps. A module ``lab_…`` of this package declares one lab whole; `MODULES` has them in their order."""

from importlib import import_module

from .doing import attempt, begin, catch_up, check, examine, insist_on_what_is_needed, reset_lab, solve
from .progress import agenda, overview
from .registry import LABS, STARTER, STEPS, LabInfo, Step, add_lab, near, solved, the_lab

__all__ = [
    "LABS",
    "STARTER",
    "STEPS",
    "LabInfo",
    "Step",
    "add_lab",
    "agenda",
    "attempt",
    "begin",
    "catch_up",
    "check",
    "examine",
    "insist_on_what_is_needed",
    "near",
    "overview",
    "reset_lab",
    "solve",
    "solved",
    "the_lab",
]

MODULES = (
    "lab_00_start_here",
    "lab_01_keycloak",
    "lab_02_cluster",
    "lab_03_rbac",
    "lab_04_tokens",
    "lab_05_access",
    "lab_06_portal",
    "lab_07_break_and_fix",
    "lab_08_kratix",
    "lab_99_clean_up",
)
"""The labs in the order in which they are done. The last one cleans up; its number leaves room for more before it."""

for _module in MODULES:
    import_module(f"{__name__}.{_module}")
