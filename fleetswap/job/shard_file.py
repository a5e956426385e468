"""Files of one shard: rows of its devices, sums and histograms of its steps; equal bytes for equal shards.

The rows are those of the run's devices.parquet, so what is done of a run can be read while it goes on. The steps are
the shard's cells and totals, the whole run among them, one row per class and step.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fleetswap_kernels.layout import counters

from ..fleet.cells import Cell
from ..fleet.fleet_directory import BY_STEP, class_indices, devices_table, values_by_step, whole_values
from ..fleet.log_histogram import LogHistogram, histogram_columns, wide
from ..fleet.pieces import Shard
from ..fleet.shard import FleetShard
from ..workload.laid_out import LaidOut
from ..workload.metrics import Ints

if TYPE_CHECKING:
    import pyarrow as pa

DEVICES = "devices.parquet"
STEPS = "steps.parquet"


def write_shard(laid_out: LaidOut, shard: FleetShard) -> dict[str, bytes]:
    """Content of the files of a shard, by name."""
    return {DEVICES: parquet(devices_table(laid_out, shard)), STEPS: parquet(steps_table(shard))}


def read_shard(laid_out: LaidOut, shard: Shard, files: dict[str, bytes]) -> FleetShard:
    """The shard of what `write_shard` gave. Of the counters it has those of `LaidOut.columns`, the others are 0."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(files[DEVICES]))
    counted = np.zeros((table.num_rows, counters.N_COUNTERS), dtype=np.int64)
    for name, index in laid_out.columns.items():
        counted[:, index] = table[name].to_numpy()
    result = FleetShard(shard, class_indices(table, laid_out.classes), counted)
    for name, metric in laid_out.metrics.items():
        result.metrics[name] = whole_values(table, name, metric)
        if laid_out.keeps_steps:
            result.by_step[name] = values_by_step(table, name)
    read_steps(result, files[STEPS])
    return result


def read_steps(into: FleetShard, content: bytes) -> None:
    """Fill the cells and totals of a shard."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content)).combine_chunks()
    rows = list(zip(table["class"].to_pylist(), table["step"].to_pylist(), strict=True))
    into.totals |= zip(rows, _lists(table["counters"].combine_chunks()), strict=True)
    lists = table["cells"].combine_chunks()
    cells = lists.flatten()
    owners = (row for row, n in zip(rows, lists.value_lengths().to_pylist(), strict=True) for _ in range(n))
    sums = [map(int, cells.field(name).to_pylist()) for name in ("top", "bottom", "total")]
    plain = [cells.field(name).to_pylist() for name in ("metric", "devices", "least", "greatest")]
    filled = [_lists(cells.field(name)) for name in ("bins", "counts")]
    for row, bins, counts, top, bottom, total, metric, devices, least, greatest in zip(
        owners, *filled, *sums, *plain, strict=True
    ):
        histogram = LogHistogram(bins, counts, devices, total, least, greatest)
        into.cells[*row, metric] = Cell(histogram, top, bottom)


def _lists(lists: pa.ListArray) -> list[Ints]:
    """Each list of integers as an array; they share memory."""
    return np.split(lists.flatten().to_numpy(), np.cumsum(lists.value_lengths().to_numpy())[:-1])


def steps_table(shard: FleetShard) -> pa.Table:
    """One row per class and step: counters of its devices together, and a cell for each metric."""
    import pyarrow as pa

    by_row: dict[tuple[str, int], list[dict[str, Any]]] = {at: [] for at in shard.totals}
    for (name, step, metric), cell in shard.cells.items():
        of_cell = {"metric": metric, "top": cell.top, "bottom": cell.bottom}
        by_row[name, step].append(of_cell | cell.histogram.to_dict())
    rows = [
        {"class": name, "step": step, "counters": shard.totals[name, step], "cells": by_row[name, step]}
        for name, step in sorted(by_row)
    ]
    # The format of bins is that of the version that wrote the plan.
    cells = pa.struct({"metric": pa.string(), "top": wide(), "bottom": wide()} | histogram_columns())
    schema = {"class": pa.string(), "step": pa.int64(), "counters": pa.list_(pa.int64()), "cells": pa.list_(cells)}
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))


def states_table(sums: Ints, by_step: Mapping[str, Ints]) -> pa.Table:
    """One row per device: sums of states over the steps so far, in the order in which they are simulated.

    Behind them stand metrics that are kept step by step, by the place in the fleet.
    """
    import pyarrow as pa

    states = {str(part): np.ascontiguousarray(column) for part, column in enumerate(sums.T)}
    kept = {
        f"{name}{BY_STEP}": pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        for name, values in by_step.items()
    }
    return pa.table(states | kept)


def read_states(content: bytes) -> tuple[Ints, dict[str, Ints]]:
    """What `states_table` was given."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    kept = [name.removesuffix(BY_STEP) for name in table.column_names if name.endswith(BY_STEP)]
    states = [table[name].to_numpy() for name in table.column_names if not name.endswith(BY_STEP)]
    return np.stack(states, axis=1), {name: values_by_step(table, name) for name in kept}


def parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()
