"""A refusal that a lab wants to see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from .display import OK
from .errors import CheckFailed, Forbidden, LabkitError, PortalError, SignInRefused

_IN_THEIR_WORDS = (SignInRefused, PortalError, CheckFailed)
"""Errors whose ``why`` is what was answered, or found. That of others is what labkit knows about the cause."""

_Refusal = TypeVar("_Refusal", bound=LabkitError)


class Expected(Generic[_Refusal]):
    """What `expect` gives: the refusal, once it has come."""

    error: _Refusal


class _Somebody(Protocol):
    def whoami(self) -> Any: ...


@contextmanager
def expect(refusal: type[_Refusal], *, person: _Somebody | None = None) -> Iterator[Expected[_Refusal]]:
    """Expect a refusal, show it as it reaches whoever is refused, and hold it for asserts.

    Args:
        person: Whom the API server has to name in it: a `Person`, or somebody signed in to the portal.

    Raises:
        CheckFailed: Nothing was refused, or the refusal names somebody else.
    """
    name = person.whoami().username if person else ""
    expected = Expected[_Refusal]()
    try:
        yield expected
    except refusal as error:
        expected.error = error
        if isinstance(error, Forbidden) and name not in ("", error.user):
            raise CheckFailed("refusal-for-another", refused=error.user or "nobody by name", name=name, reason=error.what) from None
        why = error.why if isinstance(error, _IN_THEIR_WORDS) else ""
        print(f"{OK} {refusal.__name__}, as expected:", *filter(None, (error.what, why)), sep="\n")
    else:
        if name:
            raise CheckFailed("refusal-missing-for", name=name, refusal=refusal.__name__)
        raise CheckFailed("refusal-missing", refusal=refusal.__name__)
