"""Memory of this process before and after calls, per call, and around garbage collection."""

from __future__ import annotations

import ctypes
import gc
import inspect
import time
from typing import TYPE_CHECKING, Any

import psutil

from perf.errors import MeasurementError
from perf.units import MIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class MemoryMonitor:
    """Measures what calls do to the resident memory of this process; `readings` keeps every result.

    Garbage is collected before the calls, so that what they leave behind is theirs, and once more after
    them, so that what they merely left lying about is told from what they keep. Both times the allocator gives
    back what it holds free, in which growth would hide.
    """

    def __init__(
        self,
        *,
        resident_bytes: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.readings: list[dict[str, Any]] = []
        self._resident_bytes = resident_bytes or _resident_bytes
        self._clock = clock

    def __call__(self, operation: Callable[..., object], *args: object, **kwargs: object) -> dict[str, Any]:
        """Call `operation` once and return its memory figures, in MiB, beside its `result`."""
        _refuse(operation)
        return self.measure(lambda: operation(*args, **kwargs), measured=operation)

    def measure(
        self,
        operation: Callable[[], object],
        *,
        operations: int = 1,
        operation_type: str | None = None,
        measured: Callable[..., object] | None = None,
    ) -> dict[str, Any]:
        """Call `operation` that many times and return the figures of all calls together, in MiB.

        `measured` is the callable the report names as the subject, where `operation` only wraps it.
        """
        _refuse(operation)
        begin = self._begin(operations)
        result = None
        for _ in range(operations):
            result = operation()
        return self._end(begin, operations, operation_type, measured or operation, result)

    async def measure_async(
        self,
        operation: Callable[[], Awaitable[object]],
        *,
        operations: int = 1,
        operation_type: str | None = None,
        measured: Callable[..., object] | None = None,
    ) -> dict[str, Any]:
        """Await `operation` that many times, one after another; see `measure`."""
        begin = self._begin(operations)
        result = None
        for _ in range(operations):
            result = await operation()
        return self._end(begin, operations, operation_type, measured or operation, result)

    def _begin(self, operations: int) -> tuple[int, float]:
        if operations < 1:
            raise MeasurementError(f"operations must be 1 or more, not {operations!r}")
        gc.collect()
        _give_back()
        return self._resident_bytes(), self._clock()

    def _end(
        self,
        begin: tuple[int, float],
        operations: int,
        operation_type: str | None,
        measured: Callable[..., object],
        result: object,
    ) -> dict[str, Any]:
        elapsed, after = self._clock() - begin[1], self._resident_bytes()
        start = self._clock()
        collected = gc.collect()
        pause = self._clock() - start
        _give_back()
        settled = self._resident_bytes()
        before = begin[0]
        reading = {
            "operation_type": operation_type,
            "measured": measured,
            "operations": operations,
            "execution_time": elapsed,
            "memory_before_mb": before / MIB,
            "memory_after_mb": after / MIB,
            "memory_delta_mb": (after - before) / MIB,
            "memory_per_operation_mb": (settled - before) / operations / MIB,
            "memory_after_gc_mb": settled / MIB,
            "memory_freed_by_gc_mb": (after - settled) / MIB,
            "gc_collected_objects": collected,
            "gc_seconds": pause,
        }
        self.readings.append(reading)
        return reading | {"result": result}


def _refuse(operation: Callable[..., object]) -> None:
    if inspect.iscoroutinefunction(operation):
        raise MeasurementError(
            f"{operation.__qualname__} would not be awaited: write `await memory_monitor.measure_async(...)`"
        )


def _give_back() -> None:
    """Return the allocator's free memory to the system, where the C library can (glibc's malloc_trim)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident_bytes() -> int:
    return psutil.Process().memory_info().rss
