"""`fleetswap digest`: one hash of a run's content."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def digest(folder: Path) -> None:
    """Print one hash of a run directory, equal for equal results.

    How a fleet was cut into shards, by how many threads it was simulated and when, does not enter it.
    """
    from ..fleet.directory import digest_run

    click.echo(digest_run(folder))
