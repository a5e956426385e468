"""Prints the tables of docs/gpu-model.md from what is on file; nothing is simulated here.

python docs/gpu_model_tables.py
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fleetswap.bench import gpu_model
from fleetswap.bench.gpu import Gpu, gpu_names, load_gpu
from fleetswap.bench.gpu_model import Prediction, Work, devices_that_fit, events, predict, work_of
from fleetswap_kernels.backend.arena import device_bytes
from fleetswap_kernels.backend.warps import WARP
from fleetswap_kernels.layout.device import Sizes

WORKLOADS = ("allocator-test on", "allocator-test off", "phones")
MANY = 1_000_000
PTES = 4096


def row(cells: Iterable[object]) -> None:
    """One line of a table."""
    print("| " + " | ".join(map(str, cells)) + " |")


def head(*names: str) -> None:
    """The first two lines of a table."""
    print()
    row(names)
    row("---" for _ in names)


def giga(rate: float) -> str:
    """A rate in 10^9."""
    return f"{rate / 1e9:.2f}"


def predictions() -> None:
    """Every GPU and workload."""
    head("GPU", "workload", "predicted, 10^9/s", "bound by", "latency", "issue", "memory", "L2", "L1 lookups")
    for name in gpu_names():
        gpu = load_gpu(name)
        for workload in WORKLOADS:
            one = predict(gpu, work_of(workload, gpu), MANY)
            ceilings = (
                one.ceilings.get(k)
                for k in ("latency", "instruction issue", "memory bandwidth", "L2 bandwidth", "L1 lookups")
            )
            rates = ("-" if rate is None else giga(rate) for rate in ceilings)
            row((name, workload, giga(one.events_per_s), one.limit, *rates))
        row((name, "allocator-test, both", giga(both_policies(gpu)), *("",) * 6))


def both_policies(gpu: Gpu) -> float:
    """Page events a second of the allocator test as it is run: under both policies, one after the other."""
    counted = {workload: events()["workloads"][workload]["page_events"] for workload in WORKLOADS[:2]}
    seconds = sum(n / predict(gpu, work_of(workload, gpu), MANY).events_per_s for workload, n in counted.items())
    return sum(counted.values()) / seconds


def arithmetic(gpu: Gpu) -> None:
    """The factors of every ceiling on one GPU."""
    head("per page event", *WORKLOADS)
    works = [work_of(workload, gpu) for workload in WORKLOADS]
    ones = [predict(gpu, work, MANY) for work in works]

    def line(name: str, cells: Iterable[float], digits: int = 1) -> None:
        row((name, *(f"{cell:,.{digits}f}" for cell in cells)))

    line("machine instructions of a thread", (w.instructions for w in works))
    line("instructions that wait for each other", (w.depth for w in works))
    line("loads and stores", (w.accesses for w in works))
    for level in gpu_model.LEVELS:
        line(f"dependent loads that hit {level}", (one.chain[level] for one in ones), 2)
    times = [w.time_factors[one.per_warp] for one, w in zip(ones, works, strict=True)]
    line("cycles of a device alone", (one.cycles / time for one, time in zip(ones, times, strict=True)), 0)
    line("devices that share a warp", (one.per_warp for one in ones), 0)
    line("time factor of such a warp", times, 2)
    line("issue factor", (w.issue_factors[one.per_warp] for one, w in zip(ones, works, strict=True)), 2)
    line("bytes of memory traffic", (one.memory_bytes for one in ones), 0)
    line("devices at once", (one.resident_devices for one in ones), 0)


def sharing(gpu: Gpu) -> None:
    """How many devices should share a warp."""
    head("devices in a warp", *(f"{w}: time factor, rate" for w in WORKLOADS))
    works = [work_of(workload, gpu) for workload in WORKLOADS]
    for width in sorted(works[0].time_factors):
        ones = [(w, predict(gpu, w, MANY, width)) for w in works]
        row((width, *(f"{w.time_factors[width]:.1f}, {giga(one.events_per_s)} ({one.limit})" for w, one in ones)))


def near_header(work: Work, workload: str) -> Work:
    """As if what is fetched from afar for header and counters were near, its share of the dependent loads too."""
    by_array = events()["workloads"][workload]["far_by_array"]
    share = by_array["header, counters"] / sum(by_array.values())
    return replace(work, **{k: moved(getattr(work, k), share) for k in ("chain", "fetches", "writebacks")})


def compact_ptes(work: Work, workload: str) -> Work:
    """As if two PTEs stood where one stands: half of what is fetched from afar for PTEs is not."""
    by_array = events()["workloads"][workload]["far_by_array"]
    share = by_array["o_pte"] / 2 / sum(by_array.values())
    return replace(work, **{k: moved(getattr(work, k), share) for k in ("chain", "fetches", "writebacks")})


def moved(counts: tuple[float, ...], share: float) -> tuple[float, ...]:
    """Counts by reuse distance, a share of the far ones moved to the nearest bin."""
    far = next(i for i, edge in enumerate(gpu_model.edges()) if edge > 16)
    kept = [n if i < far else n * (1 - share) for i, n in enumerate(counts)]
    return (kept[0] + sum(counts[far:]) * share, *kept[1:])


def parted(work: Work, workload: str, how: str) -> Work:
    """As if a warp's devices parted as little as in another measurement."""
    found = events()["workloads"][workload]["divergence"][how]
    return replace(
        work,
        issue_factors={**work.issue_factors, WARP: found["issue_factor"]},
        time_factors={**work.time_factors, WARP: found["time_factor"]},
    )


