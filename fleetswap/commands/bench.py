"""`fleetswap bench`: event rates of this machine."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--quick", is_flag=True, help="Measure very little: shows that it works, not how fast.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def bench(quick: bool, as_json: bool) -> None:
    """Measure page events per second, memory per page and start-up time on this machine.

    In a source checkout with gcc also against a C reference. Takes about a minute; ratios come from interleaved
    measurements, but two_threads_over_one wants an otherwise idle machine.
    """
    from ..bench import DEFINITIONS, FULL, QUICK, measure

    result = measure(QUICK if quick else FULL, lambda what: click.echo(f"measuring: {what} ...", err=True))
    if as_json:
        click.echo(json.dumps({**result.values, "reasons": result.reasons, "definitions": DEFINITIONS}))
        return
    width = max(map(len, result.values))
    for name, value in result.values.items():
        shown = f"none: {result.reasons[name]}" if value is None else f"{value:,.{0 if abs(value) >= 1000 else 2}f}"
        click.echo(f"{name:{width}}  {shown}")
    click.echo()
    width = max(map(len, DEFINITIONS))
    for name, text in DEFINITIONS.items():
        click.echo(f"{name:{width}}  {text}")
