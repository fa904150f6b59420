"""What PerformanceProfiler reports of the operations it was told about."""

from __future__ import annotations

import logging
import math
import mmap
import time
from typing import TYPE_CHECKING

import pytest

from perf import PerformanceProfiler

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """A clock that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def profiler(clock: Clock) -> PerformanceProfiler:
    return PerformanceProfiler(clock=clock)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What the profiler logs at any level."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("perf.measure.profiler")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def record(profiler: PerformanceProfiler, *durations: float) -> None:
    for duration in durations:
        profiler.record_operation(duration)


def test_latency_figures(profiler: PerformanceProfiler) -> None:
    """Average, extremes and percentiles are those of the recorded durations, by linear interpolation."""
    record(profiler, 0.4, 0.1, 0.3, 0.2)

    metrics = profiler.get_comprehensive_metrics()

    expected = {"avg": 0.25, "min": 0.1, "p50": 0.25, "p95": 0.385, "p99": 0.397, "max": 0.4}
    assert {name: metrics[f"{name}_operation_time"] for name in expected} == pytest.approx(expected)


def test_failed_operations_are_counted_and_not_timed(profiler: PerformanceProfiler) -> None:
    """A failed operation lowers the success rate and leaves every latency figure as it was."""
    record(profiler, 0.1, 0.2, 0.3)

    profiler.record_operation(60.0, success=False)

    metrics = profiler.get_comprehensive_metrics()
    assert (metrics["total_operations"], metrics["success_count"], metrics["error_count"]) == (4, 3, 1)
    assert (metrics["success_rate"], metrics["error_rate"]) == (0.75, 0.25)
    assert metrics["max_operation_time"] == 0.3
    assert metrics["avg_operation_time"] == pytest.approx(0.2)


def test_throughput_counts_successes_per_second_of_measurement(profiler: PerformanceProfiler, clock: Clock) -> None:
    """Throughput is successful operations over the time from start to end, whatever comes after the end."""
    profiler.start_measurement()
    record(profiler, 0.1, 0.1, 0.1)
    profiler.record_operation(0.1, success=False)
    clock.now += 2.0
    profiler.end_measurement()
    clock.now += 50.0

    metrics = profiler.get_comprehensive_metrics()

    assert metrics["total_time"] == 2.0
    assert metrics["throughput"] == 1.5


def test_figures_before_the_end_count_up_to_now(profiler: PerformanceProfiler, clock: Clock) -> None:
    """Metrics asked for while the measurement runs count up to the moment of asking."""
    profiler.start_measurement()
    record(profiler, 0.1)
    clock.now += 4.0

    assert profiler.get_comprehensive_metrics()["throughput"] == 0.25


def test_starting_again_starts_the_time_again(profiler: PerformanceProfiler, clock: Clock) -> None:
    """A second start_measurement forgets the end of the first."""
    profiler.start_measurement()
    profiler.end_measurement()
    clock.now += 10.0
    profiler.start_measurement()
    clock.now += 1.0

    assert profiler.get_comprehensive_metrics()["total_time"] == 1.0


def test_nothing_measured_gives_none(profiler: PerformanceProfiler) -> None:
    """Without an operation and a start, every figure is None or a count of zero, never a made-up number."""
    metrics = profiler.get_comprehensive_metrics()

    counts = {name: metrics.pop(name) for name in ("total_operations", "success_count", "error_count")}
    assert set(counts.values()) == {0}
    assert metrics.pop("operation_types") == metrics.pop("custom_metrics") == {}
    assert {name: value for name, value in metrics.items() if value is not None} == {}
    assert {"p95_operation_time", "success_rate", "throughput", "memory_growth_mb", "avg_cpu_percent"} <= set(metrics)


def test_only_failures_give_rates_and_no_latency(profiler: PerformanceProfiler) -> None:
    """When every operation failed the error rate is 1 and there is no latency to report."""
    profiler.record_operation(0.1, success=False)

    metrics = profiler.get_comprehensive_metrics()

    assert (metrics["success_rate"], metrics["error_rate"]) == (0.0, 1.0)
    assert metrics["p50_operation_time"] is metrics["avg_operation_time"] is None


def test_no_time_passed_gives_no_rate(profiler: PerformanceProfiler) -> None:
    """A measurement in which the clock did not move has neither throughput nor a share of CPU."""
    profiler.start_measurement()
    record(profiler, 0.1)
    profiler.end_measurement()

    metrics = profiler.get_comprehensive_metrics()

    assert metrics["throughput"] is metrics["avg_cpu_percent"] is None


def test_memory_figures(profiler: PerformanceProfiler) -> None:
    """Memory that is taken and kept between start and end shows as growth of about that much."""
    profiler.start_measurement()
    kept = mmap.mmap(-1, 20 * 1024 * 1024)
    kept[:: mmap.PAGESIZE] = b"x" * (len(kept) // mmap.PAGESIZE)
    profiler.end_measurement()

    metrics = profiler.get_comprehensive_metrics()

    assert kept
    assert 0.8 < metrics["memory_growth_mb"] / 20 < 1.5
    assert metrics["final_memory_mb"] - metrics["initial_memory_mb"] == pytest.approx(metrics["memory_growth_mb"])


def test_cpu_figures(profiler: PerformanceProfiler, clock: Clock) -> None:
    """CPU time is what this process spent, and its share is that over the measured time."""
    profiler.start_measurement()
    stop = time.process_time() + 0.05
    while time.process_time() < stop:
        pass
    clock.now += 4.0
    profiler.end_measurement()

    metrics = profiler.get_comprehensive_metrics()

    assert metrics["cpu_time_seconds"] >= 0.03  # the kernel counts in hundredths
    assert metrics["avg_cpu_percent"] == pytest.approx(metrics["cpu_time_seconds"] * 25)


def test_operation_types_are_told_apart(profiler: PerformanceProfiler) -> None:
    """Each operation type has its own counts and latencies, beside those of all together."""
    profiler.record_operation(0.1, operation_type="read")
    profiler.record_operation(0.3, operation_type="read")
    profiler.record_operation(9.0, success=False, operation_type="write")

    kinds = profiler.get_comprehensive_metrics()["operation_types"]

    assert set(kinds) == {"read", "write"}
    assert (kinds["read"]["total_operations"], kinds["read"]["success_rate"]) == (2, 1.0)
    assert (kinds["read"]["avg_time"], kinds["read"]["p50_time"]) == pytest.approx((0.2, 0.2))
    assert (kinds["write"]["error_count"], kinds["write"]["p95_time"]) == (1, None)


def test_custom_metrics_are_summed_up(profiler: PerformanceProfiler) -> None:
    """Numbers under one name give count, average, extremes and the last; other values are kept as they came."""
    for ratio in (0.5, 1.0, 0.75):
        profiler.add_custom_metric("hit_ratio", ratio)
    profiler.add_custom_metric("note", "cold")

    custom = profiler.get_comprehensive_metrics()["custom_metrics"]

    assert custom["hit_ratio"] == {"count": 3, "avg": 0.75, "min": 0.5, "max": 1.0, "last": 0.75}
    assert custom["note"] == {"count": 1, "values": ["cold"]}


def test_operations_keep_order_and_metadata(profiler: PerformanceProfiler) -> None:
    """`operations` gives back what was recorded, in order."""
    profiler.record_operation(0.2, operation_type="b", metadata={"size": 1})
    profiler.record_operation(0.1, success=False, operation_type="a")

    first, second = profiler.operations

    assert (first.duration, first.success, first.operation_type, first.metadata) == (0.2, True, "b", {"size": 1})
    assert (second.success, second.operation_type) == (False, "a")


@pytest.mark.parametrize("duration", [math.nan, math.inf, -math.inf, -1e-9])
@pytest.mark.parametrize("success", [True, False])
def test_what_is_no_time_is_refused(profiler: PerformanceProfiler, duration: float, success: bool) -> None:  # noqa: FBT001
    """NaN, infinite and negative durations are refused and leave no trace."""
    with pytest.raises(ValueError, match="finite number of seconds"):
        profiler.record_operation(duration, success=success)

    assert profiler.operations == []


def test_debug_logs_every_operation(profiler: PerformanceProfiler, logged: list[str]) -> None:
    """With `debug` each operation is logged with its type, outcome, duration and metadata."""
    profiler.debug = True

    profiler.record_operation(0.25, operation_type="read", metadata={"size": 7})
    profiler.record_operation(0.5, success=False, operation_type="write")

    assert logged == ["read ok in 0.250000 s {'size': 7}", "write failed in 0.500000 s "]


def test_without_debug_nothing_is_logged(profiler: PerformanceProfiler, logged: list[str]) -> None:
    """Logging costs time, so it is off until asked for."""
    record(profiler, 0.1)

    assert logged == []


def test_what_is_timed_is_recorded(profiler: PerformanceProfiler, clock: Clock) -> None:
    """What happens inside `timed` is one successful operation of its name, as long as the clock says."""
    with profiler.timed("read"):
        clock.now += 0.25
    with profiler.timed():
        clock.now += 0.5

    assert profiler.operations == [(0.25, True, "read", None), (0.5, True, "operation", None)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_raises_while_timed_is_a_failure(
    profiler: PerformanceProfiler, clock: Clock, error: type[BaseException]
) -> None:
    """An operation that raises inside `timed` is recorded as unsuccessful, and the error goes on."""
    with pytest.raises(error), profiler.timed("read"):  # noqa: PT012 - the clock moves inside
        clock.now += 0.25
        raise error

    assert profiler.operations == [(0.25, False, "read", None)]
