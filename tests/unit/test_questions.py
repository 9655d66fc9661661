"""Questions: as text all is there to read; a notebook lets one pick."""

from __future__ import annotations

from typing import cast

import ipywidgets
import pytest

from labkit.common.errors import LabkitError
from labkit.config.settings import find_root
from labkit.course.questions import Question, question, questions
from labkit.course.steps import LABS

ASKED = Question("Is 403 a <no>?", {"yes": "RBAC said it", "no": "it was heard & understood"}, right="yes")


def test_as_text_the_answer_follows_the_choices() -> None:
    assert str(ASKED).splitlines() == ["? Is 403 a <no>?", "  – yes", "  – no", "", "  ✔ yes: RBAC said it"]


def test_a_pick_is_answered_at_once_and_says_why() -> None:
    bundle = ASKED._repr_mimebundle_()
    assert bundle["text/plain"] == str(ASKED)
    view = cast("dict[str, str]", bundle["application/vnd.jupyter.widget-view+json"])
    _, choices, said = ipywidgets.widgets.widget._instances[view["model_id"]].children
    assert (choices.value, said.value) == (None, "")
    choices.value = "no"
    assert said.value == "<div role='status'>✘ no: it was heard &amp; understood</div>"


def test_the_page_keeps_the_answer_folded_and_escapes_what_it_shows() -> None:
    assert ">Answer</summary>✔ yes" in ASKED.html()
    assert "a &lt;no&gt;?" in ASKED.html()


def test_the_right_answer_is_one_of_the_answers() -> None:
    with pytest.raises(ValueError, match="'maybe' is none of the answers: yes"):
        Question("?", {"yes": "so"}, right="maybe")


def test_a_notebook_shows_the_question_of_its_lab_and_never_its_answer() -> None:
    asking = questions()
    assert len(asking) >= 6
    assert set(asking) <= {info.name for info in LABS}
    for name in asking:
        assert question(name) == asking[name]
        text = (find_root() / "notebooks" / f"{name}.ipynb").read_text()
        assert f'question(\\"{name}\\")' in text
        assert "right=" not in text


def test_a_lab_without_a_question_says_how_to_give_it_one() -> None:
    with pytest.raises(LabkitError, match="99-clean-up has no question") as failure:
        question("99-clean-up")
    assert "labkit/course/questions.yaml" in failure.value.fix
