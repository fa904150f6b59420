"""What LoadTestRunner runs at once, and what it reports of it."""

from __future__ import annotations

import asyncio
import math
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from perf import LoadTestRunner, PerformanceProfiler
from perf.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Clock:
    """A clock that only operations move, and that never stops a task early."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Gauge:
    """An operation that counts how often it ran and how many ran at once."""

    def __init__(self) -> None:
        self.calls = self.running = self.most = 0
        self.tasks: set[object] = set()

    async def __call__(self) -> None:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        self.tasks.add(asyncio.current_task())
        await asyncio.sleep(0.001)
        self.running -= 1


def taking(clock: Clock, *durations: float | Exception) -> Callable[[], Awaitable[None]]:
    """Return an operation that takes each of `durations` in turn on `clock`, or half a second and then raises."""
    left = iter(durations)

    async def operation() -> None:
        duration = next(left)
        if isinstance(duration, Exception):
            clock.now += 0.5
            raise duration
        clock.now += duration

    return operation


async def test_every_task_does_its_operations() -> None:
    """So many tasks with so many operations each make exactly their product, by exactly that many tasks."""
    gauge = Gauge()

    result = await LoadTestRunner().run_async_load_test(gauge, concurrent_tasks=7, operations_per_task=3)

    assert (gauge.calls, len(gauge.tasks)) == (21, 7)
    assert (result["total_operations"], result["successful_operations"], result["failed_operations"]) == (21, 21, 0)
    assert (result["concurrent_tasks"], result["operations_per_task"]) == (7, 3)


async def test_ten_tasks_of_ten_operations_by_default() -> None:
    """Without figures a load test is ten tasks of ten operations."""
    gauge = Gauge()

    result = await LoadTestRunner().run_async_load_test(gauge)

    assert (gauge.calls, len(gauge.tasks), result["total_operations"]) == (100, 10, 100)


@pytest.mark.parametrize("tasks", [1, 4, 25])
async def test_concurrency_is_reached_and_not_exceeded(tasks: int) -> None:
    """As many operations run at once as there are tasks: never fewer at the peak, never more."""
    gauge = Gauge()

    await LoadTestRunner().run_async_load_test(gauge, concurrent_tasks=tasks, operations_per_task=4)

    assert gauge.most == tasks


async def test_operations_that_never_give_way_are_seen_to_be_one_at_a_time() -> None:
    """Ten tasks whose operations do not wait have one operation in flight, ten whose do have ten."""

    async def blocking() -> None:
        return None

    blocked = await LoadTestRunner().run_async_load_test(blocking, 10, 3)
    waiting = await LoadTestRunner().run_async_load_test(Gauge(), 10, 3)

    assert (blocked["max_in_flight"], waiting["max_in_flight"]) == (1, 10)


async def test_every_task_of_a_timed_load_takes_part() -> None:
    """Tasks that get their turn only when the duration is over do one operation each, and one only."""
    gauge = Gauge()

    results = await LoadTestRunner().run_async_load_test(gauge, 10, duration_seconds=0)

    assert (gauge.calls, len(gauge.tasks), results["max_in_flight"]) == (10, 10, 10)


async def test_figures_are_those_of_known_durations() -> None:
    """Every figure of the result equals the one computed by hand from the durations."""
    clock = Clock()
    operation = taking(clock, 0.1, 0.2, ValueError("no"), 0.3, 0.4)

    result = await LoadTestRunner(clock=clock).run_async_load_test(operation, 1, 5)

    expected = {
        "success_rate": 0.8,
        "error_rate": 0.2,
        "total_time": 1.5,
        "throughput": 4 / 1.5,
        "avg_response_time": 0.25,
        "min_response_time": 0.1,
        "p50_response_time": 0.25,
        "p95_response_time": 0.385,
        "p99_response_time": 0.397,
        "max_response_time": 0.4,
    }
    assert {name: result[name] for name in expected} == pytest.approx(expected)


async def test_failures_are_counted_by_type_with_a_sample() -> None:
    """What an operation raises ends that operation alone and is counted under its type, the first shown whole."""
    clock = Clock()
    operation = taking(clock, KeyError("a"), 0.2, ValueError("b"), KeyError("c"))

    result = await LoadTestRunner(clock=clock).run_async_load_test(operation, 2, 2)

    assert result["errors"] == {"KeyError": 2, "ValueError": 1}
    assert result["error_sample"] == "KeyError('a')"
    assert (result["total_operations"], result["failed_operations"]) == (4, 3)
    assert result["min_response_time"] == result["max_response_time"] == pytest.approx(0.2)


async def test_only_failures_give_no_latency() -> None:
    """When every operation failed, throughput is zero and no latency is made up."""
    clock = Clock()

    result = await LoadTestRunner(clock=clock).run_async_load_test(taking(clock, ValueError(), ValueError()), 1, 2)

    assert (result["success_rate"], result["throughput"]) == (0.0, 0.0)
    assert result["p95_response_time"] is result["avg_response_time"] is None


async def test_an_operation_cancelled_within_is_a_failed_one() -> None:
    """An operation that ends in CancelledError of its own is counted, and its task goes on with the next."""
    calls = count(1)

    async def operation() -> None:
        if next(calls) == 2:
            raise asyncio.CancelledError

    result = await LoadTestRunner().run_async_load_test(operation, concurrent_tasks=1, operations_per_task=5)

    assert (result["total_operations"], result["failed_operations"]) == (5, 1)


async def test_ramp_up_staggers_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks start evenly over the ramp-up, the first at once."""
    delays, sleep = [], asyncio.sleep

    async def note(delay: float) -> None:
        delays.append(delay)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    clock = Clock()

    await LoadTestRunner(clock=clock).run_async_load_test(taking(clock, 1, 1, 1, 1), 4, 1, ramp_up_seconds=2.0)

    assert delays == [0.5, 1.0, 1.5]


