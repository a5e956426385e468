"""Counts what the kernels ask of a GPU, for the performance model; a program, and what its tests call.

    count_events.py FOLDER [--small]

FOLDER holds the kernels' PTX for compute capability 9.0, as `tests/compile/compile_kernels.py 9.0 --keep FOLDER` leaves
it. Prints one JSON document; `fleetswap/data/gpus/events.json` is what it printed. Takes about five minutes; with
--small a part of it, in seconds.
"""

from __future__ import annotations

import argparse
import bisect
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fleetswap.scenario.experiments import AllocatorTest
from fleetswap_kernels.backend.warps import WARP
from fleetswap_kernels.layout.device import HEADER_BYTES, arrays, offsets
from fleetswap_kernels.layout.operations import OP_WORDS, SWITCH

from .memory_trace import EDGES, MemoryTrace
from .ptx import Function, parse
from .warp import Cost, Warp, Way, WayTrace
from .workloads import CONTENT, Case, Runner, addresses, allocator, kinds, phone_fleet

WIDTHS = (1, 2, 4, 8, 16, 32)
"""Devices that share a warp; the other lanes are idle."""
HOW = (
    "counted on the kernels' PTX by: python tests/compile/compile_kernels.py 9.0 run_devices run_phones --keep FOLDER; "
    "python -m tests.model.count_events FOLDER > fleetswap/data/gpus/events.json"
)
ALIGNED = ("swap_out", "range_free")
"""Functions at whose calls threads could wait for each other, if loops were written so."""
QUARTER = {"region_mib": 15, "zram_mib": 16, "swapin_mib": 4, "dontneed_mib": 4}
"""A warp's 32 devices run the allocator test at a quarter of its size: the same shares, in less time."""
SMALL = {"region_mib": 2, "zram_mib": 3, "swapin_mib": 1, "dontneed_mib": 1}
ONE_CLASS = ("device_class.phone-8g.share=1000000",)
"""Beside it the other classes have no device among the first ones."""
FAR = EDGES.index(16)
"""Reuse distances beyond this bin are taken as memory traffic when it is told which array causes it."""


class ArrayTrace(MemoryTrace):
    """A memory trace that also tells which array of the one device is fetched from afar."""

    def __init__(self, case: Case) -> None:
        super().__init__(*addresses(case))
        sizes = case.arena.blueprints[0].sizes
        placed, _ = offsets(sizes)
        starts = sorted((placed[name] * width, name) for name, (width, length) in arrays(sizes).items() if length)
        self._starts = [self.first, *(self.first + at for at, _ in starts)]
        self._names = ["header, counters", *(name for _, name in starts)]
        self.by_array: dict[str, int] = {}

    def _distance(self, address: int) -> int:
        distance = super()._distance(address)
        if distance > EDGES[FAR]:
            name = self._names[bisect.bisect_right(self._starts, address) - 1]
            self.by_array[name] = self.by_array.get(name, 0) + 1
        return distance


def counted(runner: Runner, trace: MemoryTrace, events: int) -> dict[str, Any]:
    """What was counted since the last time, as a record."""
    tally, runs = trace.take()
    infos = runner.machine.blocks
    tally.instructions = sum(n * infos[i].instructions for i, n in enumerate(runs))
    tally.alu = sum(n * infos[i].depth for i, n in enumerate(runs))
    tally.branches = sum(n * infos[i].branches for i, n in enumerate(runs))
    found = {"page_events": events, **asdict(tally), "sectors": len(trace.sectors)}
    trace.sectors = set()
    return found


def one_device(case: Case, functions: dict[str, Function], check: bool = True) -> dict[str, Any]:
    """Everything counted on a case's first device."""
    trace = ArrayTrace(case)
    runner = Runner(case, functions, trace)
    before = runner.page_events(0)
    # The first run meets a cold cache, which a run of many operations does not.
    runner.run(0, case.first, case.end)
    found = counted(runner, trace, runner.page_events(0) - before)
    if check:
        end = int(case.arena.base[1]) * HEADER_BYTES
        if not np.array_equal(runner.memory()[:end], case.after()[:end]):
            raise ValueError("the PTX did something else than the compiled CPU code")
    return {"kernel": case.kernel, **found, "far_by_array": dict(sorted(trace.by_array.items()))}


def ways_of(case: Case, functions: dict[str, Function]) -> tuple[Runner, list[WayTrace]]:
    """What every device of a case runs."""
    traces = [WayTrace(*addresses(case)) for _ in range(len(case.arena))]
    runner = Runner(case, functions, traces[0])
    for device, trace in enumerate(traces):
        trace.infos = runner.machine.blocks
        trace.memory = runner.machine.memory.view(np.uint32)
        trace.places, trace.length = runner.operation_places(device), OP_WORDS
        runner.machine.watch(trace)
        runner.run(device, case.first, case.end)
    return runner, traces


def factors(costs: list[Cost]) -> dict[str, Any]:
    """Divergence of some warps."""
    whole = Cost()
    for cost in costs:
        whole.add(cost)
    return {
        "issue_factor": round(whole.issue_factor, 2),
        "time_factor": round(whole.time_factor, 2),
    }


