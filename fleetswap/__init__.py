"""What would this swap policy do to my fleet? Scenarios, fleets, runs and their results."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("fleetswap")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
