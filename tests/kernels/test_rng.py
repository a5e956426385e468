"""Philox and glibc rand() against published and measured values."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap_kernels import rng
from fleetswap_kernels.jit import host

philox4x32 = host(rng.philox4x32)
philox_block = host(rng.philox_block)
philox_draw = host(rng.philox_draw)
glibc_seed = host(rng.glibc_seed)
glibc_next = host(rng.glibc_next)

_ONES = 0xFFFFFFFF

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
    "stream": st.integers(0, (1 << rng.STREAM_BITS) - 1),
    "device_id": st.integers(0, _ONES),
    "process": st.integers(0, (1 << rng.PROCESS_BITS) - 1),
    "step": st.integers(0, _ONES),
    "draw": st.integers(0, (1 << 34) - 1),
}


@pytest.mark.parametrize(("counter", "key", "expected"), _KNOWN_ANSWERS)
def test_philox_known_answers(counter, key, expected):
    assert philox4x32(*counter, *key) == expected


@settings(deadline=None)  # the first example compiles
@given(st.tuples(*_FIELDS.values()))
def test_draw_is_the_documented_word_of_the_documented_counter(at):
    seed, stream, device_id, process, step, draw = at
    key = seed & _ONES, seed >> 32 & _ONES
    counter = draw >> 2, step, stream << 24 | process, device_id
    expected = philox4x32(*counter, *key)[draw & 3]
    assert philox_draw(*at) == expected
    assert 0 <= expected <= _ONES


@settings(deadline=None)  # the first example compiles
@given(st.tuples(*_FIELDS.values()))
def test_a_block_is_four_draws(at):
    *where, draw = at
    block = philox_block(*where, draw >> 2)
    assert block == tuple(philox_draw(*where, (draw >> 2 << 2) + lane) for lane in range(4))


@pytest.mark.parametrize(
    ("field", "width"),
    [(0, 64), (1, rng.STREAM_BITS), (2, 32), (3, rng.PROCESS_BITS), (4, 32), (5, 34)],
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
    words = np.full(3 + rng.GLIBC_WORDS + 2, 0xAAAAAAAA, np.uint32)
    glibc_seed(words, 3, seed)
    values = [glibc_next(words, 3) for _ in range(1000)]
    assert tuple(values[:5]) == first
    assert values[999] == thousandth
    # Only its own 32 words were touched.
    assert (words[:3] == 0xAAAAAAAA).all()
    assert (words[3 + rng.GLIBC_WORDS :] == 0xAAAAAAAA).all()


def test_glibc_generators_in_one_array_are_independent():
    words = np.zeros(2 * rng.GLIBC_WORDS, np.uint32)
    glibc_seed(words, 0, 1)
    glibc_seed(words, rng.GLIBC_WORDS, 42)
    pairs = [(glibc_next(words, 0), glibc_next(words, rng.GLIBC_WORDS)) for _ in range(5)]
    assert tuple(p[0] for p in pairs) == _GLIBC[1][1]
    assert tuple(p[1] for p in pairs) == _GLIBC[3][1]


_INTERPRETED = """
import numpy as np
from fleetswap_kernels import rng
words = np.zeros(rng.GLIBC_WORDS, np.uint32)
rng.glibc_seed(words, 0, 0xDEADBEEF)
block = rng.philox_block(*[np.int64(v) for v in (-3, 200, 2**32 - 1, 77, 5, 6)])
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
    assert done.stdout == f"{[int(v) for v in block]} {list(_GLIBC[-1][1])}\n", done.stderr
