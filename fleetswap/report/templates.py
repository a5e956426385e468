"""The templates of a report, in `data/report`: text and structure; values in them are escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from .names import metric_meaning, metric_name
from .panel import DASH, MAX_ROWS, is_finite
from .scenarios import merge_lines, write_scenario, write_setting
from .units import SPACE, unit_of, write_change, write_percent, write_span
from .wording import alike_sentence

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fleetswap", "data/report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.filters |= {
        "change": write_change,
        "human": lambda value, metric: unit_of(metric).human(value),
        "meaning": metric_meaning,
        "name": metric_name,
        "percent": write_percent,
    }
    environment.tests["finite"] = is_finite
    environment.globals |= {
        "DASH": DASH,
        "MAX_ROWS": MAX_ROWS,
        "SPACE": SPACE,
        "alike_sentence": alike_sentence,
        "merge_lines": merge_lines,
        "setting": write_setting,
        "span": lambda low, high, metric: write_span(low, high, unit_of(metric)),
        "write_scenario": write_scenario,
    }
    return environment


def render_template(name: str, values: dict[str, Any]) -> str:
    """A template with these values."""
    return _environment().get_template(name).render(values)
