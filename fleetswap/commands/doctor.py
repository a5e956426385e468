"""`fleetswap doctor`: versions, backends and folders on this machine."""

from __future__ import annotations

import importlib.util
import os

import click


@click.command()
def doctor() -> None:
    """Show what would be used here, and why."""
    from fleetswap_kernels.jit import cache_dir

    from ..results import versions

    for name, version in versions().items():
        click.echo(f"{name:12} {version}")
    folder = cache_dir()
    compiled = folder.is_dir() and any(folder.rglob("*.nbc"))
    click.echo(
        f"{'kernels':12} {folder} ({'compiled' if compiled else 'not compiled yet: the first run takes longer'})"
    )
    click.echo(f"{'backend cpu':12} yes, {os.cpu_count()} cores")
    missing = [name for name in ("cupy", "numba_cuda") if importlib.util.find_spec(name) is None]
    why = f"{', '.join(missing)} not installed" if missing else "the cuda backend is not part of this version"
    click.echo(f"{'backend cuda':12} no: {why}")
