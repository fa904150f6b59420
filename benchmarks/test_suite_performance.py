"""The suite itself, in ratios: how many times as long its instruments take as the bare thing each stands for."""

from __future__ import annotations

import asyncio
import gc
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import pytest

from perf import LoadTestRunner, PerformanceProfiler

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 15
CALLS = 10_000
TASKS = 10


@pytest.fixture
def _no_garbage_collector() -> Iterator[None]:
    """What the collector takes is the same for both, and would make each ratio smaller."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.benchmark
@pytest.mark.slow
@pytest.mark.usefixtures("_no_garbage_collector")
def test_record_operation(performance_profiler: PerformanceProfiler) -> None:
    """Recording an operation, beside appending the same tuple to a list."""
    performance_profiler.measured = PerformanceProfiler.record_operation
    ratios = []

    for _ in range(ROUNDS):
        before, ours, after = time_of_append(), time_of_recording(), time_of_append()
        ratios.append(2 * ours / (before + after))

    performance_profiler.add_custom_metric("record_operation_overhead", median(ratios))


def time_of_append() -> float:
    operations: list[tuple[float, bool, str, None]] = []
    duration, success, name, metadata = 0.004, True, "cache_get", None
    start = perf_counter()
    for _ in range(CALLS):
        operations.append((duration, success, name, metadata))  # noqa: PERF401 - a list comprehension is not that
    return perf_counter() - start


def time_of_recording() -> float:
    profiler = PerformanceProfiler()
    duration, success, name, metadata = 0.004, True, "cache_get", None
    start = perf_counter()
    for _ in range(CALLS):
        profiler.record_operation(duration, success, name, metadata)
    elapsed = perf_counter() - start
    assert len(profiler.operations) == CALLS
    return elapsed


@pytest.mark.benchmark
@pytest.mark.slow
@pytest.mark.usefixtures("_no_garbage_collector")
async def test_load_runner(performance_profiler: PerformanceProfiler) -> None:
    """An empty operation under load, beside a bare loop of as many tasks that times it."""
    performance_profiler.measured = LoadTestRunner.run_async_load_test
    ratios = []

    for _ in range(ROUNDS):
        before, ours, after = await time_of_loop(), await time_of_load(), await time_of_loop()
        ratios.append(2 * ours / (before + after))

    performance_profiler.add_custom_metric("load_runner_overhead", median(ratios))


async def empty() -> None:
    return


async def time_of_loop() -> float:
    times = []

    async def task() -> None:
        for _ in range(CALLS // TASKS):
            start = perf_counter()
            await empty()
            times.append(perf_counter() - start)

    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(task())
    return perf_counter() - start


async def time_of_load() -> float:
    result = await LoadTestRunner().run_async_load_test(empty, TASKS, CALLS // TASKS)
    assert result["successful_operations"] == CALLS
    return float(result["total_time"])
