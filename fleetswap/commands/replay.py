"""`fleetswap replay`: runs one script and prints its dumps."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("script", type=click.Path(), metavar="SCRIPT.ops")
def replay(script: str) -> None:
    """Run a script on a simulated device and print its dumps.

    Every `dump` and `summary` of the script becomes one line of JSON, in the format of the recorded corpus.
    """
    from ..script.language import load_script
    from ..script.replay import replay as run

    for dump in run(load_script(script)):
        click.echo(json.dumps(dump, separators=(",", ":")))
