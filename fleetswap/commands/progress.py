"""What people see on stderr while kernels are made ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..console import Console
    from ..scenario.model import FleetScenario


def prepare(err: Console, warm_up: Callable[[], int]) -> float:
    """Compile the kernels or load them; seconds it took."""
    err.print("preparing kernels (compiled once, then kept) ...")
    compile_s = warm_up() / 1e9
    err.print(f"kernels ready after {compile_s:.1f} s")
    return compile_s


def print_warnings(err: Console, scenarios: Iterable[FleetScenario]) -> None:
    """Print what scenarios warn of, each warning once and on a line of its own."""
    for warning in dict.fromkeys(warning for scenario in scenarios for warning in scenario.warnings):
        err.print(f"warning: {warning}")
