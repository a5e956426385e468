"""What identities of page contents are a function of, and what is read from them.

An identity is decoded by its documented layout (`fleetswap_kernels.device.content.identity`); sizes and kinds of the
pages of its prototype are looked up in the arrays of data/content/measured.npz, read as they are.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fleetswap
from fleetswap.calibrate.content import simulate_blocks
from fleetswap.check.arrays import DeviceArrays
from fleetswap.scenario.content_library import load_library
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout.counters import SCALAR_NAMES
from fleetswap_kernels.layout.device import BLOCK_BYTES, BLOCK_INFO, BLOCK_LIVE_SHIFT
from fleetswap_kernels.layout.words import CONTENT_ZERO, PTE_PAYLOAD, PTE_PRESENT

LIBRARY = Path(fleetswap.__file__).parent / "data/content/measured.npz"
CLASSES_TABLE = Path(__file__).parents[1] / "data/compressibility/zsmalloc_classes.csv"
CODECS = ("lz4", "lzo-rle", "zstd")
ORDINARY, ZERO_PAGE, SAME_FILLED = range(3)
NAME = "game_managed"
"""None of its prototypes has a zero page."""
PAGES = 8192
"""Pages of a region in most tests: 512 blocks, 16 regions of 2 MiB."""

Words = npt.NDArray[np.int64]


@cache
def library() -> dict[str, npt.NDArray[Any]]:
    with np.load(LIBRARY) as file:
        return {name: file[name] for name in ("classes", "sizes", "same", "edges", "gain_q15")}


@dataclass(frozen=True)
class Identity:
    """Fields of content words."""

    words: Words

    @property
    def rewritten(self) -> Words:
        return self.words >> 30 & 1

    @property
    def content_class(self) -> Words:
        return self.words >> 25 & 31

    @property
    def prototype(self) -> Words:
        return self.words >> 4 & 255

    @property
    def member(self) -> Words:
        return self.words & 15

    @property
    def level(self) -> Words:
        return self.words >> 12 & 31

    @property
    def version(self) -> Words:
        return self.words >> 17 & 255


def run(text: str, device: int = 0) -> tuple[DeviceArrays, dict[str, Any]]:
    """A device after a script, and where its processes' regions are."""
    compiled = compile_script(parse_script(text))
    arena = Arena([(compiled.blueprint, 1)], ONE_THREAD, first_id=device)
    arena.init()
    arena.run(compiled.program, 0, len(compiled.program))
    return DeviceArrays(arena.view(0)), compiled.steps[-1].processes


def contents(text: str, process: str = "0", region: str = "A", device: int = 0) -> Words:
    """What the pages of a region hold after a script; all of them are present."""
    dev, processes = run(text, device)
    number, regions = processes[process]
    r = next(r for r in regions if r.name == region)
    pte = dev.pte.reshape(dev.procs, -1)[number, r.pte : r.pte + r.pages].astype(np.int64)
    assert (pte & PTE_PRESENT).all()
    return dev.content[pte & PTE_PAYLOAD].astype(np.int64)


def filled(name: str = NAME, more: str = "", seed: int = 0, pages: int = PAGES) -> str:
    """A script that writes a region of a class."""
    config = f"cfg zram 1M zstd\ncfg content seed={seed}\n"
    return f"{config}map A {pages} 9 nohugepage\nwrite A 0 {pages} class:{name}\n{more}"


def blocks(words: Words) -> Words:
    """64 KiB blocks that have an ordinary page, a row each."""
    rows = words.reshape(-1, 16)
    return rows[(rows != CONTENT_ZERO).any(axis=1)]


def prototypes(rows: Words) -> Words:
    """Prototype of every block of one class that was written as a whole; zero pages do not tell it."""
    return Identity(rows.max(axis=1)).prototype


def share_equal(a: Words, b: Words) -> float:
    """Share of blocks with the same prototype in both."""
    x, y = a.reshape(-1, 16), b.reshape(-1, 16)
    both = (x != CONTENT_ZERO).any(axis=1) & (y != CONTENT_ZERO).any(axis=1)
    assert both.sum() > 400
    return float((prototypes(x[both]) == prototypes(y[both])).mean())


# What an identity depends on


def test_the_same_seed_gives_the_same_contents() -> None:
    text = filled(seed=11)
    assert contents(text).tolist() == contents(text).tolist()


