"""How a load comes about in one process: by tasks that wait for each operation, or by arrivals that do not wait."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field, replace
from itertools import chain, repeat, takewhile
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol, Self

from perf.errors import MeasurementError
from perf.measure.garbage import GarbagePauses
from perf.measure.outcomes import UNFINISHED, LoadRecord
from perf.measure.pacing import ArrivalRate, starts
from perf.measure.progress import Telling
from perf.measure.stopping import Watch, check_limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager
    from random import Random

    from perf.measure.outcomes import Outcome

    Operation = Callable[[], Awaitable[object]]
    Opening = Callable[[], AbstractAsyncContextManager[Operation]]

_TICK = 0.01
_LOOKS = 10  # at the limits, in ticks
_TIMER = 0.001
"""By so much an event loop's timer may be late; the last of a wait is spun through, giving way to all that is ready."""
_AT_ONCE = 100
"""As many overdue operations are started before the loop gets its turn."""


class Load(Protocol):
    """A load that can be run here, or in parts by several processes that together make the whole."""

    async def run(
        self,
        operation: Operation,
        *,
        clock: Callable[[], float] = ...,
        progress: Callable[[str], None] | None = ...,
        stopped: Callable[[], bool] = ...,
    ) -> LoadRecord:
        """Run it to its end, or until `stopped`, and return what came of it."""

    def parts(self, count: int) -> list[Self]:
        """Return so many parts of it."""


@dataclass(frozen=True, kw_only=True)
class ClosedLoad:
    """`tasks` that each do `operations_per_task`, or new ones for `seconds`, started evenly over `ramp_up` seconds."""

    tasks: int
    operations_per_task: int | None = None
    seconds: float | None = None
    ramp_up: float = 0.0
    limits: dict[str, float] = field(default_factory=dict)
    share: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        """Refuse what cannot be run; MeasurementError."""
        if self.operations_per_task is not None and self.seconds is not None:
            raise MeasurementError("a load test ends by operations_per_task or by duration_seconds, not by both")
        _check_count("concurrent_tasks", self.tasks)
        _check_count("operations_per_task", self.operations_per_task)
        _check_seconds("ramp_up_seconds", self.ramp_up)
        _check_seconds("duration_seconds", self.seconds)
        check_limits(self.limits)

    def parts(self, count: int) -> list[Self]:
        """Return `count` parts that share the tasks; MeasurementError when there are fewer tasks."""
        _check_count("processes", count)
        if count > self.tasks:
            raise MeasurementError(f"concurrent_tasks must be {count} or more, one for each of {count} processes")
        return [replace(self, share=(number, count)) for number in range(count)]

    async def run(
        self,
        operation: Operation,
        *,
        clock: Callable[[], float] = time.perf_counter,
        progress: Callable[[str], None] | None = None,
        stopped: Callable[[], bool] = bool,
    ) -> LoadRecord:
        """Run the tasks to their end, or until a limit is broken or the load is `stopped`."""
        under_way = _UnderWay(operation, clock, Watch(self.limits), progress, stopped)

        async def task(delay: float) -> None:
            if delay:
                await asyncio.sleep(delay)
            await under_way.attempts(self._one_by_one(under_way.begin, clock))

        part, parts = self.share
        async with under_way as group:
            for number in range(part, self.tasks, parts):
                under_way.started(group.create_task(task(number * self.ramp_up / self.tasks)))
        return under_way.record()

    def _one_by_one(self, begin: float, clock: Callable[[], float]) -> Iterable[None]:
        """Give a task one after another, at least one: those slow to start would else not be part of the load."""
        if self.seconds is None:
            return repeat(None, self.operations_per_task or 1)
        end = begin + self.seconds
        return chain((None,), takewhile(lambda _: clock() < end, repeat(None)))


