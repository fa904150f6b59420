"""The detector a user calls with figures of his own, to hold the present one against their history."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any

from perf.errors import MeasurementError
from perf.judge.comparison import IMPROVED, INCONCLUSIVE, PASSED, REGRESSED, bad_time
from perf.judge.history import ENOUGH, compare_to_history

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perf.record.benchmark import PerformanceBenchmark

HIGHER_IS_BETTER = re.compile(r"(^|_)(throughput\w*|ops(_per_sec(ond)?)?|success_rate|hit_(ratio|rate))$")
"""How the name of a metric ends that is better when it is higher; every other is better when lower."""

_CRITICAL = 2.0
_TREND_CONFIDENCE = 0.99
_ENOUGH_FOR_A_TREND = 8


@dataclass(frozen=True, slots=True)
class RegressionDetector:
    """Finds regressions: worse by more than `regression_threshold`, and by more than the history's noise explains.

    `regression_threshold` is how many times worse is too much (1.2: a fifth); `min_samples` how many figures the
    history needs; `statistical_confidence` how sure a verdict must be. MeasurementError on values that make no sense.
    """

    regression_threshold: float = 1.2
    min_samples: int = 5
    statistical_confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 1 <= self.regression_threshold < math.inf:
            raise MeasurementError(f"regression_threshold {self.regression_threshold}: must be 1 or more, such as 1.2")
        if self.min_samples < 1:
            raise MeasurementError(f"min_samples {self.min_samples}: must be 1 or more")
        if not 0.5 < self.statistical_confidence < 1:  # noqa: PLR2004
            raise MeasurementError(f"statistical_confidence {self.statistical_confidence}: must lie between 0.5 and 1")

    def detect_regression(
        self,
        current_metrics: Mapping[str, float],
        historical_benchmarks: Sequence[PerformanceBenchmark],
        metric_name: str = "avg_operation_time",
        *,
        higher_is_better: bool | None = None,
    ) -> dict[str, Any]:
        """Return what the present figure of `metric_name` is against those of the history, oldest first.

        `regression_detected` is True only when the ratio is above the threshold *and* the evidence says so.
        `relative_change` is how many times worse it is than the history's present level, whatever the direction,
        which the metric's name tells unless `higher_is_better` does; `confidence` how sure it is that it is worse at
        all. `verdict` is "regressed", "improved", "passed" or "inconclusive", with a `reason`; `trend` is
        "degrading", "improving", "stable" or "unknown".
        """
        higher = _is_higher_better(metric_name) if higher_is_better is None else higher_is_better
        current = current_metrics.get(metric_name)
        dated = sorted(historical_benchmarks, key=lambda one: one.timestamp.timestamp())
        history = [one.metrics[metric_name] for one in dated if metric_name in one.metrics]
        result = _empty(metric_name, current, history)
        if reason := self._unusable(metric_name, current, history):
            return result | {"reason": reason, "recommendation": f"No verdict: {reason}."}
        return result | self._judge(float(current or 0.0), history, higher=higher)

    def _unusable(self, name: str, current: float | None, history: Sequence[float]) -> str:
        if current is None:
            return f"the present figures hold no {name}"
        if reason := bad_time([*history, current]):
            return reason
        needed = max(self.min_samples, ENOUGH)
        if len(history) < needed:
            return f"{len(history)} earlier figures of {name}, {needed} are needed: measure more often"
        return ""

    def _judge(self, current: float, history: Sequence[float], *, higher: bool) -> dict[str, Any]:
        def compare(tolerance: float) -> Any:  # noqa: ANN401
            return compare_to_history(
                history,
                [current],
                tolerance=tolerance,
                confidence=self.statistical_confidence,
                higher_is_better=higher,
            )

        comparison, any_slower = compare(self.regression_threshold - 1), compare(0.0)
        ratio = comparison.ratio or 1.0
        worse = 1 / ratio if higher else ratio
        sure = 1 - any_slower.p_value if any_slower.p_value is not None else None
        return {
            "verdict": comparison.verdict,
            "regression_detected": comparison.verdict == REGRESSED,
            "relative_change": worse,
            "confidence": sure,
            "smallest_detectable": comparison.smallest_detectable,
            "trend": trend(history, higher_is_better=higher),
            "reason": "; ".join(comparison.warnings),
            "recommendation": _recommendation(comparison.verdict, worse, comparison.warnings),
        }


def _is_higher_better(name: str) -> bool:
    return HIGHER_IS_BETTER.search(name.lower()) is not None and not name.lower().startswith(("failed", "error"))


def _empty(name: str, current: float | None, history: Sequence[float]) -> dict[str, Any]:
    """Return the result without a verdict: what is known of both sides."""
    finite = [value for value in history if math.isfinite(value)]
    return {
        "regression_detected": False,
        "verdict": INCONCLUSIVE,
        "metric_name": name,
        "current_value": current,
        "historical_mean": fmean(finite) if finite else None,
        "historical_median": median(finite) if finite else None,
        "historical_std": stdev(finite) if len(finite) > 1 else None,
        "sample_count": len(history),
        "relative_change": None,
        "confidence": None,
        "smallest_detectable": None,
        "trend": "unknown",
        "reason": "",
        "recommendation": "",
    }


def _recommendation(verdict: str, worse: float, warnings: Sequence[str]) -> str:
    if verdict == REGRESSED:
        if worse > _CRITICAL:
            return f"Critical regression detected: {worse:.2f} times worse. Do not release; review recent changes."
        return f"Moderate regression detected: {worse:.2f} times worse. Review recent changes."
    if verdict == IMPROVED:
        return f"Improved: {1 / worse:.2f} times better. Promote a new baseline."
    if verdict == PASSED:
        return "No regression: nothing to do."
    return f"No verdict: {'; '.join(warnings)}."


def trend(history: Sequence[float], *, higher_is_better: bool = False) -> str:
    """Return where a history of positive figures is heading: "degrading", "improving", "stable" or "unknown".

    By the test of Mann (1945) for a trend in ranks, at 99 % confidence; with fewer than 8 figures it is unknown.
    """
    import numpy as np
    from scipy.special import ndtri

    n = len(history)
    if n < _ENOUGH_FOR_A_TREND:
        return "unknown"
    values = np.asarray(history, dtype=float)
    rising = float(np.sign(values[None, :] - values[:, None])[np.triu_indices(n, 1)].sum())
    score = (abs(rising) - 1) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    if score <= float(ndtri((1 + _TREND_CONFIDENCE) / 2)):
        return "stable"
    return "degrading" if (rising > 0) != higher_is_better else "improving"
