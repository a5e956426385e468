"""The patch's experiments as scripts: swap times, compressed sizes, bandwidth, fewer faults."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout.pages import MIB_PAGES, order_of_kib

from ..script.language import MAX_PAGES, parse_script
from ..script.patterns import MAX_VERSIONS
from ..script.program import compile_script

BLOCK_PAGES = 16


@cache
def patch_mix() -> dict[str, float]:
    """Weights of the content classes that stand for the posting's phone memory (data/content/patch_mix.json)."""
    text = (resources.files("fleetswap") / "data" / "content" / "patch_mix.json").read_text()
    weights: dict[str, float] = json.loads(text)["weights"]
    return weights


def mixed_regions(pages: int, weights: dict[str, float]) -> list[tuple[str, str, int]]:
    """Regions of `pages` pages in all, as (region, class, pages): each class has its weight, in whole 64 KiB blocks."""
    blocks = pages // BLOCK_PAGES
    edges = np.rint(np.cumsum([0, *weights.values()]) / sum(weights.values()) * blocks).astype(int)
    regions: list[tuple[str, str, int]] = []
    for name, n in zip(weights, np.diff(edges).tolist(), strict=True):
        left = n * BLOCK_PAGES
        while left > 0:
            part = min(left, MAX_PAGES)
            regions.append((f"R{len(regions)}", name, part))
            left -= part
    return regions


def swap_round(regions: list[tuple[str, str, int]], version: int, dumps: tuple[str, str]) -> list[str]:
    """Lines of a script: memory is written anew, swapped out, read again in order and given back; a dump of each half.

    Parameters
    ----------
    regions : list of (region, class, pages)
        Of `mixed_regions`.
    version : int
        Of the contents: other ones of the same classes.
    dumps : (str, str)
        Labels.
    """
    lines = []
    for name, content_class, n in regions:
        lines += [f"map {name} {n} 9 hugepage", f"write {name} 0 {n} class:{content_class}:{version % MAX_VERSIONS}"]
    lines += [f"pageout {name} 0 {n}" for name, _, n in regions]
    lines.append(f"dump {dumps[0]}")
    lines += [f"read {name} 0 {n}" for name, _, n in regions]
    lines.append(f"dump {dumps[1]}")
    return [*lines, *(f"unmap {name}" for name, _, _ in regions)]


def swap_time_script(codec: str, folio_kib: int, rounds: int = 100, pages: int = 100 * MIB_PAGES) -> str:
    """100 times: 100 MiB of anonymous memory written, swapped out, and swapped in again.

    Parameters
    ----------
    codec : str
    folio_kib : int
        4 for single pages, else the folio size, with zram blocks of the same size and large swap-in.
    rounds, pages : int
    """
    lines = [*_header(codec, folio_kib, 2 * pages), "cfg content seed=1"]
    regions = mixed_regions(pages, patch_mix())
    for i in range(rounds):
        lines += swap_round(regions, i, (f"out{i}", f"in{i}"))
    return "\n".join(lines) + "\n"


def size_script(codec: str, folio_kib: int, pages: int = 1000 * MIB_PAGES) -> str:
    """1,048,576,000 bytes of anonymous memory swapped out once."""
    lines = [*_header(codec, folio_kib, pages + 8 * MIB_PAGES), "cfg content seed=1"]
    regions = mixed_regions(pages, patch_mix())
    for name, content_class, n in regions:
        lines += [f"map {name} {n} 9 hugepage", f"write {name} 0 {n} class:{content_class}"]
    lines += [f"pageout {name} 0 {n}" for name, _, n in regions]
    return "\n".join([*lines, "dump out"]) + "\n"


def bandwidth_script(folio_kib: int, large_swapin: bool, pages: int = 60 * MIB_PAGES) -> str:
    """Same-filled memory swapped out in folios and read again, swapped in by folios or page by page."""
    lines = [f"cfg thp {folio_kib}=always", "cfg page_cluster 0", f"cfg swapin {'large' if large_swapin else 'small'}"]
    lines += [f"cfg zram {pages // MIB_PAGES + 4}M lz4", f"map A {pages} 9 hugepage", f"write A 0 {pages} fill:0x11"]
    lines += [f"pageout A 0 {pages}", "dump out", f"read A 0 {pages}", "dump in"]
    return "\n".join(lines) + "\n"


def _header(codec: str, folio_kib: int, slots: int) -> list[str]:
    order = order_of_kib(folio_kib)
    thp = [f"cfg thp {folio_kib}=always"] if folio_kib > 4 else []
    blocks = [f"cfg blocks {order}"] if order else []
    return [*thp, "cfg page_cluster 0", *blocks, "cfg pool packed", f"cfg zram {4 * slots}K {codec}"]


def changes_by_dump(text: str) -> dict[str, npt.NDArray[np.int64]]:
    """Run a script on one device; what its counters changed before each dump, by label without its number."""
    compiled = compile_script(parse_script(text, "experiment"))
    arena = Arena([(compiled.blueprint, 1)], ONE_THREAD)
    arena.init()
    before = arena.counters()[0].astype(np.int64)
    changes: dict[str, npt.NDArray[np.int64]] = {}
    first = 0
    for step in compiled.steps:
        if step.op.name != "dump":
            continue
        arena.run(compiled.program, first, step.first)
        first = step.first
        after = arena.counters()[0].astype(np.int64)
        label = step.op.text.rstrip("0123456789")
        changes[label] = changes.get(label, 0) + after - before
        before = after
    return changes
