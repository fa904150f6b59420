from __future__ import annotations

import msgspec
import pytest

from perf.distribution import samples_needed
from perf.judge.limits import (
    BROKEN,
    INCONCLUSIVE,
    KNOWN_FAULT,
    MISSING,
    NOT_SELECTED,
    PASSED,
    LimitVerdict,
    judge_limits,
)
from perf.judge.thresholds import Limit
from perf.record.run import Failure, Measurement, Metric, Origin


def limit(statistic: str, bound: float, operation: str | None = "cache_get", service: str = "cache") -> Limit:
    return Limit(
        service=service, name="a_limit", operation=operation, statistic=statistic, bound=bound, source="a test"
    )


def origin(category: str = "benchmark", service: str = "cache") -> Origin:
    return Origin(test="test_cache_performance.py::test_one", service=service, category=category, operation="one")


def latency(samples: list[float], operation: str = "cache_get", service: str = "cache") -> Measurement:
    return Measurement(
        origin=origin(service=service), kind="latency", operation=operation, subject="a subject", samples=samples
    )


def load(
    concurrency: int, throughput: float | None, category: str = "scalability", errors: dict[str, int] | None = None
) -> Measurement:
    metrics = {} if throughput is None else {"throughput": Metric(throughput, "1/s", "higher")}
    return Measurement(
        origin=origin(category),
        kind="load",
        operation="cache_get",
        subject="a subject",
        concurrency=concurrency,
        metrics=metrics | {"total_operations": Metric(0.0 if throughput is None else 10.0, "1", "higher")},
        errors=errors or {},
    )


def memory(growth: float, per_operation: float = 0.0, operation: str = "session") -> Measurement:
    metrics = {
        "memory_growth": Metric(growth, "B", "lower"),
        "memory_per_operation": Metric(per_operation, "B", "lower"),
    }
    return Measurement(
        origin=origin("memory"), kind="memory", operation=operation, subject="a subject", metrics=metrics
    )


def overhead(ratio: float, operation: str = "append") -> Measurement:
    return Measurement(
        origin=origin(),
        kind="overhead",
        operation=operation,
        subject="a subject",
        metrics={"overhead": Metric(ratio, "1", "lower")},
    )


def failure(kind: str, operation: str) -> Failure:
    origin = Origin(test="a test", service="cache", category="benchmark", operation=operation)
    return Failure(origin=origin, kind=kind, reason="it cannot be read")


def judge(rule: Limit, *measurements: Measurement, expected: tuple[str, ...] = ("cache",)) -> LimitVerdict:
    (verdict,) = judge_limits([rule], measurements, expected)
    return verdict


@pytest.mark.parametrize(
    ("rule", "measurement", "verdict"),
    [
        (limit("p95", 0.1), latency([0.1] * 100), PASSED),
        (limit("p95", 0.1), latency([0.1000001] * 100), BROKEN),
        (limit("p95", 0.1), latency([0.0] * 100), PASSED),
        (limit("p50", 0.1), latency([0.1] * 51 + [9.0] * 49), PASSED),
        (limit("p50", 0.1), latency([0.1] * 49 + [9.0] * 51), BROKEN),
        (limit("p99", 0.1), latency([0.1] * 995 + [9.0] * 5), PASSED),
        (limit("p99", 0.1), latency([0.1] * 980 + [9.0] * 20), BROKEN),
        (limit("growth", 50.0, None), memory(50.0), PASSED),
        (limit("growth", 50.0, None), memory(50.001), BROKEN),
        (limit("growth", 50.0, None), memory(-8.0), PASSED),
        (limit("per operation", 5.0, "session"), memory(900.0, per_operation=5.0), PASSED),
        (limit("per operation", 5.0, "session"), memory(0.0, per_operation=5.001), BROKEN),
        (limit("throughput", 10.0, None), load(1, 10.0), PASSED),
        (limit("throughput", 10.0, None), load(1, 9.999), BROKEN),
        (limit("throughput", 10.0, None), load(1, None, errors={"OSError": 4}), BROKEN),
        (limit("overhead", 3.0, "append"), overhead(3.0), PASSED),
        (limit("overhead", 3.0, "append"), overhead(3.001), BROKEN),
        (limit("count", 50.0, None), load(50, 1.0), PASSED),
        (limit("count", 50.0, None), load(50, 1.0, errors={"OSError": 1}), BROKEN),
    ],
)
def test_a_limit_holds_up_to_its_bound(rule: Limit, measurement: Measurement, verdict: str) -> None:
    """A figure at the bound holds, one beyond it breaks, in the direction its statistic has."""
    assert judge(rule, measurement).verdict == verdict


