"""What each further call keeps: this process's memory after one batch of calls after another."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

from perf.errors import MeasurementError
from perf.measure.garbage import GarbagePauses
from perf.measure.progress import Telling
from perf.measure.resident import give_back

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

BATCHES = 24
"""Batches of calls after which memory is read as it is."""

TRACED_BATCHES = 12
"""Batches that follow under tracemalloc, which is exact and slow, and takes memory itself."""

_MOST_CALLS = 1000  # a batch: what leaks 1 kB a call must not fill the machine
_TRACED_TAKES = 5  # times as long as an untraced batch, or so
_MOST_SITES = 10
_FRAMES = 12
_STANDARD = Path(os.__file__).parent
_CALIBRATION = 0.1
_OURS = {tracemalloc.__file__, __file__, str(Path(__file__).with_name("memory.py"))}


class Site(msgspec.Struct, frozen=True):
    """A line that allocated what was kept: `size` in bytes and `blocks`, both per call.

    `caller` is the line of another package that led there, as "file:line", "" where none did.
    """

    file: str
    line: int
    size: float
    blocks: float
    caller: str = ""


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """Memory after batches of `calls` each, in bytes, garbage collected and free memory given back before each reading.

    `rss` and `uss` (resident, and of it what no other process shares; empty where the system does not tell) are of the
    first pass. `traced` is what Python's allocations keep, after batches of a second pass, against what they kept
    before the first, `blocks` how many small blocks, traced or not; `peak` is the most that one call needed above that
    for a moment, a median. `sites` are the lines that kept more in both halves of that pass, the most first. `pauses`
    are the garbage collector's during the calls: how many, their sum and the longest in seconds, and their share of the
    time. `before` and `after` count what is open: files, sockets, threads, asyncio tasks.
    """

    calls: int
    rss: list[int]
    uss: list[int]
    traced: list[int]
    blocks: list[int]
    peak: float
    sites: list[Site]
    pauses: tuple[int, float, float, float]
    before: dict[str, int]
    after: dict[str, int]


def count_resources() -> dict[str, int]:
    """Return how many files, sockets and threads this process has, and tasks the running loop (0 without one)."""
    process = psutil.Process()
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:
        tasks = 0
    return {
        "files": len(process.open_files()),
        "sockets": len(process.net_connections(kind="all")),
        "threads": process.num_threads(),
        "tasks": tasks,
    }


def batches_of_calls(
    seconds: float, *, clock: Callable[[], float] = time.perf_counter, progress: Callable[[str], None] | None = None
) -> Generator[int, None, Growth]:
    """Give how often to call the operation, batch by batch, so that all takes about `seconds`; return what that kept.

    Whoever makes the calls, synchronous or awaited, iterates this, and closes it however the calls end.
    MeasurementError on seconds that are none.
    """
    if not 0 < seconds < float("inf"):
        raise MeasurementError(f"seconds must be a finite number above 0, not {seconds!r}")
    tell = Telling(progress, clock)
    calls = yield from _calibrated(seconds / (BATCHES + _TRACED_TAKES * TRACED_BATCHES), clock)
    before = count_resources()
    rss, uss, pauses, spent = [], [], GarbagePauses(), 0.0
    for number in range(BATCHES):
        start = clock()
        with pauses:
            yield calls
        spent += clock() - start
        memory = _settled()
        rss.append(memory.rss)
        if hasattr(memory, "uss"):
            uss.append(memory.uss)
        tell(_how_far(number + 1))
    traced, blocks, peak, sites = yield from _traced(calls, tell)
    return Growth(
        calls=calls,
        rss=rss,
        uss=uss,
        traced=traced,
        blocks=blocks,
        peak=peak,
        sites=sites,
        pauses=(pauses.count, pauses.total, pauses.longest, pauses.total / spent if spent else 0.0),
        before=before,
        after=count_resources(),
    )


def _calibrated(seconds: float, clock: Callable[[], float]) -> Generator[int, None, int]:
    """Call ever more often until it takes a tenth of `seconds`, and return how often fits them."""
    calls = 1
    yield calls  # what a first call sets up is not what a call takes
    while True:
        start = clock()
        yield calls
        took = clock() - start
        if took >= _CALIBRATION * seconds or calls >= _MOST_CALLS:
            return min(max(int(calls * seconds / took), 1), _MOST_CALLS) if took > 0 else _MOST_CALLS
        calls = min(4 * calls, _MOST_CALLS)


def _settled() -> Any:  # noqa: ANN401 - psutil's, another on each system
    gc.collect()
    give_back()
    process = psutil.Process()
    try:
        return process.memory_full_info()
    except psutil.AccessDenied:
        return process.memory_info()


def _traced(calls: int, tell: Telling) -> Generator[int, None, tuple[list[int], list[int], float, list[Site]]]:
    """Give batches under tracemalloc; return what was kept after each, the peak of a call, and the sites.

    What is kept is added up over the calls alone, so that what is noted in between, here or anywhere, is no part of it.
    """
    kept = kept_blocks = 0
    traced, blocks, peaks, snapshots = [], [], [], []
    with _tracing():
        yield calls
        for number in range(TRACED_BATCHES):
            if number in {0, TRACED_BATCHES // 2}:
                snapshots.append(_snapshot())
            gc.collect()
            tracemalloc.reset_peak()
            before, blocks_before = tracemalloc.get_traced_memory()[0], sys.getallocatedblocks()
            yield 1
            _, peak = tracemalloc.get_traced_memory()
            if calls > 1:
                yield calls - 1
            gc.collect()
            kept_blocks += sys.getallocatedblocks() - blocks_before
            kept += tracemalloc.get_traced_memory()[0] - before
            traced.append(kept)
            blocks.append(kept_blocks)
            peaks.append(peak - before)
            tell(_how_far(BATCHES + number + 1))
        snapshots.append(_snapshot())
    return traced, blocks, median(peaks), _grown(snapshots, calls * TRACED_BATCHES)


@contextmanager
def _tracing() -> Iterator[None]:
    """Trace allocations, unless they are already traced: then that goes on afterwards."""
    if tracemalloc.is_tracing():
        yield
        return
    tracemalloc.start(_FRAMES)
    try:
        yield
    finally:
        tracemalloc.stop()


def _snapshot() -> tracemalloc.Snapshot:
    gc.collect()
    return tracemalloc.take_snapshot()


def _grown(snapshots: Sequence[tracemalloc.Snapshot], calls: int) -> list[Site]:
    """Return the lines that kept more in both halves, but for our own."""
    begin, middle, end = ({one.traceback[0]: one for one in shot.statistics("lineno")} for shot in snapshots)
    nothing = tracemalloc.Statistic(tracemalloc.Traceback(()), 0, 0)
    grown = []
    for at, last in end.items():
        first = begin.get(at, nothing)
        if at.filename not in _OURS and first.size < middle.get(at, nothing).size < last.size:
            grown.append((at, (last.size - first.size) / calls, (last.count - first.count) / calls))
    grown.sort(key=lambda one: one[1], reverse=True)
    ways = snapshots[-1].statistics("traceback")
    return [
        Site(
            at.filename,
            at.lineno,
            size,
            blocks,
            _caller(next(way.traceback for way in ways if way.traceback[-1] == at)),
        )
        for at, size, blocks in grown[:_MOST_SITES]
    ]


def _caller(way: tracemalloc.Traceback) -> str:
    """Return the nearest line on the way to an allocation that is of another package, and not of Python's own."""
    home = _package(way[-1].filename)
    nearest = (at for at in reversed(way) if at.filename not in _OURS and _package(at.filename) not in {home, ""})
    return next((f"{at.filename}:{at.lineno}" for at in nearest), "")


def _package(file: str) -> str:
    """Return the package that a file is of, the folder where it is of none, "" for Python's own."""
    _, installed, path = file.rpartition("site-packages/")
    if installed:
        return path.partition("/")[0]
    return "" if file.startswith("<") or Path(file).is_relative_to(_STANDARD) else str(Path(file).parent)


def _how_far(batch: int) -> str:
    return f"{batch} of {BATCHES + TRACED_BATCHES} batches of calls"
