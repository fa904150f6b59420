from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perf import LoadTestRunner
from perf.judge.leaks import judge_growth
from perf.judge.limits import BROKEN, INCONCLUSIVE, MISSING, NOT_SELECTED, PASSED, LimitVerdict
from perf.judge.scaling import judge_scaling
from perf.judge.thresholds import Limit
from perf.judge.verdict import judge_run
from perf.measure.growth import Growth, Site
from perf.record.run import Failure, Measurement, Metric, Origin, Run, from_load
from perf.report.terminal import render, render_environment

GOLDEN = Path(__file__).parent / "golden" / "terminal.txt"
DEFAULTS = "thresholds.toml [defaults]"
MIB = 1024.0 * 1024.0


def origin(service: str, operation: str, category: str = "benchmark") -> Origin:
    test = f"benchmarks/test_{service}_performance.py::test_{operation}"
    return Origin(test=test, service=service, category=category, operation=operation)


def latency(service: str, operation: str, samples: list[float], errors: dict[str, int] | None = None) -> Measurement:
    return Measurement(
        origin=origin(service, operation),
        kind="latency",
        operation=operation,
        subject=f"khive.services.{service} (khive 0.4.0)",
        samples=samples,
        errors=errors or {},
    )


def load(tasks: int, throughput: float | None, errors: dict[str, int] | None = None) -> Measurement:
    times = {"p50": 0.0011, "p95": 0.0042, "p99": 0.0123} if throughput else {}
    failed = sum((errors or {}).values()) / 20
    return Measurement(
        origin=origin("cache", "cache_at_once", "scalability"),
        kind="load",
        operation="cache_at_once",
        subject="redis.asyncio.Redis.get (redis 8.1.0)",
        concurrency=tasks,
        metrics={
            **({"throughput": Metric(throughput, "1/s", "higher")} if throughput else {}),
            **{f"{name}_response_time": Metric(value, "s", "lower") for name, value in times.items()},
            "error_rate": Metric(failed, "1", "lower"),
            "max_in_flight": Metric(float(min(tasks, 8)), "1", "higher"),
        },
        errors=errors or {},
        error_samples={"TimeoutError": "TimeoutError('no answer')"} if errors else {},
    )


def verdict(word: str, rule: tuple[str, str, str | None, str, float], **judged: Any) -> LimitVerdict:  # noqa: ANN401
    service, name, operation, statistic, bound = rule
    limit = Limit(service=service, name=name, operation=operation, statistic=statistic, bound=bound, source=DEFAULTS)
    return LimitVerdict(limit=limit, verdict=word, **judged)


