"""The pytest plugin: options, markers and hooks. It wires the rooms together and decides nothing."""

from __future__ import annotations

import gc
import os
import signal
import sys
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from perf import fixtures
from perf.errors import KnownFaultError, NotOfferedError, PerfError
from perf.judge.schema import FILE, PROFILES
from perf.judge.verdict import RunVerdict
from perf.measure.lockstep import Lockstep
from perf.record import store
from perf.record.index import load_summary, summarise_document
from perf.record.run import Failure, Origin
from perf.report.progress import ProgressLine
from perf.report.terminal import render
from perf.report.writer import write
from perf.services import redis_server
from perf.services.build import installed_build
from perf.session import (
    CARRIED,
    LOCKSTEP,
    PROGRESS,
    SESSION,
    Collected,
    Outcome,
    Part,
    PerformanceSession,
    conclude,
    one_line,
    origin_of,
    performance_session,
)
from perf.settings import read_settings
from perf.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from filelock import FileLock

    from perf.judge.changes import Change
    from perf.judge.thresholds import Settings

_MARKERS = (
    "scalability: the same operation from 1 to 50 tasks at once",
    "memory: what operations do to memory",
    "stress: 100 workers for the profile's duration",
    "slow: takes seconds; leave out with -m 'not slow'",
    "quick: one of the handful that `invoke quick-check` measures",
)
_INSTRUMENTS = {
    "async_benchmark", "performance_profiler", "load_test_runner", "memory_monitor", "performance_thresholds",
    "performance_settings", "redis_service", "model_endpoint", "present_changes", "last_run",
}  # fmt: skip
_UNREAD = Failure(
    origin=Origin(test="a file of this run", service="-", category="-", operation="-"),
    kind="failed",
    reason="pytest could not read it: see above",
)
_REPORT = pytest.StashKey[str]()
_VERDICT = pytest.StashKey[RunVerdict]()
_COLLECTED = pytest.StashKey[Collected]()
_DESELECTED = pytest.StashKey[set[str]]()
_CLAIM: pytest.StashKey[FileLock] = pytest.StashKey()
_SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("khive performance")
    group.addoption(
        "--perf-profile",
        default="dev",
        metavar="NAME",
        help=f"whose limits and effort to use: {', '.join(PROFILES)} (default: dev)",
    )
    group.addoption(
        "--benchmark-report",
        type=Path,
        metavar="PATH",
        help="where to write what changed against the saved runs, as JSON",
    )
    group.addoption(
        "--perf-folder",
        type=Path,
        metavar="DIR",
        help=f"where to save the run (default: {store.FOLDER})",
    )
    group.addoption("--perf-lockstep", type=int, metavar="FD", help="keep step with another build: `nox -s ab` does")


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    # Registered here, after every installed plugin, so that our `benchmark` overrides pytest-benchmark's.
    config.pluginmanager.register(fixtures, "khive_performance_fixtures")
    if (descriptor := config.getoption("perf_lockstep")) is not None:
        config.stash[LOCKSTEP] = Lockstep(descriptor)
        config.pluginmanager.register(Worker(config.stash[LOCKSTEP]), "khive_performance_worker")
    elif not _is_xdist_worker(config):
        config.stash[_COLLECTED] = Collected()
        config.pluginmanager.register(_Reports(config), "khive_performance_reports")
    if "pytest_forked" in sys.modules:
        _mend(sys.modules["pytest_forked"])


def _mend(pytest_forked: Any) -> None:  # noqa: ANN401 - a module without types
    """Let pytest-forked, up to 1.7.5, marshal the reports of pytest 9.2, which hold their test's id as an object."""
    serialize = pytest_forked.serialize_report

    @wraps(serialize)
    def serialize_report(report: pytest.TestReport) -> dict[str, Any]:
        return {key: value for key, value in serialize(report).items() if key != "_id"} | {"nodeid": report.nodeid}

    if not hasattr(serialize, "__wrapped__"):
        pytest_forked.serialize_report = serialize_report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that takes `concurrent_tasks` one run per step of the profile's concurrency."""
    defined = metafunc._arg2fixturedefs  # noqa: SLF001 - the only place that knows a user's own fixture
    if "concurrent_tasks" not in metafunc.fixturenames or "concurrent_tasks" in defined:
        return
    if any("concurrent_tasks" in _argnames(mark) for mark in metafunc.definition.iter_markers("parametrize")):
        return
    try:
        steps = _settings(metafunc.config).measure["concurrency"].value
    except PerfError:
        steps = [1]  # the mistake stops the run in pytest_collection_finish
    metafunc.parametrize("concurrent_tasks", steps)


