"""The options that choose a backend, and the line that tells which one it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..console import Console
    from ..fleet.backend import Chosen


def backend_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --backend and --threads."""
    threads = click.option("--threads", type=click.IntRange(1), help="CPU threads  [default: all usable cores]")
    backend = click.option(
        "--backend",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="What computes: auto is cuda where a GPU can be used. Results do not depend on it.",
    )
    return backend(threads(command))


def opened(name: str, threads: int | None, err: Console) -> Chosen:
    """The backend that was asked for, told of on stderr."""
    from click.core import ParameterSource

    from ..fleet.backend import open_backend

    chosen = open_backend(name, threads)
    source = click.get_current_context().get_parameter_source("backend")
    err.print(chosen.line(asked=source is not ParameterSource.DEFAULT))
    return chosen
