"""Two builds in lockstep, real processes on a small project: what is found, and what becomes of each fault."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from perf.errors import MeasurementError
from perf.judge.ab import LOOKS, judge_builds, judge_sentinels
from perf.measure.instructions import absent
from perf.pairing import BASELINE, CURRENT, Request, compare_builds
from perf.record.ab import BLOCKS, BROKEN, NEW, NOT_OFFERED, TURNS

if TYPE_CHECKING:
    from perf.record.ab import PairedRun

REPOSITORY = Path(__file__).parents[1]
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = -p no:logging -p no:hypothesispytest -p no:anyio -p no:xdist
"""
# The environment's name stands for the build: the two differ in what SIDE says.
BENCHMARKS = """
import asyncio, os, signal, sys, time
import pytest

CURRENT = os.environ["SIDE"] == "current"

def count(n):
    return sum(range(n))

def extra(n):
    return sum(range(n))

@pytest.mark.quick
def test_same(benchmark):
    benchmark(count, 2000)

def test_slower(benchmark):
    benchmark(lambda: (count(2000), extra(1000) if CURRENT else None))

def test_two_minds(benchmark):
    # Every tenth of a second the new build is slow for two fifths of it.
    benchmark(lambda: count(6000 if CURRENT and int(time.monotonic() * 100) % 10 >= 6 else 2000))

async def test_prints(async_benchmark):
    async def operation():
        count(2000)
        os.write(1, b"noise on standard output\\n")
    await async_benchmark(operation)

def test_fresh_arguments(benchmark):
    benchmark.pedantic(sorted, setup=lambda: ((list(range(500, 0, -1)),), {}), rounds=3)

def test_dies(benchmark):
    benchmark(lambda: os.kill(os.getpid(), signal.SIGKILL) if CURRENT else None)

def test_hangs(benchmark):
    benchmark(lambda: time.sleep(1000) if CURRENT else None)

def test_raises(benchmark):
    calls = []
    def operation():
        calls.append(1)
        if CURRENT and len(calls) > 20:
            raise ValueError("the twenty-first call")
    benchmark(operation)

def test_fails(benchmark):
    benchmark(count, 10)
    assert False, "wrong whatever the build"

def test_only_in_the_current(benchmark):
    if not CURRENT:
        from perf.errors import NotOfferedError
        raise NotOfferedError("the old build lacks it")
    benchmark(count, 10)

def test_in_neither(benchmark):
    from perf.errors import NotOfferedError
    raise NotOfferedError("no build has it")

@pytest.mark.scalability
async def test_at_once(load_test_runner):
    await load_test_runner.run_async_load_test(lambda: asyncio.sleep(0.002), 5, 4)

@pytest.mark.memory
def test_memory(memory_monitor):
    memory_monitor(lambda: None)
"""


def side(folder: Path, name: str) -> str:
    """Write an interpreter that says which build it is."""
    path = folder / f"python-{name}"
    path.write_text(f'#!/bin/sh\nSIDE={name} exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


def project_in(folder: Path) -> Path:
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "test_numbers_performance.py").write_text(BENCHMARKS)
    (folder / "pytest.ini").write_text(INI)
    shutil.copy(REPOSITORY / "thresholds.toml", folder)
    return folder


def request_in(folder: Path, *selection: str, budget: float = 300, patience: float = 20) -> Request:
    return Request(
        root=folder,
        profile="dev",
        specs={BASELINE: "old", CURRENT: "new"},
        pythons={name: side(folder, name) for name in (BASELINE, CURRENT)},
        selection=selection,
        tolerance=0.1,
        confidence=0.99,
        budget=budget,
        patience=patience,
    )


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[PairedRun, list[str], Path]:
    """The small project with both builds compared, what was said meanwhile, and where that was."""
    folder = project_in(tmp_path_factory.mktemp("pairing"))
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = compare_builds(request_in(folder, patience=40), os.environ, said.append)
    return run, said, folder


