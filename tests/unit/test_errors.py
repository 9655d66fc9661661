"""What errors say, and that the tree in the module's docstring is the real one."""

from __future__ import annotations

import pickle
import re

import labkit.common.errors
from labkit.common.errors import Forbidden, LabkitError, SignInRefused
from labkit.common.problems import Problem


def test_an_error_says_what_why_and_the_fix_with_later_lines_indented() -> None:
    error = LabkitError(Problem("server-failed", "keycloak ended at once", "the last lines:\nno memory", "labkit up"))
    assert str(error).splitlines() == ["keycloak ended at once", "  why: the last lines:", "       no memory", "  fix: labkit up"]


def test_what_is_not_known_is_left_out() -> None:
    assert str(LabkitError(Problem("failed", "it failed"))) == "it failed"


def test_a_notebook_shows_the_message_without_the_stack() -> None:
    assert Forbidden(Problem("no", "no", fix="ask"), user="user-dev")._render_traceback_() == ["✘ Forbidden: no\n  fix: ask"]


def test_errors_keep_their_facts_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SignInRefused(Problem("no", "no", "so", "do"), error="invalid_grant")))  # noqa: S301 - our own
    assert (str(error), error.error) == ("no\n  why: so\n  fix: do", "invalid_grant")


def test_the_documented_tree_is_the_real_one() -> None:
    path: list[str] = []
    documented = {}
    for line in (labkit.common.errors.__doc__ or "").splitlines():
        found = re.match(r"([\s│├└─]*)(\w+)  ", line)
        if found and found.group(2).isidentifier() and hasattr(labkit.common.errors, found.group(2)):
            path[len(found.group(1)) // 4 - 1 :] = [found.group(2)]
            documented[path[-1]] = path[-2] if len(path) > 1 else None
    real = {
        name: None if kind is LabkitError else kind.__mro__[1].__name__
        for name, kind in vars(labkit.common.errors).items()
        if isinstance(kind, type) and issubclass(kind, LabkitError)
    }
    assert documented == real
