"""Questions with an instant answer, and why."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.display import BAD, OK, folded
from ..common.errors import LabkitError
from ..common.tables import table
from ..common.widgets import Widget


@dataclass(frozen=True)
class Question(Widget):
    """A question: a notebook lets one pick an answer and says at once whether it holds; as text, all is there to read.

    Args:
        text: The question.
        answers: Why each possible answer holds or doesn't, by the answer.
        right: The one that holds.
    """

    text: str
    answers: Mapping[str, str]
    right: str

    def __post_init__(self) -> None:
        if self.right not in self.answers:
            msg = f"{self.right!r} is none of the answers: {', '.join(self.answers)}"
            raise ValueError(msg)

    def said(self, answer: str) -> str:
        """What there is to say to an answer."""
        return f"{OK if answer == self.right else BAD} {answer}: {self.answers[answer]}"

    def __str__(self) -> str:
        return "\n".join([f"? {self.text}", *(f"  – {answer}" for answer in self.answers), "", f"  {self.said(self.right)}"])

    def html(self) -> str:
        choices = "".join(f"<li>{html.escape(answer)}</li>" for answer in self.answers)
        answer = folded("Answer", html.escape(self.said(self.right)))
        return f"<p><b>{html.escape(self.text)}</b></p><ul>{choices}</ul>{answer}"

    def widget(self) -> Any:
        # Imported on use: only a notebook has widgets.
        import ipywidgets

        choices = ipywidgets.RadioButtons(options=list(self.answers), value=None, layout={"width": "auto"})
        said = ipywidgets.HTML()
        choices.observe(
            lambda change: setattr(said, "value", f"<div role='status'>{html.escape(self.said(change.new))}</div>"), names="value"
        )
        return ipywidgets.VBox([ipywidgets.HTML(f"<b>{html.escape(self.text)}</b>"), choices, said])


def questions() -> dict[str, Question]:
    """Read ``questions.yaml``: the questions by the lab at whose end each is asked."""
    return {lab: Question(**asked) for lab, asked in table(Path(__file__).with_suffix(".yaml")).items()}


def question(lab: str) -> Question:
    """Ask the question of the lab of that name."""
    if asked := questions().get(lab):
        return asked
    raise LabkitError("question-missing", notebook=lab)
