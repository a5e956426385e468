"""The run directory: manifest, rows per device, histograms per step, summary; never half written."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout.pages import order_of_kib

from .. import __version__
from ..errors import InputError
from ..scenario.content_library import class_names
from ..scenario.cost import load_profile
from ..scenario.experiments import POLICIES, Scenario
from .exact_series import METRICS, Series
from .pieces import ShardResult
from .price import price

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
CLASS = "allocator-test"
"""Device class: the scenarios of this version have one."""


def counter_columns(order: int) -> dict[str, int]:
    """Columns of devices.parquet: counters that exist once, then those of the enabled folio size."""
    columns = {name: i for i, name in enumerate(counters.SCALAR_NAMES)}
    size_kib = 4 << order
    return columns | {f"{name}_{size_kib}kB": counters.mthp_index(name, order) for name in counters.MTHP}


PRICED = ("stall_ns", "cpu_ns", "decompressed_bytes")
"""Columns of devices.parquet that the scenario's cost profile makes of the counters."""


def devices_table(scenario: Scenario, results: list[ShardResult], order: int) -> pa.Table:
    """One row per device and policy, devices in the order of the fleet: counters, and what they cost."""
    import pyarrow as pa

    profile = load_profile(scenario.test.cost)
    block_order = order_of_kib(scenario.test.block_kib)
    results = sorted(results, key=lambda r: r.shard.first)
    columns: dict[str, list[Any]] = {"device": [], "class": [], "policy": []}
    columns |= {name: [] for name in counter_columns(order)}
    for policy in POLICIES:
        for result in results:
            n = result.shard.end - result.shard.first
            columns["device"].append(np.arange(result.shard.first, result.shard.end, dtype=np.int64))
            columns["class"].append(np.full(n, CLASS))
            columns["policy"].append(np.full(n, policy))
            for name, index in counter_columns(order).items():
                columns[name].append(result.counters[policy][:, index].astype(np.int64))
            events = result.counters[policy].astype(np.int64)
            paid = price(events, profile, scenario.test.codec, block_order, class_names())
            for name in PRICED:
                columns.setdefault(name, []).append(getattr(paid, name))
    return pa.table({name: np.concatenate(parts) for name, parts in columns.items()})


def series_table(series: Series) -> pa.Table:
    """One row per policy, step and metric: total and histogram (values and how many devices had each)."""
    import pyarrow as pa

    rows = []
    for (policy, step, metric), histogram in sorted(
        series.cells.items(), key=lambda c: (POLICIES.index(c[0][0]), c[0][1], METRICS.index(c[0][2]))
    ):
        values = sorted(histogram.counts)
        rows.append(
            {
                "policy": policy,
                "step": step,
                "class": CLASS,
                "metric": metric,
                "devices": histogram.devices,
                "total": histogram.total,
                "values": values,
                "counts": [histogram.counts[v] for v in values],
            }
        )
    return pa.Table.from_pylist(rows)


def summarise(scenario: Scenario, series: Series) -> dict[str, Any]:
    """Fleet quantiles of every step and metric, by policy."""
    steps: dict[str, list[dict[str, Any]]] = {}
    for policy in POLICIES:
        steps[policy] = []
        for step in range(1, scenario.test.iterations + 1):
            row: dict[str, Any] = {"step": step}
            for metric in METRICS:
                histogram = series.cell(policy, step, metric)
                row[metric] = {f"p{q}": histogram.quantile(q) for q in (5, 50, 95)} | {"total": histogram.total}
            steps[policy].append(row)
    return {"scenario": scenario.resolved(), "digest": scenario.digest(), "steps": steps}


def versions() -> dict[str, str]:
    """Versions of everything a result may depend on."""
    import numba
    import pyarrow

    return {
        "fleetswap": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "pyarrow": pyarrow.__version__,
        "platform": platform.platform(),
    }


def write_run(
    folder: Path, scenario: Scenario, results: list[ShardResult], order: int, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the files of an allocator test into a folder; returns its summary.

    Parameters
    ----------
    folder : Path
        An existing directory.
    scenario : Scenario
    results : list of ShardResult
        Of all shards, in the order of devices.
    order : int
        Order of the enabled folio size.
    facts : mapping
        How the run was made; goes into the manifest.

    Raises
    ------
    OSError
    """
    series = Series()
    series.merge(result.series for result in results)
    summary = summarise(scenario, series)
    manifest = {
        "scenario": scenario.resolved(),
        "scenario_hash": scenario.digest(),
        **facts,
        "shards": [
            {"number": r.shard.number, "first": r.shard.first, "end": r.shard.end, "sha256": shard_checksum(r)}
            for r in results
        ],
    }
    write_files(folder, manifest, devices_table(scenario, results, order), series_table(series), summary)
    return summary


def write_files(
    folder: Path, manifest: Mapping[str, Any], devices: pa.Table, series: pa.Table, summary: Mapping[str, Any]
) -> None:
    """Write the files of a run into a folder, the manifest last.

    Parameters
    ----------
    folder : Path
        An existing directory.
    manifest : mapping
        Content of manifest.json, but for versions and hashes of the files.
    devices : pyarrow.Table
        Content of devices.parquet.
    series : pyarrow.Table
        Content of series.parquet.
    summary : mapping
        Content of summary.json.

    Raises
    ------
    OSError
    """
    import pyarrow.parquet as pq

    pq.write_table(devices, folder / "devices.parquet")
    pq.write_table(series, folder / "series.parquet")
    write_json(folder / "summary.json", summary)
    write_manifest(folder, manifest)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest of a folder: facts, versions, and the hash of every file that is in it.

    Raises
    ------
    OSError
    """
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    manifest = {"schema_version": SCHEMA_VERSION, "versions": versions(), **facts, "files": files}
    write_json(folder / "manifest.json", manifest)


def shard_checksum(result: ShardResult) -> str:
    """Hash of the counters of a shard's devices."""
    digest = hashlib.sha256()
    for policy in POLICIES:
        digest.update(np.ascontiguousarray(result.counters[policy]).tobytes())
    return digest.hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON document.

    Raises
    ------
    OSError
    """
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _columns(table: pa.Table) -> dict[str, bytes]:
    """Content of every column, whatever pieces it is stored in."""
    import pyarrow as pa

    content = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_integer(column.type) and column.null_count == 0:
            content[name] = np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes()
        else:
            content[name] = json.dumps(column.to_pylist(), default=str).encode()
    return content


def digest_run(folder: Path) -> str:
    """One hash of a run's content, equal for equal results however they were sharded or computed.

    Raises
    ------
    InputError
        If the folder is not a finished run, or one of its files is not the one that was written.
    """
    import pyarrow.parquet as pq

    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for name, checksum in manifest["files"].items():
            if _sha256(folder / name) != checksum:
                raise InputError(
                    f"{folder / name}: differs from what the run wrote; the manifest's checksum is another"
                )
        digest = hashlib.sha256(manifest["scenario_hash"].encode())
        for name in ("devices.parquet", "series.parquet"):
            for column_name, column in sorted(_columns(pq.read_table(folder / name)).items()):
                digest.update(column_name.encode() + b"\0" + column)
        digest.update((folder / "summary.json").read_bytes())
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read: {error.strerror or 'damaged'}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / 'manifest.json'}: is not the manifest of a run") from None
    return digest.hexdigest()
