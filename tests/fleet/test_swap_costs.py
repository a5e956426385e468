"""The patch's tables of time, size, bandwidth and faults beside the simulated ones.

Published numbers are typed from the patch's postings. Simulated ones are checked where
they follow by hand from the experiment and the numbers of cost/patch-phone.toml.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from fleetswap.cli import main
from fleetswap.conformance import costs as swap_costs
from fleetswap.conformance import tables as validate
from fleetswap.conformance.costs import CALIBRATED, EXACT, PREDICTED, TABLES, Row
from fleetswap.workload.experiments import (
    bandwidth_script,
    changes_by_dump,
    mixed_regions,
    patch_mix,
    size_script,
    swap_time_script,
)
from fleetswap_kernels.layout import counters

TIMES = "100 x 100 MiB"
SIZES = "1,048,576,000 bytes, zstd"
RATE = "same-filled swap-in"
FAULTS = "major faults, fewer by"
ROUNDS_WITHOUT = (624152, 631672, 620459, 606113, 624152)
ROUNDS_WITH = (1127501, 1127501, 1139756, 1139756, 1152281)
PUBLISHED = {
    (TIMES, "lz4 4K swap-in", "ms"): 45274,
    (TIMES, "lz4 4K swap-out", "ms"): 90540,
    (TIMES, "lz4 64K swap-in", "ms"): 22942,
    (TIMES, "lz4 64K swap-out", "ms"): 55667,
    (TIMES, "zstd 4K swap-in", "ms"): 85035,
    (TIMES, "zstd 4K swap-out", "ms"): 186585,
    (TIMES, "zstd 64K swap-in", "ms"): 46558,
    (TIMES, "zstd 64K swap-out", "ms"): 118533,
    (SIZES, "4K", "bytes"): 246876055,
    (SIZES, "64K", "bytes"): 199763892,
    (RATE, "without large swap-in", "bytes/ms"): 621310,
    (RATE, "with large swap-in", "bytes/ms"): 1137359,
    (RATE, "gain", "%"): 83,
    # As many as a folio has pages.
    (FAULTS, "16K folios", "times"): 4,
    (FAULTS, "32K folios", "times"): 8,
    (FAULTS, "64K folios", "times"): 16,
    (FAULTS, "128K folios", "times"): 32,
    (FAULTS, "256K folios", "times"): 64,
    (FAULTS, "512K folios", "times"): 128,
    (FAULTS, "1024K folios", "times"): 256,
}
NOTHING_FITTED = {(TIMES, "zstd 64K swap-in"), (TIMES, "zstd 64K swap-out"), (SIZES, "16K over 4K")}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Every row of every table."""
    return [row for table in TABLES.values() for row in table()]


def test_published_numbers_are_the_postings(rows: list[Row]) -> None:
    # The ratio of 16 KiB blocks is of another posting, which the notes do not have.
    found = {(r.table, r.label, r.unit): r.published for r in rows if r.label != "16K over 4K"}
    assert found == PUBLISHED


def test_the_published_rates_are_means_of_the_five_rounds() -> None:
    assert [round(sum(rounds) / 5) for rounds in (ROUNDS_WITHOUT, ROUNDS_WITH)] == [621310, 1137359]
    assert 100 * sum(ROUNDS_WITH) // sum(ROUNDS_WITHOUT) - 100 == 83
    assert swap_costs.BANDWIDTH_BYTES_PER_MS == {False: 621310, True: 1137359}


def test_every_row_passes(rows: list[Row]) -> None:
    assert [(r.table, r.label) for r in rows if not r.passed] == []
    assert len(rows) == len({(r.table, r.label) for r in rows}) == 21


def test_only_what_nothing_was_fitted_to_is_a_prediction(rows: list[Row]) -> None:
    kinds = {(r.table, r.label): r.kind for r in rows}
    assert {key for key, kind in kinds.items() if kind == PREDICTED} == NOTHING_FITTED
    assert {key for key, kind in kinds.items() if kind == EXACT} == {key for key in kinds if key[0] == FAULTS}
    assert Counter(kinds.values()) == {PREDICTED: 3, EXACT: 7, CALIBRATED: 11}


def test_calibrated_rows_are_within_two_percent(rows: list[Row]) -> None:
    for row in rows:
        if row.kind == CALIBRATED:
            assert 50 * abs(row.simulated - PUBLISHED[row.table, row.label, row.unit]) <= row.published, row


