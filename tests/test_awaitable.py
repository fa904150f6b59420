"""What `async_benchmark` and `benchmark` time, refuse and record, in pytest runs of their own."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from perf.settings import read_settings

if TYPE_CHECKING:
    from pytest import Pytester, RunResult  # noqa: PT013 - `Pytester` alone is a type here

REPOSITORY = Path(__file__).parents[1]
QUICK = ("--benchmark-max-time=0.01", "--benchmark-min-rounds=5")


def run(project: Pytester, test: str, *arguments: str) -> RunResult:
    """Run `test` as the only module; its benchmarks are written to bench.json."""
    project.makepyfile(test_custom_performance=f"import asyncio, functools\nimport pytest\n{dedent(test)}")
    return project.runpytest_subprocess(*(arguments or QUICK), "--benchmark-json=bench.json")


def benchmarks(project: Pytester) -> dict[str, Any]:
    """Return what pytest-benchmark wrote, by test; nothing when it wrote no file."""
    file = project.path / "bench.json"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return {entry["name"]: entry for entry in json.loads(text)["benchmarks"]} if text else {}


def test_rounds_are_recorded_as_pytest_benchmark_does(project: Pytester) -> None:
    """The rounds of an awaited operation are in pytest-benchmark's JSON, which its own command line reads."""
    result = run(
        project,
        """
        async def work(value, *, more):
            await asyncio.sleep(0.001)
            return value + more

        async def test_work(async_benchmark):
            assert await async_benchmark(work, 1, more=2) == 3
        """,
    )

    result.assert_outcomes(passed=1)
    entry = benchmarks(project)["test_work"]
    assert entry["stats"]["rounds"] == len(entry["stats"]["data"]) >= 5
    compared = project.run("pytest-benchmark", "compare", "bench.json")
    assert compared.ret == 0
    compared.stdout.fnmatch_lines(["*test_work*"])


def test_the_record_names_what_was_measured(project: Pytester) -> None:
    """Each benchmark carries its service, category, operation and subject, and is grouped by its service."""
    run(
        project,
        """
        async def work():
            pass

        @pytest.mark.benchmark
        @pytest.mark.parametrize("size", [1, 2])
        async def test_work(async_benchmark, size):
            await async_benchmark(work)
        """,
    )

    entries = benchmarks(project)
    assert set(entries) == {"test_work[1]", "test_work[2]"}
    assert entries["test_work[1]"]["group"] == "custom"
    assert entries["test_work[1]"]["extra_info"] == {
        "service": "custom",
        "category": "benchmark",
        "operation": "work",
        "subject": "test_custom_performance.work",
    }


def test_waiting_is_part_of_the_time(project: Pytester) -> None:
    """A coroutine of 2 ms is reported as 2 ms or more, not as the microseconds its creation takes."""
    run(
        project,
        """
        async def work():
            await asyncio.sleep(0.002)

        async def test_work(async_benchmark):
            await async_benchmark(work)
        """,
    )

    assert benchmarks(project)["test_work"]["stats"]["min"] >= 0.0019


def test_a_round_is_the_mean_of_its_iterations(project: Pytester) -> None:
    """An operation too short for the timer runs many times a round, and a round counts one operation's time."""
    run(
        project,
        """
        calls = 0

        async def work():
            global calls
            calls += 1

        async def test_work(async_benchmark, benchmark):
            await async_benchmark(work)
            stats = benchmark.stats
            assert calls >= stats.iterations * stats.stats.rounds + 4
        """,
        "--benchmark-min-time=0.001",
        "--benchmark-max-time=0.01",
    ).assert_outcomes(passed=1)

    stats = benchmarks(project)["test_work"]["stats"]
    assert stats["iterations"] > 100
    assert stats["max"] * stats["iterations"] >= 0.001 > stats["median"] * 10


def test_overhead_is_that_of_a_loop(project: Pytester) -> None:
    """An empty coroutine takes about as long in async_benchmark as in a bare loop of awaits beside it."""
    result = run(
        project,
        """
        from time import perf_counter

        async def work():
            pass

        async def test_work(async_benchmark, benchmark):
            await async_benchmark(work)
            times, iterations = [], benchmark.stats.iterations
            for _ in range(50):
                start = perf_counter()
                for _ in range(iterations):
                    await work()
                times.append((perf_counter() - start) / iterations)
            assert benchmark.stats.stats.min / min(times) < 2.5
        """,
        "--benchmark-min-time=0.001",
        "--benchmark-max-time=0.05",
    )

    result.assert_outcomes(passed=1)


