"""Predicts what a GPU makes of the kernels, from what they were counted to ask of it.

What a thread does is counted on the kernels' own PTX (`tests/model/count_events.py`); a GPU is its data sheet
(`gpu`). Each ceiling is a product of the two, written out in docs/gpu-model.md; the lowest one is the prediction.
Nothing is fitted, and no GPU has confirmed it yet.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from fleetswap_kernels.backend.warps import WARP, devices_per_warp

from ..errors import InputError
from .gpu import LINE_BYTES, SECTOR_BYTES, Gpu

BLOCK_THREADS = 128
"""Threads of a block: as good as any, where registers are what a multiprocessor runs out of."""
MARGIN_PERCENT = 10
"""Of a GPU's memory that devices leave free."""
LEVELS = ("l1", "l2", "memory")


@dataclass(frozen=True)
class Work:
    """Work of a page event of a workload on a GPU, in the mean.

    Parameters
    ----------
    registers : int
        That a thread of its kernel needs.
    instructions : float
        Of the machine, of one thread.
    depth : float
        Instructions that wait for each other, loads not counted.
    accesses : float
        Loads and stores of a device's memory.
    stores : float
    chain, fetches, writebacks : tuple of float
        By reuse distance: loads that wait for each other, accesses, stores (`tests/model/memory_trace.py`).
    issue_factors, time_factors : dict of int to float
        What so many devices in one warp take over what equal ones would: instructions, and time of a mean device.
    """

    registers: int
    instructions: float
    depth: float
    accesses: float
    stores: float
    chain: tuple[float, ...]
    fetches: tuple[float, ...]
    writebacks: tuple[float, ...]
    issue_factors: dict[int, float]
    time_factors: dict[int, float]


@dataclass(frozen=True)
class Prediction:
    """Prediction of a workload on a GPU.

    Parameters
    ----------
    per_warp : int
        Devices that share a warp.
    threads_per_sm : int
    resident_devices : int
        Devices that run at once.
    l1_lines, l2_lines : int
        Cache lines that each of them can keep.
    chain : dict of str to float
        Loads that wait for each other per page event, by where they hit.
    cycles : float
        Time of a page event of one device in a warp with others.
    memory_bytes : float
        Memory traffic of a page event.
    ceilings : dict of str to float
        Page events a second, by what limits them.
    """

    per_warp: int
    threads_per_sm: int
    resident_devices: int
    l1_lines: int
    l2_lines: int
    chain: dict[str, float]
    cycles: float
    memory_bytes: float
    ceilings: dict[str, float]

    @property
    def limit(self) -> str:
        """The ceiling that binds."""
        return min(self.ceilings, key=lambda name: self.ceilings[name])

    @property
    def events_per_s(self) -> float:
        """Page events a second."""
        return self.ceilings[self.limit]

    def as_record(self) -> dict[str, Any]:
        """All figures of the prediction, for JSON."""
        return {**asdict(self), "limit": self.limit, "events_per_s": self.events_per_s}


@cache
def events() -> dict[str, Any]:
    """The counts in the file that `tests/model/count_events.py` wrote."""
    record: dict[str, Any] = _read("events.json")
    return record


@cache
def registers() -> dict[str, dict[str, dict[str, int]]]:
    """Figures of the assembler's report, by compute capability and kernel."""
    table: dict[str, dict[str, dict[str, int]]] = _read("registers.json")["kernels"]
    return table


def _read(name: str) -> Any:
    return json.loads((resources.files("fleetswap") / "data" / "gpus" / name).read_text(encoding="utf-8"))


@cache
def edges() -> tuple[int, ...]:
    """Upper ends of the bins of reuse distances, cache lines; the last bin has no end."""
    return tuple(events()["edges_lines"])


def compiled_for(gpu: Gpu) -> str:
    """The compute capability whose machine code stands for a GPU's: the highest one it can have come from.

    Raises
    ------
    InputError
        If the GPU is older than all that were compiled for.
    """
    known = sorted(registers(), key=lambda text: tuple(map(int, text.split("."))))
    fitting = [text for text in known if tuple(map(int, text.split("."))) <= gpu.capability]
    if not fitting:
        raise InputError(
            f"{gpu.title}: compute_capability: {gpu.compute_capability} is too old; allowed are {known[0]} and newer"
        )
    return fitting[-1]


