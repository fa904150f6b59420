"""What LoadTestRunner runs at once, and what it reports of it."""

from __future__ import annotations

import asyncio
import gc
import math
import re
import time
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
    assert result["error_samples"] == {"KeyError": "KeyError('a')", "ValueError": "ValueError('b')"}
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


class Stalling:
    """A service that takes a millisecond, and stands still for the first fifth of each half second."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()

    async def __call__(self) -> None:
        into = (time.perf_counter() - self.begin) % 0.5
        await asyncio.sleep((0.1 - into if into < 0.1 else 0) + 0.001)


async def test_an_open_load_shows_the_stall_that_a_closed_one_hides() -> None:
    """Of a service that stands still for a fifth of the time the open model's p95 shows it, the closed one's not."""
    closed = await LoadTestRunner().run_async_load_test(Stalling(), 1, duration_seconds=1.5)
    opened = await LoadTestRunner().run_open_load_test(Stalling(), 200, 1.5)

    assert closed["p95_response_time"] < 0.25 * closed["max_response_time"]
    assert opened["p95_response_time"] > 0.5 * opened["max_response_time"]


async def test_what_waits_for_its_start_counts_as_response_and_not_as_service() -> None:
    """Where operations hold the loop for longer than the gap between arrivals the wait grows, not the service."""

    async def blocking() -> None:
        time.sleep(0.02)  # noqa: ASYNC251 - that is what is tested

    result = await LoadTestRunner().run_open_load_test(blocking, 100, operations=30, grace_seconds=5)

    assert result["total_operations"] == result["successful_operations"] == 30
    assert result["max_response_time"] > 5 * result["p50_service_time"]
    assert result["max_loop_lag"] > result["p50_service_time"]
    assert "the event loop was held" in result["warnings"][0]


async def test_a_rate_that_cannot_be_sent_is_the_generators_fault() -> None:
    """Of operations that take nothing, a million a second is more than one process sends, and it says so.

    In one of three goes at least: where another program takes the processor in the meantime, that was the limit.
    """

    async def nothing() -> None:
        return

    results = [await LoadTestRunner().run_open_load_test(nothing, 1e6, 0.2, grace_seconds=0.2) for _ in range(3)]

    assert all(result["rate"] < 0.95 * result["planned_rate"] for result in results)
    assert any("the generator was the limit" in result["warnings"][0] for result in results)


@pytest.mark.parametrize("ends", [{"duration_seconds": 0.5}, {"operations": 50}])
async def test_an_open_load_sends_what_was_asked(ends: dict[str, Any]) -> None:
    """A hundred a second for half a second are fifty operations, however long each takes."""
    gauge = Gauge()

    result = await LoadTestRunner().run_open_load_test(gauge, 100, **ends)

    assert gauge.calls == result["total_operations"] == 50
    assert (result["planned_rate"], result["rate"]) == pytest.approx((100, 100), rel=0.2)
    assert result["concurrent_tasks"] == 0


async def test_a_ramp_sends_ever_more() -> None:
    """From 0 to 200 a second over half a second, twice as many arrive in the second half of the ramp and more."""
    result = await LoadTestRunner().run_open_load_test(Gauge(), 200, 0.5, ramp_up_seconds=0.5)

    due = [moment["due"] for moment in result["series"]]
    assert result["total_operations"] == 50
    assert sum(due[3:]) > 2 * sum(due[:2])


async def test_what_never_ends_is_cut_off_and_counted() -> None:
    """After the grace what is still under way is cancelled, counted as unfinished, and told of."""

    async def endless() -> None:
        await asyncio.Event().wait()

    result = await LoadTestRunner().run_open_load_test(endless, 100, operations=20, grace_seconds=0.1)

    assert (result["unfinished_operations"], result["failed_operations"]) == (20, 20)
    assert result["errors"] == {"unfinished": 20}
    assert "20 operations had not ended" in result["warnings"][0]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("model", ["open", "closed"])
async def test_a_broken_limit_ends_the_load(model: str) -> None:
    """A load of an hour whose limit is broken ends at once, in either model, and says which limit it was."""
    runner, limits = LoadTestRunner(), {"p95_response_time": 0.001}

    async def slow() -> None:
        await asyncio.sleep(0.01)

    run = (
        runner.run_open_load_test(slow, 500, 3600, abort_on_fail=limits)
        if model == "open"
        else runner.run_async_load_test(slow, 10, duration_seconds=3600, abort_on_fail=limits)
    )
    result = await asyncio.wait_for(run, 30)

    assert result["aborted"].startswith("p95_response_time > 0.001: ")
    assert result["warnings"][0].startswith("aborted: ")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_limits_that_hold_end_nothing() -> None:
    """A load within its limits goes on to its end."""
    result = await LoadTestRunner().run_async_load_test(
        Gauge(), 5, 40, abort_on_fail={"p95_response_time": 60.0, "error_rate": 0.0}
    )

    assert (result["aborted"], result["total_operations"]) == (None, 200)


async def test_cancelling_an_open_load_leaves_nothing() -> None:
    """A cancelled open load takes its generator and all that is under way with it."""
    runner, started = LoadTestRunner(), asyncio.Event()

    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    run = asyncio.create_task(runner.run_open_load_test(endless, 1000, 3600))
    await started.wait()

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert runner.results == []


async def test_pauses_of_the_garbage_collector_are_told() -> None:
    """Collections while a load runs are counted, and their time is part of the load's."""

    async def collecting() -> None:
        gc.collect()

    result = await LoadTestRunner().run_async_load_test(collecting, 1, 3)

    assert result["gc_pauses"] >= 3
    assert 0 < result["gc_longest"] <= result["gc_seconds"] < result["total_time"]
    assert result["gc_share"] == result["gc_seconds"] / result["total_time"]


