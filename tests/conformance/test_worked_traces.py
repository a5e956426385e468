"""The hand-checked traces T1 to T15 of the specification (spec 10), step by step.

Every expectation here is copied from the specification, which derives it on paper.
"""

from __future__ import annotations

from typing import Any

from fleetswap.script.language import parse_script
from fleetswap.script.replay import replay

D64 = "cfg zram 64M lz4"


def trace(setup: str, steps: str) -> list[dict[str, Any]]:
    """Dumps of a script with page_cluster 0 unless the setup says otherwise."""
    first = "" if "page_cluster" in setup else "cfg page_cluster 0\n"
    return list(replay(parse_script(first + setup + "\n" + steps)))


def pages(dump: dict[str, Any], region: str = "A", process: str = "0") -> list[Any]:
    """State of every page: a swap offset, or the letter of its kind."""
    out: list[Any] = []
    for run in dump["procs"][process]["regions"][region]["runs"]:
        out += [run[3] + i if run[0] == "s" else run[0] for i in range(run[2])]
    return out


def slots(dump: dict[str, Any]) -> dict[int, int]:
    """swap_map bytes that are not zero, without the header's."""
    return {s + i: v for s, n, v in dump["kernel"]["swap_map"] if v for i in range(n) if s + i}


def cluster(dump: dict[str, Any], number: int) -> tuple[int, int, int]:
    """(count, flags, order) of a cluster."""
    return next((c[2], c[3], c[4]) for c in dump["kernel"]["clusters"] if c[0] <= number < c[0] + c[1])


def members(runs: list[list[int]]) -> list[int]:
    """A cluster list, head first."""
    return [first + i * step for first, n, step in runs for i in range(n)]


def span(first: int, last: int, value: int) -> dict[int, int]:
    """Slots `first` to `last`, each with a byte."""
    return dict.fromkeys(range(first, last + 1), value)


NONFULL, FRAG, FULL = 2, 4, 8


def test_t1_one_folio_out_in_out() -> None:
    out, read, again = trace(
        f"cfg thp 64=always\n{D64}",
        """map A 16 9 hugepage
        write A 0 16 text:1
        pageout A 0 16
        dump out
        read A 5 1
        dump in
        pageout A 0 16
        dump again""",
    )
    assert pages(out) == list(range(512, 528))
    assert slots(out) == span(512, 527, 1)
    assert cluster(out, 1) == (16, NONFULL, 4)
    assert members(out["kernel"]["free"]) == list(range(2, 32))
    assert out["kernel"]["percpu_next"][0][4] == 528
    assert out["kernel"]["nr_swap_pages"] == 16367
    assert (out["vmstat"]["pswpout"], out["mthp"]["64"]["swpout"]) == (16, 1)
    assert pages(read) == ["p"] * 16
    assert slots(read) == {}
    assert members(read["kernel"]["free"]) == [*range(2, 32), 1]
    assert read["vmstat"] == {"pgmajfault": 1, "pswpin": 16, "pswpout": 16}
    assert read["io_stat"][3] == 16
    assert pages(again) == list(range(528, 544))
    assert cluster(again, 1) == (16, NONFULL, 4)
    assert members(again["kernel"]["free"]) == list(range(2, 32))
    assert again["kernel"]["percpu_next"][0][4] == 544
    assert (again["vmstat"]["pswpout"], again["mthp"]["64"]["swpout"]) == (32, 2)


def test_t2_order_0_and_both_caches() -> None:
    out, back, again = trace(
        D64,
        """map A 8 9 nohugepage
        write A 0 8 text:1
        pageout A 0 8
        dump out
        write A 3 1 text:2
        dump in
        pageout A 0 8
        dump again""",
    )
    assert pages(out) == list(range(512, 520))
    assert slots(out) == span(512, 519, 1) | span(520, 575, 0x40)
    assert (out["kernel"]["nr_swap_pages"], out["kernel"]["inuse_pages"]) == (16319, 64)
    assert cluster(out, 1) == (64, NONFULL, 0)
    assert out["kernel"]["percpu_next"][0][0] == 576
    assert out["kernel"]["slot_cache"][0]["slots"] == list(range(520, 576))
    assert slots(back)[515] == 0x40
    assert back["kernel"]["slot_cache"][0]["ret"] == [515]
    assert back["vmstat"]["pswpin"] == back["vmstat"]["pgmajfault"] == 1
    assert back["kernel"]["nr_swap_pages"] == 16319
    assert pages(again)[3] == 520
    assert slots(again) == span(512, 514, 1) | {515: 0x40} | span(516, 520, 1) | span(521, 575, 0x40)
    assert again["vmstat"]["pswpout"] == 9


