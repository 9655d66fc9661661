"""Results that one can press or watch. Without a live kernel, headless or exported, each is its text."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .display import BAD, Displayed

_WIDE = {"width": "100%", "margin": "0"}
"""A picture in it is no wider than the page."""


class Widget(Displayed):
    """A result with an ipywidget beside its text."""

    def widget(self) -> Any:
        """A new widget that shows it."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        return {**self.widget()._repr_mimebundle_(**options), **super()._repr_mimebundle_()}


@dataclass(frozen=True)
class Switcher(Widget):
    """Several results by the names on their buttons; a notebook shows the one that is picked, text has all of them below each other."""

    choices: Mapping[str, Displayed]

    def __str__(self) -> str:
        return "\n\n".join(str(choice) for choice in self.choices.values())

    def html(self) -> str:
        return "".join(choice.html() for choice in self.choices.values())

    def widget(self) -> Any:
        # Imported on use, as in the others: only a notebook has widgets.
        import ipywidgets

        buttons = ipywidgets.ToggleButtons(options=list(self.choices), style={"button_width": "auto"})
        page = ipywidgets.HTML(_page(self.choices[buttons.value].html), layout=_WIDE)
        buttons.observe(lambda change: setattr(page, "value", _page(self.choices[change.new].html)), names="value")
        return ipywidgets.VBox([buttons, page])


class Again(Widget):
    """A result with a button that gets it anew by ``ask``."""

    def __init__(self, ask: Callable[[], Displayed], label: str = "Check again") -> None:
        self._ask, self._label = ask, label
        self.result = ask()

    def __str__(self) -> str:
        return str(self.result)

    def html(self) -> str:
        return self.result.html()

    def again(self) -> Displayed:
        """Ask again, and keep the answer."""
        self.result = self._ask()
        return self.result

    def widget(self) -> Any:
        import ipywidgets

        button = ipywidgets.Button(description=self._label, icon="refresh", layout={"width": "auto"}, style={"font_weight": "bold"})
        page, when = ipywidgets.HTML(_page(self.html), layout=_WIDE), ipywidgets.Label(_as_of())

        def pressed(_: object) -> None:
            # The button is not disabled meanwhile: that would take the focus from whoever has only a keyboard.
            when.value = "asking …"
            page.value = _page(lambda: self.again().html())
            when.value = _as_of()

        button.on_click(pressed)
        return ipywidgets.VBox([ipywidgets.HBox([button, when]), page])


class Countdown(Widget):
    """How long something still holds, second by second, with a button that renews it; ``expires`` is in seconds since 1970."""

    def __init__(self, what: str, expires: Callable[[], float], renew: Callable[[], object]) -> None:
        self._what, self._expires, self._renew = what, expires, renew

    def __str__(self) -> str:
        until = time.strftime("%H:%M:%S UTC", time.gmtime(self._expires()))
        left = round(self._expires() - time.time())
        if left <= 0:
            return f"{self._what} expired at {until}"
        return f"{self._what} holds until {until}: {left // 60} min {left % 60:02} s from now"

    def widget(self) -> Any:
        import ipywidgets

        page, trouble = ipywidgets.HTML(self._line()), ipywidgets.HTML()
        button = ipywidgets.Button(description="Renew", icon="refresh", layout={"width": "auto"})
        clock = threading.Thread()

        def run() -> None:
            nonlocal clock
            if not clock.is_alive():
                # A thread, since the kernel's own loop stands still while a cell runs.
                clock = threading.Thread(target=self._tick, args=(page,), daemon=True)
                clock.start()

        def renewed() -> str:
            self._renew()
            page.value = self._line()
            return ""

        def pressed(_: object) -> None:
            trouble.value = _page(renewed)
            run()

        button.on_click(pressed)
        run()
        return ipywidgets.VBox([ipywidgets.HBox([page, button]), trouble])

    def _tick(self, page: Any) -> None:
        while self._expires() > time.time():
            time.sleep(1)
            page.value = self._line()

    def _line(self) -> str:
        return f"<span style='font-variant-numeric:tabular-nums'>{html.escape(str(self))}</span>"


def _page(get: Callable[[], str]) -> str:
    """HTML for a widget. A widget that calls would swallow what is raised, so it is shown in the result's place."""
    try:
        return f"<div style='line-height:1.5'>{get()}</div>"
    except Exception as error:  # noqa: BLE001 # whatever it is, the person has to see it
        name = "" if str(error) else type(error).__name__
        return f"<div role='alert' style='line-height:1.5;white-space:pre-wrap'><b>{BAD}</b> {html.escape(str(error) or name)}</div>"


def _as_of() -> str:
    return time.strftime("as of %H:%M:%S")