def test_faults_are_exact(rows: list[Row]) -> None:
    faults = {row.label: row.simulated for row in rows if row.table == FAULTS}
    assert faults == {f"{kib}K folios": kib // 4 for kib in (16, 32, 64, 128, 256, 512, 1024)}


def test_rates_follow_from_the_profile(rows: list[Row]) -> None:
    # 60 MiB in 15360 pages: one fault each, or 960 faults; 3191 ns a fault, 2715 + 687 ns a page mapped and filled.
    rates = {row.label: row.simulated for row in rows if row.table == RATE}
    single = 15360 * 4096 * 1_000_000 // (15360 * (3191 + 2715 + 687))
    by_folio = 15360 * 4096 * 1_000_000 // (960 * 3191 + 15360 * (2715 + 687))
    assert rates == {"without large swap-in": single, "with large swap-in": by_folio, "gain": 83}


@pytest.mark.parametrize("kib", [4, 64])
def test_the_swap_time_experiment_swaps_all_of_its_memory(kib: int) -> None:
    changed = changes_by_dump(swap_time_script("lz4", kib, rounds=2))
    out, back = changed["out"], changed["in"]
    # Twice 100 MiB: 51200 pages, of which a folio of zeros needs no zram.
    assert int(out[counters.PSWPOUT] + out[counters.SWPOUT_ZERO]) == 51200
    assert int(back[counters.PSWPIN] + back[counters.SWPIN_ZERO]) == 51200
    assert int(out[counters.SWAPOUT_FOLIOS]) == int(back[counters.PGMAJFAULT]) == 51200 * 4 // kib
    assert int(out[counters.PGFAULT]) == int(back[counters.PGFAULT]) == 51200 * 4 // kib
    assert int(back[counters.FAULT_PAGES]) == 51200
    assert int(back[counters.PSWPOUT]) == int(out[counters.PSWPIN]) == 0


def test_the_size_experiment_stores_the_postings_bytes() -> None:
    # "1 GiB" of the posting is 1,048,576,000 bytes: 256,000 pages.
    out = changes_by_dump(size_script("zstd", 64))["out"]
    assert int(out[counters.PSWPOUT] + out[counters.SWPOUT_ZERO]) * 4096 == 1_048_576_000
    assert int(out[counters.SWAPOUT_FOLIOS]) == 16000
    assert int(out[counters.FAILED_WRITES]) == 0


@pytest.mark.parametrize(("kib", "large"), [(64, True), (64, False), (1024, True)])
def test_the_bandwidth_experiment_reads_same_filled_pages(kib: int, large: bool) -> None:
    changed = changes_by_dump(bandwidth_script(kib, large))
    assert int(changed["out"][counters.SWAPOUT_FOLIOS]) == 60 * 1024 // kib
    assert int(changed["out"][counters.SAME_PAGES]) == 15360
    assert int(changed["in"][counters.PSWPIN]) == 15360
    assert int(changed["in"][counters.PGMAJFAULT]) == (60 * 1024 // kib if large else 15360)


@pytest.mark.parametrize("pages", [2048, 25600, 256000])
def test_classes_share_memory_by_weight_in_whole_blocks(pages: int) -> None:
    weights = patch_mix()
    regions = mixed_regions(pages, weights)
    assert sum(n for _, _, n in regions) == pages
    assert len({name for name, _, _ in regions}) == len(regions)
    for content_class, weight in weights.items():
        blocks, rest = divmod(sum(n for _, name, n in regions if name == content_class), 16)
        assert rest == 0
        assert abs(blocks - weight / sum(weights.values()) * pages / 16) <= 1


def test_regions_are_no_larger_than_a_region_can_be() -> None:
    # A region has at most 32768 pages.
    assert [n for _, _, n in mixed_regions(80_000, {"media": 1.0})] == [32768, 32768, 80_000 - 65_536]


@pytest.mark.parametrize(
    ("kind", "simulated", "passed"),
    [
        (CALIBRATED, 1000, True),
        (CALIBRATED, 1019, True),
        (CALIBRATED, 981, True),
        (CALIBRATED, 1021, False),
        (CALIBRATED, 979, False),
        (PREDICTED, 1021, True),
        (PREDICTED, 1, True),
        (PREDICTED, 100_000, True),
        (EXACT, 1000, True),
        (EXACT, 1001, False),
        (EXACT, 999, False),
    ],
)
def test_a_row_passes_within_the_tolerance_of_its_kind(kind: str, simulated: int, passed: bool) -> None:
    assert Row("table", "label", "unit", 1000, simulated, kind).passed is passed


@pytest.mark.parametrize(("simulated", "permille"), [(4000, 0), (4200, 50), (3000, -250)])
def test_the_deviation_is_that_of_the_simulated_from_the_published(simulated: int, permille: int) -> None:
    assert Row("table", "label", "unit", 4000, simulated, PREDICTED).deviation_permille == pytest.approx(permille)


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and document of `fleetswap validate --json`."""
    code = main(["validate", "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_validate_reports_every_row_and_passes(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = report(capsys)
    assert code == 0
    assert document["passed"] is True
    costs = {(row["table"], row["label"], row["unit"]): row for row in document["costs"]}
    assert {key: costs[key]["published"] for key in PUBLISHED} == PUBLISHED
    assert len(document["costs"]) == 21
    assert {key[:2] for key, row in costs.items() if row["kind"] == "predicted"} == NOTHING_FITTED
    for row in document["costs"]:
        assert row["passed"] is True, row
        assert row["deviation_permille"] == pytest.approx(1000 * row["simulated"] / row["published"] - 1000)
    assert "nothing was fitted to the predicted rows" in document["inputs"]


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Leave out the allocator tables; a test chooses the others."""
    monkeypatch.setattr(validate, "KERNEL_TABLES", ())
    return monkeypatch


# A published number, another value for it, and the rows that then fail.
CHANGED: list[tuple[str, str, object, list[str]]] = [
    ("compressed sizes", "ZSTD_BYTES", {4: 246_876_055, 64: 299_763_892}, ["64K"]),
    ("bandwidth", "BANDWIDTH_BYTES_PER_MS", {False: 521_310, True: 1_137_359}, ["without large swap-in"]),
    (
        "swap times",
        "SWAP_TIMES_MS",
        {("lz4", 4): (45274, 190540, CALIBRATED), ("zstd", 64): (1, 1, PREDICTED)},
        ["lz4 4K swap-out"],
    ),
    # No number of a prediction fails.
    ("compressed sizes", "ZSTD_16K_PERMILLE", 1, []),
]


@pytest.mark.parametrize(("table", "name", "value", "failed"), CHANGED, ids=[c[1] for c in CHANGED])
def test_a_wrong_number_fails_the_command(
    only: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    table: str,
    name: str,
    value: object,
    failed: list[str],
) -> None:
    only.setattr(swap_costs, "TABLES", {table: TABLES[table]})
    only.setattr(swap_costs, name, value)
    code, document = report(capsys)
    assert [row["label"] for row in document["costs"] if not row["passed"]] == failed
    assert document["passed"] is (not failed)
    assert code == (1 if failed else 0)


def test_a_fault_too_many_fails_the_command(only: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = Row(FAULTS, "64K folios", "times", 16, 17, EXACT)
    only.setattr(swap_costs, "TABLES", {"fault reduction": lambda: [wrong]})
    code, document = report(capsys)
    assert (code, document["passed"]) == (1, False)


def test_people_see_the_verdict_of_every_row(only: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made_up = [
        Row("experiment", "fitted", "ms", 1000, 1010, CALIBRATED),
        Row("experiment", "guessed", "ms", 1000, 1500, PREDICTED),
        Row("experiment", "counted", "ms", 1000, 999, EXACT),
    ]
    only.setattr(swap_costs, "TABLES", {"made up": lambda: made_up})
    assert main(["validate"]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["experiment", "fitted", "1,000", "1,010", "ms", "+1.0", "%", "calibrated", "pass"] in lines
    assert ["experiment", "guessed", "1,000", "1,500", "ms", "+50.0", "%", "predicted", "shown"] in lines
    assert ["experiment", "counted", "1,000", "999", "ms", "-0.1", "%", "exact", "FAIL"] in lines


def test_two_percent_is_within_two_percent() -> None:
    for simulated in (980, 1020):
        assert Row("table", "label", "ms", 1000, simulated, CALIBRATED).passed
