"""The ways to run a measuring session: parts of it, side by side, forked, run again, into a JUnit file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import psutil
import pytest

from perf.record.store import FOLDER, claim, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest import Pytester, RunResult  # noqa: PT013 - `Pytester` alone is a type here

    from perf.record.run import Run

LIMITS = """
[defaults.limits.custom]
work_ms = 100
memory_limit_mb = 1000
throughput_ops_per_sec = 1

[defaults.limits.other]
rest_ms = 100
"""
IMPORTS = "import asyncio, os, pathlib, pytest\nfrom perf.errors import NotOfferedError\n"
CUSTOM = """
def test_work(performance_profiler):
    for _ in range(30):
        performance_profiler.record_operation(0.001, operation_type="work")
    performance_profiler.add_custom_metric("hit_ratio", 0.75)

@pytest.mark.slow
@pytest.mark.scalability
async def test_load(load_test_runner):
    await load_test_runner.run_async_load_test(lambda: asyncio.sleep(0), concurrent_tasks=2, operations_per_task=4)

@pytest.mark.memory
def test_memory(memory_monitor):
    memory_monitor(sorted, [1])
"""
OTHER = """
def test_rest(performance_profiler):
    for _ in range(30):
        performance_profiler.record_operation(0.001, operation_type="rest")
"""
TIMED = """
def test_work(benchmark):
    benchmark(sorted, [2, 1])

async def test_wait(async_benchmark):
    await async_benchmark(asyncio.sleep, 0)
"""
FAILS_TWICE = """
def test_work(performance_profiler):
    attempts = pathlib.Path("attempts")
    attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")
    count = len(attempts.read_text())
    for _ in range(30):
        performance_profiler.record_operation(0.001 * count, operation_type="work")
    assert count == 3, f"no luck in attempt {count}"
"""
PASSED, FAILED, INTERRUPTED, INCONCLUSIVE = 0, 1, 2, 3
PARALLEL = ("-n", "2", "--dist=loadscope")
RERUNS = ("--reruns", "2")


@pytest.fixture
def project(project: Pytester) -> Pytester:
    """A folder with the modules of two services, limits for both, and a folder of its own for temporary files."""
    with (project.path / "thresholds.toml").open("a", encoding="utf-8") as file:
        file.write(LIMITS)
    write(project, CUSTOM, OTHER)
    return project


@pytest.fixture
def leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Give a function that lists the folders and processes a run has left behind, once they had time to go."""
    with TemporaryDirectory(prefix="left-") as folder:  # a short path, for a socket's may have 107 characters
        monkeypatch.setenv("TMPDIR", folder)

        def left() -> list[str]:
            deadline = time.monotonic() + 5
            while (found := [*_folders(folder), *_processes(folder)]) and time.monotonic() < deadline:
                time.sleep(0.02)
            return found

        yield left


def _folders(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir() if path.name.startswith("khive-perf")]


