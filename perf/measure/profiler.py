"""Record operations as they happen; read latency, success, memory and CPU figures from them."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from perf.distribution import percentiles
from perf.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

logger = logging.getLogger(__name__)

_INFINITY = math.inf  # a name of the module's is found sooner than one of another's


class Operation(NamedTuple):
    """One operation as it was recorded; `duration` in seconds."""

    duration: float
    success: bool
    operation_type: str
    metadata: Mapping[str, Any] | None


class Snapshot(NamedTuple):
    """The process at one moment: clock and CPU time in seconds, resident and virtual size in bytes."""

    clock: float
    cpu: float
    rss: int
    vms: int


class PerformanceProfiler:
    """Collects operations between `start_measurement` and `end_measurement` and sums them up.

    Times are seconds. Set `debug` to log every operation as it is recorded, and `measured` to the callable
    that the report shall name as the subject.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.debug = False
        self.measured: Callable[..., object] | None = None
        self.measured_by_type: dict[str, Callable[..., object]] = {}
        self.custom_metrics: dict[str, list[Any]] = {}
        self._clock = clock
        self._process = psutil.Process()
        self._operations: list[tuple[float, bool, str, Mapping[str, Any] | None]] = []
        self._start: Snapshot | None = None
        self._end: Snapshot | None = None

    @property
    def operations(self) -> list[Operation]:
        """Every recorded operation, in order."""
        return [Operation(*record) for record in self._operations]

    @property
    def started(self) -> bool:
        """Whether `start_measurement` was called."""
        return self._start is not None

    def start_measurement(self) -> None:
        """Note the clock, the CPU time and the memory from which the figures count."""
        self._start, self._end = self._snapshot(), None

    def end_measurement(self) -> None:
        """Note the clock, the CPU time and the memory up to which the figures count."""
        self._end = self._snapshot()

    def record_operation(
        self,
        duration: float,
        success: bool = True,  # noqa: FBT001, FBT002 - the user's signature
        operation_type: str = "operation",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Record one operation that took `duration` seconds; ValueError if that is not a time."""
        if not 0.0 <= duration < _INFINITY:
            raise ValueError(f"duration must be a finite number of seconds, 0 or more, not {duration!r}")
        self._operations.append((duration, success, operation_type, metadata))
        if self.debug:
            outcome = "ok" if success else "failed"
            logger.debug("%s %s in %.6f s %s", operation_type, outcome, duration, metadata or "")

    @contextmanager
    def timed(self, operation_type: str = "operation", measured: Callable[..., object] | None = None) -> Iterator[None]:
        """Record what happens inside as one operation, unsuccessful when it raises; `measured` is its subject."""
        if measured is not None:
            self.measured_by_type[operation_type] = measured
        start, success = self._clock(), False
        try:
            yield
            success = True
        finally:
            self.record_operation(self._clock() - start, success, operation_type)

    def add_custom_metric(self, name: str, value: Any) -> None:  # noqa: ANN401 - any value the test holds
        """Keep one more value under `name`; numbers are summed up in the metrics."""
        self.custom_metrics.setdefault(name, []).append(value)

    def get_comprehensive_metrics(self) -> dict[str, Any]:
        """Return the figures of all operations so far.

        Latencies are seconds, over successful operations only, with percentiles as in
        `perf.distribution.percentile`; `throughput` is successful operations per second of measurement;
        memory is MiB. A figure that was not measured is None: rates without an operation, latencies
        without a success, throughput, memory and CPU without `start_measurement`.
        """
        operations = self.operations
        end = self._end or (self._snapshot() if self._start else None)
        elapsed = end.clock - self._start.clock if self._start and end else None
        succeeded = sum(operation.success for operation in operations)
        by_type: dict[str, list[Operation]] = defaultdict(list)
        for operation in operations:
            by_type[operation.operation_type].append(operation)
        return {
            "total_time": elapsed,
            "throughput": succeeded / elapsed if elapsed else None,
            **_latency("{}_operation_time", operations),
            **_counts(operations),
            **_process_figures(self._start, end),
            "operation_types": {
                name: {**_latency("{}_time", group), **_counts(group)} for name, group in by_type.items()
            },
            "custom_metrics": {name: _sum_up(values) for name, values in self.custom_metrics.items()},
        }

    def _snapshot(self) -> Snapshot:
        memory, cpu = self._process.memory_info(), self._process.cpu_times()
        return Snapshot(self._clock(), cpu.user + cpu.system, memory.rss, memory.vms)


def _counts(operations: Sequence[Operation]) -> dict[str, Any]:
    total = len(operations)
    succeeded = sum(operation.success for operation in operations)
    return {
        "total_operations": total,
        "success_count": succeeded,
        "error_count": total - succeeded,
        "success_rate": succeeded / total if total else None,
        "error_rate": (total - succeeded) / total if total else None,
    }


def _latency(key: str, operations: Sequence[Operation]) -> dict[str, float | None]:
    names = ("avg", "min", "p50", "p95", "p99", "max")
    durations = [operation.duration for operation in operations if operation.success]
    if not durations:
        return {key.format(name): None for name in names}
    figures = (sum(durations) / len(durations), *percentiles(durations, (0, 50, 95, 99, 100)))
    return {key.format(name): figure for name, figure in zip(names, figures, strict=True)}


def _process_figures(start: Snapshot | None, end: Snapshot | None) -> dict[str, float | None]:
    if start is None or end is None:
        return dict.fromkeys(
            ("initial_memory_mb", "final_memory_mb", "memory_growth_mb", "virtual_memory_growth_mb",
             "cpu_time_seconds", "avg_cpu_percent")
        )  # fmt: skip
    elapsed, cpu = end.clock - start.clock, end.cpu - start.cpu
    return {
        "initial_memory_mb": start.rss / MIB,
        "final_memory_mb": end.rss / MIB,
        "memory_growth_mb": (end.rss - start.rss) / MIB,
        "virtual_memory_growth_mb": (end.vms - start.vms) / MIB,
        "cpu_time_seconds": cpu,
        "avg_cpu_percent": 100.0 * cpu / elapsed if elapsed else None,
    }


def _sum_up(values: Sequence[Any]) -> dict[str, Any]:
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < len(values):
        return {"count": len(values), "values": list(values)}
    return {
        "count": len(values),
        "avg": sum(numbers) / len(numbers),
        "min": min(numbers),
        "max": max(numbers),
        "last": numbers[-1],
    }
