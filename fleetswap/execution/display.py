"""Display: what people see while work goes on, lines and a bar with the time left; or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..fleet.pieces import Progress, no_progress

if TYPE_CHECKING:
    from ..console import Console


class Display:
    """Lines and a bar on a console.

    Parameters
    ----------
    console : Console, optional
        Without one nothing is shown.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console

    def print(self, *objects: Any) -> None:
        """Show a line."""
        if self._console is not None:
            self._console.print(*objects)

    @contextlib.contextmanager
    def bar(self, total: int, steps: int) -> Iterator[Progress]:
        """A bar over device-steps.

        Parameters
        ----------
        total : int
            Device-steps in all.
        steps : int
            Of a device, to tell devices a second as well.
        """
        if self._console is None:
            yield no_progress
            return
        from ..console import progress_bar

        with progress_bar(self._console, "device-steps", steps) as progress:
            task = progress.add_task("simulating", total=total)
            yield lambda done: progress.advance(task, done)
