"""What one can press or watch, without a kernel: the widgets are real, and pressed by calling what a press calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from labkit.common.display import Displayed, Table
from labkit.common.errors import LabkitError
from labkit.common.problems import Problem
from labkit.common.widgets import Again, Countdown, Switcher

ONE, TWO = Table(("says",), (("one",),)), Table(("says",), (("two",),))


class Broken(Displayed):
    def __str__(self) -> str:
        return "broken"

    def html(self) -> str:
        raise RuntimeError


def parts(widget: Any) -> list[Any]:
    """A widget and all that is in it."""
    return [widget, *(part for child in getattr(widget, "children", ()) for part in parts(child))]


def of_kind(widget: Any, kind: str) -> list[Any]:
    return [part for part in parts(widget) if type(part).__name__ == kind]


def answers(*them: object) -> Callable[[], Displayed]:
    """Gives one after the other; an error is raised."""
    rest = iter(them)

    def ask() -> Displayed:
        answer = next(rest)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Displayed)
        return answer

    return ask


def test_a_result_can_be_asked_for_again_by_its_button() -> None:
    result = Again(answers(ONE, TWO), "Ask again")
    widget = result.widget()
    (button,), (page,) = of_kind(widget, "Button"), of_kind(widget, "HTML")
    assert (button.description, "one" in page.value) == ("Ask again", True)
    button.click()
    assert "two" in page.value
    assert str(result) == str(TWO)


@pytest.mark.parametrize(
    ("error", "words"),
    [(LabkitError(Problem("failed", "it <failed>", fix="do this")), "it &lt;failed&gt;\n  fix: do this"), (KeyError(), "KeyError")],
)
def test_what_goes_wrong_when_a_button_is_pressed_is_shown_and_the_button_stays_usable(error: Exception, words: str) -> None:
    widget = Again(answers(ONE, error, TWO)).widget()
    (button,), (page,) = of_kind(widget, "Button"), of_kind(widget, "HTML")
    button.click()
    assert "role='alert'" in page.value
    assert words in page.value
    button.click()
    assert "two" in page.value


def test_what_goes_wrong_at_first_fails_the_cell() -> None:
    with pytest.raises(LabkitError):
        Again(answers(LabkitError(Problem("no", "no"))))


def test_a_switcher_shows_what_is_picked_and_what_goes_wrong_with_it() -> None:
    widget = Switcher({"first": ONE, "second": TWO, "third": Broken()}).widget()
    (buttons,), (page,) = of_kind(widget, "ToggleButtons"), of_kind(widget, "HTML")
    assert "one" in page.value
    buttons.value = "second"
    assert "two" in page.value
    buttons.value = "third"
    assert "RuntimeError" in page.value


def test_without_a_live_kernel_there_is_all_of_it_as_text() -> None:
    for shown in (Switcher({"first": ONE, "second": TWO}), Again(answers(ONE)), Countdown("It", lambda: time.time() + 61, lambda: None)):
        bundle = shown._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle
        assert bundle["text/plain"] == str(shown)
    assert "one" in str(Switcher({"first": ONE, "second": TWO}))
    assert "two" in str(Switcher({"first": ONE, "second": TWO}))


def test_a_countdown_counts_and_says_when_it_is_over_and_can_be_renewed() -> None:
    expires = time.time() + 1
    renewals: list[float] = []

    def renew() -> None:
        nonlocal expires
        if renewals:
            raise LabkitError(Problem("ended", "the session has ended"))
        expires = time.time() + 300
        renewals.append(expires)

    widget = Countdown("The token", lambda: expires, renew).widget()
    page, trouble = of_kind(widget, "HTML")
    assert "The token holds until" in page.value
    deadline = time.monotonic() + 30
    while "The token expired at" not in page.value:
        assert time.monotonic() < deadline, page.value
        time.sleep(0.05)
    (button,) = of_kind(widget, "Button")
    button.click()
    assert ("4 min 59 s" in page.value or "5 min 00 s" in page.value, "ended" in trouble.value) == (True, False)
    button.click()
    assert "the session has ended" in trouble.value