def work_of(workload: str, gpu: Gpu) -> Work:
    """Work of a workload on a GPU per page event.

    Parameters
    ----------
    workload : str
        A key of ``workloads`` in events.json.
    gpu : Gpu
    """
    record = events()["workloads"][workload]
    n = record["page_events"]
    kernel = registers()[compiled_for(gpu)][record["kernel"]]
    # Of the machine's instructions per PTX instruction only the ratio of the whole kernel is known.
    ratio = kernel["instructions"] / kernel["ptx_instructions"]
    parted = record["divergence"]["together"]
    return Work(
        registers=kernel["registers"],
        instructions=record["instructions"] / n * ratio,
        depth=record["alu"] / n,
        accesses=(record["loads"] + record["stores"]) / n,
        stores=record["stores"] / n,
        chain=tuple(x / n for x in record["chain"]),
        fetches=tuple(x / n for x in record["fetches"]),
        writebacks=tuple(x / n for x in record["writebacks"]),
        issue_factors={int(width): factors["issue_factor"] for width, factors in parted.items()},
        time_factors={int(width): factors["time_factor"] for width, factors in parted.items()},
    )


def predict(gpu: Gpu, work: Work, devices: int, per_warp: int | None = None) -> Prediction:
    """Ceilings of a workload on a GPU.

    Parameters
    ----------
    gpu : Gpu
    work : Work
    devices : int
        Devices that one launch has.
    per_warp : int, optional
        Devices that share a warp, each on one lane; by default as many as of a launch (`warps`).
    """
    threads = gpu.resident_threads(work.registers, BLOCK_THREADS)
    if per_warp is None:
        per_warp = devices_per_warp(devices, threads // WARP * int(gpu.sms.value))
    per_sm = threads * per_warp // WARP
    resident = min(per_sm * int(gpu.sms.value), devices)
    busy_sms = min(int(gpu.sms.value), -(-resident // (BLOCK_THREADS * per_warp // WARP)))
    l1_lines = int(gpu.l1_bytes.value) // LINE_BYTES // min(per_sm, -(-resident // busy_sms))
    l2_lines = int(gpu.l2_bytes.value) // LINE_BYTES // resident
    chain = by_level(work.chain, l1_lines, l2_lines)
    latency = {
        "l1": gpu.l1_latency_cycles.value,
        "l2": gpu.l2_latency_cycles.value,
        "memory": gpu.memory_latency_cycles.value,
    }
    alone = sum(chain[level] * latency[level] for level in LEVELS) + work.depth * gpu.alu_latency_cycles.value
    cycles = alone * work.time_factors[per_warp]
    far = by_level(work.fetches, l1_lines, l2_lines)
    memory_bytes = SECTOR_BYTES * (far["memory"] + by_level(work.writebacks, l1_lines, l2_lines)["memory"])
    of_sms = busy_sms * gpu.clock_hz
    # An instruction takes all lanes, used or not.
    lanes = work.issue_factors[per_warp] * WARP / per_warp
    ceilings = {
        "latency": resident * gpu.clock_hz / cycles,
        "instruction issue": of_sms * gpu.integer_results_per_clock.value / (work.instructions * lanes),
        "L1 lookups": of_sms * gpu.l1_lines_per_clock.value / work.accesses,
        "memory bandwidth": gpu.memory_bandwidth_bytes_per_s.value / memory_bytes if memory_bytes else float("inf"),
    }
    if gpu.l2_bytes_per_clock is not None:
        # L1 writes through: every store goes to L2.
        l2_bytes = SECTOR_BYTES * (far["l2"] + far["memory"] + work.stores)
        ceilings["L2 bandwidth"] = gpu.l2_bytes_per_clock.value * gpu.clock_hz / l2_bytes
    return Prediction(per_warp, threads, resident, l1_lines, l2_lines, chain, cycles, memory_bytes, ceilings)


def by_level(counts: tuple[float, ...], l1_lines: int, l2_lines: int) -> dict[str, float]:
    """Counts by reuse distance as hits in L1, in L2, and the rest.

    A bin is a hit only if all of its distances are.
    """
    levels = dict.fromkeys(LEVELS, 0.0)
    for edge, n in zip((*edges(), math.inf), counts, strict=True):
        levels["l1" if edge <= l1_lines else "l2" if edge <= l2_lines else "memory"] += n
    return levels


def devices_that_fit(gpu: Gpu, device_bytes: float) -> int:
    """Devices of a size that a GPU's memory holds at once, with the margin."""
    return int(gpu.memory_bytes.value * (100 - MARGIN_PERCENT) / 100 / device_bytes)