@dataclass(frozen=True, kw_only=True)
class OpenLoad:
    """Operations that arrive at a `rate` for `seconds`, or so many `operations`, each in a task of its own.

    After the last one `grace` seconds are waited for those under way. With `poisson` arrivals are independent.
    """

    rate: ArrivalRate
    operations: int | None = None
    seconds: float | None = None
    poisson: Random | None = None
    grace: float = 0.0
    limits: dict[str, float] = field(default_factory=dict)
    share: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        """Refuse what cannot be run; MeasurementError."""
        if (self.operations is None) == (self.seconds is None):
            raise MeasurementError("an open load ends by operations or by duration_seconds: name one of them")
        _check_count("operations", self.operations)
        _check_seconds("duration_seconds", self.seconds)
        _check_seconds("grace_seconds", self.grace)
        check_limits(self.limits)

    def parts(self, count: int) -> list[Self]:
        """Return `count` parts that share the arrivals, in turn; those of a Poisson process each draw their own."""
        _check_count("processes", count)
        randoms = [type(self.poisson)(self.poisson.random()) if self.poisson else None for _ in range(count)]
        return [replace(self, share=(number, count), poisson=random) for number, random in enumerate(randoms)]

    @property
    def horizon(self) -> float:
        """After how many seconds no more operations arrive."""
        return self.seconds if self.seconds is not None else self.rate.start_of(self.operations or 0)

    def _arrivals(self) -> Iterator[float]:
        ends = {"seconds": self.seconds, "operations": self.operations}
        given = {name: end for name, end in ends.items() if end is not None}
        return starts(self.rate, poisson=self.poisson, share=self.share, **given)

    async def run(
        self,
        operation: Operation,
        *,
        clock: Callable[[], float] = time.perf_counter,
        progress: Callable[[str], None] | None = None,
        stopped: Callable[[], bool] = bool,
    ) -> LoadRecord:
        """Send the operations, wait for them, and cut off what has not ended when the grace is over."""
        cost = await _cost_of_sending()
        under_way = _UnderWay(operation, clock, Watch(self.limits), progress, stopped)

        async def send() -> None:
            last = under_way.begin + self.horizon + self.grace
            for sent, arrival in enumerate(self._arrivals(), 1):
                due = under_way.begin + arrival
                if clock() < due:
                    await _until(due, clock)
                elif sent % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                if clock() >= last:
                    break
                under_way.started(group.create_task(under_way.attempts((due,))), due)
            if under_way.waiting:
                await asyncio.wait(list(under_way.waiting), timeout=max(last - clock(), 0))
            under_way.cut_off()

        async with under_way as group:
            sender = group.create_task(send())
            under_way.sender = sender
        share = 1 / self.share[1]
        planned = self.rate.due(self.horizon) / self.horizon * share if self.horizon else 0.0
        return under_way.record(planned=planned, horizon=self.horizon, cost=cost)


async def _until(due: float, clock: Callable[[], float]) -> None:
    while (left := due - clock()) > 0:  # noqa: ASYNC110 - a time is waited for, not an event
        await asyncio.sleep(left - _TIMER if left > _TIMER else 0)


async def _cost_of_sending() -> float:
    """Return what sending and recording one empty operation takes here, in seconds of CPU: the median of five goes."""

    async def nothing() -> None:
        return

    goes = []
    for _ in range(5):
        rehearsal = _UnderWay(nothing, time.perf_counter, Watch({}), None, bool)
        start = time.thread_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                rehearsal.started(group.create_task(rehearsal.attempts((None,))))
        goes.append((time.thread_time() - start) / _AT_ONCE)
    return median(goes)


