"""khive's planning results in a real Redis: set and get, hits and misses, expiry, many at once, memory, stress."""

from __future__ import annotations

import asyncio
import random
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest

from perf.services.cache import TTL_SECONDS

if TYPE_CHECKING:
    from benchmarks.conftest import Measure, MeasureLeak
    from perf import LoadTestRunner, PerformanceProfiler
    from perf.judge.thresholds import Settings
    from perf.measure.awaitable import AwaitableBenchmark, SyncBenchmark
    from perf.services.cache import PlanCache

# Ignored as Python itself does. pytest would keep each one that redis-py gives khive, within what is timed.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

KIB = 1024
SIZES = pytest.mark.parametrize(
    "size", [pytest.param(KIB, marks=pytest.mark.quick), 10 * KIB, 100 * KIB], ids=["1KiB", "10KiB", "100KiB"]
)
LARGE = pytest.mark.parametrize("size", [KIB * KIB, 10 * KIB * KIB], ids=["1MiB", "10MiB"])
REQUEST = {
    "task_description": "Add a retry to the payment client.",
    "context": None,
    "time_budget_seconds": 30.0,
}
DISTINCT_REQUESTS = 200
SEED = 20250123


async def measure_set(async_benchmark: AwaitableBenchmark, cache: PlanCache, size: int) -> None:
    """Time storing a result of `size` bytes, and find it stored."""
    response, key = cache.response(size), cache.key(REQUEST)

    assert await async_benchmark(cache.store, key, cache.packed(response), TTL_SECONDS)

    assert await cache.get(key) == response


async def measure_get(async_benchmark: AwaitableBenchmark, cache: PlanCache, size: int) -> None:
    """Time reading a result of `size` bytes back, and find it unchanged."""
    response, key = cache.response(size), cache.key(REQUEST)
    assert await cache.set(key, response)

    found = await async_benchmark(cache.load, key)

    assert cache.unpacked(found) == response


@pytest.mark.benchmark
@SIZES
async def test_cache_set(async_benchmark: AwaitableBenchmark, cache: PlanCache, size: int) -> None:
    await measure_set(async_benchmark, cache, size)


@pytest.mark.benchmark
@SIZES
async def test_cache_get(async_benchmark: AwaitableBenchmark, cache: PlanCache, size: int) -> None:
    await measure_get(async_benchmark, cache, size)


@pytest.mark.benchmark
async def test_cache_miss(async_benchmark: AwaitableBenchmark, cache: PlanCache) -> None:
    assert await async_benchmark(cache.load, cache.key(REQUEST)) is None


@pytest.mark.benchmark
async def test_plan_lookup(async_benchmark: AwaitableBenchmark, cache: PlanCache) -> None:
    """Looking a planning result up by its request, which only a khive with a cache service does."""
    response = cache.response(KIB)
    lookup = await cache.lookup(REQUEST, response)

    found = await async_benchmark(lookup)

    assert cache.unpacked(found) == response


@pytest.mark.benchmark
@LARGE
async def test_large_object_set(async_benchmark: AwaitableBenchmark, cache: PlanCache, size: int) -> None:
    await measure_set(async_benchmark, cache, size)


@pytest.mark.benchmark
@LARGE
async def test_large_object_get(async_benchmark: AwaitableBenchmark, cache: PlanCache, size: int) -> None:
    await measure_get(async_benchmark, cache, size)


@pytest.mark.benchmark(min_time=0.0005)
async def test_key_hashing(benchmark: SyncBenchmark, cache: PlanCache) -> None:
    digest = benchmark(cache.hash_request, REQUEST)

    assert digest == cache.hash_request(dict(reversed(REQUEST.items())))
    assert digest != cache.hash_request(REQUEST | {"context": "other"})


