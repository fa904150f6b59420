"""Time an awaitable operation inside the running event loop, recorded by pytest-benchmark like any other.

`asyncio.run` per call would add about 140 µs to every operation; a loop inside one coroutine adds well
under 1 µs. pytest-benchmark has no public way to hand it rounds that were timed elsewhere, so this is the
one module that uses the fixture's private names (pinned below version 6, guarded by a test).
"""

from __future__ import annotations

import gc
import inspect
import math
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Any

from pytest_benchmark.fixture import BenchmarkFixture, FixtureAlreadyUsed, PauseInstrumentation

from perf.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from perf.measure.lockstep import Lockstep

WARMUP_CALLS = 3
"""Calls made before the first timed one, never recorded: connections open, caches fill, code specialises.

Fewer where they take longer than all rounds together shall.
"""


class SyncBenchmark(BenchmarkFixture):
    """The `benchmark` fixture, refusing a coroutine function instead of timing how long it takes to make one.

    `measured` is the callable that was timed, None before any was. With a `lockstep` it times the blocks of calls that
    it is told to, however it was asked to measure.
    """

    measured: Callable[..., Any] | None = None
    lockstep: Lockstep | None = None

    def __call__(self, function_to_benchmark: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        self._refuse(function_to_benchmark, _makes_coroutines(function_to_benchmark))
        if self.lockstep:
            result = self._in_step(self.lockstep, function_to_benchmark, lambda: (args, kwargs))
        else:
            result = super().__call__(function_to_benchmark, *args, **kwargs)
        self._refuse(function_to_benchmark, inspect.isawaitable(result))
        return result

    def pedantic(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        self._refuse(target, _makes_coroutines(target))
        if self.lockstep:
            result = self._pedantic_in_step(self.lockstep, target, *args, **kwargs)
        else:
            result = super().pedantic(target, *args, **kwargs)
        self._refuse(target, inspect.isawaitable(result))
        return result

    def _pedantic_in_step(  # noqa: PLR0917 - pytest-benchmark's own arguments
        self,
        lockstep: Lockstep,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        **_effort: int,
    ) -> Any:  # noqa: ANN401 - what the target returns
        def arguments() -> tuple[tuple[Any, ...], dict[str, Any]]:
            return (setup() if setup else None) or (args, kwargs or {})

        return self._in_step(lockstep, target, arguments, teardown, each=bool(setup or teardown))

    def _in_step(
        self,
        lockstep: Lockstep,
        function: Callable[..., Any],
        arguments: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]],
        teardown: Callable[..., Any] | None = None,
        *,
        each: bool = False,
    ) -> Any:  # noqa: ANN401 - what the function returns
        """Time the blocks lockstep asks for, `each` call with arguments of its own or all with the same."""

        def time_calls(calls: int) -> float:
            args, kwargs = arguments()
            start = self._timer()
            for _ in repeat(None, calls):
                function(*args, **kwargs)
            duration = float(self._timer() - start)
            if teardown:
                teardown(*args, **kwargs)
            return duration

        def time_block(calls: int) -> float:
            return sum(time_calls(1) for _ in repeat(None, calls)) if each else time_calls(calls)

        with PauseInstrumentation(), _garbage_collection(disabled=True):
            for calls in lockstep.blocks():
                lockstep.took(time_block(calls))
        args, kwargs = arguments()
        return function(*args, **kwargs)

    def _refuse(self, function: Callable[..., Any], awaitable: bool) -> None:  # noqa: FBT001 - private
        self.measured = function
        if awaitable:
            self.has_error = True
            self._mode = "refused"
            name = getattr(function, "__qualname__", repr(function))
            raise MeasurementError(
                f"benchmark({name}) would time the creation of a coroutine, not its work: "
                f"make the test `async def` and write `await async_benchmark({name}, ...)`"
            )


