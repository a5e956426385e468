"""`fleetswap content`: what it prints, for a library made by hand and for the built-in one, and for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetswap.cli import main
from fleetswap.scenario.content_library import class_names

CODECS = ("lz4", "lzo-rle", "zstd")
BLOCK = ("raw_bytes", "stored_bytes", "zsmalloc_bytes", "ratio_raw", "mean_bytes", "quantiles_bytes")
KEYS = {
    *("class", "codec", "order", "seed", "scaled", "blocks", "pages", "original_bytes", "ratio_zsmalloc"),
    *("same_filled_blocks", "incompressible_blocks", "neighbour_rank_correlation", "size_over_same_pages_4k"),
    *("same_pages_4k", *BLOCK),
}


def _run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(["content", *map(str, words)]) == 0
    return capsys.readouterr().out


def _json(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run(capsys, *words, "--json"))
    return found


def _line(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """What is said about bad input."""
    assert main(["content", *map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    (line,) = err.splitlines()
    assert line.startswith("fleetswap: ")
    return line


def _sizes(page: int, pair: int, quad: int, half: int, whole: int) -> list[int]:
    return [page] * 16 + [pair] * 8 + [quad] * 4 + [half] * 2 + [whole]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Three classes whose blocks are all alike: `flat`, the first page of a block zero, `noise` and `zeros`."""
    sizes = np.zeros((3, 256, 3, 31), dtype=np.uint16)
    same = np.zeros((3, 256, 16), dtype=np.uint8)
    sizes[0] = _sizes(1000, 1800, 3400, 6600, 13000)
    sizes[0, :, :, 0] = 20
    same[0, :, 0] = 1
    sizes[1] = _sizes(4096, 8192, 16384, 32768, 65535)
    sizes[2] = _sizes(20, 30, 40, 50, 60)
    same[2] = 1
    path = tmp_path / "library.npz"
    np.savez(
        path,
        classes=np.array(["flat", "noise", "zeros"]),
        algos=np.array(CODECS),
        sizes=sizes,
        same=same,
        edges=np.full((3, 3, 7), 2000, dtype=np.uint16),
        # A half: what orders above 4 make of the sum of their pages.
        gain_q15=np.full((3, 3, 10, 8, 17), 1 << 14, dtype=np.uint16),
        region_q16=np.zeros(3, dtype=np.uint32),
        run_q16=np.zeros(3, dtype=np.uint32),
    )
    return path


PAGES_FLAT = (15 * 1000 + 20, 15 * 1000, 15 * 1024)
"""Bytes of the pages of a block of `flat`, raw, stored and in zsmalloc: 1,008 bytes are in the class of 1,024, 4 to a
page; the zero page takes nothing."""
PAGES = 2048


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("name", "order", "block", "pages"),
    [
        # Bytes of a block: the codec's output, what zram keeps, its share of zspages; then those of its pages.
        # 13,008 bytes are in the class of 13,056, 5 to a block of 64 KiB.
        ("flat", 4, (13000, 13000, 65536 / 5), PAGES_FLAT),
        ("noise", 0, (4096, 4096, 4096), (4096, 4096, 4096)),
        ("noise", 4, (65536, 65536, 65536), (65536, 65536, 65536)),
        ("zeros", 0, (20, 0, 0), (20, 0, 0)),
        ("zeros", 1, (30, 0, 0), (40, 0, 0)),
        ("zeros", 4, (60, 0, 0), (320, 0, 0)),
        # Above 64 KiB: half the sum of the pages, by the gain; zero-filled blocks as many of 64 KiB.
        # 65,544 bytes are in the class of 69,632, 15 to 8 blocks of 128 KiB.
        ("noise", 5, (65536, 65536, 8 * 131072 / 15), (131072, 131072, 131072)),
        ("zeros", 6, (240, 0, 0), (1280, 0, 0)),
    ],
)
def test_a_library_made_by_hand(
    capsys: pytest.CaptureFixture[str],
    library: Path,
    codec: str,
    name: str,
    order: int,
    block: tuple[int, int, float],
    pages: tuple[int, int, int],
) -> None:
    n = PAGES >> order
    found = _json(capsys, name, "--library", library, "--codec", codec, "--order", str(order), "--blocks", str(n))
    original = n * 4096 << order
    raw, stored, pool = block
    assert {key: found[key] for key in ("class", "codec", "order", "seed", "scaled", "blocks", "pages")} == {
        "class": name, "codec": codec, "order": order, "seed": 0, "scaled": False, "blocks": n, "pages": n << order
    }  # fmt: skip
    assert found["original_bytes"] == original
    assert (found["raw_bytes"], found["stored_bytes"]) == (n * raw, n * stored)
    assert found["zsmalloc_bytes"] == round(n * pool)
    assert found["ratio_zsmalloc"] == original / max(round(n * pool), 1)
    assert found["ratio_raw"] == original / (n * raw)
    assert found["mean_bytes"] == raw
    assert found["quantiles_bytes"] == [raw] * 99
    assert found["same_filled_blocks"] == (n if stored == 0 else 0)
    assert found["incompressible_blocks"] == (n if stored == 4096 << order else 0)
    assert found["neighbour_rank_correlation"] == 0, "all alike"
    assert found["size_over_same_pages_4k"] == raw / pages[0]
    alone = found["same_pages_4k"]
    assert (alone["raw_bytes"], alone["stored_bytes"], alone["zsmalloc_bytes"]) == tuple(n * value for value in pages)
    assert alone["ratio_raw"] == original / (n * pages[0])
    assert alone["mean_bytes"] == pages[0]
    assert alone["quantiles_bytes"] == [pages[0]] * 99


