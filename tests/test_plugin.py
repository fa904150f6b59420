"""Whole measuring sessions: what lands in the saved run, how they end, what they print last."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from perf.record.store import FOLDER, load
from perf.settings import read_settings

if TYPE_CHECKING:
    from pytest import Pytester, RunResult  # noqa: PT013 - `Pytester` alone is a type here

    from perf.record.run import Run

REPOSITORY = Path(__file__).parents[1]
WORK_LIMIT = """
[defaults.limits.custom]
work_ms = 100
"""
GOOD = """
def test_work(performance_profiler):
    for _ in range(30):
        performance_profiler.record_operation(0.001, operation_type="work")
"""
REST = """
def test_rest(performance_profiler):
    for _ in range(30):
        performance_profiler.record_operation(0.001, operation_type="rest")
"""
PASSED, FAILED, BAD_SETTINGS, INCONCLUSIVE = 0, 1, 2, 3


@pytest.fixture
def project(project: Pytester) -> Pytester:
    """The folder of every such run, with a limit for the service "custom"."""
    set_limits(project, WORK_LIMIT)
    return project


def set_limits(project: Pytester, text: str) -> None:
    shared = (REPOSITORY / "thresholds.toml").read_text(encoding="utf-8")
    (project.path / "thresholds.toml").write_text(shared + text, encoding="utf-8")


def run(project: Pytester, test: str, *arguments: str) -> RunResult:
    """Measure with `test` as the module of the service "custom"."""
    project.makepyfile(test_custom_performance=f"import asyncio\nimport pytest\n{dedent(test)}")
    return project.runpytest_subprocess("--benchmark-max-time=0.001", *arguments)


def saved(project: Pytester) -> list[Run]:
    """Return the saved runs, oldest first."""
    return [load(path) for path in sorted((project.path / FOLDER).glob("*.json"))]


def verdict_of(result: RunResult) -> str:
    """Return the last line of standard output that says anything."""
    return [line for line in result.outlines if line.strip()][-1]


def test_what_earlier_tests_left_is_no_part_of_a_collection(project: Pytester) -> None:
    """Objects that an earlier test keeps are not looked through by the garbage collector while a later one measures."""
    result = run(
        project,
        """
        import gc
        kept = []

        def test_leaves(performance_profiler):
            kept.append([])
            assert any(one is kept[0] for one in gc.get_objects())

        def test_measures(performance_profiler):
            assert not any(one is kept[0] for one in gc.get_objects())
        """,
    )

    result.assert_outcomes(passed=2)


def test_everything_recorded_is_in_the_saved_run(project: Pytester) -> None:
    """What a test records through each fixture is in the run's file under its own kind, figures and subject."""
    result = run(
        project,
        """
        async def work():
            await asyncio.sleep(0)

        def test_timed(benchmark):
            benchmark(sorted, [2, 1])

        def test_profiled(performance_profiler):
            performance_profiler.measured = sorted
            for duration in (0.25, 0.5):
                performance_profiler.record_operation(duration, operation_type="read")
            performance_profiler.record_operation(9.0, success=False, operation_type="read")
            performance_profiler.add_custom_metric("hit_ratio", 0.75)

        @pytest.mark.scalability
        async def test_loaded(load_test_runner):
            for tasks in (2, 3):
                await load_test_runner.run_async_load_test(work, concurrent_tasks=tasks, operations_per_task=4)

        @pytest.mark.memory
        async def test_memory(memory_monitor):
            memory_monitor(sorted, [1])
            await memory_monitor.measure_async(work, operations=5, operation_type="waited")
            memory_monitor.measure_growth(lambda: None, seconds=0.01)
        """,
    )

    result.assert_outcomes(passed=4)
    (kept,) = saved(project)
    found = {(one.kind, one.operation, one.concurrency): one for one in kept.measurements}
    assert set(found) == {
        ("latency", "timed", 1),
        ("latency", "read", 1),
        ("process", "profiled", 1),
        ("process", "loaded", 1),
        ("load", "loaded", 2),
        ("load", "loaded", 3),
        ("memory", "memory", 1),
        ("memory", "waited", 1),
        ("growth", "memory", 1),
    }
    assert found["growth", "memory", 1].growth is not None
    assert "Memory per call" in result.stdout.str()
    assert len(found["latency", "timed", 1].samples) > 1
    assert (found["latency", "read", 1].samples, found["latency", "read", 1].errors) == (
        [0.25, 0.5],
        {"unsuccessful": 1},
    )
    assert found["process", "profiled", 1].custom == {"hit_ratio": [0.75]}
    assert found["load", "loaded", 3].metrics["total_operations"].value == 12
    assert found["load", "loaded", 3].origin.category == "scalability"
    assert found["load", "loaded", 3].subject == "test_custom_performance.work"
    assert found["process", "loaded", 1].subject == "test_custom_performance.work"
    assert found["memory", "waited", 1].metrics["operations"].value == 5
    assert found["latency", "read", 1].subject == found["memory", "memory", 1].subject == "builtins.sorted"
    assert {one.origin.service for one in kept.measurements} == {"custom"}