VERDICTS = [
    verdict(
        PASSED, ("cache", "cache_get_ms", "cache_get", "p95", 0.005), actual=0.0012, samples=200, where="cache_get"
    ),
    verdict(BROKEN, ("cache", "cache_set_ms", "cache_set", "p95", 0.01), actual=0.025, samples=200, where="cache_set"),
    verdict(
        PASSED,
        ("cache", "memory_limit_mb", None, "growth", 200 * MIB),
        actual=12.5 * MIB,
        samples=1,
        where="cache_growth",
    ),
    verdict(
        BROKEN,
        ("cache", "throughput_ops_per_sec", None, "throughput", 1000.0),
        actual=812.5,
        samples=2,
        where="cache_at_once, 50 at once",
    ),
    verdict(MISSING, ("planning", "simple_plan_ms", "simple_plan", "p95", 0.2), reason="nothing measured it"),
    verdict(
        INCONCLUSIVE,
        ("planning", "complex_plan_ms", "complex_plan", "p99", 2.0),
        actual=1.25,
        samples=7,
        reason="too few samples: raise rounds",
    ),
    verdict(
        PASSED, ("planning", "memory_per_plan_mb", "plan", "per operation", MIB), actual=512.0, samples=1, where="plan"
    ),
    verdict(NOT_SELECTED, ("session", "concurrent_sessions", None, "count", 100.0), reason="not part of this run"),
]
LEAK = Growth(
    calls=100,
    rss=[1000 * number for number in range(24)],
    uss=[102_400 * number for number in range(24)],
    traced=[100 * 1024 * number for number in range(1, 13)],
    blocks=[0] * 12,
    peak=4096.0,
    sites=[
        Site(
            "/venv/lib/python3.11/site-packages/khive/services/plan.py",
            42,
            1024.0,
            2.0,
            "/venv/lib/python3.11/site-packages/x.py:7",
        )
    ],
    pauses=(3, 0.006, 0.004, 0.03),
    before={"files": 1, "sockets": 2, "threads": 1, "tasks": 1},
    after={"files": 4, "sockets": 2, "threads": 1, "tasks": 1},
)
MEASUREMENTS = [
    latency("cache", "cache_get", [0.0012] * 200),
    latency("cache", "cache_set", [0.025] * 200),
    latency("planning", "complex_plan", [1.25] * 7),
    load(50, 812.5, {"TimeoutError": 2}),
    load(1, 1250.0),
    Measurement(
        origin=origin("cache", "cache_growth", "memory"),
        kind="memory",
        operation="cache_growth",
        subject="redis.asyncio.Redis.set (redis 8.1.0)",
        metrics={
            "operations": Metric(50.0, "1", "higher"),
            "memory_growth": Metric(12.5 * MIB, "B", "lower"),
            "memory_per_operation": Metric(2048.0, "B", "lower"),
            "memory_freed_by_gc": Metric(1.5 * MIB, "B", "lower"),
            "gc_pause": Metric(0.0125, "s", "lower"),
        },
    ),
    Measurement(
        origin=origin("planning", "plan_leak", "memory"),
        kind="growth",
        operation="plan_leak",
        subject="khive.services.planning (khive 0.4.0)",
        growth=LEAK,
    ),
    Measurement(
        origin=origin("cache", "skewed_lookups"),
        kind="process",
        operation="skewed_lookups",
        subject="what the test records",
        custom={"hit_ratio": [0.71]},
    ),
]
RUN = Run(
    created="2026-11-23T11:19:35+00:00",
    profile="dev",
    verdict="failed",
    environment={
        "machine": {
            "node": "builder",
            "system": "Linux 6.18",
            "architecture": "x86_64",
            "cpu": "A CPU",
            "cpus": 2,
            "memory_bytes": 8 * 1024 * MIB,
        },
        "python": "CPython 3.11.7",
        "packages": {"lionagi": "0.15.14", "redis": "8.1.0", "rich": "14.0"},
        "khive": {"version": "0.4.0", "origin": "release", "commit": None},
        "suite": {"version": "0.1.0", "commit": "9b1dd2a2a6d4 (modified)"},
        "services": ["Redis 6.2.14, bundled, started for this run"],
    },
    settings={
        "measure.rounds": {"value": 21, "source": DEFAULTS},
        "measure.concurrency": {"value": [1, 50], "source": DEFAULTS},
        "measure.stress_duration_sec": {"value": 1, "source": "PERF_STRESS_DURATION_SEC"},
    },
    limits=[],
    measurements=MEASUREMENTS,
    failures=[
        Failure(
            origin=origin("session", "create"), kind="not offered", reason="khive 0.4.0 has no khive.services.session"
        ),
        Failure(origin=origin("planning", "simple_plan"), kind="failed", reason="AssertionError: no plan came back"),
    ],
)


def rendered(
    verdicts: list[LimitVerdict], measurements: list[Measurement], failures: list[Failure] | None = None
) -> str:
    failures = failures or []
    run = msgspec.structs.replace(RUN, measurements=measurements, failures=failures)
    leaks = [(one, judge_growth(one.growth)) for one in measurements if one.growth]
    return render(run, verdicts, judge_run(verdicts, failures), leaks, judge_scaling(measurements))


def test_a_report_reads_as_agreed() -> None:
    """The report of a run with every kind of measurement, verdict and failure is the golden file to the letter."""
    report = rendered(VERDICTS, MEASUREMENTS, RUN.failures)

    assert report + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_limits_come_first_and_the_sentence_last() -> None:
    """A reader meets the limits before any other table, and the verdict's sentence at the end."""
    report = rendered(VERDICTS, MEASUREMENTS, RUN.failures)

    titles = (
        "Limits of profile dev",
        "\nLoad\n",
        "\nMemory\n",
        "\nMemory per call\n",
        "\nOther figures\n",
        "\nWhat was measured\n",
    )
    places = [report.index(title) for title in (*titles, "\nNot measured\n")]
    assert places == sorted(places)
    assert report.splitlines()[-1] == "2 limits broken and 1 test failed; 3 limits held."


def test_a_run_that_measured_nothing_prints_no_empty_table() -> None:
    """Without measurements there is the environment and the sentence, which is no pass."""
    report = rendered(VERDICTS[-1:], [])

    assert report == f"{render_environment(RUN)}\n\nNo limit was judged: nothing this run measured has one."


def test_a_limit_that_is_not_held_never_has_the_mark_of_one_that_is() -> None:
    """Only a held limit has a tick, and what has no verdict says why."""
    rows = {
        line.split()[2]: line.split()[0]
        for line in rendered(VERDICTS, MEASUREMENTS).splitlines()
        if line.endswith(DEFAULTS)
    }

    assert rows == {
        "cache_get_ms": "✓",
        "cache_set_ms": "✗",
        "memory_limit_mb": "✓",
        "throughput_ops_per_sec": "✗",
        "simple_plan_ms": "?",
        "complex_plan_ms": "?",
        "memory_per_plan_mb": "✓",
    }


def test_every_measured_subject_is_named() -> None:
    """Each operation stands beside what was really measured, and stands there once."""
    report = rendered([], [*MEASUREMENTS, *MEASUREMENTS])

    for one in MEASUREMENTS:
        if one.kind != "process":
            assert [line.split()[:2] for line in report.splitlines() if line.endswith(one.subject)].count(
                [one.origin.service, one.operation]
            ) == 1


