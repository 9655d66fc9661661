"""How results look, as text and in a notebook."""

from __future__ import annotations

import io
import re
import threading

import pytest

import labkit.common.display
from labkit.common.display import BAD, Displayed, Finding, Table, progress, shown, text_table
from labkit.common.problems import Problem

TABLE = Table(("name", "says"), (("<b>", "one\ntwo"), ("long name", "")), title="a & b", note="that is all")


def test_a_tables_text_has_title_padded_columns_line_breaks_and_note() -> None:
    lines = ["a & b", "name       says", "─────────  ────", "<b>        one", "           two", "long name", "", "that is all"]
    assert str(TABLE).splitlines() == lines


def test_a_tables_html_holds_the_same_words_escaped() -> None:
    html = TABLE.html()
    for part in ("a &amp; b", "&lt;b&gt;", "one\ntwo", "long name", "that is all", "<th scope='col'"):
        assert part in html
    assert "<b>" not in html


def test_a_table_without_rows_shows_its_headings() -> None:
    assert text_table(("name", "says"), ()) == ["name  says", "────  ────"]


WIDE = Table(
    ("plan", "details"), (("~ change", f"redirectUris: https://{'a' * 60}, http://localhost:7007/* → none"), ("+ create", "short"))
)


@pytest.mark.parametrize("width", [12, 40, 79])
def test_no_row_is_wider_than_the_terminal_and_nothing_is_lost(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found with `labkit realm plan`: a terminal broke its rows in the middle of a column."""
    monkeypatch.delenv("COLUMNS", raising=False)
    whole = str(WIDE)
    monkeypatch.setenv("COLUMNS", str(width))
    told = str(WIDE)
    assert max(map(len, whole.splitlines())) > 79
    assert max(map(len, told.splitlines())) <= width
    assert sorted(re.sub(r"[\s─]", "", told)) == sorted(re.sub(r"[\s─]", "", whole))


def test_a_table_that_has_room_is_as_it_is_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = str(TABLE)
    monkeypatch.setenv("COLUMNS", "80")
    assert str(TABLE) == whole


def test_a_tables_records_are_its_rows_by_column() -> None:
    assert TABLE.records()[0] == {"name": "<b>", "says": "one\ntwo"}


def test_a_result_without_html_of_its_own_shows_its_text_escaped() -> None:
    class Answer(Displayed):
        def __str__(self) -> str:
            return "<token> & more"

    bundle = Answer()._repr_mimebundle_()
    assert bundle["text/plain"] == "<token> & more"
    assert ">&lt;token&gt; &amp; more</pre>" in str(bundle["text/html"])


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (None, "—"), (["a", True], "a, true"), ((), "none"), (7, "7"), ("text", "text")]
)
def test_a_value_is_shown_in_jsons_words(value: object, text: str) -> None:
    assert shown(value) == text


def test_work_outside_a_terminal_leaves_one_line_with_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("making tea"):
        pass
    assert re.fullmatch(r"✔ making tea \(0\.\d s\)\n", capsys.readouterr().out)


def test_work_that_fails_is_marked_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), progress("making tea"):
        raise RuntimeError
    assert capsys.readouterr().out.startswith("✘ making tea (")


def test_long_work_says_what_is_going_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(labkit.common.display, "_QUIET_SECONDS", 0.01)
    out = ""
    with progress("making tea") as work:
        work.update("boiling water")
        while "boiling" not in out:
            out += capsys.readouterr().out
    assert "… making tea (0 s): boiling water\n" in out


def test_a_wait_speaks_only_if_it_is_late(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(labkit.common.display, "_QUIET_SECONDS", 0.01)
    with progress("waiting for tea", after=30):
        pass
    assert capsys.readouterr().out == ""
    out = ""
    with progress("waiting for tea", after=0.05):
        while "waiting" not in out:
            out += capsys.readouterr().out
    assert "✔ waiting for tea (" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminals_line_is_cleared_before_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with progress("making tea"):
        pass
    assert terminal.getvalue().startswith("\r\x1b[K✔ making tea")


def test_a_terminals_line_is_of_all_work_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr(labkit.common.display, "_LIVE_SECONDS", 0.01)
    with progress("making tea"), progress("baking"):
        while "… making tea (0 s) … baking (0 s)" not in terminal.getvalue():
            pass
    assert re.search(r"\r\x1b\[K✔ making tea \(\d+\.\d s\)\n$", terminal.getvalue())


def test_each_of_several_pieces_of_work_has_its_part_of_a_terminals_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(labkit.common.display, "_LIVE_SECONDS", 0.01)
    with progress("making tea of the finest leaves from far away, about 10 min"), progress("baking"):
        while "… baking (0 s)" not in terminal.getvalue():
            pass
    assert max(map(len, re.split(r"\r\x1b\[K", terminal.getvalue().partition("✔")[0]))) < 60


def test_work_that_is_to_end_does_so_when_it_says_something() -> None:
    ended = threading.Event()
    with pytest.raises(KeyboardInterrupt), progress("making tea", ended=ended) as work:  # noqa: PT012
        work.update("boiling water")
        ended.set()
        work.update("pouring")


def test_a_problem_of_several_lines_is_one_finding() -> None:
    """The cause follows what is wrong, and each further line stands below it."""
    problem = Problem("some-id", "it failed", "one\ntwo", "mend it")
    assert str(Finding.of(problem)) == f"  {BAD} it failed: one\n      two\n      → mend it"
