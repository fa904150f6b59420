"""What came of a load: every operation with its three times, from one process or merged from many, and its figures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from perf.distribution import percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence

Outcome = tuple[float, float, float, str]
"""One operation: its intended start, start and end, in seconds, and the type of what it raised, "" if nothing."""

UNFINISHED = "unfinished"
"""In place of an exception's type: the operation was cut off, when the load was aborted or would wait no longer."""

_PERCENTILES = {"min": 0.0, "p50": 50.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}
_MOMENTS = 60
_SHORTEST_MOMENT = 0.1


class LoadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that one process has to tell of its part of a load; as MessagePack it can come from anywhere.

    `began` is Unix time; the times of `outcomes` count from it and `elapsed` is the last of them. `lags` are what
    timers of the event loop were late by. `planned` is how many operations a second were asked for, None in a
    closed load, over `horizon` seconds. `cpu` is the CPU time that all took, `sending` what of it the generator
    itself takes. `aborted` names the broken limit. `pauses` are the garbage collector's: how many, their sum and
    the longest. Times are seconds.
    """

    began: float
    elapsed: float
    outcomes: list[Outcome]
    error_samples: dict[str, str] = {}
    lags: list[float] = []
    planned: float | None = None
    horizon: float = 0.0
    cpu: float = 0.0
    sending: float = 0.0
    aborted: str = ""
    pauses: tuple[int, float, float] = (0, 0.0, 0.0)


def merge(records: Sequence[LoadRecord]) -> LoadRecord:
    """Return the parts of one load as one record: nothing is summed up before, so nothing is lost.

    The parts' own clocks begin at `began`; where they come from several machines it is as exact as their clocks agree.
    """
    began = min(record.began for record in records)
    planned = [record.planned for record in records if record.planned is not None]
    return LoadRecord(
        began=began,
        elapsed=max(record.began - began + record.elapsed for record in records),
        outcomes=[
            (intended + shift, started + shift, ended + shift, error)
            for record in records
            for shift in [record.began - began]
            for intended, started, ended, error in record.outcomes
        ],
        error_samples={name: text for record in reversed(records) for name, text in record.error_samples.items()},
        lags=[lag for record in records for lag in record.lags],
        planned=sum(planned) if planned else None,
        horizon=max(record.horizon for record in records),
        cpu=sum(record.cpu for record in records),
        sending=sum(record.sending for record in records),
        aborted=next((record.aborted for record in records if record.aborted), ""),
        pauses=(
            sum(record.pauses[0] for record in records),
            sum(record.pauses[1] for record in records),
            max(record.pauses[2] for record in records),
        ),
    )


def sum_up(record: LoadRecord) -> dict[str, Any]:
    """Return the figures of a load, of all its operations; times are seconds, rates per second.

    Response times count from the intended start, service times from the start; both are of successful operations, and
    None without one. `rate` is what was sent, `throughput` what was done. `lateness` is how late the generator started
    operations, `loop_lag` how late timers of the event loop fired: both are late wherever code holds the loop.
    `max_in_flight` is how many operations were under way at one moment, `series` the load over time.
    """
    import numpy as np

    outcomes = record.outcomes
    times = np.array([one[:3] for one in outcomes], float).reshape(-1, 3)
    intended, started, ended = times.T
    succeeded = np.array([not one[3] for one in outcomes], bool)
    done, total = int(succeeded.sum()), len(outcomes)
    errors = Counter(one[3] for one in outcomes if one[3])
    elapsed = record.elapsed
    whole = record.planned is None or record.aborted
    sent_over = elapsed if whole else max(record.horizon, float(started.max(initial=0.0)))
    figures = {
        "total_operations": total,
        "successful_operations": done,
        "failed_operations": total - done,
        "success_rate": done / total if total else None,
        "error_rate": (total - done) / total if total else None,
        "total_time": elapsed,
        "planned_rate": record.planned,
        "rate": total / sent_over if sent_over else None,
        "throughput": done / elapsed if elapsed else None,
        **_spread((ended - intended)[succeeded], "{}_response_time"),
        **_spread((ended - started)[succeeded], "{}_service_time"),
        **_spread(started - intended, "{}_lateness", ("p50", "p99", "max")),
        **_spread(np.array(record.lags), "{}_loop_lag", ("p50", "p99", "max")),
        "errors": dict(errors),
        "error_samples": record.error_samples,
        "unfinished_operations": errors[UNFINISHED],
        "max_in_flight": _most_at_once(started, ended),
        "gc_pauses": record.pauses[0],
        "gc_seconds": record.pauses[1],
        "gc_longest": record.pauses[2],
        "gc_share": record.pauses[1] / elapsed if elapsed else None,
        "aborted": record.aborted or None,
        "series": _series(record, times, succeeded),
    }
    return figures | {"warnings": _warnings(record, figures)}


def _spread(values: Any, key: str, names: Sequence[str] = ("avg", *_PERCENTILES)) -> dict[str, float | None]:  # noqa: ANN401 - an array
    if not len(values):
        return {key.format(name): None for name in names}
    figures = dict(zip(_PERCENTILES, percentiles(values, list(_PERCENTILES.values())), strict=True))
    return {key.format(name): float(values.mean()) if name == "avg" else figures[name] for name in names}


def _most_at_once(started: Any, ended: Any) -> int:  # noqa: ANN401 - arrays
    """Return the most operations that were under way together; one that ends as another starts is over."""
    import numpy as np

    moments = np.concatenate([ended, started])
    steps = np.repeat([-1, 1], len(started))
    order = np.argsort(moments, kind="stable")
    return max(int(np.cumsum(steps[order]).max(initial=0)), int(bool(len(started))))


def _series(record: LoadRecord, times: Any, succeeded: Any) -> list[dict[str, float | None]]:  # noqa: ANN401
    """Return the load moment by moment: what was due, done and failed, and the response times of what was due."""
    import numpy as np

    if not len(times):
        return []
    width = max(record.elapsed / _MOMENTS, _SHORTEST_MOMENT)
    intended, _, ended = times.T
    due_in, ended_in = (np.floor(moments / width).astype(int) for moments in (intended, ended))
    series = []
    for number in range(int(max(due_in.max(), ended_in.max())) + 1):
        response = (ended - intended)[(due_in == number) & succeeded]
        p50, p95, most = percentiles(response, (50, 95, 100)) if len(response) else (None, None, None)
        series.append(
            {
                "at": number * width,
                "due": int((due_in == number).sum()),
                "done": int(((ended_in == number) & succeeded).sum()),
                "failed": int(((ended_in == number) & ~succeeded).sum()),
                "p50": p50,
                "p95": p95,
                "max": most,
            }
        )
    return series


_BEHIND = 0.95
_LATE = 0.01
_MOSTLY = 0.5


def _warnings(record: LoadRecord, figures: dict[str, Any]) -> list[str]:
    """Return what a reader must know before believing the figures, each with what to do."""
    said = []
    if record.aborted:
        said.append(f"aborted: {record.aborted}")
    if (unfinished := figures["unfinished_operations"]) and not record.aborted:
        said.append(
            f"{unfinished} operations had not ended when waiting was over: they took longer than any figure here says"
        )
    if record.planned is None or record.aborted or not figures["total_operations"]:
        return said
    behind = figures["rate"] < _BEHIND * record.planned
    if not behind and figures["p99_lateness"] < _LATE:
        return said
    fact = f"{figures['rate']:.4g}/s of {record.planned:.4g}/s were sent, up to {figures['max_lateness']:.3g} s late"
    without_pauses = record.cpu - record.pauses[1]  # a collection of all there is is nobody's doing
    if record.sending > _MOSTLY * without_pauses and record.cpu > _MOSTLY * record.elapsed:
        said.append(f"the generator was the limit, not the service: {fact}; lower the rate or raise processes")
    else:
        said.append(f"the event loop was held, by operations or by other programs: {fact}; response times count that")
    return said
