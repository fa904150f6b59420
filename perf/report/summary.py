"""A judgement as data: the report that `invoke alert` and other programs read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from perf.judge.comparison import REGRESSED

if TYPE_CHECKING:
    from perf.judge.changes import Change
    from perf.judge.gate import Judgement

FORMAT = 1
"""Version of the report."""

CRITICAL = 2.0
"""From how many times worse on a regression is critical."""


def summarise(judgement: Judgement, generated_at: datetime) -> dict[str, Any]:
    """Return the report: `regression_detected` and the verdict first, then each regression, then all evidence.

    Times are seconds and sizes bytes. `historical_mean` is the level that was judged against, the median of
    `historical_samples` runs; `relative_change` is how many times worse it became, whatever the metric's direction.
    """
    regressions = [one for one in judgement.changes if one.verdict == REGRESSED]
    return {
        "format": FORMAT,
        "generated_at": generated_at.isoformat(timespec="seconds"),
        "period_days": (datetime.fromisoformat(judgement.ended) - datetime.fromisoformat(judgement.began)).days,
        "regression_detected": bool(regressions),
        "verdict": judgement.verdict.word,
        "sentence": judgement.verdict.sentence,
        "profile": judgement.profile,
        "baseline": list(judgement.baseline),
        "current": list(judgement.current),
        "tolerance": judgement.tolerance,
        "confidence": judgement.confidence,
        "test_summary": _summary(judgement.changes),
        "regressions": [
            {
                "test_name": _test_name(one),
                "operation_type": one.operation.name,
                "regression_details": _details(one, judgement.confidence),
            }
            for one in regressions
        ],
        "recommendations": [_recommendation(one) for one in regressions] or [judgement.verdict.sentence],
        "limits": [
            {
                "service": one.limit.service,
                "name": one.limit.name,
                "statistic": one.limit.statistic,
                "bound": one.limit.bound,
                "source": one.limit.source,
                "actual": one.actual,
                "verdict": one.verdict,
                "reason": one.reason,
            }
            for one in judgement.limits
        ],
        "changes": [_change(one) for one in judgement.changes],
        "differences": list(judgement.differences),
        "warnings": list(judgement.warnings),
    }


def _test_name(change: Change) -> str:
    return f"{change.operation.service}_performance"


def _summary(changes: tuple[Change, ...]) -> dict[str, dict[str, int]]:
    groups: dict[str, list[Change]] = defaultdict(list)
    for one in changes:
        groups[_test_name(one)].append(one)
    return {
        name: {
            "operations_tested": sum(one.new is not None for one in group),
            "historical_samples": sum(one.old_runs for one in group),
            "regressions_detected": sum(one.verdict == REGRESSED for one in group),
        }
        for name, group in groups.items()
    }


def _details(change: Change, confidence: float) -> dict[str, Any]:
    evidence = change.comparison
    sure = 1 - evidence.p_value if evidence and evidence.p_value is not None else confidence
    return {
        "metric": change.metric,
        "unit": change.unit,
        "current_value": change.new,
        "historical_mean": change.old,
        "relative_change": change.worse,
        "confidence": sure,
    }


def _recommendation(change: Change) -> str:
    worse = change.worse or 1.0
    word = "Critical" if worse > CRITICAL else "Moderate"
    return (
        f"{word} regression detected in {change.operation.service} {change.operation.name} ({worse:.2f} times worse). "
        "Review recent changes."
    )


def _change(change: Change) -> dict[str, Any]:
    operation, evidence = change.operation, change.comparison
    return {
        "service": operation.service,
        "operation": operation.name,
        "test": operation.test,
        "kind": operation.kind,
        "concurrency": operation.concurrency,
        "metric": change.metric,
        "unit": change.unit,
        "better": change.better,
        "old": change.old,
        "new": change.new,
        "old_runs": change.old_runs,
        "new_runs": change.new_runs,
        "ratio": change.ratio,
        "verdict": change.verdict,
        "reason": change.reason,
        "evidence": asdict(evidence) if evidence else None,
    }
