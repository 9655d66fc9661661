"""Errors of other libraries in a notebook: what was answered, and the learner's own line, in place of a trace of pages."""

from __future__ import annotations

import json
import sys
import traceback
from types import TracebackType
from typing import Any

from ..common.display import BAD
from ..common.errors import LabkitError, why_failed
from ..common.problems import recognised
from ..identity.keycloak import words_of

_LIBRARIES = {"keycloak", "kubernetes", "requests"}


def show_shortly() -> None:
    """Have this kernel show these libraries' errors as short as labkit's own; the magic ``%tb`` shows the whole trace."""
    # Who is in no kernel has not loaded it.
    ipython = sys.modules.get("IPython")
    if shell := ipython and ipython.get_ipython():
        shell.set_custom_exc((Exception,), _show)


def in_short(error: Exception, line: str) -> list[str]:
    """The lines to show of an error that came in a line of the learner's; none if it is of no such library."""
    if not _LIBRARIES & {each.__module__.partition(".")[0] for each in type(error).__mro__}:
        return []
    status = getattr(error, "response_code", None) or getattr(error, "status", None)
    words = f"it answered {status}: {_words(error)}" if status else _words(error)
    return [f"{BAD} {type(error).__name__}: {LabkitError(recognised('library', words), words=words, line=line)}"]


def _words(error: Any) -> str:
    if getattr(error, "response_body", None):
        return words_of(error)
    try:
        return str(json.loads(error.body)["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return why_failed(error)


def _show(shell: Any, kind: type[Exception], error: Any, trace: TracebackType, tb_offset: int | None = None) -> None:
    frames = zip(traceback.walk_tb(trace), traceback.extract_tb(trace), strict=True)
    own = [f"{seen.lineno}: {seen.line}" for (frame, _), seen in frames if frame.f_globals is shell.user_ns]
    lines = in_short(error, own[-1])
    if lines:
        error._render_traceback_ = lambda: lines
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
    if lines:
        # For %tb.
        del error._render_traceback_
