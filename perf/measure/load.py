"""Closed-model load: a fixed number of tasks, each starting its next operation when the last one ends."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from perf.distribution import percentiles
from perf.errors import MeasurementError
from perf.measure.profiler import PerformanceProfiler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

LOAD = "perf.measure.load"
"""The metadata key that marks an operation as one of a load test: it ran beside others."""

Outcome = tuple[float, BaseException | None]
"""What came of one operation: its duration in seconds, and the exception it raised."""


class LoadTestRunner:
    """Runs an awaitable operation from many tasks at once and reports what came of it.

    Every operation is also recorded by `profiler`; `results` keeps the report of each run.
    """

    def __init__(
        self,
        profiler: PerformanceProfiler | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.profiler = profiler or PerformanceProfiler()
        self.results: list[dict[str, Any]] = []
        self._clock = clock

    async def run_async_load_test(
        self,
        operation: Callable[[], Awaitable[object]],
        concurrent_tasks: int = 10,
        operations_per_task: int | None = None,
        ramp_up_seconds: float = 0.0,
        *,
        duration_seconds: float | None = None,
        operation_type: str | None = None,
        measured: Callable[..., object] | None = None,
    ) -> dict[str, Any]:
        """Run `operation` from `concurrent_tasks` tasks and return the figures of this run.

        Each task does `operations_per_task` operations (10 when neither end is named), or one and then new ones
        until `duration_seconds` have passed; an operation under way is then finished, not cut. Tasks start
        evenly over `ramp_up_seconds`. Times in the result are seconds over successful operations;
        `throughput` is successful operations per second from the first start to the last end. An operation
        that raises is counted as failed under its exception's type. `max_in_flight` is how many operations were
        under way at one moment: 1 where an operation never gives way to the event loop. `measured` is the
        callable the report names as the subject, where `operation` only wraps it. Raises MeasurementError on a
        load that cannot be run.
        """
        _check(concurrent_tasks, operations_per_task, ramp_up_seconds, duration_seconds)
        if operations_per_task is None and duration_seconds is None:
            operations_per_task = 10
        if not self.profiler.started:
            self.profiler.start_measurement()
        outcomes: list[Outcome] = []
        in_flight = max_in_flight = 0
        clock = self._clock
        begin = clock()

        async def task(delay: float) -> None:
            nonlocal in_flight, max_in_flight
            if delay:
                await asyncio.sleep(delay)
            left = operations_per_task
            while True:  # at least one operation, or tasks that are slow to start would not be part of the load
                in_flight += 1
                max_in_flight = max(max_in_flight, in_flight)
                outcomes.append(await _attempt(operation, clock))
                in_flight -= 1
                if left is not None:
                    left -= 1
                if left == 0 or (duration_seconds is not None and clock() - begin >= duration_seconds):
                    break

        async with asyncio.TaskGroup() as group:
            for number in range(concurrent_tasks):
                group.create_task(task(number * ramp_up_seconds / concurrent_tasks))
        result = _result(outcomes, clock() - begin)
        result |= {
            "operation_type": operation_type,
            "concurrent_tasks": concurrent_tasks,
            "operations_per_task": operations_per_task,
            "duration_seconds": duration_seconds,
            "ramp_up_seconds": ramp_up_seconds,
            "max_in_flight": max_in_flight,
            "measured": measured or operation,
        }
        self._record(outcomes, result)
        return result

    def _record(self, outcomes: Sequence[Outcome], result: dict[str, Any]) -> None:
        self.results.append(result)
        self.profiler.measured = self.profiler.measured or result["measured"]
        metadata = {LOAD: True, "concurrent_tasks": result["concurrent_tasks"]}
        for duration, error in outcomes:
            self.profiler.record_operation(duration, error is None, result["operation_type"] or "operation", metadata)
        self.profiler.end_measurement()


def _check(
    concurrent_tasks: int,
    operations_per_task: int | None,
    ramp_up_seconds: float,
    duration_seconds: float | None,
) -> None:
    if operations_per_task is not None and duration_seconds is not None:
        raise MeasurementError("a load test ends by operations_per_task or by duration_seconds, not by both")
    for name, count in (("concurrent_tasks", concurrent_tasks), ("operations_per_task", operations_per_task)):
        if count is not None and (not isinstance(count, int) or count < 1):
            raise MeasurementError(f"{name} must be a whole number, 1 or more, not {count!r}")
    for name, seconds in (("ramp_up_seconds", ramp_up_seconds), ("duration_seconds", duration_seconds)):
        if seconds is not None and not 0 <= seconds < math.inf:
            raise MeasurementError(f"{name} must be a finite number of seconds, 0 or more, not {seconds!r}")


async def _attempt(operation: Callable[[], Awaitable[object]], clock: Callable[[], float]) -> Outcome:
    failure: BaseException | None = None
    start = clock()
    try:
        await operation()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        failure = error  # the operation's own doing
    except Exception as error:  # noqa: BLE001 - whatever the measured code raises is a failed operation
        failure = error
    return clock() - start, failure


def _result(outcomes: Sequence[Outcome], elapsed: float) -> dict[str, Any]:
    durations = [duration for duration, error in outcomes if error is None]
    failures = [error for _, error in outcomes if error is not None]
    total, succeeded = len(outcomes), len(durations)
    names = ("min", "p50", "p95", "p99", "max")
    figures = percentiles(durations, (0, 50, 95, 99, 100)) if durations else [None] * len(names)
    return {
        "total_operations": total,
        "successful_operations": succeeded,
        "failed_operations": len(failures),
        "success_rate": succeeded / total if total else None,
        "error_rate": len(failures) / total if total else None,
        "total_time": elapsed,
        "throughput": succeeded / elapsed if elapsed else None,
        "avg_response_time": sum(durations) / succeeded if succeeded else None,
        **{f"{name}_response_time": figure for name, figure in zip(names, figures, strict=True)},
        "errors": dict(Counter(type(error).__name__ for error in failures)),
        "error_sample": repr(failures[0]) if failures else None,
    }
