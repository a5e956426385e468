"""What would this swap policy do to my fleet? Scenarios, fleets, runs and their results."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("fleetswap")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

import importlib
from typing import Any

_LAZY = {"Scenario": "api", "RunResult": "api", "run": "api", "compare": "api", "InputError": "errors"}
"""What is imported when it is first used: `import fleetswap` alone must be light."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
