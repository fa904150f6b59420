"""Memory of this process before and after calls, per call, and around garbage collection; and what each call keeps."""

from __future__ import annotations

import asyncio
import gc
import inspect
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from perf.errors import MeasurementError
from perf.measure.growth import batches_of_calls
from perf.measure.resident import give_back, resident
from perf.units import MIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from perf.measure.growth import Growth


class MemoryMonitor:
    """Measures what calls do to the memory of this process; `readings` and `growths` keep every result.

    Garbage is collected before the calls, so that what they leave behind is theirs, and once more after
    them, so that what they merely left lying about is told from what they keep. Both times the allocator gives
    back what it holds free, in which growth would hide. `progress` is told, in a line of text, how far what takes more
    than two seconds is.
    """

    def __init__(
        self,
        *,
        resident_bytes: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.readings: list[dict[str, Any]] = []
        self.growths: list[dict[str, Any]] = []
        self._resident_bytes = resident_bytes or resident
        self._clock = clock
        self._progress = progress

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

    def measure_growth(
        self,
        operation: Callable[[], object],
        *,
        seconds: float = 2.0,
        operation_type: str | None = None,
        measured: Callable[..., object] | None = None,
    ) -> Growth:
        """Call `operation` in batches for about `seconds` and return what memory held after each.

        `perf.judge_growth` says whether that is a leak. However slow the operation, it is called some sixty times.
        """
        _refuse(operation)
        with closing(self._batches(seconds, operation_type, measured or operation)) as batches:
            for calls in batches:
                for _ in range(calls):
                    operation()
        return self.growths[-1]["growth"]  # type: ignore[no-any-return]

    async def measure_growth_async(
        self,
        operation: Callable[[], Awaitable[object]],
        *,
        seconds: float = 2.0,
        operation_type: str | None = None,
        measured: Callable[..., object] | None = None,
    ) -> Growth:
        """Await `operation` in batches, one call after another; see `measure_growth`."""
        with closing(self._batches(seconds, operation_type, measured or operation)) as batches:
            for calls in batches:
                for _ in range(calls):
                    await operation()
                await asyncio.sleep(0)  # what the last call left for the loop to do is done
        return self.growths[-1]["growth"]  # type: ignore[no-any-return]

    def _batches(
        self, seconds: float, operation_type: str | None, measured: Callable[..., object]
    ) -> Generator[int, None, None]:
        growth = yield from batches_of_calls(seconds, clock=self._clock, progress=self._progress)
        self.growths.append({"operation_type": operation_type, "measured": measured, "growth": growth})

    def _begin(self, operations: int) -> tuple[int, float]:
        if operations < 1:
            raise MeasurementError(f"operations must be 1 or more, not {operations!r}")
        gc.collect()
        give_back()
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
        give_back()
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
