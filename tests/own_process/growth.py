"""What MemoryMonitor's batches say that each further call keeps, of operations that are known to leak or not to."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import tracemalloc
from itertools import count
from typing import TYPE_CHECKING, TextIO

import pytest

from perf import MemoryMonitor, judge_growth
from perf.errors import MeasurementError
from perf.measure.growth import BATCHES, TRACED_BATCHES, count_resources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 0.5
KB = 1000

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]


def leaking_in_python() -> Callable[[], object]:
    kept: dict[str, object] = {"last": None}  # a chain: a list would keep room for more at times
    return lambda: kept.update(last=(kept["last"], bytearray(KB)))


def leaking_in_c() -> Callable[[], object]:
    return lambda: libc.memset(libc.malloc(KB), 1, KB)


def caching() -> Callable[[], object]:
    cache: dict[int, bytearray] = {}
    numbers = count()
    return lambda: cache.__setitem__(next(numbers) % 500, bytearray(KB))


def replacing() -> Callable[[], object]:
    cache, numbers = dict.fromkeys(range(20_000), bytearray(KB)), count()
    for number in cache:
        cache[number] = bytearray(KB)
    return lambda: cache.__setitem__(next(numbers) % 20_000, bytearray(KB))


def clean() -> Callable[[], object]:
    return lambda: [str(number) for number in range(50)]


@pytest.mark.parametrize(
    ("make", "word", "memories"),
    [
        (leaking_in_python, "leaking", ["leaking", "leaking"]),
        (leaking_in_c, "leaking", ["stable", "leaking"]),
        (replacing, "inconclusive", ["inconclusive", "stable"]),
        (caching, "stable", ["stable", "stable"]),
        (clean, "stable", ["stable", "stable"]),
    ],
)
def test_a_leak_is_told_from_what_is_none(
    make: Callable[[], Callable[[], object]], word: str, memories: list[str]
) -> None:
    """1 kB a call is a leak, in Python and in C, where only the process's own memory shows it; a cache is none."""
    verdict = judge_growth(MemoryMonitor().measure_growth(make(), seconds=SECONDS))

    assert verdict.verdict == word
    assert [slope.verdict for slope in verdict.slopes] == memories


@pytest.mark.parametrize("make", [leaking_in_python, leaking_in_c])
def test_the_size_of_a_leak_is_right(make: Callable[[], Callable[[], object]]) -> None:
    """A leak of 1 kB is measured as 1 kB and what the allocator adds to it."""
    verdict = judge_growth(MemoryMonitor().measure_growth(make(), seconds=SECONDS))

    assert 0.99 * KB < verdict.by.low <= verdict.by.per_call <= verdict.by.high < 1.2 * KB


def test_a_leak_is_traced_to_its_line() -> None:
    """The site that kept most is the line that allocated it, once a call."""
    kept = []

    def leak() -> None:
        kept.append(bytearray(KB))

    site = MemoryMonitor().measure_growth(leak, seconds=SECONDS).sites[0]

    assert (site.file, site.line) == (__file__, leak.__code__.co_firstlineno + 1)
    assert 1 <= site.blocks < 2.1
    assert KB <= site.size < 1.5 * KB


def test_a_leak_by_a_library_names_who_called_it() -> None:
    """What Python's own code or a library allocated is told with the line of another package that led there."""
    kept = []

    def leak() -> None:
        kept.append(json.loads('["' + "x" * KB + '"]'))

    site = MemoryMonitor().measure_growth(leak, seconds=SECONDS).sites[0]

    assert "/json/" in site.file
    assert site.caller == f"{__file__}:{leak.__code__.co_firstlineno + 1}"


async def test_an_awaited_leak_is_found() -> None:
    """What an asynchronous operation keeps across a turn of the loop is a leak like any other."""
    kept = []

    async def leak() -> None:
        await asyncio.sleep(0)
        kept.append(bytearray(KB))

    verdict = judge_growth(await MemoryMonitor().measure_growth_async(leak, seconds=SECONDS))

    assert verdict.verdict == "leaking"
    assert 0.99 * KB < verdict.by.per_call < 1.2 * KB


def test_garbage_in_cycles_is_no_leak() -> None:
    """What only the garbage collector can free is freed before memory is read."""

    def cycle() -> None:
        one: list[object] = [bytearray(KB)]
        one.append(one)

    gc.disable()
    try:
        verdict = judge_growth(MemoryMonitor().measure_growth(cycle, seconds=SECONDS))
    finally:
        gc.enable()

    assert verdict.verdict == "stable"


def test_a_leak_into_free_room_is_found() -> None:
    """A leak that finds room enough in memory that was freed before takes nothing from the system, and is a leak."""
    room = [{str(number): "kept"} for number in range(300_000)]
    del room[::2]  # every other one, so that nothing can be given back
    kept: list[dict[str, str]] = []

    verdict = judge_growth(
        MemoryMonitor().measure_growth(lambda: kept.append({str(len(kept)): "kept"}), seconds=SECONDS)
    )

    assert [slope.verdict for slope in verdict.slopes] == ["leaking", "stable"]
    assert verdict.verdict == "leaking"


