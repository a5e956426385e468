"""Page contents of replay scripts against the replayer's own C code."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.script import patterns
from fleetswap.script.patterns import FILL, MIX, RAND, TEXT, ZERO, Pattern, page_codes, parse_pattern

# SHA-256 of the first 40 pages of a region, written by the pattern code of the replay corpus's swapscript.c.
_FIRST_40_PAGES = {
    "text:26": "ac10591e581eafd12d04858fc8a7197592d463d9b1fb4519493711e15741013c",
    "rand:1": "15f9dd15c02dc0e39614c7e2b6222f4302248b64379f85dcde9c83a0d6eca115",
    "mix:0": "5cd9736b3c94ef2145777888556d7215b0f6602c8546572cfd8e39297c86da18",
    "fill:0x1ff": "5639b95c2f8d2a2d92aa71f3c2414032aff8b9cbfa2f63e252461f70df35da84",
    "text:-1": "49352dd3a80c7c86b5c5df791b1db421bd6f6a655ac01078baa1feffebfbc4b0",
    "rand:021": "ce12d9606de8037e3c404d50dd69c467a49ff2b01a8fc5c1f8114f39160bc1fa",
    "text": "ee36bdcb7df38b0d899368fe78be61606737aabc2ebbbc6cd6a2f0684e2980f8",
    "mix:0xffffffffffffffffff": "9de39502e80d34e9e6730c4f8dd6d761802a002398e536b504412467afe1b253",
}

_PATTERNS = st.builds(
    lambda kind, argument: Pattern(kind, argument & {ZERO: 0, FILL: 0xFF}.get(kind, 0xFFFFFFFF)),
    st.sampled_from([ZERO, FILL, RAND, TEXT, MIX]),
    st.integers(0, 0xFFFFFFFF),
)


@pytest.mark.parametrize(("text", "digest"), _FIRST_40_PAGES.items())
def test_contents_are_the_replayers(text, digest):
    pages = patterns.pages_bytes(page_codes(parse_pattern(text), 0, 40))
    assert hashlib.sha256(pages.tobytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zero", Pattern(ZERO, 0)),
        ("zero:7", Pattern(ZERO, 0)),
        ("fill:0", Pattern(FILL, 0)),
        ("fill:0x11", Pattern(FILL, 0x11)),
        ("fill:0x1ff", Pattern(FILL, 0xFF)),
        ("fill:256", Pattern(FILL, 0)),
        ("rand:010", Pattern(RAND, 8)),
        ("rand:+10", Pattern(RAND, 10)),
        ("text:", Pattern(TEXT, 0)),
        ("text:0XfF", Pattern(TEXT, 255)),
        ("text:4294967297", Pattern(TEXT, 1)),
        ("mix:-1", Pattern(MIX, 0xFFFFFFFF)),
        ("mix:18446744073709551615", Pattern(MIX, 0xFFFFFFFF)),
        ("mix:18446744073709551616", Pattern(MIX, 0xFFFFFFFF)),
    ],
)
def test_parse(text, expected):
    assert parse_pattern(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Zero",
        "zeros",
        "noise:1",
        "fill:x",
        "fill:0x",
        "rand:1.5",
        "text:09",
        "text: 1",
        "mix:1:2",
        "text:\u0661",
        "fill:--1",
    ],
)
def test_other_texts_are_refused_by_name(text):
    with pytest.raises(ValueError, match="allowed: zero, fill:BYTE, rand:SEED, text:SEED, mix:SEED") as error:
        parse_pattern(text)
    assert repr(text) in str(error.value)


def page_code(pattern, page):
    return int(page_codes(pattern, page, 1)[0])


def test_equal_contents_have_one_code():
    assert page_code(parse_pattern("fill:0"), 5) == page_code(parse_pattern("zero"), 0) == patterns.ZERO_CODE
    assert page_code(parse_pattern("fill:9"), 5) == page_code(parse_pattern("fill:0x109"), 6)


def test_seed_kind_and_page_are_told_apart():
    codes = {
        page_code(parse_pattern(f"{kind}:{seed}"), page)
        for kind in ("rand", "text")
        for seed in (0, 1, 0xFFFFFFFF)
        for page in (0, 1, patterns.MAX_PAGES - 1)
    }
    assert len(codes) == 18


def test_mix_resolves_to_the_other_kinds_in_the_documented_shares():
    codes = page_codes(parse_pattern("mix:7"), 0, 20000)
    share = np.bincount(codes >> 56, minlength=5) / 20000
    assert share == pytest.approx([0.10, 0.15, 0.25, 0.50, 0.0], abs=0.02)
    texts = codes >> 56 == TEXT
    assert (codes[texts] == page_codes(parse_pattern("text:7"), 0, 20000)[texts]).all()
    fills = codes[codes >> 56 == FILL] >> 24 & 0xFFFFFFFF
    assert (fills.min(), fills.max()) == (11, 25)


@given(_PATTERNS, st.integers(0, patterns.MAX_PAGES - 4))
def test_bulk_and_single_agree(pattern, first):
    codes = page_codes(pattern, first, 4)
    assert codes.tolist() == [page_code(pattern, first + i) for i in range(4)]
    pages = patterns.pages_bytes(codes)
    assert pages.shape == (4, 4096)
    assert pages.dtype == np.uint8
    for code, page in zip(codes.tolist(), pages, strict=True):
        assert (patterns.pages_bytes([code])[0] == page).all()
        assert (code == patterns.ZERO_CODE) == (not page.any())


def test_no_pages():
    assert patterns.pages_bytes([]).shape == (0, 4096)
    assert page_codes(parse_pattern("mix:1"), 0, 0).size == 0


@pytest.mark.parametrize("page", [-1, patterns.MAX_PAGES])
def test_pages_out_of_range_are_refused(page):
    with pytest.raises(ValueError, match=f"allowed are 0 to {patterns.MAX_PAGES - 1}"):
        page_code(parse_pattern("text:1"), page)


@pytest.mark.parametrize("code", [-1, MIX << 56, 7 << 56])
def test_foreign_codes_are_refused(code):
    with pytest.raises(ValueError, match="page code"):
        patterns.pages_bytes([code])


def test_swap_header():
    page = patterns.swap_header_page(4096)
    assert page[1024:1032].tobytes() == bytes([1, 0, 0, 0, 0xFF, 0x0F, 0, 0])
    assert page[4086:].tobytes() == b"SWAPSPACE2"
    assert np.count_nonzero(page) == 3 + 10


@pytest.mark.parametrize("max_pages", [1, 0, -5, (1 << 32) + 1])
def test_impossible_swap_sizes_are_refused(max_pages):
    with pytest.raises(ValueError, match="max_pages"):
        patterns.swap_header_page(max_pages)
