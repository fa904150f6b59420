"""Is each limit held? The figure it was judged on, how many samples it rests on, and one word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perf.distribution import percentile, samples_needed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from perf.judge.thresholds import Limit
    from perf.record.run import Failure, Measurement

PASSED = "passed"
BROKEN = "broken"
INCONCLUSIVE = "inconclusive"
MISSING = "missing"
NOT_SELECTED = "not selected"
KNOWN_FAULT = "known fault"
_GRAVITY = {BROKEN: 3, PASSED: 2, INCONCLUSIVE: 1, KNOWN_FAULT: 1}
NO_TIMINGS = frozenset({"growth", "per operation", "count"})
"""Statistics that can be judged where tests run beside each other and slow each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitVerdict:
    """What became of one limit.

    `actual` is in the limit's unit, None when nothing was measured; `samples` is how many figures it rests
    on; `where` names the measurement that decided, `reason` says why there is no plain yes or no.
    """

    limit: Limit
    verdict: str
    actual: float | None = None
    samples: int = 0
    where: str = ""
    reason: str = ""


def judge_limits(
    limits: Iterable[Limit],
    measurements: Sequence[Measurement],
    expected_services: Collection[str],
    failures: Sequence[Failure] = (),
) -> list[LimitVerdict]:
    """Return a verdict for every limit.

    A limit without a measurement is a "known fault" when the build fails at its operation in a way that is
    known, "missing" when the test of its operation is among `failures` otherwise or its service was to be
    measured whole (`expected_services`), else "not selected": this run never meant to measure it.
    """
    judges = {
        "growth": _memory,
        "per operation": _memory,
        "throughput": _throughput,
        "overhead": _overhead,
        "count": _count,
    }
    limits, verdicts = list(limits), []
    with_their_own = {(one.service, one.operation) for one in limits if one.statistic == "throughput" and one.operation}
    for limit in limits:
        own = [one for one in measurements if one.origin.service == limit.service]
        if limit.statistic == "throughput" and limit.operation is None:
            own = [one for one in own if (limit.service, one.operation) not in with_their_own]
        verdict = judges.get(limit.statistic, _latency)(limit, own)
        verdicts.append(verdict or _unmeasured(limit, expected_services, failures))
    return verdicts


def over_runs(verdicts: Sequence[Sequence[LimitVerdict]]) -> list[LimitVerdict]:
    """Return one verdict for each limit, of those that several runs gave it in the same order.

    It is broken when any run broke it, whatever the others did; what one run did not measure another may have.
    """
    return [max(same, key=lambda one: _GRAVITY.get(one.verdict, 0)) for same in zip(*verdicts, strict=True)]


def _unmeasured(limit: Limit, expected_services: Collection[str], failures: Sequence[Failure]) -> LimitVerdict:
    for failure in failures:
        if (failure.origin.service, failure.origin.operation) == (limit.service, limit.operation):
            known = failure.kind == KNOWN_FAULT
            return LimitVerdict(limit=limit, verdict=KNOWN_FAULT if known else MISSING, reason=failure.reason)
    if limit.service in expected_services:
        return LimitVerdict(limit=limit, verdict=MISSING, reason="nothing in this run measured it")
    return LimitVerdict(limit=limit, verdict=NOT_SELECTED, reason="not part of this run")


def _latency(limit: Limit, measurements: Sequence[Measurement]) -> LimitVerdict | None:
    """Judge a percentile of the operation measured one at a time, never the slowest call.

    Each measurement of it (one a size, say) is judged by itself, and the worst decides: together, the many
    samples of a fast one would hide a slow one.
    """
    matching = [
        one for one in measurements if one.kind == "latency" and one.operation == limit.operation and one.samples
    ]
    severity = (PASSED, INCONCLUSIVE, BROKEN)
    verdicts = [_percentile(limit, one) for one in matching]
    return max(verdicts, key=lambda one: (severity.index(one.verdict), one.actual), default=None)


