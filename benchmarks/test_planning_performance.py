"""khive's planning service: its parts, whole plans, plans at once, memory and stress."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perf.services.planning import COMPLEX_REQUEST, SIMPLE_REQUEST

if TYPE_CHECKING:
    from benchmarks.conftest import Measure, MeasureLeak
    from perf.measure.awaitable import AwaitableBenchmark, SyncBenchmark
    from perf.services.planning import Planning

REQUESTS = pytest.mark.parametrize("text", [SIMPLE_REQUEST, COMPLEX_REQUEST], ids=["simple", "complex"])
MICROSECONDS = pytest.mark.benchmark(min_time=0.0005)


@pytest.mark.benchmark
async def test_planner_startup(benchmark: SyncBenchmark, planning: Planning) -> None:
    planner = benchmark(planning.new_planner)

    assert planning.knowledge(planner)


@MICROSECONDS
@REQUESTS
async def test_complexity_assessment(benchmark: SyncBenchmark, planning: Planning, text: str) -> None:
    assessment = benchmark(planning.assess, planning.request(text))

    assert isinstance(assessment, planning.assessment)
    assert planning.assess(planning.request(SIMPLE_REQUEST)) != planning.assess(planning.request(COMPLEX_REQUEST))


@MICROSECONDS
@REQUESTS
async def test_role_selection(benchmark: SyncBenchmark, planning: Planning, text: str) -> None:
    request = planning.request(text)

    roles = benchmark(planning.select_roles, request, planning.assess(request))

    assert roles
    assert set(roles) <= set(planning.knowledge(planning.planner))


@pytest.mark.quick
@pytest.mark.benchmark
async def test_consensus(benchmark: SyncBenchmark, planning: Planning) -> None:
    opinions = await planning.opinions(COMPLEX_REQUEST)

    consensus = benchmark(planning.build_consensus, *opinions)

    assert planning.consensus_fault(consensus, *opinions) is None


@MICROSECONDS
async def test_cost_tracking(benchmark: SyncBenchmark, planning: Planning) -> None:
    tracker = planning.new_cost_tracker()

    cost = benchmark(tracker.add_request, 1200, 350)

    before = tracker.total_cost
    assert cost > 0
    assert tracker.add_request(2400, 700) == pytest.approx(2 * cost)
    assert tracker.total_cost == pytest.approx(before + 2 * cost)


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
async def test_plans_at_once(at_once: Measure, planning: Planning) -> None:
    await at_once(planning.whole_plans(SIMPLE_REQUEST), measured=planning.plan)


@pytest.mark.scalability
@pytest.mark.slow
async def test_plan_knee(knee_of: Measure, planning: Planning) -> None:
    await knee_of(planning.whole_plans(SIMPLE_REQUEST), 5, "simple_plan_ms", measured=planning.plan)


@pytest.mark.scalability
@pytest.mark.slow
async def test_plans_in_processes(in_processes: Measure, planning: Planning) -> None:
    await in_processes("planning", measured=planning.plan)


@pytest.mark.memory
@pytest.mark.slow
async def test_plan_memory(memory_of: Measure, planning: Planning) -> None:
    await memory_of(planning.whole_plans(COMPLEX_REQUEST), measured=planning.plan)


@pytest.mark.memory
@pytest.mark.slow
async def test_plan_leak(leak_of: MeasureLeak, planning: Planning) -> None:
    await leak_of(planning.whole_plans(SIMPLE_REQUEST), measured=planning.plan)


@pytest.mark.stress
@pytest.mark.slow
async def test_plan_stress(under_stress: Measure, planning: Planning) -> None:
    await under_stress(planning.whole_plans(SIMPLE_REQUEST), measured=planning.plan)
