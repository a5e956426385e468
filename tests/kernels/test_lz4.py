"""The LZ4 size model against what a real kernel's zram reported."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from fleetswap.script import patterns
from fleetswap_kernels.backend.host_calls import page_sizes
from fleetswap_kernels.device.content import lz4
from tests.kernels.host import host

lz4_bytes = host(lz4.lz4_bytes)
same_filled = host(lz4.same_filled)

# mm_stat of a real kernel 6.12.117 (replay corpus; the id names script and dump): pattern, first page, pages,
# then what those pages added to compr_data_size (bytes), same_pages and huge_pages. The header page's 43 B
# are subtracted where they are part of the number.
_MEASURED = [
    pytest.param("text:26", 0, 1024, 2177094 - 43, 0, 0, id="t26_pmd out"),
    pytest.param("text:26", 3, 1, 2177094 - 2174956, 0, 0, id="t26_pmd out - in3"),
    pytest.param("text:26", 600, 20, 2174956 - 2132445, 0, 0, id="t26_pmd in3 - in600"),
    pytest.param("text:26", 0, 512, 1088335 - 43, 0, 0, id="t26_pmd fresh"),
    pytest.param("fill:0x26", 512, 100, 0, 100, 0, id="t26_pmd partial - fresh"),
    pytest.param("text:11", 8, 16, 33997 - 43, 0, 0, id="t11_partial_pageout out"),
    pytest.param("text:11", 0, 48, 101969 - 43, 0, 0, id="t11_partial_pageout out2"),
    pytest.param("text:11", 16, 4, 110346 - 101969, 0, 0, id="t11_partial_pageout out3 - out2"),
    pytest.param("rand:10", 0, 2, 2 * 4096, 0, 2, id="t10_split_zero half_out, first two of four"),
    pytest.param("rand:10", 4, 28, 114731 - 43, 0, 28, id="t10_split_zero out"),
    pytest.param("text:1", 8, 4, 24942 - 43 - 4 * 4096, 0, 0, id="t16_patterns outA, text"),
    pytest.param("mix:0", 0, 16, 82965 - 49841, 5, 5, id="t16_patterns m0 - gone"),
    pytest.param("mix:1", 0, 16, 112428 - 82965, 4, 2, id="t16_patterns m1 - m0"),
    pytest.param("mix:2", 0, 16, 153953 - 112428, 2, 6, id="t16_patterns m2 - m1"),
    pytest.param("mix:5", 0, 600, 1275941 - 43, 141, 152, id="t05_all_sizes out"),
    pytest.param("text:300", 0, 512, 1089900 - 43, 0, 0, id="m00_medium all_out"),
]


def _pages(text: str, first: int, count: int) -> np.ndarray:
    return patterns.pages_bytes(patterns.page_codes(patterns.parse_pattern(text), first, count))


@pytest.mark.parametrize(("pattern", "first", "count", "compressed", "same", "huge"), _MEASURED)
def test_sizes_are_the_kernels(pattern, first, count, compressed, same, huge):
    sizes = page_sizes(_pages(pattern, first, count))
    assert sizes.sum(dtype=np.int64) == compressed
    assert np.count_nonzero(sizes == 0) == same
    assert np.count_nonzero(sizes == 4096) == huge


@pytest.mark.parametrize(("max_pages", "expected"), [(4096, 43), (16384, 43), (64, 42), (400, 42)])
def test_swap_header_page(max_pages, expected):
    # Spec 08 §8.1: 42 to 43 bytes; 43 in the first dump of t26_pmd (16M) and t11_partial_pageout (64M).
    assert page_sizes(patterns.swap_header_page(max_pages)[np.newaxis])[0] == expected


def test_scratch_table_needs_no_preparation_and_may_be_wider():
    page = _pages("text:26", 3, 1)[0]
    used = np.full(lz4.TABLE_ENTRIES, 4000, np.uint16)
    assert lz4_bytes(page, used) == 2138
    assert lz4_bytes(page, used) == 2138
    assert lz4_bytes(page, np.full(lz4.TABLE_ENTRIES, 4000, np.uint32)) == 2138


def test_incompressible_page_is_larger_than_a_page():
    table = np.zeros(lz4.TABLE_ENTRIES, np.uint16)
    # One run of 4096 literals: a token, 1 + (4096 - 15) // 255 bytes of length, the literals.
    assert lz4_bytes(_pages("rand:1", 0, 1)[0], table) == 1 + 17 + 4096


def test_constant_page_is_one_match():
    table = np.zeros(lz4.TABLE_ENTRIES, np.uint16)
    # 1 literal (token + byte), a match at 1 that ends 5 bytes before the end (offset + lengths), 5 literals.
    match = 4096 - 5 - 1 - 4
    assert lz4_bytes(np.full(4096, 7, np.uint8), table) == 2 + 2 + 1 + (match - 15) // 255 + 1 + 5


def test_same_filled_pages():
    page = np.tile(np.array([1, 2, 3, 4, 5, 6, 7, 8], np.uint8), 512)
    assert same_filled(page) == 1
    assert same_filled(np.zeros(4096, np.uint8)) == 1
    for position in (0, 7, 8, 510, 511, 512, 518, 519, 2048, 4087, 4088, 4095):
        other = page.copy()
        other[position] ^= 0x80
        assert same_filled(other) == 0, position


def test_period_of_another_length_is_not_same_filled():
    assert same_filled(np.tile(np.arange(16, dtype=np.uint8), 256)) == 0
    assert same_filled(np.tile(np.array([3, 4], np.uint8), 2048)) == 1


def test_huge_threshold():
    pages = _pages("text:26", 3, 1)
    assert page_sizes(pages, huge_threshold=2138)[0] == 4096
    assert page_sizes(pages, huge_threshold=2139)[0] == 2138


def test_no_pages():
    assert page_sizes(np.zeros((0, 4096), np.uint8)).shape == (0,)


def test_rows_may_lie_apart():
    pages = _pages("text:26", 0, 6)
    assert (page_sizes(pages[::2]) == page_sizes(pages)[::2]).all()


@pytest.mark.parametrize("pages", [np.zeros((2, 4095), "u1"), np.zeros(4096, "u1"), np.zeros((1, 4096))])
def test_other_shapes_are_refused(pages):
    with pytest.raises(ValueError, match=r"expected uint8\[n, 4096\]"):
        page_sizes(pages)


_INTERPRETED = """
import hashlib
from fleetswap.script import patterns
from fleetswap_kernels.backend.host_calls import page_sizes
pages = patterns.pages_bytes(patterns.page_codes(patterns.parse_pattern("mix:3"), 0, 10))
print(hashlib.sha256(pages.tobytes()).hexdigest(), page_sizes(pages).tolist())
"""


def test_interpreted_code_gives_the_same_without_warnings():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", _INTERPRETED],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    pages = _pages("mix:3", 0, 10)
    sizes = page_sizes(pages).tolist()
    assert len({0, 4096} & set(sizes)) == 2, "the pages should take every path"
    assert done.stdout == f"{hashlib.sha256(pages.tobytes()).hexdigest()} {sizes}\n", done.stderr