def test_another_seed_device_process_or_version_gives_other_contents() -> None:
    # Of independent blocks one in 256 has the prototype of the other; where regions happen to be alike up to one in 32,
    # for the jitter around a region's prototype has 32 values. In this class most blocks draw for themselves.
    def many(more: str = "", seed: int = 0) -> str:
        return filled("js_tool", more, seed, 32768)

    again = "map A 32768 9 nohugepage\nwrite A 0 32768 class:js_tool\n"
    second = "".join(f"@1 {line}\n" for line in again.splitlines())
    one = contents(many())
    others = {
        "seed": contents(many(seed=1)),
        "high bit of the seed": contents(many(seed=1 << 31)),
        "device": contents(many(), device=1),
        "process": contents(many(second), process="1"),
        # A process that comes after another has ended is not the same one, even under its number.
        "later process": contents(many(f"exit\n{again}")),
        "version 1": contents(many("write A 0 32768 class:js_tool:1")),
        "version 255": contents(many("write A 0 32768 class:js_tool:255")),
    }
    assert {name: share for name, other in others.items() if (share := share_equal(one, other)) > 0.05} == {}


def test_another_version_gives_another_block() -> None:
    for version in (1, 2, 255):
        words = contents(filled(more=f"write A 0 {PAGES} class:{NAME}:{version}"))
        assert set(Identity(words).version.tolist()) == {version & 255}
    # ... as a function of the version alone, whatever came between.
    through = contents(filled(more=f"write A 0 {PAGES} class:{NAME}:3\nwrite A 0 {PAGES} class:{NAME}:1"))
    assert through.tolist() == contents(filled(more=f"write A 0 {PAGES} class:{NAME}:1")).tolist()


