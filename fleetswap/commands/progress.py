"""What people see on stderr while long work goes on: kernels made ready, a bar with the time left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def prepare(err: Console, warm_up: Callable[[], int]) -> float:
    """Compile the kernels or load them; seconds it took."""
    err.print("preparing kernels (compiled once, then kept) ...")
    compile_s = warm_up() / 1e9
    err.print(f"kernels ready after {compile_s:.1f} s")
    return compile_s


def progress_bar(console: Console) -> Progress:
    """A bar over device-steps, with time passed and time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("device-steps"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
