"""Which app the low-memory killer ends, and when."""

from __future__ import annotations

from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import operations as ops
from tests.properties.phone_bench import (
    FRAMES,
    SMALL_ONLY,
    Bench,
)


def phone_with_apps(*chosen):
    """Zygote, a system process (1) and four apps (2 to 5), last in the foreground at switches 5, 3, 9 and 7."""
    bench = Bench("policy.lmkd.enabled=true", *SMALL_ONLY, *chosen).map(0, 0, 16).poke(0, 0, 0, 8)
    bench.do(*((ops.FORK, 0, p) for p in range(1, 6)))
    for p, stamp in {2: 5, 3: 3, 4: 9, 5: 7}.items():
        bench.dev.proc[p, layout.PROC_STAMP] = stamp
    return bench


def alive(bench):
    return bench.dev.proc[:, layout.PROC_USED].nonzero()[0].tolist()


def woken(bench, p, page):
    """A fault of a process with kswapd at work."""
    bench.set(low_free=FRAMES + 1, high_free=FRAMES + 1, kswapd_pages=1)
    bench.poke(p, 0, page)
    bench.set(low_free=0, kswapd_on=0)


def test_the_app_that_rested_longest_is_killed():
    # All of swap is below the limit, so that every fault with kswapd at work kills one.
    bench = phone_with_apps("policy.lmkd.swap_free_low_percent=100")
    bench.set(foreground=3 + 1)
    woken(bench, 2, 10)
    assert alive(bench) == [0, 1, 2, 3, 4], "3 is in the foreground and 2 runs: 5 it is"
    woken(bench, 2, 11)
    assert alive(bench) == [0, 1, 2, 3]
    woken(bench, 2, 12)
    assert alive(bench) == [0, 1, 2, 3], "neither the foreground nor the running one, nor zygote or the system"
    bench.set(foreground=0)
    woken(bench, 1, 13)
    assert alive(bench) == [0, 1, 2]
    woken(bench, 1, 14)
    assert alive(bench) == [0, 1]
    woken(bench, 1, 15)
    assert alive(bench) == [0, 1]
    assert bench.count("kills_low_swap") == 4
    assert bench.count("kills_thrashing") + bench.count("kills_no_memory") == 0


def test_nobody_is_killed_while_swap_is_free_or_without_lmkd():
    bench = phone_with_apps("policy.lmkd.swap_free_low_percent=50")
    woken(bench, 2, 10)
    assert alive(bench) == [0, 1, 2, 3, 4, 5]
    bench = phone_with_apps("policy.lmkd.swap_free_low_percent=100", "policy.lmkd.enabled=false")
    woken(bench, 2, 10)
    assert alive(bench) == [0, 1, 2, 3, 4, 5]


def test_thrashing_lowers_its_limit_with_every_kill():
    # 100 %, less a tenth of it each time, rounded down: 90, 81, 72. A share must be above the limit, not at it.
    bench = phone_with_apps("policy.lmkd.swap_free_low_percent=0")
    bench.set(window_pages=200, thrashing_limit=100, foreground=2 + 1)
    for page, (refaults, kills, limit) in enumerate(
        [(200, 0, 100), (201, 1, 90), (180, 1, 90), (181, 2, 81), (162, 2, 81), (163, 3, 72), (900, 3, 72)], 8
    ):
        bench.set(window_refaults=refaults)
        woken(bench, 1, page)
        assert (bench.count("kills_thrashing"), bench.get("thrashing_limit")) == (kills, limit)
    assert bench.count("kills_low_swap") == 0
    assert alive(bench) == [0, 1, 2], "the app in the foreground stays"