def _argnames(mark: pytest.Mark) -> Sequence[str]:
    names = mark.kwargs.get("argnames") or mark.args[0]
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hand pytest-benchmark the profile's effort, which its own options and markers override."""
    items.sort(key=lambda item: "present_changes" in getattr(item, "fixturenames", ()))  # when all is measured
    measuring = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
    if not any(_is_performance(config, item) for item in measuring):
        return
    try:
        measure = _settings(config).measure
    except PerfError:
        return  # the mistake stops the run in pytest_collection_finish
    effort = {"min_rounds": measure["rounds"].value, "max_time": measure["seconds_per_benchmark"].value}
    given = {name for name in effort if any(_option(name) in word for word in config.invocation_params.args)}
    for item in measuring:
        marker = item.get_closest_marker("benchmark")
        ours = {name: value for name, value in effort.items() if name not in given}
        item.add_marker(pytest.mark.benchmark(**{**ours, **(marker.kwargs if marker else {})}), append=False)


def _option(name: str) -> str:
    return f"--benchmark-{name.replace('_', '-')}"


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Find every reason not to measure before anything is measured."""
    config = session.config
    items = [item for item in session.items if _is_performance(config, item)]
    if not items or config.option.collectonly:
        return
    try:
        _begin(config, _prepare(config, items))
    except PerfError as error:
        _stop(config, error)


def _begin(config: pytest.Config, session: PerformanceSession) -> None:
    if _saves(config):
        config.stash[_CLAIM] = store.claim(_folder(config))
        if report := config.getoption("benchmark_report"):
            write(report, "")  # what cannot be written is better known before measuring
            report.unlink()
    config.stash[SESSION] = session
    config.stash[PROGRESS] = ProgressLine(config, os.environ)
    for ending in (signal.SIGTERM, signal.SIGHUP):  # a cancelled job ends like Ctrl-C, cleaning up
        signal.signal(ending, signal.default_int_handler)


def _prepare(config: pytest.Config, items: Sequence[pytest.Item]) -> PerformanceSession:
    settings = _settings(config)
    used = {name for item in items for name in item.fixturenames}  # type: ignore[attr-defined]
    if "khive_scratch" in used:
        installed_build()
    if "redis_service" in used:
        redis_server.check(redis_server.choose(settings.environment["redis"].value, os.environ))
    whole = not any("::" in argument for argument in config.args)
    cut = config.stash.setdefault(_DESELECTED, set())
    expected = {origin_of(item).service for item in items} - cut if whole else set()
    switched_off = config.getoption("benchmark_disable") or config.getoption("benchmark_skip")
    untimed = "pytest-benchmark was switched off" if switched_off else None
    return PerformanceSession(settings=settings, expected_services=expected, untimed=untimed)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Note the services that -k or -m cut: their limits may go unmeasured."""
    for item in items:
        item.config.stash.setdefault(_DESELECTED, set()).add(origin_of(item).service)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what the test recorded on its report, which every plugin that runs tests elsewhere sends back."""
    report = yield
    session = item.config.stash.get(SESSION, None)
    if session is None:
        return report
    failure = None if call.excinfo is None else _failure(item, call.excinfo, report)
    vars(report)[CARRIED] = session.hand_over(failure)
    fixture = getattr(item, "funcargs", {}).get("benchmark")
    if report.failed and fixture is not None:
        fixture.has_error = True  # what it timed was not the work
    return report


def _failure(
    item: pytest.Item, raised: pytest.ExceptionInfo[BaseException], report: pytest.TestReport
) -> Failure | None:
    """Return why the test gave no figure; what the build does not offer is skipped under its reason."""
    if raised.errisinstance(NotOfferedError):
        reason = str(raised.value)
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: {reason}")
        kind = "known fault" if raised.errisinstance(KnownFaultError) else "not offered"
        return Failure(origin=origin_of(item), kind=kind, reason=reason)
    reason = one_line(raised.exconly())
    return Failure(origin=origin_of(item), kind="failed", reason=reason) if report.failed else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Keep what earlier tests left out of the garbage collector's pauses, which else are longer in each next test."""
    if SESSION in item.config.stash:
        gc.collect()
        gc.freeze()
    try:
        return (yield)
    finally:
        if PROGRESS in item.config.stash:
            item.config.stash[PROGRESS].erase(item.nodeid)


@pytest.fixture
def present_changes(request: pytest.FixtureRequest) -> Sequence[Change]:
    """What changed in this run against all saved runs it can be compared with; a test that asks for it runs last.

    The test is skipped where this process does not know what was measured: under xdist, and with --forked.
    """
    from perf.judging import against_history

    config = request.config
    session = performance_session(config)
    if session.untimed or session.forked or _is_xdist_worker(config):
        pytest.skip("what other processes measured is not known here: run without -n and --forked")
    outcome = conclude(session, config.stash[_COLLECTED], _pytest_benchmark_document(config))
    present = summarise_document(msgspec.json.encode(outcome.document, enc_hook=repr), "this run")
    return against_history(config.rootpath, session.settings, present, outcome.limits, outcome.verdict).changes