def _percentile(limit: Limit, measurement: Measurement) -> LimitVerdict:
    samples, failed = measurement.samples, sum(measurement.errors.values())
    q = float(limit.statistic[1:])
    actual, needed = percentile(samples, q), samples_needed(q)
    reason = ""
    if len(samples) < needed:
        remedy = "raise rounds in thresholds.toml, or min_rounds where the benchmark sets it"
        reason = f"{limit.statistic} needs {needed} samples or more: {remedy}"
    elif failed > (1 - q / 100) * (failed + len(samples)):
        reason = f"{failed} of {failed + len(samples)} operations failed, so {limit.statistic} of all is not known"
    if reason:
        return _inconclusive(limit, actual, len(samples), reason)
    return _at_most(limit, actual, len(samples), measurement.origin.test.rpartition("::")[2].removeprefix("test_"))


def _memory(limit: Limit, measurements: Sequence[Measurement]) -> LimitVerdict | None:
    """Judge the largest growth that a memory test of the service saw."""
    metric = "memory_growth" if limit.statistic == "growth" else "memory_per_operation"
    figures = [
        (one.metrics[metric].value, one.operation)
        for one in measurements
        if one.kind == "memory" and limit.operation in {None, one.operation}
    ]
    if not figures:
        return None
    actual, where = max(figures)
    return _at_most(limit, actual, len(figures), where)


def _throughput(limit: Limit, measurements: Sequence[Measurement]) -> LimitVerdict | None:
    """Judge the lowest throughput of the service's scalability steps: it must hold at each."""
    figures = [
        (one.metrics["throughput"].value if "throughput" in one.metrics else 0.0, one)
        for one in measurements
        if one.kind == "load" and one.origin.category == "scalability" and limit.operation in {None, one.operation}
    ]
    if not figures:
        return None
    actual, worst = min(figures, key=lambda figure: figure[0])
    return LimitVerdict(
        limit=limit,
        verdict=PASSED if actual >= limit.bound else BROKEN,
        actual=actual,
        samples=len(figures),
        where=f"{worst.operation}, {worst.concurrency} at once",
    )


def _overhead(limit: Limit, measurements: Sequence[Measurement]) -> LimitVerdict | None:
    """Judge the largest overhead of the operation that a test of the service recorded."""
    figures = [
        one.metrics["overhead"].value
        for one in measurements
        if one.kind == "overhead" and one.operation == limit.operation
    ]
    return _at_most(limit, max(figures), len(figures), "") if figures else None


def _count(limit: Limit, measurements: Sequence[Measurement]) -> LimitVerdict | None:
    """Judge the most operations that were under way at one moment in a load of which none failed."""
    loads = [one for one in measurements if one.kind == "load" and one.metrics["total_operations"].value]
    if not loads:
        return None
    actual = max((_under_way(one) for one in loads if not one.errors), default=0.0)
    if actual < limit.bound and not any(one.errors for one in loads):
        return _inconclusive(limit, actual, len(loads), f"no more than {actual:g} at once were tried")
    verdict = PASSED if actual >= limit.bound else BROKEN
    return LimitVerdict(limit=limit, verdict=verdict, actual=actual, samples=len(loads))


def _under_way(load: Measurement) -> float:
    """Return how many of a load's operations were under way at once: fewer than its tasks where none gives way."""
    return load.metrics["max_in_flight"].value if "max_in_flight" in load.metrics else float(load.concurrency)


def _inconclusive(limit: Limit, actual: float, samples: int, reason: str) -> LimitVerdict:
    return LimitVerdict(limit=limit, verdict=INCONCLUSIVE, actual=actual, samples=samples, reason=reason)


def _at_most(limit: Limit, actual: float, samples: int, where: str) -> LimitVerdict:
    verdict = PASSED if actual <= limit.bound else BROKEN
    return LimitVerdict(limit=limit, verdict=verdict, actual=actual, samples=samples, where=where)
