"""What a history of runs says: where its level changed, and whether new runs are slower than its present level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from perf.errors import MeasurementError
from perf.judge.comparison import Comparison, bad_time, check, inconclusive, judge_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

ENOUGH = 5
"""Values at the present level below which its spread is not known."""

_ADVICE = "runs differ more by chance than the tolerance allows for: measure this build again, each run adds evidence"
_FEWEST = 3  # values on either side of a step
_WINDOW = 100  # values tested together
_FLOOR = 0.006  # spread of the logs of two runs, at the least: no quieter machine was seen
_SIMULATIONS = 4000
_MEDIAN = math.sqrt(math.pi / 2)  # standard error of a median, as a multiple of a mean's


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangePoint:
    """A step: `index` is the first value at the new level, `ratio` the new level / the old one."""

    index: int
    ratio: float


def change_points(values: Sequence[float], *, tolerance: float = 0.05, confidence: float = 0.99) -> list[ChangePoint]:
    """Return where the level of `values` (positive, one a run, oldest first) stepped by more than `tolerance`.

    Every split of up to 100 neighbouring values is tried with the rank-sum test of Wilcoxon (1945), its greatest
    statistic held against the distribution of the greatest of all splits of values in random order, so that a series
    without a step is given one with a chance of at most 1 - `confidence`; then each side of a step by itself
    (binary segmentation). Where values evidently depend on the one before, each counts for less, by Bartlett's factor
    (1935); in short series that shows too late: of 30 values correlated by 0.5 one series in six is split, and only the
    tolerance keeps most of that out. A level is a median, so an outlier makes no step. A step needs 3 values on either
    side to be found, and mostly 5. Raises MeasurementError on a value that is not positive and finite.
    """
    import numpy as np

    check(tolerance, confidence)
    if reason := bad_time(values):
        raise MeasurementError(f"change points: {reason}")
    logs = np.log(np.asarray(values, dtype=float))
    found = _found(logs, 1 - confidence, 1.0)
    if found and (share := _independence(logs, found)) < 1:
        found = _found(logs, 1 - confidence, share)
    return _steps(logs, found, math.log1p(tolerance))


def _found(logs: NDArray[np.float64], alpha: float, share: float) -> list[int]:
    """Return where the series splits, of statistics of which only `share` counts."""
    windows = _windows(len(logs))
    splits = (_splits(logs, start, end, alpha / len(windows), share) for start, end in windows)
    return sorted({index for found in splits for index in found})


def _windows(length: int) -> list[tuple[int, int]]:
    """Return the windows that cover a series, each overlapping the next by half."""
    if length <= _WINDOW:
        return [(0, length)]
    starts = range(0, length - _WINDOW // 2, _WINDOW // 2)
    return [(min(start, length - _WINDOW), min(start, length - _WINDOW) + _WINDOW) for start in starts]


def _splits(logs: NDArray[np.float64], start: int, end: int, alpha: float, share: float) -> list[int]:
    """Return the indices at which `logs[start:end]` is split, by binary segmentation."""
    length = end - start
    if length < 2 * _FEWEST:
        return []
    statistics = _rank_sums(logs[start:end])
    split = int(abs(statistics).argmax())
    if abs(statistics[split]) * share <= _critical(length, alpha):
        return []
    index = start + split + _FEWEST
    return [*_splits(logs, start, index, alpha, share), index, *_splits(logs, index, end, alpha, share)]


def _rank_sums(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standardised rank sum of the values after each split that leaves enough on either side."""
    import numpy as np

    n = len(logs)
    ranks = _ranks(logs)
    before = np.arange(_FEWEST, n - _FEWEST + 1)
    sums = np.cumsum(ranks[::-1])[::-1][before]
    spread = np.sqrt(before * (n - before) * max(ranks.var(ddof=1), 1e-12) / n)
    return (sums - (n - before) * (n + 1) / 2) / spread  # type: ignore[no-any-return]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, equal ones sharing the mean of theirs."""
    import numpy as np

    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _independence(logs: NDArray[np.float64], found: Sequence[int]) -> float:
    """Return the share of a statistic that is left when each value depends on the one before: 1 where none does."""
    import numpy as np

    ranks = _ranks(np.concatenate([part - np.median(part) for part in np.split(logs, found)]))
    ranks -= ranks.mean()
    total = float((ranks * ranks).sum())
    if not total:  # every value is that of its level
        return 1.0
    lag = float((ranks[1:] * ranks[:-1]).sum()) / total
    evident = min(max(lag - 1 / math.sqrt(len(logs)), 0.0), 0.9)
    return math.sqrt((1 - evident) / (1 + evident))


