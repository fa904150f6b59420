"""Is one side slower than the other by more than a tolerance? An interval, the smallest change seen, and one word."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perf.errors import MeasurementError
from perf.judge.student import t_cdf, t_quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PASSED = "passed"
REGRESSED = "regressed"
IMPROVED = "improved"
INCONCLUSIVE = "inconclusive"

POWER = 0.9
"""How often the smallest detectable change would be seen."""

_QUARTER = 0.25
_NORMAL = 2.33 + 1.28  # normal quantiles of the usual confidence, 99 %, and the power


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What became of one comparison, with its evidence.

    `ratio` is current / baseline; `low` and `high` are its one-sided bounds, each at the confidence asked for;
    `smallest_detectable` is the smallest relative change that would have been seen nine times in ten (0.02 is 2 %);
    `p_value` is the chance of such a difference were the true change just the tolerance (small: regressed). Each
    is None where it cannot be computed. `warnings` say why there is no verdict, and what to do next.
    """

    verdict: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    smallest_detectable: float | None = None
    p_value: float | None = None
    warnings: tuple[str, ...] = ()


def compare_samples(
    baseline: Sequence[Sequence[float]],
    current: Sequence[Sequence[float]],
    *,
    tolerance: float = 0.05,
    confidence: float = 0.99,
    paired: bool = False,
    higher_is_better: bool = False,
) -> Comparison:
    """Compare two sides, each a sequence of replicates (runs or pairs), each of them a sequence of round times.

    The replicate is the run: its rounds become one figure, their lower quartile, for what disturbs a round makes it
    longer. On the logs of those figures stands Student's t of the differences of `paired` replicates, or Welch's t
    (1947) of the two sides. "regressed" when the slowdown's lower bound exceeds `tolerance`, "improved" when it is
    as clearly faster, "passed" when its upper bound is below the tolerance and so is the smallest detectable change,
    else "inconclusive", as is what cannot be computed: fewer than two replicates a side, or times that are none.
    Raises MeasurementError on a tolerance or a confidence that makes no sense.
    """
    check(tolerance, confidence)
    if reason := _cannot_compare(baseline, current, paired=paired):
        return inconclusive(reason)
    sign = -1.0 if higher_is_better else 1.0
    quarter = 1 - _QUARTER if higher_is_better else _QUARTER
    old, new = ([sign * math.log(quantile(one, quarter)) for one in side] for side in (baseline, current))
    slowdown, error, freedom = _paired(old, new) if paired else _welch(old, new)
    comparison = judge_interval(
        slowdown,
        (error, error),
        freedom,
        tolerance=tolerance,
        confidence=confidence,
        sign=sign,
        advice=_advice(error, min(len(old), len(new)), tolerance),
    )
    return _cross_checked(comparison, baseline, current, tolerance, sign)


def _cannot_compare(baseline: Sequence[Sequence[float]], current: Sequence[Sequence[float]], *, paired: bool) -> str:
    for name, side in (("baseline", baseline), ("current", current)):
        if len(side) < 2:  # noqa: PLR2004 - of one there is no spread
            had = "one replicate" if len(side) else "no replicate"
            return f"{name} has {had}, and rounds within one do not tell how runs differ: measure at least two"
        if not all(len(one) for one in side):
            return f"{name} has a replicate without rounds: leave it out or measure it again"
        if reason := bad_time(value for one in side for value in one):
            return f"{name}: {reason}"
    if paired and len(baseline) != len(current):
        return f"{len(baseline)} and {len(current)} replicates make no pairs: give each its other half"
    return ""


def check(tolerance: float, confidence: float) -> None:
    """Raise MeasurementError unless the tolerance is 0 or more and the confidence lies between 0.5 and 1."""
    if not 0 <= tolerance < math.inf:
        raise MeasurementError(f"tolerance {tolerance}: must be a share, 0 or more, such as 0.05")
    if not 0.5 < confidence < 1:  # noqa: PLR2004 - below it a guess would do
        raise MeasurementError(f"confidence {confidence}: must lie between 0.5 and 1, such as 0.99")


def bad_time(values: Iterable[float]) -> str:
    """Return what is wrong with the first figure that is not positive and finite, "" when all are."""
    for index, value in enumerate(values):
        if not 0 < value < math.inf:
            return f"figure {index} is {value}, and only what is positive and finite can be compared: measure it again"
    return ""


