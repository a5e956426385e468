"""`fleetswap bench`: event rates of this machine."""

from __future__ import annotations

import json

import click


@click.command()
@click.option(
    "--backend",
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Measure whole fleets on a backend instead, beside one CPU thread, and check that both give the same.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of the backend  [default: all usable cores]")
@click.option("--quick", is_flag=True, help="Measure very little: shows that it works, not how fast.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def bench(backend: str | None, threads: int | None, quick: bool, as_json: bool) -> None:
    """Measure page events per second, memory per page and start-up time on this machine.

    In a source checkout with gcc also against a C reference. Takes about a minute; ratios come from interleaved
    measurements, but two_threads_over_one wants an otherwise idle machine.
    """
    if backend is not None:
        _backend(backend, threads, quick, as_json)
        return
    from ..bench.cpu import DEFINITIONS, FULL, QUICK, measure

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


def _backend(name: str, threads: int | None, quick: bool, as_json: bool) -> None:
    """Whole fleets on a backend; exit code 1 if it does not give what the CPU gives."""
    from ..bench.fleets import FULL, QUICK, measure
    from ..console import Console
    from ..fleet.backend import open_backend

    err = Console(stderr=True)
    chosen = open_backend(name, threads)
    err.print(chosen.line(asked=True))
    measurement = measure(chosen.backend, QUICK if quick else FULL, lambda what: err.print(f"measuring: {what} ..."))
    if as_json:
        click.echo(json.dumps(measurement))
    else:
        for load, load_result in measurement["loads"].items():
            click.echo(
                f"{load}: {'every counter equal to the CPU' if load_result['equal'] else 'FAIL: differs from the CPU'}"
            )
            for where, timing in ((measurement["backend"], load_result), ("one CPU thread", load_result["cpu"])):
                click.echo(
                    f"  {where:14} {timing['devices']:>9,} devices  {timing['events_per_s']:>16,.0f} page events/s  "
                    f"laid out {timing['lay_out_s']:.2f} s  init {timing['init_s']:.2f} s  run {timing['run_s']:.2f} s"
                )
            spent = load_result["spent"]
            if spent:
                click.echo(
                    f"  kernels {spent['compute_s']:.3f} s, waiting for results {spent['waited_s']:.3f} s; "
                    f"{spent['result_bytes']:,} bytes came back, {spent['upload_bytes']:,} went there, "
                    f"{spent['laid_out_bytes']:,} were laid out there"
                )
            click.echo(f"  {load_result['over_cpu']:,.2f} times one CPU thread")
    if not all(load_result["equal"] for load_result in measurement["loads"].values()):
        raise click.exceptions.Exit(1)