@pytest.mark.benchmark
async def test_expired_get(async_benchmark: AwaitableBenchmark, cache: PlanCache) -> None:
    """What a get costs once its time to live is over, which it must be to the second."""
    key = cache.key(REQUEST)
    assert await cache.set(key, cache.response(KIB), ttl_seconds=60)
    assert 59_000 < await cache.remaining_ms(key) <= 60_000
    await cache.expire_now(key)
    await asyncio.sleep(0.01)
    assert await cache.remaining_ms(key) == -2

    assert await async_benchmark(cache.load, key) is None


@pytest.mark.benchmark
async def test_skewed_lookups(
    performance_profiler: PerformanceProfiler, cache: PlanCache, performance_settings: Settings
) -> None:
    """A read-through cache under requests whose popularity falls off like Zipf's law; the hit ratio is recorded."""
    chance = random.Random(SEED)
    keys = [cache.key(REQUEST | {"context": str(number)}) for number in range(DISTINCT_REQUESTS)]
    weights = [1 / (rank + 1) for rank in range(DISTINCT_REQUESTS)]
    packed = cache.packed(cache.response(KIB))
    lookups = 20 * performance_settings.measure["rounds"].value
    performance_profiler.measured = cache.load
    hits = 0

    performance_profiler.start_measurement()
    for key in chance.choices(keys, weights, k=lookups):
        hits += await timed_lookup(performance_profiler, cache, key, packed)
    performance_profiler.end_measurement()

    performance_profiler.add_custom_metric("hit_ratio", hits / lookups)
    assert hits + len({key for key in keys if await cache.load(key)}) == lookups


async def timed_lookup(profiler: PerformanceProfiler, cache: PlanCache, key: str, packed: Any) -> bool:  # noqa: ANN401
    """Look `key` up, record how long that took, store the result on a miss; whether it was a hit."""
    start = asyncio.get_running_loop().time()
    found = await cache.load(key)
    duration = asyncio.get_running_loop().time() - start
    profiler.record_operation(duration, success=found in (None, packed), operation_type="skewed_get")
    if found is None:
        await cache.store(key, packed, TTL_SECONDS)
    return found is not None


@pytest.mark.scalability
async def test_cache_at_once(
    load_test_runner: LoadTestRunner, cache: PlanCache, performance_settings: Settings, concurrent_tasks: int
) -> None:
    results = await load_test_runner.run_async_load_test(
        cache.round_trips(KIB),
        concurrent_tasks=concurrent_tasks,
        operations_per_task=ceil(50 * performance_settings.measure["operations_per_step"].value / concurrent_tasks),
        measured=cache.round_trip,
    )

    assert results["success_rate"] > 0.95


@pytest.mark.scalability
@pytest.mark.slow
async def test_cache_knee(knee_of: Measure, cache: PlanCache) -> None:
    await knee_of(cache.round_trips(KIB), 500, "cache_set_ms", measured=cache.round_trip)


@pytest.mark.scalability
@pytest.mark.slow
async def test_caches_in_processes(in_processes: Measure, cache: PlanCache) -> None:
    await in_processes("cache", measured=cache.round_trip)


@pytest.mark.memory
async def test_cache_memory(memory_of: Measure, cache: PlanCache) -> None:
    await memory_of(cache.round_trips(100 * KIB), measured=cache.round_trip)


@pytest.mark.memory
async def test_cache_leak(leak_of: MeasureLeak, cache: PlanCache) -> None:
    await leak_of(cache.round_trips(KIB), measured=cache.round_trip)


@pytest.mark.stress
@pytest.mark.slow
async def test_cache_stress(load_test_runner: LoadTestRunner, cache: PlanCache, performance_settings: Settings) -> None:
    results = await load_test_runner.run_async_load_test(
        cache.round_trips(KIB),
        concurrent_tasks=performance_settings.measure["stress_workers"].value,
        duration_seconds=performance_settings.measure["stress_duration_sec"].value,
        measured=cache.round_trip,
    )

    assert results["error_rate"] < 0.1
