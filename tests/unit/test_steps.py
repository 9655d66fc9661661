"""The registry of steps, and how a check's findings are reported."""

from __future__ import annotations

import ast
import builtins
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cluster.cluster import Cluster
from labkit.common.display import Finding
from labkit.common.errors import CheckFailed, EarlierLabMissing, IdentityError, LabkitError, WorkshopError
from labkit.common.problems import Problem
from labkit.config.settings import Settings, find_root
from labkit.course import steps
from labkit.course.steps import (
    LABS,
    STARTER,
    STEPS,
    LabInfo,
    Step,
    add_lab,
    agenda,
    attempt,
    begin,
    check,
    doing,
    examine,
    overview,
    solve,
    solved,
)
from labkit.lab import Lab
from labkit.servers.machine import MEMORY_GB
from labkit.toolchain import Toolchain


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab of which nothing but the state folder exists."""
    return Lab(Settings.open({"LABKIT_HOME": str(tmp_path / "home"), "LABKIT_CLUSTER": "local"}))


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register a check as the step "probe" for one test."""

    def add(*findings: Finding, error: Exception | None = None) -> None:
        def probe(_: Lab) -> Iterator[Finding]:
            yield from findings
            if error:
                raise error

        monkeypatch.setitem(STEPS, "probe", Step(LABS[0].name, "probe", "something holds", 1, probe))

    return add


def test_every_module_of_a_lab_is_listed_and_the_last_one_cleans_up() -> None:
    files = sorted(file.stem for file in Path(steps.__path__[0]).glob("lab_*.py"))
    assert files == sorted(steps.MODULES)
    assert LABS[-1].steps[-1].name == "stopped"


def test_every_lab_has_a_notebook_and_every_notebook_is_a_lab() -> None:
    files = sorted(file.stem for file in (find_root() / "notebooks").glob("*.ipynb"))
    assert files == [info.name for info in LABS]


def cells_of(name: str) -> list[Any]:
    # Takes a second to import, and every process of a run would pay for it at the top.
    import nbformat

    cells: list[Any] = nbformat.read(find_root() / "notebooks" / f"{name}.ipynb", as_version=4).cells
    return cells


def code_of(name: str) -> list[str]:
    return [cell.source for cell in cells_of(name) if cell.cell_type == "code"]


def test_every_lab_begins_itself_and_runs_each_of_its_checks_in_order() -> None:
    for info in LABS:
        code = code_of(info.name)
        assert f'begin("{info.name}")' in code[0]
        checked = [m[1] for source in code for m in re.finditer(r'(?:check|attempt)\(lab, "([^"]+)"\)', source)]
        assert list(dict.fromkeys(checked)) == [step.name for step in info.steps]


def test_every_exercise_has_its_place_in_its_notebook_and_all_that_it_needs() -> None:
    exercises = [step for step in STEPS.values() if step.exercise]
    assert len(exercises) >= 9
    for step in exercises:
        code = code_of(step.lab)
        (place,) = [index for index, source in enumerate(code) if (found := STARTER.match(source)) and found[1] == step.name]
        assert code[place + 1] == f'attempt(lab, "{step.name}")'
        assert step.hint
        assert step.solve
        assert step.undo


def test_a_lab_says_at_its_head_how_long_it_takes() -> None:
    for info in LABS:
        exercises = sum(step.minutes for step in info.steps if step.exercise)
        told = f"about {info.minutes} minutes" + (f", {exercises} of them exercises" if exercises else "")
        assert told in cells_of(info.name)[0].source


