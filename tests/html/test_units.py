"""How numbers are written."""

from __future__ import annotations

import pytest

from fleetswap.report.units import BYTES, COUNT, NANOSECONDS, PERMYRIAD, RATIO, Unit, write_change


@pytest.mark.parametrize(
    ("unit", "value", "human", "exact"),
    [
        (PERMYRIAD, 7405, "74.0 %", "74.05"),
        (PERMYRIAD, 3, "0.03 %", "0.03"),
        (PERMYRIAD, 0, "0 %", "0.00"),
        (PERMYRIAD, 10_000, "100 %", "100.00"),
        (RATIO, 2874, "2.87 times", "2.874"),
        (COUNT, 123_456, "123,456", "123,456"),
        (COUNT, 4_117_000, "4.12 million", "4,117,000"),
        (COUNT, -5, "-5", "-5"),
        (PERMYRIAD, -250, "-2.50 %", "-2.50"),
        (BYTES, 1 << 30, "1.00 GiB", "1,073,741,824"),
        (BYTES, 1000, "1,000 B", "1,000"),
        (NANOSECONDS, 33_000_000_023, "33.0 s", "33,000,000,023"),
        (NANOSECONDS, 5_400_000_000_000, "1.50 h", "5,400,000,000,000"),
    ],
)
def test_how_numbers_are_written(unit: Unit, value: int, human: str, exact: str) -> None:
    assert unit.human(value).replace("\N{NO-BREAK SPACE}", " ") == human
    assert unit.exact(value) == exact


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (-0.000001, "0 %"),
        (0.5, "+50 %"),
        (-0.4321, "\N{MINUS SIGN}43 %"),
        (0.0211, "+2.1 %"),
        (0.00211, "+0.21 %"),
        (12.0, "+1,200 %"),
    ],
)
def test_how_changes_are_written(value: float, text: str) -> None:
    assert write_change(value).replace("\N{NO-BREAK SPACE}", " ") == text
