"""The labs' steps. A module ``lab_…`` of this package declares one lab whole; all there are, are loaded, in the order of their names."""

from importlib import import_module
from pkgutil import iter_modules

from .agenda import agenda
from .doing import attempt, begin, catch_up, check, examine, insist_on_what_is_needed, question, reset_lab, solve
from .notebooks import STARTER, solved
from .progress import overview
from .registry import LABS, STEPS, LabInfo, Step, add_lab, the_lab

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
    "overview",
    "question",
    "reset_lab",
    "solve",
    "solved",
    "the_lab",
]

for _module in sorted(module.name for module in iter_modules(__path__)):
    if _module.startswith("lab_"):
        import_module(f"{__name__}.{_module}")
