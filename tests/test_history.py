from __future__ import annotations

import math

import numpy as np
import pytest

from perf import change_points
from perf.errors import MeasurementError
from perf.judge.history import compare_to_history


def noise(random: np.random.Generator, length: int, sigma: float = 0.013) -> list[float]:
    """Return run-level times that differ by `sigma`, one in fifty far too slow."""
    outliers = random.exponential(0.1, length)
    return list(np.exp(np.where(random.random(length) < 0.02, outliers, random.normal(0, sigma, length))))


def dependent(random: np.random.Generator, length: int, lag: float = 0.5) -> list[float]:
    values = [random.normal(0, 0.03)]
    for _ in range(length - 1):
        values.append(lag * values[-1] + random.normal(0, 0.03) * math.sqrt(1 - lag**2))
    return list(np.exp(values))


@pytest.mark.parametrize("length", [12, 30, 60, 100, 250, 600])
def test_no_step_is_seen_where_there_is_none(length: int) -> None:
    """At most 1 % of 300 series without a step are given one, at no tolerance: 9 would be too many."""
    random = np.random.default_rng(length)

    assert sum(bool(change_points(noise(random, length), tolerance=0.0)) for _ in range(300)) < 9


@pytest.mark.parametrize("length", [12, 30, 100])
def test_runs_that_depend_on_each_other_make_few_steps(length: int) -> None:
    """Correlated by 0.5, at most 3 % of 300 series without a step are given one: 19 would be too many."""
    random = np.random.default_rng(length)

    assert sum(bool(change_points(dependent(random, length))) for _ in range(300)) < 19


def test_in_a_long_series_dependence_shows() -> None:
    """Of 200 series of 250 runs correlated by 0.5 few are given a step: unallowed for, most would be."""
    random = np.random.default_rng(250)

    assert sum(bool(change_points(dependent(random, 250), tolerance=0.0)) for _ in range(200)) < 20


@pytest.mark.parametrize("length", [20, 60, 100])
@pytest.mark.parametrize("factor", [1.1, 1 / 1.1])
def test_a_step_of_a_tenth_is_found_six_runs_later(length: int, factor: float) -> None:
    """Up or down, at least 80 % of 100 steps of 10 % are found at their place with six runs after them."""
    random = np.random.default_rng(length)
    found = 0
    for _ in range(100):
        values = noise(random, length)
        values[-6:] = [factor * value for value in values[-6:]]
        found += any(
            abs(one.index - (length - 6)) <= 3 and (one.ratio > 1) == (factor > 1) for one in change_points(values)
        )

    assert found >= 80


def test_several_steps_have_their_places_and_ratios() -> None:
    """Each of three steps is at its index, with the new level over the old."""
    random = np.random.default_rng(1)
    levels = [1.0] * 20 + [1.3] * 20 + [1.1] * 20 + [2.0] * 20

    found = change_points([level * value for level, value in zip(levels, noise(random, 80), strict=True)])

    assert [one.index for one in found] == [20, 40, 60]
    assert [one.ratio for one in found] == pytest.approx([1.3, 1.1 / 1.3, 2.0 / 1.1], rel=0.03)


def test_an_outlier_is_no_step() -> None:
    """One run ten times as slow, and two, change no level."""
    values = noise(np.random.default_rng(2), 40, 0.005)
    values[20] *= 10
    values[30] *= 10

    assert change_points(values) == []


def test_a_step_below_the_tolerance_is_none() -> None:
    """A clear step of 4 % is none at a tolerance of 5 %, and one at 3 %."""
    values = [(1.04 if index >= 30 else 1.0) * (1 + 0.001 * (index % 3)) for index in range(60)]

    assert change_points(values) == []
    assert [one.index for one in change_points(values, tolerance=0.03)] == [30]