def test_the_peak_is_of_one_call() -> None:
    """100 kB that a call needs for a moment are its peak, and nothing that it keeps."""
    growth = MemoryMonitor().measure_growth(lambda: len(bytearray(100 * KB)), seconds=SECONDS)

    assert 100 * KB <= growth.peak < 110 * KB
    assert judge_growth(growth).verdict == "stable"


def test_pauses_of_the_collector_are_those_of_the_calls() -> None:
    """An operation that collects garbage pauses once a call; what the monitor collects in between is not counted."""
    growth = MemoryMonitor().measure_growth(gc.collect, seconds=SECONDS)

    quiet = MemoryMonitor().measure_growth(lambda: None, seconds=SECONDS)

    number, total, longest, share = growth.pauses
    assert number == BATCHES * growth.calls
    assert 0 < longest <= total
    assert 0.5 < share <= 1
    assert quiet.pauses == (0, 0.0, 0.0, 0.0)


async def test_what_is_left_open_is_counted(tmp_path: Path) -> None:
    """Files and tasks that each call leaves behind are more afterwards, and named so."""
    files: list[TextIO] = []
    tasks: list[asyncio.Task[None]] = []
    calls = count()

    async def leave_open() -> None:
        if next(calls) % 1000 == 0:
            files.append((tmp_path / f"{len(files)}").open("w"))
            tasks.append(asyncio.create_task(asyncio.sleep(60)))

    verdict = judge_growth(await MemoryMonitor().measure_growth_async(leave_open, seconds=SECONDS))

    for file, task in zip(files, tasks, strict=True):
        file.close()
        task.cancel()
    assert 0 < verdict.opened["files"] < len(files)
    assert verdict.opened["files"] == verdict.opened["tasks"]


def test_without_a_loop_there_are_no_tasks() -> None:
    """A synchronous program has threads and no tasks."""
    counted = count_resources()

    assert counted["threads"] >= 1
    assert counted["tasks"] == 0


def test_slow_operations_are_called_once_a_batch() -> None:
    """An operation too slow for the time is called once in each batch, whose peak it is too."""
    calls = count()

    growth = MemoryMonitor(clock=lambda: float(next(calls))).measure_growth(lambda: next(calls), seconds=SECONDS)

    assert growth.calls == 1
    assert (len(growth.rss), len(growth.traced)) == (BATCHES, TRACED_BATCHES)


@pytest.mark.parametrize("traced_before", [True, False])
def test_tracing_is_left_as_it_was(traced_before: bool) -> None:  # noqa: FBT001 - a case
    """Tracing that went on before goes on, else it has ended, also when the operation raises."""
    numbers = count()

    def raise_when_traced() -> None:
        if next(numbers) > 30 and tracemalloc.is_tracing():
            raise ZeroDivisionError

    if traced_before:
        tracemalloc.start()
    try:
        with pytest.raises(ZeroDivisionError):
            MemoryMonitor().measure_growth(raise_when_traced, seconds=SECONDS)
        after = tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()

    assert after is traced_before


def test_a_raising_operation_leaves_nothing_behind() -> None:
    """Half a measurement is none, and no callback is left with the collector."""
    callbacks, monitor = list(gc.callbacks), MemoryMonitor()

    with pytest.raises(ZeroDivisionError):
        monitor.measure_growth(lambda: 1 // 0, seconds=SECONDS)

    assert monitor.growths == []
    assert gc.callbacks == callbacks


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
async def test_no_time_is_refused(seconds: float) -> None:
    """Seconds that are none are refused in both forms."""
    with pytest.raises(MeasurementError, match="seconds must be a finite number above 0"):
        MemoryMonitor().measure_growth(lambda: None, seconds=seconds)
    with pytest.raises(MeasurementError, match="seconds must be a finite number above 0"):
        await MemoryMonitor().measure_growth_async(lambda: asyncio.sleep(0), seconds=seconds)


def test_progress_is_told_of_what_takes_longer_than_two_seconds() -> None:
    """What is quick tells nothing; what takes long tells how far it is, once a second."""
    told: list[str] = []
    seconds = count(step=0.01)
    MemoryMonitor(clock=lambda: next(seconds), progress=told.append).measure_growth(lambda: None, seconds=SECONDS)
    quick = list(told)

    slow = count(step=0.3)
    MemoryMonitor(clock=lambda: next(slow), progress=told.append).measure_growth(lambda: None, seconds=SECONDS)

    assert quick == []
    assert told
    assert all(f"of {BATCHES + TRACED_BATCHES} batches" in line for line in told)
    seconds_told = [int(line.partition(" ")[0]) for line in told]
    assert seconds_told == sorted(set(seconds_told))