def _processes(folder: str) -> list[str]:
    """List the processes whose command or environment names `folder`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if folder in "".join([*process.cmdline(), process.environ().get("TMPDIR", "")]):
                found.append(" ".join(process.cmdline()))
    return found


def write(project: Pytester, custom: str, other: str = "") -> None:
    project.makepyfile(test_custom_performance=IMPORTS + custom, test_other_performance=IMPORTS + other)


def run(project: Pytester, *arguments: str) -> RunResult:
    return project.runpytest_subprocess("--benchmark-max-time=0.001", *arguments)


def saved(project: Pytester) -> Run:
    """Return the one saved run."""
    (path,) = (project.path / FOLDER).glob("*.json")
    return load(path)


def measured(project: Pytester) -> set[tuple[str, str]]:
    """Return the kind and operation of everything in the one saved run."""
    return {(one.kind, one.operation) for one in saved(project).measurements}


def ending(result: RunResult) -> tuple[int, str]:
    """Return the exit code, and the last line of standard output that says anything."""
    return int(result.ret), [line for line in result.outlines if line.strip()][-1]


WORK = {("latency", "work"), ("process", "work")}
LOAD = {("load", "load"), ("process", "load")}
MEMORY = {("memory", "memory")}
REST = {("latency", "rest")}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-v",), WORK | LOAD | MEMORY | REST),
        (("test_other_performance.py",), REST),
        (("-m", "not slow"), WORK | MEMORY | REST),
        (("-k", "rest or memory"), MEMORY | REST),
    ],
    ids=["all", "module", "not slow", "k"],
)
def test_a_part_of_the_tests(project: Pytester, arguments: tuple[str, ...], expected: set[tuple[str, str]]) -> None:
    """What is selected is measured, nothing else is, and the run can pass on it."""
    result = run(project, *arguments)

    assert ending(result) == (PASSED, "verdict: passed")
    assert measured(project) == expected


def test_workers_measurements_are_in_the_saved_run(project: Pytester) -> None:
    """Under xdist load, memory, process and custom figures of all workers come together in one saved run."""
    result = run(project, "-n", "auto", "--dist=loadscope")

    assert ending(result) == (INCONCLUSIVE, "verdict: inconclusive")
    assert measured(project) == WORK | LOAD | MEMORY | REST
    assert [one.custom for one in saved(project).measurements if one.custom] == [{"hit_ratio": [0.75]}]


def test_side_by_side_no_timing_is_judged(project: Pytester) -> None:
    """Under xdist memory is judged and no latency or throughput, held or broken: the run says so and is no pass."""
    write(project, CUSTOM.replace("0.001", "0.9"))

    result = run(project, *PARALLEL)

    assert ending(result) == (INCONCLUSIVE, "verdict: inconclusive")
    result.stdout.fnmatch_lines(
        ["*memory_limit_mb*passed*", "Tests ran in parallel under xdist: no timing was judged*"]
    )
    result.stdout.no_fnmatch_line("*work_ms*")
    result.stdout.no_fnmatch_line("*throughput_ops_per_sec*")
    kept = saved(project)
    assert (kept.untimed, kept.verdict) == ("Tests ran in parallel under xdist", "inconclusive")
    assert {one.name for one in kept.limits if one.service == "custom"} == {"memory_limit_mb"}


def test_side_by_side_a_broken_memory_limit_fails(project: Pytester) -> None:
    """Under xdist a broken memory limit fails the run as it does in any other."""
    hungry = "kept = []\ndef test_memory(memory_monitor):\n    memory_monitor(lambda: kept.append(b'x' * 50_000_000))\n"
    write(project, hungry)
    limits = project.path / "thresholds.toml"
    limits.write_text(limits.read_text("utf-8").replace("memory_limit_mb = 1000", "memory_limit_mb = 10"), "utf-8")

    result = run(project, *PARALLEL)

    assert ending(result) == (FAILED, "verdict: failed")
    result.stdout.fnmatch_lines(["*memory_limit_mb*broken*", "1 limit broken*"])


def test_a_failure_in_a_worker_is_listed(project: Pytester) -> None:
    """Under xdist a failed test fails the run, with its reason, and what it measured is left out."""
    write(project, CUSTOM.replace("0.75)", "0.75)\n    raise ValueError('no luck')"), OTHER)

    result = run(project, *PARALLEL)

    assert ending(result) == (FAILED, "verdict: failed")
    assert [(one.kind, one.reason, one.origin.operation) for one in saved(project).failures] == [
        ("failed", "ValueError: no luck", "work")
    ]
    assert measured(project) == LOAD | MEMORY | REST


def test_what_the_build_does_not_offer_is_listed_by_workers_too(project: Pytester) -> None:
    """Under xdist an operation that the build lacks is skipped and listed with its reason."""
    write(project, CUSTOM, "def test_rest(performance_profiler):\n    raise NotOfferedError('no rest')\n")

    result = run(project, *PARALLEL)

    result.assert_outcomes(passed=3, skipped=1)
    assert [(one.kind, one.reason) for one in saved(project).failures] == [("not offered", "no rest")]


@pytest.mark.parametrize("way", [PARALLEL, ("--forked",)], ids=["xdist", "forked"])
@pytest.mark.parametrize("crash", ["os._exit(0)", "os.kill(os.getpid(), 11)"], ids=["exit", "signal"])
def test_a_crash_is_a_failed_test(project: Pytester, way: tuple[str, ...], crash: str) -> None:
    """A process that ends in the middle of a test fails the run, and the test is named; the others count."""
    write(project, f"def test_work(performance_profiler):\n    {crash}\n", OTHER)

    result = run(project, *way)

    assert ending(result) == (FAILED, "verdict: failed")
    (failure,) = saved(project).failures
    assert (failure.kind, failure.origin.service, failure.origin.operation) == ("failed", "custom", "work")
    assert measured(project) == REST


def test_bad_settings_are_said_once(project: Pytester) -> None:
    """Under xdist a mistake in the settings ends the run with exit code 2 and is printed once, whatever the workers."""
    with (project.path / "thresholds.toml").open("a", encoding="utf-8") as file:
        file.write("[defaults.limits.third]\nwork_ms = -1\n")

    result = run(project, *PARALLEL)

    assert result.ret == INTERRUPTED
    assert result.stdout.str().count("thresholds.toml: defaults.limits.third.work_ms: must be") == 1
    assert not (project.path / FOLDER).exists()


def test_a_run_side_by_side_waits_for_no_other(project: Pytester) -> None:
    """Under xdist as elsewhere a run refuses to measure beside another: only one holds the folder."""
    with claim(project.path / FOLDER):
        result = run(project, *PARALLEL)

    assert result.ret == INTERRUPTED
    result.stdout.fnmatch_lines(["another run is measuring in this folder*"])
    assert not list((project.path / FOLDER).glob("*.json"))


def test_workers_start_and_stop_their_own_redis(project: Pytester, leftovers: Callable[[], list[str]]) -> None:
    """Under xdist the Redis that a worker used is named in the run, and none is left."""
    uses_redis = "def test_redis(redis_service, performance_profiler):\n    performance_profiler.start_measurement()\n"
    write(project, uses_redis, uses_redis)

    run(project, *PARALLEL).assert_outcomes(passed=2)

    (line,) = saved(project).environment["services"]
    assert line.startswith("Redis ")
    assert leftovers() == []


WAITS = """
import time
def test_redis(redis_service, khive_repository):
    pathlib.Path(f"started_{os.getpid()}").touch()
    time.sleep(60)