class _Reports:
    """Takes off the tests' reports what they carry, in the one process that judges and saves."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        carried = vars(report).pop(CARRIED, None)
        if carried is not None and SESSION not in self._config.stash:
            _begin_parallel(self._config)
        # Not strict: a duration may have been recorded as a Decimal, which travels as text.
        self._config.stash[_COLLECTED].add(report, msgspec.convert(carried or {}, Part, strict=False))


def _begin_parallel(config: pytest.Config) -> None:
    """Begin in the process that controls xdist's workers: their first report is how it learns that they measure."""
    try:
        _begin(config, PerformanceSession(settings=_settings(config), untimed="Tests ran in parallel under xdist"))
    except PerfError as error:
        _stop(config, error)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ANN401, ARG001 - xdist's hook and types
    """Say, in the process that controls xdist's workers, why a worker measured nothing."""
    if problem := getattr(node, "workeroutput", {}).get(CARRIED):
        _stop(node.config, PerfError(problem))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Judge and save what was measured, unless the run was cut short."""
    config = session.config
    measured = config.stash.get(SESSION, None)
    if measured is None or not _saves(config):
        return
    if exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        _write(config, "The run was cut short: nothing was judged, nothing was saved.", red=True)
        return
    collected = config.stash[_COLLECTED]
    if exitstatus == pytest.ExitCode.TESTS_FAILED and all(one.kind != "failed" for one in collected.failures.values()):
        collected.failures[_UNREAD.origin.test] = _UNREAD
    outcome = conclude(measured, collected, _pytest_benchmark_document(config))
    config.stash[_REPORT] = render(outcome.run, outcome.limits, outcome.verdict, outcome.leaks, outcome.scalings)
    config.stash[_VERDICT] = outcome.verdict
    session.exitstatus = outcome.verdict.exit_code
    if outcome.run.measurements or outcome.run.failures:
        _save(session, outcome)
    else:
        config.stash[_REPORT] += "\nNothing was measured, so no run was saved."


def _save(session: pytest.Session, outcome: Outcome) -> None:
    try:
        path = store.save(outcome.document, _folder(session.config))
        said = f"Wrote the run to {os.path.relpath(path)}"
        if report := session.config.getoption("benchmark_report"):
            said += f"\n{_report(session.config, outcome, path, report)}"
    except PerfError as error:
        session.exitstatus = error.exit_code
        said = str(error)
    session.config.stash[_REPORT] += f"\n{said}"


def _folder(config: pytest.Config) -> Path:
    return config.getoption("perf_folder") or config.rootpath / store.FOLDER


def _report(config: pytest.Config, outcome: Outcome, run: Path, report: Path) -> str:
    """Write what changed against the saved runs, and return the line that says so."""
    from perf.judging import against_history
    from perf.report.summary import summarise

    present = load_summary(run)
    judgement = against_history(config.rootpath, _settings(config), present, outcome.limits, outcome.verdict)
    content = msgspec.json.encode(summarise(judgement, datetime.now(UTC)))
    return write(report, msgspec.json.format(content, indent=2).decode() + "\n")


def _pytest_benchmark_document(config: pytest.Config) -> dict[str, Any]:
    """Return the document pytest-benchmark would save, raw rounds included, also when it timed nothing."""
    hook, benchmarks = config.hook, config._benchmarksession  # type: ignore[attr-defined]  # noqa: SLF001
    commit_info = hook.pytest_benchmark_generate_commit_info(config=config)
    hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit_info)
    document = hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=benchmarks.benchmarks,
        include_data=True,
        machine_info=benchmarks.get_machine_info(),
        commit_info=commit_info,
    )
    hook.pytest_benchmark_update_json(config=config, benchmarks=benchmarks.benchmarks, output_json=document)
    return document  # type: ignore[no-any-return]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _REPORT in config.stash:
        terminalreporter.section("khive performance")
        terminalreporter.write_line(config.stash[_REPORT])


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the next run measure, and print the verdict word last, below pytest's own closing line."""
    if _CLAIM in config.stash:
        config.stash[_CLAIM].release()
    if _VERDICT in config.stash:
        _write(config, f"verdict: {config.stash[_VERDICT].word}", bold=True)


def _is_xdist_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _saves(config: pytest.Config) -> bool:
    """Whether this process judges and saves: not where others are told what it measured."""
    return not _is_xdist_worker(config) and LOCKSTEP not in config.stash


def _is_performance(config: pytest.Config, item: pytest.Item) -> bool:
    """Whether a test measures: it uses an instrument of ours, or `benchmark` where there are limits to judge by."""
    names = set(getattr(item, "fixturenames", ()))
    return bool(names & _INSTRUMENTS) or ("benchmark" in names and (config.rootpath / FILE).exists())


def _settings(config: pytest.Config) -> Settings:
    if _SETTINGS not in config.stash:
        config.stash[_SETTINGS] = read_settings(config.rootpath, os.environ, config.getoption("perf_profile"))
    return config.stash[_SETTINGS]


def _stop(config: pytest.Config, error: PerfError) -> None:
    _write(config, str(error), red=True)
    if _is_xdist_worker(config):
        config.workeroutput[CARRIED] = str(error)  # type: ignore[attr-defined]
    pytest.exit("nothing was measured", returncode=error.exit_code)


def _write(config: pytest.Config, text: str, **markup: bool) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        reporter.ensure_newline()
        reporter.write_line(text, **markup)
