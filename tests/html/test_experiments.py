"""The page of an experiment says what its summary says; the samples are made up by hand."""

from __future__ import annotations

import copy

import pytest

from fleetswap.report.page import render_run
from tests.html.document import Document, assert_self_contained

ITERATIONS = {
    "off": [
        {"swpout": (200, 226, 240), "fallback_permyriad": (0, 12, 99), "pgmajfault": (3500, 3595, 3701)},
        {"swpout": (8, 12, 19), "fallback_permyriad": (9301, 9425, 9512), "pgmajfault": (3502, 3598, 3699)},
    ],
    "on": [
        {"swpout": (940, 950, 961), "fallback_permyriad": (0, 0, 0), "pgmajfault": (931, 947, 955)},
        {"swpout": (943, 951, 957), "fallback_permyriad": (0, 0, 3), "pgmajfault": (933, 948, 954)},
    ],
}


def allocator_summary() -> dict[str, object]:
    steps = {
        policy: [
            {"step": step}
            | {metric: dict(zip(("p5", "p50", "p95"), values, strict=True)) for metric, values in row.items()}
            for step, row in enumerate(rows, 1)
        ]
        for policy, rows in ITERATIONS.items()
    }
    return {"scenario": {"scenario": "allocator-test", "devices": 40}, "digest": "abc", "steps": steps}


def breakeven_summary() -> dict[str, object]:
    points = [
        {"codec": "lz4", "block_kib": kib, "fallback": fallback, "success_percent": percent}
        | {"stall_ns": stall, "pool_bytes": pool}
        for kib, fallback, percent, stall, pool in (
            (4, False, 0, 1_000_000, 300_001),
            (4, False, 100, 1_000_000, 300_001),
            (16, True, 0, 1_400_003, 250_007),
            (16, True, 100, 600_011, 200_003),
        )
    ]
    crossings = [
        {"codec": "lz4", "variant": "16K small folios", "metric": "stall_ns", "pays": [[50.0, 100.0]]},
        {"codec": "lz4", "variant": "16K small folios", "metric": "pool_bytes", "pays": []},
    ]
    scenario = {"scenario": "breakeven", "devices": 3, "memory_mib": 8}
    return {"scenario": scenario, "digest": "abc", "pages": 100, "points": points, "crossings": crossings}


@pytest.mark.parametrize("summary", [allocator_summary(), breakeven_summary()])
def test_page_needs_nothing_else_and_is_repeatable(summary: dict[str, object]) -> None:
    html = render_run(summary)
    assert_self_contained(html)
    assert render_run(copy.deepcopy(summary)) == html


def test_the_allocator_test_iteration_by_iteration() -> None:
    page = Document(render_run(allocator_summary()))
    assert "40 simulated devices, each under both policies" in page.text
    assert "policy." not in page.text.split("What came of it")[0]
    for sentence in (
        "Large swap-in off: 226 in the first iteration, 12 in the last; Large swap-in on: 950 in the first",
        "Large swap-in off: 3,595 in the first iteration, 3,598 in the last",
    ):
        assert sentence in " ".join(page.text.replace("\N{NO-BREAK SPACE}", " ").split())
    # Iteration; then 5 %, median and 95 % under each policy.
    assert page.raw("iterations-fallback_permyriad-numbers") == [
        [1, 0, 12, 99, 0, 0, 0],
        [2, 9301, 9425, 9512, 0, 0, 3],
    ]
    assert ("94.25", "9425") in page.tables["iterations-fallback_permyriad-numbers"][2]


def test_blocks_over_the_success_of_large_folios() -> None:
    page = Document(render_run(breakeven_summary()))
    text = " ".join(page.text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "3 simulated devices with 8 MiB each" in text
    assert "16K small folios at 50.0 to 100.0 %." in text
    assert "16K small folios never." in text
    assert "the table all 100 pages of all devices and rounds" in text
    assert page.raw("blocks-lz4-pool_bytes-numbers") == [[0, 300_001, 250_007], [100, 300_001, 200_003]]
