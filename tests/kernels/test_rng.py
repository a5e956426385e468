"""Philox and glibc rand() against published and measured values, and that hashed draws are independent."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap_kernels.compile.cpu_linker import WholeProgramCompiler
from fleetswap_kernels.device import rng
from tests.kernels.host import host

philox4x32 = host(rng.philox4x32)
philox_block = host(rng.philox_block)
philox_draw = host(rng.philox_draw)
hashed = host(rng.hash_word)
glibc_seed = host(rng.glibc_seed)
glibc_next = host(rng.glibc_next)

_ONES = 0xFFFFFFFF
STREAM_BITS, PROCESS_BITS = 8, 24
"""Widths of the fields of a Philox counter, as the module's table has them."""
GLIBC_WORDS = 32
"""Of the state of a TYPE_3 generator: 31 of table and 1 of position."""

# Random123 1.14, tests/kat_vectors: "philox4x32 10" (counter, key, expected).
_KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((_ONES,) * 4, (_ONES, _ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

# glibc on x86-64: seed, the first five values of rand() and the thousandth, printed by a C program.
_GLIBC = [
    (0, (1804289383, 846930886, 1681692777, 1714636915, 1957747793), 1143565421),
    (1, (1804289383, 846930886, 1681692777, 1714636915, 1957747793), 1143565421),
    (2, (1505335290, 1738766719, 190686788, 260874575, 747983061), 2057566690),
    (42, (71876166, 708592740, 1483128881, 907283241, 442951012), 896784309),
    (0x7FFFFFFF, (1065668062, 2142264300, 1066566375, 1064012770, 2141034222), 1698607095),
    (0x80000000, (1336741213, 1210407648, 1447044896, 337392383, 82502902), 193932953),
    (0xFFFFFFFF, (254925627, 1205188300, 366127624, 1401405153, 76053476), 1892540048),
    (0xDEADBEEF, (352217057, 918588210, 499345174, 513054021, 248820349), 993976480),
]

_FIELDS = {
    "seed": st.integers(-(1 << 63), (1 << 63) - 1),
    "stream": st.integers(0, (1 << STREAM_BITS) - 1),
    "device_id": st.integers(0, _ONES),
    "process": st.integers(0, (1 << PROCESS_BITS) - 1),
    "step": st.integers(0, _ONES),
    "draw": st.integers(0, (1 << 34) - 1),
}


@pytest.mark.parametrize(("counter", "key", "expected"), _KNOWN_ANSWERS)
def test_philox_known_answers(counter, key, expected):
    assert philox4x32(*counter, *key) == expected


@given(st.tuples(*_FIELDS.values()))
def test_draw_is_the_documented_word_of_the_documented_counter(at):
    seed, stream, device_id, process, step, draw = at
    key = seed & _ONES, seed >> 32 & _ONES
    counter = draw >> 2, step, stream << 24 | process, device_id
    expected = philox4x32(*counter, *key)[draw & 3]
    assert philox_draw(*at) == expected
    assert 0 <= expected <= _ONES


@given(st.tuples(*_FIELDS.values()))
def test_a_block_is_four_draws(at):
    *where, draw = at
    block = philox_block(*where, draw >> 2)
    assert block == tuple(philox_draw(*where, (draw >> 2 << 2) + lane) for lane in range(4))


@pytest.mark.parametrize(
    ("field", "width"),
    [(0, 64), (1, STREAM_BITS), (2, 32), (3, PROCESS_BITS), (4, 32), (5, 34)],
    ids=list(_FIELDS),
)
def test_every_bit_of_every_field_matters(field, width):
    draws = {philox_block(0, 0, 0, 0, 0, 0)}
    bits = range(2, width) if field == 5 else range(width)
    for bit in bits:
        where = [np.int64(0)] * 6
        where[field] = np.array(1 << bit, np.uint64).astype(np.int64)[()]
        where[5] >>= 2
        draws.add(philox_block(*where))
    assert len(draws) == 1 + len(bits)


def test_a_field_that_is_too_wide_does_not_reach_its_neighbours():
    assert philox_block(9, 1 << 8, 5, 6, 7, 8) == philox_block(9, 0, 5, 6, 7, 8)
    assert philox_block(9, 4, 5, 1 << 24, 7, 8) == philox_block(9, 4, 5, 0, 7, 8)


@pytest.mark.parametrize(("seed", "first", "thousandth"), _GLIBC)
def test_glibc_rand(seed, first, thousandth):
    words = np.full(3 + GLIBC_WORDS + 2, 0xAAAAAAAA, np.uint32)
    glibc_seed(words, 3, seed)
    values = [glibc_next(words, 3) for _ in range(1000)]
    assert tuple(values[:5]) == first
    assert values[999] == thousandth
    # Only its own 32 words were touched.
    assert (words[:3] == 0xAAAAAAAA).all()
    assert (words[3 + GLIBC_WORDS :] == 0xAAAAAAAA).all()


def test_glibc_generators_in_one_array_are_independent():
    words = np.zeros(2 * GLIBC_WORDS, np.uint32)
    glibc_seed(words, 0, 1)
    glibc_seed(words, GLIBC_WORDS, 42)
    pairs = [(glibc_next(words, 0), glibc_next(words, GLIBC_WORDS)) for _ in range(5)]
    assert tuple(p[0] for p in pairs) == _GLIBC[1][1]
    assert tuple(p[1] for p in pairs) == _GLIBC[3][1]


_INTERPRETED = """
import numpy as np
from fleetswap_kernels.device import rng
words = np.zeros(32, np.uint32)
rng.glibc_seed(words, 0, 0xDEADBEEF)
block = rng.philox_block(*[np.int64(v) for v in (-3, 200, 2**32 - 1, 77, 5, 6)])
print(int(rng.hash_word(np.int64(2**32 - 1), np.int64(2**32 - 2), np.int64(2**32 - 3))))
print([int(v) for v in block], [int(rng.glibc_next(words, 0)) for _ in range(5)])
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
    block = host(rng.philox_block)(-3, 200, 2**32 - 1, 77, 5, 6)
    word = hashed(2**32 - 1, 2**32 - 2, 2**32 - 3)
    assert done.stdout == f"{word}\n{[int(v) for v in block]} {list(_GLIBC[-1][1])}\n", done.stderr


def _lowbias32(x):
    x = (x ^ x >> 16) * 0x7FEB352D % (1 << 32)
    x = (x ^ x >> 15) * 0x846CA68B % (1 << 32)
    return x ^ x >> 16


@given(st.integers(0, _ONES), st.integers(0, _ONES))
def test_a_hash_without_second_key_is_lowbias32(n, key):
    assert hashed(n, key, 0) == _lowbias32(n ^ key)


@given(*[st.integers(0, _ONES)] * 3, st.integers(0, 31))
def test_every_bit_of_a_number_and_its_keys_matters_to_a_hash(n, key_a, key_b, bit):
    word = hashed(n, key_a, key_b)
    assert hashed(n ^ 1 << bit, key_a, key_b) != word
    assert hashed(n, key_a ^ 1 << bit, key_b) != word
    assert hashed(n, key_a, key_b ^ 1 << bit) != word


@numba.njit(pipeline_class=WholeProgramCompiler)
def _used(keys, pages, salts, limit):
    """How often each salt uses a page of many series, and how often both salts do (`app.next_run`)."""
    one, other, both = 0, 0, 0
    for i in range(len(keys)):
        for page in range(pages):
            used = [
                hashed(page, keys[i, 0] ^ (salts[k] * 0x9E3779B1 & 0xFFFFFFFF), keys[i, 1]) >> 16 < limit
                for k in range(2)
            ]
            one += used[0]
            other += used[1]
            both += used[0] and used[1]
    return one, other, both


@pytest.mark.parametrize("percent", [2, 30])
@pytest.mark.parametrize("salts", [(1, 3), (1, 5), (3, 5), (101, 103), (201, 209), (500, 514), (2, 4096)])
def test_draws_for_two_salts_are_independent(salts, percent):
    keys = np.random.default_rng(5).integers(0, 1 << 32, (2000, 2))
    pages, limit = 1000, (percent << 16) // 100
    n, p = len(keys) * pages, limit / 65536
    for found, chance in zip(_used(keys, pages, salts, limit), (p, p, p * p), strict=True):
        assert abs(found - n * chance) < 4.5 * np.sqrt(n * chance * (1 - chance))


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 16, 256])
def test_neighbours_in_a_series_and_halves_of_a_word_are_independent(lag):
    keys = np.random.default_rng(6).integers(0, 1 << 32, (500, 2)).tolist()
    words = np.array([[hashed(page, a, b) for page in range(1000)] for a, b in keys])
    high, low = words >> 16 < 20_000, words & 0xFFFF < 20_000
    chance = (20_000 / 65536) ** 2
    for both in (high[:, lag:] & high[:, :-lag], high & low):
        assert abs(both.sum() - both.size * chance) < 4.5 * np.sqrt(both.size * chance * (1 - chance))
