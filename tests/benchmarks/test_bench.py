"""`fleetswap bench`: its entries and its arithmetic. How fast anything is, no test says."""

from __future__ import annotations

import json

import pytest

from fleetswap.bench import cpu as bench
from fleetswap.bench.c_reference import ReferenceMissingError
from fleetswap.cli import main
from fleetswap.scenario.experiments import AllocatorTest
from fleetswap_kernels.compile.kernel_cache import cache_dir

PROMISED = {
    "events_per_s_on", "events_per_s_off", "njit_over_c_on", "njit_over_c_off", "two_threads_over_one",
    "bytes_per_swapped_page", "bytes_per_resident_page", "memory_bandwidth_bytes_per_s",
    "census_ns_per_page", "census_over_copy",
}  # fmt: skip
TINY = bench.Effort(
    AllocatorTest(region_mib=2, zram_mib=3, swapin_mib=1, dontneed_mib=1, iterations=1),
    devices=1, pairs=1, copied_mib=1, starts=False,
)  # fmt: skip


def test_json_carries_what_is_promised(capsys):
    assert main(["bench", "--quick", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values.keys() >= PROMISED | {"cold_start_s", "warm_start_s", "compile_s"}
    numbers = values.keys() - {"reasons", "definitions"}
    assert all(values[name] is None or values[name] > 0 for name in numbers)
    assert values["reasons"].keys() == {name for name in numbers if values[name] is None}
    assert values["definitions"]["page event"]


def test_every_number_is_explained(capsys):
    assert main(["bench", "--quick"]) == 0
    values, _, definitions = capsys.readouterr().out.partition("\n\n")
    explained = {line.split("  ")[0].strip() for line in definitions.splitlines()}
    for line in values.splitlines():
        name = line.split()[0]
        assert name.removesuffix("_on").removesuffix("_off") in explained


def test_without_the_reference_only_its_ratios_are_missing(monkeypatch):
    def missing() -> None:
        raise ReferenceMissingError("no gcc here")

    monkeypatch.setattr(bench, "Reference", missing)
    result = bench.measure(TINY, lambda _: None)
    assert result.values["njit_over_c_on"] is None
    assert result.reasons["njit_over_c_off"] == "no gcc here"
    assert result.values["events_per_s_on"]


def test_memory_per_page_is_within_the_promise():
    # Issue 2: at most 16 bytes per swapped and 24 per resident page of a fleet device, all state included.
    values = bench.bytes_per_page(AllocatorTest())
    assert values["bytes_per_swapped_page"] <= 16
    assert values["bytes_per_resident_page"] <= 24
    # By hand from the layout: PTE 4, swap_map 1, zeromap 1/8, stored content 4, three words a cluster of 512; PTE 4,
    # frame 4, content 4, mapcount 1. What is shared comes on top.
    shared = values["bytes_per_swapped_page"] - (4 + 1 + 1 / 8 + 4 + 12 / 512)
    assert 0 < shared < 0.5
    assert values["bytes_per_resident_page"] == pytest.approx(4 + 4 + 4 + 1 + shared)


def test_a_start_is_measured_in_a_fresh_process(tmp_path):
    # With the kernels that this process has compiled: a cold start would take its time.
    seconds, compiling = bench._start(tmp_path / "run", cache_dir().parent)
    assert 0 < compiling < seconds