@pytest.mark.parametrize("statistic", ["p50", "p90", "p95", "p99", "p99.9"])
def test_the_slowest_single_call_decides_nothing(statistic: str) -> None:
    """With the fewest samples that are judged at all, one call of any length breaks no limit."""
    samples = [0.001] * (samples_needed(float(statistic[1:])) - 1)

    verdict = judge(limit(statistic, 0.002), latency([*samples, 1000.0]))

    assert verdict.verdict == PASSED
    assert verdict.actual == pytest.approx(0.001)


@pytest.mark.parametrize("duration", [0.0, 9.0])
@pytest.mark.parametrize("statistic", ["p50", "p95", "p99"])
def test_too_few_samples_are_inconclusive(statistic: str, duration: float) -> None:
    """With one sample too few there is no verdict, however good or bad they are, and the reason says how many."""
    needed = samples_needed(float(statistic[1:]))

    verdict = judge(limit(statistic, 0.1), latency([duration] * (needed - 1)))

    assert (verdict.verdict, verdict.actual, verdict.samples) == (INCONCLUSIVE, duration, needed - 1)
    assert str(needed) in verdict.reason


@pytest.mark.parametrize(
    ("expected", "word"), [(("cache",), MISSING), (("planning",), NOT_SELECTED), ((), NOT_SELECTED)]
)
@pytest.mark.parametrize("statistic", ["p95", "growth", "per operation", "throughput", "overhead", "count"])
@pytest.mark.parametrize("measurements", [(), (latency([], "cache_get"), latency([0.0] * 99, "other"))])
def test_nothing_measured_is_never_a_pass(
    measurements: tuple[Measurement, ...], statistic: str, expected: tuple[str, ...], word: str
) -> None:
    """A limit without a figure is missing where its service was to be measured whole, else not selected."""
    verdict = judge(limit(statistic, 0.0), *measurements, expected=expected)

    assert (verdict.verdict, verdict.actual, verdict.samples) == (word, None, 0)
    assert verdict.reason


@pytest.mark.parametrize("statistic", ["p95", "growth", "per operation", "throughput", "overhead", "count"])
def test_another_service_is_no_evidence(statistic: str) -> None:
    """A limit is judged on its own service's measurements only."""
    own = [latency([0.0] * 99), memory(0.0), load(9, 9.0), overhead(1.0)]

    verdict = judge(limit(statistic, 1.0, None, service="planning"), *own, expected=("planning",))

    assert verdict.verdict == MISSING


def test_operations_beside_others_are_no_latency() -> None:
    """A latency limit is not judged on a load test of the same operation."""
    beside_others = msgspec.structs.replace(load(10, 100.0), samples=[0.0] * 100)

    assert judge(limit("p95", 0.1), beside_others).verdict == MISSING


@pytest.mark.parametrize("slow", [[9.0] * 21, [9.0] * 3])
def test_the_worst_benchmark_of_an_operation_decides(slow: list[float]) -> None:
    """A slow size is not hidden by the many samples of a fast one: each is judged by itself, also for being too few."""
    verdict = judge(limit("p95", 0.1), latency([0.01] * 9000), latency(slow), latency([0.02] * 9000))

    assert verdict.verdict == (BROKEN if len(slow) > 20 else INCONCLUSIVE)
    assert (verdict.actual, verdict.samples) == (9.0, len(slow))


def test_a_known_fault_excuses_the_limit_of_its_operation_and_no_other() -> None:
    """A limit whose operation the build fails at in a known way says so; any other without a figure is missing."""
    rules = [limit("p95", 0.1, "session_load"), limit("p95", 0.1, "session_save"), limit("growth", 1.0, None)]

    verdicts = judge_limits(rules, [], ["cache"], [failure("known fault", "session_load")])

    assert [verdict.verdict for verdict in verdicts] == [KNOWN_FAULT, MISSING, MISSING]
    assert verdicts[0].reason == "it cannot be read"


def test_what_a_build_does_not_offer_is_missing_also_in_a_part_of_a_run() -> None:
    """A limit whose operation the build lacks is missing for that reason; the service's others were not selected."""
    rules = [limit("p95", 0.1, "session_load"), limit("growth", 1.0, None)]

    verdicts = judge_limits(rules, [], [], [failure("not offered", "session_load")])

    assert [verdict.verdict for verdict in verdicts] == [MISSING, NOT_SELECTED]
    assert verdicts[0].reason == "it cannot be read"


