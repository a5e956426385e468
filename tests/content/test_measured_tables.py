"""What the content model yields against the tables of the measurement it was fitted to (tests/data/compressibility).

The tables are those of the measurement, not of this program (data/content/README.md says how they came about). Each
figure comes from 1,048,576 simulated pages of a class, scale off, so that sampling does not decide.
"""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fleetswap.calibrate.content import pool_bytes, simulate_blocks
from fleetswap.calibrate.ranks import percentiles, rank_correlation
from fleetswap.scenario.content_library import load_library

TABLES = Path(__file__).parents[1] / "data/compressibility"
PAGES = 1 << 20
CODECS = ("lz4", "lzo-rle", "zstd")
PERCENT = np.arange(1, 100)
CLASSES = 14

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Simulated:
    """Figures of all classes for one codec and order, in the order of the library.

    Bytes are those of all pages: the codec's output and zsmalloc memory of the blocks, the same of their pages one by
    one. Quantiles (1..99 %) are those of a block's output and of the sum of its pages'.
    """

    raw: Floats
    pool: Floats
    pages_raw: Floats
    pages_pool: Floats
    quantiles: Floats
    sum_quantiles: Floats
    neighbours: list[float]


@cache
def simulated(codec: str, order: int) -> Simulated:
    # Compiled code runs without the interpreter's lock: two threads take half the time.
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: _figures(name, codec, order), load_library().names))
    raw, pool, pages_raw, pages_pool, of_block, of_sum, neighbours = zip(*found, strict=True)
    totals = (np.array(column, dtype=float) for column in (raw, pool, pages_raw, pages_pool, of_block, of_sum))
    return Simulated(*totals, list(neighbours))


def _figures(name: str, codec: str, order: int) -> tuple[int, int, int, int, list[int], list[int], float]:
    one = simulate_blocks(load_library(), name, codec, order, PAGES >> order)
    assert len(one.raw) == PAGES >> order
    # Only these correlations were measured.
    neighbours = rank_correlation(one.raw[:-1], one.raw[1:]) if (codec, order) == ("zstd", 0) else 0.0
    totals = (int(one.raw.sum()), pool_bytes(one.stored, order), int(one.members.sum()), one.pool_members)
    return (*totals, percentiles(one.raw), percentiles(one.members), neighbours)


@cache
def summary() -> dict[tuple[str, str, int], dict[str, str]]:
    """Rows of summary.csv by class, codec and order; `MIX_equal_class_weight` is one of the classes."""
    with (TABLES / "summary.csv").open() as file:
        return {(row["cls"], row["algo"], int(row["order"])): row for row in csv.DictReader(file)}


def measured(codec: str, order: int, column: str) -> Floats:
    """A column for all classes, in the order of the library."""
    return np.array([float(summary()[name, codec, order][column]) for name in load_library().names])


def beyond(found: Floats, expected: Floats, most: float) -> dict[str, float]:
    """Classes whose figure is off by more than `most`, with the figure over the measured one."""
    ratio = found / expected
    assert np.isfinite(ratio).all()
    return {name: r for name, r in zip(load_library().names, ratio.tolist(), strict=True) if abs(r - 1) > most}


def test_all_classes_are_measured() -> None:
    names = load_library().names
    assert len(names) == CLASSES
    assert {name for name, _, _ in summary()} == {*names, "MIX_equal_class_weight"}


@pytest.mark.parametrize("order", [0, 4])
@pytest.mark.parametrize("codec", CODECS)
def test_totals(codec: str, order: int) -> None:
    # Row 4 covers the pages of wholly resident 64 KiB blocks, which is what is simulated.
    pages = measured(codec, 4, "orig_bytes") / 4096
    prefix = "same_pages_4k_" if order == 0 else ""
    simulation = simulated(codec, order)
    for column, found in (("raw_bytes", simulation.raw), ("zs_chain8_bytes", simulation.pool)):
        per_page = measured(codec, 4, prefix + column) / pages
        assert abs((found / PAGES).mean() / per_page.mean() - 1) <= 0.01, column
        assert beyond(found / PAGES, per_page, 0.02) == {}, column


@pytest.mark.parametrize("codec", CODECS)
def test_pages_one_by_one_are_the_same_at_both_orders(codec: str) -> None:
    pages, blocks = simulated(codec, 0), simulated(codec, 4)
    assert blocks.pages_raw.tolist() == pages.raw.tolist()
    assert blocks.pages_pool.tolist() == pages.pool.tolist()


