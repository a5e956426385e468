"""Tables for people: published and measured numbers beside the simulated ones."""

from __future__ import annotations

from ..console import Console, Table, Text
from .costs import INPUTS, PREDICTED, Row
from .tables import Check


def check_table(check: Check) -> Table:
    """Expected beside simulated, iteration by iteration."""
    table = Table(title=f"{check.name}: {len(check.expected)} iterations from {check.source}")
    columns = ("iteration", "swpout", "fallback", "simulated swpout", "fallback", "fallback %", "")
    table.add_columns(*columns, justify="right")
    for i, (want, got) in enumerate(zip(check.expected, check.simulated, strict=True), 1):
        share = f"{100 * got[1] / max(1, sum(got)):.2f}"
        mark = Text("equal", "green") if want == got else Text("differs", "bold red")
        table.add_row(str(i), *map(str, want), *map(str, got), share, mark)
    return table


def verdict(passed: bool) -> Text:
    """The word for a check that passed or failed."""
    return Text("pass", "green") if passed else Text("FAIL", "bold red")


def print_rows(console: Console, rows: list[Row]) -> None:
    """Published times, sizes and rates beside the simulated ones."""
    table = Table("The patch's times, sizes and rates, simulated and priced")
    table.add_columns("experiment", "row")
    table.add_columns("published", "simulated", "unit", "deviation", "kind", "", justify="right")
    for row in rows:
        mark = Text("shown") if row.kind == PREDICTED else verdict(row.passed)
        deviation = f"{row.deviation_permille / 10:+.1f} %"
        cells = (f"{row.published:,}", f"{row.simulated:,}", row.unit, deviation, row.kind, mark)
        table.add_row(row.table, row.label, *cells)
    console.print(table)
    console.print(INPUTS)


def print_checks(console: Console, checks: list[Check], full: bool) -> None:
    """Tables of all checks, then a line each."""
    for check in checks:
        if full or not check.passed or check.name.startswith("patch"):
            console.print(check_table(check))
    for check in checks:
        console.print(Text.assemble(verdict(check.passed), f"  {check.name}: {len(check.expected)} iterations, exact"))
        for difference in check.differences[:10]:
            console.print(f"      {difference}")
