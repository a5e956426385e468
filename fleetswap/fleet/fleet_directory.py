"""Results of a fleet: totals merged shard by shard, the run directory streamed to the disk, the summary of phones."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fleetswap_kernels.backend.log_bins import SUB_BITS
from fleetswap_kernels.layout.pages import SIZES_KIB
from fleetswap_kernels.layout.reasons import SWAPIN_REASONS, SWAPOUT_REASONS

from ..report.matplotlib_folder import place_matplotlib
from ..scenario.model import FleetScenario
from ..workload.laid_out import LaidOut
from ..workload.metrics import METRICS, Ints, Metric, columns
from .cells import ALL, WHOLE_RUN, Cell, Cells, Totals
from .log_histogram import histogram_columns, wide
from .quantiles import quantiles
from .shard import FleetShard, add_up, step_bytes

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 8192
"""Rows that devices.parquet stores together, however the fleet is cut: its bytes do not depend on shards."""
ROW_GROUP_BYTES = 64 << 20
"""Metrics of steps that they have at most."""
BY_STEP = "_by_step"
"""Ending of columns that have a value for each step."""
ASSUMPTIONS = (
    "Phones are synthetic: fleet, apps and habits are those of the scenario, every number of which can be changed.",
    "A phone is a miniature: RAM, zram and apps are divided by the page scale; pages, folios and clusters are not.",
    "In a miniature lists are shorter, per-CPU slot caches weigh more, and a large folio is a larger part of an app.",
    "Contents were measured on desktop programs that stand in for apps.",
    "Recency is kept per 64 KiB of address space, in generations like MGLRU's.",
    "kswapd has a share of pages before each fault instead of a CPU of its own; file pages are a fixed part of RAM.",
)


@dataclass
class FleetTotals:
    """What is known of a whole fleet; shards are added in any order.

    Parameters
    ----------
    cells : Cells
    totals : Totals
    devices : dict of str to int
        Devices by class.
    """

    cells: Cells = field(default_factory=dict)
    totals: Totals = field(default_factory=dict)
    devices: dict[str, int] = field(default_factory=dict)

    def add(self, shard: FleetShard, classes: Sequence[str]) -> None:
        """Add the devices of a shard."""
        add_up(self.cells, self.totals, shard)
        counts = np.bincount(shard.classes, minlength=len(classes)).tolist()
        for name, n in [(ALL, sum(counts)), *zip(classes, counts, strict=True)]:
            self.devices[name] = self.devices.get(name, 0) + n


def _step(metric: str, cell: Cell) -> dict[str, int]:
    """A metric of the devices that have it in a step, of a share those with a base; quantiles are the histogram's."""
    return _total(metric, cell) | {f"p{q}": cell.histogram.quantile(10 * q) for q in (5, 50, 95)}


def _total(metric: str, cell: Cell) -> dict[str, int]:
    return {"total": METRICS[metric].of_sums(cell.top, cell.bottom)}


def _quantiles(metric: str, values: Ints, groups: Mapping[str, slice]) -> dict[str, dict[str, int]]:
    """Exact quantiles of a metric over the devices of each group that have it: of a share, those with a base."""
    known = METRICS[metric]
    have = np.ones(len(values), dtype=bool) if known.base is None else values[:, 1] > 0
    metric_values = known.value([values] if known.base is None else [*values.T])
    return {
        name: group_quantiles
        for name, of in groups.items()
        if (group_quantiles := quantiles(metric_values[of][have[of]])) is not None
    }