@pytest.mark.parametrize("codec", CODECS)
def test_quantiles(codec: str) -> None:
    names = load_library().names
    with np.load(TABLES / "quantiles.npz") as file:
        assert (tuple(file["classes"]), tuple(file["algos"])) == (names, CODECS)
        arrays = {name: file[name][:, CODECS.index(codec)].astype(float) for name in ("q", "qsum4k", "mean")}
    mean_of_sums = measured(codec, 4, "same_pages_4k_raw_bytes") / measured(codec, 4, "blocks")
    for label, order, table, found in (
        ("pages", 0, "q", simulated(codec, 0).quantiles),
        ("sums of 16 pages", 4, "qsum4k", simulated(codec, 4).sum_quantiles),
        ("64 KiB blocks", 4, "q", simulated(codec, 4).quantiles),
    ):
        # Knots are i/256, percentiles lie between them.
        knots = arrays[table][:, order]
        want = np.array([np.interp(PERCENT / 100, np.arange(257) / 256, row) for row in knots])
        mean = arrays["mean"][:, order] if table == "q" else mean_of_sums
        error = np.abs(found - want).mean(axis=1) / mean
        assert error.mean() <= 0.04, label


def test_neighbouring_pages_resemble_each_other() -> None:
    with (TABLES / "neighbour_correlation.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["lag_pages"] == "1"]
    want = {row["cls"]: float(row["rank_corr_zstd4k"]) for row in rows}
    found = dict(zip(load_library().names, simulated("zstd", 0).neighbours, strict=True))
    assert found.keys() == want.keys()
    assert {name: (found[name], want[name]) for name in found if abs(found[name] - want[name]) > 0.05} == {}


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("codec", CODECS)
def test_blocks_of_8_to_32_kib_over_their_pages(codec: str, order: int) -> None:
    want = measured(codec, order, "size_vs_4k_raw")
    simulation = simulated(codec, order)
    assert beyond(simulation.raw / simulation.pages_raw, want, 0.02) == {}
    mix = float(summary()["MIX_equal_class_weight", codec, order]["size_vs_4k_raw"])
    assert abs(simulation.raw.mean() / simulation.pages_raw.mean() / mix - 1) <= 0.01


@pytest.mark.parametrize("order", [5, 6, 7, 8, 9])
@pytest.mark.parametrize("codec", CODECS)
def test_blocks_of_128_kib_to_2_mib_over_their_pages(codec: str, order: int) -> None:
    # The mix is over the classes that have blocks of that order: all of them, if only two.
    assert (measured(codec, order, "blocks") > 0).all()
    simulation = simulated(codec, order)
    mix = float(summary()["MIX_equal_class_weight", codec, order]["size_vs_4k_raw"])
    assert abs(simulation.raw.mean() / simulation.pages_raw.mean() / mix - 1) <= 0.035


@pytest.mark.parametrize("seed", range(4))
def test_a_process_of_64_mib_has_about_the_size_of_its_class(seed: int) -> None:
    # Its 32 regions step through the prototypes, which are in ascending order of size: neighbours would tell nothing.
    pages = 64 << 8
    found = [simulate_blocks(load_library(), name, "zstd", 4, pages >> 4, seed).raw for name in load_library().names]
    mean = np.array([raw.mean() for raw in found])
    assert beyond(mean, measured("zstd", 4, "raw_bytes") / measured("zstd", 4, "blocks"), 0.2) == {}


# What the figures are made with


def test_pool_memory_of_some_objects() -> None:
    # zsmalloc_classes.csv, chain size 8: 32 bytes 128 to a page, 3,632 bytes 9 to 8 pages; same-filled and raw pages.
    assert pool_bytes(np.array([24] * 128 + [3624] * 9 + [0] * 5 + [4096] * 3), 0) == (1 + 8 + 3) * 4096
    # Blocks of 64 KiB: 13,056 bytes 5 to one of them, 58,112 bytes 9 to 8; small ones as pages.
    blocks = np.array([13000] * 5 + [58104] * 9 + [65536] * 2 + [24] * 128 + [0])
    assert pool_bytes(blocks, 4) == (1 + 8 + 2) * 65536 + 4096


def test_sizes_do_not_depend_on_how_many_blocks_are_measured() -> None:
    # Contents are a function of seed and page: the first blocks of a long run are those of a short one.
    library = load_library()
    few = simulate_blocks(library, "native_db", "zstd", 4, 10)
    many = simulate_blocks(library, "native_db", "zstd", 4, 64)
    for column in ("raw", "stored", "members"):
        assert getattr(few, column).tolist() == getattr(many, column)[:10].tolist()
