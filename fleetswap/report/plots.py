"""Figures of a report: lines over uptime, ranges over devices, bars, forests.

A series has a colour (Okabe and Ito's, which people with any colour vision can tell apart) and a marker or dash of its
own, for black and white.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .svg import INK, WIDTH_INCHES, Caption, drawing, inline, label
from .units import write_change

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, without its yellow, which is too pale on white."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#68717d"
MAX_SERIES = len(COLOURS)
Verdict = Literal["a", "b", "unclear"]
"""Whose favour a difference is in."""


@dataclass(frozen=True)
class Line:
    """A line over uptime.

    Parameters
    ----------
    label : str
    x, y : sequences of float
        A y that is not a number leaves a gap.
    low, high : sequences of float, optional
        A band around it.
    minor : bool
        Drawn thin, as context for others.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    minor: bool = False


@dataclass(frozen=True)
class Spread:
    """How devices are spread: 5 %, median, 95 %, 99 %."""

    p5: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Difference:
    """A relative difference with its interval; `verdict` says whose favour it is in."""

    label: str
    value: float
    low: float
    high: float
    verdict: Verdict


def line_figure(
    caption: Caption,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    y_most: float | None = None,
    steps: bool = False,
) -> str:
    """Lines over uptime, from 0 on the y axis.

    Parameters
    ----------
    caption : Caption
    lines : sequence of Line
        At most `MAX_SERIES`; others are left out.
    x_label, y_label : str
    y_most : float, optional
        Greatest value that is possible, such as 100 %.
    steps : bool
        Draw each value as level from the x before it.

    Returns
    -------
    str
        An svg element.
    """
    with drawing(3.0) as figure:
        axes = figure.add_subplot()
        lines = lines[:MAX_SERIES]
        for i, line in enumerate(lines):
            if line.low is not None and line.high is not None:
                axes.fill_between(line.x, line.low, line.high, color=COLOURS[i], alpha=0.16, linewidth=0)
        for i, line in enumerate(lines):
            axes.plot(
                line.x,
                line.y,
                color=COLOURS[i],
                linestyle=DASHES[i % len(DASHES)],
                linewidth=1.2 if line.minor else 2.2,
                marker=MARKERS[i] if len(line.x) <= 30 else None,
                markersize=3 if line.minor else 4.5,
                drawstyle="steps-pre" if steps else "default",
                label=label(line.label, 24),
            )
        values = [v for line in lines for part in (line.y, line.high or ()) for v in part if math.isfinite(v)]
        axes.set_ylim(0, _above(max(values, default=0.0), y_most))
        axes.set_xlim(left=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _plain_ticks(axes, "both")
        if len(lines) > 1 or lines[0].label:
            _legend(figure, axes.get_legend_handles_labels()[0])
        return inline(figure, caption)


def spread_figure(
    caption: Caption,
    rows: Sequence[tuple[str, Sequence[Spread | None]]],
    series: Sequence[str],
    *,
    x_label: str,
    x_most: float | None = None,
) -> str:
    """How devices of each class are spread: a bar from 5 % to 95 %, the median, and 99 %.

    Parameters
    ----------
    caption : Caption
    rows : sequence of (str, sequence of Spread or None)
        Classes from top to bottom, each with a spread for every series.
    series : sequence of str
        Names of what is compared; one empty name if nothing is.
    x_label : str
    x_most : float, optional
        Greatest value that is possible.

    Returns
    -------
    str
        An svg element.
    """
    height = 0.36 + 0.16 * (len(series) - 1)
    with drawing(0.95 + height * len(rows)) as figure:
        axes = figure.add_subplot()
        top = 0.0
        for i, (_, spreads) in enumerate(rows):
            for j, spread in enumerate(spreads):
                if spread is None:
                    continue
                y = i + (j - (len(series) - 1) / 2) * 0.36
                colour = COLOURS[j % MAX_SERIES]
                axes.plot([spread.p5, spread.p95], [y, y], color=colour, alpha=0.35, linewidth=6.5)
                axes.plot([spread.p99], [y], color=colour, linestyle="", marker="|", markersize=8, markeredgewidth=1.6)
                axes.plot([spread.p50], [y], color=colour, linestyle="", marker=MARKERS[j % MAX_SERIES], markersize=5.5)
                top = max(top, spread.p99, spread.p95)
        least = min((s.p5 for _, spreads in rows for s in spreads if s is not None), default=0.0)
        axes.set_xlim(min(0.0, least * 1.05), _above(top, x_most))
        _rows(axes, [name for name, _ in rows])
        axes.set_xlabel(x_label)
        _plain_ticks(axes, "x")
        _legend(figure, _series_keys(series) if len(series) > 1 else _spread_keys())
        return inline(figure, caption)


def bar_figure(
    caption: Caption,
    rows: Sequence[tuple[str, Sequence[float]]],
    series: Sequence[str],
    *,
    x_label: str,
    show: Callable[[float], str],
    mark: float | None = None,
    longest: float = math.inf,
) -> str:
    """Horizontal bars with their values behind them.

    Parameters
    ----------
    caption : Caption
    rows : sequence of (str, sequence of float)
        From top to bottom, each with a value for every series.
    series : sequence of str
        Names of what is compared; one empty name if nothing is.
    x_label : str
    show : callable
        How a value is written.
    mark : float, optional
        Value at which a vertical line is drawn.
    longest : float
        Value at which bars end, so that one does not hide what the others are; what is behind them is not cut.

    Returns
    -------
    str
        An svg element.
    """
    height = 0.32 + 0.18 * (len(series) - 1)
    thick = 0.68 / len(series)
    with drawing(0.62 + 0.2 * (len(series) > 1) + height * len(rows)) as figure:
        axes = figure.add_subplot()
        for j in range(len(series)):
            values = [row[1][j] for row in rows]
            places = [i + (j - (len(series) - 1) / 2) * thick for i in range(len(rows))]
            bars = axes.barh(
                places, [min(value, longest) for value in values], height=thick * 0.92, color=COLOURS[j % MAX_SERIES]
            )
            axes.bar_label(bars, labels=[show(value) for value in values], padding=3, fontsize=8.5, color=INK)
        top = max((min(value, longest) for _, values in rows for value in values), default=0.0)
        # Room for the numbers behind the bars.
        axes.set_xlim(0, (top or 1.0) * 1.32)
        if mark is not None:
            axes.axvline(mark, color=GREY, linewidth=1, linestyle="--")
        _rows(axes, [name for name, _ in rows])
        axes.set_xlabel(x_label)
        _plain_ticks(axes, "x")
        if len(series) > 1:
            _legend(figure, _series_keys(series))
        return inline(figure, caption)


def forest_figure(caption: Caption, rows: Sequence[Difference], names: dict[Verdict, str]) -> str:
    """Relative differences with their intervals, around a line at "no difference".

    Beyond a doubling the axis is logarithmic in the ratio: a half and a double are equally far from the middle.

    Parameters
    ----------
    caption : Caption
    rows : sequence of Difference
        From top to bottom.
    names : dict
        What the legend calls each verdict.

    Returns
    -------
    str
        An svg element.
    """
    ends = [end for row in rows for end in (row.value, row.low, row.high)]
    logarithmic = max(ends, default=0.0) > 1.0
    least = -31 / 32  # where the ratio's logarithm ends

    def place(value: float) -> float:
        return math.log2(1 + max(value, least)) if logarithmic else value

    colours = {"a": COLOURS[0], "b": COLOURS[1], "unclear": GREY}
    markers = {"a": "o", "b": "s", "unclear": "D"}
    with drawing(0.95 + 0.32 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=INK, linewidth=1)
        for i, row in enumerate(rows):
            colour = colours[row.verdict]
            low, value, high = place(row.low), place(row.value), place(row.high)
            axes.plot([low, high], [i, i], color=colour, linewidth=2)
            for end in (low, high):
                axes.plot([end], [i], color=colour, linestyle="", marker="|", markersize=7, markeredgewidth=1.4)
            axes.plot([value], [i], color=colour, linestyle="", marker=markers[row.verdict], markersize=6)
        places = [place(end) for end in ends] or [0.0]
        room = max((max(*places, 0.0) - min(*places, 0.0)) * 0.06, 0.005)
        axes.set_xlim(min(*places, 0.0) - room, max(*places, 0.0) + room)
        if logarithmic:
            _ratio_ticks(axes)
        else:
            axes.xaxis.set_major_formatter(lambda value, _: write_change(value))
        _rows(axes, [row.label for row in rows])
        axes.set_xlabel("relative difference")
        verdicts: tuple[Verdict, ...] = ("b", "a", "unclear")
        used = [verdict for verdict in verdicts if verdict in {row.verdict for row in rows}]
        _legend(figure, [_key(names[v], colours[v], marker=markers[v]) for v in used])
        return inline(figure, caption)


def _above(top: float, most: float | None) -> float:
    """End of an axis that must show `top`."""
    if top <= 0:
        return 1.0
    end = top * 1.06
    return end if most is None else min(end, most * 1.02)


def _plain_ticks(axes: Axes, which: Literal["x", "both"]) -> None:
    for axis in (axes.xaxis, axes.yaxis)[: 1 + (which == "both")]:
        axis.set_major_formatter(lambda value, _: f"{value:,.6g}".replace("-", "\N{MINUS SIGN}"))


def _ratio_ticks(axes: Axes) -> None:
    """Ticks of a logarithmic axis at ratios that are powers of 2, at most eight."""
    low, high = axes.get_xlim()
    powers = list(range(math.ceil(low), math.floor(high) + 1))
    step = -(-len(powers) // 8)
    powers = [power for power in powers if power % step == 0]
    axes.set_xticks(powers, [write_change(2.0**power - 1) for power in powers])


def _rows(axes: Axes, names: list[str]) -> None:
    """Names of rows, the first at the top."""
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _legend(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend above the axes, in as many columns as fit."""
    points = 34 + 5.2 * max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), int(72 * WIDTH_INCHES / points)))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)


def _key(name: str, colour: str, **style: Any) -> Any:
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, label=label(name), **style)


def _series_keys(series: Sequence[str]) -> list[Any]:
    return [
        _key(name, COLOURS[j % MAX_SERIES], marker=MARKERS[j % MAX_SERIES], linewidth=4)
        for j, name in enumerate(series)
    ]


def _spread_keys() -> list[Any]:
    return [
        _key("median device", COLOURS[0], linestyle="", marker=MARKERS[0], markersize=5.5),
        _key("5 % to 95 % of devices", COLOURS[0], alpha=0.35, linewidth=6.5),
        _key("99 %", COLOURS[0], linestyle="", marker="|", markersize=8, markeredgewidth=1.6),
    ]