MISTAKES = """
async def work():
    await asyncio.sleep(0.002)

class Worker:
    async def work(self):
        await asyncio.sleep(0.002)

    async def __call__(self):
        await asyncio.sleep(0.002)

@pytest.mark.parametrize("operation", [work, Worker().work, functools.partial(work), Worker()])
def test_call(benchmark, operation):
    benchmark(operation)

def test_pedantic(benchmark):
    benchmark.pedantic(work, rounds=3)

def test_pedantic_by_name(benchmark):
    benchmark.pedantic(target=work, rounds=3)
"""


@pytest.mark.parametrize("arguments", [QUICK, ("--benchmark-disable",)], ids=["enabled", "disabled"])
def test_benchmark_refuses_coroutine_functions(project: Pytester, arguments: tuple[str, ...]) -> None:
    """`benchmark` of an asynchronous operation fails in each of its forms with the way to measure it, untimed."""
    result = run(project, MISTAKES, *arguments)

    result.assert_outcomes(failed=6)
    said = [line for line in result.outlines if line.startswith("E ")]
    assert len(said) == 6
    assert all("MeasurementError" in line and "write `await async_benchmark(" in line for line in said)
    assert benchmarks(project) == {}


def test_benchmark_refuses_a_function_that_returns_a_coroutine(project: Pytester) -> None:
    """A plain function whose result still has to be awaited is no work done: refused, and not in the record."""
    result = run(
        project,
        """
        async def work():
            await asyncio.sleep(0.002)

        def test_lambda(benchmark):
            benchmark(lambda: work())
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *await async_benchmark(*"])
    assert benchmarks(project) == {}


def test_benchmark_still_measures_plain_functions(project: Pytester) -> None:
    """A plain function goes through `benchmark` as pytest-benchmark has it, with what was measured noted."""
    run(
        project,
        """
        def test_work(benchmark):
            assert benchmark(sorted, [2, 1]) == [1, 2]

        def test_pedantic(benchmark):
            assert benchmark.pedantic(sorted, args=([2, 1],), rounds=4) == [1, 2]
        """,
    ).assert_outcomes(passed=2)

    entries = benchmarks(project)
    assert entries["test_work"]["extra_info"]["subject"] == "builtins.sorted"
    assert entries["test_pedantic"]["stats"]["rounds"] == 4


def test_one_fixture_measures_once(project: Pytester) -> None:
    """A second use of the fixture is an error, and the first one's figures are not kept."""
    result = run(
        project,
        """
        async def work():
            pass

        async def test_twice(async_benchmark):
            await async_benchmark(work)
            await async_benchmark(work)

        async def test_both(async_benchmark, benchmark):
            benchmark(len, "")
            await async_benchmark(work)
        """,
    )

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*FixtureAlreadyUsed: Fixture can only be used once.*"])
    assert benchmarks(project) == {}


def test_a_raising_operation_fails_its_test(project: Pytester) -> None:
    """An operation that raises, at once or in a later round, fails the test and leaves no figure."""
    result = run(
        project,
        """
        calls = iter(range(10**9))

        async def broken():
            raise RuntimeError("broken at once")

        async def fading():
            await asyncio.sleep(0.001)
            if next(calls) > 7:
                raise RuntimeError("broken later")

        async def work():
            pass

        async def test_broken(async_benchmark):
            await async_benchmark(broken)

        async def test_fading(async_benchmark):
            await async_benchmark(fading)

        async def test_work(async_benchmark):
            await async_benchmark(work)
        """,
    )

    result.assert_outcomes(failed=2, passed=1)
    assert set(benchmarks(project)) == {"test_work"}


def test_disabled_it_calls_once(project: Pytester) -> None:
    """With --benchmark-disable the operation is awaited once and its result returned, with nothing timed."""
    result = run(
        project,
        """
        calls = []

        async def work():
            calls.append(1)
            return "done"

        async def test_work(async_benchmark):
            assert await async_benchmark(work) == "done"
            assert calls == [1]
        """,
        "--benchmark-disable",
    )

    result.assert_outcomes(passed=1)
    assert benchmarks(project) == {}


SLOW_WORK = """
async def work():
    await asyncio.sleep(0.001)

async def test_work(async_benchmark):
    await async_benchmark(work)

@pytest.mark.benchmark(min_rounds=9)
async def test_marked(async_benchmark):
    await async_benchmark(work)
"""


def test_rounds_come_from_the_profile(project: Pytester) -> None:
    """Without a word on the command line the profile's rounds are measured, unless the test's marker names others."""
    run(project, SLOW_WORK, "--benchmark-max-time=0.000001")

    rounds = {name: entry["stats"]["rounds"] for name, entry in benchmarks(project).items()}
    profile = read_settings(REPOSITORY, {}, "dev").measure["rounds"].value
    assert rounds == {"test_work": profile, "test_marked": 9}
    assert profile not in {5, 7, 9}


@pytest.mark.parametrize("words", [("--benchmark-min-rounds=7",), ("--benchmark-min-rounds", "7")], ids=["=", "apart"])
def test_the_command_line_beats_the_profile(project: Pytester, words: tuple[str, ...]) -> None:
    """--benchmark-min-rounds on the command line is what is measured, the profile's other settings as they are."""
    run(project, SLOW_WORK, "--benchmark-max-time=0.000001", *words, "-k", "test_work")

    assert benchmarks(project)["test_work"]["stats"]["rounds"] == 7


def test_garbage_collection_is_as_it_was(project: Pytester) -> None:
    """--benchmark-disable-gc holds while rounds are timed and not a moment longer."""
    result = run(
        project,
        """
        import gc

        seen = []

        async def work():
            seen.append(gc.isenabled())

        async def test_work(async_benchmark):
            await async_benchmark(work)
            assert set(seen[:-1]) == {False}
            assert gc.isenabled()
        """,
        "--benchmark-disable-gc",
        *QUICK,
    )

    result.assert_outcomes(passed=1)


def test_pedantic_times_fresh_arguments_each_call(project: Pytester) -> None:
    """Every call has arguments of its own, also those before and after the rounds, and only the rounds are recorded."""
    result = run(
        project,
        """
        made, got = [], []

        async def fresh():
            made.append(object())
            return made[-1], len(made)

        async def work(thing, number):
            got.append(thing)
            await asyncio.sleep(0.001)
            return number

        async def test_work(async_benchmark, benchmark):
            last = await async_benchmark.pedantic(work, setup=fresh)
            assert got == made
            assert last == len(made)
            assert 1 <= len(made) - 1 - benchmark.stats.stats.rounds <= 3  # calls to warm up
        """,
        "--benchmark-max-time=0.0001",
        "--benchmark-min-rounds=5",
    )

    result.assert_outcomes(passed=1)
    entry = benchmarks(project)["test_work"]
    assert entry["stats"]["rounds"] == len(entry["stats"]["data"]) >= 5
    assert entry["stats"]["iterations"] == 1
    assert entry["extra_info"]["subject"] == "test_custom_performance.work"


def test_pedantic_does_not_time_the_setup(project: Pytester) -> None:
    """A setup twenty times as long as the operation is no part of what is recorded."""
    run(
        project,
        """
        async def slow():
            await asyncio.sleep(0.04)
            return ()

        async def work():
            await asyncio.sleep(0.002)

        async def test_pedantic(async_benchmark):
            await async_benchmark.pedantic(work, setup=slow)

        async def test_setup(async_benchmark):
            await async_benchmark(slow)
        """,
    )

    entries = benchmarks(project)
    assert 0.0019 <= entries["test_pedantic"]["stats"]["min"] < entries["test_setup"]["stats"]["min"] / 4


def test_pedantic_fills_the_time_it_is_given(project: Pytester) -> None:
    """Rounds go on until both their least number and the time for them are reached, the setup's time not counted."""
    run(
        project,
        """
        async def fresh():
            await asyncio.sleep(0.005)
            return ()

        async def work():
            await asyncio.sleep(0.001)

        async def test_work(async_benchmark):
            await async_benchmark.pedantic(work, setup=fresh)
        """,
        "--benchmark-max-time=0.03",
        "--benchmark-min-rounds=2",
    )

    samples = benchmarks(project)["test_work"]["stats"]["data"]
    assert sum(samples) >= 0.03 > sum(samples[:-1])


PEDANTIC = """
calls = []

async def fresh():
    return ("argument",)

async def fresh_in_vain():
    raise RuntimeError("no setup")

async def work(argument):
    calls.append(argument)
    return argument

async def broken(argument):
    raise RuntimeError("broken at once")

async def fading(argument):
    calls.append(argument)
    if len(calls) > 6:
        raise RuntimeError("broken later")
"""


def test_pedantic_fails_with_what_it_calls(project: Pytester) -> None:
    """An operation that raises, at once or later, or a setup that does, fails the test and leaves no figure.

    Nor does one whose error the test expects.
    """
    test = f"""{PEDANTIC}
@pytest.mark.parametrize(("operation", "setup"), [(broken, fresh), (fading, fresh), (work, fresh_in_vain)])
async def test_work(async_benchmark, operation, setup):
    await async_benchmark.pedantic(operation, setup=setup)

async def test_expected(async_benchmark):
    calls.clear()
    with pytest.raises(RuntimeError):
        await async_benchmark.pedantic(fading, setup=fresh)
"""

    run(project, test).assert_outcomes(failed=3, passed=1)

    assert benchmarks(project) == {}


def test_pedantic_disabled_calls_once(project: Pytester) -> None:
    """With --benchmark-disable there is one setup and one call, with nothing timed."""
    test = f"""{PEDANTIC}
async def test_work(async_benchmark):
    assert await async_benchmark.pedantic(work, setup=fresh) == "argument"
    assert calls == ["argument"]
"""

    run(project, test, "--benchmark-disable").assert_outcomes(passed=1)

    assert benchmarks(project) == {}


def test_pedantic_is_a_use_like_any_other(project: Pytester) -> None:
    """A fixture that was used once, in either way, is not used again."""
    test = f"""{PEDANTIC}
async def test_after(async_benchmark):
    await async_benchmark(work, 1)
    await async_benchmark.pedantic(work, setup=fresh)

async def test_before(async_benchmark):
    await async_benchmark.pedantic(work, setup=fresh)
    await async_benchmark(work, 1)
"""

    result = run(project, test)

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*FixtureAlreadyUsed: Fixture can only be used once.*"])
    assert benchmarks(project) == {}


@pytest.mark.parametrize("pedantic", [False, True])
def test_warming_up_ends_with_the_time_for_all_rounds(project: Pytester, pedantic: bool) -> None:  # noqa: FBT001 - a case
    """A call longer than all rounds shall take is made once before them, a short one three times; none is recorded."""
    result = run(
        project,
        f"""
        calls = {{"slow": 0, "quick": 0}}

        async def fresh(name, seconds):
            return name, seconds

        async def work(name, seconds):
            calls[name] += 1
            await asyncio.sleep(seconds)

        async def measure(async_benchmark, *arguments):
            if {pedantic}:
                await async_benchmark.pedantic(work, setup=lambda: fresh(*arguments))
            else:
                await async_benchmark(work, *arguments)

        async def test_slow(async_benchmark, benchmark):
            await measure(async_benchmark, "slow", 0.03)
            assert calls["slow"] == 1 + benchmark.stats.stats.rounds + 1 + (not {pedantic})  # one to calibrate

        async def test_quick(async_benchmark, benchmark):
            await measure(async_benchmark, "quick", 0.0002)
            assert calls["quick"] == 3 + benchmark.stats.stats.rounds + 1 + (not {pedantic})
        """,
        "--benchmark-max-time=0.02",
        "--benchmark-min-rounds=2",
    )

    result.assert_outcomes(passed=2)


def test_garbage_collection_is_as_it_was_for_pedantic(project: Pytester) -> None:
    """--benchmark-disable-gc holds for rounds on fresh arguments as for others."""
    result = run(
        project,
        """
        import gc

        seen = []

        async def fresh():
            return ()

        async def work():
            seen.append(gc.isenabled())

        async def test_work(async_benchmark):
            await async_benchmark.pedantic(work, setup=fresh)
            assert set(seen[:-1]) == {False}
            assert gc.isenabled()
        """,
        "--benchmark-disable-gc",
        *QUICK,
    )

    result.assert_outcomes(passed=1)
