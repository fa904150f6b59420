"""What MemoryMonitor says that calls do to memory."""

from __future__ import annotations

import asyncio
import gc
import mmap
from typing import TYPE_CHECKING

import pytest

from perf import MemoryMonitor
from perf.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024


def block() -> mmap.mmap:
    """Return 20 MiB that are really resident, taken from the system and given back to it when let go.

    What `bytearray` frees may stay with the allocator, and a later allocation would then show no growth.
    """
    pages = mmap.mmap(-1, 20 * MIB)
    pages[:: mmap.PAGESIZE] = b"x" * (20 * MIB // mmap.PAGESIZE)
    return pages


class Cycle:
    """20 MiB that only the garbage collector can free."""

    def __init__(self) -> None:
        self.ballast = block()
        self.itself = self


def resident(*mebibytes: float) -> Callable[[], int]:
    """Return a reader of memory that answers each of `mebibytes` in turn."""
    readings = iter(mebibytes)
    return lambda: int(next(readings) * MIB)


def test_kept_memory_shows_as_growth() -> None:
    """An operation that keeps 20 MiB shows growth of about 20 MiB, and keeps it through garbage collection."""
    kept = []

    usage = MemoryMonitor()(lambda: kept.append(block()))

    assert 0.8 < usage["memory_delta_mb"] / 20 < 1.5
    assert 0.8 < usage["memory_per_operation_mb"] / 20 < 1.5


def test_released_memory_is_no_growth() -> None:
    """An operation that lets 20 MiB go again shows a small part of them at most."""
    usage = MemoryMonitor()(lambda: len(block()))

    assert usage["memory_delta_mb"] / 20 < 0.5


def test_exact_figures() -> None:
    """Before, after, growth, what gc frees and what each call keeps follow from three readings of memory."""
    times = iter([10.0, 13.0, 20.0, 20.5])
    monitor = MemoryMonitor(resident_bytes=resident(100, 150, 120), clock=lambda: next(times))

    usage = monitor.measure(lambda: "done", operations=4, operation_type="write")

    expected = {
        "memory_before_mb": 100,
        "memory_after_mb": 150,
        "memory_delta_mb": 50,
        "memory_per_operation_mb": 5,
        "memory_after_gc_mb": 120,
        "memory_freed_by_gc_mb": 30,
        "execution_time": 3.0,
        "gc_seconds": 0.5,
    }
    assert {name: usage[name] for name in expected} == expected
    assert (usage["operations"], usage["operation_type"], usage["result"]) == (4, "write", "done")


async def test_the_three_forms_agree() -> None:
    """One call, a synchronous operation and an asynchronous one give the same figures and call as often as told."""
    calls = []

    async def work() -> int:
        await asyncio.sleep(0)
        calls.append("async")
        return 3

    def work_at_once(value: int, *, more: int) -> int:
        calls.append("sync")
        return value + more

    def monitor() -> MemoryMonitor:
        return MemoryMonitor(resident_bytes=resident(10, 13, 13), clock=lambda: 0.0)

    one = monitor()(work_at_once, 1, more=2)
    sync = monitor().measure(lambda: work_at_once(1, more=2), operations=3)
    waited = await monitor().measure_async(work, operations=3)

    assert calls == ["sync"] * 4 + ["async"] * 3
    assert [usage["memory_delta_mb"] for usage in (one, sync, waited)] == [3, 3, 3]
    assert [usage["memory_per_operation_mb"] for usage in (one, sync, waited)] == [3, 1, 1]
    assert [usage["result"] for usage in (one, sync, waited)] == [3, 3, 3]


def test_the_subject_is_what_was_called() -> None:
    """The reading names the operation itself, or what it only wraps."""
    monitor = MemoryMonitor()

    monitor(len, [1])
    monitor.measure(lambda: len([1]), measured=sorted)

    assert [reading["measured"] for reading in monitor.readings] == [len, sorted]


def test_garbage_is_told_from_what_is_kept() -> None:
    """Memory in a cycle that nothing refers to is freed by gc and no part of what the call keeps."""
    gc.disable()
    try:
        usage = MemoryMonitor().measure(lambda: len(Cycle().ballast))
    finally:
        gc.enable()

    assert 0.8 < usage["memory_delta_mb"] / 20 < 1.5
    assert 0.8 < usage["memory_freed_by_gc_mb"] / 20 < 1.5
    assert usage["memory_per_operation_mb"] / 20 < 0.5
    assert usage["gc_collected_objects"] >= 1


def test_garbage_of_before_is_not_the_operations() -> None:
    """Garbage that lay about before the calls is collected first, so it cannot hide what they keep."""
    gc.disable()
    try:
        Cycle()
        usage = MemoryMonitor()(lambda: None)
    finally:
        gc.enable()

    assert usage["memory_freed_by_gc_mb"] / 20 < 0.5


def test_readings_keep_every_measurement_without_its_result() -> None:
    """`readings` keeps the figures of each measurement and lets go of what the operation returned."""
    monitor = MemoryMonitor()

    monitor(lambda: "large")
    monitor.measure(lambda: None, operations=2)

    assert [reading["operations"] for reading in monitor.readings] == [1, 2]
    assert all("result" not in reading for reading in monitor.readings)


def test_a_raising_operation_leaves_no_reading() -> None:
    """What an operation raises comes through, and half a measurement is none."""
    monitor = MemoryMonitor()

    with pytest.raises(ZeroDivisionError):
        monitor(lambda: 1 // 0)

    assert monitor.readings == []


@pytest.mark.parametrize("operations", [0, -1])
async def test_no_calls_are_refused(operations: int) -> None:
    """Memory of no calls is refused in both forms."""
    monitor = MemoryMonitor()

    with pytest.raises(MeasurementError, match="operations must be 1 or more"):
        monitor.measure(lambda: None, operations=operations)
    with pytest.raises(MeasurementError, match="operations must be 1 or more"):
        await monitor.measure_async(lambda: asyncio.sleep(0), operations=operations)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_a_coroutine_function_is_not_measured_unawaited() -> None:
    """A coroutine function given to a synchronous form is refused: calling it does none of its work."""
    monitor = MemoryMonitor()

    async def work() -> None:
        pytest.fail("never awaited")

    with pytest.raises(MeasurementError, match="measure_async"):
        monitor(work)
    with pytest.raises(MeasurementError, match="measure_async"):
        monitor.measure(work)

    assert monitor.readings == []
