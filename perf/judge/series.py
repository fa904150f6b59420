"""One operation over many runs: its figures in order, and the steps in them with the commits between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perf.judge.changes import HEADLINES, HIGHER, floored
from perf.judge.history import change_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.record.run import Metric
    from perf.record.summary import Operation, RunSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A change of level, `worse` times worse, that lies after run `before` and at or before run `after`."""

    worse: float
    before: RunSummary
    after: RunSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One figure of one operation in all `runs` that measured it, oldest first."""

    operation: Operation
    metric: str
    unit: str
    better: str
    runs: tuple[RunSummary, ...]
    values: tuple[float, ...]
    steps: tuple[Step, ...]


def series_of(
    runs: Sequence[RunSummary], *, tolerance: float, confidence: float, metric: str | None = None
) -> list[Series]:
    """Return the series of every operation in `runs`, which must be comparable with each other."""
    collected: dict[tuple[Operation, str], list[tuple[RunSummary, Metric]]] = {}
    for run in runs:
        for figures in run.figures:
            for name in (metric,) if metric else HEADLINES.get(figures.operation.kind, ()):
                if name in figures.metrics:
                    collected.setdefault((figures.operation, name), []).append((run, figures.metrics[name]))
    return [_series(*key, points, tolerance, confidence) for key, points in collected.items()]


def _series(
    operation: Operation, metric: str, points: Sequence[tuple[RunSummary, Metric]], tolerance: float, confidence: float
) -> Series:
    unit, better = points[-1][1].unit, points[-1][1].better
    points = [(run, one) for run, one in points if (one.unit, one.better) == (unit, better)]
    runs, values = tuple(run for run, _ in points), tuple(one.value for _, one in points)
    found = change_points([floored(one, unit) for one in values], tolerance=tolerance, confidence=confidence)
    steps = [
        Step(
            worse=1 / one.ratio if better == HIGHER else one.ratio,
            before=runs[one.index - 1],
            after=runs[one.index],
        )
        for one in found
    ]
    return Series(
        operation=operation, metric=metric, unit=unit, better=better, runs=runs, values=values, steps=tuple(steps)
    )
