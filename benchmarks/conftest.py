"""The khive services under measurement, opened for one test each, and the tests that every service has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest

from perf.errors import MeasurementError
from perf.services import cache as cache_service
from perf.services import planning as planning_service
from perf.services.artifacts import Artifacts
from perf.services.instances import instance, opened
from perf.services.integration import Services
from perf.services.orchestration import Orchestration
from perf.services.session import Sessions
from perf.session import origin_of
from perf.units import MILLISECOND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from perf import LoadTestRunner, MemoryMonitor
    from perf.judge.thresholds import Settings
    from perf.measure.growth import Growth
    from perf.services.cache import PlanCache
    from perf.services.planning import Planning
    from perf.services.redis_server import RedisServer

Measure = Callable[..., Awaitable[dict[str, Any]]]
TASKS_PER_PROCESS = 5
SHORTEST_STEP, LONGEST_STEP = 1.0, 10.0  # seconds
MeasureLeak = Callable[..., Awaitable["Growth"]]


@pytest.fixture
async def planning(khive_scratch: Path) -> AsyncIterator[Planning]:
    """khive's planning service, against the model endpoint of this run."""
    async with planning_service.opened() as service:
        yield service


@pytest.fixture
async def cache(khive_scratch: Path, redis_service: RedisServer) -> AsyncIterator[PlanCache]:
    """khive's planning results in a real Redis."""
    async with cache_service.opened(redis_service) as service:
        yield service


@pytest.fixture
def orchestration(khive_scratch: Path) -> Orchestration:
    """khive's orchestrator in the scratch repository."""
    return Orchestration(khive_scratch)


@pytest.fixture
def sessions(khive_scratch: Path) -> Sessions:
    """khive's sessions in the scratch repository."""
    return Sessions(khive_scratch)


@pytest.fixture
def artifacts(khive_scratch: Path) -> Artifacts:
    """khive's artifacts in the scratch repository."""
    return Artifacts(khive_scratch)


@pytest.fixture
async def services(planning: Planning, cache: PlanCache, sessions: Sessions, artifacts: Artifacts) -> Services:
    """All of khive's services, as one request uses them."""
    return Services(planning, cache, sessions, await artifacts.documents())


@pytest.fixture
def at_once(load_test_runner: LoadTestRunner, performance_settings: Settings, concurrent_tasks: int) -> Measure:
    """Run an operation from `concurrent_tasks` tasks, `times` the profile's operations a step; nearly all succeed."""

    async def run(operation: Callable[[], Awaitable[object]], times: float = 1, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        operations = times * performance_settings.measure["operations_per_step"].value
        results = await load_test_runner.run_async_load_test(
            operation, concurrent_tasks, ceil(operations / concurrent_tasks), **options
        )
        assert results["success_rate"] > 0.95
        return results

    return run


@pytest.fixture
def under_stress(load_test_runner: LoadTestRunner, performance_settings: Settings) -> Measure:
    """Run an operation from the profile's stress workers for its stress duration; under 10 % may fail."""

    async def run(operation: Callable[[], Awaitable[object]], **options: Any) -> dict[str, Any]:  # noqa: ANN401
        await operation()
        measure = performance_settings.measure
        results = await load_test_runner.run_async_load_test(
            operation,
            measure["stress_workers"].value,
            duration_seconds=measure["stress_duration_sec"].value,
            **options,
        )
        assert results["error_rate"] < 0.1
        return results

    return run


@pytest.fixture
def memory_of(memory_monitor: MemoryMonitor, performance_settings: Settings) -> Measure:
    """Read memory around `times` the profile's number of calls of an operation, warmed up by one."""

    async def run(operation: Callable[[], Awaitable[object]], times: int = 1, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        await operation()
        calls = times * performance_settings.measure["memory_operations"].value
        usage = await memory_monitor.measure_async(operation, operations=calls, **options)
        assert usage["memory_before_mb"] > 0
        return usage

    return run


@pytest.fixture
def leak_of(memory_monitor: MemoryMonitor, performance_settings: Settings) -> MeasureLeak:
    """Read memory after batches of an operation's calls, for the profile's time; each call must allocate something."""

    async def run(operation: Callable[[], Awaitable[object]], **options: Any) -> Growth:  # noqa: ANN401
        seconds = performance_settings.measure["memory_seconds"].value
        growth = await memory_monitor.measure_growth_async(operation, seconds=seconds, **options)
        assert growth.peak > 0
        return growth

    return run


@pytest.fixture
def knee_of(
    load_test_runner: LoadTestRunner,
    performance_thresholds: Mapping[str, Mapping[str, float]],
    request: pytest.FixtureRequest,
) -> Measure:
    """Find the highest rate of an operation at which the service's limit of that name, in ms, and nearly all hold."""

    async def run(
        operation: Callable[[], Awaitable[object]],
        start_rate: float,
        limit: str,
        **options: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        await operation()
        service = origin_of(request.node).service
        if limit not in performance_thresholds.get(service, {}):
            raise MeasurementError(f"thresholds.toml has no {service}.{limit}, which says when a rate is too high")
        bound = performance_thresholds[service][limit] * MILLISECOND
        seconds = min(max(SHORTEST_STEP, 10 * bound), LONGEST_STEP)
        limits = {"p95_response_time": bound, "error_rate": 0.01}
        knee = await load_test_runner.run_step_test(operation, start_rate, limits, step_seconds=seconds, **options)
        assert min(step["error_rate"] for step in knee["steps"]) < 0.1
        return knee

    return run


@pytest.fixture
def in_processes(
    load_test_runner: LoadTestRunner,
    performance_settings: Settings,
    khive_scratch: Path,
    redis_service: RedisServer,
) -> Measure:
    """Run a service's operation in as many processes as the profile says, for its stress duration, on one Redis."""

    async def run(service: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        async with opened(service, khive_scratch, redis_service):
            pass  # what the build does not offer is known before there are processes
        latency = performance_settings.environment["model_latency_sec"].value
        measure = performance_settings.measure
        results = await load_test_runner.run_async_load_test(
            partial(instance, service, khive_scratch, redis_service, latency),
            TASKS_PER_PROCESS * measure["processes"].value,
            duration_seconds=measure["stress_duration_sec"].value,
            processes=measure["processes"].value,
            **options,
        )
        assert results["success_rate"] > 0.95
        return results

    return run
