"""A saved run: frozen records, and how they come from what the instruments collected."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from perf.measure.growth import Growth  # noqa: TC001 - msgspec reads the annotation
from perf.measure.load import LOAD
from perf.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perf.measure.profiler import Operation, PerformanceProfiler

FORMAT = 1
"""Version of our part of a saved run; a reader refuses what it does not know."""

SECTION = "khive_performance"
"""The key of our part in a pytest-benchmark file."""

_OVERHEAD = "_overhead"

CATEGORIES = ("benchmark", "scalability", "memory", "stress")


class Metric(msgspec.Struct, frozen=True, gc=False):
    """One figure; `unit` is "s", "B", "1/s", "%" or "1", `better` is "lower" or "higher"."""

    value: float
    unit: str
    better: str


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a measurement comes from: the test, the service and category it belongs to.

    `operation` is what the test is named after, for what it records without a name of its own.
    """

    test: str
    service: str
    category: str
    operation: str


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One operation measured in one way by one test.

    `kind` is "latency" (one at a time, `samples` in seconds), "load" (`concurrency` at once), "open load" (arriving at
    a rate), "knee" (a rate that was raised in `steps` until something broke), "memory", "growth" (of memory, batch by
    batch of calls), "overhead" (how many times as long as what it is compared with) or "process" (the whole test, with
    its `custom` metrics). `subject` names what was really measured.
    `errors` counts failed operations by type, `error_samples` has the first of each; `notes` are the operations that
    carry metadata. Of a load `warnings` are what a reader must know before believing it, `series` its course over time:
    what was due, done and failed `at` each moment, and the response times of what was due, in seconds. `concurrency` is
    0 where operations arrived at a rate, however many were under way.
    """

    origin: Origin
    kind: str
    operation: str
    subject: str
    concurrency: int = 1
    metrics: dict[str, Metric] = {}
    samples: list[float] = []
    failed_samples: list[float] = []
    errors: dict[str, int] = {}
    error_samples: dict[str, str] = {}
    warnings: list[str] = []
    series: list[dict[str, float | None]] = []
    steps: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    custom: dict[str, list[Any]] = {}
    growth: Growth | None = None


class LimitInForce(msgspec.Struct, frozen=True, kw_only=True):
    """A limit the run was judged by: its rule in words, its bound in seconds, bytes or a bare number."""

    service: str
    name: str
    statistic: str
    bound: float
    source: str


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A test that gave no figure to trust, for a `reason` of one line.

    `kind` is "failed", "not offered", "known fault" (the build has the operation and fails at it in a way that is
    known), or "rerun" (it failed and then passed when it was run again; its figures are of the last attempt).
    """

    origin: Origin
    kind: str
    reason: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Our part of a saved run; `created` is UTC in ISO 8601, `settings` how hard the profile measured.

    `untimed` says why no timing in it counts (its tests ran in parallel, say), None when they do.
    """

    format: int = FORMAT
    created: str
    profile: str
    verdict: str
    environment: dict[str, Any]
    settings: dict[str, Any]
    limits: list[LimitInForce]
    measurements: list[Measurement]
    failures: list[Failure]
    untimed: str | None = None


def from_profiler(
    profiler: PerformanceProfiler, origin: Origin, subject: str, subjects: Mapping[str, str] = MappingProxyType({})
) -> list[Measurement]:
    """Return all that a test recorded through the profiler; `subjects` has those of operation types with their own.

    That is a latency measurement per operation type, an "overhead" one per custom metric whose name ends in that, and a
    "process" one with the figures between `start_measurement` and `end_measurement` and every custom metric.
    Operations of load tests are left to `from_load`: they ran beside others.
    """
    groups: dict[str, list[Operation]] = defaultdict(list)
    for operation in profiler.operations:
        if not (operation.metadata and LOAD in operation.metadata):
            groups[operation.operation_type].append(operation)
    measurements = [_latency(name, group, origin, subjects.get(name, subject)) for name, group in groups.items()]
    measurements += [
        _overhead(name, values, origin, subjects.get(name, subject))
        for name, values in profiler.custom_metrics.items()
        if name.endswith(_OVERHEAD) and all(isinstance(value, int | float) for value in values)
    ]
    if profiler.started or profiler.custom_metrics:
        measurements.append(_process(profiler, origin, subject))
    return measurements


def _overhead(name: str, ratios: Sequence[float], origin: Origin, subject: str) -> Measurement:
    return Measurement(
        origin=origin,
        kind="overhead",
        operation=name.removesuffix(_OVERHEAD),
        subject=subject,
        metrics={"overhead": Metric(median(ratios), "1", "lower")},
    )


def _latency(name: str, operations: Sequence[Operation], origin: Origin, subject: str) -> Measurement:
    failed = [one.duration for one in operations if not one.success]
    return Measurement(
        origin=origin,
        kind="latency",
        operation=name,
        subject=subject,
        samples=[one.duration for one in operations if one.success],
        failed_samples=failed,
        errors={"unsuccessful": len(failed)} if failed else {},
        notes=[one._asdict() for one in operations if one.metadata],
    )


def _process(profiler: PerformanceProfiler, origin: Origin, subject: str) -> Measurement:
    figures = profiler.get_comprehensive_metrics()
    units = {
        "total_time": ("s", "lower", 1.0),
        "throughput": ("1/s", "higher", 1.0),
        "cpu_time_seconds": ("s", "lower", 1.0),
        "avg_cpu_percent": ("%", "lower", 1.0),
        "memory_growth_mb": ("B", "lower", MIB),
        "virtual_memory_growth_mb": ("B", "lower", MIB),
    }
    return Measurement(
        origin=origin,
        kind="process",
        operation=origin.operation,
        subject=subject,
        metrics={
            name.removesuffix("_mb"): Metric(figures[name] * size, unit, better)
            for name, (unit, better, size) in units.items()
            if figures[name] is not None
        },
        custom=profiler.custom_metrics,
    )


def from_load(result: Mapping[str, Any], origin: Origin, subject: str) -> Measurement:
    """Return one load test run as a measurement."""
    units = {name: ("s", "lower") for name in result if name.endswith(("_response_time", "_service_time"))}
    units |= {name: ("s", "lower") for name in result if name.endswith(("_lateness", "_loop_lag"))}
    units |= dict.fromkeys(("planned_rate", "rate", "throughput"), ("1/s", "higher"))
    units |= dict.fromkeys(
        ("total_operations", "successful_operations", "max_in_flight", "success_rate"), ("1", "higher")
    )
    units |= dict.fromkeys(("failed_operations", "unfinished_operations", "error_rate"), ("1", "lower"))
    units |= dict.fromkeys(("gc_pauses", "gc_share"), ("1", "lower"))
    units |= dict.fromkeys(("total_time", "gc_seconds", "gc_longest"), ("s", "lower"))
    return Measurement(
        origin=origin,
        kind="load" if result["planned_rate"] is None else "open load",
        operation=result["operation_type"] or origin.operation,
        subject=subject,
        concurrency=result["concurrent_tasks"],
        metrics={name: Metric(result[name], *unit) for name, unit in units.items() if result[name] is not None},
        errors=result["errors"],
        error_samples=result["error_samples"],
        warnings=result["warnings"],
        series=result["series"],
    )


def from_knee(knee: Mapping[str, Any], origin: Origin, subject: str) -> Measurement:
    """Return a step test as a measurement: its `highest_rate`, 0 when even the first step broke, and all its steps."""
    return Measurement(
        origin=origin,
        kind="knee",
        operation=knee["operation_type"] or origin.operation,
        subject=subject,
        concurrency=0,
        metrics={"highest_rate": Metric(knee["highest_rate"] or 0.0, "1/s", "higher")},
        warnings=[knee["broken"]] if knee["broken"] else [],
        steps=knee["steps"],
    )


def from_memory(reading: Mapping[str, Any], origin: Origin, subject: str) -> Measurement:
    """Return one reading of the memory monitor as a measurement, in bytes and seconds."""
    metrics = {
        "memory_before": Metric(reading["memory_before_mb"] * MIB, "B", "lower"),
        "memory_growth": Metric(reading["memory_delta_mb"] * MIB, "B", "lower"),
        "memory_per_operation": Metric(reading["memory_per_operation_mb"] * MIB, "B", "lower"),
        "memory_freed_by_gc": Metric(reading["memory_freed_by_gc_mb"] * MIB, "B", "lower"),
        "gc_pause": Metric(reading["gc_seconds"], "s", "lower"),
        "operations": Metric(reading["operations"], "1", "higher"),
    }
    return Measurement(
        origin=origin,
        kind="memory",
        operation=reading["operation_type"] or origin.operation,
        subject=subject,
        metrics=metrics,
    )


def from_growth(growth: Growth, operation_type: str | None, origin: Origin, subject: str) -> Measurement:
    """Return what memory held after batches of calls as a measurement; `kept_per_call` is of Python's allocations."""
    calls = growth.calls * len(growth.traced)
    return Measurement(
        origin=origin,
        kind="growth",
        operation=operation_type or origin.operation,
        subject=subject,
        metrics={
            "peak_per_call": Metric(growth.peak, "B", "lower"),
            "kept_per_call": Metric(growth.traced[-1] / calls, "B", "lower"),
            "gc_share": Metric(growth.pauses[3], "1", "lower"),
        },
        growth=growth,
    )


def from_benchmarks(benchmarks: Iterable[Mapping[str, Any]]) -> list[Measurement]:
    """Return the entries of a pytest-benchmark file as latency measurements, their rounds as samples.

    A round of several iterations counts as one sample: their mean. Entries of other suites, without our
    `extra_info`, are passed over.
    """
    return [
        Measurement(
            origin=msgspec.convert({**info, "test": entry["fullname"]}, Origin),
            kind="latency",
            operation=info["operation"],
            subject=info["subject"],
            samples=msgspec.convert(entry["stats"]["data"], list[float]),
        )
        for entry in benchmarks
        if "operation" in (info := entry["extra_info"])
    ]