@lru_cache(maxsize=1024)
def _critical(length: int, alpha: float) -> float:
    """Return what the greatest statistic of a series without a step exceeds with the chance `alpha`.

    Ranks do not depend on the values' distribution, so it is simulated once for each length, with a fixed seed.
    """
    import numpy as np

    if length > 2 * _FEWEST:
        length = 10 * math.ceil(length / 10) if length > 30 else length  # noqa: PLR2004 - it hardly changes from there
    greatest = _greatest(length)
    # Beyond what was simulated the tail is extended as a normal one's, which a standardised rank sum has at most.
    within = max(alpha, 20 / len(greatest))
    value = float(np.quantile(greatest, 1 - within))
    if alpha < within:
        from scipy.special import ndtri

        value += float(ndtri(1 - alpha / (2 * length)) - ndtri(1 - within / (2 * length)))
    return value


@lru_cache(maxsize=64)
def _greatest(length: int) -> NDArray[np.float64]:
    import numpy as np

    random = np.random.default_rng(length)
    ranks = random.permuted(np.tile(np.arange(1.0, length + 1), (_SIMULATIONS, 1)), axis=1)
    before = np.arange(_FEWEST, length - _FEWEST + 1)
    sums = np.cumsum(ranks[:, ::-1], axis=1)[:, ::-1][:, before]
    spread = np.sqrt(before * (length - before) * (length + 1) / 12)
    return np.sort(abs((sums - (length - before) * (length + 1) / 2) / spread).max(axis=1))


def _steps(logs: NDArray[np.float64], found: Sequence[int], least: float) -> list[ChangePoint]:
    """Return the steps between the levels that `found` bounds; the smallest goes until all are above `least`."""
    import numpy as np

    bounds = [0, *found, len(logs)]
    while len(bounds) > 2:  # noqa: PLR2004 - the two ends
        levels = [float(np.median(logs[a:b])) for a, b in pairwise(bounds)]
        sizes = [abs(after - before) for before, after in pairwise(levels)]
        short = [min(b - a, c - b) < _FEWEST for a, b, c in zip(bounds, bounds[1:], bounds[2:], strict=False)]
        sizes = [0.0 if is_short else size for size, is_short in zip(sizes, short, strict=True)]
        smallest = min(range(len(sizes)), key=sizes.__getitem__)
        if sizes[smallest] > least:
            return [
                ChangePoint(index=index, ratio=math.exp(after - before))
                for index, before, after in zip(bounds[1:-1], levels, levels[1:], strict=False)
            ]
        del bounds[smallest + 1]
    return []


def compare_to_history(
    history: Sequence[float],
    current: Sequence[float],
    *,
    tolerance: float = 0.05,
    confidence: float = 0.99,
    higher_is_better: bool = False,
) -> Comparison:
    """Judge one or more new figures (one a run) against the present level of a history of such figures.

    The present level is the median since the last change point. How much slower a run is by chance is taken from the
    slower half of that level alone, how much faster from the faster half, for noise mostly goes one way; the bounds
    are those of a prediction interval with Student's t, at half the degrees of freedom, for half the values made it.
    With fewer than 5 values at that level there is no verdict.
    """
    import numpy as np

    check(tolerance, confidence)
    if reason := bad_time([*history, *current]):
        return inconclusive(reason)
    if not len(history) or not len(current):
        return inconclusive("nothing to compare: one side has no run")
    last = change_points(history, tolerance=tolerance, confidence=confidence)[-1:]
    level = np.log(history[last[0].index if last else 0 :])
    sign = -1.0 if higher_is_better else 1.0
    slowdown = sign * float(np.median(np.log(current)) - np.median(level))
    n, k = len(level), len(current)
    if n < ENOUGH:
        few = f"{n} run{'s' * (n > 1)} at the present level, {ENOUGH} are needed to know its spread: measure again"
        return inconclusive(few, math.exp(sign * slowdown))
    slower, faster = _half_spreads(sign * level)
    width = math.sqrt((_MEDIAN**2 if k > 2 else 1.0) / k + _MEDIAN**2 / n)  # noqa: PLR2004 - of two it is the mean
    return judge_interval(
        slowdown,
        (width * slower, width * faster),
        (n - 1) / 2,
        tolerance=tolerance,
        confidence=confidence,
        sign=sign,
        advice=_ADVICE,
    )


def _half_spreads(level: NDArray[np.float64]) -> tuple[float, float]:
    """Return the root mean square deviation from the median of the slower half of a level, and of its faster half."""
    import numpy as np

    deviations = level - np.median(level)
    halves = (np.maximum(deviations, 0.0), np.minimum(deviations, 0.0))
    return tuple(math.hypot(math.sqrt(float((half**2).sum()) * 2 / (len(level) - 1)), _FLOOR) for half in halves)  # type: ignore[return-value]