def quantile(values: Sequence[float], q: float) -> float:
    """Return a quantile by linear interpolation, as `perf.distribution`; for few values numpy is ten times slower."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = math.ceil(position)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _paired(old: Sequence[float], new: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of the pairs' differences, its standard error and its degrees of freedom."""
    mean, variance = _moments([after - before for before, after in zip(old, new, strict=True)])
    return mean, math.sqrt(variance / len(old)), len(old) - 1.0


def _welch(old: Sequence[float], new: Sequence[float]) -> tuple[float, float, float]:
    """Return the difference of the means, its standard error and degrees of freedom by Welch and Satterthwaite."""
    (before, old_variance), (after, new_variance) = _moments(old), _moments(new)
    parts = [old_variance / len(old), new_variance / len(new)]
    total = sum(parts)
    if not total:
        return after - before, 0.0, float(len(old) + len(new) - 2)
    squares = parts[0] ** 2 / (len(old) - 1) + parts[1] ** 2 / (len(new) - 1)
    return after - before, math.sqrt(total), total**2 / squares


def _moments(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def judge_interval(  # noqa: PLR0913 - all of them by name but the estimate
    slowdown: float,
    errors: tuple[float, float],
    freedom: float,
    *,
    tolerance: float,
    confidence: float,
    sign: float,
    advice: str,
    asked: int = 1,
) -> Comparison:
    """Return the verdict on an estimated `slowdown` (a log ratio, positive is worse).

    `errors` are its standard errors towards either side: how much slower than it is something looks by chance, and
    how much faster. The bounds are Student's t with `freedom` degrees of freedom. `sign` is -1 where a
    higher ratio is better; `advice` is what to do when there is no verdict. Of `asked` comparisons that are made
    together none may be called regressed by chance, so each is held to its share of the error (Bonferroni).
    """
    slower, faster = errors
    usual, power = t_quantile(confidence, freedom), t_quantile(POWER, freedom)
    surely = t_quantile(1 - (1 - confidence) / asked, freedom)
    low, high = slowdown - surely * slower, slowdown + usual * faster
    least = math.log1p(tolerance)
    detectable = math.expm1(min(surely * slower + power * faster, 700.0))
    beyond = (slowdown - least) / max(slower, 1e-300)
    p_value = t_cdf(-beyond, freedom)
    warnings: tuple[str, ...] = ()
    if low > least:
        verdict = REGRESSED
    elif high < -least:
        verdict = IMPROVED
    elif high < least and detectable <= tolerance:
        verdict = PASSED
    else:
        verdict = INCONCLUSIVE
        warnings = (advice,)
    bounds = sorted((sign * low, sign * high))
    return Comparison(
        verdict=verdict,
        ratio=_exp(sign * slowdown),
        low=_exp(bounds[0]),
        high=_exp(bounds[1]),
        smallest_detectable=detectable,
        p_value=p_value,
        warnings=warnings,
    )


def inconclusive(reason: str, ratio: float | None = None) -> Comparison:
    """Return what is said when there can be no verdict, for `reason`."""
    return Comparison(verdict=INCONCLUSIVE, ratio=ratio, warnings=(reason,))


def _exp(value: float) -> float:
    return math.exp(max(min(value, 700.0), -700.0))  # a bound that few runs leave wide open


def _advice(error: float, replicates: int, tolerance: float) -> str:
    """Return how many replicates a side it would take for the smallest detectable change to be the tolerance."""
    if not tolerance:
        return "a tolerance of nothing can be exceeded, but never be shown to be kept: allow some"
    needed = math.ceil(replicates * (_NORMAL * error / math.log1p(tolerance)) ** 2)
    return f"not clear of the tolerance: about {max(needed, replicates + 1)} runs a side would settle it"


def _cross_checked(
    comparison: Comparison,
    baseline: Sequence[Sequence[float]],
    current: Sequence[Sequence[float]],
    tolerance: float,
    sign: float,
) -> Comparison:
    """Return the comparison without its pass when the medians say otherwise: the slower half may be slower."""
    if comparison.verdict != PASSED:
        return comparison
    old, new = ([math.log(quantile(one, 0.5)) for one in side] for side in (baseline, current))
    slowdown = sign * (quantile(new, 0.5) - quantile(old, 0.5))
    if slowdown <= math.log1p(tolerance):
        return comparison
    reason = f"the lower quartile is not slower, but the median is, by {math.expm1(slowdown):.1%}: look at the rounds"
    return Comparison(
        verdict=INCONCLUSIVE,
        ratio=comparison.ratio,
        low=comparison.low,
        high=comparison.high,
        smallest_detectable=comparison.smallest_detectable,
        p_value=comparison.p_value,
        warnings=(reason,),
    )