def test_a_failing_load_shows_its_errors() -> None:
    """A load of which nothing succeeded has no times, a throughput of nothing, and its errors by type."""
    report = rendered([], [load(10, None, {"TimeoutError": 19, "OSError": 1})])

    (row,) = [line for line in report.splitlines() if "scalability" in line]
    assert row.split()[3:] == ["10", "8", "0", "/s", "-", "-", "-", "100", "%"]
    assert "10 at once: 19 × TimeoutError, such as TimeoutError('no answer')" in report


def test_failed_operations_measured_one_at_a_time_are_shown() -> None:
    """That operations failed beside those whose time is judged is told, not dropped."""
    report = rendered(VERDICTS[:1], [latency("cache", "cache_get", [0.0012] * 200, {"unsuccessful": 1800})])

    assert "1800" in report


@pytest.mark.parametrize(
    ("khive", "text"),
    [
        (None, "no khive"),
        ({"version": "0.4.0", "origin": "release", "commit": None}, "khive 0.4.0 (release)"),
        ({"version": "0.4.1", "origin": "/src", "commit": "51b0c2ac0ac9"}, "khive 0.4.1 (/src at 51b0c2ac0ac9)"),
    ],
)
def test_the_build_that_was_measured_is_named(khive: dict[str, str | None] | None, text: str) -> None:
    """The first line names the khive that was imported, with origin and commit, and its closest dependencies."""
    run = msgspec.structs.replace(RUN, environment=RUN.environment | {"khive": khive})

    first, *_ = render_environment(run).splitlines()

    assert first == f"measured  {text} · lionagi 0.15.14 · redis 8.1.0"


def test_nothing_outside_khive_leaves_no_empty_line() -> None:
    """A run that needed no service and set nothing has no line for either."""
    run = msgspec.structs.replace(RUN, environment=RUN.environment | {"services": []}, settings={})

    assert [line.split()[0] for line in render_environment(run).splitlines()] == ["measured", "by", "on"]


@pytest.mark.parametrize(
    ("changes", "mark", "said"),
    [
        ({"traced": [0] * 12}, "✗", "no line of Python's"),
        ({"traced": [0] * 12, "uss": [0] * 24}, "✓", ""),
        ({"uss": [0] * 24}, "?", "calls replace what there was"),
        (
            {"traced": [0] * 12, "uss": [10**9 * (7 * number % 24) for number in range(24)]},
            "?",
            "differs by chance too much",
        ),
    ],
)
def test_each_verdict_on_memory_is_shown(changes: dict[str, Any], mark: str, said: str) -> None:
    """A leak of C code has no line to name, what is stable needs no words, and what is not known says why."""
    measurement = next(one for one in MEASUREMENTS if one.growth)
    growth = msgspec.structs.replace(LEAK, **changes)

    report = rendered([], [msgspec.structs.replace(measurement, growth=growth)])

    (row,) = [line for line in report.splitlines() if " 2400 " in line and "after 2400" not in line]
    assert row.split()[0] == mark
    assert said in report
    assert "plan.py:42" not in report


@pytest.mark.parametrize(
    ("curve", "at", "without"),
    [
        ({1: 10.0, 5: 10.0, 10: 10.0, 25: 10.0, 50: 10.0}, "1", "1"),
        ({1: 10.0, 5: 50.0, 10: 100.0, 25: 250.0, 50: 500.0}, "scales to 50", "scales to 50"),
        ({1: 10.0, 5: 50.0, 10: 100.0, 25: 250.0, 50: 60.0}, "14", "11 … 14 … scales to 50"),
    ],
    ids=["flat", "linear", "one step"],
)
def test_a_report_says_where_an_operation_stops_scaling(curve: dict[int, float], at: str, without: str) -> None:
    """The place stands beside those that the steps without one of them give."""
    report = rendered([], [load(tasks, throughput) for tasks, throughput in curve.items()])

    table = report.partition("\nScaling\n")[2].splitlines()
    assert re.split(r"  +", table[2])[:4] == ["cache", "cache_at_once", at, without]


async def test_a_stall_can_be_seen_in_the_course_of_a_load() -> None:
    """The longest response times are drawn over time: a service that stands still at the end rises there alone."""
    begin = time.perf_counter()

    async def stalls_at_the_end() -> None:
        await asyncio.sleep(0.25 if time.perf_counter() - begin > 0.8 else 0.001)

    result = await LoadTestRunner().run_open_load_test(stalls_at_the_end, 50, 1.0)

    report = rendered([], [from_load(result, origin("cache", "lookups", "stress"), "a subject")])
    (row,) = [line for line in report.splitlines() if line.startswith("cache ") and "50 /s" in line]
    (course,) = re.findall("[▁▂▃▄▅▆▇█]{6,}", row)
    assert "█" in course[-5:]
    assert set(course[:5]) <= {"▁", "▂"}
