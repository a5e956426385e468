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
    """Simulate the patch's allocator tables and those of a real kernel, and compare every number.

    Ends with exit code 1 if one number differs.
    """
    from rich.console import Console
    from rich.progress import Progress

    from ..report import print_checks
    from ..validate import all_checks, run_check

    console = Console(stderr=as_json)
    checks = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for kind, argument in progress.track(all_checks(), description="simulating tables"):
            checks.append(run_check(kind, argument))
    print_checks(console, checks, full)
    passed = all(check.passed for check in checks)
    if as_json:
        tables = [{**asdict(check), "passed": check.passed, "tolerance": 0} for check in checks]
        click.echo(json.dumps({"passed": passed, "tables": tables}))
    context.exit(0 if passed else 1)