def summarise(
    scenario: FleetScenario, totals: FleetTotals, classes: Ints, values: Callable[[str], Ints]
) -> dict[str, Any]:
    """The summary of a run: metrics by class, the series, fallbacks by reason, allocation over uptime.

    Parameters
    ----------
    scenario : FleetScenario
    totals : FleetTotals
    classes : int64 array of shape (devices,)
        Class of each device, by index.
    values : callable
        Gives a metric of all devices in the order of `classes`, as `FleetShard.metrics` has it; asked for one after the
        other, so that a fleet may be larger than memory.
    """
    steps = range(scenario.days * scenario.steps_per_day)
    where = [ALL, *(name for name in scenario.device_class if totals.devices.get(name))]
    at = columns()
    run_totals = totals.totals[ALL, WHOLE_RUN]
    last = totals.totals[ALL, steps[-1]]
    by_class = np.argsort(classes, kind="stable")
    ends = np.cumsum([0, *np.bincount(classes, minlength=len(scenario.device_class))]).tolist()
    groups = {ALL: slice(None), **dict(zip(scenario.device_class, map(slice, ends, ends[1:]), strict=False))}
    exact = {metric: _quantiles(metric, values(metric)[by_class], groups) for metric in METRICS}

    def known(name: str, step: int, metric: str) -> bool:
        return totals.cells[name, step, metric].histogram.devices > 0

    def allocation(size: int) -> list[dict[str, int]]:
        wanted, refused = at[f"folio_wanted_{size}kB"], at[f"folio_refused_{size}kB"]
        counted = [(step, totals.totals[ALL, step]) for step in steps]
        return [{"step": s, "wanted": int(n[wanted]), "granted": int(n[wanted] - n[refused])} for s, n in counted]

    return {
        "scenario": scenario.resolved(),
        "digest": scenario.digest(),
        "devices": {name: totals.devices[name] for name in where},
        "hours_per_step": 24 / scenario.steps_per_day,
        "quantile_error": f"1/{2 << SUB_BITS}",
        "metrics": {
            name: {m: _total(m, totals.cells[name, WHOLE_RUN, m]) | exact[m][name] for m in METRICS if name in exact[m]}
            for name in where
        },
        "series": {
            name: {
                m: [{"step": s, **_step(m, totals.cells[name, s, m])} for s in steps if known(name, s, m)]
                for m in METRICS
            }
            for name in where
        },
        "fallback": {
            "swapin": {name: int(run_totals[at[f"swapin_fallback_{name}"]]) for name in SWAPIN_REASONS},
            "swapout": {name: int(run_totals[at[f"swapout_fallback_{name}"]]) for name in SWAPOUT_REASONS},
        },
        "allocation": {f"{size}K": allocation(size) for size in SIZES_KIB if run_totals[at[f"folio_wanted_{size}kB"]]},
        "census": {str(k): int(last[at[f"census_order_{k}"]]) for k in (0, *range(2, 9))},
        "counters": {name: int(run_totals[index]) for name, index in at.items()},
        "warnings": scenario.warnings,
        "assumptions": list(ASSUMPTIONS),
    }


def devices_table(laid_out: LaidOut, shard: FleetShard) -> pa.Table:
    """One row per device of a shard: class and what tells it from others, counters under the kernel's names, metrics.

    Where metrics are kept step by step, ``NAME_by_step`` has a list of them.
    """
    import pyarrow as pa

    indices = pa.array(shard.classes.astype(np.int32))

    def of_class(values: Sequence[Any]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(indices, pa.array(values))

    facets = [kind.facets for kind in laid_out.kinds.values()]
    data: dict[str, Any] = {"device": laid_out.numbers_of(shard.shard.first, shard.shard.end)}
    data["class"] = of_class(laid_out.classes)
    data |= {name: of_class([each[name] for each in facets]).dictionary_decode() for name in facets[0]}
    data |= {name: np.ascontiguousarray(shard.counters[:, index]) for name, index in laid_out.columns.items()}
    for name, values in shard.metrics.items():
        metric = laid_out.metrics[name]
        parts = [values] if metric.base is None else list(values.T)
        data[name] = metric.value(parts)
        if len(parts) == 2:
            data[f"{name}_of"], data[f"{name}_base"] = parts
    for name, values in shard.by_step.items():
        data[f"{name}{BY_STEP}"] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), laid_out.steps)
    return pa.table(data)


def read_classes(path: Path, names: Sequence[str]) -> Ints:
    """Class of each device in a file that `devices_table` made, by index."""
    return class_indices(_read(path, "class"), names)


def read_by_step(path: Path, metric: str) -> Ints:
    """A metric of each device in each step, in a file that `devices_table` made, as `FleetShard.by_step` has it."""
    return values_by_step(_read(path, f"{metric}{BY_STEP}"), metric)


def read_metric(path: Path, metric: str) -> Ints:
    """A metric of each device in a file that `devices_table` made, as `FleetShard.metrics` has it."""
    return whole_values(_read(path, *_part_names(metric, METRICS[metric])), metric, METRICS[metric])


def _read(path: Path, *names: str) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=list(names))


def _part_names(name: str, metric: Metric) -> list[str]:
    """Columns of a metric: of a share those of its numerator and denominator."""
    return [name] if metric.base is None else [f"{name}_of", f"{name}_base"]


def class_indices(devices: pa.Table, names: Sequence[str]) -> Ints:
    """Class of each device, by index."""
    kinds = devices["class"].unify_dictionaries().combine_chunks()
    lookup = np.array([names.index(name) for name in kinds.dictionary.to_pylist()], dtype=np.int64)
    classes: Ints = lookup[kinds.indices.to_numpy()]
    return classes


