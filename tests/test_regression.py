from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perf import PerformanceBenchmark, RegressionDetector
from perf.errors import MeasurementError

START = datetime(2026, 11, 1, tzinfo=UTC)


def history(values: list[float], metric: str = "avg_operation_time") -> list[PerformanceBenchmark]:
    return [
        PerformanceBenchmark(
            test_name="cache_performance",
            operation_type="cache_set",
            timestamp=START + timedelta(days=day),
            metrics={metric: value},
        )
        for day, value in enumerate(values)
    ]


QUIET = [0.008 * (1 + 0.01 * (index % 3 - 1)) for index in range(12)]
KEYS = {
    "regression_detected", "current_value", "historical_mean", "relative_change", "confidence", "trend",
    "recommendation", "verdict", "metric_name", "sample_count",
}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "detected", "said"),
    [
        (0.008, False, "No regression: nothing to do."),
        (0.012, True, "Moderate regression detected: 1.50 times worse. Review recent changes."),
        (0.020, True, "Critical regression detected: 2.50 times worse. Do not release; review recent changes."),
        (0.004, False, "Improved: 2.00 times better. Promote a new baseline."),
    ],
)
def test_it_says_what_to_do(now: float, detected: bool, said: str) -> None:  # noqa: FBT001
    """As fast, worse, far worse, better: whether it is a regression, and the sentence."""
    found = RegressionDetector().detect_regression({"avg_operation_time": now}, history(QUIET))

    assert found.keys() >= KEYS
    assert (found["regression_detected"], found["recommendation"]) == (detected, said)
    assert found["relative_change"] == pytest.approx(now / 0.008)
    assert found["historical_mean"] == pytest.approx(0.008)


def test_the_ratio_alone_is_no_regression() -> None:
    """Half as long again against a history that varies by half is no evidence."""
    noisy = list(0.008 * np.exp(np.random.default_rng(1).normal(0, 0.4, 20)))

    found = RegressionDetector().detect_regression({"avg_operation_time": 0.012}, history(noisy))

    assert (found["regression_detected"], found["verdict"]) == (False, "inconclusive")
    assert found["relative_change"] > 1.2


def test_the_evidence_alone_is_no_regression() -> None:
    """A clear slowdown of 10 % is below the threshold of a fifth, and above one of a twentieth."""
    now = {"avg_operation_time": 0.0088}

    assert RegressionDetector().detect_regression(now, history(QUIET))["regression_detected"] is False
    found = RegressionDetector(regression_threshold=1.05).detect_regression(now, history(QUIET))
    assert found["regression_detected"] is True
    assert found["confidence"] > 0.95


def test_throughput_is_better_when_higher() -> None:
    """Half the throughput is twice as bad, and twice as much is no regression."""
    detector, saved = RegressionDetector(), history([1200 * value / 0.008 for value in QUIET], "throughput")

    half = detector.detect_regression({"throughput": 600.0}, saved, metric_name="throughput")
    twice = detector.detect_regression({"throughput": 2400.0}, saved, metric_name="throughput")

    assert (half["regression_detected"], half["relative_change"]) == (True, pytest.approx(2.0))
    assert (twice["regression_detected"], twice["verdict"]) == (False, "improved")


@pytest.mark.parametrize(
    ("current", "values", "said"),
    [
        ({"avg_operation_time": 0.008}, QUIET[:4], "4 earlier figures of avg_operation_time, 5 are needed"),
        ({"throughput": 1.0}, QUIET, "the present figures hold no avg_operation_time"),
        ({"avg_operation_time": math.nan}, QUIET, "is nan"),
        ({"avg_operation_time": 0.0}, QUIET, "is 0.0"),
    ],
)
def test_what_cannot_be_judged_is_no_regression_and_no_pass(
    current: dict[str, float], values: list[float], said: str
) -> None:
    """Too few figures, none of that name, values that are none: inconclusive, with the reason."""
    found = RegressionDetector().detect_regression(current, history(values))

    assert (found["regression_detected"], found["verdict"]) == (False, "inconclusive")
    assert said in found["reason"]
    assert found.keys() >= KEYS


def test_more_samples_can_be_asked_for() -> None:
    """`min_samples` holds back a verdict on a history that is too short for the user."""
    found = RegressionDetector(min_samples=20).detect_regression({"avg_operation_time": 0.02}, history(QUIET))

    assert (found["regression_detected"], "20 are needed" in found["reason"]) == (False, True)


@pytest.mark.parametrize(("slope", "trend"), [(0.02, "degrading"), (-0.02, "improving"), (0.0, "stable")])
def test_a_trend_is_told(slope: float, trend: str) -> None:
    """A history that creeps up is degrading, one that creeps down improving, one that does neither stable."""
    random = np.random.default_rng(2)
    values = [0.008 * math.exp(slope * day + random.normal(0, 0.01)) for day in range(20)]

    assert RegressionDetector().detect_regression({"avg_operation_time": 0.008}, history(values))["trend"] == trend


def test_a_trend_is_rarely_seen_where_there_is_none() -> None:
    """At most 1 % of 500 histories without a trend have one: 13 would be too many."""
    random = np.random.default_rng(3)
    detector = RegressionDetector()
    trends = [
        detector.detect_regression({"avg_operation_time": 1.0}, history(list(np.exp(random.normal(0, 0.1, 15)))))[
            "trend"
        ]
        for _ in range(500)
    ]

    assert 500 - trends.count("stable") < 13


def test_the_history_is_taken_in_order_of_time() -> None:
    """Benchmarks given in any order are judged oldest first."""
    rising = history([0.008 * math.exp(0.02 * day) for day in range(20)])

    assert RegressionDetector().detect_regression({"avg_operation_time": 0.012}, rising[::-1])["trend"] == "degrading"


@pytest.mark.parametrize("asked", [{"regression_threshold": 0.5}, {"min_samples": 0}, {"statistical_confidence": 95}])
def test_arguments_without_sense_are_refused(asked: dict[str, float]) -> None:
    """A threshold below 1, no samples, a confidence in percent: an error that names it."""
    with pytest.raises(MeasurementError, match=next(iter(asked))):
        RegressionDetector(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "higher"),
    [
        ("throughput", True), ("ops_per_sec", True), ("success_rate", True), ("hit_ratio", True),
        ("loops_per_call_ms", False), ("stops_time", False), ("success_latency", False), ("failed_ops", False),
    ],
)  # fmt: skip
def test_a_metrics_name_tells_its_direction(name: str, higher: bool) -> None:  # noqa: FBT001
    """Only what is named a rate, a throughput or a share of successes is better when higher."""
    before = history([100.0 + number % 3 for number in range(10)], name)

    result = RegressionDetector().detect_regression({name: 500.0}, before, name)

    assert result["verdict"] == ("improved" if higher else "regressed")
