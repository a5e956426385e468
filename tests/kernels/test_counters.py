"""Names of counters and their numbers are in step: both stand in one list, or are compared here."""

from __future__ import annotations

import pytest

from fleetswap_kernels.device.figures.figures import FIGURES, PARTS, Figure
from fleetswap_kernels.device.figures.price import CAUSES, PAID_WORDS, PRICE_WORDS, PRICES
from fleetswap_kernels.layout import counters


@pytest.mark.parametrize(
    ("names", "first"), [(counters.SCALAR_NAMES, 0), (counters.PHONE, counters.PHONE_FIRST)], ids=["scalar", "phone"]
)
def test_every_counter_stands_where_its_name_does(names: tuple[str, ...], first: int) -> None:
    assert [getattr(counters, name.upper()) for name in names] == list(range(first, first + len(names)))


def test_figures_follow_the_causes_of_time() -> None:
    # Twelve causes and the codec's output, then 24 figures.
    assert (len(CAUSES), PAID_WORDS, len(FIGURES), PARTS) == (12, 13, 24, 37)
    assert list(Figure) == list(range(PAID_WORDS, PARTS))


def test_words_of_prices() -> None:
    # Fifteen prices, ten orders of folios, and two factors for each of 32 content classes.
    assert (len(PRICES), PRICE_WORDS) == (15, 15 + 10 + 2 * 32)
    assert CAUSES[5:8] == ("zram read", "decompress", "unmap")
