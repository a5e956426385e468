"""The Python interface: load a scenario, run it, read its results, compare two policies.

Examples
--------
>>> import fleetswap
>>> phones = fleetswap.Scenario.load("phones", {"policy.large_swapin": "off"}, devices=100)
>>> result = fleetswap.run(phones)  # doctest: +SKIP
>>> result.summary["metrics"]["all"]["pgmajfault"]["p50"]  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .analysis.comparison import Comparison, Source, read_manifest
from .analysis.comparison import compare as compare_sources
from .errors import InputError
from .fleet.backend import open_backend
from .fleet.fleet_directory import FleetWriter
from .fleet.log_histogram import LogHistogram
from .fleet.metrics import METRICS
from .fleet.pieces import Progress, no_progress
from .fleet.shard import fleet_bytes, plan_shards, run_shards, warm_up
from .scenario import file as scenario_file
from .scenario.experiments import BUILT_IN
from .scenario.model import FleetScenario
from .scenario.units import setting_word
from .workload.phones import plan

if TYPE_CHECKING:
    import pyarrow as pa

Settings = Mapping[str, Any] | Sequence[str]
"""Changed parameters by dotted key, or texts ``KEY=VALUE`` as the command line has them."""
PERCENTS = (5, 50, 95)


@dataclass(frozen=True)
class Scenario:
    """A fleet, what its people do, and the policy of its devices.

    Parameters
    ----------
    fleet : FleetScenario
        Every value, checked.
    """

    fleet: FleetScenario

    @classmethod
    def load(
        cls, name_or_path: str | os.PathLike[str], settings: Settings = (), devices: int | None = None, seed: int = 0
    ) -> Scenario:
        """Read a scenario.

        Parameters
        ----------
        name_or_path : str or path
            A built-in fleet, such as "phones", or a .toml file.
        settings : mapping or sequence of str
            Changed parameters: ``{"policy.large_swapin": "off"}`` or ``["policy.large_swapin=off"]``.
        devices : int, optional
            Devices of the fleet; the scenario's own number by default.
        seed : int

        Raises
        ------
        InputError
            If something cannot be used: one line with every problem.
        """
        name = os.fspath(name_or_path)
        if name in BUILT_IN:
            raise InputError(f"{name}: is no fleet; allowed are {', '.join(scenario_file.built_in())} and .toml files")
        return cls(scenario_file.load_fleet_scenario(name, _words(settings), devices, seed))

    @property
    def resolved(self) -> dict[str, Any]:
        """Every key, defaults included."""
        return scenario_file.resolved(self.fleet)

    @property
    def digest(self) -> str:
        """Hash of the resolved scenario."""
        return scenario_file.digest(self.fleet)


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
        told: dict[str, Any] = json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))
        return told

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
        dims = ("class", "step", "metric")
        coordinates = {dim: list(dict.fromkeys(row[dim] for row in rows)) for dim in dims}
        places = {dim: {name: i for i, name in enumerate(names)} for dim, names in coordinates.items()}
        variables = {}
        for name in ("value", *(f"p{q}" for q in percents)):
            cube = np.full([len(names) for names in coordinates.values()], np.nan)
            for row in rows:
                if row[name] is not None:
                    cube[tuple(places[dim][row[dim]] for dim in dims)] = row[name]
            variables[name] = (dims, cube)
        return xarray.Dataset(variables, coords=coordinates)

    def report_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the report; returns its path."""
        from .report.file import write_report
        from .report.page import render_run

        told = {"versions": self.manifest["versions"], "backend": str(self.manifest.get("backend", "cpu"))}
        write_report(Path(path), render_run({**self.summary, **told}))
        return Path(path)

    def _series_rows(self, percents: Sequence[int]) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        bad = [q for q in percents if not 0 <= q <= 100]
        if bad:
            raise InputError(f"percents: {bad[0]} is not possible; allowed are 0 to 100")
        rows = []
        for told in pq.read_table(self.folder / "series.parquet").to_pylist():
            known, top, base = METRICS[told["metric"]], int(told["numerator"]), int(told["base"])
            row = {key: told[key] for key in ("step", "class", "metric", "devices", "least", "greatest")}
            row["value"] = top * known.per // max(base, 1) if known.base else top
            histogram = LogHistogram.from_dict(told)
            for q in percents:
                row[f"p{q}"] = histogram.quantile(10 * q) if told["devices"] else None
            rows.append(row)
        return rows


