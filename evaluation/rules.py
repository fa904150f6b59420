"""The rules of other tools in a few lines each, to be held beside ours. True means: slower, a regression."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

SampleRule = Callable[["Values", "Values"], bool]
HistoryRule = Callable[["Values", float], bool]


def pytest_benchmark(old: Values, new: Values) -> bool:
    """pytest-benchmark with --benchmark-compare-fail=mean:5%: the mean of all rounds above the old one by 5 %."""
    return bool(new.mean() > 1.05 * old.mean())


def pyperf(old: Values, new: Values) -> bool:
    """pyperf's compare_to: the pooled two-sample t-test at 95 %, two-sided."""
    return bool(new.mean() > old.mean() and stats.ttest_ind(old, new).pvalue < 0.05)


def benchstat(old: Values, new: Values) -> bool:
    """benchstat: the Mann-Whitney test at p < 0.05, two-sided, no least effect."""
    slower = np.median(new) > np.median(old)
    return bool(slower and stats.mannwhitneyu(old, new, alternative="two-sided").pvalue < 0.05)


def seed_detector(old: Values, new: Values) -> bool:
    """The user's first detector: the ratio of the means above 1.2."""
    return bool(new.mean() > 1.2 * old.mean())


SAMPLE_RULES: dict[str, SampleRule] = {
    "pytest-benchmark mean:5%": pytest_benchmark,
    "pyperf, pooled t 95 %": pyperf,
    "benchstat, Mann-Whitney 0.05": benchstat,
    "ratio of means > 1.2": seed_detector,
}


def previous(history: Values, value: float) -> bool:
    """The run before, and a threshold of 5 %, as pytest-benchmark and many scripts do."""
    return value > 1.05 * float(history[-1])


def conbench(history: Values, value: float) -> bool:
    """conbench: a z-score above 5 against mean and standard deviation of the history."""
    return value > float(history.mean() + 5 * history.std(ddof=1))


def bencher(history: Values, value: float) -> bool:
    """Bencher's t-test threshold: above the mean by the 0.99 quantile of Student's t times the standard deviation."""
    return value > float(history.mean() + stats.t.ppf(0.99, len(history) - 1) * history.std(ddof=1))


def rustc_perf(history: Values, value: float) -> bool:
    """rustc-perf: a step from the run before above Q3 + 3 IQR of the steps of the history."""
    steps = abs(np.diff(np.log(history)))
    q1, q3 = np.quantile(steps, [0.25, 0.75])
    return bool(math.log(value / float(history[-1])) > q3 + 3 * (q3 - q1))


def median_mad(history: Values, value: float) -> bool:
    """Above the median by more than 3 % and by more than 4 sigma, from the median absolute deviation."""
    logs = np.log(history)
    sigma = 1.4826 * np.median(abs(logs - np.median(logs)))
    return math.log(value) - float(np.median(logs)) > max(math.log(1.03), 4 * float(sigma))


def seed_history(history: Values, value: float) -> bool:
    """The user's first detector: above the history's mean by more than a fifth."""
    return value > 1.2 * float(history.mean())


HISTORY_RULES: dict[str, HistoryRule] = {
    "previous run + 5 %": previous,
    "conbench, z > 5": conbench,
    "Bencher, t-test 0.99": bencher,
    "rustc-perf, Q3 + 3 IQR of steps": rustc_perf,
    "median/MAD > max(3 %, 4 sigma)": median_mad,
    "ratio to the mean > 1.2": seed_history,
}