def test_a_notebook_that_nobody_is_there_for_has_the_solutions_and_checks_that_insist() -> None:
    import nbformat

    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("from labkit import attempt, check"),
            nbformat.v4.new_markdown_cell("# Your turn: auditor\nattempt(lab, it)"),
            nbformat.v4.new_code_cell("# Your turn: auditor\nkeycloak = lab.realm.admin()"),
            nbformat.v4.new_code_cell('attempt(lab, "auditor")'),
        ]
    )
    before = copy.deepcopy(notebook)
    imports, text, solution, insists = (cell.source for cell in solved(notebook).cells)
    assert (imports, text) == (before.cells[0].source, before.cells[1].source)
    assert solution.startswith("# The solution of auditor\nimport secrets\n")
    assert 'keycloak.create_group({"name": "kube-audit"}' in solution
    assert insists == 'check(lab, "auditor")'
    assert notebook == before


def test_a_solution_uses_none_of_a_notebooks_names_but_lab() -> None:
    for step in STEPS.values():
        if step.exercise:
            known = {"lab", *dir(builtins)}
            tree = ast.parse(step.solution_code())
            bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
            bound |= {
                alias.asname or alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom | ast.Import)
                for alias in node.names
            }
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert used <= known | bound, step.path


def test_a_lab_builds_only_on_steps_of_earlier_labs() -> None:
    names = [info.name for info in LABS]
    for info in LABS:
        assert not info.needs or names.index(STEPS[info.needs].lab) < names.index(info.name)


@pytest.mark.parametrize(
    ("typed", "first", "also"),
    [("signin", "sign-in", "team-claim"), ("01-keycloak.realms", "realm", "keycloak"), ("02-cluster", "cluster", "signing-key")],
)
def test_an_unknown_step_is_answered_with_the_nearest_and_those_of_its_lab(lab: Lab, typed: str, first: str, also: str) -> None:
    with pytest.raises(WorkshopError) as unknown:
        check(lab, typed)
    there = unknown.value.why.removeprefix("there are: ").split(", ")
    assert there[0] == first
    assert also in there
    assert "rbac" not in there


def test_a_step_that_is_like_no_other_is_answered_with_the_labs(lab: Lab) -> None:
    with pytest.raises(WorkshopError, match=r"03-rbac, .*labkit agenda"):
        check(lab, "xyzzy")


def test_a_lab_alone_in_a_cell_shows_its_realm_its_cluster_and_its_servers(lab: Lab) -> None:
    shown = lab._repr_mimebundle_()
    for form in ("text/plain", "text/html"):
        for seen in (lab.keycloak.realm_url, "kube-apiserver", str(lab.settings.folder), "overview(lab)"):
            assert seen in str(shown[form])


def test_neither_a_step_nor_a_lab_can_be_registered_twice() -> None:
    realm = STEPS["realm"].check
    with pytest.raises(ValueError, match="01-keycloak has one of that name"):
        LabInfo("03-rbac", "RBAC").step("realm", "again", minutes=1)(realm)
    with pytest.raises(ValueError, match="there is a lab '03-rbac' already"):
        add_lab("03-rbac", "once more")


def test_a_check_that_holds_reports_each_finding(added: Any, lab: Lab) -> None:
    added(Finding(True, "one"), Finding(True, "two"))
    assert str(check(lab, "probe")) == "✔ probe: something holds (2 of 2)\n  ✔ one\n  ✔ two"


def test_a_check_that_does_not_hold_says_what_is_wrong_and_what_to_do(added: Any, lab: Lab) -> None:
    added(Finding(True, "one", "unused"), Finding(False, "two is missing", "make two"))
    with pytest.raises(CheckFailed) as failure:
        check(lab, "probe")
    assert str(failure.value) == "✘ probe: something holds (1 of 2)\n  why: two is missing\n  fix: make two"


def test_an_error_within_a_check_is_a_finding_with_its_fix(added: Any, lab: Lab) -> None:
    added(Finding(True, "one"), error=IdentityError(Problem("no-realm", "no realm", "404", "apply it")))
    report = examine(lab, "probe")
    assert not report.ok
    assert report.findings[-1] == Finding(False, "no realm: 404", "apply it", "no-realm")


def test_a_report_escapes_what_servers_said(added: Any, lab: Lab) -> None:
    added(Finding(True, "<script>"))
    assert "<script>" not in examine(lab, "probe").html()