def test_a_known_fault_excuses_no_figure_that_was_measured() -> None:
    """What was measured is judged, whatever else the build fails at."""
    (verdict,) = judge_limits(
        [limit("p95", 0.1)], [latency([9.0] * 99)], ["cache"], [failure("known fault", "cache_get")]
    )

    assert verdict.verdict == BROKEN


def test_an_operation_with_a_throughput_limit_of_its_own_is_judged_by_that_alone() -> None:
    """The service's limit is for the operations that have none of their own."""
    general, own = limit("throughput", 10.0, None), limit("throughput", 2.0, "flows_at_once")
    slow = msgspec.structs.replace(load(5, 3.0), operation="flows_at_once")

    verdicts = judge_limits([general, own], [load(1, 40.0), slow], ["cache"])

    assert [(verdict.verdict, verdict.actual) for verdict in verdicts] == [(PASSED, 40.0), (PASSED, 3.0)]
    assert judge(general, load(1, 40.0), slow).verdict == BROKEN


def test_throughput_must_hold_at_every_step() -> None:
    """A throughput limit is judged on the worst step of the scalability tests, which it names."""
    loads = [load(1, 100.0), load(25, 8.0), load(50, 90.0), load(100, 1.0, category="stress")]

    verdict = judge(limit("throughput", 10.0, None), *loads)

    assert (verdict.verdict, verdict.actual, verdict.samples) == (BROKEN, 8.0, 3)
    assert "25 at once" in verdict.where


def test_memory_is_judged_on_the_worst_reading() -> None:
    """A memory limit is judged on the largest growth of all readings, which it names."""
    verdict = judge(limit("growth", 50.0, None), memory(49.0), memory(51.0, operation="plan"), memory(-70.0))

    assert (verdict.verdict, verdict.actual, verdict.where) == (BROKEN, 51.0, "plan")


def test_the_largest_overhead_of_the_operation_decides() -> None:
    """Of several tests that measured it the worst counts, and another operation's overhead does not."""
    verdict = judge(limit("overhead", 3.0, "append"), overhead(2.0), overhead(2.5), overhead(9.0, "load_runner"))

    assert (verdict.verdict, verdict.actual, verdict.samples) == (PASSED, 2.5, 2)


def test_memory_per_operation_is_of_that_operation() -> None:
    """A limit on memory per session ignores what other operations keep."""
    rule = limit("per operation", 5.0, "session")

    verdict = judge(rule, memory(0.0, 4.0), memory(0.0, 900.0, operation="plan"))

    assert (verdict.verdict, verdict.actual) == (PASSED, 4.0)


def test_tasks_at_once_count_where_none_failed() -> None:
    """A limit on tasks at once is judged on the largest load of which no operation failed."""
    loads = [load(10, 1.0), load(50, 1.0, category="stress"), load(100, 1.0, errors={"TimeoutError": 1})]

    assert judge(limit("count", 50.0, None), *loads).actual == 50.0
    assert judge(limit("count", 100.0, None), *loads).verdict == BROKEN


def test_tasks_whose_operations_never_overlap_are_not_at_once() -> None:
    """A limit on tasks at once is judged on the operations that really were under way together."""
    blocking = load(100, 1.0)
    blocking = msgspec.structs.replace(
        blocking, metrics=blocking.metrics | {"max_in_flight": Metric(1.0, "1", "higher")}
    )

    verdict = judge(limit("count", 100.0, None), blocking)

    assert (verdict.verdict, verdict.actual) == (INCONCLUSIVE, 1.0)


def test_tasks_at_once_that_were_never_tried_are_not_broken() -> None:
    """Where every load held and none reached the limit there is no evidence against it, nor for it."""
    verdict = judge(limit("count", 100.0, None), load(10, 1.0), load(50, 1.0))

    assert verdict.verdict in {INCONCLUSIVE, MISSING}


def test_a_load_of_no_operations_holds_nothing() -> None:
    """Tasks that did not one operation are no evidence that so many can work at once."""
    verdict = judge(limit("count", 100.0, None), load(100, None))

    assert verdict.verdict != PASSED


def test_every_limit_gets_its_verdict_in_order() -> None:
    """Each limit comes back exactly once, in the order given."""
    rules = [limit("p95", 0.1), limit("growth", 1.0, None), limit("p95", 0.1, service="planning")]

    verdicts = judge_limits(rules, [latency([0.0] * 99)], ["cache"])

    assert [verdict.limit for verdict in verdicts] == rules
    assert [verdict.verdict for verdict in verdicts] == [PASSED, MISSING, NOT_SELECTED]
