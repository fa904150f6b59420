"""khive's services together: a whole request and its steps, many at once, contention, memory, stress."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest

from perf.services import cache as cache_service
from perf.services.artifacts import round_trips
from perf.services.integration import STEPS

if TYPE_CHECKING:
    from benchmarks.conftest import Measure, MeasureLeak
    from perf import LoadTestRunner, PerformanceProfiler
    from perf.judge.thresholds import Settings
    from perf.measure.awaitable import AwaitableBenchmark, SyncBenchmark
    from perf.services.artifacts import Artifacts
    from perf.services.cache import PlanCache
    from perf.services.integration import Services
    from perf.services.redis_server import RedisServer
    from perf.services.session import Sessions

Operation = Callable[[], Awaitable[None]]

KIB = 1024
_TASKS = 10


@pytest.mark.benchmark
async def test_whole_request(async_benchmark: AwaitableBenchmark, benchmark: SyncBenchmark, services: Services) -> None:
    """A request from plan to artifact; each step checks what it hands on."""
    await async_benchmark(services.request)
    benchmark.measured = services.measured


@pytest.mark.benchmark
async def test_request_steps(
    performance_profiler: PerformanceProfiler, services: Services, performance_settings: Settings
) -> None:
    """What each step of a request costs within it."""
    await services.request()
    for _ in range(performance_settings.measure["rounds"].value):
        await services.request(lambda step: performance_profiler.timed(f"request_{step}", services.steps[step]))

    recorded = {operation.operation_type for operation in performance_profiler.operations}
    assert recorded == {f"request_{step}" for step in STEPS}


@pytest.mark.scalability
@pytest.mark.slow
async def test_requests_at_once(at_once: Measure, services: Services) -> None:
    await at_once(services.request, times=0.25, measured=services.measured)


@pytest.mark.scalability
@pytest.mark.slow
async def test_requests_in_processes(in_processes: Measure, services: Services) -> None:
    await in_processes("integration", measured=services.measured)


class Contention:
    """Two operations, each from ten tasks: the first alone, then both at once."""

    def __init__(self, runner: LoadTestRunner, settings: Settings) -> None:
        self._runner = runner
        self._operations = settings.measure["operations_per_step"].value

    async def between(self, name: str, first: Operation, second: Operation, times: int = 1) -> None:
        async def load(suffix: str, operation: Operation) -> dict[str, Any]:
            each = ceil(times * self._operations / _TASKS)
            return await self._runner.run_async_load_test(operation, _TASKS, each, operation_type=f"{name}_{suffix}")

        alone = await load("alone", first)
        together = await asyncio.gather(load("contended", first), load("rival", second))

        assert min(results["success_rate"] for results in (alone, *together)) > 0.95


@pytest.fixture
def contention(load_test_runner: LoadTestRunner, performance_settings: Settings) -> Contention:
    return Contention(load_test_runner, performance_settings)


@pytest.mark.scalability
async def test_redis_contention(contention: Contention, cache: PlanCache, redis_service: RedisServer) -> None:
    """Two caches of plans on one Redis, the second with larger plans."""
    async with cache_service.opened(redis_service) as rival:
        small = partial(cache.round_trip, f"{cache.prefix}small", cache.response(KIB))
        large = partial(rival.round_trip, f"{rival.prefix}large", rival.response(100 * KIB))

        await contention.between("redis", small, large, times=10)


@pytest.mark.scalability
async def test_file_contention(contention: Contention, sessions: Sessions, artifacts: Artifacts) -> None:
    """Documents written and read beside sessions that are saved."""
    documents = round_trips(await artifacts.documents(), "x" * 10 * KIB)

    await contention.between("files", documents, await sessions.round_trips())


@pytest.mark.memory
@pytest.mark.slow
async def test_request_memory(memory_of: Measure, services: Services) -> None:
    """What requests leave behind in all services together."""
    await memory_of(services.request, measured=services.measured)


@pytest.mark.memory
@pytest.mark.slow
async def test_request_leak(leak_of: MeasureLeak, services: Services) -> None:
    await leak_of(services.request, measured=services.measured)


@pytest.mark.stress
@pytest.mark.slow
async def test_request_stress(under_stress: Measure, services: Services) -> None:
    await under_stress(services.request, measured=services.measured)
