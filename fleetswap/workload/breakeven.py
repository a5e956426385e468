"""The question when large compression blocks pay, as a script: memory written, swapped out, and read again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fleetswap_kernels.backend.arena import Blueprint
from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.pages import MIB_PAGES, order_of_kib

from ..errors import InputError
from ..scenario.content_library import class_names, load_library
from ..scenario.cost import load_profile
from ..scenario.experiments import Breakeven
from ..script.language import MAX_REGIONS, parse_script
from ..script.program import compile_script
from . import metrics
from .experiments import mixed_regions, patch_mix, swap_round
from .laid_out import Kind, LaidOut, seed_fields
from .metrics import Metric


@dataclass(frozen=True)
class Variant:
    """A size of folios and compression blocks.

    Parameters
    ----------
    block_kib : int
        4, 16 or 64.
    fallback : bool
        Whether small folios are mapped from one decompression where no large one can be had.
    """

    block_kib: int
    fallback: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.block_kib}K{' small folios' if self.fallback else ''}"

    def class_name(self, codec: str, success_percent: int) -> str:
        """The class of devices that have such blocks and find large folios so often; single pages need none."""
        chance = f" {success_percent} %" if self.block_order else ""
        return f"{codec} {self.name}{chance}"

    @property
    def block_order(self) -> int:
        """Order of the blocks."""
        return order_of_kib(self.block_kib)


METRICS = {
    **{name: metrics.METRICS[name] for name in ("stall_ns", "cpu_ns", "decompressed_bytes")},
    "mem_used_bytes": Metric("bytes", "min", "memory of zram's pool, mean over time", "pool_bytes", state=True),
    "compressed_bytes": Metric("bytes", "min", "compressed pages, mean over time", "compressed_bytes", state=True),
}
VARIANTS = (Variant(4), Variant(16), Variant(16, fallback=True), Variant(64), Variant(64, fallback=True))


def contents_of(name: str) -> tuple[Path | None, dict[str, float]]:
    """Library and class weights of a scenario's contents.

    Raises
    ------
    InputError
        If the name is none of a built-in class or mix, and no file.
    """
    if name == "patch-mix":
        return None, patch_mix()
    if name in class_names():
        return None, {name: 1.0}
    if not name.endswith(".npz"):
        raise InputError(
            f"content: {name!r} is unknown; allowed are patch-mix, {', '.join(class_names())}, or a library file (.npz)"
        )
    return Path(name), dict.fromkeys(load_library(Path(name)).names, 1.0)


def script_text(codec: str, variant: Variant, memory_mib: int, rounds: int, weights: dict[str, float]) -> str:
    """One device's life: every round all memory is new, is swapped out, and is read again in order.

    Parameters
    ----------
    codec : str
        Name of the zram codec.
    variant : Variant
        Size of folios and compression blocks.
    memory_mib : int
        Memory that is written, in MiB.
    rounds : int
        How often it is swapped out and read again.
    weights : dict of str to float
        Weight of each content class in the memory; they need not add up to 1.
    """
    pages = memory_mib * MIB_PAGES
    lines = ["cfg page_cluster 0", "cfg pool packed", f"cfg zram {memory_mib + 8}M {codec}"]
    if variant.block_order:
        blocks = f"cfg blocks {variant.block_order}{' fallback' if variant.fallback else ''}"
        lines = [f"cfg thp {variant.block_kib}=always", blocks, *lines]
    regions = mixed_regions(pages, weights)
    for i in range(rounds):
        lines += swap_round(regions, i, ("out", "in"))
    return "\n".join(lines) + "\n"


def lay_out(scenario: Breakeven) -> LaidOut:
    """Lay out the question: every device at every point; of each round a step swaps out, the next reads again.

    A point is a codec, a size of blocks and a chance of large folios. Single pages need no large folio and have one
    point. Step 0 is before the first round: what mkswap did is nobody's cost.

    Raises
    ------
    InputError
        If there is no such content, or the cost profile cannot be used.
    """
    profile = load_profile(scenario.cost)
    for codec in CODECS:
        if codec not in profile.codecs:
            raise InputError(f"cost: {scenario.cost} has no times of codec {codec}; add codec.{codec}, or inherits")
    library, weights = contents_of(scenario.content)
    regions = len(mixed_regions(scenario.memory_mib * MIB_PAGES, weights))
    if regions > MAX_REGIONS:
        raise InputError(f"content: {scenario.content} needs {regions} regions; allowed are {MAX_REGIONS}")
    kinds: dict[str, Kind] = {}
    for codec in CODECS:
        for variant in VARIANTS:
            text = script_text(codec, variant, scenario.memory_mib, scenario.rounds, weights)
            compiled = compile_script(parse_script(text, "breakeven", tuple(weights)), library)
            facets = {"codec": codec, "block_kib": variant.block_kib, "fallback": variant.fallback}
            for percent in success_rates(scenario) if variant.block_order else (0,):
                kinds[variant.class_name(codec, percent)] = Kind(
                    _device(scenario, compiled.blueprint, percent),
                    scenario.cost,
                    codec,
                    variant.block_order,
                    facets={**facets, "success_percent": percent if variant.block_order else None},
                )
    dumps = [step.first for step in compiled.steps if step.op.name == "dump"]
    return LaidOut(
        scenario,
        scenario.digest(),
        kinds,
        compiled.program,  # The same for all: what a point decides stands in a device's header.
        (0, 0, *dumps),
        METRICS,
        f"{len(kinds)} points of {scenario.devices:,} devices with {scenario.memory_mib} MiB each, cost profile "
        f"{scenario.cost}",
        library=library,
        advises=True,
        is_paired=True,
        keeps_steps=True,
    )


def success_rates(scenario: Breakeven) -> range:
    """Success rates that are simulated, percent."""
    return range(0, 101, scenario.step_percent)


def _device(scenario: Breakeven, blueprint: Blueprint, percent: int) -> Blueprint:
    """A device with the seed of the fleet, and a chance of large folios, at the first fault as at swap-in."""
    drawn = {"verdicts": 1, "folio_chance": 1, "folio_chance_q16": (percent << 16) // 100}
    sizes = replace(blueprint.sizes, swap_cache=False, verify=False)
    return replace(blueprint, sizes=sizes, policy={**blueprint.policy, **drawn, **seed_fields(scenario.seed)})
