"""What `make bench` makes of its samples: the page on speed, whose rows it writes."""

from __future__ import annotations

from tests.bench import FIGURES, MEASURES, PAGE, bars_as_picture, bars_as_text, line, machine, written

BARS = [("etcd", 0.0, 1.0), ("portal", 0.5, 2.0)]


def test_the_page_has_a_row_for_each_figure_and_each_is_measured_once() -> None:
    named = [row.split(" | ")[0].removeprefix("| ") for row in PAGE.read_text().splitlines() if row.startswith(("| P", "| K", "| C"))]
    assert named == list(FIGURES)
    assert sorted(" ".join(MEASURES.values()).split()) == sorted(FIGURES)


def test_a_rows_new_figures_take_the_place_of_the_old_and_the_rest_stays() -> None:
    before = PAGE.read_text()
    after = written(before, {"P1": line("P1", [(10.0, 5.0), (12.0, 6.0)], 0.5)}, BARS)
    changed = [
        new for old, new in zip(before.partition("```")[0].splitlines(), after.partition("```")[0].splitlines(), strict=True) if old != new
    ]
    assert machine() in after
    assert [text for text in changed if text != machine()] == [
        f"| P1 | {FIGURES['P1'].what} | 11.0 (10.0–12.0) | {FIGURES['P1'].by}: 5.50 (5.00–6.00) | **2.00 (2.00–2.00)** | ≤ 1.35 | 2 | 0.5 |"
    ]
    assert "\n".join(["```text", *bars_as_text(BARS), "```"]) in after
    assert after.rpartition("```")[2] == before.rpartition("```")[2]
    assert written(after, {}, []) == after


def test_bars_stand_where_their_time_is() -> None:
    etcd, portal = bars_as_text(BARS)
    assert etcd.count("█") * 3 == portal.count("█") * 2
    assert portal.index("█") > etcd.index("█")
    assert "portal" in bars_as_picture(BARS)
