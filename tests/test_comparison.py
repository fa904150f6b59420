from __future__ import annotations

import math

import numpy as np
import pytest

from perf import compare_samples
from perf.errors import MeasurementError


def runs(random: np.random.Generator, count: int, sigma: float, factor: float = 1.0) -> list[list[float]]:
    """Return runs of 20 rounds that differ by `sigma` from run to run, and by 1 % from round to round."""
    return [list(factor * np.exp(random.normal(0, sigma) + random.normal(0, 0.01, 20))) for _ in range(count)]


@pytest.mark.parametrize("sigma", [0.01, 0.1])
@pytest.mark.parametrize("count", [2, 5, 10])
@pytest.mark.parametrize("paired", [True, False])
def test_false_alarms_are_as_rare_as_asked(sigma: float, count: int, paired: bool) -> None:  # noqa: FBT001
    """Where the true change is just the tolerance, at most 1 % of 600 trials regress: 14 would be too many."""
    random = np.random.default_rng([int(100 * sigma), count])
    trials = [(runs(random, count, sigma), runs(random, count, sigma, 1.05)) for _ in range(600)]

    verdicts = [compare_samples(old, new, paired=paired).verdict for old, new in trials]

    assert verdicts.count("regressed") < 14


def test_rounds_are_no_replicates() -> None:
    """Runs that differ by 10 % are no evidence of a change, however many rounds each has."""
    random = np.random.default_rng(3)
    sides = [[list(np.exp(random.normal(0, 0.1) + random.normal(0, 0.001, 100))) for _ in range(2)] for _ in range(400)]

    verdicts = [compare_samples(old, new).verdict for old, new in zip(sides[::2], sides[1::2], strict=True)]

    assert verdicts.count("regressed") + verdicts.count("improved") <= 7


def test_what_it_says_it_sees_it_sees() -> None:
    """A slowdown of the smallest detectable change beyond the tolerance is found about nine times in ten."""
    random = np.random.default_rng(4)
    found = 0
    said = [compare_samples(runs(random, 10, 0.03), runs(random, 10, 0.03)).smallest_detectable for _ in range(100)]
    assert np.median([one or 0.0 for one in said]) == pytest.approx(0.0537, rel=0.05)
    for _ in range(300):
        truth = 1.05 * 1.0537  # what ten runs of this spread say on average that they see
        found += compare_samples(runs(random, 10, 0.03), runs(random, 10, 0.03, truth)).verdict == "regressed"

    assert 0.8 < found / 300 < 0.97


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.05, 0.2])
def test_a_pass_has_seen_the_tolerance(sigma: float) -> None:
    """Nothing passes whose smallest detectable change is more than the tolerance, or whose interval reaches it."""
    random = np.random.default_rng(5)

    for factor in [0.8, 0.96, 1.0, 1.04] * 20:
        found = compare_samples(runs(random, 5, sigma), runs(random, 5, sigma, factor))
        if found.verdict == "passed":
            assert found.smallest_detectable is not None
            assert found.high is not None
            assert found.smallest_detectable <= 0.05
            assert found.high < 1.05


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "passed"), (1.5, "regressed"), (0.5, "improved")])
@pytest.mark.parametrize("paired", [True, False])
def test_a_clear_case_has_its_word(factor: float, verdict: str, paired: bool) -> None:  # noqa: FBT001
    """As fast, half as long again, half as long; with throughput the words turn round and the ratio does not."""
    random = np.random.default_rng(6)
    old, new = runs(random, 8, 0.01), runs(random, 8, 0.01, factor)

    times = compare_samples(old, new, paired=paired)
    rates = compare_samples(old, new, paired=paired, higher_is_better=True)

    assert times.verdict == verdict
    assert rates.verdict == {"passed": "passed", "regressed": "improved", "improved": "regressed"}[verdict]
    assert times.ratio is not None
    assert times.low is not None
    assert times.high is not None
    assert times.ratio == pytest.approx(factor, rel=0.03)
    assert times.low < times.ratio < times.high


GOOD = [[1.0, 1.1], [1.05, 1.0], [1.02, 1.03]]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([], GOOD, "baseline has no replicate"),
        (GOOD, [[1.0] * 100], "current has one replicate, and rounds within one do not tell how runs differ"),
        (GOOD, [[1.0], []], "current has a replicate without rounds"),
        (GOOD, [[1.0], [0.0]], "current: figure 1 is 0.0"),
        ([[1.0], [-1.0]], GOOD, "baseline: figure 1 is -1.0"),
        (GOOD, [[1.0], [math.nan]], "current: figure 1 is nan"),
        (GOOD, [[1.0], [math.inf]], "current: figure 1 is inf"),
    ],
)
def test_what_cannot_be_computed_is_inconclusive(old: list[list[float]], new: list[list[float]], said: str) -> None:
    """Too few replicates and times that are none: never a pass, never a regression, with the reason."""
    found = compare_samples(old, new)

    assert (found.verdict, found.ratio) == ("inconclusive", None)
    assert said in found.warnings[0]


def test_pairs_need_their_other_half() -> None:
    """Sides of different length make no pairs."""
    found = compare_samples(GOOD, GOOD[:2], paired=True)

    assert found.warnings == ("3 and 2 replicates make no pairs: give each its other half",)


def test_no_spread_at_all_is_decided_by_the_figures() -> None:
    """Exact counts, such as instructions, are compared as they are: equal ones pass, larger ones regress."""
    exact = [[1000.0]] * 3

    assert compare_samples(exact, exact).verdict == "passed"
    assert compare_samples(exact, [[1100.0]] * 3).verdict == "regressed"
    assert compare_samples(exact, [[1049.0]] * 3).verdict == "passed"


def test_one_slow_run_costs_power_and_gives_no_verdict() -> None:
    """An outlier among the runs widens the interval: inconclusive, with what it would take."""
    random = np.random.default_rng(7)
    old, new = runs(random, 6, 0.01), [*runs(random, 5, 0.01), [9.0, 9.1]]

    found = compare_samples(old, new)

    assert found.verdict == "inconclusive"
    assert "runs a side would settle it" in found.warnings[0]


def test_a_slow_half_is_not_passed_over() -> None:
    """When the lower quartile is as it was and the median is not, there is no pass."""
    random = np.random.default_rng(8)
    old = runs(random, 6, 0.002)
    new = [[*one[:9], *(1.5 * value for value in one[9:])] for one in runs(random, 6, 0.002)]

    found = compare_samples(old, new)

    assert found.verdict == "inconclusive"
    assert "the lower quartile is not slower, but the median is" in found.warnings[0]


@pytest.mark.parametrize(
    "asked", [{"tolerance": -0.1}, {"tolerance": math.nan}, {"confidence": 1.0}, {"confidence": 0.3}]
)
def test_arguments_without_sense_are_refused(asked: dict[str, float]) -> None:
    """A tolerance below nothing, a confidence of a guess: an error that names it."""
    with pytest.raises(MeasurementError, match=next(iter(asked))):
        compare_samples(GOOD, GOOD, **asked)  # type: ignore[arg-type]


def test_a_tolerance_of_nothing_never_passes() -> None:
    """That nothing at all became slower cannot be shown."""
    assert compare_samples(GOOD, GOOD, tolerance=0.0).verdict == "inconclusive"
