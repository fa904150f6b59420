from __future__ import annotations

import statistics

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perf.distribution import percentile, percentiles, samples_needed

DURATIONS = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)
QS = st.floats(0, 100)

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines differ


@calmly
@given(DURATIONS, QS)
def test_a_percentile_lies_between_the_extremes(values: list[float], q: float) -> None:
    """No percentile is below the smallest value or above the largest."""
    assert min(values) <= percentile(values, q) <= max(values)


@calmly
@given(DURATIONS, st.lists(QS, min_size=2, max_size=8).map(sorted))
def test_a_higher_percentile_is_never_smaller(values: list[float], qs: list[float]) -> None:
    """Percentiles rise with what they are asked for, but for the last digit of a float."""
    figures = percentiles(values, qs)

    assert figures == [pytest.approx(figure, rel=1e-12) for figure in sorted(figures)]


@calmly
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=60))
def test_percentiles_agree_with_the_standard_library(values: list[float]) -> None:
    """All 99 percentiles are those of `statistics.quantiles` by its inclusive method."""
    expected = statistics.quantiles(values, n=100, method="inclusive")

    assert percentiles(values, range(1, 100)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@calmly
@given(DURATIONS, QS, st.randoms(use_true_random=False))
def test_the_order_of_the_values_does_not_matter(values: list[float], q: float, random: object) -> None:
    """The same values in another order have the same percentile, and stay in the order they were in."""
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    kept = list(shuffled)

    assert percentile(shuffled, q) == percentile(values, q)
    assert shuffled == kept


@calmly
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.sampled_from([50, 90, 95, 99, 99.9]))
def test_with_enough_samples_the_largest_has_no_part(values: list[float], q: float) -> None:
    """Making the largest of enough samples a thousand seconds longer leaves the percentile where it was."""
    needed = samples_needed(q)
    *enough, largest = sorted((values * needed)[:needed])

    assert percentile([*enough, largest + 1000.0], q) == pytest.approx(percentile([*enough, largest], q), abs=1e-9)
