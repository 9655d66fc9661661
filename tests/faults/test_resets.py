"""Labs that are taken back whole, servers and data with them."""

from __future__ import annotations

from pathlib import Path

from labkit.course.steps import catch_up, examine, reset_lab, the_lab
from labkit.lab import Lab

from ..support import own_state_folder


def test_the_first_labs_can_be_taken_back_whole_and_caught_up_with(tmp_path: Path) -> None:
    with own_state_folder(tmp_path / "home"):
        own = Lab.open()
        try:
            catch_up(own, the_lab("03"))
            for number in ("02", "01"):
                reset_lab(own, the_lab(number))
            assert own.processes.names() == []
            assert not examine(own, "realm").ok
            reports = catch_up(own, the_lab("04"))
            assert [report.step for report in reports if not report.ok] == []
        finally:
            own.down()
