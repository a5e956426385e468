"""Cost profiles: what is paid for which event, and how a profile is read or refused.

Prices are worked out by hand from a made-up profile whose numbers are all different; what a device counts in a short
script follows from spec 03 (swap-out), 05 (swap-in), 06 (anonymous faults) and 08 (zram, blocks).
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fleetswap.errors import InputError
from fleetswap.fleet.price import Price, price
from fleetswap.scenario.content_library import class_names
from fleetswap.scenario.cost import BUILT_IN, CodecCost, CostProfile, load_profile
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout.counters import FOLIO_ALLOC, N_COUNTERS, SCALAR_NAMES, codec_index, mthp_index

FIT = Path(__file__).parents[2] / "docs/calibration/fit_profiles.py"
FAULT, MAP, FILL, COPY, READ, WRITE, SPLIT, OUT_FOLIO, OUT_PAGE = 3, 5, 7, 11, 13, 17, 19, 23, 29
ALLOC = (31, 37, 41, 43, 47, 53, 59, 61, 67, 71)
COMPRESS = tuple(1_000_000 + 1000 * order for order in range(10))
DECOMPRESS = tuple(2_000_000 + 1000 * order for order in range(10))
PROFILE = CostProfile(
    name="hand",
    source="made up",
    fault_ns=FAULT,
    map_page_ns=MAP,
    fill_page_ns=FILL,
    copy_page_ns=COPY,
    object_read_ns=READ,
    object_write_ns=WRITE,
    alloc_ns=ALLOC,
    split_ns=SPLIT,
    swapout_folio_ns=OUT_FOLIO,
    swapout_page_ns=OUT_PAGE,
    codec={"lz4": CodecCost(compress_ns=COMPRESS, decompress_ns=DECOMPRESS)},
)
STALL = ("fault", "map", "allocate", "fill", "copy", "zram read", "decompress")
SWAPOUT = ("unmap", "split", "zram write", "compress")
BACKGROUND = ("rewrite",)
KIB_64 = 65536

Events = npt.NDArray[np.int64]


def scalar(name: str) -> int:
    return SCALAR_NAMES.index(name)


def counted(changes: dict[int, int], times: int = 1) -> Events:
    """Counters of one device."""
    events = np.zeros(N_COUNTERS, dtype=np.int64)
    for index, n in changes.items():
        events[index] = n * times
    return events


def check(paid: Price, parts: dict[str, int], decompressed_bytes: int = 0) -> None:
    """A price has these parts, nothing else, and its sums are theirs."""
    assert {name: int(ns) for name, ns in paid.parts.items()} == dict.fromkeys(STALL + SWAPOUT + BACKGROUND, 0) | parts
    stall, swapout, background = (sum(parts.get(n, 0) for n in names) for names in (STALL, SWAPOUT, BACKGROUND))
    assert (int(paid.stall_ns), int(paid.swapout_ns), int(paid.background_ns)) == (stall, swapout, background)
    assert int(paid.decompressed_bytes) == decompressed_bytes


# What happens, the counters it raises by how much, and what it costs. Blocks are those of 64 KiB.
EVENTS: list[tuple[str, dict[int, int], dict[str, int]]] = [
    ("fault", {scalar("pgfault"): 1}, {"fault": FAULT}),
    ("mapped page", {scalar("fault_pages"): 1}, {"map": MAP}),
    ("new page", {scalar("anon_pages"): 1}, {"fill": FILL}),
    ("same-filled page from zram", {scalar("pswpin"): 1}, {"fill": FILL}),
    ("page from the zeromap", {scalar("swpin_zero"): 1}, {"fill": FILL}),
    ("copy on write", {scalar("copied_pages"): 1}, {"copy": COPY}),
    ("raw page from zram", {scalar("pswpin"): 1, scalar("huge_reads"): 1}, {"copy": COPY, "zram read": READ}),
    (
        "page decompressed",
        {scalar("pswpin"): 1, codec_index("decompressed_pages", 3): 1},
        {"zram read": READ, "decompress": DECOMPRESS[0]},
    ),
    (
        "block decompressed",
        {scalar("pswpin"): 16, scalar("blk_pages_read"): 16, codec_index("decompressed_blocks", 3): 1},
        {"zram read": READ, "decompress": DECOMPRESS[4]},
    ),
    (
        "block decompressed for one page",
        {scalar("pswpin"): 1, scalar("blk_pages_read"): 1, codec_index("decompressed_blocks", 31): 1},
        {"zram read": READ, "decompress": DECOMPRESS[4]},
    ),
    ("folio unmapped", {scalar("swapout_folios"): 1}, {"unmap": OUT_FOLIO}),
    ("page written", {scalar("pswpout"): 1}, {"unmap": OUT_PAGE}),
    ("page to the zeromap", {scalar("swpout_zero"): 1}, {"unmap": OUT_PAGE}),
    ("page compressed", {codec_index("compressed_pages", 0): 1}, {"zram write": WRITE, "compress": COMPRESS[0]}),
    ("block compressed", {codec_index("compressed_blocks", 0): 1}, {"zram write": WRITE, "compress": COMPRESS[4]}),
    *((f"folio of order {k}", {FOLIO_ALLOC + k: 1}, {"allocate": ALLOC[k]}) for k in range(10)),
    *((f"split of order {k}", {mthp_index("split", k): 1}, {"split": SPLIT}) for k in range(2, 10)),
]
# Counters that stand in a price, alone or with others.
PRICED = {index for _, changes, _ in EVENTS for index in changes} | {
    scalar("blk_decomp_bytes"),
    scalar("blk_rewrite"),
    *range(counters.CODEC_FIRST, N_COUNTERS),
}


@pytest.mark.parametrize("times", [1, 7])
@pytest.mark.parametrize(("changes", "parts"), [e[1:] for e in EVENTS], ids=[e[0] for e in EVENTS])
def test_an_event_costs_what_the_profile_says(changes: dict[int, int], parts: dict[str, int], times: int) -> None:
    paid = price(counted(changes, times), PROFILE, "lz4", 4)
    decompressed = 4096 * times * sum(n for i, n in changes.items() if i == codec_index("decompressed_pages", 3))
    check(paid, {name: ns * times for name, ns in parts.items()}, decompressed)


def test_all_other_counters_cost_nothing() -> None:
    others = set(range(N_COUNTERS)) - PRICED
    assert {scalar("pgmajfault"), scalar("compr_data_size"), scalar("pool_pages"), scalar("blk_decomp")} <= others
    check(price(counted(dict.fromkeys(others, 1000)), PROFILE, "lz4", 4), {})


@pytest.mark.parametrize("order", range(10))
def test_the_block_order_picks_the_time_of_a_block(order: int) -> None:
    blocks = {codec_index("compressed_blocks", 5): 2, codec_index("decompressed_blocks", 5): 3}
    blocks |= {scalar("pswpin"): 3 << order, scalar("blk_pages_read"): 3 << order}
    blocks |= {scalar("blk_decomp"): 3, scalar("blk_decomp_bytes"): 3 * 4096 << order}
    work = {"zram read": 3 * READ, "decompress": 3 * DECOMPRESS[order]}
    work |= {"zram write": 2 * WRITE, "compress": 2 * COMPRESS[order]}
    check(price(counted(blocks), PROFILE, "lz4", order), work, 3 * 4096 << order)


@pytest.mark.parametrize("order", [2, 4])
def test_bytes_of_rewrites_were_not_put_out_for_faults(order: int) -> None:
    # Two blocks and five pages for faults, three blocks for the worker that rewrites sparse ones.
    read = {scalar("blk_decomp_bytes"): (2 + 3) * 4096 << order, scalar("blk_decomp"): 5, scalar("blk_rewrite"): 3}
    read |= {codec_index("decompressed_blocks", 1): 2, codec_index("decompressed_pages", 2): 5}
    read |= {scalar("pswpin"): 7, scalar("blk_pages_read"): 2}
    paid = price(counted(read), PROFILE, "lz4", order)
    assert int(paid.decompressed_bytes) == 5 * 4096 + 2 * (4096 << order)
    assert int(paid.parts["rewrite"]) == int(paid.background_ns) == 3 * (DECOMPRESS[order] + READ)
    assert int(paid.parts["decompress"]) == 5 * DECOMPRESS[0] + 2 * DECOMPRESS[order]


def test_a_class_has_its_share_of_the_time_in_each_direction() -> None:
    cost = CodecCost(
        compress_ns=(1000,) * 10,
        decompress_ns=(2000,) * 10,
        compress_permille={"even": 917, "odd": 1313},
        decompress_permille={"odd": 500},
    )
    profile = PROFILE.model_copy(update={"codecs": {"zstd": cost}})
    work = ("compressed_pages", "compressed_blocks", "decompressed_pages", "decompressed_blocks")
    # Classes 0 "odd", 1 "plain", 2 "even", and 31, contents of a table, which have no name.
    events = counted(
        {codec_index(name, c): n for name, n in zip(work, (3, 4, 5, 6), strict=True) for c in (0, 1, 2, 31)}
    )
    parts = price(events, profile, "zstd", 4, ("odd", "plain", "even")).parts
    assert int(parts["compress"]) == 7 * (1313 + 1000 + 917 + 1000)
    assert int(parts["decompress"]) == 11 * (1000 + 2000 + 2000 + 2000)
    # Without names every class is the mix.
    assert int(price(events, profile, "zstd", 4).parts["compress"]) == 7 * 4000


def random_events(seed: int, shape: tuple[int, ...]) -> Events:
    return np.random.default_rng(seed).integers(0, 1 << 20, (*shape, N_COUNTERS), dtype=np.int64)


def all_of(paid: Price) -> dict[str, Events]:
    sums = {"stall": paid.stall_ns, "swapout": paid.swapout_ns, "background": paid.background_ns}
    return {**paid.parts, **sums, "bytes": paid.decompressed_bytes}


def test_a_fleet_is_priced_like_its_devices() -> None:
    events = random_events(1, (5,))
    fleet = all_of(price(events, PROFILE, "lz4", 2, class_names()))
    alone = [all_of(price(device, PROFILE, "lz4", 2, class_names())) for device in events]
    for name, column in fleet.items():
        assert column.shape == (5,), name
        assert alone[0][name].shape == (), name
        assert column.tolist() == [int(device[name]) for device in alone], name


def test_prices_add_up() -> None:
    first, second = random_events(2, (3,)), random_events(3, (3,))
    one, other, both = (all_of(price(e, PROFILE, "lz4", 4)) for e in (first, second, first + second))
    for name, column in both.items():
        assert column.tolist() == (one[name] + other[name]).tolist(), name


def test_no_device_costs_nothing() -> None:
    paid = price(np.zeros((0, N_COUNTERS), dtype=np.int64), PROFILE, "lz4", 4)
    assert {name: column.shape for name, column in all_of(paid).items()} == dict.fromkeys(all_of(paid), (0,))


def test_a_codec_without_times_is_refused() -> None:
    with pytest.raises(InputError, match=r"^cost profile hand: has no times of codec 'zstd'; it has lz4$"):
        price(counted({}), PROFILE, "zstd", 4)


def replayed(script: str) -> Events:
    """What the operations of a script change in a device's counters."""
    compiled = compile_script(parse_script(f"cfg page_cluster 0\n{script}\n"))
    arena = Arena([(compiled.blueprint, 1)], ONE_THREAD)
    arena.init()
    before = arena.counters()[0].astype(np.int64)
    arena.run(compiled.program, 0, len(compiled.program))
    return arena.counters()[0].astype(np.int64) - before


