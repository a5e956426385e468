"""Counts what the kernels ask of a GPU, for the performance model; a program, and what its tests call.

    count_events.py FOLDER [--small]

FOLDER holds the kernels' PTX for compute capability 9.0, as `tests/compile/compile_kernels.py 9.0 --keep FOLDER` leaves
it. Prints one JSON document; `fleetswap/data/gpus/events.json` is what it printed. Takes about five minutes.
"""

from __future__ import annotations

import argparse
import bisect
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fleetswap.scenario import AllocatorTest
from fleetswap_kernels.layout import HEADER_BYTES, arrays, offsets

from .memory_trace import EDGES, MemoryTrace
from .ptx import Function, parse
from .warp import Cost, Warp, Way, WayTrace
from .workloads import CONTENT, Case, Runner, addresses, allocator, kinds, phone_fleet

WARP = 32
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
        runner.machine.watch(trace)
        runner.run(device, case.first, case.end)
    return runner, traces


def factors(costs: list[Cost]) -> dict[str, Any]:
    """Divergence of some warps."""
    whole = Cost()
    for cost in costs:
        whole.add(cost)
    return {
        "threads": whole.threads,
        "issue_factor": round(whole.issue_factor, 2),
        "time_factor": round(whole.time_factor, 2),
    }


def divergence(case: Case, functions: dict[str, Function]) -> dict[str, Any]:
    """Divergence of warps of a case's devices: as they stand, and sorted before every operation.

    Sorted, an operation runs beside the same kind of operation of any other device at any time, with about as many
    pages: what a sort by phase could give at best.
    """
    runner, traces = ways_of(case, functions)
    warp = Warp(runner.machine)
    width = min(WARP, len(traces))
    whole = [t.way for t in traces]
    lengths = [sum(way.cycles) for way in whole]
    found = {
        "together": factors([warp.cost(whole[i : i + width]) for i in range(0, len(whole), width)]),
        # Warps wait for their slowest device; over a longer time devices even out.
        "longest_over_mean": round(max(lengths) * len(lengths) / sum(lengths), 2),
    }
    pieces = sorted((piece for trace in traces for piece in operations(trace)), key=lambda piece: piece[0])
    groups = [[way for _, way in pieces[i : i + width]] for i in range(0, len(pieces) - width + 1, width)]
    found["sorted"] = factors([warp.cost(group) for group in groups])
    return found


def operations(trace: WayTrace) -> list[tuple[tuple[int, ...], Way]]:
    """The operations a device executed: kind and pages, and the way of each."""
    found = []
    for call in trace.calls:
        if "interpreter7execute" in call.function:
            kind, first_operand, pages = call.arguments[3], call.arguments[5], call.arguments[7]
            part = slice(call.start, call.end)
            found.append(((kind, pages, first_operand), Way(trace.way.blocks[part], trace.way.cycles[part])))
    return found


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


def main(words: list[str]) -> None:
    """Count everything and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args(words)
    print(json.dumps(count(given.folder, given.small), indent=1))


def count(folder: Path, small: bool) -> dict[str, Any]:
    """Everything that is counted."""
    functions = {k: parse((folder / f"{k}.ptx").read_text()) for k in ("run_devices", "run_phones")}
    found: dict[str, Any] = {"edges_lines": list(EDGES), "workloads": {}, "kinds": []}
    for name, (case, warps) in cases(small).items():
        print(name, file=sys.stderr)
        record = one_device(case, functions[case.kernel])
        if warps is not None:
            record["divergence"] = divergence(warps, functions[warps.kernel])
        found["workloads"][name] = record
    case, ranges = kinds()
    trace = MemoryTrace(*addresses(case))
    runner = Runner(case, functions["run_devices"], trace)
    for name, first, end in ranges:
        before = runner.page_events(0)
        runner.run(0, first, end)
        found["kinds"].append({"kind": name, **counted(runner, trace, runner.page_events(0) - before)})
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
