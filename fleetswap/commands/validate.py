"""`fleetswap validate`: the published tables beside the simulated ones."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command()
@click.option("--full", is_flag=True, help="Print every table, not only the patch's and those that differ.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.pass_context
def validate(context: click.Context, full: bool, as_json: bool) -> None:
    """Simulate the patch's tables and those of a real kernel, and compare every number.

    The allocator tables must be equal. Times, sizes and bandwidths are priced by a cost profile: rows that it was
    calibrated with must be within 2 %, predicted rows are shown with their deviation. Ends with exit code 1 if one
    number differs or one calibrated row is off.
    """
    from ..conformance.costs import INPUTS, TABLES
    from ..conformance.print import print_checks, print_rows
    from ..conformance.tables import all_checks
    from ..console import Console, progress_bar
    from ..report.tables import MIN_WIDTH

    console = Console(as_json, MIN_WIDTH)
    with progress_bar(Console(stderr=True), transient=True) as progress:
        checks = [check() for check in progress.track(all_checks(), description="simulating tables")]
        rows = [row for table in progress.track(TABLES.values(), description="pricing experiments") for row in table()]
    print_checks(console, checks, full)
    print_rows(console, rows)
    passed = all(check.passed for check in checks) and all(row.passed for row in rows)
    if as_json:
        tables = [{**asdict(check), "passed": check.passed, "tolerance": 0} for check in checks]
        costs = [{**asdict(row), "deviation_permille": row.deviation_permille, "passed": row.passed} for row in rows]
        click.echo(json.dumps({"passed": passed, "tables": tables, "costs": costs, "inputs": INPUTS}))
    context.exit(0 if passed else 1)
