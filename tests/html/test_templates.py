"""Templates: what a user gave is escaped, and each of them is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import fleetswap
from fleetswap.report.names import METRICS
from fleetswap.report.templates import render_template

FOLDER = Path(fleetswap.__file__).parent / "data" / "report"
SOURCES = {path.relative_to(FOLDER).as_posix(): path.read_text() for path in FOLDER.rglob("*.j2")}


def test_only_figures_go_in_as_they_are() -> None:
    unescaped = [line for text in SOURCES.values() for line in re.findall(r".*(?:\|\s*safe|autoescape).*", text)]
    assert len(unescaped) == 1
    assert "panel.svg(" in unescaped[0]


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "page.html.j2"])
def test_every_template_is_used(name: str) -> None:
    if name.startswith("figures/") and name != "figures/panel.html.j2":
        kind = Path(name).name.removesuffix(".html.j2")
        package = FOLDER.parents[1] / "report"
        assert any(f'Panel("{kind}"' in path.read_text() for path in package.glob("*.py"))
    else:
        assert any(f'"{name}"' in text for text in SOURCES.values())


def test_a_value_that_a_template_misspells_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render_template("answer.html.j2", {"is_compared": False})


def test_every_metric_has_words() -> None:
    for words in METRICS.values():
        assert words.keys() == {"name", "meaning"}
        assert all(words.values())