def test_t3_all_zero_folio() -> None:
    out, read = trace(
        f"cfg thp 64=always\n{D64}",
        """map A 16 9 hugepage
        write A 0 16 zero
        pageout A 0 16
        dump out
        read A 0 1
        dump in""",
    )
    assert pages(out) == list(range(512, 528))
    assert out["kernel"]["zeromap"] == [[512, 16]]
    assert out["vmstat"] == {"swpout_zero": 16}
    assert "swpout" not in out["mthp"]["64"]
    assert out["mm_stat"][0] == 4096, "only the header"
    assert pages(read) == ["p"] * 16
    assert (slots(read), read["kernel"]["zeromap"]) == ({}, [])
    assert read["vmstat"] == {"pgmajfault": 1, "swpin_zero": 16, "swpout_zero": 16}
    assert read["io_stat"][3] == 16


def test_t4_no_cluster_for_large_orders() -> None:
    out, back = trace(
        "cfg thp 64=always\ncfg zram 2560K lz4",
        """map A 16 9 hugepage
        write A 0 16 text:1
        pageout A 0 16
        dump out
        write A 0 1 text:2
        dump in""",
    )
    assert pages(out) == list(range(1, 17))
    assert slots(out) == span(1, 16, 1) | span(17, 64, 0x40)
    assert cluster(out, 0) == (65, FRAG, 0)
    assert members(out["kernel"]["nonfull"]["0"]) == [1]
    assert out["kernel"]["percpu_next"][0][0] == 65
    counts = out["mthp"]["64"]
    assert (counts["split"], counts["split_deferred"], counts["swpout_fallback"]) == (1, 1, 1)
    assert "swpout" not in counts
    assert (out["vmstat"]["pswpout"], out["kernel"]["nr_swap_pages"]) == (16, 575)
    assert pages(back) == ["p", *range(2, 17)]
    assert (slots(back)[1], back["kernel"]["slot_cache"][0]["ret"], back["vmstat"]["pswpin"]) == (0x40, [1], 1)


def test_t5_zero_page_inside_a_fallback_split() -> None:
    (out,) = trace(
        "cfg thp 64=always\ncfg zram 2560K lz4",
        """map A 16 9 hugepage
        write A 0 16 text:1
        write A 2 1 zero
        pageout A 0 16
        dump out""",
    )
    assert pages(out) == [1, 2, "z", *range(4, 17)]
    assert slots(out)[3] == 0x40
    assert out["kernel"]["slot_cache"][0]["ret"] == [3]
    assert out["vmstat"] == {"pswpout": 15}
    assert (out["mthp"]["64"]["split"], out["mthp"]["64"]["swpout_fallback"]) == (1, 1)


def test_t6_pageout_of_a_part() -> None:
    (out,) = trace(
        f"cfg thp 64=always\n{D64}",
        """map A 16 9 hugepage
        write A 0 16 text:1
        pageout A 4 4
        dump out""",
    )
    assert pages(out) == ["p"] * 4 + [512, 513, 514, 515] + ["p"] * 8
    counts = out["mthp"]["64"]
    assert (counts["split"], counts["split_deferred"], counts.get("swpout_fallback", 0)) == (1, 1, 0)
    assert out["vmstat"]["pswpout"] == 4