@pytest.fixture
def exercise(added: Any) -> Any:
    """Register an exercise "probe" for one test."""

    def add(*findings: Finding) -> None:
        added(*findings)
        step = STEPS["probe"]
        step.exercise, step.check.__doc__ = True, "think of it"
        step.solution(do_nothing)

    return add


def do_nothing(lab: Lab) -> None:
    del lab


def test_an_exercise_that_is_not_done_is_no_failure_and_shows_the_hint_and_how_to_give_up(exercise: Any, lab: Lab) -> None:
    exercise(Finding(True, "one"), Finding(False, "two is missing", "make two"))
    report = attempt(lab, "probe")
    assert str(report).splitlines() == [
        "… probe: not done yet (1 of 2): something holds",
        "  ✔ one",
        "  ✘ two is missing",
        "      → make two",
        "  hint: think of it",
        "  the solution, if you give up: labkit solve 00-start-here.probe",
    ]
    assert ">Solution</summary><pre>del lab</pre></details>" in report.html()


def test_an_exercise_that_is_done_shows_no_solution(exercise: Any, lab: Lab) -> None:
    exercise(Finding(True, "one"))
    assert str(attempt(lab, "probe")) == "✔ probe: something holds (1 of 1)\n  ✔ one"
    assert "<details>" not in attempt(lab, "probe").html()


def test_progress_is_what_the_checks_last_told(added: Any, lab: Lab) -> None:
    before = overview(lab).minutes_left
    added(Finding(True, "one"))
    attempt(lab, "probe")
    assert overview(lab).rows[0] == (LABS[0], ("probe",))
    assert overview(lab).minutes_left == before
    added(Finding(False, "one", "make it"))
    with pytest.raises(CheckFailed):
        check(lab, "probe")
    assert overview(lab).rows[0] == (LABS[0], ())
    assert overview(lab).minutes_left == before + 1


def test_progress_that_can_not_be_read_is_no_progress(lab: Lab) -> None:
    for text in ("{", '{"realm": 1}', '["realm", "no-such-step"]'):
        (lab.settings.folder / "progress.json").write_text(text)
        assert sum(len(done) for _, done in overview(lab).rows) == text.count("no-such-step")


def test_the_overview_leads_to_the_notebooks(lab: Lab) -> None:
    assert "<a href='03-rbac.ipynb'>03-rbac</a>" in overview(lab).html()
    assert overview(lab).line().startswith("▱▱▱")


def test_a_lab_that_is_opened_too_early_names_the_first_that_lacks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(lab.settings.folder))
    with pytest.raises(EarlierLabMissing, match="this lab builds on 03-rbac") as missing:
        begin("05-access")
    # Where programs lack it is lab 00.
    assert re.match(r"run 0[01]-[a-z-]+\.ipynb, those after it up to 03-rbac\.ipynb, then this cell again", missing.value.fix)


def test_a_lab_that_can_not_run_here_says_so_at_its_first_cell(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(lab.settings.folder))
    monkeypatch.delenv("LABKIT_KRATIX_SOURCE", raising=False)
    begin("08-kratix")
    told = capsys.readouterr().out
    assert "✘ it can't run here: Kratix can't be had here" in told
    assert "read it without running its cells" in told


def test_what_only_a_person_can_do_is_said_with_what_to_do(added: Any, lab: Lab) -> None:
    added(Finding(False, "too little memory", "close other programs"))
    with pytest.raises(LabkitError, match=r"00-start-here\.probe can't be done for you") as failure:
        solve(lab, STEPS["probe"])
    assert failure.value.fix == "close other programs"