"""


@pytest.mark.parametrize(("way", "tests"), [(PARALLEL, 2), (("--forked",), 1)], ids=["xdist", "forked"])
def test_ctrl_c_leaves_nothing_behind(
    project: Pytester, leftovers: Callable[[], list[str]], way: tuple[str, ...], tests: int
) -> None:
    """After Ctrl-C there is no server, no folder and no saved run, and the exit code says it was cut short."""
    write(project, WAITS, WAITS)
    # Ctrl-C may be ignored where these tests were started from.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "pytest", *way]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while len(list(project.path.glob("started_*"))) < tests and time.monotonic() < deadline:
            time.sleep(0.05)

        os.killpg(process.pid, signal.SIGINT)

    assert len(list(project.path.glob("started_*"))) == tests
    assert process.returncode == INTERRUPTED
    assert leftovers() == []
    assert not list((project.path / FOLDER).glob("*.json"))


def test_what_a_forked_child_timed_is_judged(project: Pytester) -> None:
    """Under --forked the rounds of both benchmark fixtures are in the saved run, and their limits are judged."""
    write(project, TIMED + CUSTOM.replace("test_work", "test_profiled").replace('"work"', '"profiled"'))

    result = run(project, "--forked")

    assert ending(result) == (PASSED, "verdict: passed")
    result.stdout.fnmatch_lines(["*work_ms*passed*"])
    found = {(one.kind, one.operation): one for one in saved(project).measurements}
    assert len(found["latency", "work"].samples) >= 25
    assert len(found["latency", "wait"].samples) >= 25
    assert found["latency", "work"].subject == "builtins.sorted"
    assert LOAD | MEMORY | {("latency", "profiled")} <= set(found)


def test_a_forked_child_can_break_a_limit(project: Pytester) -> None:
    """Under --forked a limit that a child's rounds break fails the run."""
    limits = project.path / "thresholds.toml"
    limits.write_text(limits.read_text("utf-8").replace("work_ms = 100", "work_ms = 0.000001"), "utf-8")
    write(project, TIMED)

    result = run(project, "--forked", "-k", "work")

    assert ending(result) == (FAILED, "verdict: failed")


