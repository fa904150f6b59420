"""When operations of an open load are to start, as tables without a clock."""

from __future__ import annotations

import math
from itertools import islice, pairwise
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perf.errors import MeasurementError
from perf.measure.pacing import ArrivalRate, starts

CONSTANT = ArrivalRate(first=10, last=10)
UP = ArrivalRate(first=0, last=10, over=4)
DOWN = ArrivalRate(first=10, last=0, over=4)
STEP_UP = ArrivalRate(first=10, last=30, over=2)


@pytest.mark.parametrize(
    ("rate", "number", "start"),
    [
        (CONSTANT, 0, 0.0),
        (CONSTANT, 1, 0.1),
        (CONSTANT, 25, 2.5),
        (UP, 0, 0.0),
        (UP, 5, 2.0),  # 0 to 5 a second in two seconds is five operations
        (UP, 20, 4.0),
        (UP, 30, 5.0),
        (DOWN, 15, 2.0),
        (DOWN, 20, math.inf),  # as many ever arrive, and no more
        (DOWN, 21, math.inf),
        (STEP_UP, 15, 1.0),
        (STEP_UP, 40, 2.0),
        (STEP_UP, 70, 3.0),
    ],
)
def test_when_an_operation_is_to_start(rate: ArrivalRate, number: int, start: float) -> None:
    """An operation starts when the rate, summed up over time, reaches its number."""
    assert rate.start_of(number) == pytest.approx(start)


@given(first=st.floats(0.1, 1e4), last=st.floats(0.1, 1e4), over=st.floats(0, 100), number=st.integers(0, 100_000))
def test_as_many_are_due_as_were_to_start(first: float, last: float, over: float, number: int) -> None:
    """By the time an operation is to start, as many are due as its number: the two are each other's inverse."""
    rate = ArrivalRate(first=first, last=last, over=over)

    assert rate.due(rate.start_of(number)) == pytest.approx(number, rel=1e-6, abs=1e-6)


def test_it_ends_by_time_or_by_count() -> None:
    """What would start at the end or later is not given; nor is more than was asked for."""
    assert list(starts(CONSTANT, seconds=0.3)) == pytest.approx([0.0, 0.1, 0.2])
    assert list(starts(CONSTANT, operations=3)) == pytest.approx([0.0, 0.1, 0.2])


def test_the_shares_make_the_whole() -> None:
    """What three processes send together is what one would, each operation once."""
    whole = list(starts(STEP_UP, seconds=3))
    shares = [list(starts(STEP_UP, seconds=3, share=(part, 3))) for part in range(3)]

    assert sorted(start for share in shares for start in share) == pytest.approx(whole)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_poisson_arrivals_are_independent() -> None:
    """Gaps of a Poisson process have the mean that the rate says and a deviation as large; evenly spaced ones none."""
    given = list(islice(starts(CONSTANT, poisson=Random(1)), 20_000))
    gaps = [after - before for before, after in pairwise(given)]

    assert fmean(gaps) == pytest.approx(0.1, rel=0.03)
    assert pstdev(gaps) == pytest.approx(0.1, rel=0.03)


def test_a_poisson_process_can_be_shared_and_ramped() -> None:
    """Shares of a Poisson process together arrive at the whole rate, also where it rises."""
    counts = [
        sum(len(list(starts(UP, seconds=4, poisson=Random(seed), share=(part, 2)))) for part in range(2))
        for seed in range(0, 400, 2)
    ]

    assert fmean(counts) == pytest.approx(20, rel=0.05)


def test_the_same_seed_gives_the_same_arrivals() -> None:
    """Two loads with one seed are the same load."""
    one, same, other = (list(starts(CONSTANT, operations=50, poisson=Random(seed))) for seed in (7, 7, 8))

    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("rate", "named"),
    [
        ({"first": -1, "last": 1}, "arrival_rate"),
        ({"first": 1, "last": math.nan}, "arrival_rate"),
        ({"first": 1, "last": math.inf}, "arrival_rate"),
        ({"first": 0, "last": 0}, "arrival_rate"),
        ({"first": 1, "last": 1, "over": -1}, "ramp_up_seconds"),
    ],
    ids=str,
)
def test_what_never_arrives_is_refused(rate: dict[str, float], named: str) -> None:
    """A rate at which nothing would arrive, or that is none, is refused by name."""
    with pytest.raises(MeasurementError, match=named):
        ArrivalRate(**rate)
