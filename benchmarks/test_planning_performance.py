"""khive's planning service: its parts, whole plans, plans at once, memory and stress."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import pytest

from perf.services.planning import COMPLEX_REQUEST, SIMPLE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perf import LoadTestRunner, MemoryMonitor
    from perf.judge.thresholds import Settings
    from perf.measure.awaitable import AwaitableBenchmark, SyncBenchmark
    from perf.services.planning import Planning

REQUESTS = pytest.mark.parametrize("text", [SIMPLE_REQUEST, COMPLEX_REQUEST], ids=["simple", "complex"])
MICROSECONDS = pytest.mark.benchmark(min_time=0.0005)


class PlanningFailedError(Exception):
    """khive answered with a response that is no plan."""


def whole_plan(planning: Planning, text: str) -> Callable[[], Awaitable[None]]:
    """Return an operation that plans `text` and raises when no plan comes of it."""
    request = planning.plan_request(text)

    async def plan() -> None:
        if fault := planning.fault(await planning.plan(request)):
            raise PlanningFailedError(fault)

    return plan


@pytest.mark.benchmark
async def test_planner_startup(benchmark: SyncBenchmark, planning: Planning) -> None:
    planner = benchmark(planning.new_planner)

    assert planning.knowledge(planner)


@MICROSECONDS
@REQUESTS
async def test_complexity_assessment(benchmark: SyncBenchmark, planning: Planning, text: str) -> None:
    assessment = benchmark(planning.assess, planning.request(text))

    assert isinstance(assessment, planning.assessment)


@MICROSECONDS
@REQUESTS
async def test_role_selection(benchmark: SyncBenchmark, planning: Planning, text: str) -> None:
    request = planning.request(text)

    roles = benchmark(planning.select_roles, request, planning.assess(request))

    assert roles


@pytest.mark.benchmark
async def test_consensus(benchmark: SyncBenchmark, planning: Planning) -> None:
    opinions = await planning.opinions(COMPLEX_REQUEST)

    consensus = benchmark(planning.build_consensus, *opinions)

    assert planning.consensus_fault(consensus, *opinions) is None


@MICROSECONDS
async def test_cost_tracking(benchmark: SyncBenchmark, planning: Planning) -> None:
    tracker = planning.new_cost_tracker()

    cost = benchmark(tracker.add_request, 1200, 350)

    assert cost > 0
    assert tracker.total_cost >= cost


@pytest.mark.benchmark
async def test_simple_plan(async_benchmark: AwaitableBenchmark, planning: Planning) -> None:
    response = await async_benchmark(planning.plan, planning.plan_request(SIMPLE_REQUEST))

    assert planning.fault(response) is None


@pytest.mark.benchmark
async def test_complex_plan(async_benchmark: AwaitableBenchmark, planning: Planning) -> None:
    response = await async_benchmark(planning.plan, planning.plan_request(COMPLEX_REQUEST))

    assert planning.fault(response) is None
    assert len(response.phases) > 1


@pytest.mark.scalability
@pytest.mark.slow
async def test_plans_at_once(
    load_test_runner: LoadTestRunner,
    planning: Planning,
    performance_settings: Settings,
    concurrent_tasks: int,
) -> None:
    plan = whole_plan(planning, SIMPLE_REQUEST)
    await plan()

    results = await load_test_runner.run_async_load_test(
        plan,
        concurrent_tasks=concurrent_tasks,
        operations_per_task=ceil(performance_settings.measure["operations_per_step"].value / concurrent_tasks),
        measured=planning.plan,
    )

    assert results["success_rate"] > 0.95


@pytest.mark.memory
@pytest.mark.slow
async def test_plan_memory(memory_monitor: MemoryMonitor, planning: Planning, performance_settings: Settings) -> None:
    plan = whole_plan(planning, COMPLEX_REQUEST)
    await plan()

    usage = await memory_monitor.measure_async(
        plan, operations=performance_settings.measure["memory_operations"].value, measured=planning.plan
    )

    assert usage["memory_before_mb"] > 0


@pytest.mark.stress
@pytest.mark.slow
async def test_plan_stress(
    load_test_runner: LoadTestRunner, planning: Planning, performance_settings: Settings
) -> None:
    plan = whole_plan(planning, SIMPLE_REQUEST)
    await plan()

    results = await load_test_runner.run_async_load_test(
        plan,
        concurrent_tasks=performance_settings.measure["stress_workers"].value,
        duration_seconds=performance_settings.measure["stress_duration_sec"].value,
        measured=planning.plan,
    )

    assert results["error_rate"] < 0.1
