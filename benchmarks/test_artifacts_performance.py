"""khive's artifacts: registry, dependency graphs, fan-out, timeouts, documents, many at once, memory, stress."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import TYPE_CHECKING

import pytest

from perf.services.artifacts import round_trips

if TYPE_CHECKING:
    from benchmarks.conftest import Measure, MeasureLeak
    from perf import PerformanceProfiler
    from perf.measure.awaitable import AwaitableBenchmark, SyncBenchmark
    from perf.services.artifacts import Artifacts

KIB = 1024
SENTENCE = "Each order has a key; what was seen before is dropped.\n"
ENTRIES = pytest.mark.parametrize("entries", [10, 100, 1000])
SIZES = pytest.mark.parametrize("size", [KIB, 10 * KIB, 100 * KIB], ids=["1KiB", "10KiB", "100KiB"])
TENTHS_OF_SECONDS = pytest.mark.benchmark(min_rounds=5)


def text_of(size: int) -> str:
    return (SENTENCE * (size // len(SENTENCE) + 1))[:size]


@pytest.mark.benchmark
@ENTRIES
async def test_registry_save(benchmark: SyncBenchmark, artifacts: Artifacts, entries: int) -> None:
    coordinator = artifacts.coordinator()
    artifacts.fill(coordinator, entries)

    benchmark(coordinator.save_artifact_registry)

    assert json.loads(coordinator.registry_path.read_text()) == coordinator.artifact_registry


@pytest.mark.benchmark
@ENTRIES
async def test_registry_load(benchmark: SyncBenchmark, artifacts: Artifacts, entries: int) -> None:
    coordinator = artifacts.coordinator()
    artifacts.fill(coordinator, entries)
    coordinator.save_artifact_registry()
    saved, coordinator.artifact_registry = coordinator.artifact_registry, None

    benchmark(coordinator.load_artifact_registry)

    assert coordinator.artifact_registry == saved


@pytest.mark.benchmark
async def test_registry_growth(performance_profiler: PerformanceProfiler, artifacts: Artifacts) -> None:
    """Artifacts registered one by one, for each of which khive writes the whole registry."""
    coordinator = artifacts.coordinator()
    artifacts.fill(coordinator, 500)
    entries, coordinator.artifact_registry["artifacts"] = coordinator.artifact_registry["artifacts"], []
    performance_profiler.measured = coordinator.save_artifact_registry

    for entry in entries:
        coordinator.artifact_registry["artifacts"].append(entry)
        with performance_profiler.timed("registry_growth"):
            coordinator.save_artifact_registry()

    times = [operation.duration for operation in performance_profiler.operations]
    performance_profiler.add_custom_metric("last_tenth_to_first_tenth", sum(times[-50:]) / sum(times[:50]))
    assert len(json.loads(coordinator.registry_path.read_text())["artifacts"]) == len(entries)


@pytest.mark.benchmark
@pytest.mark.parametrize("agents", [5, 20, 50, 100, 200])
async def test_dependency_graph(benchmark: SyncBenchmark, artifacts: Artifacts, agents: int) -> None:
    coordinator, specs = artifacts.coordinator(), artifacts.agents(agents)

    benchmark(coordinator.build_dependency_graph, specs)

    assert len(coordinator.execution_graph) == agents
    assert len(coordinator.get_ready_agents()) == 5


@TENTHS_OF_SECONDS
@pytest.mark.parametrize("agents", [5, 20])
async def test_parallel_fanout(async_benchmark: AwaitableBenchmark, artifacts: Artifacts, agents: int) -> None:
    """Agents run in the order of their dependencies, including khive's own pause of 0.1 s for each."""
    coordinator = await async_benchmark(await artifacts.fan_outs(), agents)

    assert len(coordinator.completed_agents) == agents
    assert len(json.loads(coordinator.registry_path.read_text())["artifacts"]) == agents


@pytest.mark.quick
@pytest.mark.benchmark
async def test_timeout_overhead(async_benchmark: AwaitableBenchmark, artifacts: Artifacts) -> None:
    """What the timeout manager adds to an operation that yields once to the event loop and does no more."""
    manager, done = artifacts.timeouts(), asyncio.Event()

    result = await async_benchmark(manager.execute_with_timeout, "operation", artifacts.timeout_type, asyncio.sleep, 0)

    assert result.status == "completed"
    assert await manager.execute_with_timeout("last", artifacts.timeout_type, done.set)
    assert done.is_set()
    assert not manager.get_active_operations()


