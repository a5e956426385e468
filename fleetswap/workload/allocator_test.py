"""The allocator test of the patch, thp_swap_allocator_test, as a program for one device or a fleet.

It fills a region, swaps it out, and then, each iteration, touches random places, discards and rewrites random blocks
and swaps everything out again (tools/mm/thp_swap_allocator_test.c of the kernel).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Blueprint, device_bytes
from fleetswap_kernels.layout.pages import MIB_PAGES, PAGE_BYTES, order_of_kib

from ..scenario.cost import load_profile
from ..scenario.experiments import POLICIES, AllocatorScenario, AllocatorTest
from ..script.language import parse_script
from ..script.program import compile_script
from . import metrics
from .laid_out import Kind, LaidOut, seed_fields
from .metrics import Metric

METRICS = {
    "swpout": Metric("folios", "", "large folios swapped out whole", "swapouts"),
    "swpout_fallback": Metric("folios", "min", "large folios that got no slots", "swapout_fallbacks"),
    **{name: metrics.METRICS[name] for name in ("fallback_permyriad", "pgmajfault", "pswpin", "pswpout")},
}
"""What the test prints of an iteration, and what swap did in it; one folio size is enabled."""


@dataclass(frozen=True)
class Plan:
    """A workload ready for an arena.

    Parameters
    ----------
    blueprint : Blueprint
    program : uint32 array of shape (n, 8)
    marks : tuple of int
        Program positions: start, end of the warm-up, end of every iteration.
    folio_order : int
        Order of the enabled folio size.
    pages : int
        Pages of all regions.
    """

    blueprint: Blueprint
    program: npt.NDArray[np.uint32]
    marks: tuple[int, ...]
    folio_order: int
    pages: int


def script_text(test: AllocatorTest) -> str:
    """The test as a replay script, a dump after the warm-up and after every iteration."""
    folio_pages = test.folio_kib * 1024 // PAGE_BYTES
    step = folio_pages if test.aligned else 1
    # Like the measured runs, 64 KiB; larger folios need more, or no block that is discarded would be one folio.
    align = max(4, folio_pages.bit_length() - 1)
    pattern = "fill:0x11" if test.content == "fill" else f"class:{test.content}"
    block_order = order_of_kib(test.block_kib)
    lines = [
        f"cfg cpus {test.cpus}",
        f"cfg thp {test.folio_kib}=always",
        "cfg page_cluster 0",
        f"cfg swapin {'large' if test.large_swapin else 'small'}",
        f"cfg kernel {test.kernel}",
        f"cfg blocks {block_order}",
        "cfg pool packed",
        f"cfg zram {test.zram_mib}M {test.codec}",
        f"map A {test.region_mib * MIB_PAGES} {align} hugepage",
    ]
    out = [f"pageout A 0 {test.region_mib * MIB_PAGES}"]
    if test.small_folios:
        lines.append(f"map B {test.small_region_mib * MIB_PAGES} 4 nohugepage")
        out.append(f"pageout B 0 {test.small_region_mib * MIB_PAGES}")
    lines += [f"write A 0 {test.region_mib * MIB_PAGES} {pattern}", out[0]]
    if test.small_folios:
        lines += [f"write B 0 {test.small_region_mib * MIB_PAGES} {pattern}", out[1]]
    lines.append("dump warmup")
    for i in range(test.iterations):
        lines.append(f"randwrite A {step} {test.swapin_mib * MIB_PAGES // step} {pattern}")
        lines.append(f"randdontneed A {folio_pages} {test.dontneed_mib * MIB_PAGES // folio_pages} {pattern}")
        if test.small_folios:
            lines.append(f"randwrite B 1 {test.small_swapin_mib * MIB_PAGES} {pattern}")
        lines += [*out, f"dump iter{i + 1}"]
    return "\n".join(lines) + "\n"


def plan(test: AllocatorTest) -> Plan:
    """Lay out the test for a fleet: nothing stays in the swap cache, and the pool is packed if there is one."""
    compiled = compile_script(parse_script(script_text(test), "allocator-test"))
    device = compiled.blueprint
    modelled = device.model is not None
    pages = test.region_mib * MIB_PAGES + test.small_folios * test.small_region_mib * MIB_PAGES
    sizes = replace(
        device.sizes,
        # Blocks are discarded whole, so a folio is never partially mapped and no frame is held in vain.
        frames=-(-pages // 1024) * 1024,
        contents=3,
        # Of the test's own pages none needs an object of the pool.
        zclasses=device.sizes.zclasses if modelled else 0,
        zspages=0,
        block_order=device.sizes.block_order if modelled else 0,
        swap_cache=False,
        verify=False,
    )
    blueprint = replace(
        device,
        sizes=sizes,
        policy={**device.policy, "random_philox": int(test.random == "philox"), **seed_fields(test.seed)},
        content_bytes=np.zeros(3, np.uint32),
        size_classes=device.size_classes if modelled else None,
        header_content=0,
    )
    dumps = [step.first for step in compiled.steps if step.op.name == "dump"]
    order = order_of_kib(test.folio_kib)
    return Plan(blueprint, compiled.program, (0, *dumps), order, pages)


def lay_out(scenario: AllocatorScenario) -> LaidOut:
    """Lay out the test: every device under both policies; step 0 is the warm-up, the others are the iterations.

    Raises
    ------
    InputError
        If a file that the scenario names cannot be used.
    """
    load_profile(scenario.test.cost)  # What is bad is said before anything runs.
    plans = {policy: plan(scenario.policy(policy)) for policy in POLICIES}
    test, first = scenario.test, plans[POLICIES[0]]
    each = device_bytes(first.blueprint.sizes)
    return LaidOut(
        scenario,
        scenario.digest(),
        {
            policy: Kind(laid.blueprint, test.cost, test.codec, order_of_kib(test.block_kib), facets={"policy": policy})
            for policy, laid in plans.items()
        },
        first.program,
        first.marks,
        METRICS,
        f"{scenario.devices:,} devices under {len(plans)} policies, {each:,} bytes each "
        f"({each / first.pages:.1f} per page of its regions)",
        advises=True,
        is_paired=True,
        keeps_steps=True,
    )