SMALL = "cfg zram 4M lz4\nmap A 4 0 nohugepage\n"
LARGE = "cfg thp 64=always\ncfg zram 4M lz4\nmap A 16 4 hugepage\n"
BLOCKS = f"cfg blocks 4\n{LARGE}"
ROUND_TRIP = "pageout A 0 16\nread A 0 16"
# A first write is one fault of a folio, which is cleared (spec 06 §6.1); so is a read of what was swapped out, if it
# comes in as a folio, else one fault a page (spec 05 §5.2, 5.3).
WRITE_64K = {"fault": FAULT, "map": 16 * MAP, "allocate": ALLOC[4], "fill": 16 * FILL}
OUT_64K = {"unmap": OUT_FOLIO + 16 * OUT_PAGE}
TWO_64K = {"fault": 2 * FAULT, "map": 32 * MAP, "allocate": 2 * ALLOC[4], "fill": 16 * FILL}
FOUR_PAGES_TWICE = {"fault": 8 * FAULT, "map": 8 * MAP, "allocate": 8 * ALLOC[0], "fill": 4 * FILL}
OUT_FOUR_PAGES = {"unmap": 4 * (OUT_FOLIO + OUT_PAGE), "zram write": 4 * WRITE, "compress": 4 * COMPRESS[0]}
SCRIPTS: list[tuple[str, str, dict[str, int], int]] = [
    ("only written", f"{LARGE}write A 0 16 fill:0x11", WRITE_64K, 0),
    ("same-filled", f"{LARGE}write A 0 16 fill:0x11\n{ROUND_TRIP}", TWO_64K | OUT_64K | {"fill": 32 * FILL}, 0),
    ("zero", f"{LARGE}write A 0 16 zero\n{ROUND_TRIP}", TWO_64K | OUT_64K | {"fill": 32 * FILL}, 0),
    (
        "same-filled, page by page",
        f"cfg swapin small\n{LARGE}write A 0 16 fill:0x11\n{ROUND_TRIP}",
        OUT_64K | {"fault": 17 * FAULT, "map": 32 * MAP, "allocate": ALLOC[4] + 16 * ALLOC[0], "fill": 32 * FILL},
        0,
    ),
    (
        "single pages that compress",
        f"{SMALL}write A 0 4 text:1\npageout A 0 4\nread A 0 4",
        FOUR_PAGES_TWICE | OUT_FOUR_PAGES | {"zram read": 4 * READ, "decompress": 4 * DECOMPRESS[0]},
        4 * 4096,
    ),
    (
        "single pages that do not compress",
        f"{SMALL}write A 0 4 rand:1\npageout A 0 4\nread A 0 4",
        FOUR_PAGES_TWICE | OUT_FOUR_PAGES | {"zram read": 4 * READ, "copy": 4 * COPY},
        0,
    ),
    (
        "folio of compressed pages",
        f"{LARGE}write A 0 16 text:1\n{ROUND_TRIP}",
        TWO_64K
        | OUT_64K
        | {"zram write": 16 * WRITE, "compress": 16 * COMPRESS[0]}
        | {"zram read": 16 * READ, "decompress": 16 * DECOMPRESS[0]},
        KIB_64,
    ),
    # No block of java_app is incompressible (data/content/measured.npz), and only whole ones are same-filled.
    (
        "block",
        f"{BLOCKS}write A 0 16 class:java_app\n{ROUND_TRIP}",
        TWO_64K
        | OUT_64K
        | {"zram write": WRITE, "compress": COMPRESS[4], "zram read": READ, "decompress": DECOMPRESS[4]},
        KIB_64,
    ),
    (
        # Every fault decompresses the whole block (spec 08 §8.5: B order-0 faults cost B x B pages of work).
        "block, page by page",
        f"cfg swapin small\n{BLOCKS}write A 0 16 class:java_app\n{ROUND_TRIP}",
        OUT_64K
        | {"fault": 17 * FAULT, "map": 32 * MAP, "allocate": ALLOC[4] + 16 * ALLOC[0], "fill": 16 * FILL}
        | {"zram write": WRITE, "compress": COMPRESS[4], "zram read": 16 * READ, "decompress": 16 * DECOMPRESS[4]},
        16 * KIB_64,
    ),
    (
        # No folio of 64 KiB at swap-in: small ones, mapped by one fault from one decompression.
        "block, by small folios",
        f"cfg blocks 4 fallback\n{LARGE}verdict folio 64 10\nwrite A 0 16 class:java_app\n{ROUND_TRIP}",
        OUT_64K
        | {"fault": 2 * FAULT, "map": 32 * MAP, "allocate": ALLOC[4] + 16 * ALLOC[0], "fill": 16 * FILL}
        | {"zram write": WRITE, "compress": COMPRESS[4], "zram read": READ, "decompress": DECOMPRESS[4]},
        KIB_64,
    ),
    (
        # A range inside a folio splits it; only the range is swapped out, page by page (spec 03 §3.4).
        "split",
        f"{LARGE}write A 0 16 fill:0x11\npageout A 0 4",
        WRITE_64K | {"split": SPLIT, "unmap": 4 * (OUT_FOLIO + OUT_PAGE)},
        0,
    ),
    (
        "copy on write",
        f"{SMALL}write A 0 1 fill:0x11\nfork 1\n@1 write A 0 1 fill:0x22",
        {"fault": 2 * FAULT, "map": 2 * MAP, "allocate": 2 * ALLOC[0], "fill": FILL, "copy": COPY},
        0,
    ),
]


