"""When a load is ended before its time."""

from __future__ import annotations

import math

import pytest

from perf.errors import MeasurementError
from perf.measure.stopping import Watch, broken_limit, check_limits

Outcome = tuple[float, float, float, str]


def taking(seconds: float, count: int, error: str = "") -> list[Outcome]:
    return [(0.0, 0.0, seconds, error)] * count


@pytest.mark.parametrize(
    ("slow", "broken"),
    [(5, False), (6, True)],
)
def test_a_percentile_is_broken_by_more_than_its_share(slow: int, broken: bool) -> None:  # noqa: FBT001 - a parameter
    """p95 breaks when more than 5 of 100 operations take longer than the bound, not before."""
    outcomes = taking(0.01, 100 - slow) + taking(0.3, slow)

    assert bool(Watch({"p95_response_time": 0.2}).broken(outcomes)) is broken


def test_nothing_breaks_before_there_is_evidence() -> None:
    """Of twenty operations, all too slow, the 95th percentile is not known; of twenty-one it is."""
    watch = Watch({"p95_response_time": 0.2})

    assert watch.broken(taking(0.3, 20)) == ""
    assert watch.broken(taking(0.3, 21)) == "p95_response_time > 0.2: 21 of 21 operations took longer"


def test_each_outcome_is_counted_once() -> None:
    """Looking again at a list that grew counts only what is new."""
    watch, outcomes = Watch({"p50_response_time": 0.2}), taking(0.3, 2)
    assert watch.broken(outcomes) == ""

    outcomes += taking(0.1, 4)

    assert watch.broken(outcomes) == watch.broken(outcomes) == ""
    assert watch.broken(outcomes + taking(0.3, 3)).endswith("5 of 9 operations took longer")


def test_what_waits_too_long_already_counts() -> None:
    """A service that answers nothing any more is seen by the age of what is under way."""
    watch = Watch({"p95_response_time": 0.2})

    assert watch.broken([], [0.19] * 30) == ""
    assert watch.broken([], [0.21] * 30) == "p95_response_time > 0.2: 30 of 30 operations took longer"


def test_errors_are_counted_among_all_and_have_no_time() -> None:
    """The error rate is of all operations; a failed one is neither fast nor slow."""
    outcomes = taking(0.1, 90) + taking(9.0, 10, "ValueError")

    assert Watch({"p50_response_time": 0.2, "error_rate": 0.1}).broken(outcomes) == ""
    assert Watch({"error_rate": 0.09}).broken(outcomes) == "error_rate 0.1 > 0.09 after 100 operations"


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"p95_response_time": 0.2}, ""),
        ({"p95_response_time": 0.21}, "p95_response_time 0.21 > 0.2"),
        ({"p95_response_time": None}, "p95_response_time is not known: no operation succeeded"),
    ],
)
def test_the_figures_of_a_finished_load_are_held_against_the_same_limits(
    figures: dict[str, float | None], said: str
) -> None:
    """At the bound holds, above it breaks, and where nothing succeeded nothing holds."""
    assert broken_limit({"p95_response_time": 0.2}, figures) == said


@pytest.mark.parametrize(
    ("limits", "said"),
    [({"p95": 0.2}, "p95 is none of p50_response_time"), ({"error_rate": math.nan}, "error_rate must be a finite")],
    ids=str,
)
def test_limits_that_are_none_are_refused(limits: dict[str, float], said: str) -> None:
    """A limit of another name or without a bound is named."""
    with pytest.raises(MeasurementError, match=said):
        check_limits(limits)