def variants(gpu: Gpu) -> None:
    """What other layouts and schedules would give."""
    head("variant", *WORKLOADS)
    works = {workload: work_of(workload, gpu) for workload in WORKLOADS}

    def line(name: str, ones: Iterable[Prediction]) -> None:
        row((name, *(f"{giga(one.events_per_s)} ({one.limit})" for one in ones)))

    line("as it is", (predict(gpu, w, MANY) for w in works.values()))
    line("32 devices in a warp", (predict(gpu, w, MANY, WARP) for w in works.values()))
    for how, name in (("aligned", "wait for each other at slot-cache work"), ("sorted", "are sorted by operation")):
        line(f"the same, and they {name}", (predict(gpu, parted(w, n, how), MANY, WARP) for n, w in works.items()))
    line("header and counters near", (predict(gpu, near_header(w, n), MANY) for n, w in works.items()))
    line("PTEs of 2 bytes", (predict(gpu, compact_ptes(w, n), MANY) for n, w in works.items()))
    for count in (128, 64):
        line(f"{count} registers", (predict(gpu, replace(w, registers=count), MANY) for w in works.values()))
    for count in (works["allocator-test on"].registers, 128, 64):
        alone = (predict(gpu, replace(w, registers=count), MANY, per_warp=1) for w in works.values())
        line(f"a warp per device, {count} registers, one lane used", alone)


def state(gpu: Gpu) -> None:
    """Bytes of a process of 4096 PTEs, and how many fit."""
    head("device", "bytes of a process", "processes in 80 GB", "with a tenth free")
    kinds = {
        "one process, a frame and a slot for every page": (1, 1.0, 1.0, {}),
        "16 processes, a frame and a slot for every page": (16, 1.0, 1.0, {}),
        "16 processes, frames for half the pages, slots for three quarters": (16, 0.5, 0.75, {}),
        "the same, memory runs short, measured contents": (16, 0.5, 0.75, {"zclasses": 200, "pressure": True}),
    }
    for name, (procs, frames, slots, more) in kinds.items():
        pages = PTES * procs
        sizes = Sizes(
            slots=int(pages * slots), ptes=PTES, pmds=9, frames=int(pages * frames), procs=procs, contents=3,
            swap_cache=False, verify=False, **more,
        )  # fmt: skip
        each = device_bytes(sizes) / procs
        fit = devices_that_fit(gpu, device_bytes(sizes)) * procs
        row((name, f"{each:,.0f}", f"{gpu.memory_bytes.value / each:,.0f}", f"{fit:,}"))


def kinds() -> None:
    """What kinds of events ask, per page event."""
    head("kind", "sectors", "instructions (PTX)", "branches", "loads", "stores", "dependent loads", "of them far")
    for one in events()["kinds"]:
        n = one["page_events"]
        each = f"per {n} events" if n else "all of it"
        counts = [one["sectors"], one["instructions"], one["branches"], one["loads"], one["stores"],
                  sum(one["chain"]), sum(one["chain"][5:])]  # fmt: skip
        shown = (f"{c / n:,.2f}" if n else f"{c:,}" for c in counts)
        row((f"{one['kind']} ({each})" if not n else one["kind"], *shown))


def main() -> None:
    """Print all tables."""
    h100 = load_gpu("h100")
    predictions()
    arithmetic(h100)
    sharing(h100)
    variants(h100)
    state(h100)
    kinds()


if __name__ == "__main__":
    main()