def test_metadata_of_the_users_own_does_not_lose_an_operation(project: Pytester) -> None:
    """An operation recorded by the test itself is in the saved run whatever metadata it carries."""
    run(
        project,
        """
        def test_work(performance_profiler):
            performance_profiler.record_operation(0.5, operation_type="work", metadata={"concurrent_tasks": 3})
        """,
    )

    assert [one.samples for one in saved(project)[0].measurements] == [[0.5]]


def test_a_held_limit_passes(project: Pytester) -> None:
    """When every limit of what was measured holds, the run passes with exit code 0, saved as such."""
    result = run(project, GOOD)

    assert (result.ret, verdict_of(result)) == (PASSED, "verdict: passed")
    result.stdout.fnmatch_lines(["The one limit that this run measured held*"])
    assert [one.verdict for one in saved(project)] == ["passed"]


def test_a_broken_limit_fails(project: Pytester) -> None:
    """When a limit is broken the run fails with exit code 1 though every test passed, and is saved all the same."""
    result = run(project, GOOD.replace("0.001", "0.2"))

    result.assert_outcomes(passed=1)
    assert (result.ret, verdict_of(result)) == (FAILED, "verdict: failed")
    result.stdout.fnmatch_lines(["*work_ms*200 ms*broken*", "1 limit broken*"])
    assert [one.verdict for one in saved(project)] == ["failed"]


def test_bad_settings_measure_nothing(project: Pytester) -> None:
    """A mistake in the settings ends the run with exit code 2 before any test has begun."""
    set_limits(project, "\n[defaults.limits.custom]\nwork_ms = -1\n")

    result = run(project, "def test_work(performance_profiler):\n    open('ran', 'w')\n")

    assert result.ret == BAD_SETTINGS
    assert not (project.path / "ran").exists()
    result.stdout.fnmatch_lines(["thresholds.toml: defaults.limits.custom.work_ms: must be*-1*"])
    assert saved(project) == []


@pytest.mark.parametrize(
    ("arguments", "variable", "said"),
    [
        (("--perf-profile=produktion",), {}, "*profile 'produktion': unknown*"),
        ((), {"PERF_CUSTOM_WORK_MS": "soon"}, "*PERF_CUSTOM_WORK_MS: must be*'soon'*"),
        ((), {"PERF_CUSTOM_WORKMS": "1"}, "*PERF_CUSTOM_WORKMS: names no limit*"),
    ],
    ids=["profile", "value", "name"],
)
def test_bad_arguments_measure_nothing(
    project: Pytester,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    variable: dict[str, str],
    said: str,
) -> None:
    """A mistaken profile or variable ends the run with exit code 2 and its name, before any test has begun."""
    for name, value in variable.items():
        monkeypatch.setenv(name, value)

    result = run(project, "def test_work(performance_profiler):\n    open('ran', 'w')\n", *arguments)

    assert result.ret == BAD_SETTINGS
    assert not (project.path / "ran").exists()
    result.stdout.fnmatch_lines([said])


