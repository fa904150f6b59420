"""What changed between saved runs, operation by operation, with the evidence for each."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from perf.judge.comparison import INCONCLUSIVE, REGRESSED, Comparison, compare_samples
from perf.judge.history import compare_to_history

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from perf.record.run import Metric
    from perf.record.summary import Figures, Operation, RunSummary

NEW = "new"
MISSING = "missing"
NOT_COMPARABLE = "not comparable"

HEADLINES = {
    "latency": ("median",),
    "load": ("throughput",),
    "open load": ("p95_response_time",),
    "memory": ("memory_per_operation",),
    "growth": ("kept_per_call",),
    "overhead": ("overhead",),
}
"""The figures of a measurement that are judged unless another is asked for.

A highest rate and the peak of a call are none of them: they differ by more between runs of the same code.
"""

FLOORS = {"s": 1e-6, "B": 4096.0}
"""What is smaller counts as this much: twice as long is no regression where it is half a microsecond more."""

HIGHER = "higher"
_ABOVE_ZERO = 1e-9
_FARTHER = 1.5
_FEWEST_ROUNDS = 5
_ONE_RUN = math.log(1.4)  # by at least as much: the first disturbed run comes without warning


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One figure of one operation, then and now.

    `old` and `new` are the medians of `old_runs` and `new_runs` runs, in `unit`, None where there are none.
    `worse` is how many times worse it became, whatever its direction: 1.5 is half as long again, or two thirds of
    the throughput. `reason` says why there is no plain verdict.
    """

    operation: Operation
    metric: str
    unit: str
    better: str
    verdict: str
    old: float | None = None
    new: float | None = None
    old_runs: int = 0
    new_runs: int = 0
    comparison: Comparison | None = None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """`new` / `old`, each at least its floor; None where one of them is missing."""
        if self.old is None or self.new is None:
            return None
        return floored(self.new, self.unit) / floored(self.old, self.unit)

    @property
    def worse(self) -> float | None:
        """How many times worse, None where it cannot be said."""
        if self.ratio is None:
            return None
        return 1 / self.ratio if self.better == HIGHER else self.ratio


def judge_changes(
    baseline: Sequence[RunSummary],
    current: Sequence[RunSummary],
    history: Sequence[RunSummary] = (),
    *,
    tolerance: float,
    confidence: float,
    metric: str | None = None,
) -> list[Change]:
    """Return a change for every operation of `baseline` or `current`, those of `current` first.

    Two sets of runs are compared with the run as the replicate. With a `history` (the runs before a single baseline
    run), and where `current` is one run, `current` is judged by the level and the spread of the runs before it.
    """
    incomparable = why_not_comparable([*baseline, *current])
    before, after = _collect([*history, *baseline], metric), _collect(current, metric)
    expected = _collect(baseline, metric)
    sets = not history and len(current) > 1 and len(baseline) > 1
    compare = _compare_sets if sets else compare_to_history
    thin = {figures.operation: figures.samples for run in current for figures in run.figures if _is_thin(figures)}
    farthest = {} if sets else _farthest(before)
    changes = []
    for key in [*after, *(key for key in expected if key not in after)]:
        operation, name = key
        old, new = before.get(key, []), after.get(key, [])
        one = (new or old)[-1]
        change = Change(
            operation=operation,
            metric=name,
            unit=one.unit,
            better=one.better,
            verdict=INCONCLUSIVE,
            old=_median(old),
            new=_median(new),
            old_runs=len(old),
            new_runs=len(new),
        )
        if not new:
            change = replace(
                change, verdict=MISSING, reason=f"measured before and no longer{_renamed(operation, after)}"
            )
        elif not old:
            change = replace(change, verdict=NEW, reason="not measured before")
        elif reason := _units_differ([*old, *new]) or incomparable:
            change = replace(change, verdict=NOT_COMPARABLE, reason=reason)
        elif operation in thin:
            change = replace(
                change, reason=f"a run has {thin[operation]} of the {_FEWEST_ROUNDS} rounds that are needed"
            )
        else:
            comparison = compare(
                *([floored(one.value, one.unit) for one in side] for side in (old, new)),
                tolerance=tolerance,
                confidence=confidence,
                higher_is_better=one.better == HIGHER,
            )
            reason = "; ".join(comparison.warnings)
            change = replace(change, verdict=comparison.verdict, comparison=comparison, reason=reason)
            change = change if sets else _confirmed(_at_its_level(change), farthest[operation.kind])
        changes.append(change)
    return changes if metric else [*changes, *_gone(baseline, current)]


