"""The arrays of a class, the cost profile and the files, from measurements made by hand."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import lz4.block
import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray

from fleetswap.calibrate.library import (
    check_outputs,
    class_arrays,
    describe_origin,
    fill_fractions,
    gain_table,
    profile_text,
    totals,
    write_files,
    write_pages,
)
from fleetswap.calibrate.measure import CodecTimes, PageSizes, measure_sizes, regions_of
from fleetswap.calibrate.source import PageSource, Run, open_source
from fleetswap.errors import InputError

PAGE = 4096


def _measured(pages: NDArray[np.uint8]) -> PageSizes:
    """Whole regions of pages, one after the other."""
    runs = [Run(0, at, pages[at : at + 512]) for at in range(0, len(pages), 512)]
    return measure_sizes(regions_of(runs), 1, lambda _n: None)


def _made(regions: int, seed: int) -> PageSizes:
    """Sizes that no codec made: pages of any size, blocks somewhat smaller than their pages together."""
    random = np.random.default_rng(seed)
    cells = np.zeros((regions, 2, 1023), dtype=np.uint32)
    cells[:, :, :512] = random.integers(100, 4097, (regions, 2, 512))
    start = 512
    for order in range(1, 10):
        sums = cells[:, :, :512].reshape(regions, 2, -1, 1 << order).sum(axis=3)
        cells[:, :, start : start + (512 >> order)] = sums * random.uniform(0.5, 1.1, sums.shape)
        start += 512 >> order
    return PageSizes(("lz4", "zstd"), cells, np.zeros((regions, 512), dtype=np.uint8))


def test_identical_blocks() -> None:
    text = b"".join(b"line %06d of a block that is everywhere the same\n" % i for i in range(2000))
    block = np.frombuffer(text[: 15 * PAGE] + bytes(PAGE), dtype=np.uint8)
    arrays = class_arrays(_measured(np.tile(block, 64).reshape(-1, PAGE)), "same", {"why": "test"})

    whole = block.tobytes()
    expected: list[list[int]] = []
    for compress in (
        lambda data: lz4.block.compress(data, mode="fast", acceleration=1, store_size=False),
        zstandard.ZstdCompressor(level=3).compress,
    ):
        parts = [whole[at : at + (PAGE << o)] for o in range(5) for at in range(0, len(whole), PAGE << o)]
        expected.append([len(compress(part)) for part in parts])
    lz4_sizes, zstd_sizes = expected
    assert arrays["sizes"].tolist() == [[[lz4_sizes, lz4_sizes, zstd_sizes]] * 256]
    assert arrays["same"].tolist() == [[[0] * 15 + [1]] * 256]
    for i, sizes in ((0, lz4_sizes), (2, zstd_sizes)):
        total = sum(sizes[:16])
        assert arrays["edges"][0, i].tolist() == [total // 16] * 7
        assert (arrays["gain_q15"][0, i, 0] == 32768).all()
        assert (arrays["gain_q15"][0, i, 4] == round(sizes[30] / total * 32768)).all()
    assert arrays["region_q16"].tolist() == [0]


def test_regions_of_one_content_each() -> None:
    random = np.random.default_rng(0)
    pages = np.zeros((4 * 512, PAGE), dtype=np.uint8)
    pages[512:1024] = random.integers(0, 256, (512, PAGE))
    pages[1536:] = random.integers(0, 256, (512, PAGE))
    sizes = _measured(pages)
    arrays = class_arrays(sizes, "halves", {})
    assert arrays["region_q16"].tolist() == [1 << 16]
    # 128 blocks, 64 of each kind, evenly repeated: the zero blocks first, the ones that do not compress last.
    assert (arrays["same"][0] == np.repeat([1, 0], 128)[:, np.newaxis]).all()
    assert (arrays["sizes"][0, 128:, :, :16] == 4096).all()
    assert (arrays["sizes"][0, 128:, :, 30] == 65535).all()
    assert (arrays["sizes"][0, :128, 0, 30] == 267).all()  # lz4 of 64 KiB of zeros, as in the measured library
    assert fill_fractions(sizes) == {"zero_fraction": 0.5, "same_filled_fraction": 0.0}


def test_shapes_and_types() -> None:
    arrays = class_arrays(_made(3, 1), "n" * 32, {"name": "\u00e4"})
    found = {name: (array.dtype.str, array.shape) for name, array in arrays.items() if name != "provenance"}
    # As in the measured library, with one class.
    assert found == {
        "classes": ("<U32", (1,)),
        "algos": ("<U7", (3,)),
        "sizes": ("<u2", (1, 256, 3, 31)),
        "same": ("|u1", (1, 256, 16)),
        "edges": ("<u2", (1, 3, 7)),
        "gain_q15": ("<u2", (1, 3, 10, 8, 17)),
        "region_q16": ("<u4", (1,)),
        "run_q16": ("<u4", (1,)),
    }
    assert arrays["algos"].tolist() == ["lz4", "lzo-rle", "zstd"]
    assert arrays["classes"].tolist() == ["n" * 32]
    assert (arrays["provenance"].dtype.kind, arrays["provenance"].shape) == ("U", ())
    for name in ("sizes", "edges", "gain_q15"):  # lzo-rle was not measured
        lz4_part, lzo_part = np.moveaxis(arrays[name][0], {"sizes": 1}.get(name, 0), 0)[:2]
        assert (lz4_part == lzo_part).all()


def test_prototypes_are_even_by_rank() -> None:
    sizes = _made(16, 2)  # 512 blocks
    order = np.random.default_rng(3).permutation(512)
    sizes.level(4)[:, 1] = 1000 + order.reshape(16, 32)  # zstd sizes of 64 KiB blocks, all different
    arrays = class_arrays(sizes, "even", {})
    # Every prototype stands for two blocks in the order of their sizes; the upper one is taken.
    assert arrays["sizes"][0, :, 2, 30].tolist() == list(range(1001, 1512, 2))
    at = int(np.flatnonzero(order == 7)[0])
    assert arrays["sizes"][0, 3, 0, :16].tolist() == sizes.level(0)[at // 32, 0].reshape(32, 16)[at % 32].tolist()


def test_gains_keep_the_total_size() -> None:
    sizes = _made(40, 4)
    edges, gain = gain_table(sizes)
    for i, column in ((0, 0), (2, 1)):
        assert (np.diff(edges[i].astype(int)) > 0).all()
        for order in range(1, 10):
            level = sizes.level(order)[:, column].reshape(-1).astype(float)
            sums = sizes.level(0)[:, column].reshape(-1, 1 << order).sum(axis=1)
            bins = [sum(int(edge) < total >> order for edge in edges[i]) for total in sums]
            knots = gain[i, order].astype(float) / 32768
            mean = (knots[:, 1:] + knots[:, :-1]).mean(axis=1) / 2  # of linear interpolation at an even rank
            assert (sums * mean[bins]).sum() == pytest.approx(level.sum(), rel=1e-4)
            assert (np.diff(knots) >= 0).all()
    # Octiles of blocks of 64 KiB: about as many in every bin, but for equal means at an edge.
    means = sizes.level(0)[:, 0].reshape(-1, 16).sum(axis=1) // 16
    assert np.bincount(np.searchsorted(edges[0], means)).tolist() == pytest.approx([160] * 8, abs=8)


def test_orders_with_few_blocks_repeat_the_order_below() -> None:
    sizes = _made(3, 5)  # 12 blocks of order 7, 6 of order 8, 3 of order 9
    _, gain = gain_table(sizes)
    assert (gain[:, 7] != gain[:, 6]).any()
    assert (gain[:, 8] == gain[:, 7]).all()
    assert (gain[:, 9] == gain[:, 7]).all()
    assert (gain[:, 7] == gain[:, 7, :1]).all()  # 12 blocks are too few to tell bins apart


def test_totals() -> None:
    sizes = _made(2, 6)
    rows = totals(sizes)["zstd"]
    assert [row["blocks"] for row in rows] == [1024 >> order for order in range(10)]
    raw, apart = int(sizes.level(4)[:, 1].sum()), int(sizes.level(0)[:, 1].sum())
    four = {"order": 4, "kib": 64, "blocks": 64, "original_bytes": 4 << 20, "raw_bytes": raw}
    assert rows[4] == {**four, "ratio": (4 << 20) / raw, "size_vs_4k": raw / apart}


def _origin(tmp_path: Path) -> dict[str, Any]:
    dump = tmp_path / "memory.raw"
    dump.write_bytes(bytes(PAGE))
    when = datetime(2026, 11, 24, tzinfo=UTC)
    return describe_origin(open_source(dump, (), None), _made(2, 7), 2048, 4, when)


def test_origin(tmp_path: Path) -> None:
    origin = _origin(tmp_path)
    assert origin["source"] == {"kind": "dump", "names": ["memory.raw"], "notes": []}
    assert str(tmp_path) not in str(origin)
    assert (origin["pages_found"], origin["pages"], origin["date"]) == (2048, 1024, "2026-11-24T00:00:00+00:00")
    assert origin["blocks"]["4"] == 64


def test_profile(tmp_path: Path) -> None:
    compress = (10, 20, 40, 80, 160, 320, None, None, 5, None)
    times = {"lz4": CodecTimes(compress, (0, *range(1, 10))), "zstd": CodecTimes(tuple(range(9, 19)), compress)}
    origin = _origin(tmp_path)
    origin["machine"]["cpu"] = 'A "CPU" \\ \x1b\x7f with\nodd letters \u00e9'
    profile = tomllib.loads(profile_text("mine", origin, times))
    assert 'A "CPU" \\    with odd letters \u00e9' in profile.pop("source")
    filled = [10, 20, 40, 80, 160, 320, 640, 1280, 5, 10]
    assert profile == {
        "name": "mine",
        "inherits": "x86-server",
        "codec": {
            "lz4": {"compress_ns": filled, "decompress_ns": [1, *range(1, 10)]},
            "zstd": {"compress_ns": list(range(9, 19)), "decompress_ns": filled},
        },
    }


def test_files_are_written_together(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "deep" / "new"
    old.write_bytes(b"before")

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    def good(file: BinaryIO) -> None:
        file.write(b"after")

    with pytest.raises(InputError, match="new: cannot be written: No space left on device"):
        write_files({old: good, new: fail})
    assert (old.read_bytes(), sorted(tmp_path.rglob("*"))) == (b"before", [new.parent, old])
    write_files({old: good, new: good})
    assert (old.read_bytes(), new.read_bytes(), list(new.parent.iterdir())) == (b"after", b"after", [new])


def test_pages_are_for_their_owner(tmp_path: Path) -> None:
    pages = np.random.default_rng(8).integers(0, 256, (5, PAGE), dtype=np.uint8)
    kept = tmp_path / "kept"
    write_files({kept: lambda file: write_pages(file, [Run(0, 9, pages[:2]), Run(0, 40, pages[2:])])})
    assert kept.read_bytes() == pages.tobytes()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_outputs_that_would_lose_something(tmp_path: Path) -> None:
    dump, link, free = tmp_path / "a.npz", tmp_path / "link", tmp_path / "free"
    dump.write_bytes(bytes(PAGE))
    link.symlink_to(dump)
    source = PageSource("dump", (dump,), (dump.name,), ())
    for paths, force, said in (
        ([dump], True, "a.npz: is what is measured"),
        ([free, link], True, "link: is what is measured"),
        ([free, tmp_path / "x" / ".." / "free"], True, "free: would be written twice"),
        ([tmp_path], True, "is a folder"),
        ([dump / "deep" / "file"], True, r"a\.npz/deep/file: cannot be written: .*a\.npz is no folder"),
    ):
        with pytest.raises(InputError, match=said):
            check_outputs(paths, source, force)
    free.touch()
    with pytest.raises(InputError, match=r"free: exists already; .*--force"):
        check_outputs([free], source, force=False)
    check_outputs([free], source, force=True)