async def test_a_load_of_more_than_two_seconds_tells_how_far_it_is() -> None:
    """Progress is told after two seconds, each second, with what has ended; a shorter load tells nothing."""
    said: list[str] = []
    runner = LoadTestRunner(progress=said.append)

    await runner.run_open_load_test(Gauge(), 50, 0.5)
    assert said == []
    await runner.run_open_load_test(Gauge(), 50, 3.3)

    assert 1 <= len(said) <= 2
    assert re.fullmatch(r"2 s: \d+ operations ended", said[0])


async def test_a_step_test_finds_the_highest_rate() -> None:
    """Where four at once take 10 ms each the knee is near 400 a second, and the step above it names what broke."""
    slots = asyncio.Semaphore(4)

    async def four_at_once() -> None:
        async with slots:
            await asyncio.sleep(0.01)

    runner = LoadTestRunner()
    knee = await runner.run_step_test(four_at_once, 50, {"p95_response_time": 0.1}, step_seconds=0.5)

    assert 180 <= knee["highest_rate"] <= 500
    assert "p95_response_time" in knee["broken"]
    assert [step["rate"] for step in knee["steps"]] == sorted(step["rate"] for step in knee["steps"])
    assert runner.knees == [knee]


async def test_a_step_test_that_begins_above_the_highest_rate_goes_down_to_it() -> None:
    """A first rate that is too much is halved until one holds."""
    slots = asyncio.Semaphore(1)

    async def one_at_once() -> None:
        async with slots:
            await asyncio.sleep(0.01)

    knee = await LoadTestRunner().run_step_test(one_at_once, 800, {"p95_response_time": 0.1}, step_seconds=0.5)

    assert 30 <= knee["highest_rate"] <= 125
    assert knee["steps"][-1]["rate"] == 800


async def test_a_step_test_of_which_no_step_holds_has_no_rate() -> None:
    """Nothing is made up where even a small part of the first rate is too much."""

    async def failing() -> None:
        raise OSError

    knee = await LoadTestRunner().run_step_test(failing, 1000, {"error_rate": 0.1}, step_seconds=0.1)

    assert knee["highest_rate"] is None
    assert knee["broken"].startswith("error_rate 1 > 0.1")
    assert min(step["rate"] for step in knee["steps"]) > 10


@pytest.mark.parametrize("rate", [0, -1.0, math.nan, math.inf, 1e7])
async def test_a_step_test_from_no_rate_is_refused(rate: float) -> None:
    """Where no step could begin it is said, and nothing is sent."""
    gauge = Gauge()

    with pytest.raises(MeasurementError, match="start_rate must be above 0"):
        await LoadTestRunner().run_step_test(gauge, rate, {"error_rate": 0.1})

    assert gauge.most == 0


async def test_a_step_that_is_disturbed_once_is_tried_again() -> None:
    """What breaks a limit in the first go of a step alone does not decide it."""
    calls = count()

    async def fail_at_first() -> None:
        if next(calls) < 15:
            raise OSError

    knee = await LoadTestRunner().run_step_test(fail_at_first, 200, {"error_rate": 0.1}, step_seconds=0.2)

    assert knee["highest_rate"] >= 200
    assert [bool(step["broken"]) for step in knee["steps"] if step["rate"] == 200] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"arrival_rate": 0}, "arrival_rate"),
        ({"arrival_rate": 10, "duration_seconds": None}, "operations or by duration_seconds"),
        ({"arrival_rate": 10, "operations": 5}, "operations or by duration_seconds"),
        ({"arrival_rate": (1, 10), "duration_seconds": None, "operations": 5}, "ramp_up_seconds or duration_seconds"),
        ({"arrival_rate": 10, "grace_seconds": math.nan}, "grace_seconds"),
        ({"arrival_rate": 10, "abort_on_fail": {"p95": 1}}, "p95 is none of"),
        ({"arrival_rate": 10, "processes": 0}, "processes"),
    ],
    ids=str,
)
async def test_impossible_open_loads_are_refused(arguments: dict[str, Any], said: str) -> None:
    """An open load that cannot be run is refused by name before any operation runs."""
    with pytest.raises(MeasurementError, match=said):
        await LoadTestRunner().run_open_load_test(Gauge(), **{"duration_seconds": 1.0} | arguments)
