"""The Pareto front against its definition, point by point."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.analysis.pareto import pareto_front


def by_definition(points: list[list[Any]], directions: list[Any]) -> list[bool]:
    """On the front are the points that no other one beats."""

    def beats(p: list[Any], q: list[Any]) -> bool:
        no_worse = all(x <= y if d == "min" else x >= y for x, y, d in zip(p, q, directions, strict=True))
        return no_worse and p != q

    return [not any(beats(other, point) for other in points) for point in points]


def front(points: list[list[Any]], directions: list[Any]) -> list[bool]:
    columns: dict[str, npt.ArrayLike] = {
        str(i): np.array([point[i] for point in points]) for i in range(len(directions))
    }
    return list(pareto_front(columns, {str(i): direction for i, direction in enumerate(directions)}))


@settings(max_examples=200)
@given(st.data())
def test_front_is_the_definition(data: st.DataObject) -> None:
    directions = data.draw(st.lists(st.sampled_from(("min", "max")), min_size=1, max_size=4))
    # Few values, so that ties and equal points are common; the ends of int64, where a changed sign would overflow.
    value = st.integers(-2, 3) | st.sampled_from((-(1 << 63), (1 << 63) - 1))
    points = data.draw(st.lists(st.lists(value, min_size=len(directions), max_size=len(directions)), max_size=25))
    assert front(points, directions) == by_definition(points, directions)


@given(st.lists(st.tuples(st.floats(allow_nan=False), st.integers(0, 9)).map(list), max_size=25))
def test_floats_beside_integers(points: list[list[Any]]) -> None:
    assert front(points, ["min", "max"]) == by_definition(points, ["min", "max"])


def test_a_front_by_hand() -> None:
    # Stall (less is better) and memory saved (more is better): the fourth is beaten by the second, the fifth ties
    # with the third in stall but saves less, the last equals the first.
    stall = [10, 20, 30, 25, 30, 10]
    saved = [100, 200, 300, 150, 250, 100]
    metrics = {"stall": stall, "saved": saved, "ignored": [9, 9, 9, 9, 9, 0]}
    found = pareto_front(metrics, {"stall": "min", "saved": "max"})
    assert found.tolist() == [True, True, True, False, False, True]


def test_everything_on_the_front() -> None:
    n = 2000
    assert pareto_front({"x": np.arange(n), "y": -np.arange(n)}, {"x": "min", "y": "min"}).all()


def test_totals_beyond_64_bits() -> None:
    assert pareto_front({"total": [1 << 80, (1 << 80) + 1, 5]}, {"total": "max"}).tolist() == [False, True, False]


def test_no_points() -> None:
    assert pareto_front({"x": np.zeros(0)}, {"x": "min"}).tolist() == []


@pytest.mark.parametrize(
    ("metrics", "directions", "message"),
    [
        ({"x": [1]}, {}, "at least one metric"),
        ({"x": [1]}, {"x": "up"}, "metric 'x' has direction 'up'; allowed are min, max"),
        ({"x": [1]}, {"y": "min"}, "no metric 'y'; there are x"),
        ({}, {"y": "min"}, "no metric 'y'; there are none"),
        ({"x": [1, 2], "y": [1]}, {"x": "min", "y": "min"}, "metric 'y' has shape"),
        ({"x": [1.0, float("nan")]}, {"x": "min"}, "metric 'x' holds a value that is no number"),
        ({"x": [1, None]}, {"x": "min"}, "metric 'x' holds a value that is no number"),
        ({"x": ["1", "2"]}, {"x": "min"}, "metric 'x' holds a value that is no number"),
    ],
)
def test_bad_metrics_are_named(metrics: dict[str, Any], directions: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pareto_front(metrics, directions)