def test_t7_hole_in_a_swapped_block() -> None:
    start = """map A 16 9 hugepage
        write A 0 16 text:1
        pageout A 0 16
        dontneed A 4 4
        dump hole
        """
    hole, a = trace(f"cfg thp 64=always\n{D64}", start + "write A 0 1 text:2\ndump a")
    assert slots(hole) == span(512, 515, 1) | span(520, 527, 1)
    assert (cluster(hole, 1)[0], hole["io_stat"][3]) == (12, 4)
    assert pages(a) == ["p", 513, 514, 515] + ["n"] * 4 + list(range(520, 528))
    steps = "\n".join(f"write A {i} 1 text:2\ndump w{i}" for i in (1, 5, 9)) + "\npageout A 0 16\ndump out"
    first = start.replace("write A 0 16", "thp 64=always\nwrite A 0 16")
    setup = f"cfg thp 64=always\n{D64}"
    both = first.replace("dontneed A 4 4", "thp 16=always 64=always\ndontneed A 4 4")
    _, one, five, nine, out = trace(setup, both + steps)
    assert pages(one) == ["p"] * 4 + ["n"] * 4 + list(range(520, 528))
    assert pages(five) == ["p"] * 8 + list(range(520, 528))
    assert five["mthp"]["16"]["anon_fault_alloc"] == 1
    assert pages(nine) == ["p"] * 12 + list(range(524, 528))
    assert slots(nine) == span(524, 527, 1)
    assert pages(out) == [*range(1024, 1036), *range(524, 528)]
    assert cluster(out, 1) == (4, NONFULL, 4)
    assert cluster(out, 2) == (12, NONFULL, 2)
    assert (out["mthp"]["16"]["swpout"], out["vmstat"]["pswpout"]) == (3, 28)


def test_t8_return_cache_flushes_on_the_65th_free() -> None:
    out, full, flushed, last = trace(
        D64,
        """map A 66 9 nohugepage
        write A 0 66 text:1
        pageout A 0 66
        dump out
        write A 0 64 text:2
        dump full
        write A 64 1 text:2
        dump flushed
        write A 65 1 text:2
        dump last""",
    )
    assert pages(out) == list(range(512, 578))
    assert out["kernel"]["inuse_pages"] == 128
    assert full["kernel"]["slot_cache"][0]["ret"] == list(range(512, 576))
    assert (full["io_stat"][3], full["kernel"]["inuse_pages"]) == (0, 128)
    assert flushed["kernel"]["slot_cache"][0]["ret"] == [576]
    assert (flushed["io_stat"][3], flushed["kernel"]["inuse_pages"]) == (64, 64)
    assert cluster(flushed, 1)[0] == 64
    assert last["kernel"]["slot_cache"][0]["ret"] == [576, 577]
    assert last["mm_stat"][0] == 3 * 4096, "two dead pages and the header"


def test_t9_zap_batches() -> None:
    direct, crossing = trace(
        D64,
        """map P 520 4 nohugepage
        write P 0 520 text:1
        pageout P 0 520
        dontneed P 500 8
        dump direct
        dontneed P 508 8
        dump crossing""",
    )
    assert pages(direct, "P")[:500] == list(range(512, 1012))
    assert not set(slots(direct)) & set(range(1012, 1020))
    # The region starts at page 16 of its 2 MiB range, so P[496..] lies behind a page-table border.
    assert direct["kernel"]["inuse_pages"] == 568
    assert members(direct["kernel"]["nonfull"]["0"]) == [0, 2, 1]
    assert direct["io_stat"][3] == 8
    assert crossing["kernel"]["slot_cache"][0]["ret"] == list(range(1020, 1028))
    assert (crossing["kernel"]["inuse_pages"], crossing["io_stat"][3]) == (568, 8)


def test_t10_swap_in_larger_than_swap_out() -> None:
    (read,) = trace(
        f"cfg thp 16=always\n{D64}",
        """map A 16 9 hugepage
        write A 0 16 text:1
        pageout A 0 16
        thp 16=always 64=always
        read A 9 1
        dump in""",
    )
    assert read["procs"]["0"]["regions"]["A"]["runs"] == [["p", 0, 16, 4, 0, "x"]]
    assert read["mthp"]["16"]["swpout"] == 4
    assert (read["vmstat"]["pswpin"], read["vmstat"]["pgmajfault"], slots(read)) == (16, 1, {})


def test_t11_mixed_zeromap() -> None:
    five, zero = trace(
        D64,
        """map A 16 9 hugepage
        write A 0 16 text:1
        write A 0 1 zero
        pageout A 0 16
        thp 16=always 64=always
        read A 5 1
        dump five
        read A 0 1
        dump zero""",
    )
    assert pages(five) == [512, 513, 514, 515, "p", "p", "p", "p", *range(520, 528)]
    assert five["vmstat"]["pswpin"] == 4
    assert [slots(five)[s] for s in range(516, 520)] == [0x40] * 4
    assert pages(zero)[:4] == ["p", 513, 514, 515]
    assert zero["vmstat"]["swpin_zero"] == 1


