"""The former place of the report's functions, which `fleetswap.html` has."""

from .html.file import write_report
from .html.page import render_comparison, render_run
from .html.units import unit_of

__all__ = ["render_comparison", "render_run", "unit_of", "write_report"]
