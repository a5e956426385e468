"""Files of one shard: rows of its devices, sums and histograms of its steps; equal bytes for equal shards.

The rows are those of the run's devices.parquet, so what is done of a run can be read while it goes on. The steps are
the shard's cells and totals, the whole run among them, one row per class and step.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from fleetswap_kernels.layout import counters

from ..fleet.cells import Cell
from ..fleet.fleet_directory import devices_table
from ..fleet.log_histogram import LogHistogram
from ..fleet.metrics import METRICS, Ints, columns
from ..fleet.pieces import Shard
from ..fleet.shard import FleetShard
from ..scenario.model import FleetScenario

if TYPE_CHECKING:
    import pyarrow as pa

DEVICES = "devices.parquet"
STEPS = "steps.parquet"
HISTOGRAM = ("devices", "total", "least", "greatest", "bins", "counts")
"""Keys of `LogHistogram.to_dict` that are stored; the format of bins is that of the version that wrote the plan."""


def write_shard(scenario: FleetScenario, shard: FleetShard) -> dict[str, bytes]:
    """Content of the files of a shard, by name."""
    return {DEVICES: parquet(devices_table(scenario, shard)), STEPS: parquet(steps_table(shard))}


def read_shard(scenario: FleetScenario, shard: Shard, files: dict[str, bytes]) -> FleetShard:
    """The shard of what `write_shard` gave. Of the counters it has those of `metrics.columns`, the others are 0."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(files[DEVICES]))
    read = {name: table[name].to_numpy().astype(np.int64) for name in table.column_names if name != "class"}
    kinds = table["class"].combine_chunks()
    places = {name: i for i, name in enumerate(scenario.device_class)}
    lookup = np.array([places[name] for name in kinds.dictionary.to_pylist()], dtype=np.int64)
    counted = np.zeros((table.num_rows, counters.N_COUNTERS), dtype=np.int64)
    for name, index in columns().items():
        counted[:, index] = read[name]
    result = FleetShard(shard, lookup[kinds.indices.to_numpy()], counted)
    for name, metric in METRICS.items():
        share = metric.base is not None
        result.metrics[name] = np.stack([read[f"{name}_of"], read[f"{name}_base"]], axis=1) if share else read[name]
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
        histogram_content = cell.histogram.to_dict()
        histogram_fields = {key: histogram_content[key] for key in HISTOGRAM}
        by_row[name, step].append({"metric": metric, "top": cell.top, "bottom": cell.bottom, **histogram_fields})
    rows = [
        {"class": name, "step": step, "counters": shard.totals[name, step], "cells": by_row[name, step]}
        for name, step in sorted(by_row)
    ]
    # Sums of a fleet may exceed 64 bits.
    wide = pa.decimal128(38, 0)
    plain = {"metric": pa.string(), "top": wide, "bottom": wide, "devices": pa.int64(), "total": wide}
    plain |= {"least": pa.int64(), "greatest": pa.int64()}
    plain |= {"bins": pa.list_(pa.int64()), "counts": pa.list_(pa.int64())}
    cell_type = pa.struct(list(plain.items()))
    schema = {"class": pa.string(), "step": pa.int64(), "counters": pa.list_(pa.int64()), "cells": pa.list_(cell_type)}
    return pa.Table.from_pylist(rows, schema=pa.schema(list(schema.items())))


def states_table(sums: Ints) -> pa.Table:
    """Sums of states over the steps so far, one row per device, in the order in which they are simulated."""
    import pyarrow as pa

    return pa.table({str(part): np.ascontiguousarray(column) for part, column in enumerate(sums.T)})


def read_states(content: bytes) -> Ints:
    """What `states_table` was given."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()