@pytest.mark.parametrize("length", [0, 1, 5])
def test_few_values_have_no_step(length: int) -> None:
    """With fewer than six values nothing can be told."""
    assert change_points([1.0] * (length // 2) + [9.0] * (length - length // 2)) == []


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_a_value_that_is_none_is_named(wrong: float) -> None:
    """Zero, negative, NaN or infinite: an error with its index."""
    with pytest.raises(MeasurementError, match=f"figure 2 is {wrong}"):
        change_points([1.0, 1.0, wrong, 1.0])


@pytest.mark.parametrize("length", [5, 8, 15, 30])
@pytest.mark.parametrize("new", [1, 3])
def test_a_new_run_is_falsely_called_as_rarely_as_asked(length: int, new: int) -> None:
    """At a true change of just the tolerance, at most 1 % of 500 new runs regress: 13 would be too many."""
    random = np.random.default_rng([length, new])
    verdicts = []
    for _ in range(500):
        values = list(np.exp(random.normal(0, 0.03, length + new)))
        verdicts.append(compare_to_history(values[:length], [1.05 * one for one in values[length:]]).verdict)

    assert verdicts.count("regressed") < 13


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "passed"), (1.4, "regressed"), (0.6, "improved")])
def test_a_clear_case_has_its_word(factor: float, verdict: str) -> None:
    """Against a quiet history: as fast, slower, faster; with throughput the words turn round."""
    history = list(np.exp(np.random.default_rng(3).normal(0, 0.005, 30)))

    assert compare_to_history(history, [factor]).verdict == verdict
    turned = {"passed": "passed", "regressed": "improved", "improved": "regressed"}[verdict]
    assert compare_to_history(history, [factor], higher_is_better=True).verdict == turned


def test_the_present_level_is_what_counts() -> None:
    """After an accepted slowdown a run at the new level passes, and one at the old level improved."""
    history = [
        (1.5 if index >= 20 else 1.0) * value for index, value in enumerate(noise(np.random.default_rng(4), 40, 0.005))
    ]

    assert compare_to_history(history, [1.5], tolerance=0.2).verdict == "passed"
    assert compare_to_history(history, [1.0], tolerance=0.2).verdict == "improved"


def test_a_noisy_history_is_honest() -> None:
    """Where runs differ by 18 % a slowdown of 10 % has no verdict, and neither has none at all."""
    random = np.random.default_rng(5)
    verdicts = [
        compare_to_history(list(np.exp(random.normal(0, 0.18, 30))), [factor]).verdict for factor in (1.0, 1.1) * 50
    ]

    assert verdicts.count("inconclusive") >= 95


def test_more_runs_see_more() -> None:
    """The smallest detectable change shrinks with each further run of the new build."""
    history = list(np.exp(np.random.default_rng(6).normal(0, 0.03, 30)))

    sees = [compare_to_history(history, [1.0] * runs).smallest_detectable or 0.0 for runs in (1, 2, 5, 20)]

    assert sees == sorted(sees, reverse=True)
    assert sees[-1] < sees[0] / 2


@pytest.mark.parametrize(
    ("history", "current", "said"),
    [
        ([1.0] * 4, [1.0], "4 runs at the present level, 5 are needed"),
        ([], [1.0], "one side has no run"),
        ([1.0] * 9, [], "one side has no run"),
        ([1.0] * 9, [math.nan], "figure 9 is nan"),
        ([0.0] * 9, [1.0], "figure 0 is 0.0"),
    ],
)
def test_what_cannot_be_judged_says_why(history: list[float], current: list[float], said: str) -> None:
    """Too short a history, nothing to judge, values that are none: inconclusive with the reason."""
    found = compare_to_history(history, current)

    assert found.verdict == "inconclusive"
    assert said in found.warnings[0]


def test_the_p_value_agrees_with_the_verdict() -> None:
    """Regressed at a confidence is a p-value below what that confidence leaves, and the other way round."""
    random = np.random.default_rng(7)
    for _ in range(200):
        history = list(np.exp(random.normal(0, 0.02, 20)))
        found = compare_to_history(history, [math.exp(random.uniform(-0.1, 0.3))])
        assert found.p_value is not None
        assert (found.verdict == "regressed") == (found.p_value < 0.01)


@pytest.mark.parametrize("before", [6, 10, 30])
def test_a_step_between_values_that_are_all_equal_is_found(before: int) -> None:
    """Memory comes in pages, so a history may hold two values only; the step between them is as plain as any."""
    values = [98.0] * before + [196.0] * 10

    assert [point.index for point in change_points(values)] == [before]
    assert change_points([98.0] * 40) == []
