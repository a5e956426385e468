"""Console: what people see in a terminal, exactly as it was given; nobody else uses Rich, whose markup is off here.

A path, a label or an error may hold ``[bold]``, ``[/]`` or ``:smile:``, and none of it means anything: style is asked
for with `Text`.
"""

from __future__ import annotations

from typing import Any

from rich import box, console, table
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

__all__ = ["Console", "Progress", "Table", "Text", "progress_bar"]


class Console(console.Console):
    """Standard output, or standard error.

    Parameters
    ----------
    stderr : bool
    columns : int
        At least so many, whatever the terminal has: tables need them.
    """

    def __init__(self, stderr: bool = False, columns: int = 0) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if columns:  # A width that is set is kept when the terminal gets another.
            self.width = max(self.width, columns)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; messages are not broken into lines, or a path in one could not be copied."""
        if self.stderr and all(isinstance(one, str | Text) for one in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)


class Table(table.Table):
    """A table as all of this program look.

    Parameters
    ----------
    title : str
    show_header : bool
    """

    def __init__(self, title: str, show_header: bool = True) -> None:
        super().__init__(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=show_header)

    def add_columns(self, *names: str, **options: Any) -> None:
        """Add columns that are alike; the options are those of Rich's `add_column`."""
        for name in names:
            self.add_column(name, **options)


def progress_bar(err: Console, unit: str = "", steps: int = 0, transient: bool = False) -> Progress:
    """A bar with time passed and time left.

    Parameters
    ----------
    err : Console
    unit : str
        Of what is counted.
    steps : int
        Units of a device, to tell devices a second as well.
    transient : bool
        Whether it goes away at the end; where nothing can, it is not shown.
    """

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed / steps:,.1f} devices/s" if steps and speed else "")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *([TextColumn(unit, markup=False)] if unit else []),
        *([Rate(Column(no_wrap=True))] if steps else []),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        transient=transient,
        disable=transient and not err.is_terminal,
    )
