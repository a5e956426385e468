"""The plot of pairing gains: one that is huge does not hide the others."""

from __future__ import annotations

import re

import pytest

from fleetswap.report.differences import LONGEST_GAIN, pairing_panel


def gains(**by_metric: float) -> list[dict[str, object]]:
    return [{"metric": name, "class": "all", "pairing_gain": gain} for name, gain in by_metric.items()]


def bars(svg: str) -> list[float]:
    """Lengths of the bars: of four-cornered paths in one colour."""
    corners = re.findall(r'<path d="M ([\d.]+) [\d.]+ L ([\d.]+) [^z]*z[^>]*fill: #0072b2', svg.replace("\n", " "))
    return [float(right) - float(left) for left, right in corners]


@pytest.mark.parametrize(("most", "shown"), [(1474.0, LONGEST_GAIN), (20.0, 20)])
def test_bars_end_where_others_can_still_be_read(most: float, shown: int) -> None:
    panel = pairing_panel(gains(kills=most, pgmajfault=5.0))
    assert panel is not None
    long, short = bars(panel.svg("", ""))
    assert long / short == pytest.approx(shown / 5, rel=1e-3)
    assert (panel.facts["bars_end"] == LONGEST_GAIN) == (most > LONGEST_GAIN)
    # What a bar stands for is written behind it, and in the table.
    assert [row[1].text for row in panel.table.rows] == [("1,474 times" if most > 99 else "20.0 times"), "5.0 times"]