def values_by_step(devices: pa.Table, name: str) -> Ints:
    """A metric of each device in each step, int64 array of shape (devices, steps)."""
    lists = devices[f"{name}{BY_STEP}"].combine_chunks()
    values: Ints = lists.flatten().to_numpy().astype(np.int64).reshape(len(lists), -1)
    return values


def whole_values(devices: pa.Table, name: str, metric: Metric) -> Ints:
    """A metric of each device, of a share columns numerator and denominator."""
    parts = [devices[part].to_numpy().astype(np.int64) for part in _part_names(name, metric)]
    return parts[0] if len(parts) == 1 else np.stack(parts, axis=1)


def series_table(laid_out: LaidOut, totals: FleetTotals) -> pa.Table:
    """One row per step, class and metric: histogram of the devices' values (`LogHistogram.from_dict`), sums of parts.

    `total` is the sum of the values. A share of all devices together is `numerator` times the metric's `per` over
    `base`; of what is no share `numerator` is the total and `base` 0.
    """
    import pyarrow as pa

    rows = []
    # Of devices that stand in every class there is nothing to say of all together.
    names = laid_out.classes if laid_out.is_paired else (ALL, *laid_out.classes)
    for step in range(laid_out.steps):
        for name in names:
            for metric in laid_out.metrics:
                cell = totals.cells.get((name, step, metric))
                if cell is not None:
                    rows.append(
                        {"step": step, "class": name, "metric": metric, "numerator": cell.top, "base": cell.bottom}
                        | cell.histogram.to_dict()
                    )
    columns = {"step": pa.int64(), "class": pa.string(), "metric": pa.string(), "numerator": wide(), "base": wide()}
    return pa.Table.from_pylist(rows, schema=pa.schema(columns | {"sub_bits": pa.int64()} | histogram_columns()))


def load_writers() -> None:
    """Load all that writing a run needs: that something cannot be shows before hours of simulation, not after them."""
    place_matplotlib()
    for module in ("jinja2", "matplotlib.figure", "matplotlib.backends.backend_svg", "pyarrow.parquet"):
        importlib.import_module(module)
    importlib.import_module("pyarrow").array([0])  # loads pandas, if there is one


class FleetWriter:
    """Writes the files of a run into a folder, shard by shard.

    Parameters
    ----------
    folder : Path
        An empty one, of which nobody knows yet (`staging`).
    laid_out : LaidOut

    Attributes
    ----------
    step_ns : int
        Time that the shards spent in kernels.
    """

    def __init__(self, folder: Path, laid_out: LaidOut) -> None:
        self.folder = folder
        self.laid_out = laid_out
        self.totals = FleetTotals()
        self.step_ns = 0
        self._devices: Any = None
        self._rows: Any = None

    def add_all(self, shards: Iterable[FleetShard]) -> None:
        """Add shards as they come; none is kept while the next one is made."""
        try:
            for shard in shards:
                self.add(shard)
                del shard
        except BaseException:
            with contextlib.suppress(Exception):
                self._devices.close()
            raise

    def add(self, shard: FleetShard) -> None:
        """Write the devices of the next shard and add them to the totals; shards come in the order of devices.

        Raises
        ------
        OSError
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = devices_table(self.laid_out, shard)
        if self._devices is None:
            self._devices = pq.ParquetWriter(self.devices_path, table.schema, compression="zstd")
            self._rows = table[:0]
        self._rows = pa.concat_tables([self._rows, table])
        group = max(min(ROW_GROUP, ROW_GROUP_BYTES // max(step_bytes(self.laid_out), 1)), 1)
        while self._rows.num_rows >= group:
            self._write_rows(self._rows[:group])
            self._rows = self._rows[group:]
        self.totals.add(shard, self.laid_out.classes)
        self.step_ns += shard.step_ns

    def finish(self) -> None:
        """Write the rest of the devices, and the series.

        Raises
        ------
        OSError
        """
        import pyarrow.parquet as pq

        self._write_rows(self._rows)
        self._devices.close()
        pq.write_table(series_table(self.laid_out, self.totals), self.folder / "series.parquet", compression="zstd")

    @property
    def devices_path(self) -> Path:
        """File of the devices."""
        return self.folder / "devices.parquet"

    def _write_rows(self, rows: pa.Table) -> None:
        """One row group; pieces that its columns are made of would show in its pages."""
        if rows.num_rows:
            self._devices.write_table(rows.combine_chunks())
