"""The pytest fixtures of the suite; whatever a test records through them lands in the saved run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from perf.measure.awaitable import AwaitableBenchmark, SyncBenchmark
from perf.measure.load import LoadTestRunner
from perf.measure.memory import MemoryMonitor
from perf.measure.profiler import PerformanceProfiler
from perf.record import store
from perf.record.run import from_benchmarks, from_growth, from_knee, from_load, from_memory, from_profiler
from perf.services import endpoint, redis_server
from perf.services.build import subject_of
from perf.services.lionagi import forget_logs
from perf.services.repository import furnish, variables
from perf.services.scratch import scratch_folder
from perf.session import LOCKSTEP, PROGRESS, SESSION, origin_of, performance_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from perf.judge.thresholds import Settings
    from perf.record.run import Run
    from perf.services.endpoint import Endpoint
    from perf.services.redis_server import RedisServer


@pytest.fixture
def _progress(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tell a person at the terminal how far a long test is."""
    performance_session(request.config)
    line = request.config.stash[PROGRESS]
    return lambda text: line.draw(f"{request.node.name} {text}")


@pytest.fixture
def performance_profiler(request: pytest.FixtureRequest) -> Iterator[PerformanceProfiler]:
    """A `PerformanceProfiler` of the test's own."""
    profiler, origin = PerformanceProfiler(), origin_of(request.node)
    yield profiler
    subject = subject_of(profiler.measured) if profiler.measured else f"what {origin.test} records"
    subjects = {name: subject_of(measured) for name, measured in profiler.measured_by_type.items()}
    performance_session(request.config).measurements += from_profiler(profiler, origin, subject, subjects)


@pytest.fixture
def load_test_runner(
    request: pytest.FixtureRequest,
    performance_profiler: PerformanceProfiler,
    _progress: Callable[[str], None],
) -> Iterator[LoadTestRunner]:
    """A `LoadTestRunner` that records through the test's profiler."""
    runner, origin = LoadTestRunner(performance_profiler, progress=_progress), origin_of(request.node)
    yield runner
    performance_session(request.config).measurements += [
        *(from_load(result, origin, subject_of(result["measured"])) for result in runner.results),
        *(from_knee(knee, origin, subject_of(knee["measured"])) for knee in runner.knees),
    ]


@pytest.fixture
def memory_monitor(request: pytest.FixtureRequest, _progress: Callable[[str], None]) -> Iterator[MemoryMonitor]:
    """A `MemoryMonitor`: call it with an operation; `measure` is for many calls, `measure_growth` finds leaks."""
    monitor, origin = MemoryMonitor(progress=_progress), origin_of(request.node)
    yield monitor
    performance_session(request.config).measurements += [
        *(from_memory(reading, origin, subject_of(reading["measured"])) for reading in monitor.readings),
        *(
            from_growth(one["growth"], one["operation_type"], origin, subject_of(one["measured"]))
            for one in monitor.growths
        ),
    ]


@pytest.fixture
def performance_thresholds(performance_settings: Settings) -> Mapping[str, Mapping[str, float]]:
    """The limits in force, as numbers: `performance_thresholds["cache"]["cache_get_ms"]`."""
    return performance_settings.numbers


@pytest.fixture(scope="session")
def performance_settings(request: pytest.FixtureRequest) -> Settings:
    """Everything the profile asks for; `performance_settings.measure` is how hard to measure."""
    return performance_session(request.config).settings


@pytest.fixture(scope="session")
def last_run(request: pytest.FixtureRequest, performance_settings: Settings) -> Run | None:
    """The newest saved run of this profile, None before the first; UnreadableRunError where it is damaged."""
    return store.newest(request.config.rootpath / store.FOLDER, performance_settings.profile)


@pytest.fixture
def benchmark(benchmark: SyncBenchmark, request: pytest.FixtureRequest) -> Iterator[SyncBenchmark]:
    """pytest-benchmark's fixture, which refuses coroutine functions and notes what it measured."""
    origin, session = origin_of(request.node), request.config.stash.get(SESSION, None)
    benchmark.__class__ = SyncBenchmark
    benchmark.lockstep = request.config.stash.get(LOCKSTEP, None)
    benchmark.group = benchmark.group or origin.service
    yield benchmark
    if benchmark.measured is not None:
        benchmark.extra_info |= {
            "service": origin.service,
            "category": origin.category,
            "operation": origin.operation,
            "subject": subject_of(benchmark.measured),
        }
    # What pytest-benchmark lists in a forked child is lost with it, so these rounds go the way of all other figures.
    if session is not None and session.forked and benchmark.stats and not benchmark.has_error:
        session.measurements += from_benchmarks([benchmark.stats.as_dict()])


@pytest.fixture
def async_benchmark(benchmark: SyncBenchmark) -> AwaitableBenchmark:
    """An awaitable benchmark for `async def` tests, measured inside the running loop."""
    return AwaitableBenchmark(benchmark)


@pytest.fixture(scope="session")
def redis_service(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A real Redis server: the one PERF_REDIS_URL names, an installed one, or the one from a wheel."""
    session = performance_session(request.config)
    choice = redis_server.choose(session.settings.environment["redis"].value, os.environ)
    with redis_server.running(choice) as server:
        session.services["redis"] = str(server)
        yield server


@pytest.fixture(scope="session")
def model_endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """The model endpoint khive calls: a stand-in on loopback, or the one PERF_MODEL_URL names."""
    session = performance_session(request.config)
    latency = session.settings.environment["model_latency_sec"].value
    with endpoint.running(latency, os.environ) as running:
        session.services["model endpoint"] = f"model endpoint: {running.description}"
        yield running


@pytest.fixture(scope="session")
def khive_repository(performance_settings: Settings) -> Iterator[Path]:
    """The run's scratch folder, furnished as a repository khive can work in; it is gone after the run."""
    with scratch_folder(prefix="khive-perf-") as folder:
        furnish(folder, performance_settings.environment["model_latency_sec"].value)
        yield folder
        forget_logs()


@pytest.fixture
def khive_scratch(monkeypatch: pytest.MonkeyPatch, khive_repository: Path, model_endpoint: Endpoint) -> Path:
    """The scratch folder, which the test stands in, with the variables khive needs set."""
    for name, value in (model_endpoint.environment | variables(khive_repository, os.environ)).items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.startswith("GIT_")]:  # a hook's, which name another repository
        monkeypatch.delenv(name)
    monkeypatch.chdir(khive_repository)
    return khive_repository
