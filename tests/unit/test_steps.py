"""The registry of steps, and how a check's findings are reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import nbformat
import pytest

from labkit.display import Finding
from labkit.errors import CheckFailed, IdentityError
from labkit.lab import Lab
from labkit.settings import find_root
from labkit.steps import LABS, STEPS, Step, check, examine, step

NO_LAB = cast("Lab", None)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register a check as the step "probe" for one test."""

    def add(*findings: Finding, error: Exception | None = None) -> None:
        def probe(_: Lab) -> Iterator[Finding]:
            yield from findings
            if error:
                raise error

        monkeypatch.setitem(STEPS, "probe", Step(LABS[0].name, "probe", "something holds", probe))

    return add


def test_every_lab_has_a_notebook_and_every_notebook_is_a_lab() -> None:
    files = sorted(file.stem for file in (find_root() / "notebooks").glob("*.ipynb"))
    assert files == [info.name for info in LABS]


def test_every_lab_begins_itself_and_runs_each_of_its_checks_in_order() -> None:
    for info in LABS:
        notebook = nbformat.read(find_root() / "notebooks" / f"{info.name}.ipynb", as_version=4)
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        assert f'begin("{info.name}")' in code[0]
        checked = [name for source in code for name in STEPS if f'check(lab, "{name}")' in source]
        assert set(checked) == {name for name, found in STEPS.items() if found.lab == info.name}


def test_a_lab_builds_only_on_steps_of_earlier_labs() -> None:
    names = [info.name for info in LABS]
    for info in LABS:
        assert not info.needs or names.index(STEPS[info.needs].lab) < names.index(info.name)


def test_a_step_can_not_be_registered_twice_nor_for_an_unknown_lab() -> None:
    realm = STEPS["realm"].check
    with pytest.raises(ValueError, match="used once"):
        step("01-keycloak", "realm", "again")(realm)
    with pytest.raises(ValueError, match="used once"):
        step("42-nowhere", "new", "elsewhere")(realm)


def test_a_check_that_holds_reports_each_finding(added: Any) -> None:
    added(Finding(True, "one"), Finding(True, "two"))
    assert str(check(NO_LAB, "probe")) == "✔ probe: something holds (2 of 2)\n  ✔ one\n  ✔ two"


def test_a_check_that_does_not_hold_says_what_is_wrong_and_what_to_do(added: Any) -> None:
    added(Finding(True, "one", "unused"), Finding(False, "two is missing", "make two"))
    with pytest.raises(CheckFailed) as failure:
        check(NO_LAB, "probe")
    assert str(failure.value) == "✘ probe: something holds (1 of 2)\n  why: two is missing\n  fix: make two"


def test_an_error_within_a_check_is_a_finding_with_its_fix(added: Any) -> None:
    added(Finding(True, "one"), error=IdentityError("no realm", why="404", fix="apply it"))
    report = examine(NO_LAB, "probe")
    assert not report.ok
    assert report.findings[-1] == Finding(False, "no realm: 404", "apply it")


def test_a_report_escapes_what_servers_said(added: Any) -> None:
    added(Finding(True, "<script>"))
    assert "<script>" not in examine(NO_LAB, "probe").html()
