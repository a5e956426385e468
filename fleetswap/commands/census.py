"""`fleetswap census`: how large the folios are that faults on a user's own swapped pages could bring in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError

if TYPE_CHECKING:
    from fleetswap_kernels.backend.contract import Backend
    from fleetswap_kernels.batch.page_tables import Ints, PageTables
    from fleetswap_kernels.batch.swap_areas import SwapAreas

    from ..console import Table

FAULT_ORDERS = range(2, 9)
"""Orders that a fault can bring in (spec 05 §5.3)."""
PART_PAGES = 1 << 22
"""Pages that are looked at between two steps of the progress bar, or one process if it has more."""
PERMILLES = (50, 500, 950)
PER_PROCESS = ("swapped_pages", "alone_permille")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--orders", default="2,3,4,5,6,7,8", show_default=True, metavar="K,K", help="Enabled sizes: folios of 2^K pages."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads  [default: all usable cores]")
@click.option("--backend", default="cpu", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def census(file: Path, orders: str, threads: int | None, backend: str, as_json: bool) -> None:
    """Take the contiguity census of page tables in an .npz file, for instance of your own phone.

    FILE has `pte`, uint64, a word of /proc/PID/pagemap for each page; or `slot`, int64, -1 where a page is not swapped
    out. Optional: `offsets`, where each region's pages begin, and their number at the end; `start`, the first virtual
    page number of each region; `process`, a number for each region, such as its PID; `swap_map`, uint8, the kernel's
    byte for each slot; `zeromap`, uint8, its bitmap of zero pages. docs/census.md says how to record one.
    """
    from ..calibrate.census_file import read_census_file
    from ..console import Console, progress_bar
    from ..fleet.backend import open_backend

    mask = _mask(orders)
    chosen = open_backend(backend, threads).backend
    err = Console(stderr=True)
    tables, areas = read_census_file(file)
    with progress_bar(err, "pages", transient=True) as progress:
        task = progress.add_task("census", total=tables.pages)
        try:
            result = take(chosen, tables, areas, mask, lambda pages: progress.advance(task, pages))
        except ValueError as error:
            raise InputError(f"{file}: {error}") from None
    result = {"file": str(file), "backend": chosen.name, **result}
    if as_json:
        click.echo(json.dumps(result))
        return
    console = Console()
    for table in census_tables(result):
        console.print(table)


def take(
    backend: Backend, tables: PageTables, areas: SwapAreas, mask: int, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Take the census part by part and add up what it finds.

    Parameters
    ----------
    backend : Backend
    tables : PageTables
    areas : SwapAreas
    mask : int
        Enabled orders.
    progress : function of int
        Told the pages of every part.

    Returns
    -------
    dict
        What ``--json`` prints, but for file and backend.

    Raises
    ------
    ValueError
        If a page is in a slot that `areas` does not have.
    """
    import numpy as np

    from fleetswap_kernels.batch.census import census as census_of
    from fleetswap_kernels.batch.uniformity import BLOCK_KINDS, uniformity

    order_pages, run_counts = [np.zeros((0, 10), np.int64)], [np.zeros((0, 10), np.int64)]
    for first, end in _parts(tables):
        part = tables.part(first, end)
        counted = census_of(backend, part, areas, mask)
        order_pages.append(counted.order_pages)
        run_counts.append(counted.run_counts)
        progress(part.pages)
    pages = np.concatenate(order_pages)
    by_order, runs = pages.sum(axis=0).tolist(), np.concatenate(run_counts).sum(axis=0).tolist()
    result = {
        "orders": [k for k in FAULT_ORDERS if mask >> k & 1],
        "processes": tables.processes,
        "regions": tables.regions,
        "pages": tables.pages,
        "swapped_pages": sum(by_order),
        "pages_by_order": {str(k): by_order[k] for k in (0, *FAULT_ORDERS)},
        "runs_by_slots": {str(1 << power): n for power, n in enumerate(runs)},
        "per_process": _per_process(backend, pages),
        "blocks": None,
    }
    if areas.areas:
        counts = uniformity(backend, areas)[0].tolist()
        result["blocks"] = {str(order): dict(zip(BLOCK_KINDS, row, strict=True)) for order, row in enumerate(counts)}
    return result


def _parts(tables: PageTables) -> Iterator[tuple[int, int]]:
    """Ranges of processes that have about `PART_PAGES` pages each."""
    import numpy as np

    before = tables.region_offset[tables.process_offset]  # pages before each process
    first = 0
    while first < tables.processes:
        end = int(np.searchsorted(before, int(before[first]) + PART_PAGES, side="right")) - 1
        yield first, max(end, first + 1)
        first = max(end, first + 1)


def _per_process(backend: Backend, order_pages: Ints) -> dict[str, dict[str, int]]:
    """Quantiles over the processes that have swapped pages."""
    import numpy as np

    from fleetswap_kernels.batch.values import histogram, quantiles, reduce

    swapped = order_pages.sum(axis=1)
    values = np.stack([swapped, order_pages[:, 0] * 1000 // np.maximum(swapped, 1)], axis=1)
    groups = np.where(swapped > 0, 0, -1).astype(np.int32)
    counts, extremes = histogram(backend, values, groups, 1), reduce(backend, values, groups, 1)
    rows = [quantiles(counts, extremes, permille)[0].tolist() for permille in PERMILLES]
    return {
        name: {f"p{permille // 10}": row[column] for permille, row in zip(PERMILLES, rows, strict=True)}
        for column, name in enumerate(PER_PROCESS)
    }


def census_tables(found: dict[str, Any]) -> list[Table]:
    """What people see of a census."""
    from ..console import Table

    def table(title: str, *columns: str) -> Table:
        made = Table(title)
        made.add_columns(*columns, justify="right", no_wrap=True)
        return made

    swapped = found["swapped_pages"]
    title = f"{found['file']}: {swapped:,} of {found['pages']:,} pages of {found['processes']:,} processes swapped out"
    sizes = table(title, "comes back with", "pages", "share", "at least so large")
    left = swapped
    for order, pages in found["pages_by_order"].items():
        size = f"{4 << int(order)}K" if int(order) else "4K, alone"
        sizes.add_row(size, f"{pages:,}", _percent(pages, swapped), _percent(left, swapped))
        left -= pages
    runs = table("Runs of consecutive slots", "slots", "runs")
    for least, n in found["runs_by_slots"].items():
        most = 2 * int(least) - 1
        runs.add_row("1" if least == "1" else f"{least}+" if least == "512" else f"{least}-{most}", f"{n:,}")
    process = table("Processes with swapped pages", "", *(f"{p // 10} %" for p in PERMILLES))
    for name, row in found["per_process"].items():
        process.add_row(name.replace("_", " "), *(f"{n:,}" for n in row.values()))
    tables = [sizes, runs, process]
    if found["blocks"] is not None:
        names = ("free", "used_alike", "zeros", "no_zeros")
        blocks = table("Aligned blocks of slots", "size", "blocks", *(name.replace("_", " ") for name in names))
        for order, row in found["blocks"].items():
            blocks.add_row(f"{4 << int(order)}K", f"{row['blocks']:,}", *(f"{row[name]:,}" for name in names))
        tables.append(blocks)
    return tables


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _mask(orders: str) -> int:
    """Enabled orders as a mask."""
    mask = 0
    for word in orders.split(","):
        if not word.strip().isdecimal() or int(word) not in FAULT_ORDERS:
            raise InputError(f"--orders {word.strip()!r}: cannot be; allowed are 2 to 8, separated by commas")
        mask |= 1 << int(word)
    return mask
