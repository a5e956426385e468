"""Options that say who works for a command, and what it goes on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..execution.workforce import Workforce

Command = TypeVar("Command", bound=Callable[..., Any])


def cluster_options(command: Command) -> Command:
    """Options of commands that can work on a cluster, or go on with what is not finished."""
    options = (
        click.option(
            "--resume", metavar="DIR", help="Go on with an unfinished directory; nothing that is done is done again."
        ),
        click.option(
            "--cluster",
            metavar="local|cuda|slurm|kubernetes|tcp://HOST:PORT",
            help="Work on a Dask cluster.  [default: in this process]",
        ),
        click.option(
            "--workers", type=click.IntRange(1), help="Workers of the cluster  [default: one per usable core or GPU]"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def refuse_with_resume(names: Sequence[str]) -> None:
    """Refuse options whose values a run directory has already.

    Raises
    ------
    InputError
    """
    from click.core import ParameterSource

    from ..errors import InputError

    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in names and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            word = parameter.opts[0] if parameter.opts[0].startswith("-") else name.upper()
            raise InputError(
                f"{word}: is in the directory of --resume; allowed are --cluster, --workers, --backend, --threads"
            )


def workforce_of(cluster: str | None, workers: int | None, backend: str, threads: int | None) -> Workforce:
    """Who is to work, by the options of a command.

    Parameters
    ----------
    cluster : str or None
        A kind of cluster or the address of its scheduler; None for this process.
    workers : int or None
        Workers of the cluster; None for one per usable core or GPU.
    backend : str
        "cpu", "cuda", or "auto".
    threads : int or None
        CPU threads of each worker; None for the default of `Workforce`.
    """
    from click.core import ParameterSource

    from ..execution.workforce import Workforce

    source = click.get_current_context().get_parameter_source("backend")
    return Workforce(cluster, workers, backend, threads, explains_backend=source is not ParameterSource.DEFAULT)


def refuse_existing(folder: str) -> None:
    """Refuse a directory for results that exists.

    Raises
    ------
    InputError
    """
    from pathlib import Path

    from ..errors import InputError
    from ..job.job import is_abandoned
    from ..job.storage import Storage

    if Path(folder).exists() and not is_abandoned(Storage(folder)):
        raise InputError(f"--out {folder}: exists already; name a folder that does not, or --resume it")
