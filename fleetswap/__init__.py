"""What would this swap policy do to my fleet? Scenarios, fleets, runs and their results."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("fleetswap")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

import importlib
from typing import Any

__all__ = ["InputError", "RunResult", "Scenario", "__version__", "compare", "resume", "run", "sweep"]

_LAZY = {
    "InputError": "errors",
    "RunResult": "execution.run_result",
    **dict.fromkeys(("Scenario", "compare", "resume", "run", "sweep"), "api"),
}
"""What is imported when it is first used: `import fleetswap` alone must be light."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
