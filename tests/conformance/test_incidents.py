"""Why 6.12 is as it is: the races and conflicts that its rules prevent, shown by switching a rule off."""

from __future__ import annotations

from typing import Any

import pytest

from fleetswap.script.language import parse_script
from fleetswap.script.replay import replay

# Spec 10, T11: sixteen order-0 pages in consecutive aligned slots, one of them zero, then larger folios enabled.
MIXED = """
cfg page_cluster 0
cfg kernel {kernel}
cfg zram 64M lz4
map A 16 9 hugepage
write A 0 16 text:1
write A {zero} 1 zero
pageout A 0 16
thp 16=always 64=always
read A {fault} 1
dump after
read A 0 16
dump all
"""

# Two threads of a process fault on the same entry. Ten slots, so that the second one gets its slot again.
RACE = """
cfg cpus 2
cfg page_cluster 0
cfg swapcache_prepare {pin}
cfg zram 40K lz4
map A 1 9 nohugepage
write A 0 1 text:1
pageout A 0 1
fault_begin A 0 read
cpu 1
write A 0 1 text:2
pageout A 0 1
dump second
cpu 0
fault_end
read A 0 1
dump end
"""


def dumps(text: str) -> list[dict[str, Any]]:
    """All dumps of a script."""
    return list(replay(parse_script(text)))


def test_6_12_rejects_mixed_blocks() -> None:
    after, whole = dumps(MIXED.format(kernel="6.12", zero=0, fault=5))
    # The 64 KiB block is mixed, the 16 KiB block A[4..7] is not.
    assert after["procs"]["0"]["regions"]["A"]["runs"][1] == ["p", 4, 4, 2, 0, "x"]
    assert "fleetswap" not in whole
    assert [op[4] for op in whole["ops"]] == [0]


def test_v7_warns_and_kills_when_the_first_page_is_zero() -> None:
    after, whole = dumps(MIXED.format(kernel="v7", zero=0, fault=5))
    assert after["fleetswap"] == {"warn_mixed_zeromap": 1, "sigbus": 1}
    # Nothing has changed, so every retry fails again.
    assert after["procs"]["0"]["regions"]["A"]["runs"] == [["s", 0, 16, 512]]
    assert after["ops"][-1][1] == -14
    assert whole["fleetswap"] == {"warn_mixed_zeromap": 17, "sigbus": 17}
    assert whole["procs"]["0"]["regions"]["A"]["runs"] == [["s", 0, 16, 512]]


def test_v7_is_silent_when_another_page_is_zero() -> None:
    after, whole = dumps(MIXED.format(kernel="v7", zero=5, fault=0))
    assert after["fleetswap"] == {"silent_mixed_zeromap": 1}
    assert after["procs"]["0"]["regions"]["A"]["runs"] == [["p", 0, 16, 4, 0, "x"]]
    # zram never stored the zero page, so it reads as zeros: right by luck.
    assert [op[4] for op in whole["ops"]] == [0]


def test_v7_reads_stale_data_from_a_slot_rewritten_as_zero() -> None:
    # A write error leaves the folio in the swap cache with its slots; a partial pageout splits it there. A page that
    # becomes zero after that is swapped out to the slot it had, as a zero-page bit: the object that zram stored at
    # the first attempt stays below the bit, which v7 does not look at.
    text = """
    cfg thp 64=always
    cfg page_cluster 0
    cfg kernel {kernel}
    cfg zram 64M lz4 mem_limit=36K
    map A 16 9 hugepage
    write A 0 16 rand:1
    pageout A 0 16
    dump failed
    read A 0 16
    dontneed A 6 10
    pageout A 4 2
    write A 3 1 zero
    pageout A 0 4
    dump out
    thp 16=always
    read A 0 4
    dump in
    """
    failed, out, good = dumps(text.format(kernel="6.12"))
    assert failed["io_stat"][1] == 1, "the first swap-out must hit the limit"
    assert failed["mm_stat"][0] > 5 * 4096, "page 3 must have been stored by then"
    assert out["procs"]["0"]["regions"]["A"]["runs"][0] == ["s", 0, 6, 512]
    assert out["kernel"]["zeromap"] == [[515, 1]]
    assert good["ops"][-1][4] == 0
    *_, bad = dumps(text.format(kernel="v7"))
    assert bad["fleetswap"] == {"silent_mixed_zeromap": 1}
    assert bad["ops"][-1][4] == 1, "one page must read as what the slot held before"


def test_the_pin_makes_the_second_fault_wait() -> None:
    second, end = dumps(RACE.format(pin="on"))
    write, pageout = second["ops"][-2:]
    assert write[1] == -11, "the second thread must not get the page"
    assert pageout[1] == 0
    assert second["fleetswap"] == {"swapin_waits": 1}
    assert second["kernel"]["swap_map"][1] == [1, 1, 0x41]
    assert end["fleetswap"] == {"swapin_waits": 1}
    assert end["ops"][-1][4] == 0
    assert end["procs"]["0"]["regions"]["A"]["runs"] == [["p", 0, 1, 0, 0, "x"]]


def test_without_the_pin_a_stale_page_is_mapped() -> None:
    second, end = dumps(RACE.format(pin="off"))
    assert [op[1] for op in second["ops"][-2:]] == [0, 0]
    # The page is back in the very slot that the first thread has read from.
    assert second["procs"]["0"]["regions"]["A"]["runs"] == [["s", 0, 1, 1]]
    assert end["fleetswap"] == {"stale_reads": 1}
    assert end["ops"][-1][4] == 1, "what is read is not what was written"


@pytest.mark.parametrize("pin", ["on", "off"])
def test_a_fault_whose_entry_is_gone_maps_nothing(pin: str) -> None:
    text = RACE.format(pin=pin).replace("write A 0 1 text:2\npageout A 0 1", "dontneed A 0 1\nread A 0 1")
    _, end = dumps(text)
    assert end["procs"]["0"]["regions"]["A"]["runs"] == [["z", 0, 1]]
    assert end["kernel"]["inuse_pages"] == 0
    assert end["ops"][-1][4] == 0
    assert "fleetswap" not in end


def test_verdicts_decide_orders_and_charges() -> None:
    text = """
    cfg thp 16=always 64=always
    cfg page_cluster 0
    cfg zram 64M lz4
    map A 64 9 hugepage
    verdict folio 64 0
    verdict charge 16 01
    write A 0 1 text:1
    write A 16 16 text:1
    pageout A 16 16
    verdict folio 64 0
    read A 16 1
    verdict swap 16 0
    pageout A 16 4
    dump end
    """
    (end,) = dumps(text)
    assert end["mthp"]["64"]["anon_fault_fallback"] == 1
    assert end["mthp"]["16"]["anon_fault_fallback"] == 1
    assert end["mthp"]["16"]["anon_fault_fallback_charge"] == 1
    assert end["mthp"]["64"]["anon_fault_alloc"] == 1
    assert end["fleetswap"] == {"swap_charge_refused": 1}
    assert end["mthp"]["16"]["swpout_fallback"] == 1
