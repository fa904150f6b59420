"""Load on an awaitable operation: a fixed number of tasks (closed model), or arrivals at a rate (open model)."""

from __future__ import annotations

import math
import time
from random import Random
from typing import TYPE_CHECKING, Any, cast

from perf.errors import MeasurementError
from perf.measure.load_models import ClosedLoad, OpenLoad
from perf.measure.outcomes import merge, sum_up
from perf.measure.pacing import ArrivalRate
from perf.measure.processes import run_in_processes
from perf.measure.profiler import PerformanceProfiler
from perf.measure.progress import Telling
from perf.measure.stopping import ERROR_RATE, broken_limit, check_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from perf.measure.load_models import Load, Opening, Operation
    from perf.measure.outcomes import LoadRecord

LOAD = "perf.measure.load"
"""The metadata key that marks an operation as one of a load test: it ran beside others."""

GRACE_SECONDS = 30.0
"""How long after its last arrival an open load waits for what is still under way."""


class LoadTestRunner:
    """Runs an awaitable operation under load and reports what came of it.

    Every operation is also recorded by `profiler`; `results` keeps the report of each load, `knees` that of each step
    test. `progress` is told, in a line of text, how far a load of more than two seconds is.
    """

    def __init__(
        self,
        profiler: PerformanceProfiler | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.profiler = profiler or PerformanceProfiler()
        self.results: list[dict[str, Any]] = []
        self.knees: list[dict[str, Any]] = []
        self._clock = clock
        self._progress = progress

    async def run_async_load_test(  # noqa: PLR0913 - the user's signature, and how a load ends and is named
        self,
        operation: Operation | Opening,
        concurrent_tasks: int = 10,
        operations_per_task: int | None = None,
        ramp_up_seconds: float = 0.0,
        *,
        duration_seconds: float | None = None,
        abort_on_fail: Mapping[str, float] | None = None,
        processes: int | None = None,
        operation_type: str | None = None,
        measured: Callable[..., object] | None = None,
    ) -> dict[str, Any]:
        """Run `operation` from `concurrent_tasks` tasks, each of which starts its next when the last one ends.

        Each task does `operations_per_task` operations (10 when neither end is named), or one and then new ones until
        `duration_seconds` have passed; an operation under way is then finished, not cut. Tasks start evenly over
        `ramp_up_seconds`. See `perf.measure.outcomes.sum_up` for the figures that are returned, and
        `run_open_load_test` for `abort_on_fail`, `processes` (which share the tasks) and `measured`. MeasurementError
        on a load that cannot be run.
        """
        if operations_per_task is None and duration_seconds is None:
            operations_per_task = 10
        load = ClosedLoad(
            tasks=concurrent_tasks,
            operations_per_task=operations_per_task,
            seconds=duration_seconds,
            ramp_up=ramp_up_seconds,
            limits=dict(abort_on_fail or {}),
        )
        asked = {
            "concurrent_tasks": concurrent_tasks,
            "operations_per_task": operations_per_task,
            "duration_seconds": duration_seconds,
            "ramp_up_seconds": ramp_up_seconds,
        }
        return await self._run(operation, load, asked, processes, operation_type=operation_type, measured=measured)

    async def run_open_load_test(  # noqa: PLR0913 - the same of an open load
        self,
        operation: Operation | Opening,
        arrival_rate: float | tuple[float, float],
        duration_seconds: float | None = None,
        *,
        operations: int | None = None,
        ramp_up_seconds: float = 0.0,
        poisson_seed: int | None = None,
        grace_seconds: float = GRACE_SECONDS,
        abort_on_fail: Mapping[str, float] | None = None,
        processes: int | None = None,
        operation_type: str | None = None,
        measured: Callable[..., object] | None = None,
    ) -> dict[str, Any]:
        """Start `operation` at `arrival_rate` a second, however long each takes, as independent users would.

        A rate rises from 0 over `ramp_up_seconds`; a pair of rates from one to the other over those, or over the whole
        duration. With a `poisson_seed` the arrivals are a Poisson process, else evenly spaced. The load ends after
        `duration_seconds` or so many `operations`, and waits `grace_seconds` for those under way, then cuts them off.
        With `abort_on_fail`, such as `{"p95_response_time": 0.2, "error_rate": 0.05}`, it ends as soon as a limit is
        broken. With `processes` as many real processes share the load, and begin together: `operation` is then an
        `async def` at the top of a module, or a function there that returns an async context manager around the
        operation, which each process opens for itself. `measured` is the callable the report names as the subject,
        where `operation` only wraps it. See `perf.measure.outcomes.sum_up` for the figures. MeasurementError on a load
        that cannot be run.
        """
        load = OpenLoad(
            rate=_rate(arrival_rate, ramp_up_seconds, duration_seconds),
            operations=operations,
            seconds=duration_seconds,
            poisson=None if poisson_seed is None else Random(poisson_seed),  # noqa: S311 - arrivals, not secrets
            grace=grace_seconds,
            limits=dict(abort_on_fail or {}),
        )
        asked = {
            "concurrent_tasks": 0,
            "arrival_rate": arrival_rate,
            "operations": operations,
            "duration_seconds": duration_seconds,
            "ramp_up_seconds": ramp_up_seconds,
        }
        return await self._run(operation, load, asked, processes, operation_type=operation_type, measured=measured)

    async def run_step_test(
        self,
        operation: Operation,
        start_rate: float,
        limits: Mapping[str, float],
        *,
        step_seconds: float = 1.0,
        operation_type: str | None = None,
        measured: Callable[..., object] | None = None,
    ) -> dict[str, Any]:
        """Raise the rate of an open load until a limit breaks, and return the highest rate that held all `limits`.

        Each step of `step_seconds` doubles the rate, or halves it while none has held; then the range between is halved
        three times, so `highest_rate` is within a tenth. A step fails when a limit breaks (one of `abort_on_fail`), or
        the rate itself is not sent, twice in a row: a moment's disturbance decides nothing. A step should last ten
        times as long as the limit on the response time, for a queue to grow beyond it. `highest_rate` is None where
        nothing held; `broken` says what broke above it, "" where nothing did.
        """
        check_limits(limits)
        if not 0 < start_rate <= _FASTEST:
            raise MeasurementError(f"start_rate must be above 0 and at most {_FASTEST:g} a second, not {start_rate!r}")
        tell = Telling(self._progress, self._clock)
        held, fails, broken, rate = 0.0, math.inf, "", start_rate
        steps: list[dict[str, Any]] = []
        while rate <= _FASTEST and fails > held * _NEAR and rate * _SLOWEST >= start_rate:
            tell(f"at {rate:.4g} operations a second")
            steps += await self._step(operation, rate, limits, step_seconds)
            if reason := steps[-1]["broken"]:
                fails, broken = rate, reason
            else:
                held = rate
            rate = math.sqrt(held * fails) if held and fails < math.inf else 2 * held or fails / 2
        knee = {
            "operation_type": operation_type,
            "measured": measured or operation,
            "limits": dict(limits),
            "highest_rate": held or None,
            "broken": broken,
            "steps": sorted(steps, key=lambda step: step["rate"]),
        }
        self.knees.append(knee)
        return knee

    async def _step(
        self, operation: Operation, rate: float, limits: Mapping[str, float], seconds: float
    ) -> list[dict[str, Any]]:
        """Return the figures of one go at a rate, or of two where the first did not hold."""
        goes: list[dict[str, Any]] = []
        while len(goes) < _GOES and (not goes or goes[-1]["broken"]):
            load = OpenLoad(rate=_rate(rate, 0.0, None), seconds=seconds, grace=seconds, limits=dict(limits))
            figures = sum_up(await load.run(operation, clock=self._clock))
            reason = _why_not_held(figures, limits)
            goes.append({name: figures[name] for name in _STEP_FIGURES} | {"rate": rate, "broken": reason})
        return goes

    async def _run(
        self,
        operation: Operation | Opening,
        load: Load,
        asked: dict[str, Any],
        processes: int | None,
        **names: Any,  # noqa: ANN401 - passed on
    ) -> dict[str, Any]:
        if not self.profiler.started:
            self.profiler.start_measurement()
        if processes is None:
            record = await load.run(cast("Operation", operation), clock=self._clock, progress=self._progress)
        else:
            parts = run_in_processes(operation, load.parts(processes))
            telling = Telling(self._progress, self._clock)
            record = merge(await telling.during(parts, f"{processes} processes under load"))
        result = sum_up(record) | asked | {"processes": processes} | names
        result["measured"] = result["measured"] or operation
        self._record(record, result)
        return result

    def _record(self, record: LoadRecord, result: dict[str, Any]) -> None:
        self.results.append(result)
        self.profiler.measured = self.profiler.measured or result["measured"]
        name, metadata = result["operation_type"] or "operation", {LOAD: True, **_told(result)}
        for intended, _, ended, error in record.outcomes:
            self.profiler.record_operation(ended - intended, not error, name, metadata)
        self.profiler.end_measurement()


_STEP_FIGURES = ("throughput", "p50_response_time", "p95_response_time", "p99_response_time", ERROR_RATE)
_GOES = 2
_FASTEST = 1e6
_SLOWEST = 2**6  # times slower than the first step: then nothing holds
_NEAR = 2 ** (1.5 / 2**3)  # the range of a doubling, halved three times
_BEHIND = 0.95


def _told(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("concurrent_tasks", "arrival_rate") if result.get(name)}


def _why_not_held(figures: Mapping[str, Any], limits: Mapping[str, float]) -> str:
    """Return why a step does not count as held: a limit, or that the rate was never sent or never done."""
    if reason := figures["aborted"] or broken_limit(limits, figures):
        return str(reason)
    if unfinished := figures["unfinished_operations"]:
        return f"{unfinished} operations had not ended as long again after the step"
    if figures["rate"] < _BEHIND * figures["planned_rate"]:
        return f"only {figures['rate']:.4g}/s were sent"
    return ""


def _rate(arrival_rate: float | tuple[float, float], ramp_up: float, duration: float | None) -> ArrivalRate:
    if isinstance(arrival_rate, tuple):
        first, last = arrival_rate
        over = ramp_up or duration
        if not over:
            raise MeasurementError("arrival_rate from one rate to another needs ramp_up_seconds or duration_seconds")
        return ArrivalRate(first=first, last=last, over=over)
    return ArrivalRate(first=0.0 if ramp_up else arrival_rate, last=arrival_rate, over=ramp_up)
