from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from perf.measure.growth import Growth
from perf.measure.load import LoadTestRunner
from perf.measure.memory import MemoryMonitor
from perf.measure.profiler import PerformanceProfiler
from perf.record.run import Metric, Origin, from_benchmarks, from_growth, from_load, from_memory, from_profiler

ORIGIN = Origin(test="t.py::test_one", service="cache", category="benchmark", operation="one")
MIB = 1024 * 1024


def benchmark(**extra: object) -> dict[str, Any]:
    ours = {"service": "cache", "category": "benchmark", "operation": "cache_get", "subject": "a subject"}
    return {"fullname": "t.py::test_get", "extra_info": ours | extra, "stats": {"data": [0.2, 0.1]}}


async def test_a_profiler_gives_a_latency_per_operation_type() -> None:
    """Operations recorded one at a time become samples under their type, those of a load test do not."""
    profiler = PerformanceProfiler()
    profiler.record_operation(0.3, operation_type="get")
    profiler.record_operation(0.2, operation_type="set")
    profiler.record_operation(0.1, operation_type="get", metadata={"key": "a"})
    await LoadTestRunner(profiler).run_async_load_test(_nothing, 2, 1, operation_type="get")

    measurements = from_profiler(profiler, ORIGIN, "a subject")

    assert {(one.kind, one.operation): one.samples for one in measurements if one.kind != "process"} == {
        ("latency", "get"): [0.3, 0.1],
        ("latency", "set"): [0.2],
    }
    assert {(one.origin, one.subject) for one in measurements} == {(ORIGIN, "a subject")}


async def _nothing() -> None:
    return


def test_a_failed_operation_is_counted_and_no_sample() -> None:
    """The time of an operation that failed is no latency; that it failed is kept."""
    profiler = PerformanceProfiler()
    profiler.record_operation(0.1)
    profiler.record_operation(9.0, success=False)
    profiler.record_operation(8.0, success=False)

    (measurement,) = from_profiler(profiler, ORIGIN, "a subject")

    assert (measurement.samples, measurement.errors) == ([0.1], {"unsuccessful": 2})


def test_custom_metrics_are_kept_whole() -> None:
    """Everything a test adds under a name is in its measurement, in order, texts included."""
    profiler = PerformanceProfiler()
    added: dict[str, list[Any]] = {"hits": [0.5, 0.7], "note": ["a text"]}
    for name, values in added.items():
        for value in values:
            profiler.add_custom_metric(name, value)

    (measurement,) = from_profiler(profiler, ORIGIN, "a subject")

    assert measurement.kind == "process"
    assert measurement.custom == added


def test_an_overhead_is_a_measurement_of_its_own() -> None:
    """A custom metric that is named an overhead can be judged and compared: the median of its values."""
    profiler = PerformanceProfiler()
    for ratio in (2.0, 9.0, 2.5):
        profiler.add_custom_metric("hashing_overhead", ratio)
    profiler.add_custom_metric("worded_overhead", "much")

    overhead, process = from_profiler(profiler, ORIGIN, "a subject")

    assert (overhead.kind, overhead.operation) == ("overhead", "hashing")
    assert overhead.metrics == {"overhead": Metric(2.5, "1", "lower")}
    assert set(process.custom) == {"hashing_overhead", "worded_overhead"}


def test_the_process_figures_are_kept() -> None:
    """Between start and end, elapsed time, throughput, CPU and memory growth become metrics in seconds and bytes."""
    ticks = count()
    profiler = PerformanceProfiler(clock=lambda: float(next(ticks)))
    profiler.start_measurement()
    profiler.record_operation(0.5)
    profiler.end_measurement()

    process = from_profiler(profiler, ORIGIN, "a subject")[1]

    assert (process.metrics["total_time"], process.metrics["throughput"]) == (
        Metric(1.0, "s", "lower"),
        Metric(1.0, "1/s", "higher"),
    )
    assert {process.metrics[name].unit for name in ("memory_growth", "virtual_memory_growth")} == {"B"}


def test_metadata_and_failed_durations_are_kept() -> None:
    """An operation that failed keeps its time apart from the judged ones, and metadata stays with its operation."""
    profiler = PerformanceProfiler()
    profiler.record_operation(0.1, metadata={"size": 10})
    profiler.record_operation(0.2, success=False)

    (measurement,) = from_profiler(profiler, ORIGIN, "a subject")

    assert (measurement.samples, measurement.failed_samples) == ([0.1], [0.2])
    (note,) = measurement.notes
    assert (note["duration"], note["metadata"]) == (0.1, {"size": 10})