def _is_thin(figures: Figures) -> bool:
    """Whether an operation was timed so few times that its median says nothing."""
    return figures.operation.kind == "latency" and figures.samples < _FEWEST_ROUNDS


def _gone(baseline: Sequence[RunSummary], current: Sequence[RunSummary]) -> list[Change]:
    """Return what has no figure that is judged, and was measured before and no longer."""
    measured = {figures.operation for run in current for figures in run.figures}
    gone = {
        figures.operation
        for run in baseline
        for figures in run.figures
        if figures.operation not in measured and not _has_headline(figures)
    }
    return [
        Change(
            operation=operation,
            metric="-",
            unit="1",
            better="lower",
            verdict=MISSING,
            reason="measured before and no longer",
        )
        for operation in sorted(gone, key=lambda one: (one.service, one.name, one.kind))
    ]


def _has_headline(figures: Figures) -> bool:
    return any(name in figures.metrics for name in HEADLINES.get(figures.operation.kind, ()))


def why_not_comparable(runs: Sequence[RunSummary]) -> str:
    """Return what keeps runs from being compared (machine, profile, settings, parallel tests), "" when nothing does."""
    for run in runs:
        if run.untimed:
            return f"{run.name}: {run.untimed}, so its figures are no timings"
    for name in ("profile", "machine", "settings"):
        values = {getattr(run, name): run.name for run in runs}
        if len(values) > 1:
            (one, first), (other, second) = list(values.items())[:2]
            return f"another {name}: {_difference(one, other)} ({first}, {second})"
    return ""


def _difference(one: str, other: str) -> str:
    """Return the parts in which two comma-separated texts differ."""
    first, second = one.split(", "), other.split(", ")
    before = ", ".join(part for part in first if part not in second)
    after = ", ".join(part for part in second if part not in first)
    return f"{before or 'nothing'} against {after or 'nothing'}"


def _collect(runs: Sequence[RunSummary], metric: str | None) -> dict[tuple[Operation, str], list[Metric]]:
    """Return the figures of every operation over the runs, in order."""
    collected: dict[tuple[Operation, str], list[Metric]] = {}
    for run in runs:
        for figures in run.figures:
            names = (metric,) if metric else HEADLINES.get(figures.operation.kind, ())
            for name in names:
                if name in figures.metrics:
                    collected.setdefault((figures.operation, name), []).append(figures.metrics[name])
    return collected


def _median(figures: Sequence[Metric]) -> float | None:
    return median(one.value for one in figures) if figures else None


def _units_differ(figures: Sequence[Metric]) -> str:
    units = sorted({f"{one.unit} ({one.better} is better)" for one in figures})
    return f"its units differ: {' and '.join(units)}" if len(units) > 1 else ""


def _renamed(missing: Operation, measured: Collection[tuple[Operation, str]]) -> str:
    """Return the operation that a missing one may have become, of the same service and kind."""
    alike = [one.name for one, _ in measured if (one.service, one.kind) == (missing.service, missing.kind)]
    near = difflib.get_close_matches(missing.name, alike, n=1)
    return f"; renamed to {near[0]}?" if near and near[0] != missing.name else ""


def floored(value: float, unit: str) -> float:
    """Return `value`, or its unit's floor where it is smaller; always above 0."""
    return max(value, FLOORS.get(unit, _ABOVE_ZERO))


def _farthest(before: Mapping[tuple[Operation, str], Sequence[Metric]]) -> dict[str, float]:
    """Return, by kind of measurement, how far (log) any run of any operation lay on the slow side of its median."""
    farthest: dict[str, float] = {}
    for (operation, _), figures in before.items():
        sign = -1 if figures[-1].better == HIGHER else 1
        logs = [sign * math.log(floored(one.value, one.unit)) for one in figures]
        farthest[operation.kind] = max(farthest.get(operation.kind, 0.0), max(logs) - median(logs))
    return farthest