def test_what_is_slower_is_found_and_what_is_not_is_left(compared: tuple[PairedRun, list[str], Path]) -> None:
    """An operation with half as much work again has regressed; one that is the same, printed to or not, has not."""
    changes = [one for one in judge_builds(compared[0]) if one.comparison]
    verdicts = {one.operation.name: one.comparison.verdict for one in changes if one.comparison}

    assert verdicts["slower"] == "regressed"
    assert {verdicts[name] for name in ("same", "prints", "fresh_arguments")} <= {"passed", "inconclusive"}


def test_what_behaves_differently_each_time_has_no_verdict(compared: tuple[PairedRun, list[str], Path]) -> None:
    """An operation that is now as fast as before, now three times slower, is inconclusive, and the report says why."""
    [found] = [one for one in judge_builds(compared[0]) if one.operation.name == "two_minds"]

    assert found.comparison is not None
    assert found.comparison.verdict == "inconclusive"
    assert "do not take the same time" in found.reason or "not clear of the tolerance" in found.reason


def test_an_operation_that_is_settled_is_measured_no_more(compared: tuple[PairedRun, list[str], Path]) -> None:
    """Where the difference is plain an early look settles it, and no further pair is spent on it."""
    [slower] = [one for one in compared[0].compared if one.operation.name == "slower"]

    assert len(slower.pairs) in LOOKS[:2]
    assert slower.by == BLOCKS


def test_both_sides_make_as_many_blocks(compared: tuple[PairedRun, list[str], Path]) -> None:
    """In each pair the two sides alternate block by block."""
    for one in compared[0].compared:
        for pair in one.pairs:
            assert len(pair.baseline) == len(pair.current)


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("dies", BROKEN, "current: was killed by SIGKILL"),
        ("hangs", BROKEN, "current: hangs: not a word for 40 s"),
        ("raises", BROKEN, "current: ValueError: the twenty-first call"),
        ("fails", "failed", "wrong whatever the build"),
        ("only_in_the_current", NEW, "the old build lacks it"),
        ("in_neither", NOT_OFFERED, "no build has it"),
    ],
)
def test_each_fault_is_said_and_the_rest_goes_on(
    compared: tuple[PairedRun, list[str], Path], name: str, kind: str, reason: str
) -> None:
    """A test that gives no comparison is named with its reason and its side, and compared nowhere."""
    run = compared[0]
    [found] = [one for one in run.unpaired if one.operation.name == name]

    assert found.kind == kind
    assert reason in found.reason
    assert name not in {one.operation.name for one in run.compared}


def test_a_load_test_is_compared_in_turns(compared: tuple[PairedRun, list[str], Path]) -> None:
    """What cannot be cut into blocks takes whole turns, a figure a pair, and the reader is told."""
    [load] = [one for one in compared[0].compared if one.operation.kind == "load"]
    [change] = [one for one in judge_builds(compared[0]) if one.operation == load.operation]

    assert (load.by, load.metric, load.better) == (TURNS, "throughput", "higher")
    assert {len(pair.baseline) for pair in load.pairs} == {1}
    assert "turns" in change.reason


def test_memory_tests_are_left_out_by_name(compared: tuple[PairedRun, list[str], Path]) -> None:
    """What measures no time is not compared, and the run says which that is."""
    assert any("memory" in line for line in compared[0].left_out)


def test_the_sentinels_watch(compared: tuple[PairedRun, list[str], Path]) -> None:
    """The baseline with itself, and with itself slowed by more than the tolerance, are measured in every run."""
    run = compared[0]
    assert run.sentinels is not None
    sentinels = judge_sentinels(run)

    assert run.sentinels.slowed_by == pytest.approx(1.1 * 1.02 - 1)
    assert sentinels is not None
    assert sentinels[0].verdict != "regressed"
    assert sentinels[1].ratio == pytest.approx(1.122, abs=0.05)