def test_a_forked_child_that_fails_times_nothing(project: Pytester) -> None:
    """Under --forked a failed test fails the run once, and the rounds it timed are left out."""
    write(project, "def test_work(benchmark):\n    benchmark(sorted, [2, 1])\n    raise ValueError('no luck')\n", OTHER)

    result = run(project, "--forked")

    assert ending(result) == (FAILED, "verdict: failed")
    assert [(one.kind, one.reason) for one in saved(project).failures] == [("failed", "ValueError: no luck")]
    assert measured(project) == REST


def test_an_operation_that_raises_in_a_forked_child_times_nothing(project: Pytester) -> None:
    """Under --forked too, what an operation that raised had timed is left out, though its test passes."""
    raises = """
async def test_work(async_benchmark):
    calls = []
    async def work():
        calls.append(1)
        if len(calls) > 10:
            raise ValueError("no luck")
        await asyncio.sleep(0.001)
    with pytest.raises(ValueError):
        await async_benchmark(work)
"""
    write(project, raises, OTHER)

    run(project, "--forked").assert_outcomes(passed=2)

    assert measured(project) == REST


def test_a_failed_subtest_in_a_forked_child_is_no_pass(project: Pytester) -> None:
    """Under --forked a subtest that fails fails the run, though its own report is lost with the child."""
    fails = """
def test_work(performance_profiler, subtests):
    with subtests.test("one"):
        raise ValueError("no luck")
"""
    write(project, fails, OTHER)

    result = run(project, "--forked")

    assert ending(result) == (FAILED, "verdict: failed")
    assert [(one.kind, one.reason) for one in saved(project).failures] == [("failed", "ValueError: no luck")]


@pytest.mark.parametrize("end", ["", "os._exit(1)", "os.kill(os.getpid(), 9)"], ids=["return", "exit", "kill"])
def test_forked_children_leave_nothing_behind(project: Pytester, leftovers: Callable[[], list[str]], end: str) -> None:
    """However a forked child ends, its server and its scratch folder go with it."""
    fixtures = "redis_service, khive_repository, model_endpoint"
    write(project, f"def test_redis({fixtures}):\n    pathlib.Path('started').touch()\n    {end}\n")

    run(project, "--forked")

    assert (project.path / "started").exists()
    assert leftovers() == []


def test_a_forked_test_leaves_the_others_their_server(project: Pytester) -> None:
    """A test marked to run in a child of its own uses the server of the tests around it and does not stop it."""
    ask = """
import redis
def ping(server):
    assert redis.Redis.from_url(server.url).ping()

def test_first(redis_service):
    ping(redis_service)

@pytest.mark.forked
def test_second(redis_service):
    ping(redis_service)

def test_third(redis_service):
    ping(redis_service)
"""
    write(project, ask)

    run(project).assert_outcomes(passed=3)


def test_a_pass_on_a_rerun_is_no_pass(project: Pytester) -> None:
    """A test that failed and passed when run again makes the run inconclusive, with the first failure's reason."""
    write(project, FAILS_TWICE)

    result = run(project, *RERUNS)

    assert ending(result) == (INCONCLUSIVE, "verdict: inconclusive")
    result.stdout.fnmatch_lines(
        ["*rerun: AssertionError: no luck in attempt 1*", "1 test failed and passed only when run again*"]
    )
    assert [(one.kind, one.origin.operation) for one in saved(project).failures] == [("rerun", "work")]


