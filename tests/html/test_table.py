"""The tables of a page hold the numbers of its input."""

from __future__ import annotations

import copy

import pytest

from fleetswap.report.page import render_comparison, render_run
from tests.html.document import Document, assert_self_contained
from tests.html.sample import point, sample, sample_comparison


def test_tables_over_uptime_equal_the_input(run_page: str) -> None:
    tables = Document(run_page)
    steps = sample()["series"]["all"]["fallback_permyriad"]
    # All devices with their band, then the medians of two classes, which have the same series in the sample.
    want = [[p["step"], p["p5"], p["p50"], p["p95"], p["p50"], p["p50"]] for p in steps]
    assert tables.raw("uptime-fallback_permyriad-numbers") == want
    assert tables.raw("uptime-kills-numbers") == [[0, 5], [1, 19], [2, 33]]
    stall = [
        [p["step"], p["p5"], p["p50"], p["p95"], p["p50"], p["p50"]] for p in sample()["series"]["all"]["stall_ns"]
    ]
    assert tables.raw("uptime-stall_ns-numbers") == stall
    # Steps of 8 hours end after 8, 16 and 24 hours.
    assert [row[1][0] for row in tables.tables["allocation-numbers"][1:]] == ["8", "16", "24"]
    want = [[0, 1009, 1001, 503, 499], [1, 2003, 1511, 701, 307], [2, 0, 0, 809, 101]]
    assert tables.raw("allocation-numbers") == want


@pytest.mark.parametrize(
    "metric", ["fallback_permyriad", "pgmajfault", "memory_saved_bytes", "ratio_permille", "kills"]
)
def test_tables_by_class_equal_the_input(run_page: str, metric: str) -> None:
    given = sample()
    keys = ["p5", "p50", "p95", "p99", "total"]
    want = [
        [given["devices"][name], *(given["metrics"][name][metric][key] for key in keys)]
        for name in ("all", "phone-2g", "phone-12g")
    ]
    assert Document(run_page).raw(f"classes-{metric}-numbers") == want


def test_tables_of_reasons_equal_the_input(run_page: str) -> None:
    page = Document(run_page)
    for kind, reasons in sample()["fallback"].items():
        rows = page.tables[f"reasons-{kind}-numbers"][1:]
        assert {row[1][0]: int(row[2][1]) for row in rows} == reasons
        counts = [int(row[2][1]) for row in rows]
        assert counts == sorted(counts, reverse=True)
    assert page.raw("census-numbers") == [[0, 90_007], [2, 10_009], [4, 50_021]]
    # 48,611 of 17 + 48,611 + 2,003 = 50,631
    assert page.tables["reasons-swapout-numbers"][1][3][0] == "96.01"


def test_exact_cells_write_what_they_hold(run_page: str) -> None:
    """A cell's text is its integer in the unit of the table's head."""
    page = Document(run_page)
    for rows in page.tables.values():
        for row in rows[1:]:
            for (text, raw), (head, _) in zip(row, rows[0], strict=True):
                if raw:
                    digits = text.replace(",", "").replace(".", "")
                    assert int(digits) == int(raw)
                    places = len(text.partition(".")[2])
                    unit = head.rpartition(", ")[2]
                    assert places == {"%": 2, "times": 3}.get(unit, 0)


def test_comparison_tables_equal_the_input(comparison_page: str) -> None:
    page = Document(comparison_page)
    assert [cell[0] for cell in page.tables["differences"][1]] == ["policy.large_swapin", "off", "on"]
    assert len(page.tables["differences"]) == 2
    rows = {row["metric"]: row for row in sample_comparison()["rows"] if row["class"] == "all"}
    names = ["pgmajfault", "pswpin", "nr_vmscan_write"]  # those with a name for people first
    keys = ("a", "b", "relative", "low", "high")
    cells = [[float(raw) for _, raw in row if raw] for row in page.tables["effect-fleet-numbers"][1:]]
    assert cells == [[rows[name][key] for key in keys] for name in names]
    by_class = [row for row in sample_comparison()["rows"] if row["metric"] == "pgmajfault"]
    cells = [[float(raw) for _, raw in row if raw] for row in page.tables["effect-pgmajfault-numbers"][1:]]
    assert cells == [[row[key] for key in keys] for row in by_class]
    assert page.raw("worse-numbers") == [[12, 7, 318], [991], [421]]
    assert [row[1][1] for row in page.tables["pairing-numbers"][1:]] == ["7.25"] * 3
    want = [
        [*(cell[key] for key in ("p5", "p50", "p95", "p99", "total"))] for cell in [sample()["metrics"]["all"]["kills"]]
    ]
    assert page.raw("classes-kills-numbers")[0] == [30, *want[0], *want[0]]


@pytest.mark.usefixtures("undrawn")
def test_sizes_asked_for_most_are_drawn() -> None:
    comparison = {"a": sample(), "b": sample()}
    sizes = {f"{4 << i}K": [{"step": 0, "wanted": 100 + i, "granted": 50}] for i in range(2, 10)}
    comparison["a"]["allocation"] = comparison["b"]["allocation"] = sizes
    page = Document(render_comparison(comparison))
    assert len(page.raw("allocation-numbers")[0]) == 1 + 2 * 2 * 8
    for part in ("3 sizes", "all 8", "512K A from 46.7 %"):  # 50 of 107
        assert part in page.text


def test_undefined_differences_stay_in_the_table() -> None:
    comparison = sample_comparison()
    comparison["rows"][1] |= {
        "relative": float("nan"),
        "low": float("-inf"),
        "high": None,
        "pairing_gain": float("inf"),
    }
    page = assert_self_contained(render_comparison(comparison))
    row = next(row for row in page.tables["effect-fleet-numbers"] if row[0][0] == "Major faults")
    assert "table only: Major faults." in page.text
    assert [text for text, _ in row[3:6]] == ["\N{EN DASH}"] * 3
    cells = [text for row in page.tables["effect-fleet-numbers"] for cell in row for text in cell]
    assert not {"nan", "inf", "-inf", "None"} & set(cells)


@pytest.mark.usefixtures("undrawn")
def test_long_runs_are_thinned_but_sums_stay_exact() -> None:
    summary = sample()
    steps = range(1, 1001)
    summary["series"] = {"all": {"fallback_permyriad": [point(i, i, i, 2 * i, 3 * i) for i in steps]}}
    summary["series"]["all"]["kills"] = [point(i, i, 0, 0, 1) for i in steps]
    summary["allocation"] = {"16K": [{"step": i, "wanted": 2 * i, "granted": i} for i in steps]}
    page = Document(render_run(summary))
    rows = page.raw("uptime-fallback_permyriad-numbers")
    assert len(rows) <= 240
    assert all(row[1:] == [row[0], 2 * row[0], 3 * row[0]] for row in rows)
    assert rows[-1][0] == 1000
    assert sum(row[1] for row in page.raw("uptime-kills-numbers")) == 500_500
    sums = page.raw("allocation-numbers")
    assert sum(row[1] for row in sums) == 1_001_000
    assert sum(row[2] for row in sums) == 500_500
    assert "every 5th step" in page.text


def test_many_classes() -> None:
    summary = sample()
    cell = summary["metrics"]["all"]
    summary["metrics"] = {"all": cell} | {f"class-{i}": copy.deepcopy(cell) for i in range(32)}
    summary["devices"] = {"all": 64} | {f"class-{i}": 2 for i in range(32)}
    page = Document(render_run(summary))
    assert len(page.tables["classes-kills-numbers"]) == 1 + 33
    assert "24 of 33" in page.text