def test_without_a_class_an_equal_mix_of_all(capsys: pytest.CaptureFixture[str], library: Path) -> None:
    n = PAGES // 16
    found = _json(capsys, "--library", library, "--codec", "lz4", "--blocks", str(n))
    assert (found["class"], found["blocks"], found["original_bytes"]) == (None, 3 * n, 3 * n * 65536)
    assert found["raw_bytes"] == n * (13000 + 65536 + 60)
    assert found["zsmalloc_bytes"] == round(n * 65536 / 5) + n * 65536
    assert (found["same_filled_blocks"], found["incompressible_blocks"]) == (n, n)
    # A third of the blocks each.
    assert found["quantiles_bytes"] == [60] * 33 + [13000] * 33 + [65536] * 33
    alone = found["same_pages_4k"]
    assert alone["raw_bytes"] == n * (PAGES_FLAT[0] + 65536 + 320)
    assert alone["zsmalloc_bytes"] == n * (PAGES_FLAT[2] + 65536)


def test_a_scale_is_one_factor_for_all_blocks_of_a_process(capsys: pytest.CaptureFixture[str], library: Path) -> None:
    # Levels are factors of 2^(1/8) around 1, in 2^-12.
    factors = [round(2 ** ((level - 16) / 8) * 4096) for level in range(32)]
    seen = set()
    for seed in range(8):
        words = ("flat", "--library", library, "--codec", "zstd", "--blocks", "64", "--scaled", "--seed", str(seed))
        found = _json(capsys, *words)
        assert found["scaled"] is True
        each, rest = divmod(found["raw_bytes"], 64)
        assert rest == 0
        assert each in {13000 * factor >> 12 for factor in factors}
        seen.add(each)
    assert len(seen) > 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("order", [0, 4, 9])
def test_figures_agree_with_each_other(capsys: pytest.CaptureFixture[str], codec: str, order: int) -> None:
    words = ("webview_renderer", "--codec", codec, "--seed", "5")
    blocks = 4096 >> order
    found = _json(capsys, *words, "--order", str(order), "--blocks", str(blocks))
    assert set(found) == KEYS
    assert set(found["same_pages_4k"]) == set(BLOCK)
    assert found["blocks"] == blocks
    assert found["pages"] == 4096
    assert found["blocks"] * 4096 << order == found["original_bytes"]
    for part, of_block in ((found, 4096 << order), (found["same_pages_4k"], 4096 << order)):
        quantiles = part["quantiles_bytes"]
        assert len(quantiles) == 99
        assert quantiles == sorted(quantiles)
        assert 1 <= quantiles[0] < quantiles[98] <= of_block
        assert part["ratio_raw"] == found["original_bytes"] / part["raw_bytes"]
        assert part["mean_bytes"] == part["raw_bytes"] / blocks
        assert part["stored_bytes"] <= part["zsmalloc_bytes"]
    assert found["ratio_zsmalloc"] == found["original_bytes"] / found["zsmalloc_bytes"]
    assert found["size_over_same_pages_4k"] == found["raw_bytes"] / found["same_pages_4k"]["raw_bytes"]
    # The same pages as at order 0, where blocks are pages.
    alone = _json(capsys, *words, "--order", "0", "--blocks", "4096")
    for total in ("raw_bytes", "stored_bytes", "zsmalloc_bytes"):
        assert found["same_pages_4k"][total] == alone[total] == alone["same_pages_4k"][total]


