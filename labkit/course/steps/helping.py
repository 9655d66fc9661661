"""What a learner in a room can press: asking the instructor for help, and opening a hint or a solution, which the instructor sees."""

from __future__ import annotations

import builtins
import html
import threading
from collections.abc import Mapping
from typing import Any

from ...common.errors import LabkitError
from ...common.widgets import Widget
from ...doctor import diagnose
from ...lab import Lab
from . import progress, sending

_ASK, _WITHDRAW = "Ask for help", "I no longer need help"
_SENT = "The instructor sees which steps are done or red, hints, lab and times; labkit help-me --show prints all of it."

_begun: list[Lab] = []


def ask_for_help(lab: Lab, *, wanted: bool) -> None:
    """Ask the instructor for help, and have the doctor look for what is wrong; or take that back."""
    progress.note_help(lab, wanted=wanted)
    if wanted:
        try:
            progress.note_doctor(lab, diagnose(lab).names)
        except LabkitError as error:
            progress.note_doctor(lab, [error.problem.id])


def begun(lab: Lab) -> None:
    """In a room: say that this process works on a lab, and show a button that asks for help."""
    if sending.in_a_room():
        _begun[:] = [lab]
        sending.keep_sending(lambda: progress.snapshot(lab))
        # A kernel has a builtin for it.
        getattr(builtins, "display", print)(_Help(lab))


class _Help(Widget):
    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def __str__(self) -> str:
        return f"{_ASK}: labkit help-me. {_SENT}"

    def widget(self) -> Any:
        import ipywidgets

        def label() -> str:
            return _WITHDRAW if "help" in progress.snapshot(self._lab) else _ASK

        def pressed(_: object) -> None:
            wanted = button.description == _ASK
            button.description = _WITHDRAW if wanted else _ASK
            # In a thread, as the doctor takes seconds and the kernel's next cell need not wait for it.
            threading.Thread(target=ask_for_help, args=(self._lab,), kwargs={"wanted": wanted}).start()

        button = ipywidgets.Button(description=label(), icon="hand-paper-o", layout={"width": "auto"})
        button.on_click(pressed)
        return ipywidgets.VBox([button, ipywidgets.HTML(html.escape(_SENT))])


def folded(step: str, head: str, parts: Mapping[str, str]) -> dict[str, object]:
    """A notebook's output that shows the ``hint`` and the ``solution`` of a step when they are pressed; empty outside of a room.

    Args:
        step: The step's name.
        head: HTML that stands above.
        parts: What there is to show, as HTML, by its name.
    """
    if not (_begun and parts):
        return {}
    import ipywidgets

    def button(which: str) -> Any:
        def pressed(_: object) -> None:
            page.value = f"<div role='status'>{parts[which]}</div>"
            progress.note_opened(_begun[0], step, which)

        made = ipywidgets.Button(description=which.capitalize(), layout={"width": "auto"})
        made.on_click(pressed)
        return made

    page = ipywidgets.HTML()
    box = ipywidgets.VBox([ipywidgets.HTML(head), ipywidgets.HBox([button(which) for which in parts]), page])
    shown: dict[str, object] = box._repr_mimebundle_()
    return shown