def run(
    scenario: Scenario | str,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    shards: int | None = None,
    progress: bool = False,
    backend: str = "auto",
) -> RunResult:
    """Simulate a fleet.

    Parameters
    ----------
    scenario : Scenario or str
        A scenario, or what `Scenario.load` takes.
    out : path, optional
        Run directory to write; by default a temporary one that lives as long as the result.
    threads, shards : int, optional
        CPU threads, all usable cores by default, and pieces of the fleet; results do not depend on them.
    progress : bool
        Whether a bar with the time left is shown on stderr.
    backend : str
        "cpu", "cuda", or "auto": a GPU where one can be used. Results do not depend on it.

    Raises
    ------
    InputError
        If the scenario or the backend cannot be used or the directory cannot be written.
    """
    fleet = (scenario if isinstance(scenario, Scenario) else Scenario.load(scenario)).fleet
    chosen = open_backend(backend, threads)
    laid_out = plan(fleet)
    pieces = plan_shards(fleet, laid_out, shards or 0, chosen.backend)
    temporary = Path(tempfile.mkdtemp(prefix="fleetswap-")) if out is None else None
    folder = temporary / "run" if temporary else Path(out or "")
    facts: dict[str, Any] = {"seed": fleet.seed}
    facts |= {"started": datetime.now(UTC).isoformat(), "page_scale": fleet.page_scale}
    facts["device_bytes"] = fleet_bytes(fleet, laid_out) // fleet.devices
    writer = FleetWriter(folder, fleet)
    writer.begin()
    try:
        compile_ns = warm_up(laid_out, chosen.backend)
        started = time.perf_counter_ns()
        with _shown(progress, fleet.devices * fleet.days * fleet.steps_per_day) as advance:
            writer.add_all(run_shards(fleet, laid_out, pieces, chosen.backend, advance))
        rest = time.perf_counter_ns() - started - writer.step_ns
        facts["timings_s"] = {"compile": compile_ns / 1e9, "step": writer.step_ns / 1e9, "fold_and_write": rest / 1e9}
        facts["shards"] = [asdict(shard) for shard in writer.shards]
        writer.finish({**facts, **chosen.facts()})
    except BaseException:
        writer.abandon()
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    result = RunResult(folder, read_manifest(folder))
    if temporary:
        weakref.finalize(result, shutil.rmtree, temporary, ignore_errors=True)
    return result


def compare(
    a: Scenario | RunResult | str | os.PathLike[str],
    b: Scenario | RunResult | str | os.PathLike[str],
    *,
    reference: Scenario | None = None,
    threads: int | None = None,
    progress: bool = False,
    backend: str = "auto",
) -> Comparison:
    """Compare two policies on the same devices, with the same random numbers.

    Parameters
    ----------
    a, b : Scenario, RunResult, str or path
        What is not a finished run, or the directory of one, is simulated.
    reference : Scenario, optional
        A third policy; the pages that A reads beyond it are told as extra pages.
    threads : int, optional
    progress : bool
        Whether a bar with the time left is shown on stderr.
    backend : str
        See `run`.

    Raises
    ------
    InputError
        If they are different fleets, naming what differs.
    """
    sources = [_source(side) for side in (a, b)]
    third = reference.fleet if reference else None
    simulated = [s for s in (*sources, third) if isinstance(s, FleetScenario)]
    with _shown(progress, sum(s.devices * s.days * s.steps_per_day for s in simulated)) as advance:
        opened = open_backend(backend, threads).backend
        return compare_sources(*sources, reference=third, backend=opened, progress=advance)


def _source(side: Scenario | RunResult | str | os.PathLike[str]) -> Source:
    if isinstance(side, RunResult):
        return side.folder
    if isinstance(side, Scenario):
        return side.fleet
    return Path(side) if Path(side).is_dir() else Scenario.load(side).fleet


def _words(settings: Settings) -> tuple[str, ...]:
    """Settings as the command line has them."""
    if isinstance(settings, Mapping):
        return tuple(f"{key}={setting_word(value)}" for key, value in settings.items())
    if isinstance(settings, str):
        raise InputError(f"settings: {settings!r} is not possible; allowed are a table, or a list of KEY=VALUE")
    return tuple(settings)


@contextlib.contextmanager
def _shown(shown: bool, total: int) -> Iterator[Progress]:
    """A progress bar, or none."""
    if not shown:
        yield no_progress
        return
    from .console import Console, progress_bar

    with progress_bar(Console(stderr=True), "device-steps") as bar:
        task = bar.add_task("simulating", total=total)
        yield lambda steps: bar.advance(task, steps)


def _needed(module: str, what: str, otherwise: str) -> Any:
    """An optional package."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(f"{what} needs {module}: pip install {module} ({otherwise})", name=module) from None