class _UnderWay:
    """A load while it runs: its outcomes so far, its tasks, and the ticks that watch the event loop and the limits."""

    def __init__(
        self,
        operation: Operation,
        clock: Callable[[], float],
        watch: Watch,
        progress: Callable[[str], None] | None,
        stopped: Callable[[], bool],
    ) -> None:
        self.begin = 0.0
        self.waiting: dict[asyncio.Task[None], float] = {}
        self.sender: asyncio.Task[None] | None = None
        self._operation, self._clock, self._watch, self._stopped = operation, clock, watch, stopped
        self._tell = Telling(progress, clock)
        self._outcomes: list[Outcome] = []
        self._error_samples: dict[str, str] = {}
        self._lags: list[float] = []
        self._aborted = ""
        self._pauses = GarbagePauses()
        self._group = asyncio.TaskGroup()
        self._tick: asyncio.TimerHandle | None = None
        self._began = self._elapsed = self._cpu = 0.0

    async def __aenter__(self) -> asyncio.TaskGroup:
        await self._group.__aenter__()
        self._pauses.__enter__()
        self._next_tick(0)
        self._cpu = time.thread_time()
        self._began, self.begin = time.time(), self._clock()
        return self._group

    async def __aexit__(self, *raised: Any) -> None:  # noqa: ANN401, PYI036 - handed on as it is told
        try:
            await self._group.__aexit__(*raised)
        finally:
            self._elapsed = self._clock() - self.begin
            self._cpu = time.thread_time() - self._cpu
            self._pauses.__exit__()
            if self._tick is not None:
                self._tick.cancel()

    def started(self, task: asyncio.Task[None], due: float = math.inf) -> None:
        """Keep a task, so that it can be cut off, and since when its operation is due."""
        self.waiting[task] = due
        task.add_done_callback(self.waiting.pop)

    def cut_off(self) -> None:
        """Cancel all that is under way, and let nothing more be sent."""
        for task in (*self.waiting, *([self.sender] if self.sender else [])):
            if task is not asyncio.current_task():
                task.cancel()

    async def attempts(self, dues: Iterable[float | None]) -> None:
        """Run the operation for each, one after another, and note what came of it; whatever it raises is a failure.

        All in one coroutine: one more for each operation would be half of what an empty one takes.
        """
        clock, operation, note = self._clock, self._operation, self._outcomes.append
        for due in dues:
            error = ""
            start = clock()
            try:
                await operation()
            except asyncio.CancelledError as raised:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    note((start if due is None else due, start, clock(), UNFINISHED))
                    raise
                error = self._note(raised)  # the operation's own doing
            except Exception as raised:  # noqa: BLE001 - whatever the measured code raises is a failed operation
                error = self._note(raised)
            note((start if due is None else due, start, clock(), error))

    def _note(self, raised: BaseException) -> str:
        name = type(raised).__name__
        self._error_samples.setdefault(name, repr(raised))
        return name

    def _next_tick(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + _TICK
        self._tick = loop.call_at(due, self._on_tick, due, number + 1)

    def _on_tick(self, due: float, number: int) -> None:
        self._lags.append(max(asyncio.get_running_loop().time() - due, 0.0))
        if number % _LOOKS == 0:
            self._look()
        self._next_tick(number)

    def _look(self) -> None:
        now = self._clock()
        self._aborted = self._aborted or self._watch.broken(
            self._outcomes, (now - due for due in self.waiting.values() if due < now)
        )
        if self._aborted or self._stopped():
            self.cut_off()
        self._tell(f"{len(self._outcomes)} operations ended")

    def record(self, *, planned: float | None = None, horizon: float = 0.0, cost: float = 0.0) -> LoadRecord:
        """Return what came of it, with times from its beginning."""
        begin = self.begin
        return LoadRecord(
            began=self._began,
            elapsed=self._elapsed,
            outcomes=[(due - begin, start - begin, end - begin, error) for due, start, end, error in self._outcomes],
            error_samples=self._error_samples,
            lags=self._lags,
            planned=planned,
            horizon=horizon,
            cpu=self._cpu,
            sending=cost * len(self._outcomes),
            aborted=self._aborted,
            pauses=(self._pauses.count, self._pauses.total, self._pauses.longest),
        )


def _check_count(name: str, count: int | None) -> None:
    if count is not None and (not isinstance(count, int) or count < 1):
        raise MeasurementError(f"{name} must be a whole number, 1 or more, not {count!r}")


def _check_seconds(name: str, seconds: float | None) -> None:
    if seconds is not None and not 0 <= seconds < math.inf:
        raise MeasurementError(f"{name} must be a finite number of seconds, 0 or more, not {seconds!r}")