def test_a_profiler_that_recorded_nothing_gives_nothing() -> None:
    """A test that asked for a profiler and did not use it leaves no measurement."""
    assert from_profiler(PerformanceProfiler(), ORIGIN, "a subject") == []


async def test_a_load_keeps_its_figures_and_failures() -> None:
    """A load test becomes its figures in seconds and rates, its concurrency, and its failures by type."""
    calls, ticks = count(), count()

    async def every_other_fails() -> None:
        if next(calls) % 2:
            raise OSError("no more")

    runner = LoadTestRunner(clock=lambda: next(ticks) / 8)
    result = await runner.run_async_load_test(every_other_fails, 2, 3, operation_type="get")

    measurement = from_load(result, ORIGIN, "a subject")

    assert (measurement.kind, measurement.operation, measurement.concurrency) == ("load", "get", 2)
    assert measurement.metrics["throughput"] == Metric(3 / result["total_time"], "1/s", "higher")
    assert measurement.metrics["p95_response_time"] == Metric(0.125, "s", "lower")
    assert measurement.metrics["error_rate"] == Metric(0.5, "1", "lower")
    assert (measurement.errors, measurement.error_samples) == ({"OSError": 3}, {"OSError": "OSError('no more')"})


async def test_a_load_that_only_failed_has_no_times() -> None:
    """Without one success there is no response time, not one of zero; the test's own name stands in."""

    async def fails() -> None:
        raise OSError

    measurement = from_load(await LoadTestRunner().run_async_load_test(fails, 1, 2), ORIGIN, "a subject")

    assert measurement.operation == "one"
    assert [name for name in measurement.metrics if name.endswith("_response_time")] == []
    assert measurement.metrics["failed_operations"].value == 2


def test_memory_is_recorded_in_bytes() -> None:
    """A reading becomes bytes: growth over all calls, what each keeps after collection, and what that freed."""
    sizes = iter([100 * MIB, 110 * MIB, 104 * MIB])
    monitor = MemoryMonitor(resident_bytes=lambda: next(sizes))

    measurement = from_memory(monitor.measure(lambda: None, operations=2), ORIGIN, "a subject")

    figures = {name: metric.value for name, metric in measurement.metrics.items() if metric.unit == "B"}
    assert figures == {
        "memory_before": 100 * MIB,
        "memory_growth": 10 * MIB,
        "memory_per_operation": 2 * MIB,
        "memory_freed_by_gc": 6 * MIB,
    }
    assert (measurement.kind, measurement.operation) == ("memory", "one")
    assert measurement.metrics["operations"].value == 2


def test_growth_is_recorded_whole_and_in_bytes_a_call() -> None:
    """All readings are kept, and what a call keeps and needs are metrics that runs can be compared by."""
    growth = Growth(
        calls=50, rss=[10, 20], uss=[5, 15], traced=[500, 1000], blocks=[5, 10], peak=2048.0, sites=[],
        pauses=(1, 0.1, 0.1, 0.5), before={}, after={},
    )  # fmt: skip

    measurement = from_growth(growth, "write", ORIGIN, "a subject")

    assert (measurement.kind, measurement.operation, measurement.growth) == ("growth", "write", growth)
    assert {name: metric.value for name, metric in measurement.metrics.items()} == {
        "kept_per_call": 10.0,
        "peak_per_call": 2048.0,
        "gc_share": 0.5,
    }


def test_benchmarks_become_latencies() -> None:
    """An entry of pytest-benchmark becomes a latency with its rounds as samples, of the test it names."""
    (measurement,) = from_benchmarks([benchmark()])

    assert (measurement.kind, measurement.operation, measurement.subject) == ("latency", "cache_get", "a subject")
    assert measurement.samples == [0.2, 0.1]
    assert measurement.origin.test == "t.py::test_get"


@pytest.mark.parametrize("value", ["my own", 5])
def test_a_benchmarks_own_notes_do_not_change_its_origin(value: object) -> None:
    """What a test writes into `extra_info` never replaces the name of the test it comes from."""
    (measurement,) = from_benchmarks([benchmark(test=value)])

    assert measurement.origin.test == "t.py::test_get"


def test_benchmarks_of_other_suites_are_passed_over() -> None:
    """An entry without our notes is left to whoever wrote it."""
    foreign = benchmark() | {"extra_info": {"note": "mine"}}

    assert len(from_benchmarks([foreign, benchmark()])) == 1