@pytest.mark.parametrize(("script", "parts", "decompressed"), [s[1:] for s in SCRIPTS], ids=[s[0] for s in SCRIPTS])
def test_a_device_pays_what_the_spec_says_it_does(script: str, parts: dict[str, int], decompressed: int) -> None:
    check(price(replayed(script), PROFILE, "lz4", 4, class_names()), parts, decompressed)


def test_a_device_pays_its_class_of_content() -> None:
    cost = CodecCost(
        compress_ns=COMPRESS,
        decompress_ns=DECOMPRESS,
        compress_permille={"java_app": 1500, "media": 1},
        decompress_permille={"java_app": 250, "media": 1},
    )
    events = replayed(f"{BLOCKS}write A 0 16 class:java_app\n{ROUND_TRIP}")
    parts = price(events, PROFILE.model_copy(update={"codecs": {"lz4": cost}}), "lz4", 4, class_names()).parts
    # 1,004,000 and 2,004,000 ns a block of order 4.
    assert (int(parts["compress"]), int(parts["decompress"])) == (1_506_000, 501_000)


def test_the_patchs_phone_has_the_patchs_swap_in_times() -> None:
    # Bytes/ms of same-filled pages, single and in folios of 16, as ns a page.
    single, by_folio = 4096e6 / 621_310, 4096e6 / 1_137_359
    profile = load_profile("patch-phone")
    each = profile.map_page_ns + profile.fill_page_ns
    assert profile.fault_ns + each == round(single)
    assert round(profile.fault_ns / 16 + each) == round(by_folio)
    # The two equations solved.
    fault = (single - by_folio) * 16 / 15
    assert profile.fault_ns == round(fault)
    assert each == round(single - fault)