def test_the_cause_is_named(compared: tuple[PairedRun, list[str], Path]) -> None:
    """Of what regressed, the functions whose own time grew most are named, and both profiles are kept."""
    run, _, folder = compared
    [cause] = run.causes
    names = [one.function for one in cause.grown]

    assert cause.operation.name == "slower"
    assert {"<built-in method builtins.sum>", "extra"} & set(names)
    assert all(one.after > one.before for one in cause.grown)
    assert all((folder / path).is_file() for path in cause.profiles)
    assert len(cause.profiles) == 2


def test_progress_tells_what_is_left(compared: tuple[PairedRun, list[str], Path]) -> None:
    """After each pair a line says how many tests are to be settled and how long that may take."""
    assert any("tests to settle" in line and "s left" in line for line in compared[1])


def test_no_process_is_left(compared: tuple[PairedRun, list[str], Path]) -> None:
    """Neither a worker that was killed nor one that hung outlives the comparison."""
    children = [one for one in psutil.Process().children(recursive=True) if "pytest" in " ".join(one.cmdline())]

    assert children == []


def test_instructions_are_counted_beside_the_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, instructions are counted in both builds of what was compared, and are the same of the same code."""
    if reason := absent(os.environ):
        pytest.skip(reason)
    monkeypatch.chdir(project_in(tmp_path))
    monkeypatch.setenv("SIDE", "either")
    pythons = dict.fromkeys((BASELINE, CURRENT), sys.executable)  # valgrind does not follow a script to what it becomes
    request = replace(request_in(tmp_path, "-k", "same", budget=8), instructions=True, pythons=pythons)

    [counted] = compare_builds(request, os.environ, lambda _: None).instructions

    assert counted.operation.name == "same"
    assert counted.after == pytest.approx(counted.before, rel=0.02)


def test_a_spent_budget_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the budget is spent, what was measured so far stands and nothing has a verdict."""
    monkeypatch.chdir(project_in(tmp_path))

    run = compare_builds(request_in(tmp_path, "-k", "same", budget=0.1), os.environ, lambda _: None)

    assert any("budget" in note for note in run.notes)
    assert {one.verdict for one in judge_builds(run)} <= {"inconclusive"}


def test_nothing_selected_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A selection that matches nothing is said, not passed."""
    monkeypatch.chdir(project_in(tmp_path))

    with pytest.raises(MeasurementError, match="no benchmark is selected"):
        compare_builds(request_in(tmp_path, "-k", "nonesuch"), os.environ, lambda _: None)


def test_a_build_that_cannot_begin_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a worker ends before its first test, its last words are the reason."""
    monkeypatch.chdir(project_in(tmp_path))
    (tmp_path / "benchmarks" / "conftest.py").write_text("raise RuntimeError('not today')\n")

    with pytest.raises(MeasurementError, match=r"could not begin.*not today"):
        compare_builds(request_in(tmp_path), os.environ, lambda _: None)


def test_without_leave_to_pin_it_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process may be kept on one CPU the comparison is made, and the report tells."""

    def refuse(_process: int, _cpus: object) -> None:
        raise PermissionError("not permitted")

    monkeypatch.chdir(project_in(tmp_path))
    monkeypatch.setattr(os, "sched_setaffinity", refuse)

    run = compare_builds(request_in(tmp_path, "-k", "same", budget=3), os.environ, lambda _: None)

    assert any("kept on one CPU" in note for note in run.notes)
    assert run.compared


SCRIPT = """
import os, sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from tests.test_pairing import request_in
from perf.pairing import compare_builds
compare_builds(request_in(Path.cwd(), "-k", "same or at_once"), os.environ, lambda text: print(text, flush=True))
"""


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    """After Ctrl-C no worker, no server and no scratch folder is there."""
    project_in(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = ["env", "--default-signal=INT", sys.executable, "-c", SCRIPT.format(repository=str(REPOSITORY))]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first pair is through
        time.sleep(0.05)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.wait(30)

    _, alive = psutil.wait_procs(started, timeout=5)
    assert started
    assert alive == []
    assert list(scratch.glob("khive-perf*")) == []
