"""`fleetswap doctor`: versions, backends, their memory, and folders on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fleetswap_kernels.backend.contract import Backend

EXAMPLE = "phones"


@click.command()
def doctor() -> None:
    """Show what would be used here, and why."""
    from fleetswap_kernels.backend.choose import choose
    from fleetswap_kernels.backend.contract import BackendMissingError
    from fleetswap_kernels.backend.cores import usable_cores
    from fleetswap_kernels.compile.kernel_cache import cache_folder, has_kernels

    from ..fleet.backend import open_backend
    from ..fleet.directory import versions

    for name, version in versions().items():
        click.echo(f"{name:12} {version}")
    folder = cache_folder()
    compiled = has_kernels(folder.path)
    click.echo(
        f"{'kernels':12} {folder.path} ({'compiled' if compiled else 'not compiled yet: the first run takes longer'})"
    )
    click.echo(f"{'':12} {folder.why}")
    click.echo(f"{'cores':12} {usable_cores()} usable, by affinity and CPU quota")
    for name in ("cpu", "cuda"):
        try:
            backend, _ = choose(name, usable_cores())
        except BackendMissingError as missing:
            click.echo(f"backend {name:4} no: {missing}")
            continue
        click.echo(f"backend {name:4} yes: {backend.describe()}")
        click.echo(f"{'':12} `fleetswap run {EXAMPLE}` takes {_shards(backend)} shard(s)")
        for fact, value in backend.facts().items():
            if isinstance(value, str | int):
                click.echo(f"{'':12} {fact} {value:,}" if isinstance(value, int) else f"{'':12} {fact} {value}")
    auto = open_backend()
    click.echo(f"backend auto {auto.backend.name} ({auto.why.removeprefix('auto: ')})")


def _shards(backend: Backend) -> int:
    """Pieces of the built-in fleet on a backend."""
    from ..job.plan import plan_fleet
    from ..scenario.file import load_fleet_scenario
    from ..workload.phones import lay_out

    scenario = load_fleet_scenario(EXAMPLE, ())
    return plan_fleet([lay_out(scenario)], backend.devices_at_once).shards