@pytest.mark.benchmark
@SIZES
async def test_file_write(async_benchmark: AwaitableBenchmark, artifacts: Artifacts, size: int) -> None:
    documents, text, written = await artifacts.documents(), text_of(size), []

    async def fresh_name() -> tuple[object, str]:
        written.append(next(documents.names))
        return written[-1], text

    await async_benchmark.pedantic(documents.write, setup=fresh_name)

    assert {await documents.read(name) for name in written} == {text}


@pytest.mark.benchmark
@SIZES
async def test_file_read(async_benchmark: AwaitableBenchmark, artifacts: Artifacts, size: int) -> None:
    documents = await artifacts.documents()
    name = next(documents.names)
    await documents.write(name, text_of(size))

    assert await async_benchmark(documents.read, name) == text_of(size)


@pytest.mark.benchmark
async def test_document_append(async_benchmark: AwaitableBenchmark, artifacts: Artifacts) -> None:
    """A second contribution to a document that several agents write."""
    service, kind, session = await artifacts.service()
    numbers = count()

    async def fresh_document() -> tuple[str, str, str, object]:
        document = await service.create_document(session, f"report_{next(numbers)}", kind, SENTENCE)
        return session, document.name, SENTENCE, document.contributions[0].author

    appended = await async_benchmark.pedantic(service.append_to_deliverable, setup=fresh_document)

    assert appended.content.count(SENTENCE) == 2


@pytest.mark.benchmark
async def test_artifact_listing(async_benchmark: AwaitableBenchmark, artifacts: Artifacts) -> None:
    """The registry of a session with a hundred documents, read and checked."""
    service, _, session = await artifacts.filled(100)

    registry = await async_benchmark(service.get_artifact_registry, session)

    assert len(registry.artifacts) == 100


@pytest.mark.benchmark
async def test_document_listing(async_benchmark: AwaitableBenchmark, artifacts: Artifacts) -> None:
    names = await async_benchmark(await artifacts.lister(100))

    assert len(set(names)) == 100


@pytest.mark.benchmark
async def test_artifact_session(async_benchmark: AwaitableBenchmark, artifacts: Artifacts) -> None:
    """A new session, with the folders that its documents go to."""
    service, kind, _ = await artifacts.service()

    session = await async_benchmark(service.create_session)

    assert session.id in await service.list_sessions()
    assert session.get_document_type_path(kind).is_dir()


@pytest.mark.scalability
async def test_documents_at_once(at_once: Measure, artifacts: Artifacts) -> None:
    round_trip = round_trips(await artifacts.documents(), text_of(10 * KIB))

    await at_once(round_trip, times=10, measured=round_trip)


@pytest.mark.scalability
async def test_registrations_at_once(at_once: Measure, artifacts: Artifacts) -> None:
    """Documents added to one session, whose registry must hold each."""
    create, registered = await artifacts.creator()
    before = await registered()

    results = await at_once(create)

    assert await registered() == before + results["successful_operations"]


@pytest.mark.scalability
@pytest.mark.slow
async def test_document_knee(knee_of: Measure, artifacts: Artifacts) -> None:
    round_trip = round_trips(await artifacts.documents(), text_of(KIB))

    await knee_of(round_trip, 500, "file_write_ms", measured=round_trip)


@pytest.mark.scalability
@pytest.mark.slow
async def test_documents_in_processes(in_processes: Measure, artifacts: Artifacts) -> None:
    await in_processes("artifacts", measured=round_trips(await artifacts.documents(), ""))


@pytest.mark.memory
async def test_document_memory(memory_of: Measure, artifacts: Artifacts) -> None:
    round_trip = round_trips(await artifacts.documents(), text_of(100 * KIB))

    await memory_of(round_trip, measured=round_trip)


@pytest.mark.memory
async def test_document_leak(leak_of: MeasureLeak, artifacts: Artifacts) -> None:
    round_trip = round_trips(await artifacts.documents(), text_of(10 * KIB))

    await leak_of(round_trip, measured=round_trip)


@pytest.mark.stress
@pytest.mark.slow
async def test_document_stress(under_stress: Measure, artifacts: Artifacts) -> None:
    round_trip = round_trips(await artifacts.documents(), text_of(10 * KIB))

    await under_stress(round_trip, measured=round_trip)