def test_no_redis_to_be_had_measures_nothing(project: Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named Redis that does not answer ends the run with exit code 2, not with a failing test."""
    monkeypatch.setenv("PERF_REDIS_URL", "redis://user:secret@127.0.0.1:9/0")

    result = run(project, "def test_work(redis_service):\n    open('ran', 'w')\n")

    assert result.ret == BAD_SETTINGS
    assert not (project.path / "ran").exists()
    result.stdout.fnmatch_lines(["the Redis at redis://127.0.0.1:9/0 does not answer*"])
    assert "secret" not in result.stdout.str() + result.stderr.str()


def test_nothing_judged_is_no_pass(project: Pytester) -> None:
    """A run that measured only what has no limit is inconclusive, with exit code 3."""
    set_limits(project, "")

    result = run(project, GOOD)

    assert (result.ret, verdict_of(result)) == (INCONCLUSIVE, "verdict: inconclusive")
    result.stdout.fnmatch_lines(["No limit was judged*"])


def test_a_limit_nothing_measured_is_missing(project: Pytester) -> None:
    """A limit of a service that was measured whole, and that no test measured, is missing and no pass."""
    set_limits(project, WORK_LIMIT + "rest_ms = 100\n")

    result = run(project, GOOD)

    assert (result.ret, verdict_of(result)) == (INCONCLUSIVE, "verdict: inconclusive")
    result.stdout.fnmatch_lines(["*rest_ms*missing*", "1 limit missing a measurement*"])


@pytest.mark.parametrize(
    "selection", [("-k", "test_work"), ("test_custom_performance.py::test_work",)], ids=["k", "id"]
)
def test_what_was_not_selected_is_not_missing(project: Pytester, selection: tuple[str, ...]) -> None:
    """A limit whose test was left out on purpose is not selected: the rest can pass, and the report says so."""
    set_limits(project, WORK_LIMIT + "rest_ms = 100\n")

    result = run(project, GOOD + REST, *selection)

    assert (result.ret, verdict_of(result)) == (PASSED, "verdict: passed")
    result.stdout.fnmatch_lines(["The one limit*not part of this run: limits of *custom*"])


def test_what_the_build_does_not_offer_is_listed(project: Pytester) -> None:
    """NotOfferedError is reported with its reason, its test is skipped and not passed, and neither is the run."""
    set_limits(project, WORK_LIMIT + "rest_ms = 100\n")

    result = run(
        project,
        GOOD
        + """
from perf.errors import NotOfferedError

@pytest.fixture
def rest():
    raise NotOfferedError("khive 1.2.3 has no rest")

def test_rest(performance_profiler, rest):
    pass
""",
    )

    result.assert_outcomes(passed=1, skipped=1)
    assert (result.ret, verdict_of(result)) == (INCONCLUSIVE, "verdict: inconclusive")
    result.stdout.fnmatch_lines(["*not offered*khive 1.2.3 has no rest*"])
    (kept,) = saved(project)
    assert [(one.kind, one.reason, one.origin.operation) for one in kept.failures] == [
        ("not offered", "khive 1.2.3 has no rest", "rest")
    ]


def test_a_known_fault_is_listed_by_name(project: Pytester) -> None:
    """KnownFaultError is neither a failure nor a pass: skipped, listed with its reason, its limit named unjudged."""
    set_limits(project, WORK_LIMIT + "rest_ms = 100\n")
    fails = """
from perf.errors import KnownFaultError

def test_rest(performance_profiler):
    for _ in range(30):
        performance_profiler.record_operation(0.001, operation_type="rest")
    raise KnownFaultError("khive 1.2.3: rest never ends")
"""

    result = run(project, GOOD + fails)

    result.assert_outcomes(passed=1, skipped=1)
    assert (result.ret, verdict_of(result)) == (PASSED, "verdict: passed")
    result.stdout.fnmatch_lines(
        [
            "·*rest_ms*-*known fault*",
            "· custom.rest_ms: khive 1.2.3: rest never ends",
            "· custom, known fault: khive 1.2.3: rest never ends",
            "*test_rest",
            "The one limit*held; not judged, for a known fault of this build: custom rest_ms; *",
        ]
    )
    (kept,) = saved(project)
    assert [(one.kind, one.origin.operation) for one in kept.failures] == [("known fault", "rest")]
    assert "rest" not in {one.operation for one in kept.measurements}


def test_a_known_fault_excuses_no_failure_beside_it(project: Pytester) -> None:
    """A test that meets a known fault and then fails for another reason fails the run for that reason."""
    set_limits(project, WORK_LIMIT + "rest_ms = 100\n")
    fails = """
from perf.errors import KnownFaultError

@pytest.fixture
def falls():
    yield
    raise ValueError("no end")

def test_rest(performance_profiler, falls):
    raise KnownFaultError("no rest")
"""

    result = run(project, GOOD + fails)

    assert (result.ret, verdict_of(result)) == (FAILED, "verdict: failed")
    assert [(one.kind, one.reason) for one in saved(project)[0].failures] == [("failed", "ValueError: no end")]


def test_a_failing_test_is_listed(project: Pytester) -> None:
    """A failing performance test fails the run though every limit held, and the report says why."""
    result = run(project, GOOD + "\ndef test_bad(performance_profiler):\n    raise ValueError('no\\nluck')\n")

    assert (result.ret, verdict_of(result)) == (FAILED, "verdict: failed")
    result.stdout.fnmatch_lines(["*failed*ValueError: no luck*", "1 test failed*"])
    (kept,) = saved(project)
    assert [(one.kind, one.origin.operation) for one in kept.failures] == [("failed", "bad")]


@pytest.mark.parametrize(
    ("plain", "arguments"),
    [("def test_plain():\n    assert False\n", ()), ("import absent", ("--continue-on-collection-errors",))],
    ids=["test", "module"],
)
def test_a_plain_failure_is_never_turned_into_a_pass(project: Pytester, plain: str, arguments: tuple[str, ...]) -> None:
    """A test or module that measures nothing and fails still fails the session, whatever the limits say."""
    project.makepyfile(test_plain=plain)

    result = run(project, GOOD, *arguments)

    assert result.ret == FAILED
    assert verdict_of(result) != "verdict: passed"


def test_collect_only_saves_nothing(project: Pytester) -> None:
    """--collect-only lists the tests and neither measures nor judges."""
    result = run(project, GOOD, "--collect-only", "-q")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*::test_work"])
    result.stdout.no_fnmatch_line("*verdict*")
    assert not (project.path / ".khive").exists()


def test_a_session_without_performance_tests_is_left_alone(project: Pytester) -> None:
    """Where nothing measures, even bad settings do not matter: no report, no file, pytest's own exit code."""
    set_limits(project, "\n[nonsense]\n")

    result = run(project, "def test_plain():\n    pass\n")

    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*khive performance =*")
    result.stdout.no_fnmatch_line("*verdict*")
    assert not (project.path / ".khive").exists()


def test_switched_off_timing_is_no_pass(project: Pytester) -> None:
    """With --benchmark-disable a run with held limits is inconclusive and says why."""
    result = run(project, GOOD + "\ndef test_timed(benchmark):\n    benchmark(len, '')\n", "--benchmark-disable")

    assert (result.ret, verdict_of(result)) == (INCONCLUSIVE, "verdict: inconclusive")
    result.stdout.fnmatch_lines(["pytest-benchmark was switched off: no timing was judged*"])


def test_parallel_timing_is_no_pass(project: Pytester) -> None:
    """Under xdist no timing is judged, and the run says so rather than passing."""
    result = run(project, GOOD + REST, "-n", "2")

    assert (result.ret, verdict_of(result)) == (INCONCLUSIVE, "verdict: inconclusive")
    result.stdout.fnmatch_lines(["Tests ran in parallel under xdist*"])


def test_limits_are_plain_numbers_to_a_test(project: Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """performance_thresholds gives each limit in force as a number: a profile's, a variable's, a table's last tail."""
    own = "rest_ms = 9\nread_ms = { p95 = 3, p99 = 4 }\n[profiles.prod.limits.custom]\nrest_ms = 8\n"
    set_limits(project, WORK_LIMIT + own)
    monkeypatch.setenv("PERF_CUSTOM_WORK_MS", "70")

    result = run(
        project,
        """
        def test_numbers(performance_thresholds):
            assert performance_thresholds["custom"]["work_ms"] == 70
            assert performance_thresholds["custom"]["read_ms"] == 4
            assert performance_thresholds["custom"]["rest_ms"] == 8
        """,
        "--perf-profile=prod",
    )

    result.assert_outcomes(passed=1)


def test_the_verdict_is_the_last_line(project: Pytester) -> None:
    """The verdict word comes after pytest's own closing line, also when that is all a reader keeps."""
    result = run(project, GOOD, "-q", "-q")

    assert verdict_of(result) == "verdict: passed"
    assert result.outlines[-1].startswith("verdict: ")


STEPS = """
@pytest.mark.scalability
def test_steps(performance_profiler, concurrent_tasks):
    with open("steps", "a") as file:
        print(concurrent_tasks, end=" ", file=file)
"""


def test_concurrency_steps_come_from_the_profile(project: Pytester) -> None:
    """A test that takes `concurrent_tasks` runs once for each step the profile names."""
    steps = read_settings(REPOSITORY, {}, "dev").measure["concurrency"].value

    run(project, STEPS).assert_outcomes(passed=len(steps))

    assert [int(step) for step in (project.path / "steps").read_text().split()] == steps
    assert len(steps) > 2


OWN_STEPS = {
    "name": '@pytest.mark.parametrize("concurrent_tasks", [3, 4])',
    "keyword": '@pytest.mark.parametrize(argnames="concurrent_tasks", argvalues=[3, 4])',
    "fixture": "@pytest.fixture(params=[3, 4])\ndef concurrent_tasks(request):\n    return request.param\n",
}


@pytest.mark.parametrize("own", OWN_STEPS.values(), ids=OWN_STEPS)
def test_the_users_own_steps_win(project: Pytester, own: str) -> None:
    """A test that says itself how many tasks to run at once is not given the profile's steps."""
    run(project, f"{own}{STEPS}").assert_outcomes(passed=2)

    assert (project.path / "steps").read_text() == "3 4 "


def test_a_name_that_only_resembles_gets_its_steps(project: Pytester) -> None:
    """Parametrizing another argument whose name contains `concurrent_tasks` leaves the profile's steps in force."""
    test = STEPS.replace("concurrent_tasks):", "concurrent_tasks, max_concurrent_tasks):")

    result = run(project, f'@pytest.mark.parametrize("max_concurrent_tasks", [50]){test}')

    result.assert_outcomes(passed=len(read_settings(REPOSITORY, {}, "dev").measure["concurrency"].value))


def test_runs_are_numbered(project: Pytester) -> None:
    """Two sessions in a row leave two whole runs, numbered 0001 and 0002 and named for their profile."""
    run(project, GOOD)
    result = run(project, GOOD, "--perf-profile=staging")

    names = sorted(path.name for path in (project.path / FOLDER).glob("*.json"))
    assert [name.split("_")[:2] for name in names] == [["0001", "dev"], ["0002", "staging"]]
    assert [one.profile for one in saved(project)] == ["dev", "staging"]
    result.stdout.fnmatch_lines([f"Wrote the run to {FOLDER}/0002_staging_*.json"])


def test_an_instrument_asked_for_by_name_works_too(project: Pytester) -> None:
    """A test that gets its instrument through getfixturevalue measures like any other, or is told why not."""
    result = run(
        project,
        """
        def test_work(request):
            profiler = request.getfixturevalue("performance_profiler")
            for _ in range(30):
                profiler.record_operation(0.001, operation_type="work")
        """,
    )

    result.stdout.no_fnmatch_line("*KeyError*")