def divergence(case: Case, functions: dict[str, Function]) -> dict[str, Any]:
    """Divergence of warps of a case's devices: as they stand, aligned at calls, and sorted before every operation.

    Sorted, an operation runs beside the same kind of operation of any other device at any time, with about as many
    pages: what a sort by phase could give at best.
    """
    runner, traces = ways_of(case, functions)
    warp = Warp(runner.machine)
    width = min(WARP, len(traces))
    whole = [t.way for t in traces]
    lengths = [sum(way.cycles) for way in whole]
    found = {
        "together": {
            str(few): factors([warp.cost(whole[i : i + few]) for i in range(0, len(whole), few)])
            for few in WIDTHS
            if few <= width
        },
        # Warps wait for their slowest device; over a longer time devices even out.
        "longest_over_mean": round(max(lengths) * len(lengths) / sum(lengths), 2),
    }
    groups = [traces[i : i + width] for i in range(0, len(traces), width)]
    found["aligned"] = factors([warp.cost_aligned(group, ALIGNED) for group in groups])
    pieces = sorted((piece for trace in traces for piece in operations(trace)), key=lambda piece: piece[0])
    sorts = [[way for _, way in pieces[i : i + width]] for i in range(0, len(pieces) - width + 1, width)]
    found["sorted"] = factors([warp.cost(some) for some in sorts])
    return found


def operations(trace: WayTrace) -> list[tuple[tuple[int, ...], Way]]:
    """The operations a device executed: kind, pages and first operand, and the way of each until the next one.

    One that waits for room is executed in parts.
    """
    # The own operations of a phone stand after the row that stands for them.
    begun = [(start, words) for start, words in trace.begun if words[0] != SWITCH]
    # A user who does nothing meanwhile has none.
    ends = [*(start for start, _ in begun), len(trace.way.blocks)][1:]
    return [
        ((kind, pages, first_operand), trace.way.part(start, end))
        for (start, (kind, _, first_operand, _, pages, *_)), end in zip(begun, ends, strict=True)
    ]


def cases(small: bool) -> dict[str, tuple[Case, Case | None]]:
    """By name: the case whose first device is counted, and the one whose devices make warps."""
    found: dict[str, tuple[Case, Case | None]] = {}
    if small:
        return {"allocator-test on": (allocator(AllocatorTest(**SMALL)), allocator(AllocatorTest(**SMALL), 4))}
    for policy in ("on", "off"):
        test = {"large_swapin": policy == "on"}
        quarter = allocator(AllocatorTest(**QUARTER, **test), WARP)
        found[f"allocator-test {policy}"] = (allocator(AllocatorTest(**test)), quarter)
        found[f"allocator-test {policy}, contents"] = (allocator(AllocatorTest(content=CONTENT, **test)), None)
    found["phones"] = (phone_fleet((), 1), phone_fleet((), WARP))
    found["phones, one class"] = (phone_fleet(ONE_CLASS, 1), phone_fleet(ONE_CLASS, WARP))
    return found


class Kernels(dict[str, dict[str, Function]]):
    """PTX of the kernels in a folder, read as it is needed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, kernel: str) -> dict[str, Function]:
        self[kernel] = parse((self.folder / f"{kernel}.ptx").read_text())
        return self[kernel]


def count_cases(kernels: Kernels, small: bool) -> dict[str, Any]:
    """Workloads by name."""
    found = {}
    for name, (case, warps) in cases(small).items():
        print(name, file=sys.stderr)
        found[name] = one_device(case, kernels[case.kernel])
        if warps is not None:
            found[name]["divergence"] = divergence(warps, kernels[warps.kernel])
    return found


def count_kinds(kernels: Kernels) -> list[dict[str, Any]]:
    """Kinds of events, each on a device that the ones before have left."""
    case, ranges = kinds()
    trace = MemoryTrace(*addresses(case))
    runner = Runner(case, kernels[case.kernel], trace)
    found = []
    for name, first, end in ranges:
        before = runner.page_events(0)
        runner.run(0, first, end)
        found.append({"kind": name, **counted(runner, trace, runner.page_events(0) - before)})
    return found


def count_small(folder: Path) -> dict[str, Any]:
    """What takes seconds."""
    kernels = Kernels(folder)
    return {"kinds": count_kinds(kernels), "small": count_cases(kernels, small=True)}


def count(folder: Path) -> dict[str, Any]:
    """Everything that is counted."""
    workloads = count_cases(Kernels(folder), small=False)
    return {"how": HOW, "edges_lines": list(EDGES), "workloads": workloads, **count_small(folder)}


def main(words: list[str]) -> None:
    """Count everything and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args(words)
    found = count_small(given.folder) if given.small else count(given.folder)
    # Lists of numbers on one line each.
    text = re.sub(r"\[[\s\d,]*\]", lambda m: "[" + " ".join(m[0][1:-1].split()) + "]", json.dumps(found, indent=1))
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
