"""Units of metrics, and how numbers are written: exactly, in three digits, as a change."""

from __future__ import annotations

from dataclasses import dataclass

SPACE = "\N{NO-BREAK SPACE}"
"""Between a number and its unit."""


@dataclass(frozen=True)
class Unit:
    """How the integers of a metric are written.

    Parameters
    ----------
    head : str
        Unit of exact values, for the head of a table.
    divisor : int
        Integers in one such unit, a power of 10.
    steps : tuple of (int, str)
        From which value on people count in which unit, ascending.
    most : int or None
        Greatest value there is.
    sums : bool
        Whether the whole fleet's value is the sum of its devices' values, and not a share of sums.
    """

    head: str
    divisor: int
    steps: tuple[tuple[int, str], ...]
    most: int | None = None
    sums: bool = True

    def exact(self, value: int) -> str:
        """All digits."""
        if self.divisor == 1:
            return f"{value:,}"
        whole, rest = divmod(abs(value), self.divisor)
        return f"{'-' if value < 0 else ''}{whole:,}.{rest:0{len(str(self.divisor)) - 1}}"

    def step(self, value: int) -> tuple[int, str]:
        """Unit that suits a value."""
        fit = [step for step in self.steps if step[0] <= abs(value)]
        return fit[-1] if fit else self.steps[0]

    def human(self, value: int) -> str:
        """Three digits and a unit."""
        size, name = self.step(value)
        amount = value / size
        digits = 0 if abs(amount) >= 99.95 or size == 1 or not value else 1 if abs(amount) >= 9.995 else 2
        return f"{amount:,.{digits}f}{SPACE}{name}".rstrip(SPACE)


COUNT = Unit("", 1, ((1, ""), (10**6, "million"), (10**9, "billion")))
PERMYRIAD = Unit("%", 100, ((100, "%"),), most=10_000, sums=False)
PERMILLE = Unit("%", 10, ((10, "%"),), most=1000, sums=False)
RATIO = Unit("times", 1000, ((1000, "times"),), sums=False)
BYTES = Unit("bytes", 1, ((1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB"), (1 << 40, "TiB")))
NANOSECONDS = Unit(
    "ns",
    1,
    ((1, "ns"), (10**3, "\N{MICRO SIGN}s"), (10**6, "ms"), (10**9, "s"), (60 * 10**9, "min"), (3600 * 10**9, "h")),
)
SUFFIXES = {
    "_permyriad": PERMYRIAD,
    "ratio_permille": RATIO,
    "_permille": PERMILLE,
    "_bytes": BYTES,
    "_ns": NANOSECONDS,
}


def unit_of(metric: str) -> Unit:
    """Unit of a metric, by the end of its name."""
    return next((unit for suffix, unit in SUFFIXES.items() if metric.endswith(suffix)), COUNT)


def add_unit(text: str, unit: str) -> str:
    """A text with a unit, for the head of a table or an axis."""
    return f"{text}, {unit}" if unit else text


def write_span(low: int, high: int, unit: Unit) -> str:
    """Two values, or one where people would read the same twice."""
    texts = dict.fromkeys((unit.human(low), unit.human(high)))
    return " to ".join(texts)


def write_percent(value: float) -> str:
    """A share: 12.3 %."""
    return f"{value:.1f}{SPACE}%"


def write_change(value: float) -> str:
    """A relative difference as people write it: +12 %."""
    percent = 100 * value
    digits = 0 if abs(percent) >= 9.95 or abs(percent - round(percent)) < 1e-9 else 1 if abs(percent) >= 0.995 else 2
    text = f"{percent:+,.{digits}f}"
    if not any(digit in text for digit in "123456789"):
        text = "0"
    return text.replace("-", "\N{MINUS SIGN}") + f"{SPACE}%"


def write_times(value: float) -> str:
    """A factor: 7.3 times."""
    return f"{value:,.{0 if value >= 99.5 else 1}f} times"