def test_a_child_writes_contents_of_its_own() -> None:
    more = f"fork 1\n@1 write A 0 {PAGES // 2} class:{NAME}\n"
    parent, child = contents(filled(more=more)), contents(filled(more=more), process="1")
    assert child[PAGES // 2 :].tolist() == parent[PAGES // 2 :].tolist()
    assert share_equal(np.tile(child[: PAGES // 2], 2), np.tile(parent[: PAGES // 2], 2)) < 0.1


@pytest.mark.parametrize("name", library()["classes"].tolist())
def test_fields_of_new_identities(name: str) -> None:
    words = contents(filled(name, pages=2048))
    ordinary = np.flatnonzero(words != CONTENT_ZERO)
    one = Identity(words[ordinary])
    assert (one.words >> 31 == 1).all()
    assert not one.rewritten.any()
    assert set(one.content_class.tolist()) == {library()["classes"].tolist().index(name)}
    assert (one.member == ordinary % 16).all(), "the region is aligned to 2 MiB"
    assert set(one.level.tolist()) == {16}, "no scale"
    assert set(one.version.tolist()) == {0}
    rows = blocks(words)
    same_prototype = (Identity(rows).prototype == prototypes(rows)[:, None]) | (rows == CONTENT_ZERO)
    assert same_prototype.all()


@pytest.mark.parametrize("name", library()["classes"].tolist())
def test_zero_pages_are_those_of_the_prototypes(name: str) -> None:
    rows = blocks(contents(filled(name, pages=32768)))
    c = library()["classes"].tolist().index(name)
    kinds = library()["same"][c][prototypes(rows)]
    assert ((rows == CONTENT_ZERO) == (kinds == ZERO_PAGE)).all()


def test_a_fresh_page_is_zero() -> None:
    # Folios of 64 KiB, each there because of one page; a poke is a write fault that changes nothing.
    config = "cfg thp 64=always\ncfg zram 1M zstd\nmap A 48 9 hugepage\n"
    words = contents(config + f"write A 19 1 class:{NAME}\npoke A 5 1\npoke A 47 1")
    assert (np.delete(words, 19) == CONTENT_ZERO).all()
    assert Identity(words[19:20]).member.tolist() == [3]


def test_a_block_that_is_filled_page_by_page_is_like_one_written_whole() -> None:
    config = "cfg zram 1M zstd\nmap A 64 9 nohugepage\n"
    steps = "".join(f"write A {page} 1 class:{NAME}\n" for page in range(64))
    assert contents(config + steps).tolist() == contents(config + f"write A 0 64 class:{NAME}").tolist()


# Rewriting


def test_a_whole_block_that_is_rewritten_is_a_new_one() -> None:
    more = f"randwrite A 1 3000 class:{NAME}:1\nwrite A 0 {PAGES} class:{NAME}:2"
    words = contents(filled(more=more))
    assert words.tolist() == contents(filled(more=f"write A 0 {PAGES} class:{NAME}:2")).tolist()
    one = Identity(words[words != CONTENT_ZERO])
    assert not one.rewritten.any()
    assert (one.version == 2).all()


def test_a_write_is_to_whole_blocks_and_to_pages_alone() -> None:
    # Pages 7..39: the block 16..31 as a whole, the pages around it on their own.
    words = contents(filled(more=f"write A 7 33 class:{NAME}:1"))[:48]
    before = contents(filled())[:48]
    touched = np.r_[7:16, 32:40]
    one = Identity(words)
    assert one.rewritten.nonzero()[0].tolist() == touched.tolist()
    assert (one.version[touched] == 1).all()
    assert (one.version[16:32] == 1).all()
    untouched = np.r_[0:7, 40:48]
    assert words[untouched].tolist() == before[untouched].tolist()
    assert len(set(one.prototype[16:32].tolist())) == 1


@pytest.mark.parametrize("codec", CODECS)
def test_a_page_rewritten_on_its_own_mostly_keeps_its_size(codec: str) -> None:
    # rewrites.json of the measurement: mean rank correlation 0.85 between the sizes before and after.
    pages = 32768
    before = contents(filled(pages=pages))
    # All pages of a block but its first and last: each of them is rewritten alone.
    more = "".join(f"write A {first + 1} 14 class:{NAME}:1\n" for first in range(0, pages, 16))
    after = contents(filled(more=more, pages=pages))
    touched = (np.arange(pages) + 1) % 16 > 1
    assert after[~touched].tolist() == before[~touched].tolist()
    old, new = Identity(before[touched]), Identity(after[touched])
    n = len(old.words)
    assert n >= 20_000
    assert new.rewritten.all()
    assert (new.version == 1).all()
    assert (new.member == old.member).all()
    assert (new.content_class == old.content_class).all()
    c = library()["classes"].tolist().index(NAME)
    sizes = library()["sizes"][c, :, CODECS.index(codec), :16].astype(int)
    kept = sizes[old.prototype, old.member] == sizes[new.prototype, new.member]
    # One that takes the size of another prototype may find the same there.
    again = (sizes[None] == sizes[:, None]).mean(axis=1)
    p = 0.85 + 0.15 * again[old.prototype, old.member]
    assert abs(kept.sum() - p.sum()) <= 6 * math.sqrt((p * (1 - p)).sum())
    # Those that do not are of any prototype alike: 256 bins.
    moved = np.bincount(new.prototype[new.prototype != old.prototype], minlength=256)
    assert abs(moved - moved.mean()).max() <= 6 * math.sqrt(moved.mean())


def test_the_same_version_again_changes_nothing() -> None:
    once = filled(more=f"write A 3 5 class:{NAME}:1")
    assert contents(once + f"\nwrite A 4 2 class:{NAME}:1").tolist() == contents(once).tolist()
    assert contents(filled(more=f"write A 3 5 class:{NAME}:0")).tolist() == contents(filled()).tolist()


def test_a_page_of_another_class_is_no_rewrite() -> None:
    one = Identity(contents(filled(more="write A 3 1 class:native_compiler:1"))[:16])
    assert not one.rewritten.any()
    names = library()["classes"].tolist()
    assert one.content_class[3] == names.index("native_compiler")
    assert (np.delete(one.content_class, 3) == names.index(NAME)).all()


# Sizes


@cache
def raw_from(order: int) -> int:
    """Compressed size from which a block is stored raw, chain size 8."""
    with CLASSES_TABLE.open() as file:
        found = {
            int(row["stored_raw_from"])
            for row in csv.DictReader(file)
            if (row["chain"], row["order"]) == ("8", str(order))
        }
    (value,) = found
    return value


def stored(dev: DeviceArrays, slots: Words, order: int) -> Words:
    """What zram keeps for every block of `slots`: compressed bytes; 0 same-filled; -1 raw, page by page."""
    first = slots[:, 0]
    assert (slots == first[:, None] + np.arange(slots.shape[1])).all()
    info = dev.block[first >> order, BLOCK_INFO].astype(np.int64)
    live = info >> BLOCK_LIVE_SHIFT
    assert np.isin(live, (0, 1 << order)).all()
    of_pages = dev.stored_bytes[slots].astype(np.int64)
    raw = (of_pages == 4096).all(axis=1)
    same = (of_pages == 0).all(axis=1)
    assert (raw | same | (live > 0)).all()
    return np.where(live > 0, info & BLOCK_BYTES, np.where(raw, -1, 0))


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("codec", CODECS)
def test_sizes_of_sub_blocks_are_those_of_the_prototype(codec: str, order: int) -> None:
    pages = 1024
    names = library()["classes"].tolist()
    steps = "".join(
        f"map {name} {pages} 9 hugepage\nwrite {name} 0 {pages} class:{name}\npageout {name} 0 {pages}\n"
        for name in names
    )
    dev, processes = run(f"cfg thp 64=always\ncfg zram 128M {codec}\ncfg blocks {order}\n{steps}")
    seen = 0
    for c, region in enumerate(processes["0"][1]):
        assert region.name == names[c]
        slots = (dev.pte[region.pte : region.pte + pages].astype(np.int64) & PTE_PAYLOAD).reshape(-1, 16)
        words = dev.stored[slots].astype(np.int64)
        # Folios of zeros are in the zero-page bitmap, zram has none of them.
        slots, words = slots[words[:, 0] != 0], words[words[:, 0] != 0]
        assert len(words) > 40
        p = prototypes(words)
        kinds = library()["same"][c][p].reshape(-1, 1 << order)
        row = library()["sizes"][c, p, CODECS.index(codec)].astype(int)
        first, n = {0: (0, 16), 1: (16, 8), 2: (24, 4), 3: (28, 2), 4: (30, 1)}[order]
        want = row[:, first : first + n].reshape(-1)
        want = np.where(want >= raw_from(order), -1, want)
        # Pages filled with a word other than zero: with the same one, if they are side by side.
        want[(kinds == ZERO_PAGE).all(axis=1) | (kinds == SAME_FILLED).all(axis=1)] = 0
        cut = slots.reshape(-1, 1 << order)
        if order == 0:
            found = dev.stored_bytes[cut[:, 0]].astype(np.int64)
            found[found == 4096] = -1
        else:
            found = stored(dev, cut, order)
        assert found.tolist() == want.tolist(), names[c]
        seen += int((want > 0).sum())
    assert seen > 14 * 40 * (16 >> order) // 2


@pytest.mark.parametrize("order", range(4, 10))
@pytest.mark.parametrize("codec", CODECS)
def test_other_blocks_have_the_sum_of_their_pages_times_the_gain(codec: str, order: int) -> None:
    # Orders above 4, and 64 KiB blocks in which pages were rewritten on their own. The gain hangs on the mean page,
    # which finds its bin, and on a rank that a block draws: it lies between the least and the largest of its bin.
    name = "native_compiler"
    c = library()["classes"].tolist().index(name)
    a = CODECS.index(codec)
    rewrite = f"randwrite A 1 3000 class:{name}:1\n" if order == 4 else ""
    text = f"""cfg thp {4 << order}=always
    cfg zram 64M {codec}
    cfg blocks {order}
    map A {PAGES} 9 hugepage
    write A 0 {PAGES} class:{name}
    {rewrite}pageout A 0 {PAGES}"""
    dev, _ = run(text)
    slots = (dev.pte[:PAGES].astype(np.int64) & PTE_PAYLOAD).reshape(-1, 1 << order)
    words = dev.stored[slots].astype(np.int64)
    if order == 4:
        some = Identity(words).rewritten.any(axis=1)
        assert some.sum() > 400
        slots, words = slots[some], words[some]
    plain = (words != CONTENT_ZERO).all(axis=1)
    assert plain.mean() > 0.5
    slots, words = slots[plain], words[plain]
    one = Identity(words)
    total = library()["sizes"][c, one.prototype, a, one.member].astype(int).sum(axis=1)
    at = np.searchsorted(library()["edges"][c, a], total >> order)
    knots = library()["gain_q15"][c, a, order][at].astype(int)
    found = stored(dev, slots, order)
    assert (found >= total * knots.min(axis=1) >> 15).all()
    assert (found <= total * knots.max(axis=1) >> 15).all()
    # Blocks of one bin have gains of their own.
    bins, blocks_of_bin = np.unique(at, return_counts=True)
    most = bins[blocks_of_bin.argmax()]
    assert len(set(np.round(found / total, 3)[at == most].tolist())) >= min(5, blocks_of_bin.max() // 2)


@pytest.mark.parametrize("order", range(10))
def test_no_block_is_larger_than_itself(order: int) -> None:
    # Scales reach far above 1, so that much does not compress any more.
    capped = 0
    for seed in range(8):
        for name in ("media", "python_data", "js_app"):
            found = simulate_blocks(load_library(), name, "lz4", order, 8192 >> order, seed, scaled=True)
            for sizes in (found.raw, found.stored):
                assert (sizes <= 4096 << order).all()
            assert (found.raw >= 1).all()
            assert (found.members <= 4096 << order).all()
            capped += int((found.raw == 4096 << order).sum())
    assert capped > 0


@pytest.mark.parametrize("order", range(1, 7))
def test_a_block_of_zeros_takes_nothing(order: int) -> None:
    # A folio of 1 MiB, of which the last quarter was written.
    text = f"""cfg thp 1024=always
    cfg zram 64M zstd
    cfg blocks {order}
    map A 256 9 hugepage
    write A 192 64 class:native_db
    pageout A 0 256"""
    dev, _ = run(text)
    slots = (dev.pte[:192].astype(np.int64) & PTE_PAYLOAD).reshape(-1, 1 << order)
    assert (dev.stored[slots] == CONTENT_ZERO).all()
    assert not stored(dev, slots, order).any()
    assert dev.counter[SCALAR_NAMES.index("same_pages")] >= 192
    assert dev.counter[SCALAR_NAMES.index("pages_stored")] == 256 + 1


# Scale


@cache
def drawn_levels() -> Words:
    """Scale levels of 20,000 processes: 5,000 one after the other on each of 4 devices."""
    text = "cfg zram 1M zstd\ncfg content scaled\nmap A 16 9 nohugepage\nwrite A 0 16 class:native_db\nexit\n"
    compiled = compile_script(parse_script(text))
    arena = Arena([(compiled.blueprint, 4)], ONE_THREAD, first_id=100)
    arena.init()
    devices = [DeviceArrays(arena.view(d)) for d in range(4)]
    assert compiled.program[:, 0].tolist() == [ops.PROC, ops.MAP, ops.TOUCH, ops.EXIT]
    levels = []
    for _ in range(5000):
        arena.run(compiled.program, 0, 3)
        for dev in devices:
            word = dev.content[dev.pte[1] & PTE_PAYLOAD]
            assert word >> 31 == 1
            levels.append(int(word) >> 12 & 31)
        arena.run(compiled.program, 3, 4)
    return np.array(levels)


def test_scale_levels_are_as_many_as_heads_of_32_coins() -> None:
    levels = drawn_levels()
    n = len(levels)
    assert n == 20_000
    # Binomial: mean 16, variance 8, fourth central moment 3 * 8 * 8 + 8 * (1 - 6 / 4) = 188. Six standard errors.
    assert abs(levels.mean() - 16) <= 6 * math.sqrt(8 / n)
    assert abs(levels.var(ddof=1) - 8) <= 6 * math.sqrt((188 - 64) / n)
    counts = np.bincount(levels, minlength=33)
    for level, count in enumerate(counts.tolist()):
        p = math.comb(32, level) / 2**32
        # Six standard errors, and a few for the rare levels, which are no normal variables.
        assert abs(count - n * p) <= 6 * math.sqrt(n * p * (1 - p)) + 3, level


def test_scale_levels_of_devices_and_processes_are_independent() -> None:
    by_device = drawn_levels().reshape(-1, 4).astype(float)
    n = len(by_device)
    between = np.corrcoef(by_device.T)[np.triu_indices(4, 1)]
    following = [np.corrcoef(column[1:], column[:-1])[0, 1] for column in by_device.T]
    assert np.abs([*between, *following]).max() <= 6 / math.sqrt(n)


@pytest.mark.parametrize("codec", CODECS)
def test_scaled_pages(codec: str) -> None:
    # Level 16 is a factor of 1, a level 2^(1/8), in 2^-12; a page has at least a byte.
    name = "media"
    c = library()["classes"].tolist().index(name)
    steps = "".join(
        f"@{p} map A 128 9 nohugepage\n@{p} write A 0 128 class:{name}\n@{p} pageout A 0 128\n" for p in range(20)
    )
    dev, _ = run(f"cfg zram 64M {codec}\ncfg content scaled\n{steps}")
    words = dev.stored.astype(np.int64)
    slots = np.flatnonzero(words >> 31)
    one = Identity(words[slots])
    ordinary = library()["same"][c, one.prototype, one.member] == ORDINARY
    slots, one = slots[ordinary], Identity(one.words[ordinary])
    assert len(slots) > 2000
    assert len(set(one.level.tolist())) > 5
    factor = np.array([round(2 ** ((level - 16) / 8) * 4096) for level in range(32)])
    size = library()["sizes"][c, one.prototype, CODECS.index(codec), one.member].astype(int)
    want = np.maximum(size * factor[one.level] >> 12, 1)
    want[want >= 3625] = 4096
    assert dev.stored_bytes[slots].tolist() == want.tolist()
