"""What people see on stderr while long work goes on: kernels made ready, a bar with the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ..fleet_scenario import FleetScenario


def prepare(err: Console, warm_up: Callable[[], int]) -> float:
    """Compile the kernels or load them; seconds it took."""
    err.print("preparing kernels (compiled once, then kept) ...")
    compile_s = warm_up() / 1e9
    err.print(f"kernels ready after {compile_s:.1f} s")
    return compile_s


def print_warnings(err: Console, scenarios: Iterable[FleetScenario]) -> None:
    """Print what scenarios warn of, each warning once and on a line of its own."""
    for warning in dict.fromkeys(warning for scenario in scenarios for warning in scenario.warnings):
        err.print(f"warning: {warning}", soft_wrap=True, markup=False, highlight=False)


def progress_bar(console: Console, steps: int = 0) -> Progress:
    """A bar over device-steps, with time passed and time left.

    Parameters
    ----------
    steps : int
        Steps of a device, to tell devices a second as well.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed / steps:,.1f} devices/s" if steps and speed else "")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("device-steps"),
        Rate(Column(no_wrap=True)),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
