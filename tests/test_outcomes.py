"""Figures of a load from its outcomes, and many processes' outcomes as one."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from perf.measure.outcomes import LoadRecord, Outcome, merge, sum_up


def record(outcomes: list[Outcome], **parts: Any) -> LoadRecord:  # noqa: ANN401
    elapsed = max((ended for _, _, ended, _ in outcomes), default=0.0)
    known: dict[str, Any] = {"began": 1000.0, "elapsed": elapsed, "outcomes": outcomes}
    return LoadRecord(**known | parts)


def drawn(seed: int, count: int = 500) -> list[Outcome]:
    random = np.random.default_rng(seed)
    intended = np.sort(random.uniform(0, 10, count))
    late, took = random.exponential(0.001, count), random.exponential(0.05, count)
    return [
        (float(due), float(due + wait), float(due + wait + time), "OSError" if number % 50 == 0 else "")
        for number, (due, wait, time) in enumerate(zip(intended, late, took, strict=True))
    ]


def test_response_counts_from_the_intended_start_and_service_from_the_start() -> None:
    """An operation that was due at 1, started at 3 and ended at 4 took three seconds to answer, and one to serve."""
    figures = sum_up(record([(1.0, 3.0, 4.0, "")], planned=1.0, horizon=1.0))

    assert (figures["p50_response_time"], figures["p50_service_time"], figures["p50_lateness"]) == (3.0, 1.0, 2.0)


def test_merging_loses_nothing() -> None:
    """Three processes' outcomes, merged, give just the figures of all outcomes together."""
    outcomes = drawn(1)
    whole = sum_up(record(outcomes, planned=50.0, horizon=10.0))

    parts = [record(outcomes[part::3], planned=50 / 3, horizon=10.0) for part in range(3)]
    merged = sum_up(merge([msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=LoadRecord) for one in parts]))

    assert _same(merged, whole)


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401
    if isinstance(one, float) or isinstance(other, float):
        return bool(one == pytest.approx(other, rel=1e-9, abs=1e-12))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def test_merging_sets_the_clocks_of_the_parts_right() -> None:
    """A part that began half a second later has its operations half a second later in the whole."""
    early = record([(0.0, 0.0, 1.0, "")], began=1000.0)
    late = record([(0.0, 0.0, 1.0, "")], began=1000.5)

    merged = merge([late, early])

    assert sorted(merged.outcomes) == [(0.0, 0.0, 1.0, ""), (0.5, 0.5, 1.5, "")]
    assert (merged.began, merged.elapsed) == (1000.0, 1.5)
    assert sum_up(merged)["max_in_flight"] == 2


def test_percentiles_are_of_all_that_was_measured() -> None:
    """Nothing is rounded into buckets: the 99.9th percentile is that of the raw times."""
    outcomes = drawn(2, 5000)
    succeeded = [ended - intended for intended, _, ended, error in outcomes if not error]

    figures = sum_up(record(outcomes))

    assert figures["p99_9_response_time"] == pytest.approx(float(np.percentile(succeeded, 99.9)), rel=1e-12)
    assert figures["max_response_time"] == max(succeeded)


def test_what_is_sent_and_what_is_done_are_two_numbers() -> None:
    """A hundred operations due within a second and done over four are sent at 100 a second and done at 25."""
    outcomes = [(number / 100, number / 100, 0.04 * (number + 1), "") for number in range(100)]

    figures = sum_up(record(outcomes, planned=100.0, horizon=1.0))

    assert (figures["rate"], figures["throughput"]) == pytest.approx((100, 25))


@pytest.mark.parametrize(
    ("outcomes", "most"),
    [
        ([], 0),
        ([(0, 0, 1, "")], 1),
        ([(0, 0, 1, ""), (1, 1, 2, "")], 1),  # one ends as the next starts
        ([(0, 0, 2, ""), (0, 1, 3, ""), (0, 2.5, 4, "")], 2),
        ([(0, 0, 0, ""), (0, 0, 0, "")], 1),
    ],
)
def test_how_many_are_under_way_at_once(outcomes: list[Outcome], most: int) -> None:
    """Operations overlap where one starts before another has ended."""
    assert sum_up(record(outcomes))["max_in_flight"] == most


def test_the_series_shows_when_it_was_slow() -> None:
    """What was due while the service stood still has its wait in the moment when it was due."""
    outcomes = [(at / 10, at / 10, at / 10 + (5.0 if 300 <= at < 320 else 0.01), "") for at in range(600)]

    series = sum_up(record(outcomes))["series"]

    assert sum(moment["due"] for moment in series) == sum(moment["done"] for moment in series) == 600
    assert {moment["at"] // 1 for moment in series if moment["max"] and moment["max"] > 1} <= {29, 30, 31, 32}
    assert len(series) <= 62


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"planned": 100.0, "horizon": 1.0, "cpu": 1.9, "sending": 1.1},
            "the generator was the limit, not the service: 50.5/s of 100/s",
        ),
        ({"planned": 100.0, "horizon": 1.0, "cpu": 1.9, "sending": 0.9}, "the event loop was held"),
        (
            {"planned": 100.0, "horizon": 1.0, "cpu": 1.9, "sending": 0.9, "pauses": (1, 0.4, 0.4)},
            "the generator was the limit",
        ),
        ({"planned": 50.0, "horizon": 2.0, "aborted": "p95 > 1"}, "aborted: p95 > 1"),
    ],
)
def test_what_was_the_limit_is_said(parts: dict[str, Any], said: str) -> None:
    """Where less was sent than planned, the generator's own cost tells whether it or something else was the limit."""
    outcomes = [(number / 100, number / 50, number / 50 + 0.001, "") for number in range(101)]

    [warning] = sum_up(record(outcomes, **parts))["warnings"]

    assert warning.startswith(said)


def test_a_load_that_went_as_planned_has_no_warning() -> None:
    """All that was due was sent in time: there is nothing to say."""
    outcomes = [(number / 100, number / 100, number / 100 + 0.001, "") for number in range(100)]

    assert sum_up(record(outcomes, planned=100.0, horizon=1.0, cpu=0.5, sending=0.4))["warnings"] == []