@pytest.fixture
def read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make "probe" a step whose check sees the third time only what its solution has changed: a server reads it late."""
    looks = iter((False, False))
    monkeypatch.setattr(doing, "_MOMENT_SECONDS", 0)

    def probe(_: Lab) -> Iterator[Finding]:
        yield Finding(next(looks, True), "the server follows", "wait")

    monkeypatch.setitem(STEPS, "probe", Step(LABS[0].name, "probe", "something holds", 1, probe, solve=lambda _: None))


@pytest.mark.usefixtures("read_late")
def test_a_solution_that_a_server_reads_late_is_waited_for(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert solve(lab, STEPS["probe"]).ok
    assert "00-start-here.probe: waiting up to 30 s" in capsys.readouterr().out


@pytest.mark.usefixtures("read_late")
def test_what_the_cell_before_has_changed_is_looked_at_again_for_a_moment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doing, "_MOMENT_SECONDS", 5)
    assert not examine(lab, "probe").ok
    assert check(lab, "probe").ok


def test_the_agenda_sums_up_the_minutes_and_tells_the_machines_time_of_the_last_run(tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    assert "—" in str(agenda(summary))
    summary.write_text(json.dumps({"labs": [{"lab": "03-rbac", "ok": True, "seconds": 4.6}]}))
    table = agenda(summary)
    assert ("03-rbac", "RBAC: what a group may do", "22", "5 s") in table.rows
    assert table.note.startswith(f"{sum(step.minutes for step in STEPS.values())} minutes in all")


def test_the_guides_have_the_minutes_that_the_labs_have_and_the_memory_that_lab_00_wants() -> None:
    learner, guide = ((find_root() / "docs" / f"{reader}.md").read_text() for reader in ("learner", "instructor"))
    listed = re.findall(r"^\| \[.*?\]\(\.\./notebooks/(.+)\.ipynb\) .*\| (\d+) \|$", learner, re.MULTILINE)
    assert listed == [(i.name, str(i.minutes)) for i in LABS]
    assert f" {MEMORY_GB:g} GB of free memory " in guide
    told = re.findall(r"^\| (\d\d-[a-z-]+) \| (\d+) \| (\d+) \|", guide, re.MULTILINE)
    assert told == [(i.name, str(i.minutes), str(sum(s.minutes for s in i.steps if s.exercise))) for i in LABS]


def test_a_run_has_the_programs_of_lab_07_before_its_cells_begin_whatever_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labkit.course import runner

    asked: set[str] = set()
    monkeypatch.setenv("LABKIT_CLUSTER", "kind")
    monkeypatch.setattr(Toolchain, "ensure", lambda _, *names: asked.update(names))
    monkeypatch.setattr(Cluster, "prepare", lambda _: None)
    monkeypatch.setattr(runner._Labs, "_execute", lambda *_: None)
    runner.run(["02-cluster"], tmp_path / "labs")
    assert "kube-apiserver" not in asked
    runner.run(["07-break-and-fix"], tmp_path / "labs")
    assert {"kind", "etcd", "kube-apiserver", "kube-controller-manager"} <= asked


def test_a_run_has_the_practice_lab_beside_the_others_and_what_is_needed_before() -> None:
    from labkit.course.runner import order

    names = [info.name[:2] for info in LABS]
    before = {info.name[:2]: {name[:2] for name in earlier} for info, earlier in order(LABS)}
    assert before.pop("07") == {"00"}
    assert before.pop("99") == {*names} - {"99"}
    line = [name for name in names if name != "07"]
    assert all(line[line.index(name) - 1] in earlier for name, earlier in before.items() if name != "00")
    assert not any("07" in earlier for earlier in before.values())


def test_a_run_of_some_labs_waits_for_none_that_is_not_run() -> None:
    from labkit.course.runner import order

    chosen = [info for info in LABS if info.name[:2] in ("02", "05", "07")]
    assert [before for _, before in order(chosen)] == [set(), {"02-cluster"}, set()]


def test_two_labs_in_the_practice_lab_follow_each_other() -> None:
    from labkit.course.runner import order

    chosen = [LabInfo("a", ""), LabInfo("b", "", practice=True), LabInfo("c", "", practice=True), LabInfo("d", "")]
    assert [before for _, before in order(chosen)] == [set(), set(), {"b"}, {"a"}]
