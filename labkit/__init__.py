"""labkit: the helper package behind the workshop's labs.

Whatever a notebook needs of labkit is imported from here, and loaded when it is first asked for (PEP 562): ``labkit credential``, which
kubectl runs for each command, waits for none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster.person import Person
    from .common.errors import (
        CheckFailed,
        ClusterError,
        Forbidden,
        InvalidValues,
        KeycloakUnreachable,
        NotPermitted,
        NotSignedIn,
        SignInRefused,
        TaskFailed,
        Unauthorized,
    )
    from .common.expectation import expect
    from .common.widgets import Again, Switcher
    from .course.faults import FAULTS
    from .course.pictures.chain import trust_chain
    from .course.pictures.timeline import timeline
    from .course.pictures.token import lifetime, taken_apart
    from .course.practice import Practice
    from .course.questions import question
    from .course.steps import attempt, begin, check, overview
    from .course.steps.lab_05_access import newcomer, one_right_too_many
    from .course.steps.lab_07_break_and_fix import take_by
    from .identity.session import side_by_side
    from .kratix.promise import RequestStatus, wait_until_taken
    from .lab import Lab

__all__ = [
    "FAULTS",
    "Again",
    "CheckFailed",
    "ClusterError",
    "Forbidden",
    "InvalidValues",
    "KeycloakUnreachable",
    "Lab",
    "NotPermitted",
    "NotSignedIn",
    "Person",
    "Practice",
    "RequestStatus",
    "SignInRefused",
    "Switcher",
    "TaskFailed",
    "Unauthorized",
    "attempt",
    "begin",
    "check",
    "expect",
    "lifetime",
    "newcomer",
    "one_right_too_many",
    "overview",
    "question",
    "side_by_side",
    "take_by",
    "taken_apart",
    "timeline",
    "trust_chain",
    "wait_until_taken",
]

_PLACES = {
    "cluster.person": ("Person",),
    "common.expectation": ("expect",),
    "course.faults": ("FAULTS",),
    "identity.session": ("side_by_side",),
    "kratix.promise": ("RequestStatus", "wait_until_taken"),
    "lab": ("Lab",),
    "course.pictures.chain": ("trust_chain",),
    "course.pictures.timeline": ("timeline",),
    "course.pictures.token": ("lifetime", "taken_apart"),
    "course.practice": ("Practice",),
    "course.questions": ("question",),
    "course.steps": ("attempt", "begin", "check", "overview"),
    "course.steps.lab_05_access": ("newcomer", "one_right_too_many"),
    "course.steps.lab_07_break_and_fix": ("take_by",),
    "common.widgets": ("Again", "Switcher"),
}
"""Where what is not an error comes from."""

if not TYPE_CHECKING:
    # Hidden from type checkers, which would then take any name.
    def __getattr__(name: str) -> object:
        if name not in __all__:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        place = next((place for place, names in _PLACES.items() if name in names), "common.errors")
        globals()[name] = value = getattr(import_module(f"{__name__}.{place}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
