"""Phones whose memory runs short: nothing is lost, whatever the policy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fleetswap.check.device import Checker
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import phone as habits
from fleetswap_kernels.layout import words as bits
from tests.properties.contents import wrong_pages
from tests.properties.phone_bench import (
    COLUMN,
    folio_frames,
    out_of_reach,
)
from tests.properties.phones import SETTINGS, ready, tiny, words

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


SHARES = 8


"""Parts of the many phones, so that several workers can have one each."""


def lost(dev, scenario, switches):
    """What does not add up, from the bare arrays of a device between two steps; one line each.

    `switches` are those of the average user.
    """
    activity = int(dev.by[dev.scalar("o_phone") * 4 :].view(np.uint32)[habits.PHONE_ACTIVITY])
    count = {name: int(dev.counter[index]) for name, index in COLUMN.items()}
    held = dev.scalar("frames_free") + dev.scalar("reserve_free") + count["pool_pages"] + folio_frames(dev)
    kinds = (dev.pte >> bits.KIND_SHIFT).reshape(dev.procs, -1)
    in_use = dev.proc[:, layout.PROC_USED] != 0
    killed = count["kills_low_swap"] + count["kills_thrashing"] + count["kills_no_memory"]
    started = 1 + scenario.system.processes + count["cold_starts"]
    came_in = count["pswpin"] + count["swpin_zero"]
    refaults = count["workingset_refault_anon"]
    distances = sum(count[f"refault_distance_2^{i}"] for i in range(counters.N_DISTANCES))
    equal = {
        "frames": (held, dev.frames),
        "MM_ANONPAGES": (dev.proc[:, layout.PROC_ANONPAGES].tolist(), (kinds == bits.PRESENT).sum(1).tolist()),
        "MM_SWAPENTS": (dev.proc[:, layout.PROC_SWAPENTS].tolist(), (kinds == bits.SWAP).sum(1).tolist()),
        "processes": (np.count_nonzero(in_use), started - count["trimmed_apps"] - killed),
        "gauge of processes": (count["processes"], np.count_nonzero(in_use)),
        "gauge of swapped pages": (count["swapped_pages"], np.count_nonzero(kinds == bits.SWAP)),
        "gauge of resident pages": (count["resident_pages"], folio_frames(dev)),
        "gauge of free slots": (count["free_slots"], np.count_nonzero(dev.map == 0)),
        "evictions": (dev.scalar("evictions"), count["pswpout"] + count["swpout_zero"]),
        "refaults by distance": (distances, refaults),
        # Whoever has one app only never switches to another.
        "app switches": (
            count["app_switches"],
            min(switches * activity >> 16, 1 if scenario.device_class["phone"].installed_apps == 1 else switches << 16),
        ),
        "reasons of swap-out": (
            sum(n for name, n in count.items() if name.startswith("swapout_fallback_")),
            sum(n for name, n in count.items() if name.startswith("swpout_fallback_")),
        ),
    }
    if count["warn_mixed_zeromap"] == 0:
        # Else faults have read pages that they could not map (spec 07 §7.4).
        equal["refaults"] = (refaults, came_in)
    found = [f"{what}: {one} and {other}" for what, (one, other) in equal.items() if one != other]
    if kinds[~in_use].any():
        found.append("a process that has ended has pages")
    unreachable = out_of_reach(dev)
    if unreachable:
        found.append(f"{unreachable} pages can never be evicted")
    if refaults < count["workingset_activate_anon"]:
        found.append("more pages are activated than came back")
    return found


def check(choices, seed, steps=None):
    """Run a phone and look at everything after every step."""
    scenario = tiny(*words(choices), seed=seed)
    arena, laid_out = ready(scenario)
    checker = Checker(arena.view(0))
    dev = checker.dev
    for first, end in zip(laid_out.marks[:steps], laid_out.marks[1:], strict=False):
        arena.run(laid_out.program, first, end)
        assert checker.violations() == []
        assert lost(dev, scenario, int(laid_out.program[first, 2])) == []
        if not dev.counter[counters.SILENT_MIXED_ZEROMAP]:
            # The rules of v7 bring wrong contents, and count where (spec 07 §7.4).
            assert len(wrong_pages(checker)) == 0
            assert dev.counter[counters.WRONG_CONTENTS] == 0
    return dev


@settings(max_examples=1_000, suppress_health_check=SLOW, derandomize=True)
@given(SETTINGS, st.integers(0, 2**63 - 1))
def test_nothing_is_lost_whatever_the_policy(choices, seed):
    check(choices, seed)


@pytest.mark.long
@pytest.mark.parametrize("share", range(SHARES))
@settings(max_examples=5_000, suppress_health_check=SLOW, phases=[Phase.generate])
@given(choices=SETTINGS, seed=st.integers(0, 2**59))
def test_nothing_is_lost_in_many_phones(share, choices, seed):
    check(choices, SHARES * seed + share)


@pytest.mark.parametrize("seed", [0, 4, 8, 11])
def test_an_exact_pool_in_tight_memory(seed):
    # A zspage may need more frames than the page it stores has given back.
    check({"policy.pool": "exact"}, seed)


def test_apps_of_one_kind_of_content():
    # Two of their three regions are empty.
    check({"app_class.large.content.game_managed": 0, "app_class.large.content.gpu_raster": 0}, 0)