def test_t12_misaligned_region() -> None:
    # A[4..39] of the specification: its pages 0..35 here.
    out, read = trace(
        f"cfg thp 16=always 64=always\n{D64}",
        """map A 36 2 hugepage
        write A 0 32 text:1
        pageout A 0 36
        dump out
        write A 16 1 text:2
        dump in""",
    )
    assert pages(out) == [*range(512, 524), *range(1024, 1040), *range(524, 528)] + ["n"] * 4
    assert (out["kernel"]["percpu_next"][0][2], out["kernel"]["percpu_next"][0][4]) == (528, 1040)
    assert (out["mthp"]["16"]["swpout"], out["mthp"]["64"]["swpout"]) == (4, 1)
    assert pages(read)[12:28] == ["p"] * 16
    assert members(read["kernel"]["free"]) == [*range(3, 32), 2]


def test_t13_order_0_steals() -> None:
    (out,) = trace(
        "cfg thp 64=always\ncfg zram 4M lz4",
        """map A 16 9 hugepage
        map Q 575 9 nohugepage
        write A 0 16 text:1
        pageout A 0 16
        write Q 0 575 text:2
        pageout Q 0 575
        dump out""",
    )
    assert pages(out, "Q") == [*range(1, 512), *range(528, 592)]
    assert out["kernel"]["slot_cache"][0]["slots"] == [592]
    assert cluster(out, 1) == (81, NONFULL, 4)
    assert cluster(out, 0)[1] == FULL
    assert members(out["kernel"]["nonfull"]["4"]) == [1]
    assert out["kernel"]["percpu_next"][0][4] == 528


def test_t14_deactivation_drains() -> None:
    first, second, parked, last = trace(
        "cfg zram 1540K lz4",
        """map A 300 9 nohugepage
        write A 0 300 text:1
        pageout A 0 192
        dump first
        pageout A 192 65
        dump second
        write A 0 1 text:2
        dump parked
        pageout A 257 1
        dump last""",
    )
    assert pages(first)[:192] == list(range(1, 193))
    assert first["kernel"]["nr_swap_pages"] == 192
    assert cluster(first, 0)[1] == FRAG
    assert pages(second)[256] == 257
    assert second["kernel"]["slot_cache"][0]["slots"] == list(range(258, 321))
    assert second["kernel"]["nr_swap_pages"] == 64
    assert (parked["kernel"]["slot_cache"][0]["ret"], slots(parked)[1]) == ([1], 0x40)
    assert pages(last)[257] == 321
    assert last["kernel"]["slot_cache_active"] == 0
    assert last["kernel"]["nr_swap_pages"] == 127
    assert not set(slots(last)) & {1, *range(258, 321)}


def test_t15_fork_readahead_cached_slots() -> None:
    shared, read, gone, out, eight, zero, one = trace(
        f"cfg thp 64=always\ncfg page_cluster 3\n{D64}",
        """map A 16 9 hugepage
        write A 0 16 text:1
        pageout A 0 16
        fork child
        dump shared
        read A 3 1
        dump read
        @child exit
        dump gone
        pageout A 0 16
        dump out
        read A 8 1
        dump eight
        read A 0 1
        dump zero
        write A 1 1 text:2
        dump one""",
    )
    assert slots(shared) == span(512, 527, 2)
    assert slots(read) == span(512, 514, 0x42) | {515: 0x41} | span(516, 519, 0x42) | span(520, 527, 2)
    assert read["vmstat"] == {"pgmajfault": 1, "pswpin": 8, "pswpout": 16, "swap_ra": 7}
    assert slots(gone) == span(512, 514, 0x41) | {515: 0x40} | span(516, 519, 0x41) | span(520, 527, 1)
    assert slots(out) == slots(gone) | {515: 1}
    assert out["vmstat"]["pswpout"] == 16
    assert 520 not in slots(eight)
    assert (eight["vmstat"]["pswpin"], eight["vmstat"]["pgmajfault"]) == (9, 2)
    assert (slots(zero)[512], zero["vmstat"]["swap_ra_hit"], zero["vmstat"]["pgmajfault"]) == (0x40, 1, 2)
    assert 513 not in slots(one)
    assert one["procs"]["0"]["regions"]["A"]["runs"][1][5] == "dx"
