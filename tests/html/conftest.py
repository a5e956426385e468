"""Pages that several tests read, rendered once."""

from __future__ import annotations

import pytest

from fleetswap.report import plots
from fleetswap.report.page import render_comparison, render_run
from tests.html.sample import sample, sample_comparison


@pytest.fixture(scope="session")
def run_page() -> str:
    return render_run(sample())


@pytest.fixture(scope="session")
def comparison_page() -> str:
    return render_comparison(sample_comparison())


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are put together, but not drawn: most of a page's time."""
    monkeypatch.setattr(plots, "inline", lambda *_: "<svg></svg>")
