"""The command line: how labs are named on it, and what a terminal alone is shown."""

from __future__ import annotations

import io
import signal
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from labkit.cli.command import working
from labkit.cli.verbs import VERBS, main, parse
from labkit.common.display import Finding
from labkit.common.errors import WorkshopError
from labkit.course import runner
from labkit.course.glossary import glossary
from labkit.course.runner import RunResult
from labkit.course.steps import LABS, STEPS, attempt, the_lab
from labkit.lab import Lab


@pytest.mark.parametrize("name", ["3", "03", "03-rbac"])
def test_a_lab_has_a_number_and_a_name(name: str) -> None:
    """The number's zero may be left out."""
    assert the_lab(name).name == "03-rbac"


@pytest.mark.parametrize("name", ["", "12", "rbac", "003"])
def test_what_no_lab_is_called(name: str) -> None:
    """Neither nothing nor a part of a name is a lab."""
    with pytest.raises(WorkshopError):
        the_lab(name)


def test_run_takes_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Labs run by number as by name."""
    asked: list[str] = []

    def run(names: list[str], output: Path) -> RunResult:
        del output
        asked.extend(names)
        return RunResult(True, 0.0, "", [])

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    assert main(["run", "00", "3", "04-tokens", "--json"]) == 0
    assert asked == ["00-start-here", "03-rbac", "04-tokens"]


@pytest.mark.parametrize("line", ["rehearse 2 00 --hub https://h --token-file t", "rehearse --hub https://h --token-file t 2 00"])
def test_names_come_before_or_after_options(line: str) -> None:
    assert parse(["room", *line.split()]).names == ["2", "00"]


@pytest.mark.parametrize("line", ["room rehearse 2 --huh", "doctor now"])
def test_what_no_verb_takes_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(line.split())
    assert "unrecognized arguments" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run 12", "there is no lab '12'"),
        ("reset 12", "there is no lab '12'"),
        ("catch-up 12", "there is no lab '12'"),
        ("solve 12", "there is no lab or step '12'"),
        ("check 12", "there is no lab or step '12'"),
        ("check nothing", "there is no lab or step 'nothing'"),
        ("solve .realm", "there is no lab or step '.realm'"),
    ],
)
def test_an_unknown_lab_is_answered_with_all_labs(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every verb that takes a lab lists numbers and names."""
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    assert f"{said}; there are: {', '.join(info.name for info in LABS)}" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "term"), [("audience", "audience"), ("AUD", "audience"), ("id token", "ID token"), ("403", "403")])
def test_a_term_is_explained_by_its_name_or_how_it_begins(asked: str, term: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *asked.split()]) == 0
    assert capsys.readouterr().out == f"{term}\n\n{glossary()[term]}"


@pytest.mark.parametrize(
    ("asked", "near"),
    [("isuer", "issuer"), ("claims", "claim"), ("client scope", "client, scope"), ("4", "401, 403"), ("x", ", ".join(glossary()))],
)
def test_an_unknown_term_is_answered_with_those_like_it(asked: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", asked])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"✘ there is no term {asked!r}; there are: {near}\n"


def test_explain_alone_lists_the_terms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    assert capsys.readouterr().out.splitlines() == list(glossary())


@pytest.mark.fault("Commands", "a verb of labkit is ended with SIGTERM", "it tidies up and ends as after Ctrl-C")
def test_a_verb_ends_with_sigterm_as_with_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: None)
    monkeypatch.setattr("labkit.course.glossary.glossary", lambda: signal.raise_signal(signal.SIGTERM))
    try:
        assert main(["explain"]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "interrupted" in capsys.readouterr().err


def test_check_says_of_a_step_that_holds_before_its_lab_that_it_is_not_done_by_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(STEPS["namespaces"], "check", lambda _: iter([Finding(ok=True, text="none is there")]))
    assert main(["check", "namespaces"]) == 0
    assert capsys.readouterr().out.startswith("· namespaces: ")
    attempt(Lab.open(), "namespaces")
    assert main(["check", "namespaces"]) == 0
    assert capsys.readouterr().out.startswith("✔ namespaces: ")


def test_an_unknown_step_of_a_lab_is_answered_with_its_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """The lab is right, so its steps are what helps."""
    with pytest.raises(SystemExit):
        main(["solve", "3.nothing"])
    assert "there is no step '3.nothing'; there are: 03-rbac.rbac, 03-rbac.read-configmaps" in capsys.readouterr().err


@pytest.mark.parametrize(("terminal", "as_json", "shown"), [(True, False, True), (True, True, False), (False, False, False)])
def test_only_a_terminal_sees_that_a_verb_works(terminal: bool, as_json: bool, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is piped, and JSON, is the result alone."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stdout", stream)
    with working(Namespace(json=as_json), "asking"):
        pass
    assert ("asking" in stream.getvalue()) is shown


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["labkit", "cat"], {"catch-up"}),
        (["labkit", "kratix", ""], {"up", "down", "status"}),
        (["labkit", "status", "--j"], {"--json"}),
        (["labkit", "completion", "z"], {"zsh"}),
    ],
)
def test_what_bash_completes(words: list[str], offered: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A real bash asks the function that it was given for labkit."""
    assert main(["completion", "bash"]) == 0
    asked = f"COMP_WORDS=({' '.join(word or chr(39) * 2 for word in words)}); COMP_CWORD={len(words) - 1}"
    ask = f"""{asked}
set -- $(complete -p labkit); while [ "$1" != -F ]; do shift; done
"$2" labkit; printf "%s\\n" "${{COMPREPLY[@]}}"
"""
    script = f"{capsys.readouterr().out}\n{ask}"
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) - {"-h", "--help"} == offered, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_every_verb(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where that shell is not installed."""
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert [verb.name for verb in VERBS if verb.name not in said] == []
