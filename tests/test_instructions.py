"""Instructions per call, counted by valgrind in live workers, and of which operations they are counted."""

from __future__ import annotations

import os
import shutil
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from perf.counting import MOST, worth_counting
from perf.judge.comparison import INCONCLUSIVE, PASSED, REGRESSED
from perf.measure import duet
from perf.measure.duet import Block
from perf.measure.instructions import absent, count_instructions, waits
from perf.record.summary import Operation
from tests.conftest import INI, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from perf.measure.instructions import Counted

BENCHMARKS = """
    import asyncio, os
    from itertools import repeat

    def work(turns):
        for _ in repeat(None, turns):
            str(12345)

    async def work_in_the_loop(turns):
        work(turns)

    def fail():
        raise ValueError("on purpose")

    def test_once(benchmark):
        benchmark(work, 2000)

    def test_fails(benchmark):
        benchmark(fail)

    def test_twice(benchmark):
        benchmark(work, 4000)

    async def test_in_the_loop(async_benchmark):
        await async_benchmark(work_in_the_loop, 2000)

    async def test_sleeps(async_benchmark):
        await async_benchmark(asyncio.sleep, 0.002)

    def test_dies(benchmark):
        benchmark(os._exit, 3)
"""
IN = "benchmarks/test_custom_performance.py::"
COMMAND = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with benchmarks that do known work, in which pytest is to run."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(REPOSITORY / "thresholds.toml", folder)
    (folder / "pytest.ini").write_text(INI, encoding="utf-8")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "test_custom_performance.py").write_text(dedent(BENCHMARKS), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def counted(folder: Path) -> Counted:
    """What was counted of two processes of the same code."""
    if reason := absent(os.environ):
        pytest.skip(reason)
    tests = [IN + name for name in ("test_once", "test_fails", "test_twice", "test_in_the_loop", "test_dies")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return count_instructions({"baseline": COMMAND, "current": COMMAND}, tests, folder, os.environ)


def test_twice_the_work_is_twice_the_instructions(counted: Counted) -> None:
    """A loop of twice the length takes twice the instructions, within 0.2 %: starting up is not counted."""
    once, twice = (counted.per_call[IN + name]["current"] for name in ("test_once", "test_twice"))

    assert twice / once == pytest.approx(2, rel=0.002)


@pytest.mark.parametrize("name", ["test_once", "test_twice", "test_in_the_loop"])
def test_a_count_repeats(counted: Counted, name: str) -> None:
    """Two processes of the same code count the same, within 0.1 %."""
    found = counted.per_call[IN + name]

    assert found["current"] == pytest.approx(found["baseline"], rel=0.001)


def test_awaited_work_is_counted(counted: Counted) -> None:
    """The same work takes as many instructions in a coroutine as outside one, within 5 %."""
    plain, awaited = (counted.per_call[IN + name]["baseline"] for name in ("test_once", "test_in_the_loop"))

    assert awaited == pytest.approx(plain, rel=0.05)


def test_what_fails_is_said_and_the_rest_goes_on(counted: Counted) -> None:
    """An operation that raises, and one that kills its process, are a line each and no failure."""
    raised, died = counted.notes

    assert counted.per_call.keys() == {IN + name for name in ("test_once", "test_twice", "test_in_the_loop")}
    assert raised.startswith(f"instructions not counted of {IN}test_fails: under valgrind it fails: ")
    assert raised.endswith("ValueError: on purpose")
    assert died.startswith(f"instructions not counted of {IN}test_dies: baseline under valgrind ended: ")


def test_without_valgrind_nothing_is_counted(tmp_path: Path) -> None:
    """Where valgrind is not installed that is a line, and no process is started."""
    counted = count_instructions({"baseline": ["no such program"]}, [IN + "test_once"], tmp_path, {"PATH": ""})

    assert counted.per_call == {}
    assert counted.notes == ["instructions not counted: valgrind is not installed"]


def test_a_sleeping_operation_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that sleeps is known by the blocks of an ordinary measuring."""
    monkeypatch.chdir(folder)
    with duet.started({"baseline": COMMAND, "current": COMMAND}, folder, os.environ, 60) as workers:
        old, new = workers.values()
        for worker in (old, new):
            worker.hear()
            worker.tell(run=[IN + "test_sleeps"])

        told = duet.measure([old, new], {"current": (duet.Stream(worker=old), duet.Stream(worker=new))}, None)

    assert all(waits(blocks) for blocks in told.blocks["current"])


@pytest.mark.parametrize(("busy", "waiting"), [(0.89, True), (0.91, False), (1.0, False)])
def test_the_middle_block_decides_what_waits(busy: float, waiting: bool) -> None:  # noqa: FBT001 - a parameter
    """An operation waits where its process is busy for less than nine tenths of the middle block."""
    assert waits([Block(8, 2.0, 0.1), Block(8, 2.0, 2 * busy), Block(8, 2.0, 2.0)]) is waiting


def operation(name: str) -> Operation:
    return Operation("custom", name, f"test_{name}", name, "latency", 1)


def test_what_waits_is_left_out() -> None:
    """An operation that waits is not counted, and that is said."""
    blocks = {"test_busy": [Block(1, 1.0, 1.0)], "test_idle": [Block(1, 1.0, 0.1)]}

    chosen, left_out = worth_counting({operation("busy"): PASSED, operation("idle"): REGRESSED}, blocks)

    assert chosen == [operation("busy")]
    assert left_out == ["instructions not counted of idle: they wait for something"]


def test_what_is_in_doubt_comes_first() -> None:
    """Of more operations than are counted those that regressed or are not settled are kept; the others are named."""
    passed = [operation(f"passed{number}") for number in range(MOST)]
    doubtful = {operation("regressed"): REGRESSED, operation("open"): INCONCLUSIVE}
    verdicts = {**dict.fromkeys(passed, PASSED), **doubtful}

    chosen, left_out = worth_counting(verdicts, {one.test: [Block(1, 1.0, 1.0)] for one in verdicts})

    assert chosen == [*doubtful, *passed[: MOST - 2]]
    assert left_out == [f"instructions not counted of passed{MOST - 2}, passed{MOST - 1}: only {MOST} are"]