def test_a_mix_is_the_sum_of_its_classes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--codec", "lz4", "--order", "2", "--blocks", "256")
    mix = _json(capsys, *words)
    parts = [_json(capsys, name, *words) for name in class_names()]
    assert mix["blocks"] == 14 * 256
    for total in ("original_bytes", "raw_bytes", "stored_bytes", "same_filled_blocks", "incompressible_blocks"):
        assert mix[total] == sum(part[total] for part in parts)
    for total in ("raw_bytes", "stored_bytes", "zsmalloc_bytes"):
        assert mix["same_pages_4k"][total] == sum(part["same_pages_4k"][total] for part in parts)


def test_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "media")
    assert (found["codec"], found["order"], found["seed"], found["scaled"]) == ("zstd", 4, 0, False)
    assert found["pages"] == 1048576


def test_a_seed_of_more_than_32_bits(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("media", "--blocks", "64")
    totals = [_json(capsys, *words, "--seed", str(seed))["raw_bytes"] for seed in (0, 0, 1, 1 << 32, (1 << 63) - 1)]
    assert totals[0] == totals[1]
    assert len(set(totals)) == 4


def test_the_table_for_people(capsys: pytest.CaptureFixture[str], library: Path) -> None:
    words = ("--library", library, "--codec", "lz4", "--blocks", "1024")
    lines = _run(capsys, "flat", *words).splitlines()
    assert lines[0].strip() == "flat: lz4, 1,024 blocks of 64 KiB"
    rows = [line.split() for line in lines if line.strip()]
    assert ["raw", "bytes", "13,312,000", "15,380,480", "0.8655"] in rows
    assert ["zsmalloc", "bytes", "13,421,773", "15,728,640", "0.8533"] in rows
    assert ["ratio,", "raw", "5.041", "4.363"] in rows
    assert ["50", "%", "13,000", "15,020"] in rows
    assert _run(capsys, *words).splitlines()[0].strip() == "all classes, equal weights: lz4, 3,072 blocks of 64 KiB"


# Bad input


def test_an_unknown_class(capsys: pytest.CaptureFixture[str], library: Path) -> None:
    line = _line(capsys, "browser")
    assert "'browser'" in line
    assert "browser_main" in line
    line = _line(capsys, "media", "--library", library)
    assert "'media'" in line
    assert "flat, noise, zeros" in line


def test_an_unknown_codec(capsys: pytest.CaptureFixture[str]) -> None:
    line = _line(capsys, "media", "--codec", "lzo")
    assert "--codec lzo" in line
    assert "lz4, lzo-rle, zstd" in line


@pytest.mark.parametrize("words", [("--order", "10"), ("--order", "-1"), ("--blocks", "0"), ("--seed", "-1")])
def test_numbers_out_of_range(capsys: pytest.CaptureFixture[str], words: tuple[str, str]) -> None:
    assert words[0] in _line(capsys, "media", *words)


# NumPy leaves the file open when it is a broken archive.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_library_that_was_cut_off(capsys: pytest.CaptureFixture[str], library: Path) -> None:
    library.write_bytes(library.read_bytes()[:1000])
    line = _line(capsys, "flat", "--library", library)
    assert str(library) in line
    assert "is no content library" in line


def test_libraries_that_are_none(capsys: pytest.CaptureFixture[str], library: Path, tmp_path: Path) -> None:
    def said(path: Path) -> str:
        line = _line(capsys, "flat", "--library", path)
        assert str(path) in line
        return line

    assert "No such file" in said(tmp_path / "nowhere.npz")
    text = tmp_path / "text.npz"
    text.write_text("sizes,same\n1,2\n")
    assert "is no content library" in said(text)
    with np.load(library) as file:
        arrays = {name: file[name] for name in file}
    other = tmp_path / "other.npz"
    np.savez(other, **{name: array for name, array in arrays.items() if name != "edges"})
    assert "edges" in said(other)
    np.savez(other, **{**arrays, "sizes": arrays["sizes"][:, :255]})
    assert "(3, 255, 3, 31)" in said(other)
    np.savez(other, **{**arrays, "algos": np.array(["lz4", "zstd", "lzo-rle"])})
    assert "algos" in said(other)