def _at_its_level(change: Change) -> Change:
    """Return the change with `old` as what it was judged by: the level since the last step, not all runs before."""
    ratio = change.comparison.ratio if change.comparison else None
    if ratio is None or change.new is None or change.ratio is None or math.isclose(ratio, change.ratio):
        return change
    return replace(change, old=floored(change.new, change.unit) / ratio)


def _confirmed(change: Change, farthest: float) -> Change:
    """Return a regression as it is when its runs are too far out to be disturbed ones, else as a suspect.

    Five quiet runs of an operation are no proof that the sixth cannot be disturbed as those of others were. One run
    must lie half as far again as any run of any operation lay by chance, k runs together 1 / k of that.
    """
    least = _FARTHER * farthest / change.new_runs
    if change.new_runs == 1:
        least = max(least, _ONE_RUN)
    if change.verdict != REGRESSED or change.worse is None or math.log(change.worse) > least:
        return change
    reason = "suspect: slower, but disturbed runs lie as far out here: measure this build again, each run adds evidence"
    return replace(change, verdict=INCONCLUSIVE, reason=reason)


def _compare_sets(
    old: Sequence[float], new: Sequence[float], *, tolerance: float, confidence: float, higher_is_better: bool
) -> Comparison:
    sides = [[[value] for value in side] for side in (old, new)]
    return compare_samples(*sides, tolerance=tolerance, confidence=confidence, higher_is_better=higher_is_better)


def holm(p_values: Sequence[float], alpha: float) -> set[int]:
    """Return which of `p_values` stand when none of them may be a false alarm with a chance above `alpha`.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    standing: set[int] = set()
    for rank, index in enumerate(order):
        if p_values[index] > alpha / (len(order) - rank):
            break
        standing.add(index)
    return standing


def benjamini_hochberg(p_values: Sequence[float], alpha: float) -> set[int]:
    """Return which of `p_values` stand when at most the share `alpha` of those that do may be false alarms.

    Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57
    (1995).
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    ranks = [rank for rank, index in enumerate(order, 1) if p_values[index] <= alpha * rank / len(order)]
    return set(order[: max(ranks, default=0)])


def that_stand(
    changes: Sequence[Change],
    alpha: float,
    correct: Callable[[Sequence[float], float], set[int]],
    *,
    at_each_run: bool = False,
) -> list[Change]:
    """Return `changes` with those regressions made inconclusive that do not stand when so many are asked at once.

    Where the question is asked `at_each_run`, look k at an operation spends 1 / (k (k + 1)) of its share of the error.
    """
    tested = [index for index, one in enumerate(changes) if _p_value(one) is not None]
    looks = {index: changes[index].new_runs if at_each_run else 0 for index in tested}
    p_values = [(_p_value(changes[index]) or 0.0) * max(looks[index] * (looks[index] + 1), 1) for index in tested]
    standing = {tested[index] for index in correct(p_values, alpha)}
    reason = f"suspect: slower by itself, not among {len(tested)} asked at once; measure it again"
    return [
        replace(one, verdict=INCONCLUSIVE, reason=reason) if one.verdict == REGRESSED and index not in standing else one
        for index, one in enumerate(changes)
    ]


def _p_value(change: Change) -> float | None:
    return change.comparison.p_value if change.comparison else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceMean:
    """The geometric mean of how many times worse a service's `operations` operations became."""

    service: str
    operations: int
    worse: float


def service_means(changes: Sequence[Change]) -> list[ServiceMean]:
    """Return the geometric mean of each service, over all its operations that were measured on both sides."""
    logs: dict[str, list[float]] = {}
    for one in changes:
        if one.worse is not None and one.verdict != NOT_COMPARABLE:
            logs.setdefault(one.operation.service, []).append(math.log(one.worse))
    return [
        ServiceMean(service=service, operations=len(values), worse=math.exp(sum(values) / len(values)))
        for service, values in sorted(logs.items())
    ]
