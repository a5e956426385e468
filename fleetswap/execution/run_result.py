"""The result of a run: its summary, devices and series as tables, its report."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetswap_kernels.backend.extras import install_command

from ..errors import InputError
from ..fleet.directory import read_manifest
from ..fleet.log_histogram import LogHistogram
from ..workload.lay_out import METRICS

if TYPE_CHECKING:
    import pyarrow as pa

PERCENTS = (5, 50, 95)


class RunResult:
    """A finished run.

    Parameters
    ----------
    folder : Path
        Its run directory.
    manifest : mapping
        How it came about.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest

    def __repr__(self) -> str:
        scenario = self.manifest["scenario"]
        return f"RunResult({str(self.folder)!r}: {scenario['scenario']}, {scenario['devices']:,} devices)"

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> RunResult:
        """Open a run directory.

        Raises
        ------
        InputError
            If it is not the directory of a finished run, or a file is not the one that was written.
        """
        path = Path(folder)
        return cls(path, read_manifest(path))

    @property
    def summary(self) -> dict[str, Any]:
        """Metrics by class, the series, fallbacks by reason, allocation over uptime: summary.json."""
        content: dict[str, Any] = json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))
        return content

    @property
    def devices_table(self) -> pa.Table:
        """One row per device: class, counters under the kernel's names, metrics."""
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / "devices.parquet")

    @property
    def devices(self) -> Any:
        """`devices_table` as a pandas DataFrame.

        Raises
        ------
        ImportError
            Without pandas.
        """
        _needed("pandas", "RunResult.devices", "RunResult.devices_table needs nothing else")
        return self.devices_table.to_pandas()

    def series(self, percents: Sequence[int] = PERCENTS) -> Any:
        """Metrics over uptime as a pandas DataFrame, one row per step, class and metric.

        Parameters
        ----------
        percents : sequence of int
            Quantiles over the devices, in percent; their error is that of `log_histogram`.

        Returns
        -------
        DataFrame
            `step`, `class`, `metric`, `devices` with a value, `value` of all together, `least`, `greatest`, and a
            column for each quantile, such as `p50`; those are missing where no device has a value.

        Raises
        ------
        ImportError
            Without pandas.
        """
        pandas = _needed("pandas", "RunResult.series", "summary.json has the series too")
        return pandas.DataFrame(self._series_rows(percents))

    def to_xarray(self, percents: Sequence[int] = PERCENTS) -> Any:
        """Metrics over uptime as an xarray Dataset with the dimensions class, step and metric.

        Parameters
        ----------
        percents : sequence of int
            Quantiles over the devices, in percent.

        Returns
        -------
        Dataset
            `value` and the quantiles, as float64, not a number where there is none.

        Raises
        ------
        ImportError
            Without xarray.
        """
        xarray = _needed("xarray", "RunResult.to_xarray", "RunResult.series needs pandas only")
        rows = self._series_rows(percents)
        coordinates = {dim: list(dict.fromkeys(row[dim] for row in rows)) for dim in ("class", "step", "metric")}
        table = importlib.import_module("pandas").DataFrame(rows).set_index([*coordinates])  # xarray brings pandas
        values = table.drop(columns=["devices", "least", "greatest"]).astype(float)
        return xarray.Dataset.from_dataframe(values).sel(coordinates).assign_coords(coordinates)

    def report_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the report; returns its path."""
        from ..report.file import write_report
        from ..report.page import render_run

        origin = {"versions": self.manifest["versions"], "backend": str(self.manifest.get("backend", "cpu"))}
        write_report(Path(path), render_run({**self.summary, **origin}))
        return Path(path)

    def _series_rows(self, percents: Sequence[int]) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        bad = [q for q in percents if not 0 <= q <= 100]
        if bad:
            raise InputError(f"percents: {bad[0]} is not possible; allowed are 0 to 100")
        rows = []
        for stored_row in pq.read_table(self.folder / "series.parquet").to_pylist():
            row = {key: stored_row[key] for key in ("step", "class", "metric", "devices", "least", "greatest")}
            metric = METRICS[stored_row["metric"]]
            row["value"] = metric.of_sums(int(stored_row["numerator"]), int(stored_row["base"]))
            histogram = LogHistogram.from_dict(stored_row)
            for q in percents:
                row[f"p{q}"] = histogram.quantile(10 * q) if stored_row["devices"] else None
            rows.append(row)
        return rows


def _needed(module: str, what: str, otherwise: str) -> Any:
    """An optional package."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(f"{what} needs {module}: {install_command('frames')} ({otherwise})", name=module) from None
