"""khive's sessions: created, saved, loaded, with 1 to 100 branches; hook events; many at once, memory, stress."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from benchmarks.conftest import Measure, MeasureLeak
    from perf.measure.awaitable import AwaitableBenchmark, SyncBenchmark
    from perf.services.session import Sessions

BRANCHES = pytest.mark.parametrize("branches", [1, 10, 100])
HUNDREDS_OF_MILLISECONDS = pytest.mark.benchmark(min_rounds=5)
EVENTS = 100


@pytest.mark.quick
@pytest.mark.benchmark
async def test_session_create(async_benchmark: AwaitableBenchmark, sessions: Sessions) -> None:
    orchestrator = await async_benchmark(sessions.create)

    assert list(orchestrator.session.branches) == [orchestrator.orc_branch]


@HUNDREDS_OF_MILLISECONDS
@BRANCHES
async def test_session_grow(async_benchmark: AwaitableBenchmark, sessions: Sessions, branches: int) -> None:
    orchestrator = await async_benchmark(sessions.create_with, branches)

    assert len({branch.id for branch in orchestrator.session.branches}) == branches


@HUNDREDS_OF_MILLISECONDS
@BRANCHES
async def test_session_save(async_benchmark: AwaitableBenchmark, sessions: Sessions, branches: int) -> None:
    orchestrator = await sessions.to_save(branches)

    await async_benchmark(orchestrator.save_json)

    saved = sessions.saved(orchestrator)
    assert saved["metadata"]["id"] == str(orchestrator.session.id)
    assert len(saved["branches"]) == branches - 1


@pytest.mark.benchmark
async def test_session_load(async_benchmark: AwaitableBenchmark, sessions: Sessions) -> None:
    load = await sessions.loader()
    orchestrator = await sessions.to_save()
    await orchestrator.save_json()

    loaded = await async_benchmark(load, sessions.saved(orchestrator)["path"])

    assert loaded.orc_branch.id == orchestrator.orc_branch.id


@pytest.mark.benchmark
async def test_branch_load(benchmark: SyncBenchmark, sessions: Sessions) -> None:
    """The costly step of loading, which works where loading as a whole does not."""
    orchestrator = await sessions.to_save()
    await orchestrator.save_json()
    saved = json.dumps(sessions.saved(orchestrator)["session_default_branch"])

    def fresh_copy() -> tuple[tuple[dict[str, Any]], dict[str, Any]]:
        return (json.loads(saved),), {}

    branch = benchmark.pedantic(sessions.load_branch, setup=fresh_copy, rounds=10, warmup_rounds=1)

    assert branch.id == orchestrator.orc_branch.id


@pytest.mark.benchmark
async def test_hook_event_write(async_benchmark: AwaitableBenchmark, sessions: Sessions) -> None:
    sessions.forget_events()
    written = []

    async def fresh_event() -> tuple[object]:
        written.append(uuid4().hex)
        return (sessions.hook_event(written[-1]),)

    await async_benchmark.pedantic(sessions.save_event, setup=fresh_event)

    assert sorted(event.content["session_id"] for event in await sessions.all_events()) == sorted(written)


@pytest.mark.benchmark
async def test_hook_events_read(async_benchmark: AwaitableBenchmark, sessions: Sessions) -> None:
    sessions.forget_events()
    for _ in range(EVENTS):
        await sessions.hook_event("read").save()

    events = await async_benchmark(sessions.all_events)

    assert [event.content["session_id"] for event in events] == EVENTS * ["read"]


@pytest.mark.benchmark
async def test_hook_events_of_session(async_benchmark: AwaitableBenchmark, sessions: Sessions) -> None:
    sessions.forget_events()
    read = await sessions.events_reader()
    for number in range(EVENTS):
        await sessions.hook_event(f"session-{number % 10}").save()

    events = await async_benchmark(read, "session-3")

    assert [event.content["session_id"] for event in events] == (EVENTS // 10) * ["session-3"]


@pytest.mark.benchmark
@pytest.mark.parametrize("action", ["init", "status"])
async def test_session_service(async_benchmark: AwaitableBenchmark, sessions: Sessions, action: str) -> None:
    handle, request = sessions.service.handle_request, sessions.request(action)
    sessions.leave_notes()

    response = await async_benchmark(handle, request)

    assert sessions.fault(response) is None


@pytest.mark.benchmark
async def test_session_service_end(async_benchmark: AwaitableBenchmark, sessions: Sessions) -> None:
    """The end of a session, which marks each summary that a diary has taken up."""
    handle = sessions.service.handle_request

    async def fresh_notes() -> tuple[object]:
        sessions.leave_notes()
        return (sessions.request("end"),)

    response = await async_benchmark.pedantic(handle, setup=fresh_notes)

    assert response.success, response.error
    assert sessions.fault(await handle(sessions.request("status")), summaries=0) is None


@pytest.mark.scalability
@pytest.mark.slow
async def test_sessions_at_once(at_once: Measure, sessions: Sessions) -> None:
    await at_once(await sessions.round_trips(), measured=sessions.round_trip)


@pytest.mark.scalability
@pytest.mark.slow
async def test_session_requests_at_once(at_once: Measure, sessions: Sessions) -> None:
    """Requests to one service, which a lock of khive's lets through one by one."""
    await at_once(sessions.inits())


@pytest.mark.scalability
@pytest.mark.slow
async def test_session_knee(knee_of: Measure, sessions: Sessions) -> None:
    await knee_of(sessions.create, 100, "session_create_ms", measured=sessions.create)


@pytest.mark.scalability
@pytest.mark.slow
async def test_sessions_in_processes(in_processes: Measure, sessions: Sessions) -> None:
    await in_processes("session", measured=sessions.round_trip)


@pytest.mark.memory
async def test_session_memory(memory_of: Measure, sessions: Sessions) -> None:
    """What each session takes while all of them are kept, so many that what is free already cannot hold them."""
    kept = []

    async def keep_another() -> None:
        kept.append(await sessions.create())

    await memory_of(keep_another, times=10, measured=sessions.create, operation_type="session")

    assert len({one.session.id for one in kept}) == len(kept)


@pytest.mark.memory
async def test_session_leak(leak_of: MeasureLeak, sessions: Sessions) -> None:
    await leak_of(sessions.create, measured=sessions.create)


@pytest.mark.stress
@pytest.mark.slow
async def test_session_stress(under_stress: Measure, sessions: Sessions) -> None:
    await under_stress(await sessions.round_trips(), measured=sessions.round_trip)


@pytest.mark.stress
@pytest.mark.slow
async def test_session_request_stress(under_stress: Measure, sessions: Sessions) -> None:
    await under_stress(sessions.inits())