@pytest.mark.parametrize("way", [(), ("-n", "1")], ids=["plain", "xdist"])
def test_only_the_passing_attempt_counts(project: Pytester, way: tuple[str, ...]) -> None:
    """Of a test that was run again the figures are those of the attempt that passed."""
    write(project, FAILS_TWICE)

    run(project, *RERUNS, *way)

    assert [one.samples for one in saved(project).measurements] == [[0.003] * 30]


def test_rounds_of_failed_attempts_are_left_out(project: Pytester) -> None:
    """Of a benchmark that was run again only the last attempt's rounds are in pytest-benchmark's own list."""
    write(
        project,
        """
def test_work(benchmark):
    attempts = pathlib.Path("attempts")
    attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")
    benchmark(sorted, [1])
    assert len(attempts.read_text()) == 2
""",
    )

    run(project, *RERUNS)

    assert len(saved(project).measurements) == 1


def test_failing_every_attempt_is_one_failure(project: Pytester) -> None:
    """A test that fails however often it is run is one failed test, not one for each attempt."""
    write(project, FAILS_TWICE.replace("count == 3", "count == 9"), OTHER)

    result = run(project, *RERUNS)

    assert ending(result) == (FAILED, "verdict: failed")
    result.stdout.fnmatch_lines(["1 test failed;*"])
    assert [one.kind for one in saved(project).failures] == ["failed"]
    assert measured(project) == REST


def test_the_mark_for_reruns_works_like_the_option(project: Pytester) -> None:
    """`@pytest.mark.flaky(reruns=2)` makes no pass of a lucky attempt either."""
    write(project, "@pytest.mark.flaky(reruns=2)" + FAILS_TWICE)

    assert ending(run(project)) == (INCONCLUSIVE, "verdict: inconclusive")


@pytest.mark.parametrize("way", [(), PARALLEL, ("--forked",), RERUNS], ids=["plain", "xdist", "forked", "reruns"])
def test_the_junit_file_has_every_test(project: Pytester, way: tuple[str, ...]) -> None:
    """However the tests run, each is in the JUnit file, what the build lacks as skipped with its reason."""
    write(project, CUSTOM, "def test_rest(performance_profiler):\n    raise NotOfferedError('no rest')\n")

    result = run(project, "--junit-xml=junit.xml", *way)

    assert result.ret == INCONCLUSIVE
    cases = {case.get("name"): case for case in ET.parse(project.path / "junit.xml").iter("testcase")}  # noqa: S314
    assert set(cases) == {"test_work", "test_load", "test_memory", "test_rest"}
    (skipped,) = cases["test_rest"]
    assert (skipped.tag, skipped.get("message")) == ("skipped", "no rest")
    assert [len(cases[name]) for name in ("test_work", "test_load", "test_memory")] == [0, 0, 0]


@pytest.mark.parametrize("plugin", ["xdist", "pytest_forked", "rerunfailures"])
def test_no_other_plugin_is_needed(project: Pytester, plugin: str) -> None:
    """Without any one of these plugins a plain run measures and passes as with them."""
    assert ending(run(project, "-p", f"no:{plugin}")) == (PASSED, "verdict: passed")


def test_a_number_of_another_type_stays_a_number(project: Pytester) -> None:
    """Durations and custom figures that are numpy's numbers or decimals are saved as numbers."""
    write(
        project,
        """
import decimal, numpy
def test_work(performance_profiler):
    performance_profiler.record_operation(numpy.float64(0.5), operation_type="work")
    performance_profiler.add_custom_metric("hits", numpy.int64(3))

def test_work_in_decimals(performance_profiler):
    performance_profiler.record_operation(decimal.Decimal("0.25"), operation_type="exact")
""",
    )

    run(project, "-k", "work")

    found = {(one.kind, one.operation): one for one in saved(project).measurements}
    assert found["latency", "work"].samples == [0.5]
    assert found["latency", "exact"].samples == [0.25]
    assert found["process", "work"].custom == {"hits": [3]}
