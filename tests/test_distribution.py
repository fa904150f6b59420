from __future__ import annotations

import pytest

from perf.distribution import percentile, percentiles, samples_needed


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([7.0], 95, 7.0),
        ([1.0, 2.0], 50, 1.5),
        ([4.0, 1.0, 3.0, 2.0], 0, 1.0),
        ([4.0, 1.0, 3.0, 2.0], 100, 4.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.5),
        ([15.0, 20.0, 35.0, 40.0, 50.0], 40, 29.0),
        ([float(n) for n in range(1, 102)], 95, 96.0),
        ([float(n) for n in range(1, 101)], 99, 99.01),
    ],
)
def test_a_percentile_is_interpolated_between_order_statistics(values: list[float], q: float, expected: float) -> None:
    """A percentile is type 7 of Hyndman and Fan: position q (n - 1) between the sorted values."""
    assert percentile(values, q) == pytest.approx(expected)


def test_percentiles_come_in_the_order_asked() -> None:
    """Several percentiles of the same values come as plain floats in the order of their names."""
    figures = percentiles((3, 1, 2), (100, 0, 50))

    assert figures == [3.0, 1.0, 2.0]
    assert {type(figure) for figure in figures} == {float}


def test_no_values_have_no_percentile() -> None:
    """A percentile of no values is an error, never a zero."""
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize("q", [50, 90, 95, 99, 99.9])
def test_samples_needed_is_where_the_slowest_stops_deciding(q: float) -> None:
    """With that many samples the largest has no part in the percentile, and with one fewer it still has."""
    needed = samples_needed(q)

    assert percentile([1.0] * (needed - 1) + [1e6], q) == pytest.approx(1.0)
    assert percentile([1.0] * (needed - 2) + [1e6], q) > 1.01