def test_the_server_has_the_measured_times() -> None:
    # us a page, same-filled: 4K out 7.6 in 7.7, 64K folios out 3.5 in 1.6.
    profile = load_profile("x86-server")
    each = profile.map_page_ns + profile.fill_page_ns
    assert profile.fault_ns + each == 7700
    assert round(profile.fault_ns / 16 + each) == 1600
    assert profile.swapout_folio_ns + profile.swapout_page_ns == 7600
    assert round(profile.swapout_folio_ns / 16 + profile.swapout_page_ns) == 3500


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_profiles_know_every_codec_and_class_and_larger_blocks_take_longer(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert set(profile.codecs) == {"lz4", "lzo-rle", "zstd"}
    for cost in profile.codecs.values():
        assert set(cost.compress_permille) == set(cost.decompress_permille) == set(class_names())
        for times in (cost.compress_ns, cost.decompress_ns):
            assert all(a < b for a, b in pairwise(times))


COMPLETE = """\
name = "mine"
source = "a guess"
fault_ns = 1
map_page_ns = 2
fill_page_ns = 3
copy_page_ns = 4
object_read_ns = 5
object_write_ns = 6
alloc_ns = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
split_ns = 17
swapout_folio_ns = 18
swapout_page_ns = 19

[codec.lz4]
compress_ns = [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]
decompress_ns = [30, 31, 32, 33, 34, 35, 36, 37, 38, 39]
compress_permille = { media = 900 }
"""


def profile_file(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    assert load_profile(profile_file(tmp_path, COMPLETE)) == CostProfile(
        name="mine",
        source="a guess",
        fault_ns=1,
        map_page_ns=2,
        fill_page_ns=3,
        copy_page_ns=4,
        object_read_ns=5,
        object_write_ns=6,
        alloc_ns=tuple(range(7, 17)),
        split_ns=17,
        swapout_folio_ns=18,
        swapout_page_ns=19,
        codec={
            "lz4": CodecCost(
                compress_ns=tuple(range(20, 30)),
                decompress_ns=tuple(range(30, 40)),
                compress_permille={"media": 900},
            )
        },
    )


@pytest.mark.parametrize("parent", BUILT_IN)
def test_a_file_inherits_what_it_leaves_out(tmp_path: Path, parent: str) -> None:
    base = load_profile(parent)
    assert load_profile(profile_file(tmp_path, f'inherits = "{parent}"\n')) == base
    times = list(range(100, 110))
    text = f'inherits = "{parent}"\nname = "mine"\nsplit_ns = 7\n[codec.zstd]\ndecompress_ns = {times}\n'
    mine = load_profile(profile_file(tmp_path, text))
    assert mine.codecs["zstd"].decompress_ns == tuple(times)
    assert mine.codecs["zstd"].compress_ns == base.codecs["zstd"].compress_ns
    assert {name: mine.codecs[name] for name in ("lz4", "lzo-rle")} == {
        name: base.codecs[name] for name in ("lz4", "lzo-rle")
    }
    assert mine == base.model_copy(update={"name": "mine", "split_ns": 7, "codecs": mine.codecs})


INHERIT = 'inherits = "x86-server"\n'
TIMES = "[20, 21, 22, 23, 24, 25, 26, 27, 28, 29]"
# What the file says, and what the message must name: key, value, and what is allowed.
NS = "are whole numbers 0 to 1000000000"
TEN = f"lists of 10 {NS.removeprefix('are ')}"
BAD: list[tuple[str, str, list[str]]] = [
    ("unknown key", COMPLETE.replace("fault_ns", "falt_ns"), ["falt_ns: unknown key", "fault_ns"]),
    ("unlike any key", f"{COMPLETE}[xyz]\n", ["xyz: unknown key", "fault_ns", "codec", "inherits"]),
    ("negative", COMPLETE.replace("split_ns = 17", "split_ns = -1"), ["split_ns", "-1", NS]),
    ("bool", COMPLETE.replace("fault_ns = 1", "fault_ns = true"), ["fault_ns", "true", NS]),
    ("fraction", COMPLETE.replace("fault_ns = 1", "fault_ns = 1.5"), ["fault_ns", "1.5", NS]),
    ("whole fraction", COMPLETE.replace("fault_ns = 1", "fault_ns = 1.0"), ["fault_ns", "1.0", NS]),
    ("date", COMPLETE.replace("fault_ns = 1", "fault_ns = 1979-05-27"), ["fault_ns", "1979-05-27", NS]),
    ("text for a number", f'{INHERIT}map_page_ns = "4"', ["map_page_ns", "'4'", NS]),
    ("number for a text", f"{INHERIT}name = 3", ["name", "3", "texts"]),
    ("two lines", f'{INHERIT}fault_ns = "a\\nb"', ["fault_ns", r"'a\nb'", NS]),
    ("too short", f"{INHERIT}alloc_ns = [1, 2, 3]", ["alloc_ns", "a list of 3", TEN]),
    ("too long", f"{INHERIT}alloc_ns = {list(range(11))}", ["alloc_ns", "a list of 11", TEN]),
    ("no array", f"{INHERIT}alloc_ns = 5", ["alloc_ns", "5", TEN]),
    ("negative in an array", f"{INHERIT}alloc_ns = [0, 0, 0, 0, 0, 0, 0, 0, 0, -4]", ["alloc_ns.9", "-4", NS]),
    ("bool in an array", f"{INHERIT}alloc_ns = [0, 0, 0, 0, 0, 0, 0, 0, 0, true]", ["alloc_ns.9", "true", NS]),
    ("missing key", COMPLETE.replace("split_ns = 17\n", ""), ["split_ns: is missing", NS]),
    ("missing name", COMPLETE.replace('name = "mine"\n', ""), ["name: is missing", "texts"]),
    ("empty", "", ["name: is missing", "texts"]),
    (
        "codec without a time",
        f"{COMPLETE}[codec.zstd]\ncompress_ns = {TIMES}\n",
        ["codec.zstd.decompress_ns: is missing", TEN],
    ),
    ("codec's time", f"{INHERIT}[codec.lz4]\ncompress_ns = [1]", ["codec.lz4.compress_ns", "a list of 1", TEN]),
    ("unknown codec", f"{INHERIT}[codec.lz5]\ncompress_ns = {TIMES}", ["codec.lz5", "lz4, lzo-rle, zstd"]),
    ("misspelt codec table", f"{INHERIT}[codecs.lz4]\ncompress_ns = {TIMES}", ["codecs: unknown key", "codec?"]),
    (
        "unknown key of a codec",
        f"{INHERIT}[codec.lz4]\nxyz = {TIMES}",
        ["codec.lz4.xyz: unknown key", "compress_ns", "decompress_permille"],
    ),
    ("codec no table", f"{INHERIT}[codec]\nlz4 = 3", ["codec.lz4", "3", "a table"]),
    ("codecs no table", f"{INHERIT}codec = 3", ["codec", "3", "a table"]),
    (
        "permille no table",
        f"{INHERIT}[codec.lz4]\ncompress_permille = 900",
        ["codec.lz4.compress_permille", "900", "a table"],
    ),
    (
        "negative permille",
        f"{INHERIT}[codec.lz4]\ndecompress_permille = {{ media = -9 }}",
        ["codec.lz4.decompress_permille.media", "-9", NS],
    ),
    ("unknown parent", 'inherits = "phone"', ["inherits", "'phone'", "patch-phone, x86-server"]),
    ("parent no text", "inherits = 3", ["inherits", "3", "patch-phone, x86-server"]),
    ("no TOML", "fault_ns = \n", ["no TOML", "line 1"]),
    ("a key twice", f"{INHERIT}split_ns = 1\nsplit_ns = 2\n", ["no TOML", "line 3"]),
]


@pytest.mark.parametrize(("text", "names"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_bad_profile_is_refused_in_one_line(tmp_path: Path, text: str, names: list[str]) -> None:
    path = profile_file(tmp_path, text)
    with pytest.raises(InputError) as refused:
        load_profile(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: ")
    assert len(said.splitlines()) == 1
    for name in names:
        assert name in said.removeprefix(path)


def test_a_profile_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'name = "caf\xe9"\n')
    with pytest.raises(InputError, match=r"mine\.toml: line 1: byte 0xe9 .* UTF-8"):
        load_profile(str(path))


def test_a_missing_profile_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    with pytest.raises(InputError) as refused:
        load_profile(path)
    assert str(refused.value) == f"{path}: cannot be read: No such file or directory"


@pytest.mark.parametrize("name", ["phone", "patch-phone.tml", ""])
def test_an_unknown_profile_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InputError) as refused:
        load_profile(name)
    said = str(refused.value)
    assert repr(name) in said
    assert "patch-phone, x86-server" in said
    assert ".toml" in said


def test_a_codec_inherits_what_its_table_leaves_out(tmp_path: Path) -> None:
    parent = load_profile("patch-phone").codecs["lz4"]
    text = 'inherits = "patch-phone"\n[codec.lz4]\ncompress_ns = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n'
    child = load_profile(profile_file(tmp_path, text)).codecs["lz4"]
    assert child == parent.model_copy(update={"compress_ns": tuple(range(1, 11))})
    assert child.decompress_permille


def test_more_than_a_second_for_one_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fault_ns: 1000000001 is not possible"):
        load_profile(profile_file(tmp_path, f"{INHERIT}fault_ns = 1000000001\n"))


def test_the_built_in_profiles_are_what_their_fit_prints() -> None:
    done = subprocess.run([sys.executable, str(FIT)], capture_output=True, text=True, check=True)
    for part in done.stdout.split("# ")[1:]:
        name, _, text = part.partition("\n")
        fitted, profile = tomllib.loads(text), load_profile(name)
        for codec, times in fitted.pop("codec").items():
            for key, value in times.items():
                assert getattr(profile.codecs[codec], key) == tuple(value), (name, codec, key)
        assert {key: getattr(profile, key) for key in fitted} == fitted
