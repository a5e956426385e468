"""Tables for the terminal: the results of runs, and content classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..console import Table
from .experiments import TITLES
from .names import metric_name
from .units import unit_of

Posted = tuple[tuple[int, int], ...]
"""swpout and fallback of every iteration."""
MIN_WIDTH = 106
"""Columns that the tables of a run need."""


def run_tables(summary: dict[str, Any], posted: Mapping[str, Posted]) -> list[Table]:
    """The tables of a run, whatever its summary answers."""
    if "points" in summary:
        return breakeven_tables(summary)
    return allocator_tables(summary, posted) if "steps" in summary else fleet_tables(summary)


def allocator_tables(summary: dict[str, Any], posted: Mapping[str, Posted]) -> list[Table]:
    """One table per policy: fleet median and 5 %..95 % of every iteration, posted figures (`PATCH_TABLES`) beside."""
    devices = summary["scenario"]["devices"]
    return [_policy_table(policy, steps, devices, posted.get(policy, ())) for policy, steps in summary["steps"].items()]


def _policy_table(policy: str, steps: list[dict[str, Any]], devices: int, posted: Posted) -> Table:
    beside = "; right: the patch's own figures" if posted else ""
    table = Table(title=f"{TITLES[policy]}: {devices:,} devices, median (5 %-95 %) after the warm-up{beside}")
    table.add_column("it", justify="right")
    table.add_columns("swpout", "fallback", "fallback %", "major faults", justify="right", no_wrap=True)
    if posted:
        table.add_columns("swpout", "fallback", "%", justify="right", style="cyan", no_wrap=True)
    for row in steps:
        cells = [str(row["step"]), _spread(row["swpout"]), _spread(row["swpout_fallback"])]
        cells += [_spread(row["fallback_permyriad"], 100), _spread(row["pgmajfault"])]
        if row["step"] <= len(posted):
            swpout, fallback = posted[row["step"] - 1]
            cells += [str(swpout), str(fallback), f"{100 * fallback / (swpout + fallback):.2f}"]
        table.add_row(*cells)
    return table


def _spread(cell: dict[str, int], unit: int = 1) -> str:
    p5, p50, p95 = (f"{cell[key] / unit:.1f}" if unit > 1 else str(cell[key]) for key in ("p5", "p50", "p95"))
    return f"{p50} ({p5}-{p95})"


def fleet_tables(summary: dict[str, Any]) -> list[Table]:
    """Results of a fleet of phones: every metric over the fleet, its medians by class, reasons of fallbacks."""
    devices = summary["devices"]
    title = f"{devices['all']:,} devices, {summary['scenario']['days']} day(s): the whole run, device by device"
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    table.add_columns("fleet", "5 %", "median", "95 %", "99 %", justify="right", no_wrap=True)
    for metric, figures in summary["metrics"]["all"].items():
        unit = unit_of(metric)
        cells = (unit.human(figures[q]) for q in ("total", "p5", "p50", "p95", "p99"))
        table.add_row(metric_name(metric), *cells)
    classes = Table(title="Medians by device class")
    shown = ("pgmajfault", "fallback_permyriad", "alloc_success_permyriad", "ratio_permille", "stall_ns", "kills")
    classes.add_column("class")
    classes.add_columns("devices", *map(metric_name, shown), justify="right")
    for name, metrics in summary["metrics"].items():
        medians = (unit_of(m).human(metrics[m]["p50"]) if m in metrics else "-" for m in shown)
        classes.add_row(name, f"{devices[name]:,}", *medians)
    reasons = Table(title="Where large folios fell back")
    reasons.add_columns("", "reason", no_wrap=True)
    reasons.add_column("times", justify="right", no_wrap=True)
    for direction, counts in summary["fallback"].items():
        for reason, n in counts.items():
            if n:
                reasons.add_row(direction, reason.replace("_", " "), f"{n:,}")
    return [table, classes, reasons]


def breakeven_tables(summary: dict[str, Any]) -> list[Table]:
    """Per codec: stall time and bytes over the success of large-folio allocation; then where they cross."""
    tables = []
    pages = summary["pages"]
    for codec in dict.fromkeys(row["codec"] for row in summary["points"]):
        rows = [row for row in summary["points"] if row["codec"] == codec]
        variants = list(dict.fromkeys((row["block_kib"], row["fallback"]) for row in rows))
        title = f"{codec}, by block size: a page's stall in us, its bytes in the pool; * small folios mapped together"
        table = Table(title=title)
        table.add_column("success", justify="right")
        heads = (f"{kib}K{'*' if fallback else ''}" for kib, fallback in variants)
        table.add_columns(*heads, justify="right", no_wrap=True)
        for percent in sorted({row["success_percent"] for row in rows}):
            cells = [
                f"{row['stall_ns'] / pages / 1000:.1f} us {row['pool_bytes'] / pages:,.0f} B"
                for row in rows
                if row["success_percent"] == percent
            ]
            table.add_row(f"{percent} %", *cells)
        tables.append(table)
    table = Table(title="Blocks take less than single pages")
    table.add_columns("codec", "blocks", "of", "at a success of large-folio allocation of")
    for row in summary["crossings"]:
        pays = ", ".join(f"{a:.1f} to {b:.1f} %" for a, b in row["pays"]) or "never"
        table.add_row(row["codec"], row["variant"], metric_name(row["metric"]), pays)
    return [*tables, table]


def content_table(result: dict[str, Any]) -> Table:
    """Blocks of a content class beside the same pages one by one."""
    name = result["class"] or "all classes, equal weights"
    title = f"{name}: {result['codec']}, {result['blocks']:,} blocks of {4 << result['order']} KiB"
    table = Table(title=title)
    table.add_column("")
    table.add_columns("blocks", "their pages at 4 KiB", "blocks / pages", justify="right")
    pages = result["same_pages_4k"]
    for key in ("raw_bytes", "stored_bytes", "zsmalloc_bytes"):
        a, b = result[key], pages[key]
        table.add_row(key.replace("_", " "), f"{a:,}", f"{b:,}", f"{a / max(b, 1):.4f}")
    original = result["original_bytes"]
    table.add_row("ratio, raw", f"{result['ratio_raw']:.3f}", f"{pages['ratio_raw']:.3f}")
    table.add_row(
        "ratio, zsmalloc", f"{result['ratio_zsmalloc']:.3f}", f"{original / max(pages['zsmalloc_bytes'], 1):.3f}"
    )
    table.add_row("mean bytes", f"{result['mean_bytes']:,.1f}", f"{pages['mean_bytes']:,.1f}")
    for percent in (1, 5, 25, 50, 75, 95, 99):
        a, b = result["quantiles_bytes"][percent - 1], pages["quantiles_bytes"][percent - 1]
        table.add_row(f"{percent} %", f"{a:,}", f"{b:,}")
    return table