def _makes_coroutines(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class AwaitableBenchmark:
    """`await async_benchmark(operation, *args)`: calibrate, warm up and time, then return a last result."""

    def __init__(self, fixture: SyncBenchmark) -> None:
        self._fixture = fixture

    async def __call__(self, operation: Callable[..., Awaitable[Any]], *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - what the operation returns
        with self._used_once(operation):
            if self._fixture.enabled:
                await self._measure(operation, args, kwargs)
            return await operation(*args, **kwargs)

    async def pedantic(
        self, operation: Callable[..., Awaitable[Any]], *, setup: Callable[[], Awaitable[tuple[Any, ...]]]
    ) -> Any:  # noqa: ANN401 - what the operation returns
        """Time `operation` on fresh arguments, one call a round, and return a last result.

        `setup` is awaited before every call, outside the timed part, and returns the arguments of that call:
        for operations that change what they work on.
        """
        with self._used_once(operation):
            if self._fixture.enabled:
                await self._measure_with(setup, operation)
            return await operation(*await setup())

    @contextmanager
    def _used_once(self, operation: Callable[..., Any]) -> Iterator[None]:
        fixture = self._fixture
        if fixture._mode:
            fixture.has_error = True
            raise FixtureAlreadyUsed(f"Fixture can only be used once. Previously it was used in {fixture._mode} mode.")
        fixture._mode = "async_benchmark(...)"
        fixture.measured = operation
        try:
            yield
        except BaseException:
            fixture.has_error = True
            raise

    async def _measure_with(
        self, setup: Callable[[], Awaitable[tuple[Any, ...]]], operation: Callable[..., Awaitable[Any]]
    ) -> None:
        fixture = self._fixture
        timer = fixture._timer

        async def time_call() -> float:
            arguments = await setup()
            start = timer()
            await operation(*arguments)
            return float(timer() - start)

        async def time_calls(calls: int) -> float:
            return sum([await time_call() for _ in repeat(None, calls)])

        if fixture.lockstep:
            await _in_step(fixture.lockstep, time_calls)
            return
        with PauseInstrumentation(), _garbage_collection(disabled=fixture._disable_gc):
            await self._warm_up(time_call)
            stats = fixture._make_stats(1)
            rounds, spent = 0, 0.0
            while rounds < fixture._min_rounds or spent < fixture._max_time:
                duration = await time_call()
                stats.update(duration)
                rounds, spent = rounds + 1, spent + duration

    async def _measure(
        self, operation: Callable[..., Awaitable[Any]], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        fixture = self._fixture
        timer = fixture._timer

        async def time_round(iterations: int) -> float:
            start = timer()
            for _ in repeat(None, iterations):
                await operation(*args, **kwargs)
            return float(timer() - start)

        if fixture.lockstep:
            await _in_step(fixture.lockstep, time_round)
            return
        with PauseInstrumentation(), _garbage_collection(disabled=fixture._disable_gc):
            await self._warm_up(lambda: time_round(1))
            iterations, duration = await self._calibrate(time_round)
            rounds = max(math.ceil(fixture._max_time / max(duration, 1e-9)), fixture._min_rounds)
            stats = fixture._make_stats(iterations)
            for _ in repeat(None, rounds):
                stats.update(await time_round(iterations))

    async def _warm_up(self, time_call: Callable[[], Awaitable[float]]) -> None:
        spent = 0.0
        for _ in repeat(None, WARMUP_CALLS):
            spent += await time_call()
            if spent > self._fixture._max_time:
                break

    async def _calibrate(self, time_round: Callable[[int], Awaitable[float]]) -> tuple[int, float]:
        """Return the iterations that fill a round pytest-benchmark trusts, and what such a round takes."""
        fixture = self._fixture
        precision = fixture._get_precision(fixture._timer)
        least = max(fixture._min_time, precision * fixture._calibration_precision)
        iterations = 1
        while (duration := await time_round(iterations)) < least:
            iterations = math.ceil(iterations * min(10.0, 1.1 * least / max(duration, 1e-9)))
        return iterations, duration


async def _in_step(lockstep: Lockstep, time_block: Callable[[int], Awaitable[float]]) -> None:
    """Time the blocks that lockstep asks for."""
    with PauseInstrumentation(), _garbage_collection(disabled=True):
        for calls in lockstep.blocks():
            lockstep.took(await time_block(calls))


@contextmanager
def _garbage_collection(*, disabled: bool) -> Iterator[None]:
    enabled = gc.isenabled()
    if disabled:
        gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