async def test_ramp_up_is_really_waited_for() -> None:
    """The last task of a ramp-up starts no sooner than its share of the ramp-up after the first."""
    starts: list[float] = []

    async def operation() -> None:
        starts.append(asyncio.get_running_loop().time())

    await LoadTestRunner().run_async_load_test(operation, 4, 1, ramp_up_seconds=0.04)

    assert starts[-1] - starts[0] >= 0.029


async def test_duration_mode_ends() -> None:
    """By duration, tasks start operations until the time has passed, and the last one is finished, not cut."""
    clock = Clock()

    result = await LoadTestRunner(clock=clock).run_async_load_test(
        taking(clock, *[0.4] * 9), concurrent_tasks=1, duration_seconds=1.0
    )

    assert result["total_operations"] == 3
    assert result["total_time"] == pytest.approx(1.2)
    assert (result["duration_seconds"], result["operations_per_task"]) == (1.0, None)


async def test_duration_mode_keeps_its_tasks_busy() -> None:
    """By duration in real time, all tasks run at once for at least that long."""
    gauge = Gauge()

    result = await LoadTestRunner().run_async_load_test(gauge, concurrent_tasks=5, duration_seconds=0.03)

    assert gauge.most == 5
    assert result["total_time"] >= 0.03
    assert result["total_operations"] == gauge.calls > 5


async def test_cancelling_leaves_no_task_behind() -> None:
    """A cancelled load test takes all its tasks with it and reports nothing."""
    runner, started = LoadTestRunner(), asyncio.Event()

    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    run = asyncio.create_task(runner.run_async_load_test(endless, concurrent_tasks=5, ramp_up_seconds=0.01))
    await started.wait()

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert runner.results == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"concurrent_tasks": 0},
        {"concurrent_tasks": -1},
        {"concurrent_tasks": 2.5},
        {"operations_per_task": 0},
        {"operations_per_task": 1.5},
        {"ramp_up_seconds": -0.1},
        {"ramp_up_seconds": math.nan},
        {"ramp_up_seconds": math.inf},
        {"duration_seconds": -1.0},
        {"duration_seconds": math.nan},
        {"operations_per_task": 1, "duration_seconds": 1.0},
    ],
    ids=str,
)
async def test_impossible_loads_are_refused(arguments: dict[str, Any]) -> None:
    """A load that cannot be run is refused by name before any operation runs."""
    runner, calls = LoadTestRunner(), count()

    async def operation() -> None:
        if next(calls) > 100:
            pytest.fail("a load that cannot be run is running")

    with pytest.raises(MeasurementError, match=next(iter(arguments))):
        await asyncio.wait_for(runner.run_async_load_test(operation, **arguments), timeout=1)

    assert (next(calls), runner.results) == (0, [])


async def test_the_profiler_has_every_operation_too() -> None:
    """Each operation is also recorded by the profiler, under its type, its outcome and its load."""
    clock, profiler = Clock(), PerformanceProfiler()
    runner = LoadTestRunner(profiler, clock=clock)

    await runner.run_async_load_test(taking(clock, 0.1, ValueError()), 2, 1, operation_type="read")

    assert [one.duration for one in profiler.operations] == pytest.approx([0.1, 0.5])
    assert [(one.success, one.operation_type) for one in profiler.operations] == [(True, "read"), (False, "read")]
    assert all(one.metadata and one.metadata["concurrent_tasks"] == 2 for one in profiler.operations)
    assert profiler.started


async def test_each_run_is_kept() -> None:
    """`results` keeps the report of each run, in order, as it was returned."""
    runner = LoadTestRunner()

    returned = [await runner.run_async_load_test(Gauge(), tasks, 1) for tasks in (1, 2)]

    assert runner.results == returned
