"""Sizes, kinds and times of blocks, against direct calls of the codecs."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import lz4.block
import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray

from fleetswap.calibrate import measure as page_measure
from fleetswap.calibrate.measure import Codec, count_blocks, load_codecs, measure_sizes, measure_times, regions_of
from fleetswap.calibrate.source import Run
from fleetswap.errors import InputError

PAGE = 4096
WORDS = ["page", "fault", "swap", "zram", "folio", "slot", "cluster", "order", "entry", "table", "kernel", "fleet"]


def _lz4(block: bytes) -> int:
    return len(lz4.block.compress(block, mode="fast", acceleration=1, store_size=False))


def _zstd(block: bytes) -> int:
    return len(zstandard.ZstdCompressor(level=3, write_content_size=True).compress(block))


def _text(seed: int) -> bytes:
    words = random.Random(seed)  # noqa: S311 (no secret)
    return " ".join(words.choice(WORDS) for _ in range(PAGE)).encode()[:PAGE]


def _noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(PAGE)  # noqa: S311 (no secret)


def _run(first: int, pages: list[bytes], space: int = 0) -> Run:
    return Run(space, first, np.frombuffer(b"".join(pages), dtype=np.uint8).reshape(-1, PAGE))


def _ignore(_n: int) -> None:
    pass


def _columns(codecs: tuple[str, ...]) -> list[int]:
    return [codecs.index("lz4"), codecs.index("zstd")]


def test_known_pages() -> None:
    pages = [bytes(PAGE), b"\xab\xcd\xef\x01\x23\x45\x67\x89" * 512, _noise(1), _text(1)]
    pages += [b"\xff" * PAGE, bytes(PAGE - 1) + b"\x01", _text(2), _noise(2)]
    sizes = measure_sizes(regions_of([_run(64, pages)]), 1, _ignore)
    columns = _columns(sizes.codecs)
    for order in range(4):
        blocks = [b"".join(pages[i : i + (1 << order)]) for i in range(0, 8, 1 << order)]
        expected = [[min(codec(block), len(block)) for block in blocks] for codec in (_lz4, _zstd)]
        assert sizes.blocks(order)[columns].tolist() == expected
        assert sizes.places(order)[1].tolist() == [(64 >> order) + i for i in range(8 >> order)]
    assert _lz4(pages[2]) > PAGE  # so that the cap matters
    assert sizes.blocks(0)[columns, 2].tolist() == [PAGE, PAGE]
    assert sizes.members(2)[columns[0]].tolist() == np.reshape([min(_lz4(p), PAGE) for p in pages], (2, 4)).tolist()
    assert all(len(sizes.places(order)[0]) == 0 for order in range(4, 10))
    assert sizes.kinds[0, 64:72].tolist() == [1, 2, 0, 0, 2, 0, 0, 0]
    assert set(sizes.kinds[0, :64].tolist() + sizes.kinds[0, 72:].tolist()) == {255}
    assert (sizes.pages(), sizes.pages(page_measure.ZERO), sizes.pages(page_measure.SAME_FILLED)) == (8, 1, 2)


def test_blocks_are_aligned_and_complete() -> None:
    # Pages 3 to 36 without 20, and all of a region of another space.
    runs = [_run(3, [_text(i) for i in range(17)]), _run(21, [_text(i) for i in range(16)])]
    runs.append(_run(512, [bytes(PAGE)] * 512, space=1))
    regions = regions_of(runs)
    assert [len(region) for region in regions] == [2, 1]
    there = set(range(3, 37)) - {20}
    for order in range(10):
        whole = [b for b in range(512 >> order) if there.issuperset(range(b << order, (b + 1) << order))]
        assert count_blocks(regions[:1], order) == len(whole)
        assert count_blocks(regions, order) == len(whole) + (512 >> order)
    sizes = measure_sizes(regions, 1, _ignore)
    assert sizes.places(3)[1][sizes.places(3)[0] == 0].tolist() == [1, 3]  # 8 to 15 and 24 to 31
    assert sizes.blocks(9)[_columns(sizes.codecs)].tolist() == [[_lz4(bytes(2 << 20))], [_zstd(bytes(2 << 20))]]


def test_block_kinds() -> None:
    pages = [_text(0)] * 16 + [bytes(PAGE)] * 15 + [b"\x01" * PAGE]
    sizes = measure_sizes(regions_of([_run(0, pages)]), 1, _ignore)
    assert sizes.block_kinds(4).tolist() == [[0] * 16, [1] * 15 + [2]]


def test_times() -> None:
    told: list[int] = []
    times = measure_times(regions_of([_run(0, [_text(i) for i in range(16)])]), 5, told.append)
    assert {"lz4", "zstd"} <= set(times)
    assert sum(told) == 6 * len(times)
    for found in times.values():
        for ns in (found.compress_ns, found.decompress_ns):
            assert all(isinstance(value, int) and value > 0 for value in ns[:5])
            assert ns[5:] == (None,) * 5
    # A block of 16 pages is more work than one page, whatever the machine does meanwhile.
    assert all(found.compress_ns[4] > found.compress_ns[0] for found in times.values())  # type: ignore[operator]


def test_a_codec_that_loses_something(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Codec("lz4", "broken 1.0", lambda data: data[:-1], lambda data, size: data.ljust(size, b"\0"))
    monkeypatch.setattr(page_measure, "load_codecs", lambda: (broken,))
    with pytest.raises(InputError, match=r"lz4 \(broken 1\.0\): a block of \d+ bytes changed by compression"):
        measure_times(regions_of([_run(0, [_text(0)])]), 5, _ignore)


@pytest.fixture
def _unloaded() -> Iterator[None]:
    load_codecs.cache_clear()
    yield
    load_codecs.cache_clear()


@pytest.mark.usefixtures("_unloaded")
def test_without_lz4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lz4.block", None)
    with pytest.raises(InputError, match=r"lz4, which is not installed: .* -m pip install -e .*\[calibrate\]'?$"):
        load_codecs()


@pytest.mark.usefixtures("_unloaded")
def test_without_lzo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lzo", None)
    assert [codec.name for codec in load_codecs()] == ["lz4", "zstd"]


class _Lzo:
    """Stands for the package python-lzo: signatures of its compress and decompress, sizes of its own."""

    LZO_VERSION_STRING = b"2.10"

    @staticmethod
    def compress(data: bytes, level: int, header: bool) -> bytes:
        assert (level, header) == (1, False)
        return data[: len(data) // 2] + b"!"

    @staticmethod
    def decompress(data: bytes, header: bool, size: int) -> bytes:
        assert not header
        return data.ljust(size, b"\0")


@pytest.mark.usefixtures("_unloaded")
def test_with_lzo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lzo", _Lzo)
    sizes = measure_sizes(regions_of([_run(0, [_text(0)] * 2)]), 1, _ignore)
    assert sizes.codecs == ("lz4", "lzo-rle", "zstd")
    assert sizes.blocks(0)[1].tolist() == [2049, 2049]
    assert sizes.blocks(1)[1].tolist() == [4097]
    assert "without the run lengths of lzo-rle" in load_codecs()[1].version


def test_kinds_look_at_whole_words() -> None:
    pages: NDArray[np.uint8] = np.zeros((3, PAGE), dtype=np.uint8)
    pages[1] = np.tile(np.arange(8, dtype=np.uint8), 512)  # equal words of unequal bytes
    pages[2] = np.tile(np.arange(16, dtype=np.uint8), 256)  # two words in turn
    assert page_measure.page_kinds(pages).tolist() == [1, 2, 0]
